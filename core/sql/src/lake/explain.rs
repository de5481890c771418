//! How much of its tables a query reads.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use arrow_schema::SchemaRef;
use datafusion::datasource::physical_plan::FileScanConfig;
use datafusion::datasource::physical_plan::parquet::{
    ParquetAccessPlan, ParquetFileMetrics, RowGroupAccessPlanFilter,
    apply_file_schema_type_coercions,
};
use datafusion::datasource::source::DataSourceExec;
use datafusion::error::Result as DfResult;
use datafusion::physical_expr::utils::split_conjunction;
use datafusion::physical_expr_adapter::PhysicalExprAdapterFactory;
use datafusion::physical_optimizer::pruning::PruningPredicateBuilder;
use datafusion::physical_plan::metrics::ExecutionPlanMetricsSet;
use datafusion::physical_plan::{ExecutionPlan, PhysicalExpr, displayable};
use futures::{StreamExt, TryStreamExt, stream};
use serde::Serialize;
use tidegate_core::Result;

use super::adapt::ByName;
use super::footers::{self, LOOKED_AT};
use super::partitions::Content;
use super::places::Found;
use super::query::LakeQuery;
use super::scan::{Reader, ScanId};
use crate::error::lake;

/// What a query reads, and how.
#[derive(Debug, Clone, Serialize)]
pub struct Explanation {
    /// Its scans of tables, in the order in which they are planned. A table that is read twice
    /// stands here twice.
    pub tables: Vec<TableShare>,
    /// DataFusion's plan, indented, a step a line.
    pub plan: String,
}

/// Some of all.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
pub struct Share {
    /// What is read.
    pub read: usize,
    /// What there is.
    pub of: usize,
}

/// How much of a table is read.
#[derive(Debug, Clone, Serialize)]
pub struct TableShare {
    /// `shop.sales`, or the path.
    pub table: String,
    /// `parquet`, `json` or `csv`.
    pub format: &'static str,
    /// Where its files lie.
    pub location: String,
    /// Partitions; `None` for a table without partition keys.
    pub partitions: Option<Share>,
    /// The conditions that chose the partitions.
    pub chosen_by: Vec<String>,
    /// Files that are opened.
    pub files: usize,
    /// The sizes of those files together, in bytes; fewer are read where columns or row groups are
    /// left out.
    pub bytes: u64,
    /// Row groups of those files that can hold what is looked for, by their bounds; `None` if it
    /// isn't Parquet, or too many files to look.
    pub row_groups: Option<Share>,
    /// The conditions that are checked while files are read.
    pub pushed_down: Vec<String>,
    /// The columns that are read.
    pub columns: Vec<String>,
    /// How many columns there are.
    pub of_columns: usize,
}

pub(crate) async fn explain(query: &LakeQuery) -> Result<Explanation> {
    let mut scans = Scans::new();
    collect(&query.plan, &mut scans);
    let mut tables = Vec::new();
    for (index, note) in query.notes.iter().enumerate() {
        let found = scans.get(&index);
        let partitions = match note.partitions {
            None => None,
            Some(read) => Some(Share {
                read,
                of: all_partitions(&note.content).await?,
            }),
        };
        let predicates = found.map_or(&[][..], |(predicates, _)| predicates);
        let configs = found.map_or(&[][..], |(_, configs)| configs);
        let row_groups = match note.reader {
            Reader::Parquet if note.files <= LOOKED_AT => Some(
                row_groups(query, configs)
                    .await
                    .map_err(|error| lake(&error))?,
            ),
            _ => None,
        };
        let mut pushed_down: Vec<String> = Vec::new();
        for predicate in predicates {
            for part in split_conjunction(predicate) {
                let text = shown(part);
                if !pushed_down.contains(&text) {
                    pushed_down.push(text);
                }
            }
        }
        tables.push(TableShare {
            table: note.table.clone(),
            format: note.reader.name(),
            location: note.location.clone(),
            partitions: partitions.filter(|_| note.keys > 0),
            chosen_by: note.chosen_by.clone(),
            files: note.files,
            bytes: note.bytes,
            row_groups,
            pushed_down,
            columns: note.columns.clone(),
            of_columns: note.all_columns,
        });
    }
    Ok(Explanation {
        tables,
        plan: displayable(query.plan.as_ref()).indent(false).to_string(),
    })
}

