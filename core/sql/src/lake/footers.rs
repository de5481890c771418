//! What the footers of Parquet files say about their rows, before any row is read.

use std::sync::Arc;

use arrow_schema::{Schema, SchemaRef};
use datafusion::common::stats::Precision;
use datafusion::common::{ColumnStatistics, Statistics};
use datafusion::datasource::listing::PartitionedFile;
use datafusion::datasource::physical_plan::parquet::metadata::DFParquetMetadata;
use datafusion::datasource::physical_plan::parquet::{
    CachedParquetMetaData, apply_file_schema_type_coercions,
};
use datafusion::error::{DataFusionError, Result as DfResult};
use datafusion::execution::cache::Cache;
use datafusion::execution::cache::cache_manager::CachedFileMetadataEntry;
use datafusion::parquet::arrow::parquet_to_arrow_schema;
use datafusion::parquet::basic::Type;
use datafusion::parquet::errors::ParquetError;
use datafusion::parquet::file::metadata::{PageIndexPolicy, ParquetMetaData};
use datafusion::parquet::schema::types::{ColumnDescPtr, SchemaDescriptor};
use futures::{StreamExt, TryStreamExt, stream};
use object_store::path::Path;
use object_store::{ObjectMeta, ObjectStore};
use tidegate_catalog::{Physical, as_read, plain};
use tidegate_core::{DEEPEST, Error, check_depth, guarded_async, too_deep};

use super::adapt::renamed;
use super::places::{Found, Places, show};
use super::reader::corrected;
use super::trusted::trusted;
use crate::table::external;

/// The end of a file that is read at once: holds the footer and the page index of most files.
pub(crate) const TAIL: usize = 512 << 10;
/// More files than this are not looked at before they are read.
pub(crate) const LOOKED_AT: usize = 1_000;
/// Footers that are read at once.
const AT_ONCE: usize = 32;

/// The footer of a file; read once a session.
pub(crate) async fn footer(places: &Places, file: &Found) -> DfResult<Arc<ParquetMetaData>> {
    let store = places.store(&file.root).map_err(external)?;
    let cache = places.runtime().cache_manager.get_file_metadata_cache();
    read(cache.as_ref(), store.as_ref(), &file.object)
        .await
        .map_err(|error| match error {
            DataFusionError::ParquetError(cause) => external(
                Error::data("the file is not Parquet, or it is damaged")
                    .with("path", show(&file.root, &file.object.location))
                    .because(cause.to_string()),
            ),
            other => other,
        })
}

/// The footer of an object, as far as it can be believed; remembered within the session.
pub(super) async fn read(
    cache: &dyn Cache<Path, CachedFileMetadataEntry>,
    store: &dyn ObjectStore,
    object: &ObjectMeta,
) -> DfResult<Arc<ParquetMetaData>> {
    if let Some(entry) = cache.get(&object.location)
        && entry.is_valid_for(object)
        && let Some(known) = entry.file_metadata.as_any().downcast_ref()
    {
        return Ok(Arc::clone(CachedParquetMetaData::parquet_metadata(known)));
    }
    let read = async {
        let metadata = DFParquetMetadata::new(store, object);
        let metadata = metadata
            .with_metadata_size_hint(Some(TAIL))
            .with_page_index_policy(Some(PageIndexPolicy::Optional));
        let read = metadata.fetch_metadata().await;
        Ok(read.and_then(|read| Ok(trusted(corrected(read)?)?)))
    };
    // The library panics over some footers that are damaged.
    let footer = guarded_async("the footer's decoder", read).await;
    let damaged = |panic: Error| ParquetError::General(panic.to_string());
    let footer = footer.map_err(damaged)??;
    let remembered = Arc::new(CachedParquetMetaData::new(Arc::clone(&footer)));
    let entry = CachedFileMetadataEntry::new(object.clone(), remembered);
    cache.put(&object.location, entry);
    Ok(footer)
}

/// The schemas of files, in their order.
pub(crate) async fn schemas(places: &Places, files: &[Found]) -> DfResult<Vec<SchemaRef>> {
    stream::iter(files)
        .map(|file| async move {
            let footer = footer(places, file).await?;
            Ok(Arc::new(schema(&footer)?))
        })
        .buffered(AT_ONCE)
        .try_collect()
        .await
}

