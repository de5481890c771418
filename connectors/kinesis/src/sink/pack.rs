//! Records of rows, put together to aggregated ones.
//!
//! A consumer of Amazon's library (KCL) drops an aggregated record as a whole if the key of any row in it
//! belongs to another shard than the one it is read from, and a key's rows in two shards have no order.
//! So rows share a record only if their keys belong to one shard. Random keys are made one. Keys of
//! columns are held against the list of shards, because of one key there are often few rows; where
//! shards have changed since, the answer tells, and the rows are put again (`put`).

use std::collections::{BTreeSet, HashMap, VecDeque};
use std::sync::Arc;

use super::records::{Limits, Record};
use super::shards::{ShardMap, hash};
use crate::aggregate::Builder;

/// The largest aggregated record, its key included: what the Kinesis Producer Library takes too,
/// unless told otherwise (`AggregationMaxSize`).
pub(super) const LARGEST: usize = 51_200;

/// Which rows may share a record.
#[derive(Debug, Clone)]
pub(super) enum Sharing {
    /// All: keys are random, and one of them serves for all rows.
    All,
    /// Those whose keys belong to one shard, and those of one key.
    ByShard(Arc<ShardMap>),
}

/// Rows that may share a record.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
enum Lane {
    All,
    Shard(usize),
    /// A key's hash: keys of one hash never part.
    Key(u128),
}

impl Sharing {
    fn lane(&self, row: &Record) -> Lane {
        let Self::ByShard(map) = self else {
            return Lane::All;
        };
        let hash = hash(row.key());
        map.find(hash).map_or(Lane::Key(hash), Lane::Shard)
    }
}

/// What is put as one record.
#[derive(Debug)]
pub(super) enum Packed {
    Row(Record),
    Aggregate(Aggregate),
}

#[derive(Debug)]
pub(super) struct Aggregate {
    record: Record,
    rows: Vec<Record>,
    lane: Lane,
}

impl Packed {
    /// As it is put.
    pub(super) fn record(&self) -> &Record {
        match self {
            Self::Row(row) => row,
            Self::Aggregate(aggregate) => &aggregate.record,
        }
    }

    /// The records of its rows.
    pub(super) fn into_rows(self) -> Vec<Record> {
        match self {
            Self::Row(row) => vec![row],
            Self::Aggregate(aggregate) => aggregate.rows,
        }
    }

    /// Whether it came to the shard for which it was made, by the map with which it was; or its keys
    /// are one.
    pub(super) fn came_to(&self, shard: Option<&str>, map: &ShardMap) -> bool {
        let Self::Aggregate(aggregate) = self else {
            return true;
        };
        match aggregate.lane {
            Lane::All | Lane::Key(_) => true,
            Lane::Shard(at) => shard.and_then(|shard| map.index(shard)) == Some(at),
        }
    }

    /// Whether all its keys belong to this shard, or are one, which is always where it belongs.
    pub(super) fn belongs_to(&self, shard: Option<&str>, map: &ShardMap) -> bool {
        let Self::Aggregate(aggregate) = self else {
            return true;
        };
        let hashes = aggregate.rows.iter().map(|row| hash(row.key()));
        let hashes: BTreeSet<_> = hashes.collect();
        if hashes.len() == 1 {
            return true;
        }
        let shard = shard.and_then(|shard| map.index(shard));
        shard.is_some() && hashes.into_iter().all(|hash| map.find(hash) == shard)
    }
}

