use std::collections::BTreeMap;
use std::time::Duration;

use chrono::{DateTime, Utc};
use serde::{Deserialize, Serialize};
use uuid::Uuid;

use super::hold::{Hold, with_margin};
use super::options::{LedgerOptions, Quota};
use super::spending::Spending;
use crate::dialect::Told;

/// What is stored of an account. All decisions are made here, without clock and store, so that
/// they can be tested.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
#[serde(default)]
pub(crate) struct Document {
    quota: Spending,
    /// Before this no request is made: the last one's time and the space between two.
    #[serde(skip_serializing_if = "Option::is_none")]
    pace: Option<Hold>,
    #[serde(skip_serializing_if = "BTreeMap::is_empty")]
    methods: BTreeMap<String, Method>,
    /// Requests that may not be retried yet, by their identity.
    #[serde(skip_serializing_if = "BTreeMap::is_empty")]
    asked: BTreeMap<String, Hold>,
}

#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
#[serde(default)]
struct Method {
    #[serde(skip_serializing_if = "Option::is_none")]
    under_way: Option<Note>,
    /// Whose turn comes then: a waiting request, for as long as it looks by. Without it, one who asks
    /// on and on would always be faster than one who looks by now and then.
    #[serde(skip_serializing_if = "Option::is_none")]
    next: Option<Note>,
    #[serde(skip_serializing_if = "Option::is_none")]
    backoff: Option<Hold>,
}

/// A request that is about to be made, was made and not answered yet, or is the next.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub(crate) struct Note {
    id: Uuid,
    /// From when it was noted until it surely is over and what it may have caused is too.
    pub(super) held: Hold,
}

/// A request that wants to be made.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Ask<'a> {
    /// What tells it from all other requests, also the same one retried.
    pub(crate) id: Uuid,
    pub(crate) method: &'a str,
    /// What tells it from requests that ask something else.
    pub(crate) identity: &'a str,
    /// The longest time that it may take.
    pub(crate) timeout: Duration,
    /// How much longer than usual it may take until it is made, once it is noted: the store is slow.
    pub(crate) spare: Duration,
}

/// What a request may do.
#[derive(Debug, Clone, PartialEq)]
pub(crate) enum Turn {
    /// Be made: it is noted.
    Go(Note),
    /// Wait. `noted`: that it is the next one is to be stored.
    Wait {
        until: DateTime<Utc>,
        why: Why,
        noted: bool,
    },
    /// The quota is spent.
    Spent { until: DateTime<Utc> },
}

/// Why a request waits.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Why {
    /// Another one by its method is under way, or was and its answer was never seen.
    UnderWay,
    /// The same, and then it is this one's turn.
    Next,
    /// The API asked to be left alone.
    Backoff,
    /// The same request was made a short while ago.
    Repeated,
    /// The last of the quota may be used by requests that are under way.
    Last,
    /// No more requests a second are allowed.
    Pace,
    /// The quota is spent.
    Spent,
}

/// How a request ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Ending {
    /// The server saw nothing of it.
    Unsent,
    /// It may have seen it, but its answer didn't arrive whole.
    Unanswered,
    /// Its answer arrived.
    Answered(Told),
}

/// How many requests are remembered that may not be repeated: more than 60 seconds of 30 each.
const MOST_ASKED: usize = 4_000;

/// How long one that waits is the next one, if it doesn't look by again.
const NEXT: Duration = Duration::from_millis(1_500);

impl Note {
    /// Whether it is so old that the request must not be made by it any more: it could be over
    /// only after the note is.
    pub(crate) fn is_stale(&self, ask: Ask<'_>, now: DateTime<Utc>) -> bool {
        let age = (now - self.at()).abs().to_std().unwrap_or_default();
        let usual = self.held.length().saturating_sub(ask.spare);
        let left = usual.saturating_sub(ask.timeout);
        age > left.min(usual / 20).saturating_add(ask.spare)
    }

    fn is_half_over(&self, now: DateTime<Utc>) -> bool {
        now - self.at() > self.held.until() - now
    }

    /// When it was written.
    pub(crate) fn at(&self) -> DateTime<Utc> {
        self.held.from()
    }
}

