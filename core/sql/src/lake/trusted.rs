//! What the footer of a Parquet file says, without what can't be believed.
//!
//! DataFusion infers from statistics which files, row groups and pages to leave out, what a column
//! holds that it doesn't read, and what `min` and `max` are. What
//! isn't in the footer can't mislead it in any place.

use std::sync::Arc;

use datafusion::parquet::basic::{ConvertedType, LogicalType, SortOrder, Type};
use datafusion::parquet::errors::Result;
use datafusion::parquet::file::metadata::{ColumnChunkMetaData, ParquetMetaData, RowGroupMetaData};
use datafusion::parquet::file::page_index::column_index::ColumnIndexMetaData;
use datafusion::parquet::file::statistics::Statistics;
use datafusion::parquet::schema::types::{ColumnDescriptor, SchemaDescriptor};

/// What is to be done with the statistics of a column.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Trust {
    All,
    /// The counts, but not the bounds.
    Counts,
    /// DataFusion finds statistics by name.
    None,
}

/// The footer that may be believed.
///
/// - Bounds of floating-point numbers say nothing of NaN, and -0.0 may stand for 0.0.
/// - Bounds in an order that isn't defined (INT96, INTERVAL), or that old writers got wrong
///   (PARQUET-251, PARQUET-686), bound nothing.
/// - A count of NULLs that is missing is unknown; DataFusion takes it as none when it leaves out row
///   groups.
pub(super) fn trusted(footer: Arc<ParquetMetaData>) -> Result<Arc<ParquetMetaData>> {
    let schema = footer.file_metadata().schema_descr();
    let trust: Vec<Trust> = (0..schema.num_columns())
        .map(|leaf| of_column(schema, leaf))
        .collect();
    let groups = footer.row_groups().iter();
    let mut chunks = groups.flat_map(|group| group.columns().iter().zip(&trust));
    if chunks.all(|(chunk, trust)| is_fine(chunk, *trust)) {
        return Ok(footer);
    }
    let mut builder = Arc::unwrap_or_clone(footer).into_builder();
    let groups = builder.take_row_groups().into_iter();
    let groups = groups.map(|group| of_group(group, &trust));
    let groups = groups.collect::<Result<_>>()?;
    let mut index = builder.take_column_index();
    for group in index.iter_mut().flatten() {
        for (chunk, trust) in group.iter_mut().zip(&trust) {
            if *trust != Trust::All {
                *chunk = ColumnIndexMetaData::NONE;
            }
        }
    }
    let builder = builder.set_row_groups(groups).set_column_index(index);
    Ok(Arc::new(builder.build()))
}

fn of_column(schema: &SchemaDescriptor, leaf: usize) -> Trust {
    let root = schema.get_column_root(leaf).name();
    let fields = schema.root_schema().get_fields().iter();
    if fields.filter(|field| field.name() == root).count() > 1 {
        return Trust::None;
    }
    let column = schema.column(leaf);
    let float = matches!(column.physical_type(), Type::FLOAT | Type::DOUBLE)
        || matches!(column.logical_type_ref(), Some(LogicalType::Float16));
    let undefined =
        column.physical_type() == Type::INT96 || column.sort_order() == SortOrder::UNDEFINED;
    match float || undefined {
        true => Trust::Counts,
        false => Trust::All,
    }
}

fn is_fine(chunk: &ColumnChunkMetaData, trust: Trust) -> bool {
    let Some(statistics) = chunk.statistics() else {
        return trust == Trust::All || chunk.column_index_offset().is_none();
    };
    let bounded = statistics.min_bytes_opt().is_some() || statistics.max_bytes_opt().is_some();
    counts_nulls(statistics, chunk.column_descr())
        && match trust {
            Trust::All => !bounded || in_order(statistics, chunk.column_descr()),
            Trust::Counts => !bounded && chunk.column_index_offset().is_none(),
            Trust::None => false,
        }
}

/// Old writers compared everything as signed bytes, which is right for signed numbers alone.
fn in_order(statistics: &Statistics, column: &ColumnDescriptor) -> bool {
    let signed = matches!(
        column.physical_type(),
        Type::BOOLEAN | Type::INT32 | Type::INT64
    ) && !matches!(
        column.converted_type(),
        ConvertedType::UINT_8
            | ConvertedType::UINT_16
            | ConvertedType::UINT_32
            | ConvertedType::UINT_64
    );
    signed || !statistics.is_min_max_deprecated()
}

fn of_group(group: RowGroupMetaData, trust: &[Trust]) -> Result<RowGroupMetaData> {
    let mut builder = group.into_builder();
    let chunks = builder.take_columns().into_iter().zip(trust);
    let chunks = chunks.map(|(chunk, trust)| match is_fine(&chunk, *trust) {
        true => Ok(chunk),
        false => of_chunk(chunk, *trust),
    });
    let chunks = chunks.collect::<Result<_>>()?;
    builder.set_column_metadata(chunks).build()
}

fn of_chunk(chunk: ColumnChunkMetaData, trust: Trust) -> Result<ColumnChunkMetaData> {
    let column = chunk.column_descr_ptr();
    let statistics = chunk.statistics().cloned();
    let mut builder = chunk.into_builder().clear_statistics();
    if trust != Trust::All {
        // A filter of hashes tells neither -0.0 from 0.0 nor one NaN from another as SQL does.
        builder = builder
            .set_column_index_offset(None)
            .set_column_index_length(None)
            .set_bloom_filter_offset(None)
            .set_bloom_filter_length(None);
    }
    if let Some(statistics) = statistics
        && trust != Trust::None
        && counts_nulls(&statistics, &column)
    {
        let bounded = trust == Trust::All && in_order(&statistics, &column);
        builder = builder.set_statistics(match bounded {
            true => statistics,
            false => without_bounds(&statistics),
        });
    }
    builder.build()
}

/// Whether it is known how many NULLs there are. What must be there is never NULL.
fn counts_nulls(statistics: &Statistics, column: &ColumnDescriptor) -> bool {
    statistics.null_count_opt().is_some() || column.max_def_level() == 0
}

fn without_bounds(statistics: &Statistics) -> Statistics {
    use Statistics as S;
    let nulls = statistics.null_count_opt();
    match statistics {
        S::Boolean(_) => S::boolean(None, None, None, nulls, false),
        S::Int32(_) => S::int32(None, None, None, nulls, false),
        S::Int64(_) => S::int64(None, None, None, nulls, false),
        S::Int96(_) => S::int96(None, None, None, nulls, false),
        S::Float(_) => S::float(None, None, None, nulls, false),
        S::Double(_) => S::double(None, None, None, nulls, false),
        S::ByteArray(_) => S::byte_array(None, None, None, nulls, false),
        S::FixedLenByteArray(_) => S::fixed_len_byte_array(None, None, None, nulls, false),
    }
}
