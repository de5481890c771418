//! A lake in a temporary directory.

use std::fs::File;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use arrow_array::{ArrayRef, RecordBatch};
use arrow_cast::pretty::pretty_format_batches;
use arrow_schema::{Field, Schema};
use futures::TryStreamExt;
use parquet::arrow::ArrowWriter;
use parquet::file::properties::WriterProperties;
use serde_json::json;
use tempfile::TempDir;
use tidegate_catalog as _;
use tidegate_core::{
    Catalog, CatalogTable, Context, Registry, Result, TableFormat, TableName, TablePartition,
};
use tidegate_local_catalog as _;
use tidegate_sql::{Lake, LakeOptions, LakeQuery, Resources};
use tidegate_storage::Access;

pub(crate) struct World {
    directory: TempDir,
    pub(crate) catalog: Arc<dyn Catalog>,
}

impl World {
    pub(crate) async fn new() -> Self {
        let directory = TempDir::new().unwrap();
        let cx = Context::detached(directory.path(), Arc::default()).unwrap();
        let path = directory.path().join("catalog.db");
        let config = Registry::linked()
            .unwrap()
            .catalog("local", json!({ "path": path }))
            .unwrap();
        let catalog = config.open(&cx).await.unwrap();
        Self { directory, catalog }
    }

    pub(crate) fn path(&self, relative: &str) -> PathBuf {
        self.directory.path().join(relative)
    }

    pub(crate) fn text(&self, relative: &str, text: &str) {
        let path = self.path(relative);
        std::fs::create_dir_all(path.parent().unwrap()).unwrap();
        std::fs::write(path, text).unwrap();
    }

    /// A Parquet file of these columns, a row group for every `group` rows.
    pub(crate) fn parquet(&self, relative: &str, columns: Vec<(&str, ArrayRef)>, group: usize) {
        let path = self.path(relative);
        std::fs::create_dir_all(path.parent().unwrap()).unwrap();
        let batch = RecordBatch::try_from_iter_with_nullable(
            columns
                .into_iter()
                .map(|(name, column)| (name, column, true)),
        )
        .unwrap();
        let properties = WriterProperties::builder()
            .set_max_row_group_row_count(Some(group))
            .build();
        let file = File::create(path).unwrap();
        let mut writer = ArrowWriter::try_new(file, batch.schema(), Some(properties)).unwrap();
        writer.write(&batch).unwrap();
        writer.close().unwrap();
    }

    /// A table in the directory of its name.
    pub(crate) async fn table(
        &self,
        name: &str,
        format: TableFormat,
        columns: Vec<Field>,
        keys: Vec<Field>,
    ) -> CatalogTable {
        let name: TableName = name.parse().unwrap();
        let table = CatalogTable {
            location: self.path(&name.table).display().to_string(),
            name,
            format,
            columns: Arc::new(Schema::new(columns)),
            partition_keys: keys.into_iter().map(Arc::new).collect(),
            properties: Default::default(),
        };
        self.catalog.merge(&table).await.unwrap();
        table
    }

    pub(crate) async fn partition(&self, table: &CatalogTable, values: &[Option<&str>], at: &str) {
        let at = match at.contains("://") {
            true => at.to_owned(),
            false => Path::new(&table.location).join(at).display().to_string(),
        };
        let partition = TablePartition {
            values: values
                .iter()
                .map(|value| value.map(str::to_owned))
                .collect(),
            location: at,
        };
        self.catalog
            .add_partitions(&table.name, &[partition])
            .await
            .unwrap();
    }

    pub(crate) fn lake(&self) -> Lake {
        Lake::new(LakeOptions {
            catalog: Some(Arc::clone(&self.catalog)),
            database: None,
            access: Access::default(),
            text: None,
            base: self.directory.path().to_owned(),
            resources: Resources {
                memory: 256 << 20,
                scratch: self.path("scratch"),
                spill: u64::MAX,
                partitions: 2,
            },
        })
    }

    pub(crate) async fn query(&self, sql: &str) -> Result<LakeQuery> {
        self.lake().query(sql).await
    }

    /// What a query gives, as a table drawn with lines.
    pub(crate) async fn rows(&self, sql: &str) -> String {
        match self.try_rows(sql).await {
            Ok(rows) => rows,
            Err(error) => panic!("{sql}: {error:?}"),
        }
    }

    pub(crate) async fn try_rows(&self, sql: &str) -> Result<String> {
        let query = self.query(sql).await?;
        let batches: Vec<RecordBatch> = query.run()?.try_collect().await?;
        Ok(Self::drawn(&batches))
    }

    /// Rows, a line each, their values divided by `|`.
    pub(crate) fn drawn(batches: &[RecordBatch]) -> String {
        let rows = pretty_format_batches(batches).unwrap().to_string();
        // Without rows there is no batch, perhaps, and no heading.
        rows.lines()
            .filter(|line| line.starts_with('|'))
            .skip(1)
            .map(|line| {
                let cells = line.trim_matches('|').split('|').map(str::trim);
                cells.collect::<Vec<_>>().join("|")
            })
            .collect::<Vec<_>>()
            .join("\n")
    }
}
