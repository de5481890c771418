//! Partitions: their values, batches of them, and their columns.

use aws_sdk_glue::types::{
    BatchUpdatePartitionRequestEntry, Column, Partition, PartitionInput, PartitionValueList,
    StorageDescriptor,
};
use futures::{StreamExt, TryStreamExt};
use tidegate_catalog::NULL_PARTITION;
use tidegate_core::{CatalogTable, Error, Predicate, Result, TableName, TablePartition};

use crate::api::{Api, MOST_DELETED, MOST_GOT, MOST_PUT};
use crate::table::{built, directory, serde_of, widened};

/// How many batches are on their way at once: few, because Glue limits requests a second.
const AT_ONCE: usize = 4;

/// The most characters of a value (AWS Glue, `ValueString`).
const LONGEST: usize = 1024;

/// Adds partitions that are read as the table is. Gives the values of all, and of those that were
/// there before.
pub(crate) async fn add(
    api: &Api,
    name: &TableName,
    descriptor: &StorageDescriptor,
    partitions: &[TablePartition],
) -> Result<Added> {
    let mut inputs = Vec::with_capacity(partitions.len());
    let mut known = std::collections::HashSet::with_capacity(partitions.len());
    for partition in partitions {
        let values = to_glue(name, &partition.values)?;
        if !known.insert(values.clone()) {
            continue;
        }
        let mut descriptor = descriptor.clone();
        descriptor.location = Some(directory(&partition.location));
        inputs.push(
            PartitionInput::builder()
                .set_values(Some(values))
                .storage_descriptor(descriptor)
                .build(),
        );
    }
    let there = batches(inputs, MOST_PUT, |batch| api.create_partitions(name, batch)).await?;
    Ok(Added {
        all: known.into_iter().collect(),
        there: there.into_iter().flatten().collect(),
    })
}

/// The values of partitions that were added.
pub(crate) struct Added {
    /// All of them.
    pub(crate) all: Vec<Vec<String>>,
    /// Those that were there already.
    pub(crate) there: Vec<Vec<String>>,
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
    let lists = values.iter().map(|values| list_of(to_glue(name, values)?));
    let lists = lists.collect::<Result<Vec<_>>>()?;
    batches(lists, MOST_DELETED, |batch| {
        api.delete_partitions(name, batch)
    })
    .await
    .map(drop)
}

fn list_of(values: Vec<String>) -> Result<PartitionValueList> {
    let list = PartitionValueList::builder().set_values(Some(values));
    built(list.build())
}

/// Gives all partitions the columns of `table`, and says how many did not have them. Nothing that a
/// partition has is dropped.
///
/// Engines compare a partition's columns with the table's: Athena refuses one whose type differs
/// (HIVE_PARTITION_SCHEMA_MISMATCH), and reads NULL where a column is missing.
pub(crate) async fn align(api: &Api, table: &CatalogTable) -> Result<usize> {
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
    update(api, &table.name, changed).await
}

/// The same for the partitions of these values.
pub(crate) async fn align_these(
    api: &Api,
    table: &CatalogTable,
    values: &[Vec<String>],
) -> Result<usize> {
    let lists = values.iter().cloned().map(list_of);
    let lists = lists.collect::<Result<Vec<_>>>()?;
    let found = batches(lists, MOST_GOT, |batch| {
        api.partitions_of(&table.name, batch)
    })
    .await?;
    let mut changed = Vec::new();
    for partition in found.iter().flatten() {
        changed.extend(aligned(partition, table)?);
    }
    update(api, &table.name, changed).await
}

async fn update(
    api: &Api,
    name: &TableName,
    changed: Vec<BatchUpdatePartitionRequestEntry>,
) -> Result<usize> {
    let count = changed.len();
    batches(changed, MOST_PUT, |batch| {
        api.update_partitions(name, batch)
    })
    .await?;
    Ok(count)
}

fn aligned(
    partition: &Partition,
    table: &CatalogTable,
) -> Result<Option<BatchUpdatePartitionRequestEntry>> {
    let Some(have) = partition.storage_descriptor() else {
        return Ok(None);
    };
    let columns: Vec<Column> = widened(have.columns(), &table.columns)?;
    let serde = serde_of(have, table)?;
    if columns == have.columns() && serde.is_none() {
        return Ok(None);
    }
    let mut descriptor = have.clone();
    descriptor.columns = Some(columns);
    if serde.is_some() {
        descriptor.serde_info = serde;
    }
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

async fn batches<T, R, F, Fut>(items: Vec<T>, most: usize, send: F) -> Result<Vec<R>>
where
    F: Fn(Vec<T>) -> Fut,
    Fut: Future<Output = Result<R>>,
{
    let mut batches = Vec::with_capacity(items.len().div_ceil(most));
    let mut items = items.into_iter().peekable();
    while items.peek().is_some() {
        batches.push(items.by_ref().take(most).collect::<Vec<_>>());
    }
    futures::stream::iter(batches)
        .map(send)
        .buffer_unordered(AT_ONCE)
        .try_collect()
        .await
}

/// Values as Glue has them: NULL is Hive's word for it, and so is the empty text, for which Hive
/// has no directory.
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
