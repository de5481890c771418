//! How a stream is walked: what to ask next, and which rows of an answer are new.
//!
//! ```text
//! from ───────────────── at ──────────────────────────── to
//!  │ read, and not asked │ page 1 of min=at, max=to       │ now − lag, fixed when planned
//! ```
//!
//! Every request is the first page of what lies after the last value seen, so rows that were
//! edited or deleted meanwhile don't shift the rest: none is lost, and the page limit of anonymous
//! access is never met. The rows of the last value come again and are dropped by their ids.
//! Only where one value fills a whole page, its pages are counted: those of a second from the last
//! to the first, so that rows which leave it move others only to where is still to be read.

use std::collections::HashSet;

use serde::{Deserialize, Serialize};
use tidegate_core::Error;

use crate::streams::{Item, Value};
use crate::window::{Direction, Window};

#[cfg(test)]
mod tests;

/// How often the rows of one second are counted again because there are more by now.
const ROUNDS: u32 = 5;

/// How far a walk has come.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Position {
    /// The value to read on from; `None` at the beginning.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    at: Option<Value>,
    /// The page of what is read on from, from 1.
    page: u64,
    /// How many rows pages had where they are counted.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    size: Option<u32>,
    /// The ids among what comes next that were given already.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    seen: Vec<Value>,
    /// Set while the rows of the one second `at` are counted.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    second: Option<Second>,
    /// Set while it is asked whether there is nothing, after a page that had nothing and said that
    /// there is more.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    empty: bool,
    /// Whether all is read.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    done: bool,
}

/// The rows of one second, which fill more than a page. How many there are is asked first, and then
/// the pages are read from the last to the first: rows can only leave the second, and then those
/// after them move up, towards what is still to be read.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
struct Second {
    /// How many there were when that was asked; `None` before.
    total: Option<u64>,
    /// How often it was asked because there are more by now.
    round: u32,
}

/// A page to ask for.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub(crate) struct PageAsk {
    pub(crate) direction: Direction,
    pub(crate) min: Option<Value>,
    pub(crate) max: Option<Value>,
    pub(crate) page: u64,
    /// Whether the answer must say how many rows there are.
    pub(crate) total: bool,
    /// Whether nothing else is wanted of it.
    pub(crate) count: bool,
}

/// What an answer says, as far as the walk goes by it.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Answer<'a> {
    pub(crate) items: &'a [Item],
    pub(crate) has_more: bool,
    pub(crate) total: Option<u64>,
}

impl Default for Position {
    fn default() -> Self {
        Self {
            at: None,
            page: 1,
            size: None,
            seen: Vec::new(),
            second: None,
            empty: false,
            done: false,
        }
    }
}

/// A walk through a window.
#[derive(Debug)]
pub(crate) struct Walk {
    window: Window,
    direction: Direction,
    /// How many rows a page has.
    size: u32,
    position: Position,
    /// What was asked: asking it once more would go on forever.
    asked: HashSet<PageAsk>,
    /// The ids of the page before.
    last: Vec<Value>,
}

impl Walk {
    pub(crate) fn new(
        window: Window,
        direction: Direction,
        size: u32,
        mut position: Position,
    ) -> Self {
        // Pages of another size have other rows, so they are counted anew.
        if position.size.is_some_and(|before| before != size) {
            position.page = 1;
            position.size = None;
            position.second = position.second.map(|_| Second::default());
        }
        Self {
            window,
            direction,
            size,
            position,
            asked: HashSet::new(),
            last: Vec::new(),
        }
    }

    pub(crate) fn position(&self) -> &Position {
        &self.position
    }

    /// The page to ask for next; `None` at the end.
    pub(crate) fn next(&self) -> Option<PageAsk> {
        let Position {
            at,
            page,
            second,
            empty,
            done,
            ..
        } = &self.position;
        if *done {
            return None;
        }
        let (from, to) = match self.window {
            Window::Dates { from, to } => (from.map(Value::Number), to.map(Value::Number)),
            Window::All => (None, None),
        };
        let at = at.clone();
        let (min, max) = match (second, self.direction) {
            (Some(_), _) => (at.clone(), at),
            (None, Direction::Up) => (at.or(from), to),
            (None, Direction::Down) => (from, at.or(to)),
        };
        Some(PageAsk {
            direction: self.direction,
            min,
            max,
            page: *page,
            total: second.is_some() || *empty,
            count: *empty || second.is_some_and(|second| second.total.is_none()),
        })
    }

