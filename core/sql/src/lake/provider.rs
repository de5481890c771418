//! A table of the lake as DataFusion sees it.

use std::sync::{Arc, Mutex, PoisonError};

use arrow_schema::{FieldRef, Schema, SchemaRef};
use async_trait::async_trait;
use datafusion::catalog::{Session, TableProvider};
use datafusion::datasource::physical_plan::parquet::transform_schema_to_view;
use datafusion::error::Result as DfResult;
use datafusion::logical_expr::{Expr, TableProviderFilterPushDown, TableType};
use datafusion::physical_plan::ExecutionPlan;
use tidegate_core::{Catalog, CatalogTable, Error, Result, TableFormat};

use super::partitions::{Content, decides, of_keys, select};
use super::places::Places;
use super::scan::{Reader, Scan, ScanId};
use super::text::TextScan;
use crate::nested::widened;
use crate::table::external;

/// A table of files.
#[derive(Debug)]
pub(crate) struct LakeTable {
    /// `shop.sales`, or the path.
    pub(crate) name: String,
    /// The directory, or the pattern.
    pub(crate) location: String,
    pub(crate) reader: Reader,
    pub(crate) content: Content,
    /// The columns of the files, then the partition keys.
    schema: SchemaRef,
    columns: SchemaRef,
    keys: Vec<FieldRef>,
    places: Arc<Places>,
    notes: Notes,
}

/// What the scans of a query did, in the order in which they were planned.
pub(crate) type Notes = Arc<Mutex<Vec<Note>>>;

/// What one scan did.
#[derive(Debug, Clone)]
pub(crate) struct Note {
    pub(crate) table: String,
    pub(crate) location: String,
    pub(crate) reader: Reader,
    pub(crate) content: Content,
    pub(crate) keys: usize,
    /// Partitions that the conditions left.
    pub(crate) partitions: Option<usize>,
    /// The conditions that chose among partitions.
    pub(crate) chosen_by: Vec<String>,
    pub(crate) files: usize,
    pub(crate) bytes: u64,
    pub(crate) columns: Vec<String>,
    pub(crate) all_columns: usize,
}

/// What a table is, before it is one for a query.
pub(crate) struct Described<'a> {
    pub(crate) name: String,
    pub(crate) location: String,
    pub(crate) reader: Reader,
    pub(crate) columns: &'a Schema,
    pub(crate) keys: &'a [FieldRef],
    pub(crate) content: Content,
}

impl LakeTable {
    pub(crate) fn new(described: Described<'_>, places: &Arc<Places>, notes: &Notes) -> Self {
        let Described {
            name,
            location,
            reader,
            columns,
            keys,
            content,
        } = described;
        let nullable = |field: &FieldRef| field.as_ref().clone().with_nullable(true);
        let keys: Vec<FieldRef> = keys.iter().map(nullable).map(Arc::new).collect();
        let plain = Schema::new(columns.fields().iter().map(nullable).collect::<Vec<_>>());
        let plain = widened(&Arc::new(plain));
        let columns = match reader {
            Reader::Parquet => Arc::new(transform_schema_to_view(&plain)),
            _ => plain,
        };
        let fields = columns.fields().iter().chain(&keys).cloned();
        Self {
            name,
            location,
            reader,
            schema: Arc::new(Schema::new(fields.collect::<Vec<_>>())),
            columns,
            keys,
            content,
            places: Arc::clone(places),
            notes: Arc::clone(notes),
        }
    }

    /// A table of a catalog.
    pub(crate) fn of_catalog(
        catalog: &Arc<dyn Catalog>,
        table: CatalogTable,
        places: &Arc<Places>,
        notes: &Notes,
    ) -> Result<Self> {
        let reader = match &table.format {
            TableFormat::Parquet => Reader::Parquet,
            TableFormat::Ndjson => Reader::Json,
            TableFormat::Csv { .. } => Reader::Csv,
            _ => {
                return Err(
                    Error::unsupported("a query can't read the format of this table")
                        .with("table", &table.name),
                );
            }
        };
        let described = Described {
            name: table.name.to_string(),
            location: table.location.clone(),
            reader,
            columns: &table.columns,
            keys: &table.partition_keys,
            content: Content::Catalogued {
                catalog: Arc::clone(catalog),
                table: Arc::new(table.clone()),
            },
        };
        Ok(Self::new(described, places, notes))
    }
}

#[async_trait]
impl TableProvider for LakeTable {
    fn schema(&self) -> SchemaRef {
        Arc::clone(&self.schema)
    }

    fn table_type(&self) -> TableType {
        TableType::Base
    }

    fn supports_filters_pushdown(
        &self,
        filters: &[&Expr],
    ) -> DfResult<Vec<TableProviderFilterPushDown>> {
        let keys: Vec<&str> = self.keys.iter().map(|key| key.name().as_str()).collect();
        // What remains is put into the readers once the plan is physical.
        let pushdown = |filter: &&Expr| match decides(&keys, filter) {
            true => TableProviderFilterPushDown::Exact,
            false => TableProviderFilterPushDown::Inexact,
        };
        Ok(filters.iter().map(pushdown).collect())
    }

    async fn scan(
        &self,
        session: &dyn Session,
        projection: Option<&Vec<usize>>,
        filters: &[Expr],
        limit: Option<usize>,
    ) -> DfResult<Arc<dyn ExecutionPlan>> {
        let chosen_by = of_keys(&self.keys, filters);
        let places = &self.places;
        let selection = select(&self.content, &self.keys, &chosen_by, session, places).await?;
        let fields = self.schema.fields();
        let read = match projection {
            Some(indices) => indices.iter().map(|i| fields[*i].name().clone()).collect(),
            None => fields.iter().map(|field| field.name().clone()).collect(),
        };
        let id = {
            let mut notes = self.notes.lock().unwrap_or_else(PoisonError::into_inner);
            notes.push(Note {
                table: self.name.clone(),
                location: self.location.clone(),
                reader: self.reader,
                content: self.content.clone(),
                keys: self.keys.len(),
                partitions: selection.partitions,
                chosen_by: chosen_by.iter().map(shown).collect(),
                files: selection.files.len(),
                bytes: selection
                    .files
                    .iter()
                    .map(|(file, _)| file.object.size)
                    .sum(),
                columns: read,
                all_columns: fields.len(),
            });
            ScanId(notes.len() - 1)
        };
        let partitions = session.config().target_partitions();
        if self.reader != Reader::Parquet && !selection.files.is_empty() {
            let scan = TextScan {
                name: &self.name,
                readers: places.text().map_err(external)?,
                table: match &self.content {
                    Content::Catalogued { table, .. } => Some(Arc::clone(table)),
                    Content::Files(_) => None,
                },
                schema: &self.schema,
                projection,
                limit,
                traffic: places.traffic(),
            };
            return Ok(Arc::new(scan.plan(selection.files, partitions)?));
        }
        let scan = Scan {
            id,
            columns: &self.columns,
            keys: &self.keys,
            projection,
            limit,
            selection,
        };
        scan.plan(session, places).await
    }
}

/// A condition for people.
fn shown(condition: &Expr) -> String {
    condition.human_display().to_string()
}
