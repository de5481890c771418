//! From Parquet files to a plan that reads them.

use std::collections::BTreeMap;
use std::sync::Arc;

use arrow_schema::{FieldRef, Schema, SchemaRef};
use datafusion::catalog::Session;
use datafusion::common::config::TableParquetOptions;
use datafusion::common::{Statistics, project_schema};
use datafusion::datasource::listing::PartitionedFile;
use datafusion::datasource::physical_plan::{
    FileGroup, FileScanConfigBuilder, FileSource, ParquetSource,
};
use datafusion::datasource::source::DataSourceExec;
use datafusion::datasource::table_schema::TableSchema;
use datafusion::error::Result as DfResult;
use datafusion::execution::object_store::ObjectStoreUrl;
use datafusion::physical_plan::ExecutionPlan;
use datafusion::physical_plan::empty::EmptyExec;
use datafusion::physical_plan::union::UnionExec;

use super::adapt::ByName;
use super::footers::{self, LOOKED_AT, TAIL};
use super::partitions::Selection;
use super::places::{Found, Places};
use super::reader::TrustedReaders;
use crate::table::external;

/// How files are read.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Reader {
    /// Parquet: columns by name.
    Parquet,
    /// JSON objects, one a line or in arrays.
    Json,
    /// Delimited text.
    Csv,
}

impl Reader {
    /// The name in messages.
    pub(crate) fn name(self) -> &'static str {
        match self {
            Self::Parquet => "parquet",
            Self::Json => "json",
            Self::Csv => "csv",
        }
    }
}

/// Tells one scan of a query from another; every file carries it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct ScanId(pub(crate) usize);

/// A scan of a table of Parquet files.
pub(crate) struct Scan<'a> {
    pub(crate) id: ScanId,
    /// The columns of the files.
    pub(crate) columns: &'a SchemaRef,
    pub(crate) keys: &'a [FieldRef],
    pub(crate) projection: Option<&'a Vec<usize>>,
    pub(crate) limit: Option<usize>,
    pub(crate) selection: Selection,
}

impl Scan<'_> {
    /// The plan that reads the selected files.
    pub(crate) async fn plan(
        self,
        session: &dyn Session,
        places: &Places,
    ) -> DfResult<Arc<dyn ExecutionPlan>> {
        let schema = TableSchema::builder(Arc::clone(self.columns))
            .with_table_partition_cols(self.keys.to_vec())
            .build();
        let all: Vec<(Found, PartitionedFile)> = self
            .selection
            .files
            .iter()
            .map(|(found, values)| {
                let file = PartitionedFile::new_from_meta(found.object.clone())
                    .with_partition_values(values.as_ref().clone())
                    .with_extension(self.id);
                (found.clone(), file)
            })
            .collect();
        if all.is_empty() {
            let schema = project_schema(schema.table_schema(), self.projection)?;
            return Ok(Arc::new(EmptyExec::new(schema)));
        }
        let looked_at = self.limit.is_none() && all.len() <= LOOKED_AT;
        let mut by_root: BTreeMap<String, Vec<(Found, PartitionedFile)>> = BTreeMap::new();
        for (found, file) in all {
            let root = found.root.as_str().to_owned();
            by_root.entry(root).or_default().push((found, file));
        }
        let mut plans: Vec<Arc<dyn ExecutionPlan>> = Vec::new();
        for files in by_root.into_values() {
            let (files, statistics) = if looked_at {
                footers::look(places, files, schema.table_schema(), self.columns).await?
            } else {
                (files, Statistics::new_unknown(schema.table_schema()))
            };
            plans.push(self.of_root(files, statistics, &schema, session, places)?);
        }
        match plans.len() {
            1 => Ok(plans.remove(0)),
            _ => UnionExec::try_new(plans),
        }
    }

    fn of_root(
        &self,
        files: Vec<(Found, PartitionedFile)>,
        statistics: Statistics,
        schema: &TableSchema,
        session: &dyn Session,
        places: &Places,
    ) -> DfResult<Arc<dyn ExecutionPlan>> {
        let Some(root) = files.first().map(|(found, _)| found.root.clone()) else {
            let schema: &Schema = schema.table_schema();
            return Ok(Arc::new(EmptyExec::new(Arc::new(schema.clone()))));
        };
        let source = self.source(&root, schema, session, places)?;
        let files = files.into_iter().map(|(_, file)| file).collect();
        let groups = groups(files, session.config().target_partitions());
        let config = FileScanConfigBuilder::new(root, source)
            .with_file_groups(groups)
            .with_statistics(statistics)
            .with_limit(self.limit)
            .with_expr_adapter(Some(Arc::new(ByName)))
            .with_projection_indices(self.projection.cloned())?
            .build();
        Ok(DataSourceExec::from_data_source(config))
    }

    fn source(
        &self,
        root: &ObjectStoreUrl,
        schema: &TableSchema,
        session: &dyn Session,
        places: &Places,
    ) -> DfResult<Arc<dyn FileSource>> {
        let store = places.store(root).map_err(external)?;
        let cache = places.runtime().cache_manager.get_file_metadata_cache();
        let options = TableParquetOptions {
            global: session.config_options().execution.parquet.clone(),
            ..TableParquetOptions::default()
        };
        let factory = TrustedReaders::new(store, cache);
        let source = ParquetSource::new(schema.clone())
            .with_table_parquet_options(options)
            .with_parquet_file_reader_factory(Arc::new(factory))
            .with_metadata_size_hint(TAIL);
        Ok(Arc::new(source))
    }
}

/// Files in as many groups as are read at once, about equally large.
fn groups(mut files: Vec<PartitionedFile>, wanted: usize) -> Vec<FileGroup> {
    files.sort_by_key(|file| std::cmp::Reverse(file.object_meta.size));
    let count = wanted.clamp(1, files.len().max(1));
    let mut groups: Vec<(u64, Vec<PartitionedFile>)> = vec![(0, Vec::new()); count];
    for file in files {
        if let Some(smallest) = groups.iter_mut().min_by_key(|(bytes, _)| *bytes) {
            smallest.0 = smallest.0.saturating_add(file.object_meta.size.max(1));
            smallest.1.push(file);
        }
    }
    let groups = groups.into_iter().map(|(_, files)| FileGroup::new(files));
    groups.collect()
}
