//! What is to be read in a run, and what is remembered of it.

use std::collections::BTreeMap;
use std::fmt;

use chrono::{DateTime, Utc};
use serde::{Deserialize, Serialize};

use crate::config::{Order, StackOverflowConfig};
use crate::streams::{Kind, Sort, SortBy};
use crate::window::{Direction, Window};

/// What is remembered between runs.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct State {
    streams: BTreeMap<Kind, Reached>,
}

/// How far a stream has been read.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
struct Reached {
    /// The last second of the last window, in seconds since 1970.
    to: i64,
    /// What was read. Another reading begins anew.
    reading: Reading,
}

/// What makes rows of a stream the same rows.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Reading {
    site: String,
    sort: Sort,
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    tagged: Vec<String>,
    filter: String,
}

impl Reading {
    pub(crate) fn new(config: &StackOverflowConfig, by: &SortBy) -> Self {
        let mut tagged = config.tagged.clone();
        tagged.sort_unstable();
        Self {
            site: config.site.clone(),
            sort: by.sort,
            tagged,
            filter: config.filter.identity(),
        }
    }
}

impl fmt::Display for Reading {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} by {}", self.site, self.sort)?;
        if !self.tagged.is_empty() {
            write!(f, ", tagged {}", self.tagged.join(" and "))?;
        }
        write!(f, ", filter {}", self.filter)
    }
}

/// What a split's reader needs to know.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Piece {
    pub(crate) kind: Kind,
    pub(crate) sort: Sort,
    pub(crate) direction: Direction,
    pub(crate) window: Window,
}

impl Piece {
    /// The same for the same piece, whenever it is planned: where a window ends is not in it.
    pub(crate) fn id(&self, site: &str, first: bool) -> String {
        let Self { kind, sort, .. } = self;
        match self.window {
            Window::Dates {
                from: Some(from), ..
            } if !first => format!("{site}/{kind}:{sort}>={from}"),
            Window::Dates { .. } => format!("{site}/{kind}:{sort}"),
            Window::All => format!("{site}/{kind}:{sort}:all"),
        }
    }
}

impl From<Order> for Direction {
    fn from(order: Order) -> Self {
        match order {
            Order::Asc => Self::Up,
            Order::Desc => Self::Down,
        }
    }
}

/// Where a stream's next window begins.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Start {
    /// `None`: at the beginning of all things.
    pub(crate) from: Option<i64>,
    /// Whether nothing was read before.
    pub(crate) first: bool,
}

impl State {
    /// The field that has an entry for each stream.
    pub(crate) const STREAMS: &str = "streams";

    /// Where the next window of a stream begins: after the last one, or at `since`.
    pub(crate) fn start(&self, kind: Kind, reading: &Reading, since: Option<i64>) -> Start {
        let anew = Start {
            from: since,
            first: true,
        };
        match self.streams.get(&kind) {
            None => anew,
            Some(reached) if reached.reading == *reading => Start {
                from: Some(reached.to.saturating_add(1)),
                first: false,
            },
            Some(reached) => {
                tracing::warn!(
                    stream = kind.name(),
                    before = %reached.reading,
                    now = %reading,
                    "what is read has changed, so the stream is read from its beginning"
                );
                anew
            }
        }
    }

    /// Remembers that a window was planned, up to and including this second.
    pub(crate) fn reach(&mut self, kind: Kind, reading: Reading, to: i64) {
        self.streams.insert(kind, Reached { to, reading });
    }
}

/// A second, as people read it.
pub(crate) fn shown(second: i64) -> String {
    match DateTime::<Utc>::from_timestamp(second, 0) {
        Some(time) => time.format("%Y-%m-%dT%H:%M:%SZ").to_string(),
        None => second.to_string(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn reading(sort: Sort) -> Reading {
        let config = StackOverflowConfig::default();
        let by = Kind::Questions.sorted(Some(sort));
        by.map_or_else(|| panic!("no {sort}"), |by| Reading::new(&config, &by))
    }

    #[test]
    fn the_next_window_begins_right_after_the_last() {
        let mut state = State::default();
        let activity = reading(Sort::Activity);
        let start = state.start(Kind::Questions, &activity, Some(5));
        assert_eq!((start.from, start.first), (Some(5), true));

        state.reach(Kind::Questions, activity.clone(), 100);
        let start = state.start(Kind::Questions, &activity, Some(5));
        assert_eq!((start.from, start.first), (Some(101), false));

        let start = state.start(Kind::Questions, &reading(Sort::Creation), None);
        assert_eq!((start.from, start.first), (None, true), "another reading");
        let start = state.start(Kind::Answers, &activity, None);
        assert_eq!((start.from, start.first), (None, true), "another stream");
    }

    #[test]
    fn a_stream_that_is_forgotten_begins_anew_and_others_do_not() {
        let mut state = State::default();
        let activity = reading(Sort::Activity);
        state.reach(Kind::Questions, activity.clone(), 100);
        state.reach(Kind::Answers, activity.clone(), 100);
        let state = tidegate_core::PlanState::encode(&state).unwrap();
        let without = state.without(State::STREAMS, "questions").unwrap();
        let state: State = without.decode().unwrap();
        assert!(state.start(Kind::Questions, &activity, None).first);
        assert!(!state.start(Kind::Answers, &activity, None).first);
    }

    #[test]
    fn the_order_of_tags_makes_no_other_reading() {
        let with = |tags: [&str; 2]| {
            let config = StackOverflowConfig {
                tagged: tags.map(str::to_owned).to_vec(),
                ..StackOverflowConfig::default()
            };
            let by = Kind::Questions.sorted(None);
            by.map(|by| Reading::new(&config, &by))
        };
        assert_eq!(with(["rust", "async"]), with(["async", "rust"]));
    }

    #[test]
    fn a_split_is_named_by_where_it_begins() {
        let piece = |window| Piece {
            kind: Kind::Questions,
            sort: Sort::Activity,
            direction: Direction::Up,
            window,
        };
        let dates = |from, to| piece(Window::Dates { from, to: Some(to) });
        let so = "stackoverflow";
        assert_eq!(
            dates(Some(7), 10).id(so, false),
            dates(Some(7), 11).id(so, false)
        );
        assert_ne!(
            dates(Some(7), 10).id(so, false),
            dates(Some(8), 10).id(so, false)
        );
        assert_eq!(dates(None, 10).id(so, true), dates(None, 11).id(so, true));
        assert_ne!(
            piece(Window::All).id(so, true),
            dates(None, 11).id(so, true)
        );
    }
}