    /// Takes the answer to what [`Walk::next`] asked for, moves on, and gives the places of the
    /// items that are new.
    ///
    /// Errors: `Data` where the API broke its word (rows it wasn't asked for or out of order),
    /// `Transient` where the same page comes again, or there are said to be rows where none come.
    pub(crate) fn take(&mut self, ask: &PageAsk, answer: Answer<'_>) -> Result<Vec<usize>, Error> {
        let before = self.position.clone();
        if self.is_repeated(answer) {
            return Err(stuck());
        }
        let taken = match (before.second, self.window) {
            (Some(second), _) => self.take_of_second(ask, second, answer),
            (None, _) if before.empty => self.take_count(answer),
            (None, Window::Dates { to, .. }) => {
                self.take_dates(ask, to.unwrap_or(i64::MAX), answer)
            }
            (None, Window::All) => self.take_any(answer),
        };
        let restarted = |now: &Option<Second>| {
            now.is_some_and(|now| now.round > before.second.map_or(0, |second| second.round))
        };
        match &taken {
            // Nothing moves after an error.
            Err(_) => self.position = before,
            Ok(_) if restarted(&self.position.second) => self.asked.clear(),
            Ok(_) => {
                self.asked.insert(ask.clone());
                if self.next().is_some_and(|next| self.asked.contains(&next)) {
                    self.position = before;
                    return Err(stuck());
                }
            }
        }
        let counted = self.position.page > 1 || self.position.second.is_some();
        self.position.size = counted.then_some(self.size);
        self.last = answer.items.iter().map(|item| item.id.clone()).collect();
        taken
    }

    /// Whether it is the page before once more. Only the first page of a second may be: it is what
    /// showed that the second fills a page. (Where values change, the same page may come by right;
    /// there, one that brings nothing ends the walk.)
    fn is_repeated(&self, answer: Answer<'_>) -> bool {
        let first_of_second = self.position.second.is_some() && self.position.page == 1;
        let ids = answer.items.iter().map(|item| &item.id);
        matches!(self.window, Window::Dates { .. })
            && !first_of_second
            && answer.items.len() > 1
            && self.last.iter().eq(ids)
    }

    /// A page of a window of dates.
    fn take_dates(
        &mut self,
        ask: &PageAsk,
        to: i64,
        answer: Answer<'_>,
    ) -> Result<Vec<usize>, Error> {
        let within = self.within(ask, to, answer.items)?;
        let items = || within.iter().map(|i| &answer.items[*i]);
        let new = self.unseen(&within, answer.items);
        // Only what was asked for without an end goes past it. Elsewhere a later row is one that
        // was changed while the answer was made.
        let past = ask.max.is_none() && within.len() < answer.items.len();
        let done = !answer.has_more || past && self.is_past(to, answer.items);
        let (Some(first), Some(last)) = (items().next(), items().next_back()) else {
            self.position.done = done;
            // What has no first page can't have another: one of the two isn't true.
            self.position.empty = !done && answer.items.is_empty();
            return Ok(new);
        };
        // With rows after the end, one second doesn't fill the page.
        let alone = first.at == last.at && !past;
        let mut seen: Vec<_> = items()
            .filter(|item| item.at == last.at)
            .map(|item| item.id.clone())
            .collect();
        if self.position.at.as_ref() == Some(&last.at) {
            seen.extend(std::mem::take(&mut self.position.seen));
            seen.sort_unstable();
            seen.dedup();
        }
        self.position = Position {
            at: Some(last.at.clone()),
            seen,
            second: (alone && answer.has_more).then(Second::default),
            done,
            ..Position::default()
        };
        Ok(new)
    }

    /// Whether a page that was asked for without an end reaches past it, so that nothing follows
    /// that lies within. A single late row doesn't tell: it may have been found at its place within,
    /// and changed before it was sent. Nor do late rows out of order.
    fn is_past(&self, to: i64, items: &[Item]) -> bool {
        let late = |item: &&Item| matches!(item.at, Value::Number(at) if at > to);
        self.direction == Direction::Up
            && items.is_sorted_by(|a, b| a.at <= b.at)
            && items.iter().rev().take_while(late).nth(1).is_some()
    }

    /// The places of the items within the window. What lies after its end is left out: it was
    /// changed after the plan, and the next run reads it.
    fn within(&self, ask: &PageAsk, to: i64, items: &[Item]) -> Result<Vec<usize>, Error> {
        let mut within: Vec<usize> = Vec::with_capacity(items.len());
        for (i, item) in items.iter().enumerate() {
            let Value::Number(at) = item.at else {
                return Err(outside("a row that has a text for a date", item));
            };
            if at > to {
                continue;
            }
            let too_low = ask.min.as_ref().is_some_and(|min| item.at < *min);
            let too_high = ask.max.as_ref().is_some_and(|max| item.at > *max);
            if too_low || too_high {
                return Err(outside("a row that it wasn't asked for", item));
            }
            let order = within.last().map(|last| items[*last].at.cmp(&item.at));
            let wrong = match self.direction {
                Direction::Up => std::cmp::Ordering::Greater,
                Direction::Down => std::cmp::Ordering::Less,
            };
            if order == Some(wrong) {
                return Err(outside("rows that are out of order", item));
            }
            within.push(i);
        }
        Ok(within)
    }

