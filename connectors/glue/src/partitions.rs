//! Partitions: their values, batches of them, and their columns.

use aws_sdk_glue::types::{
    BatchUpdatePartitionRequestEntry, Column, Partition, PartitionInput, PartitionValueList,
    StorageDescriptor,
};
use futures::{StreamExt, TryStreamExt};
use tidegate_catalog::NULL_PARTITION;
use tidegate_core::{CatalogTable, Error, Predicate, Result, TableName, TablePartition};

use crate::api::{Api, MOST_DELETED, MOST_PUT};
use crate::table::{built, folder, widened};

/// How many batches are on their way at once: few, because Glue limits requests a second.
const AT_ONCE: usize = 4;

/// The most characters of a value (AWS Glue, `ValueString`).
const LONGEST: usize = 1024;

/// Adds partitions that are read as the table is.
pub(crate) async fn add(
    api: &Api,
    name: &TableName,
    descriptor: &StorageDescriptor,
    partitions: &[TablePartition],
) -> Result<()> {
    let mut inputs = Vec::with_capacity(partitions.len());
    let mut known = std::collections::HashSet::with_capacity(partitions.len());
    for partition in partitions {
        let values = to_glue(name, &partition.values)?;
        if !known.insert(values.clone()) {
            continue;
        }
        let mut descriptor = descriptor.clone();
        descriptor.location = Some(folder(&partition.location));
        inputs.push(
            PartitionInput::builder()
                .set_values(Some(values))
                .storage_descriptor(descriptor)
                .build(),
        );
    }
    batches(inputs, MOST_PUT, |batch| api.create_partitions(name, batch)).await
}

/// The partitions that match, sorted.
pub(crate) async fn list(
    api: &Api,
    table: &CatalogTable,
    predicates: &[Predicate],
) -> Result<Vec<TablePartition>> {
    let mut expression = crate::expression::expression(predicates, &table.partition_keys);
    let (mut found, mut token) = (Vec::new(), None);
    loop {
        let page = api.partitions(&table.name, expression.as_deref(), true, token.take());
        let Some((page, next)) = page.await? else {
            // Not an expression for these keys (a value that isn't of its key's type): take all.
            expression = None;
            found.clear();
            continue;
        };
        for partition in page {
            let partition = from_glue(&partition);
            let (keys, values) = (&table.partition_keys, &partition.values);
            if tidegate_catalog::may_match_all(predicates, keys, values) {
                found.push(partition);
            }
        }
        token = next;
        if token.is_none() {
            break;
        }
    }
    found.sort();
    Ok(found)
}

/// Forgets partitions.
pub(crate) async fn delete(
    api: &Api,
    name: &TableName,
    values: &[Vec<Option<String>>],
) -> Result<()> {
    let lists = values.iter().map(|values| {
        let values = to_glue(name, values)?;
        built(
            PartitionValueList::builder()
                .set_values(Some(values))
                .build(),
        )
    });
    let lists = lists.collect::<Result<Vec<_>>>()?;
    batches(lists, MOST_DELETED, |batch| {
        api.delete_partitions(name, batch)
    })
    .await
}

/// Gives all partitions the columns that the table is about to have.
///
/// Engines compare a partition's columns with the table's: Athena refuses one whose type differs
/// (HIVE_PARTITION_SCHEMA_MISMATCH), and reads NULL where a column is missing. Called before the
/// table is changed, so that a crash in between is made good by the next try; nothing that a
/// partition has is dropped.
pub(crate) async fn align(api: &Api, table: &CatalogTable) -> Result<()> {
    let (mut changed, mut token) = (Vec::new(), None);
    loop {
        let page = api
            .partitions(&table.name, None, false, token.take())
            .await?;
        let Some((page, next)) = page else { break };
        for partition in page {
            changed.extend(aligned(&partition, table)?);
        }
        token = next;
        if token.is_none() {
            break;
        }
    }
    batches(changed, MOST_PUT, |batch| {
        api.update_partitions(&table.name, batch)
    })
    .await
}

fn aligned(
    partition: &Partition,
    table: &CatalogTable,
) -> Result<Option<BatchUpdatePartitionRequestEntry>> {
    let Some(have) = partition.storage_descriptor() else {
        return Ok(None);
    };
    let columns: Vec<Column> = widened(have.columns(), &table.columns)?;
    if columns == have.columns() {
        return Ok(None);
    }
    let mut descriptor = have.clone();
    descriptor.columns = Some(columns);
    let values = partition.values().to_vec();
    let input = PartitionInput::builder()
        .set_values(Some(values.clone()))
        .set_last_access_time(partition.last_access_time)
        .set_last_analyzed_time(partition.last_analyzed_time)
        .set_parameters(partition.parameters.clone())
        .storage_descriptor(descriptor)
        .build();
    let entry = BatchUpdatePartitionRequestEntry::builder()
        .set_partition_value_list(Some(values))
        .partition_input(input)
        .build();
    built(entry).map(Some)
}

async fn batches<T, F, Fut>(items: Vec<T>, most: usize, send: F) -> Result<()>
where
    F: Fn(Vec<T>) -> Fut,
    Fut: Future<Output = Result<()>>,
{
    let mut batches = Vec::with_capacity(items.len().div_ceil(most));
    let mut items = items.into_iter().peekable();
    while items.peek().is_some() {
        batches.push(items.by_ref().take(most).collect::<Vec<_>>());
    }
    futures::stream::iter(batches)
        .map(send)
        .buffer_unordered(AT_ONCE)
        .try_collect::<Vec<()>>()
        .await
        .map(drop)
}

/// Values as Glue has them: NULL is Hive's word for it, and so is the empty text, for which Hive
/// has no folder.
fn to_glue(table: &TableName, values: &[Option<String>]) -> Result<Vec<String>> {
    values
        .iter()
        .map(|value| match value.as_deref() {
            None | Some("") => Ok(NULL_PARTITION.to_owned()),
            Some(text) if text.chars().count() > LONGEST => Err(Error::data(format!(
                "a partition's value has {} characters, where Glue takes {LONGEST}",
                text.chars().count()
            ))
            .with("table", table)
            .hint("partition by a shorter column")),
            Some(text) => Ok(text.to_owned()),
        })
        .collect()
}

fn from_glue(partition: &Partition) -> TablePartition {
    let values = partition.values().iter();
    let location = partition.storage_descriptor().and_then(|d| d.location());
    TablePartition {
        values: values
            .map(|value| (value != NULL_PARTITION).then(|| value.clone()))
            .collect(),
        location: location
            .unwrap_or_default()
            .trim_end_matches('/')
            .to_owned(),
    }
}