impl Method {
    /// Whether a request has to wait for others by the method, and if it is the next one.
    fn in_turn(&mut self, ask: Ask<'_>, now: DateTime<Utc>) -> Option<Turn> {
        let others = |next: &Note| next.id != ask.id;
        if let Some(next) = self.next.as_ref().filter(|next| others(next)) {
            let last = self.under_way.as_ref().unwrap_or(next);
            return Some(wait(last.held, Why::UnderWay));
        }
        let until = self.under_way.as_ref()?.held.until();
        // Looked by long ago, or never.
        let noted = self.next.as_ref().is_none_or(|next| next.is_half_over(now));
        if noted {
            self.next = Some(Note {
                id: ask.id,
                held: Hold::new(now, NEXT),
            });
        }
        Some(Turn::Wait {
            until,
            why: Why::Next,
            noted,
        })
    }
}

impl Document {
    /// Puts right what a clock that was set back has spoilt. Says whether there was anything; then
    /// the document is to be stored, or the waits would begin anew each time it is read.
    pub(crate) fn mend(&mut self, now: DateTime<Utc>) -> bool {
        let Self {
            quota,
            pace,
            methods,
            asked,
        } = self;
        let methods = methods.values_mut().flat_map(|method| {
            let notes = method.under_way.iter_mut().chain(&mut method.next);
            let notes = notes.map(|note| &mut note.held);
            notes.chain(&mut method.backoff)
        });
        let mut mended = false;
        for hold in quota
            .holds()
            .chain(pace)
            .chain(methods)
            .chain(asked.values_mut())
        {
            mended |= hold.mend(now);
        }
        mended
    }

    /// Decides about a request.
    pub(crate) fn turn(
        &mut self,
        ask: Ask<'_>,
        options: &LedgerOptions,
        now: DateTime<Utc>,
    ) -> Turn {
        self.sweep(now);
        if let Some(method) = self.methods.get_mut(ask.method) {
            if let Some(turn) = method.in_turn(ask, now) {
                return turn;
            }
            if let Some(backoff) = method.backoff {
                return wait(backoff, Why::Backoff);
            }
        }
        if let Some(&asked) = self.asked.get(ask.identity) {
            return wait(asked, Why::Repeated);
        }
        match (self.quota.left, self.quota.window) {
            (Some(0), Some(window)) => {
                return Turn::Spent {
                    until: window.until(),
                };
            }
            (Some(left), _) if left > 0 && left <= self.under_way() => {
                // Each of them is over by then; they end much sooner, mostly.
                let ends = self.notes().map(|note| note.held.until()).min();
                return Turn::Wait {
                    until: ends.unwrap_or(now),
                    why: Why::Last,
                    noted: false,
                };
            }
            _ => {}
        }
        if let Some(pace) = self.pace {
            return wait(pace, Why::Pace);
        }
        self.begin(ask, options, now)
    }

    fn begin(&mut self, ask: Ask<'_>, options: &LedgerOptions, now: DateTime<Utc>) -> Turn {
        let note = Note {
            id: ask.id,
            held: held(ask, options, now),
        };
        let method = self.methods.entry(ask.method.to_owned()).or_default();
        method.under_way = Some(note.clone());
        method.next.take_if(|next| next.id == ask.id);
        if let Some(again) = options.repeat_after {
            self.remember(ask.identity, Hold::new(now, with_margin(again)));
        }
        let rate = options
            .per_second
            .filter(|rate| rate.is_finite() && *rate > 0.0);
        self.pace = rate
            .and_then(|rate| Duration::try_from_secs_f64(1.0 / rate).ok())
            .map(|space| Hold::new(now, space));
        Turn::Go(note)
    }

    /// Writes a note anew, for a request that was held back after it was noted. Says whether it was
    /// still there.
    pub(crate) fn renew(
        &mut self,
        note: &mut Note,
        ask: Ask<'_>,
        options: &LedgerOptions,
        now: DateTime<Utc>,
    ) -> bool {
        let mine = self
            .methods
            .get_mut(ask.method)
            .and_then(|of| of.under_way.as_mut());
        let Some(mine) = mine.filter(|mine| mine.id == note.id) else {
            return false;
        };
        mine.held = held(ask, options, now);
        *note = mine.clone();
        true
    }