    /// The places among `among` of the items that were not given before, each once.
    fn unseen(&self, among: &[usize], items: &[Item]) -> Vec<usize> {
        let mut seen: HashSet<&Value> = self.position.seen.iter().collect();
        let new = |i: &usize| seen.insert(&items[*i].id);
        among.iter().copied().filter(new).collect()
    }

    /// A page of one second.
    fn take_of_second(
        &mut self,
        ask: &PageAsk,
        second: Second,
        answer: Answer<'_>,
    ) -> Result<Vec<usize>, Error> {
        let Some(Value::Number(at)) = self.position.at else {
            return Err(Error::internal("a second is read that has no date"));
        };
        let total = counted(answer)?;
        let Some(before) = second.total else {
            self.position.page = total.div_ceil(u64::from(self.size)).max(1);
            self.position.second = Some(Second {
                total: Some(total),
                ..second
            });
            return Ok(Vec::new());
        };
        let within = self.within(ask, at, answer.items)?;
        let new = self.unseen(&within, answer.items);
        let ids = within.iter().map(|i| answer.items[*i].id.clone());
        self.position.seen.extend(ids);
        self.position.seen.sort_unstable();
        self.position.seen.dedup();
        // A row came back, and may have moved another to where was read already.
        if total > before {
            if second.round == ROUNDS {
                return Err(Error::transient(
                    "the rows of one second become more and more while they are read",
                )
                .with("second", at)
                .hint("run again later: it resumes where it stopped"));
            }
            self.position.page = 1;
            self.position.second = Some(Second {
                total: None,
                round: second.round + 1,
            });
        } else if self.position.page > 1 {
            self.position.page -= 1;
        } else {
            self.leave(at);
        }
        Ok(new)
    }

    /// Takes the answer to how many rows there are where a page had none.
    fn take_count(&mut self, answer: Answer<'_>) -> Result<Vec<usize>, Error> {
        if counted(answer)? > 0 {
            return Err(stuck());
        }
        tracing::warn!("the API says that there is more, but gives nothing, and counts nothing");
        self.position.empty = false;
        self.position.done = true;
        Ok(Vec::new())
    }

    /// Resumes after a second of which all is read.
    fn leave(&mut self, second: i64) {
        let next = match self.direction {
            Direction::Up => second.checked_add(1),
            Direction::Down => second.checked_sub(1),
        };
        let within = |next: &i64| match self.window {
            Window::Dates { from, to } => {
                to.is_none_or(|to| *next <= to) && from.is_none_or(|from| *next >= from)
            }
            Window::All => true,
        };
        let next = next.filter(within);
        self.position = Position {
            done: next.is_none(),
            at: next.map(Value::Number),
            ..Position::default()
        };
    }

    /// A page of everything. Values may change and be shared by many rows, so the page is counted
    /// until the value moves.
    fn take_any(&mut self, answer: Answer<'_>) -> Result<Vec<usize>, Error> {
        let all: Vec<usize> = (0..answer.items.len()).collect();
        let new = self.unseen(&all, answer.items);
        let idle = new.is_empty() && (self.position.page > 1 || answer.items.is_empty());
        if idle && answer.has_more {
            return Err(stuck());
        }
        let seen = answer.items.iter().map(|item| item.id.clone()).collect();
        let moved = answer.items.last().filter(|last| {
            let at = self.position.at.as_ref();
            at.is_none_or(|at| !same(at, &last.at))
        });
        match moved {
            Some(last) => {
                self.position.at = Some(last.at.clone());
                self.position.page = 1;
            }
            None => self.position.page += 1,
        }
        self.position.seen = seen;
        self.position.done = !answer.has_more;
        Ok(new)
    }
}

/// Whether the API takes two values for the same: it sorts texts without regard to case.
fn same(a: &Value, b: &Value) -> bool {
    match (a, b) {
        (Value::Text(a), Value::Text(b)) => a.to_lowercase() == b.to_lowercase(),
        _ => a == b,
    }
}

fn counted(answer: Answer<'_>) -> Result<u64, Error> {
    answer.total.ok_or_else(|| {
        Error::data("the API was asked how many rows there are, and didn't say")
            .hint("look whether a proxy or `base_url` changes what is asked")
    })
}

fn outside(what: &str, item: &Item) -> Error {
    Error::data(format!("the API gave {what}"))
        .with("id", &item.id)
        .with("value", &item.at)
        .hint(
            "nothing is read on from an answer that can't be trusted; run again later, and if it \
             stays, look whether a proxy or `base_url` changes what is asked",
        )
}

fn stuck() -> Error {
    Error::transient("the API says that there is more, and gives the same page again").hint(
        "run again later: it resumes where it stopped; if it stays, look whether a proxy or \
         `base_url` answers from a cache",
    )
}
