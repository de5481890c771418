//! Which files are to be read, in which pieces, and what is remembered of them.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt;

use serde::{Deserialize, Serialize};
use tidegate_core::{Estimate, Offset, Result, Split, SplitData, SplitId, TablePartition};
use tidegate_storage::{FileMeta, Place, Storage};

/// What is remembered between asks and, if the source is incremental, between runs.
#[derive(Debug, Default, Serialize, Deserialize)]
pub(crate) struct State {
    /// Files that were given as splits, by name.
    #[serde(default)]
    pub(crate) seen: BTreeMap<String, Mark>,
    /// Files that were passed over, by key; only if files are remembered.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub(crate) failed: BTreeMap<String, FailedBefore>,
    /// Splits of which it isn't told yet that they are finished, where the source waits for that.
    #[serde(default, skip_serializing_if = "BTreeSet::is_empty")]
    pub(crate) open: BTreeSet<SplitId>,
}

/// A file that was passed over.
#[derive(Debug, Serialize, Deserialize)]
pub(crate) struct FailedBefore {
    /// The state of it that can't be read.
    pub(crate) mark: Mark,
    /// How many of its rows are committed, if that is known.
    pub(crate) rows: Option<u64>,
}

/// Tells a file from what it was before it was changed: its bytes, microseconds since 1970 and,
/// where times are too coarse to tell (S3's are seconds), what the place calls its content.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Mark(u64, i64, #[serde(default)] Option<String>);

impl Mark {
    pub(crate) fn of(storage: &Storage, file: &FileMeta) -> Self {
        let etag = file
            .etag
            .as_deref()
            .map(|etag| etag.trim_matches('"').to_owned());
        let etag = etag.filter(|_| storage.location().place() == Place::S3);
        Self(file.size, file.modified.timestamp_micros(), etag)
    }
}

impl fmt::Display for Mark {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}:{}", self.1, self.0)?;
        match &self.2 {
            Some(etag) => write!(f, ":{etag}"),
            None => Ok(()),
        }
    }
}

/// What a reader needs to know.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub(crate) struct Piece {
    pub(crate) file: FileMeta,
    pub(crate) part: Part,
    /// The partition of a table that it is in.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) partition: Option<TablePartition>,
    /// How many pieces the file has; unknown where an earlier version planned it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) pieces: Option<usize>,
    /// Where reading begins, if it isn't the beginning: up to here the piece was read as one of the
    /// file that lay there before.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) begin: Option<Offset>,
    /// Where it is known beforehand that nothing more of it can be read: it is only passed over.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) failed: Option<Unreadable>,
}

/// Why a file is passed over without being read.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub(crate) struct Unreadable {
    pub(crate) why: String,
    /// How many of its rows are committed, if that is known.
    pub(crate) rows: Option<u64>,
}

/// Which part of a file.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub(crate) enum Part {
    /// All of it.
    Whole,
    /// The records that begin in these bytes.
    Bytes(u64, u64),
    /// These row groups: from, to (excluded).
    RowGroups(usize, usize),
}

impl fmt::Display for Part {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Whole => Ok(()),
            Self::Bytes(from, to) => write!(f, "#{from}-{to}"),
            Self::RowGroups(from, to) => write!(f, "#groups-{from}-{to}"),
        }
    }
}

impl Piece {
    /// A whole file of which nothing more can be read.
    pub(crate) fn failed(file: FileMeta, failed: Unreadable) -> Self {
        Self {
            file,
            part: Part::Whole,
            partition: None,
            pieces: Some(1),
            begin: None,
            failed: Some(failed),
        }
    }

    /// The same id always means the same bytes of the same state of the file called `name`.
    pub(crate) fn split(&self, name: &str, mark: &Mark, size: Estimate) -> Result<Split> {
        let id = format!("{}{}", version(name, mark), self.part);
        Ok(Split::new(id, SplitData::encode(self)?).estimate(size.rows, size.bytes))
    }
}

/// What the ids of all splits of a file begin with, as long as it is as it is.
pub(crate) fn version(name: &str, mark: &Mark) -> String {
    format!("{name}@{mark}")
}

/// A file is cut into at most so many pieces, because all of them are in memory at once.
const MOST_PIECES: u64 = 100_000;

/// The byte ranges of a file of `size`, each about `piece` long and none much shorter; longer if there
/// would be more than [`MOST_PIECES`].
pub(crate) fn ranges(size: u64, piece: u64) -> Vec<(u64, u64)> {
    let count = (size / piece).clamp(1, MOST_PIECES);
    let at = |i: u64| u64::try_from(u128::from(size) * u128::from(i) / u128::from(count));
    let at = |i| at(i).unwrap_or(size);
    (0..count).map(|i| (at(i), at(i + 1))).collect()
}

/// Neighbouring row groups joined until they have about `piece` bytes: from, to, rows, bytes.
pub(crate) fn joined(groups: &[(u64, u64)], piece: u64) -> Vec<(usize, usize, u64, u64)> {
    let mut pieces = Vec::new();
    let (mut from, mut rows, mut bytes) = (0, 0, 0);
    for (index, (group_rows, group_bytes)) in groups.iter().enumerate() {
        rows += group_rows;
        bytes += group_bytes;
        if bytes >= piece || index + 1 == groups.len() {
            pieces.push((from, index + 1, rows, bytes));
            (from, rows, bytes) = (index + 1, 0, 0);
        }
    }
    pieces
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_largest_file_has_no_more_pieces_than_can_be_kept() {
        let ranges = ranges(u64::MAX, 64 << 20);
        assert_eq!(ranges.len(), 100_000);
        assert_eq!((ranges[0].0, ranges[99_999].1), (0, u64::MAX));
        assert!(ranges.windows(2).all(|pair| pair[0].1 == pair[1].0));
    }

    #[test]
    fn pieces_cover_a_file_once() {
        for (size, piece) in [(0, 10), (9, 10), (19, 10), (100, 7), (u64::MAX, 1 << 60)] {
            let ranges = ranges(size, piece);
            assert_eq!(ranges[0].0, 0);
            assert_eq!(ranges[ranges.len() - 1].1, size);
            assert!(ranges.windows(2).all(|pair| pair[0].1 == pair[1].0));
            assert!(
                ranges
                    .iter()
                    .all(|(from, to)| to - from < piece.saturating_mul(2))
            );
        }
        let groups = [(1, 4), (1, 4), (1, 20), (2, 1)];
        assert_eq!(
            joined(&groups, 8),
            [(0, 2, 2, 8), (2, 3, 1, 20), (3, 4, 2, 1)]
        );
        assert!(joined(&[], 8).is_empty());
    }
}