    /// Settles a request.
    pub(crate) fn end(
        &mut self,
        note: &Note,
        ask: Ask<'_>,
        ending: Ending,
        options: &LedgerOptions,
        now: DateTime<Utc>,
    ) {
        self.sweep(now);
        let method = self.methods.entry(ask.method.to_owned()).or_default();
        // A note that was taken for a dead process's is gone, and counted.
        let noted = method
            .under_way
            .take_if(|mine| mine.id == note.id)
            .is_some();
        let backoff = match ending {
            Ending::Unsent => None,
            // Its answer may have asked for a backoff, and it was made a while after it was noted.
            Ending::Unanswered => {
                let caution = options.caution.saturating_add(ask.spare);
                Some(Hold::new(note.at(), caution))
            }
            Ending::Answered(told) => told.backoff.map(|backoff| Hold::new(now, backoff)),
        };
        if let Some(backoff) = backoff {
            method.backoff = Some(backoff.later(method.backoff));
        }
        match (options.repeat_after, ending) {
            (None, _) => {}
            (Some(_), Ending::Unsent) => {
                self.asked.remove(ask.identity);
            }
            // The server saw it at some time before now.
            (Some(again), _) => self.remember(ask.identity, Hold::new(now, again)),
        }
        match ending {
            Ending::Unsent => {}
            Ending::Unanswered if !noted => {}
            Ending::Unanswered => self.quota.count(now),
            Ending::Answered(told) => self.quota.learn(told, noted, note.at(), options, now),
        }
        self.sweep(now);
    }

    /// What is known of the quota.
    pub(crate) fn quota(&self, now: DateTime<Utc>) -> Option<Quota> {
        let mut swept = self.clone();
        swept.sweep(now);
        let left = swept.quota.left?;
        Some(Quota {
            max: swept.quota.max,
            left: left.saturating_sub(swept.under_way()),
            resets_at: swept.quota.window.map(Hold::until),
        })
    }

    /// How many requests were made of this quota, and how many it has.
    pub(crate) fn spent(&self) -> (u64, Option<u64>) {
        (self.quota.used, self.quota.max)
    }

    /// Takes out what is over.
    fn sweep(&mut self, now: DateTime<Utc>) {
        let over = |hold: &mut Hold| hold.is_over(now);
        self.quota.renew(now);
        for method in self.methods.values_mut() {
            method.backoff.take_if(over);
            method.next.take_if(|next| next.held.is_over(now));
            // Nobody is going to settle it.
            let dead = method.under_way.take_if(|note| note.held.is_over(now));
            if dead.is_some() {
                self.quota.count(now);
            }
        }
        let oldest = self.notes().map(Note::at).min();
        self.quota.forget(oldest);
        self.methods
            .retain(|_, method| *method != Method::default());
        self.asked.retain(|_, hold| !hold.is_over(now));
        self.pace.take_if(over);
    }

    fn remember(&mut self, identity: &str, hold: Hold) {
        if self.asked.len() >= MOST_ASKED {
            let first = self.asked.iter().min_by_key(|(_, hold)| hold.until());
            if let Some(first) = first.map(|(identity, _)| identity.clone()) {
                self.asked.remove(&first);
            }
        }
        self.asked.insert(identity.to_owned(), hold);
    }

    fn notes(&self) -> impl Iterator<Item = &Note> {
        self.methods
            .values()
            .filter_map(|method| method.under_way.as_ref())
    }

    fn under_way(&self) -> u64 {
        u64::try_from(self.notes().count()).unwrap_or(u64::MAX)
    }
}

fn held(ask: Ask<'_>, options: &LedgerOptions, now: DateTime<Utc>) -> Hold {
    let usual = options.caution.max(with_margin(ask.timeout));
    Hold::new(now, usual.saturating_add(ask.spare))
}

fn wait(hold: Hold, why: Why) -> Turn {
    Turn::Wait {
        until: hold.until(),
        why,
        noted: false,
    }
}
