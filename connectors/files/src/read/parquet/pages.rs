//! Which rows of a row group can matter, by what a file says of its pages.

use std::ops::Range;

use arrow_array::Array;
use parquet::arrow::arrow_reader::statistics::StatisticsConverter;
use parquet::arrow::arrow_reader::{ArrowReaderMetadata, RowSelection, RowSelector};
use parquet::errors::ParquetError;
use tidegate_core::{Predicate, Result};

use super::prune::{converter, trusted};
use crate::read::columns::{Columns, From};
use crate::read::predicate::{self, Bounds};

/// Rows of a row group, in order and apart.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct RowRanges(Vec<Range<u64>>);

impl RowRanges {
    pub(super) fn all(rows: u64) -> Self {
        Self(Vec::from_iter((rows > 0).then_some(0..rows)))
    }

    /// Those that lie in all of these ranges too, which are in order.
    pub(super) fn within(&self, others: &[Range<u64>]) -> Self {
        let mut both: Vec<Range<u64>> = Vec::new();
        let mut others = others.iter().peekable();
        for mine in &self.0 {
            while let Some(other) = others.peek() {
                let common = mine.start.max(other.start)..mine.end.min(other.end);
                if !common.is_empty() {
                    match both.last_mut() {
                        Some(last) if last.end == common.start => last.end = common.end,
                        _ => both.push(common),
                    }
                }
                if other.end > mine.end {
                    break;
                }
                others.next();
            }
        }
        Self(both)
    }

    pub(super) fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    pub(super) fn count(&self) -> u64 {
        self.0.iter().map(|range| range.end - range.start).sum()
    }

    /// The number of the row that comes after so many others.
    pub(super) fn nth(&self, mut before: u64) -> u64 {
        for range in &self.0 {
            let length = range.end - range.start;
            if before < length {
                return range.start + before;
            }
            before -= length;
        }
        self.0.last().map_or(before, |last| last.end + before)
    }

    pub(super) fn selection(&self) -> Result<RowSelection, ParquetError> {
        let length =
            |rows: u64| usize::try_from(rows).map_err(|error| ParquetError::External(error.into()));
        let mut selectors = Vec::new();
        let mut at = 0;
        for range in &self.0 {
            selectors.push(RowSelector::skip(length(range.start - at)?));
            selectors.push(RowSelector::select(length(range.end - range.start)?));
            at = range.end;
        }
        Ok(RowSelection::from(selectors))
    }
}

/// The rows of a row group on whose pages one may fulfil all conditions. What isn't known says yes.
pub(super) fn rows(
    metadata: &ArrowReaderMetadata,
    columns: &Columns,
    predicates: &[Predicate],
    group: usize,
) -> Result<RowRanges> {
    let count = metadata.metadata().row_group(group).num_rows();
    let mut wanted = RowRanges::all(count.unsigned_abs());
    if predicates.is_empty() || metadata.metadata().offset_index().is_none() {
        return Ok(wanted);
    }
    let sources = columns.sources(metadata.schema())?;
    for condition in predicates {
        let at = tidegate_catalog::column(condition);
        let Some(at) = at.and_then(|name| columns.schema.index_of(name).ok()) else {
            continue;
        };
        // What is true of all rows was asked of the whole row group.
        let From::File(place) = sources[at] else {
            continue;
        };
        let file = metadata.schema().field(place).data_type();
        if !predicate::comparable(columns.schema.field(at).data_type(), file) {
            continue;
        }
        let Some(pages) = pages(metadata, place, group) else {
            continue;
        };
        let may = pages
            .into_iter()
            .filter(|(_, bounds)| predicate::may_match(condition, bounds, file));
        let may: Vec<_> = may.map(|(rows, _)| rows).collect();
        wanted = wanted.within(&may);
    }
    Ok(wanted)
}

/// Whether pages, told by their first rows, lie one behind the other in a row group of so many: the
/// library subtracts what it finds.
fn in_order(firsts: impl Iterator<Item = i64> + Clone, rows: i64) -> bool {
    let mut ends = firsts.clone();
    ends.next() == Some(0) && firsts.chain([rows]).is_sorted()
}

/// The pages of a column of a row group: which rows each has, and what is known of them.
fn pages(
    metadata: &ArrowReaderMetadata,
    place: usize,
    group: usize,
) -> Option<Vec<(Range<u64>, Bounds)>> {
    let (leaf, converter): (usize, StatisticsConverter<'_>) = converter(metadata, place)?;
    let groups = metadata.metadata().row_groups();
    let (columns, offsets) = (
        metadata.metadata().column_index()?,
        metadata.metadata().offset_index()?,
    );
    let locations = offsets.get(group)?.get(leaf)?.page_locations();
    let firsts = locations.iter().map(|page| page.first_row_index);
    if !trusted(groups.get(group)?, leaf)
        || columns.get(group)?.len() <= leaf
        || !in_order(firsts, groups.get(group)?.num_rows())
    {
        return None;
    }
    let group = [group];
    let rows = converter
        .data_page_row_counts(offsets, groups, &group)
        .ok()??;
    let nulls = converter
        .data_page_null_counts(columns, offsets, &group)
        .ok()?;
    let least = converter.data_page_mins(columns, offsets, &group).ok()?;
    let greatest = converter.data_page_maxes(columns, offsets, &group).ok()?;
    let least = predicate::values(&least, false)?;
    let greatest = predicate::values(&greatest, true)?;
    let pages = rows.len();
    if nulls.len() != pages || least.len() != pages || greatest.len() != pages {
        return None;
    }
    let mut from = 0;
    let pages = least.into_iter().zip(greatest).enumerate();
    let pages = pages.map(|(at, (least, greatest))| {
        let range = from..from + rows.value(at);
        from = range.end;
        let bounds = Bounds {
            least,
            greatest,
            // Long texts may be cut off.
            exact: false,
            nulls: nulls.is_valid(at).then(|| nulls.value(at)),
            rows: rows.value(at),
        };
        (range, bounds)
    });
    Some(pages.collect())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn pages_that_are_out_of_order_tell_nothing() {
        let in_order = |firsts: &[i64], rows| in_order(firsts.iter().copied(), rows);
        assert!(in_order(&[0], 0) && in_order(&[0, 4, 8], 10));
        assert!(!in_order(&[], 10) && !in_order(&[1, 4], 10) && !in_order(&[0, 8, 4], 10));
        assert!(!in_order(&[0, 11], 10) && !in_order(&[0], -1) && !in_order(&[0, -1], 10));
    }

    #[test]
    fn ranges_are_narrowed_and_counted() {
        let all = RowRanges::all(100);
        assert_eq!(all.count(), 100);
        let some = all.within(&[0..10, 10..20, 50..60, 90..120]);
        assert_eq!(some, RowRanges(vec![0..20, 50..60, 90..100]));
        assert_eq!(
            some.within(&[15..18, 18..55]),
            RowRanges(vec![15..20, 50..55])
        );
        assert_eq!(some.within(&[20..30, 30..50]), RowRanges(vec![]));
        assert!(some.within(&[]).is_empty() && RowRanges::all(0).is_empty());
        let nth: Vec<_> = [0, 19, 20, 29, 30, 39].map(|at| some.nth(at)).into();
        assert_eq!(nth, [0, 19, 50, 59, 90, 99]);
        let selected = some.selection().expect("small numbers");
        assert_eq!(selected.row_count(), 40);
    }
}