/// A file's columns as they are read, without what only Arrow knows of them.
pub(crate) fn schema(footer: &ParquetMetaData) -> DfResult<Schema> {
    let file = footer.file_metadata();
    let leaves = file.schema_descr();
    // A list has two names there: what is deeper than this isn't even looked at.
    let deep = |leaf: &ColumnDescPtr| leaf.path().parts().len() > 2 * DEEPEST + 1;
    if leaves.columns().iter().any(deep) {
        return Err(external(too_deep(DEEPEST)));
    }
    let schema = parquet_to_arrow_schema(leaves, file.key_value_metadata())?;
    let read = as_read(schema.fields(), &|leaf| stored(leaves, leaf, true));
    let read = read.as_ref().unwrap_or(schema.fields()).iter();
    let fields = read.map(|field| {
        let plain = plain(field.data_type());
        field.as_ref().clone().with_data_type(plain)
    });
    let schema = Schema::new(fields.collect::<Vec<_>>());
    check_depth(&schema, DEEPEST).map_err(external)?;
    Ok(schema)
}

/// How a leaf is stored; `noted` says that the file notes a type for it.
pub(crate) fn stored(leaves: &SchemaDescriptor, leaf: usize, noted: bool) -> Physical {
    match leaves.columns().get(leaf).map(|leaf| leaf.physical_type()) {
        Some(Type::INT32) => Physical::Int32,
        Some(Type::INT96) if !noted => Physical::Int96,
        _ => Physical::Other,
    }
}

/// Gives files what their footers say; the sum of it for the table's columns.
pub(crate) async fn look(
    places: &Places,
    files: Vec<(Found, PartitionedFile)>,
    table: &SchemaRef,
    of_files: &SchemaRef,
) -> DfResult<(Vec<(Found, PartitionedFile)>, Statistics)> {
    let looked: Vec<_> = stream::iter(files)
        .map(|(found, mut file)| async move {
            let footer = footer(places, &found).await?;
            file.statistics = Some(Arc::new(statistics(
                &footer,
                of_files,
                &file.partition_values,
            )?));
            Ok::<_, DataFusionError>((found, file))
        })
        .buffered(AT_ONCE)
        .try_collect()
        .await?;
    let each = looked
        .iter()
        .filter_map(|(_, file)| file.statistics.as_deref());
    let all = Statistics::try_merge_iter(each, table)?;
    Ok((looked, all))
}

/// Of a column whose type in the file is another than in the table nothing is said: bounds of one
/// type can't be compared with those of another.
fn statistics(
    footer: &ParquetMetaData,
    wanted: &SchemaRef,
    partition: &[datafusion::scalar::ScalarValue],
) -> DfResult<Statistics> {
    let file = schema(footer)?;
    let file = apply_file_schema_type_coercions(wanted, &file).unwrap_or(file);
    let file = Arc::new(file);
    let of_file = DFParquetMetadata::statistics_from_parquet_metadata(footer, &file)?;
    let named = renamed(&file, wanted);
    let mut columns: Vec<ColumnStatistics> = wanted
        .fields()
        .iter()
        .map(|field| match named.column_with_name(field.name()) {
            Some((index, other)) if other.data_type() == field.data_type() => {
                let told = of_file.column_statistics[index].clone();
                complete(footer, index, told)
            }
            _ => ColumnStatistics::new_unknown(),
        })
        .collect();
    columns.extend(partition.iter().map(|value| {
        let mut column = ColumnStatistics::new_unknown();
        if value.is_null() {
            column.null_count = of_file.num_rows;
        } else {
            column.null_count = Precision::Exact(0);
            column.min_value = Precision::Exact(value.clone());
            column.max_value = Precision::Exact(value.clone());
        }
        column
    }));
    Ok(Statistics {
        num_rows: of_file.num_rows,
        total_byte_size: of_file.total_byte_size,
        column_statistics: columns,
    })
}

/// What is told of a column, without what only some row groups tell: DataFusion makes it of those,
/// as if there were no others.
fn complete(footer: &ParquetMetaData, root: usize, told: ColumnStatistics) -> ColumnStatistics {
    let unknown = ColumnStatistics::new_unknown().with_byte_size(told.byte_size);
    let schema = footer.file_metadata().schema_descr();
    let leaf = (0..schema.num_columns()).find(|leaf| schema.get_column_root_idx(*leaf) == root);
    let Some(leaf) = leaf.filter(|_| schema.root_schema().get_fields()[root].is_primitive()) else {
        return unknown;
    };
    let mut bounded = true;
    for group in footer.row_groups() {
        let Some(statistics) = group.column(leaf).statistics() else {
            return unknown;
        };
        let all_null = statistics.null_count_opt() == u64::try_from(group.num_rows()).ok();
        let both = statistics.min_bytes_opt().is_some() && statistics.max_bytes_opt().is_some();
        bounded &= both || all_null;
    }
    match bounded {
        true => told,
        false => unknown.with_null_count(told.null_count),
    }
}
