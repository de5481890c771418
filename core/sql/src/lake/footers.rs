//! What the footers of Parquet files say about their rows, before any row is read.

use std::sync::Arc;

use arrow_schema::{Schema, SchemaRef};
use datafusion::common::stats::Precision;
use datafusion::common::{ColumnStatistics, Statistics};
use datafusion::datasource::listing::PartitionedFile;
use datafusion::datasource::physical_plan::parquet::apply_file_schema_type_coercions;
use datafusion::datasource::physical_plan::parquet::metadata::DFParquetMetadata;
use datafusion::error::{DataFusionError, Result as DfResult};
use datafusion::parquet::arrow::parquet_to_arrow_schema;
use datafusion::parquet::basic::Type;
use datafusion::parquet::file::metadata::ParquetMetaData;
use datafusion::parquet::schema::types::{ColumnDescPtr, SchemaDescriptor};
use futures::{StreamExt, TryStreamExt, stream};
use object_store::ObjectMeta;
use tidegate_catalog::{Physical, as_read, plain};
use tidegate_core::{DEEPEST, Error, check_depth, too_deep};

use super::adapt::renamed;
use super::places::{Found, Places, show};
use super::reader::corrected;
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
    read(places, &store, &file.object)
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

async fn read(
    places: &Places,
    store: &Arc<dyn object_store::ObjectStore>,
    object: &ObjectMeta,
) -> DfResult<Arc<ParquetMetaData>> {
    let cache = places.runtime().cache_manager.get_file_metadata_cache();
    DFParquetMetadata::new(store.as_ref(), object)
        .with_metadata_size_hint(Some(TAIL))
        .with_file_metadata_cache(Some(cache))
        .fetch_metadata()
        .await
        .and_then(|footer| Ok(corrected(footer)?))
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
                of_file.column_statistics[index].clone()
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