async fn all_partitions(content: &Content) -> Result<usize> {
    match content {
        Content::Catalogued { catalog, table } => Ok(catalog.partitions(table, &[]).await?.len()),
        Content::Files(files) => {
            let all: BTreeSet<_> = files.iter().map(|(_, values)| values).collect();
            Ok(all.len())
        }
    }
}

type Scans = BTreeMap<usize, (Vec<Arc<dyn PhysicalExpr>>, Vec<FileScanConfig>)>;

/// The scans that are left in the plan, by their number.
fn collect(plan: &Arc<dyn ExecutionPlan>, scans: &mut Scans) {
    let source = plan
        .downcast_ref::<DataSourceExec>()
        .and_then(|exec| exec.data_source().downcast_ref::<FileScanConfig>());
    if let Some(config) = source {
        let mut files = config.file_groups.iter().flat_map(|group| group.iter());
        let id = files.find_map(|file| file.extension::<ScanId>());
        if let Some(ScanId(id)) = id {
            let (predicates, configs) = scans.entry(*id).or_default();
            predicates.extend(config.file_source().filter());
            configs.push(config.clone());
        }
    }
    for child in plan.children() {
        collect(child, scans);
    }
}

/// The row groups that their bounds leave, as the reader will find them.
async fn row_groups(query: &LakeQuery, configs: &[FileScanConfig]) -> DfResult<Share> {
    let mut share = Share { read: 0, of: 0 };
    for config in configs {
        let predicate = config.file_source().filter();
        let mut files: Vec<Found> = config
            .file_groups
            .iter()
            .flat_map(|group| group.iter())
            .map(|file| Found {
                root: config.object_store_url.clone(),
                object: file.object_meta.clone(),
                key: String::new(),
                storage: None,
            })
            .collect();
        // A large file is read in several ranges.
        files.sort_by(|a, b| a.object.location.cmp(&b.object.location));
        files.dedup_by(|a, b| a.object.location == b.object.location);
        let columns = config.file_schema();
        let shares: Vec<Share> = stream::iter(files)
            .map(|file| of_file(query, file, columns, predicate.as_ref()))
            .buffered(16)
            .try_collect()
            .await?;
        for one in shares {
            share.read += one.read;
            share.of += one.of;
        }
    }
    Ok(share)
}

async fn of_file(
    query: &LakeQuery,
    file: Found,
    columns: &SchemaRef,
    predicate: Option<&Arc<dyn PhysicalExpr>>,
) -> DfResult<Share> {
    let footer = footers::footer(&query.places, &file).await?;
    let of = footer.num_row_groups();
    let all = Share { read: of, of };
    let Some(predicate) = predicate else {
        return Ok(all);
    };
    let schema = footers::schema(&footer)?;
    let schema = Arc::new(apply_file_schema_type_coercions(columns, &schema).unwrap_or(schema));
    let adapter = ByName.create(Arc::clone(columns), Arc::clone(&schema))?;
    // A condition on a partition key is of no column of the file.
    let Ok(predicate) = adapter.rewrite(Arc::clone(predicate)) else {
        return Ok(all);
    };
    let builder = PruningPredicateBuilder::new().with_file_schema(Arc::clone(&schema));
    let Ok(pruning) = builder.try_build(predicate) else {
        return Ok(all);
    };
    let metrics = ExecutionPlanMetricsSet::new();
    let metrics = ParquetFileMetrics::new(0, file.object.location.as_ref(), &metrics);
    let mut plan = RowGroupAccessPlanFilter::new(ParquetAccessPlan::new_all(of));
    plan.prune_by_statistics(
        &schema,
        footer.file_metadata().schema_descr(),
        footer.row_groups(),
        &pruning,
        &metrics,
    );
    Ok(Share {
        read: plan.remaining_row_group_count(),
        of,
    })
}

/// A condition for people: `qty > 3`, without the columns' positions.
fn shown(predicate: &Arc<dyn PhysicalExpr>) -> String {
    datafusion::physical_expr_common::physical_expr::fmt_sql(predicate.as_ref()).to_string()
}
