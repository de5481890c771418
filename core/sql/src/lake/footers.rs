//! What the footers of Parquet files say about their rows, before any row is read.

use std::sync::Arc;

use arrow_schema::{Schema, SchemaRef, TimeUnit};
use datafusion::common::stats::Precision;
use datafusion::common::{ColumnStatistics, Statistics};
use datafusion::datasource::listing::PartitionedFile;
use datafusion::datasource::physical_plan::parquet::metadata::DFParquetMetadata;
use datafusion::datasource::physical_plan::parquet::{
    Int96Coercer, apply_file_schema_type_coercions,
};
use datafusion::error::{DataFusionError, Result as DfResult};
use datafusion::parquet::arrow::parquet_to_arrow_schema;
use datafusion::parquet::file::metadata::ParquetMetaData;
use futures::{StreamExt, TryStreamExt, stream};
use object_store::ObjectMeta;
use tidegate_core::Error;

use super::adapt::renamed;
use super::places::{Found, Places, show};

/// The end of a file that is read at once: holds the footer and the page index of most files.
pub(crate) const TAIL: usize = 512 << 10;
/// More files than this are not looked at before they are read.
pub(crate) const LOOKED_AT: usize = 1_000;
/// Footers that are read at once.
const AT_ONCE: usize = 32;

/// The footer of a file; read once a session.
pub(crate) async fn footer(places: &Places, file: &Found) -> DfResult<Arc<ParquetMetaData>> {
    let store = places.store(&file.root).map_err(crate::table::external)?;
    read(places, &store, &file.object)
        .await
        .map_err(|error| match error {
            DataFusionError::ParquetError(cause) => crate::table::external(
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

/// A file's columns as they are read: without what other programs noted about their Arrow types,
/// and Spark's old time stamps in microseconds.
pub(crate) fn schema(footer: &ParquetMetaData) -> DfResult<Schema> {
    let described = footer.file_metadata().schema_descr();
    let schema = parquet_to_arrow_schema(described, None)?;
    let coerced = Int96Coercer::new(described, &schema, &TimeUnit::Microsecond).coerce();
    Ok(coerced.unwrap_or(schema))
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