/// As many of the rows as a request takes, in records of at most `largest` bytes, or of one row.
/// `ordered`: only one record of those that may share one, because those of a request have no order.
pub(super) fn pack(
    waiting: &mut VecDeque<Record>,
    limits: Limits,
    largest: usize,
    sharing: &Sharing,
    ordered: bool,
) -> Vec<Packed> {
    let (mut groups, mut bytes) = (Vec::<Group>::new(), 0);
    // The group that takes more rows; `None` if those that come later have to wait.
    let mut open = HashMap::<Lane, Option<usize>>::new();
    let mut rows = std::mem::take(waiting).into_iter();
    for row in rows.by_ref() {
        let lane = sharing.lane(&row);
        let last = open.get(&lane).copied();
        if last == Some(None) {
            waiting.push_back(row);
            continue;
        }
        let group = last.flatten().and_then(|at| groups.get_mut(at));
        if let Some(group) = group
            && let size = group.size_with(&row)
            && size <= largest
        {
            if bytes + size - group.size > limits.bytes {
                waiting.push_back(row);
                break;
            }
            bytes += size - group.size;
            group.push(row, size);
            continue;
        }
        if ordered && last.is_some() {
            open.insert(lane, None);
            waiting.push_back(row);
            continue;
        }
        let mut group = Group::new(lane, &row);
        let size = group.size_with(&row);
        let full = groups.len() == limits.records || bytes + size > limits.bytes;
        if full && !groups.is_empty() {
            waiting.push_back(row);
            break;
        }
        if size <= largest {
            open.insert(lane, Some(groups.len()));
        } else if ordered {
            open.insert(lane, None);
        }
        bytes += size;
        group.push(row, size);
        groups.push(group);
    }
    waiting.extend(rows);
    groups.into_iter().filter_map(Group::finish).collect()
}

/// An aggregated record in the making.
#[derive(Debug)]
struct Group {
    lane: Lane,
    /// The key of all rows, if it isn't each row's own.
    shared: Option<String>,
    builder: Builder,
    rows: Vec<Record>,
    /// Of the record, its key included.
    size: usize,
}

impl Group {
    fn new(lane: Lane, first: &Record) -> Self {
        Self {
            lane,
            shared: (lane == Lane::All).then(|| first.key().to_owned()),
            builder: Builder::default(),
            rows: Vec::new(),
            size: 0,
        }
    }

    /// The size with one row more.
    fn size_with(&self, row: &Record) -> usize {
        let key = self.shared.as_deref().unwrap_or(row.key());
        let own = self.rows.first().unwrap_or(row).key();
        self.builder.size_with(key, &row.data) + own.len()
    }

    /// `size`: what [`Group::size_with`] has said.
    fn push(&mut self, row: Record, size: usize) {
        self.size = size;
        let key = self.shared.as_deref().unwrap_or(row.key());
        self.builder.push(key, &row.data);
        self.rows.push(row);
    }

