//! Which files of a table a query has to look at.

use std::collections::{BTreeSet, HashMap};
use std::sync::Arc;

use arrow_array::{ArrayRef, BooleanArray, RecordBatch, RecordBatchOptions};
use arrow_schema::{FieldRef, Schema};
use datafusion::catalog::Session;
use datafusion::common::DFSchema;
use datafusion::common::cast::as_boolean_array;
use datafusion::datasource::listing::helpers::expr_applicable_for_cols;
use datafusion::error::Result as DfResult;
use datafusion::logical_expr::Expr;
use datafusion::logical_expr::utils::conjunction;
use datafusion::scalar::ScalarValue;
use futures::{StreamExt, TryStreamExt, stream};
use tidegate_catalog::parse_values;
use tidegate_core::{Catalog, CatalogTable, Predicate, Result, TablePartition};
use tidegate_storage::{directories, is_hidden};

use super::places::{Found, Places};
use crate::predicate::predicates;
use crate::table::external;

/// Directories that are listed at once.
const LISTINGS: usize = 32;
/// From so many partitions on, all wanted, the table's directory is listed instead of each of them.
const WHOLESALE: usize = 64;

/// What a table is made of.
#[derive(Debug, Clone)]
pub(crate) enum Content {
    /// Directories that a catalog knows.
    Catalogued {
        catalog: Arc<dyn Catalog>,
        table: Arc<CatalogTable>,
    },
    /// Files, with the values of the partition keys in their directories' names.
    Files(Arc<Vec<(Found, Vec<Option<String>>)>>),
}

/// What is left of a table.
#[derive(Debug)]
pub(crate) struct Selection {
    /// Its files, with the values of the partition keys.
    pub(crate) files: Vec<(Found, Arc<Vec<ScalarValue>>)>,
    /// How many partitions they are of; `None` without partition keys.
    pub(crate) partitions: Option<usize>,
}

/// The conditions that the partition keys alone decide.
pub(crate) fn of_keys(keys: &[FieldRef], filters: &[Expr]) -> Vec<Expr> {
    let names: Vec<&str> = keys.iter().map(|key| key.name().as_str()).collect();
    let applies = |expr: &&Expr| decides(&names, expr);
    filters.iter().filter(applies).cloned().collect()
}

/// Whether the partition keys alone decide a condition.
pub(crate) fn decides(keys: &[&str], expr: &Expr) -> bool {
    !keys.is_empty() && expr_applicable_for_cols(keys, expr)
}

/// Finds the files of the partitions that can fulfil `filters`, which are of the keys alone.
pub(crate) async fn select(
    content: &Content,
    keys: &[FieldRef],
    filters: &[Expr],
    session: &dyn Session,
    places: &Places,
) -> DfResult<Selection> {
    match content {
        Content::Files(files) => of_files(files, keys, filters, session),
        Content::Catalogued { table, .. } if keys.is_empty() => {
            let files = whole(table, places).await.map_err(external)?;
            let none = Arc::new(Vec::new());
            Ok(Selection {
                files: files
                    .iter()
                    .map(|file| (file.clone(), Arc::clone(&none)))
                    .collect(),
                partitions: None,
            })
        }
        Content::Catalogued { catalog, table } => {
            let offers: Vec<Predicate> = filters.iter().flat_map(predicates).collect();
            let partitions = catalog.partitions(table, &offers).await.map_err(external)?;
            let texts = partitions.iter().map(|partition| partition.values.clone());
            let kept = matching(texts.collect(), keys, filters, session)?;
            let kept: Vec<_> = kept
                .into_iter()
                .map(|(index, values)| (&partitions[index], Arc::new(values)))
                .collect();
            let count = kept.len();
            let all = filters.is_empty() && count > WHOLESALE;
            let files = match all {
                true => wholesale(table, kept, places).await,
                false => one_by_one(kept, places).await,
            };
            Ok(Selection {
                files: files.map_err(external)?,
                partitions: Some(count),
            })
        }
    }
}

fn of_files(
    files: &[(Found, Vec<Option<String>>)],
    keys: &[FieldRef],
    filters: &[Expr],
    session: &dyn Session,
) -> DfResult<Selection> {
    let texts = files.iter().map(|(_, values)| values.clone()).collect();
    let kept = matching(texts, keys, filters, session)?;
    let partitions: BTreeSet<_> = kept.iter().map(|(index, _)| &files[*index].1).collect();
    Ok(Selection {
        partitions: (!keys.is_empty()).then_some(partitions.len()),
        files: kept
            .into_iter()
            .map(|(index, values)| (files[index].0.clone(), Arc::new(values)))
            .collect(),
    })
}

