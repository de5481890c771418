//! Which shards are read, in which order.

use std::collections::BTreeMap;
use std::collections::btree_map::Entry;

use aws_sdk_kinesis::types::Shard;
use serde::{Deserialize, Serialize};
use tidegate_core::{Error, FinishedSplit, Offset, Result, Split, SplitData, SplitId};

use crate::config::{Moment, Start};
use crate::position::Position;

/// What is remembered of a stream.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct State {
    /// When the stream was made: another one of the same name has other records.
    pub(crate) created: i64,
    /// The shards, as long as they are listed or read.
    pub(crate) shards: BTreeMap<String, Known>,
}

/// How far a shard has come.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub(crate) enum Known {
    /// It was given as a split, which isn't finished.
    Given(Begin),
    /// It was read up to here, in a run that had an end.
    Upto(Begin),
    /// It is closed, and was read to its end.
    Ended,
}

/// Where a split begins in its shard.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub(crate) enum Begin {
    /// With the oldest record that is there.
    TrimHorizon,
    /// With what came at this time, in milliseconds since 1970, or later. `Latest`: the time of the first
    /// question, so that nothing is missed should the process die before it has read anything.
    Latest(i64),
    /// The same, as the user said it.
    Time(i64),
    /// With what came at `time` or later; an earlier run has looked until `at`, and nothing had come.
    Since {
        /// Milliseconds since 1970.
        time: i64,
        /// The same.
        at: i64,
    },
    /// After what an earlier run has read.
    After(Position),
}

impl Begin {
    /// Where the first run begins.
    pub(crate) fn of(start: Start, now: i64) -> Self {
        match start {
            Start::TrimHorizon => Self::TrimHorizon,
            Start::Latest => Self::Latest(now),
            Start::AtTimestamp(Moment(time)) => Self::Time(time.timestamp_millis()),
        }
    }

    /// Where the next run begins, if one that began here came to this position.
    fn next(self, position: Position) -> Self {
        match (position.sequence.is_some(), self) {
            (false, Self::Latest(time) | Self::Time(time) | Self::Since { time, .. }) => {
                let at = position.at;
                Self::Since { time, at }
            }
            _ => Self::After(position),
        }
    }
}

/// What a split is.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Part {
    pub(crate) shard: String,
    pub(crate) begin: Begin,
    /// When the stream was made.
    pub(crate) created: i64,
    /// Nothing is read that arrived later. Milliseconds since 1970.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) until: Option<i64>,
}

impl Part {
    fn id(&self) -> SplitId {
        match &self.begin {
            Begin::After(Position {
                sequence: Some(sequence),
                sub,
                ..
            }) => {
                let sub = sub.map(|sub| format!(".{sub}")).unwrap_or_default();
                format!("{}@{sequence}{sub}", self.shard).into()
            }
            _ => self.shard.as_str().into(),
        }
    }
}

impl State {
    /// Notes what has finished. `bounded`: the run has an end.
    pub(crate) fn finish(&mut self, finished: &[FinishedSplit], bounded: bool) -> Result<()> {
        for split in finished {
            let part: Part = split.split.data.decode()?;
            let Some(known) = self.shards.get_mut(&part.shard) else {
                continue;
            };
            let position = split.offset.as_ref().map(Offset::decode::<Position>);
            *known = match position.transpose()? {
                Some(position) if position.end => Known::Ended,
                Some(position) => Known::Upto(part.begin.next(position)),
                None if bounded => Known::Upto(part.begin),
                // Without an end, only a closed shard finishes.
                None => Known::Ended,
            };
        }
        Ok(())
    }

    /// The splits that are to be read next. `begin`: where shards begin that aren't known, if nothing
    /// is; `again`: a run begins, so that what an earlier one has left is read on.
    pub(crate) fn splits(
        &mut self,
        listed: &[Shard],
        begin: Begin,
        until: Option<i64>,
        again: bool,
    ) -> Result<Vec<Split>> {
        let begin = match self.shards.is_empty() {
            true => begin,
            // What comes after shards that are known is read whole.
            false => Begin::TrimHorizon,
        };
        let mut parts = Vec::new();
        for shard in listed {
            let begin = match self.shards.entry(shard.shard_id.clone()) {
                Entry::Vacant(entry) => {
                    entry.insert(Known::Given(begin.clone()));
                    begin.clone()
                }
                Entry::Occupied(mut entry) => {
                    let from = match entry.get() {
                        // Without an end, what an end had stopped resumes at once.
                        Known::Upto(from) if again || until.is_none() => from.clone(),
                        Known::Given(from) if again => from.clone(),
                        _ => continue,
                    };
                    entry.insert(Known::Given(from.clone()));
                    from
                }
            };
            let part = Part {
                shard: shard.shard_id.clone(),
                begin,
                created: self.created,
                until,
            };
            parts.push((shard, part));
        }
        self.forget(listed);
        let splits = parts.into_iter().map(|(shard, part)| {
            let mut split = Split::new(part.id(), SplitData::encode(&part)?);
            // Parents that have expired, or were read by an earlier run, hold nobody up.
            let parents = [&shard.parent_shard_id, &shard.adjacent_parent_shard_id];
            for parent in parents.into_iter().flatten() {
                if let Some(Known::Given(begin)) = self.shards.get(parent) {
                    let parent = Part {
                        shard: parent.clone(),
                        begin: begin.clone(),
                        created: part.created,
                        until,
                    };
                    split.after.push(parent.id());
                }
            }
            Ok(split)
        });
        splits.collect()
    }