    /// The record has the key of its first row, by which it comes to the shard of all.
    fn finish(mut self) -> Option<Packed> {
        if self.rows.len() == 1 {
            return self.rows.pop().map(Packed::Row);
        }
        let key = self.rows.first()?.key.clone();
        let data = self.builder.finish();
        Some(Packed::Aggregate(Aggregate {
            record: Record { key, data },
            rows: self.rows,
            lane: self.lane,
        }))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::aggregate;

    const LIMITS: Limits = Limits {
        records: 3,
        bytes: 1000,
    };

    fn rows(of: &[(&str, usize)]) -> VecDeque<Record> {
        let of = of.iter().map(|(key, bytes)| Record {
            key: Some((*key).to_owned()),
            data: vec![b'.'; *bytes],
        });
        of.collect()
    }

    /// The rows of each record, by key and bytes. They are those that it is made of.
    fn next(
        waiting: &mut VecDeque<Record>,
        sharing: &Sharing,
        ordered: bool,
    ) -> Vec<Vec<(String, usize)>> {
        let packed = pack(waiting, LIMITS, 200, sharing, ordered);
        let shown = packed.into_iter().map(|packed| {
            let record = packed.record().clone();
            let held: Vec<_> = match aggregate::parse(&record.data) {
                Some(subs) => {
                    assert!(subs.len() > 1 && record.size() <= 200, "{record:?}");
                    assert_eq!(subs.first().map(|sub| sub.key), record.key.as_deref());
                    let subs = subs.iter();
                    subs.map(|sub| (sub.key.to_owned(), sub.data.len()))
                        .collect()
                }
                None => vec![(record.key().to_owned(), record.data.len())],
            };
            let rows = packed.into_rows();
            assert_eq!(rows.len(), held.len());
            for (row, (key, bytes)) in rows.iter().zip(&held) {
                assert_eq!(row.data.len(), *bytes);
                assert!(row.key() == key || matches!(sharing, Sharing::All));
            }
            held
        });
        shown.collect()
    }

    fn some(of: &[(&str, usize)]) -> Vec<(String, usize)> {
        let of = of.iter();
        of.map(|(key, bytes)| ((*key).to_owned(), *bytes)).collect()
    }

    /// One shard has all keys.
    fn one_shard() -> Sharing {
        Sharing::ByShard(Arc::new(ShardMap::whole()))
    }

    #[test]
    fn a_record_is_filled_and_not_over_filled() {
        // 20 bytes around all, the key in the table and with the record, 6 bytes around each row.
        let of = [
            ("a", 85),
            ("a", 72),
            ("a", 500),
            ("a", 1),
            ("a", 180),
            ("b", 1),
        ];
        let waiting = &mut rows(&of);
        let all = one_shard();
        assert_eq!(
            next(waiting, &all, false),
            [
                some(&[("a", 85), ("a", 72), ("a", 1)]),
                some(&[("a", 500)]),
                some(&[("a", 180)])
            ]
        );
        assert_eq!(next(waiting, &all, false), [some(&[("b", 1)])]);
        assert!(waiting.is_empty());
        let waiting = &mut rows(&[("a", 85), ("a", 72), ("a", 2)]);
        assert_eq!(
            next(waiting, &all, false),
            [some(&[("a", 85), ("a", 72)]), some(&[("a", 2)])]
        );
    }

    #[test]
    fn a_request_has_no_more_than_it_takes() {
        let all = one_shard();
        let waiting = &mut rows(&[("a", 900), ("a", 10), ("a", 90), ("a", 1)]);
        assert_eq!(
            next(waiting, &all, false),
            [some(&[("a", 900)]), some(&[("a", 10)])]
        );
        assert_eq!(next(waiting, &all, false), [some(&[("a", 90), ("a", 1)])]);
        let waiting = &mut rows(&[("a", 2000), ("a", 1)]);
        assert_eq!(next(waiting, &all, false), [some(&[("a", 2000)])]);
        assert_eq!(next(waiting, &all, false), [some(&[("a", 1)])]);
    }

    #[test]
    fn without_a_shard_only_rows_of_one_key_share_a_record() {
        let unknown = Sharing::ByShard(Arc::default());
        let waiting = &mut rows(&[("a", 1), ("b", 2), ("a", 3), ("c", 4), ("d", 5), ("a", 6)]);
        assert_eq!(
            next(waiting, &unknown, false),
            [
                some(&[("a", 1), ("a", 3)]),
                some(&[("b", 2)]),
                some(&[("c", 4)])
            ]
        );
        assert_eq!(
            next(waiting, &unknown, false),
            [some(&[("d", 5)]), some(&[("a", 6)])]
        );
    }

    #[test]
    fn in_order_a_shard_has_one_record_of_a_request() {
        let all = one_shard();
        let of = [
            ("a", 85),
            ("b", 70),
            ("a", 40),
            ("b", 1),
            ("c", 300),
            ("a", 2),
        ];
        let waiting = &mut rows(&of);
        let mut next = || next(waiting, &all, true);
        assert_eq!(next(), [some(&[("a", 85), ("b", 70)])]);
        assert_eq!(next(), [some(&[("a", 40), ("b", 1)])]);
        assert_eq!(next(), [some(&[("c", 300)])]);
        assert_eq!(next(), [some(&[("a", 2)])]);
        assert!(next().is_empty());
    }

    #[test]
    fn random_keys_become_one() {
        let waiting = &mut rows(&[("a", 1), ("b", 150), ("c", 20)]);
        assert_eq!(
            next(waiting, &Sharing::All, false),
            [some(&[("a", 1), ("a", 150)]), some(&[("c", 20)])]
        );
    }

    #[test]
    fn keys_of_one_record_belong_to_one_shard_or_are_one() {
        let map = ShardMap::whole();
        let pack = |of: &[(&str, usize)]| {
            let mut packed = pack(&mut rows(of), LIMITS, 200, &one_shard(), false);
            packed.remove(0)
        };
        let two = pack(&[("a", 1), ("b", 1)]);
        assert!(two.belongs_to(Some("whole"), &map));
        for shard in [Some("other"), None] {
            assert!(!two.belongs_to(shard, &map));
            assert!(!two.belongs_to(shard, &ShardMap::default()));
            assert!(pack(&[("a", 1), ("a", 2)]).belongs_to(shard, &map));
            assert!(pack(&[("a", 1)]).belongs_to(shard, &map));
        }
    }
}
