//! Which row groups can have rows that matter, by the statistics in a file's footer.

use std::ops::Range;

use arrow_array::Array;
use parquet::arrow::arrow_reader::ArrowReaderMetadata;
use parquet::arrow::arrow_reader::statistics::StatisticsConverter;
use parquet::file::metadata::RowGroupMetaData;
use tidegate_core::{Predicate, Result};

use crate::read::columns::{Columns, From};
use crate::read::predicate::{self, Bounds};

/// For each row group, whether a row in it may fulfil all conditions. What isn't known says yes.
pub(super) fn groups(
    metadata: &ArrowReaderMetadata,
    columns: &Columns,
    predicates: &[Predicate],
    groups: Range<usize>,
) -> Result<Vec<bool>> {
    let mut wanted = vec![true; groups.len()];
    if predicates.is_empty() {
        return Ok(wanted);
    }
    let sources = columns.sources(metadata.schema())?;
    for condition in predicates {
        let Some(name) = tidegate_catalog::column(condition) else {
            continue;
        };
        let Ok(at) = columns.schema.index_of(name) else {
            continue;
        };
        let stream = columns.schema.field(at).data_type();
        match sources[at] {
            From::Missing => {
                let may = predicate::may_match(condition, &Bounds::missing(), stream);
                wanted.iter_mut().for_each(|wanted| *wanted &= may);
            }
            // Whole files were left out by what their directories say.
            From::Constant(_) => {}
            From::File(place) => {
                let file = metadata.schema().field(place).data_type();
                // Only NULLs can be counted where values become others.
                let nulls_only = !predicate::comparable(stream, file);
                let Some(bounds) = bounds(metadata, place, groups.clone(), nulls_only) else {
                    continue;
                };
                for (wanted, bounds) in wanted.iter_mut().zip(&bounds) {
                    *wanted &= predicate::may_match(condition, bounds, file);
                }
            }
        }
    }
    Ok(wanted)
}

/// What the footer says of a column in each row group; `None` for one that has members.
fn bounds(
    metadata: &ArrowReaderMetadata,
    place: usize,
    groups: Range<usize>,
    nulls_only: bool,
) -> Option<Vec<Bounds>> {
    let groups = metadata.metadata().row_groups().get(groups)?;
    let (leaf, converter) = converter(metadata, place)?;
    let nulls = converter.row_group_null_counts(groups).ok()?;
    let mut bounds: Vec<_> = groups
        .iter()
        .enumerate()
        .map(|(at, group)| Bounds {
            nulls: nulls.is_valid(at).then(|| nulls.value(at)),
            rows: group.num_rows().unsigned_abs(),
            ..Bounds::default()
        })
        .collect();
    if nulls_only {
        return Some(bounds);
    }
    let least = converter.row_group_mins(groups).ok()?;
    let greatest = converter.row_group_maxes(groups).ok()?;
    let least_exact = converter.row_group_is_min_value_exact(groups).ok()?;
    let greatest_exact = converter.row_group_is_max_value_exact(groups).ok()?;
    let least = predicate::values(&least, false)?;
    let greatest = predicate::values(&greatest, true)?;
    let values = least.into_iter().zip(greatest).zip(groups);
    for (at, ((least, greatest), group)) in values.enumerate() {
        if !trusted(group, leaf) {
            continue;
        }
        bounds[at].least = least;
        bounds[at].greatest = greatest;
        let texts = matches!(bounds[at].least, Some(predicate::Value::Text(_)));
        let exact = |flags: &arrow_array::BooleanArray| flags.is_valid(at) && flags.value(at);
        bounds[at].exact = !texts || (exact(&least_exact) && exact(&greatest_exact));
    }
    Some(bounds)
}

/// What reads the statistics of a column, with the column's number among the leaves; `None` for one
/// that has members.
pub(super) fn converter(
    metadata: &ArrowReaderMetadata,
    place: usize,
) -> Option<(usize, StatisticsConverter<'_>)> {
    let (arrow, parquet) = (metadata.schema(), metadata.parquet_schema());
    let field = arrow.field(place);
    if field.data_type().is_nested() {
        return None;
    }
    // Names may come twice in a foreign file; numbers don't.
    let leaf =
        (0..parquet.num_columns()).find(|leaf| parquet.get_column_root_idx(*leaf) == place)?;
    let converter = StatisticsConverter::try_new(field.name(), arrow, parquet)
        .ok()?
        .with_missing_null_counts_as_zero(false);
    (converter.parquet_column_index() == Some(leaf)).then_some((leaf, converter))
}

/// Whether bounds are in the order of the column's type. Old writers compared everything as signed
/// bytes (PARQUET-251, PARQUET-686), which is right for signed integers alone.
pub(super) fn trusted(group: &RowGroupMetaData, leaf: usize) -> bool {
    use parquet::basic::{ConvertedType, Type};
    let column = group.column(leaf);
    let Some(statistics) = column.statistics() else {
        return false;
    };
    let signed = matches!(
        column.column_type(),
        Type::BOOLEAN | Type::INT32 | Type::INT64
    ) && !matches!(
        column.column_descr().converted_type(),
        ConvertedType::UINT_8
            | ConvertedType::UINT_16
            | ConvertedType::UINT_32
            | ConvertedType::UINT_64
    );
    !statistics.is_min_max_deprecated() || signed
}