    /// Forgets shards that have expired. One that wasn't read to its end stays: its reading says what
    /// that means.
    fn forget(&mut self, listed: &[Shard]) {
        self.shards.retain(|id, known| {
            *known != Known::Ended || listed.iter().any(|shard| shard.shard_id == *id)
        });
    }

    /// How many splits are given and not finished.
    pub(crate) fn open(&self) -> usize {
        let shards = self.shards.values();
        shards
            .filter(|known| matches!(known, Known::Given(_)))
            .count()
    }

    /// Shards that were left in their middle, that nobody reads now, and that have expired since.
    /// `again`: a run begins.
    pub(crate) fn lost(&self, listed: &[Shard], again: bool) -> Vec<String> {
        let left = self.shards.iter().filter(|(id, known)| {
            let unread = match known {
                Known::Upto(_) => true,
                Known::Given(_) => again,
                Known::Ended => false,
            };
            unread && !listed.iter().any(|shard| shard.shard_id == **id)
        });
        left.map(|(id, _)| id.clone()).collect()
    }

    /// Refuses to go on in another stream.
    pub(crate) fn check(&self, created: i64) -> Result<()> {
        if self.shards.is_empty() || self.created == created {
            return Ok(());
        }
        Err(another_stream())
    }
}

/// The stream was made anew since it was read.
pub(crate) fn another_stream() -> Error {
    Error::conflict("the stream was deleted and made anew since it was read")
        .hint("to read the new one from its beginning, run with --restart")
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "a test that cannot go on fails")]

    use super::*;

    fn shard(id: &str, parents: &[&str]) -> Shard {
        let mut parents = parents.iter().map(|parent| (*parent).to_owned());
        Shard::builder()
            .shard_id(id)
            .set_parent_shard_id(parents.next())
            .set_adjacent_parent_shard_id(parents.next())
            .build()
            .unwrap()
    }

    fn shown(splits: &[Split]) -> Vec<(String, Vec<String>)> {
        let splits = splits.iter().map(|split| {
            let after = split.after.iter().map(ToString::to_string).collect();
            (split.id.to_string(), after)
        });
        splits.collect()
    }

    fn one(id: &str, after: &[&str]) -> (String, Vec<String>) {
        let after = after.iter().map(|id| (*id).to_owned()).collect();
        (id.to_owned(), after)
    }

    fn ended(split: &Split, end: bool) -> FinishedSplit {
        let position = Position {
            sequence: Some("7".into()),
            sub: None,
            at: 5,
            end,
        };
        FinishedSplit {
            split: split.clone(),
            offset: Some(position.offset().unwrap()),
        }
    }

    #[test]
    fn children_come_after_the_parents_that_are_still_read() {
        let mut state = State::default();
        let list = [
            shard("c", &["a", "b"]),
            shard("a", &["expired"]),
            shard("b", &[]),
        ];
        let first = state.splits(&list, Begin::Latest(3), None, true).unwrap();
        let expected = [one("c", &["a", "b"]), one("a", &[]), one("b", &[])];
        assert_eq!(shown(&first), expected);
        assert!(first.iter().all(|split| {
            let part: Part = split.data.decode().unwrap();
            part.begin == Begin::Latest(3)
        }));
        // The same question, nothing new.
        let begin = Begin::Latest(4);
        let more = state.splits(&list, begin.clone(), None, false).unwrap();
        assert!(more.is_empty());
        // `a` has been read; what is made of `c` waits for `c` only, and is read whole.
        state.finish(&[ended(&first[1], true)], false).unwrap();
        let list = [shard("c", &["a"]), shard("b", &[]), shard("d", &["c", "a"])];
        let more = state.splits(&list, begin, None, false).unwrap();
        assert_eq!(shown(&more), [one("d", &["c"])]);
        let part: Part = more[0].data.decode().unwrap();
        assert_eq!(part.begin, Begin::TrimHorizon);
        assert!(!state.shards.contains_key("a"), "it has expired");
        assert_eq!(state.open(), 3);
    }

    #[test]
    fn a_run_goes_on_where_the_one_before_ended() {
        let mut state = State::default();
        let list = [shard("a", &[]), shard("b", &[])];
        let begin = Begin::TrimHorizon;
        let first = state.splits(&list, begin.clone(), Some(1), true).unwrap();
        let finished = [ended(&first[0], false), ended(&first[1], true)];
        state.finish(&finished, true).unwrap();
        assert_eq!(state.open(), 0);
        let list = [shard("a", &[]), shard("b", &[]), shard("c", &["a"])];
        let next = state.splits(&list, begin, Some(2), true).unwrap();
        assert_eq!(shown(&next), [one("a@7", &[]), one("c", &["a@7"])]);
        assert_eq!(state.lost(&list, true), [""; 0]);
        state.finish(&[ended(&next[0], false)], true).unwrap();
        assert_eq!(state.lost(&list[1..], false), ["a"]);
    }

    #[test]
    fn what_an_end_had_stopped_goes_on_without_one() {
        let mut state = State::default();
        let list = [shard("a", &[])];
        let begin = Begin::TrimHorizon;
        let first = state.splits(&list, begin.clone(), Some(1), true).unwrap();
        // The key `until` was taken away meanwhile, and the run resumed.
        state.finish(&[ended(&first[0], false)], false).unwrap();
        let next = state.splits(&list, begin, None, false).unwrap();
        assert_eq!(shown(&next), [one("a@7", &[])]);
    }

    #[test]
    fn another_stream_of_the_same_name_is_refused() {
        let mut state = State {
            created: 1,
            ..State::default()
        };
        state.check(2).unwrap();
        let list = [shard("a", &[])];
        state.splits(&list, Begin::TrimHorizon, None, true).unwrap();
        state.check(1).unwrap();
        state.check(2).unwrap_err();
    }
}
