//! Where rows come from, so that a sink can tell a row that comes again from another one.

use std::fmt;
use std::sync::Arc;

use crate::{ComponentId, Offset, Origin, SplitId};

/// A position in a split, as its source gave it.
#[derive(Debug, Clone, PartialEq)]
pub struct Position {
    /// The source.
    pub source: ComponentId,
    /// The split.
    pub split: SplitId,
    /// Reading resumes after this; `None`: from the split's beginning.
    pub offset: Option<Offset>,
}

/// What tells a row from all others of the same input, and is the same when it is read again, by
/// this process or its successor: provided that the source gives its events, and their positions,
/// at the same rows each time.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct RowOrigin<'a> {
    /// The last position before it.
    pub position: &'a Position,
    /// Tells the rows after that position apart, and grows in their order. It counts what comes out
    /// of the path from the source to the input, so rows that a map drops or multiplies count as
    /// they come out.
    pub number: u64,
}

impl RowOrigin<'_> {
    /// As the origin of a rejected row.
    pub fn rejected(&self) -> Origin {
        Origin {
            split: Some(self.position.split.clone()),
            ..Origin::default()
        }
    }
}

impl fmt::Display for RowOrigin<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Position {
            source,
            split,
            offset,
        } = self.position;
        let offset = offset.as_ref().map(serde_json::to_string);
        let offset = offset.transpose().map_err(|_| fmt::Error)?;
        let offset = offset.unwrap_or_default();
        write!(f, "{source}/{split}@{offset}#{}", self.number)
    }
}

/// The origins of a batch's rows.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Origins {
    /// Rows that follow each other, as they mostly do.
    runs: Vec<Run>,
}

#[derive(Debug, Clone, PartialEq)]
struct Run {
    position: Arc<Position>,
    first: u64,
    rows: usize,
}

impl Origins {
    /// Of how many rows.
    pub fn len(&self) -> usize {
        self.runs.iter().map(|run| run.rows).sum()
    }

    /// Whether of none.
    pub fn is_empty(&self) -> bool {
        self.runs.is_empty()
    }

    /// Adds `rows` rows after a position, the first of which has the number `first`.
    pub fn push(&mut self, position: &Arc<Position>, first: u64, rows: usize) {
        if rows == 0 {
            return;
        }
        match self.runs.last_mut() {
            Some(last)
                if Arc::ptr_eq(&last.position, position)
                    && last.first + last.rows as u64 == first =>
            {
                last.rows += rows;
            }
            _ => self.runs.push(Run {
                position: Arc::clone(position),
                first,
                rows,
            }),
        }
    }

    /// Adds all of another's.
    pub fn extend(&mut self, other: Self) {
        for run in other.runs {
            self.push(&run.position, run.first, run.rows);
        }
    }

    /// The origin of a row; `None` if there are fewer.
    pub fn get(&self, row: usize) -> Option<RowOrigin<'_>> {
        let mut before = 0;
        for run in &self.runs {
            if row < before + run.rows {
                return Some(RowOrigin {
                    position: &run.position,
                    number: run.first + (row - before) as u64,
                });
            }
            before += run.rows;
        }
        None
    }

    /// The origins in the order of the rows.
    pub fn iter(&self) -> impl Iterator<Item = RowOrigin<'_>> {
        self.runs.iter().flat_map(|run| {
            (run.first..).take(run.rows).map(|number| RowOrigin {
                position: &run.position,
                number,
            })
        })
    }

    /// Those of `rows` rows from the `from`-th on.
    #[must_use]
    pub fn slice(&self, from: usize, rows: usize) -> Self {
        let (mut skip, mut left) = (from, rows);
        let mut slice = Self::default();
        for run in &self.runs {
            let skipped = skip.min(run.rows);
            let taken = left.min(run.rows - skipped);
            slice.push(&run.position, run.first + skipped as u64, taken);
            skip -= skipped;
            left -= taken;
        }
        slice
    }

    /// Those of the rows at these places, which grow.
    #[must_use]
    pub fn take(&self, rows: &[u32]) -> Self {
        let mut taken = Self::default();
        let mut runs = self.runs.iter();
        let (mut run, mut before) = (runs.next(), 0);
        for row in rows {
            let row = *row as usize;
            while let Some(at) = run
                && row >= before + at.rows
            {
                before += at.rows;
                run = runs.next();
            }
            if let Some(at) = run {
                taken.push(&at.position, at.first + (row - before) as u64, 1);
            }
        }
        taken
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn position(split: &str, offset: Option<u32>) -> Arc<Position> {
        Arc::new(Position {
            source: ComponentId::new("shop").unwrap(),
            split: split.into(),
            offset: offset.map(|offset| Offset::encode(&offset).unwrap()),
        })
    }

    fn shown(origins: &Origins) -> Vec<String> {
        let shown: Vec<_> = origins.iter().map(|origin| origin.to_string()).collect();
        let one_by_one = (0..origins.len()).map(|row| origins.get(row).unwrap().to_string());
        assert_eq!(shown, one_by_one.collect::<Vec<_>>());
        assert!(origins.get(origins.len()).is_none());
        shown
    }

    #[test]
    fn parts_of_a_batch_keep_their_origins() {
        let mut origins = Origins::default();
        origins.push(&position("a", None), 0, 2);
        origins.push(&position("a", Some(7)), 0, 3);
        origins.push(&position("b", None), 5, 1);
        let all = shown(&origins);
        assert_eq!(
            all,
            [
                "shop/a@#0",
                "shop/a@#1",
                "shop/a@7#0",
                "shop/a@7#1",
                "shop/a@7#2",
                "shop/b@#5"
            ]
        );
        for from in 0..6 {
            for rows in 0..=6 - from {
                assert_eq!(shown(&origins.slice(from, rows)), all[from..from + rows]);
            }
        }
        assert_eq!(
            shown(&origins.take(&[1, 3, 4, 5])),
            [1, 3, 4, 5].map(|row: usize| all[row].clone())
        );
        let mut joined = origins.slice(0, 3);
        joined.extend(origins.slice(3, 3));
        assert_eq!(shown(&joined), all);
    }
}