/// The rows of `texts` that fulfil the conditions, by their index, with their values typed.
fn matching(
    texts: Vec<Vec<Option<String>>>,
    keys: &[FieldRef],
    filters: &[Expr],
    session: &dyn Session,
) -> DfResult<Vec<(usize, Vec<ScalarValue>)>> {
    let columns: Vec<ArrayRef> = keys
        .iter()
        .enumerate()
        .map(|(index, key)| {
            let column = texts
                .iter()
                .map(|values| values.get(index).and_then(Option::as_deref));
            parse_values(column, key)
        })
        .collect::<Result<_>>()
        .map_err(external)?;
    let keep = match conjunction(filters.iter().cloned()) {
        None => None,
        Some(condition) => {
            let nullable = |key: &FieldRef| key.as_ref().clone().with_nullable(true);
            let schema = Arc::new(Schema::new(keys.iter().map(nullable).collect::<Vec<_>>()));
            let columns_schema = DFSchema::try_from(Arc::clone(&schema))?;
            let condition = session.create_physical_expr(condition, &columns_schema)?;
            let options = RecordBatchOptions::new().with_row_count(Some(texts.len()));
            let batch = RecordBatch::try_new_with_options(schema, columns.clone(), &options)?;
            let keep = condition.evaluate(&batch)?.into_array(texts.len())?;
            Some(as_boolean_array(&keep)?.clone())
        }
    };
    let kept = |keep: &BooleanArray, row: usize| keep.is_valid(row) && keep.value(row);
    use arrow_array::Array as _;
    (0..texts.len())
        .filter(|row| keep.as_ref().is_none_or(|keep| kept(keep, *row)))
        .map(|row| {
            let values = columns
                .iter()
                .map(|column| ScalarValue::try_from_array(column, row));
            Ok((row, values.collect::<DfResult<_>>()?))
        })
        .collect()
}

type Selected<'a> = Vec<(&'a TablePartition, Arc<Vec<ScalarValue>>)>;
type Files = Vec<(Found, Arc<Vec<ScalarValue>>)>;

async fn whole(table: &CatalogTable, places: &Places) -> Result<Arc<Vec<Found>>> {
    places.files(&places.location(&table.location)?).await
}

async fn one_by_one(partitions: Selected<'_>, places: &Places) -> Result<Files> {
    let list = |(partition, values): (&TablePartition, Arc<Vec<ScalarValue>>)| {
        let location = places.location(&partition.location);
        async move {
            let files = places.files(&location?).await?;
            let of = files.iter().map(|file| (file.clone(), Arc::clone(&values)));
            Ok::<Files, tidegate_core::Error>(of.collect())
        }
    };
    let lists: Vec<Vec<_>> = stream::iter(partitions.into_iter().map(list).collect::<Vec<_>>())
        .buffered(LISTINGS)
        .try_collect()
        .await?;
    Ok(lists.into_iter().flatten().collect())
}

/// One listing for all partitions within the table's directory, a thousand files a request.
async fn wholesale(
    table: &CatalogTable,
    partitions: Selected<'_>,
    places: &Places,
) -> Result<Files> {
    let root = places.location(&table.location)?;
    let mut within: HashMap<String, Vec<Arc<Vec<ScalarValue>>>> = HashMap::new();
    let mut elsewhere = Vec::new();
    for (partition, values) in partitions {
        let location = places.location(&partition.location)?;
        match root.key_of(&location) {
            // That listing has no hidden directories, which may be partitions all the same.
            Some(directory) if !directory.split('/').any(is_hidden) => {
                within.entry(directory.to_owned()).or_default().push(values);
            }
            _ => elsewhere.push((partition, values)),
        }
    }
    let mut files = Vec::new();
    for file in whole(table, places).await?.iter() {
        let partitions = directories(&file.key).filter_map(|directory| within.get(directory));
        files.extend(
            partitions
                .flatten()
                .map(|values| (file.clone(), Arc::clone(values))),
        );
    }
    files.extend(one_by_one(elsewhere, places).await?);
    Ok(files)
}
