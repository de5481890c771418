//! Taking a turn: waiting for it, noting it, settling it.

use std::future::Future;
use std::sync::atomic::Ordering;
use std::time::{Duration, Instant};

use chrono::{DateTime, Utc};
use serde::Deserialize as _;
use serde_json::Value;
use tidegate_core::{Error, Result};

use super::document::{Ask, Document, Ending, Note, Turn, Why};
use super::hold::until;
use super::{Ledger, OnQuota, words};

/// A request that was noted and may be made.
#[derive(Debug)]
pub(crate) struct Ticket<'a> {
    ask: Ask<'a>,
    note: Note,
    /// Whether it was noted anew.
    renewed: bool,
}

impl Ticket<'_> {
    /// Whether the note is too old: the process stood still, or something else held the request
    /// back. It is to be noted anew.
    pub(crate) fn is_stale(&self) -> bool {
        self.note.is_stale(self.ask, Utc::now())
    }
}

impl Ledger {
    /// Waits until the request may be made, and notes it durably.
    ///
    /// Cancellation: may be dropped at any time. A note that was written stands; after its time it
    /// counts as a request whose answer was never seen.
    ///
    /// Errors: `Exhausted` where the quota is spent and the user doesn't want to wait, and where
    /// the run is stopped while waiting; the store's.
    pub(crate) async fn begin<'a>(&self, ask: Ask<'a>) -> Result<Ticket<'a>> {
        let mut waiting = Waiting::default();
        loop {
            let turn = self
                .change(|document, now| {
                    let turn = document.turn(ask, &self.options, now);
                    let stored = matches!(turn, Turn::Go(_) | Turn::Wait { noted: true, .. });
                    (stored, turn)
                })
                .await?;
            let (then, why) = match turn {
                Turn::Go(note) => {
                    let renewed = false;
                    return Ok(Ticket { ask, note, renewed });
                }
                Turn::Wait { until, why, .. } => (until, why),
                Turn::Spent { until } if self.options.on_quota == OnQuota::Wait => {
                    (until, Why::Spent)
                }
                Turn::Spent { until } => return Err(self.spent(until).await?),
            };
            waiting.say(self, ask, then, why);
            let pause = waiting.pause(until(then, Utc::now()), why);
            self.unless_cancelled(tokio::time::sleep(pause)).await?;
            let paused = u64::try_from(pause.as_millis()).unwrap_or(u64::MAX);
            self.metrics.waited_ms(paused);
        }
    }

    /// Notes a request anew that was held back since it was noted. Where its note no longer stands,
    /// it takes its turn again.
    ///
    /// Errors: as [`Ledger::begin`].
    pub(crate) async fn renew<'a>(&self, mut ticket: Ticket<'a>) -> Result<Ticket<'a>> {
        if self.cancel.is_cancelled() {
            self.end(ticket, Ending::Unsent).await?;
            return Err(stopped());
        }
        if ticket.renewed {
            // Nothing but the store held it back: without more time it never would be made.
            ticket.ask.spare = self.spare_more(ticket.ask);
        }
        ticket.renewed = true;
        let Ticket { ask, note, .. } = &mut ticket;
        let stood = self
            .change(|document, now| {
                let stood = document.renew(note, *ask, &self.options, now);
                (stood, stood)
            })
            .await?;
        if stood {
            return Ok(ticket);
        }
        let ticket = self.begin(ticket.ask).await?;
        Ok(Ticket {
            renewed: true,
            ..ticket
        })
    }

    /// How much longer than usual it may take from noting a request to making it.
    pub(crate) fn spare(&self) -> Duration {
        Duration::from_millis(self.spare_ms.load(Ordering::Relaxed))
    }

    /// Grants more of it from now on, and says so.
    fn spare_more(&self, ask: Ask<'_>) -> Duration {
        const LEAST: Duration = Duration::from_millis(500);
        const MOST: Duration = Duration::from_secs(60);
        let spare = ask.spare.saturating_mul(2).clamp(LEAST, MOST);
        let ms = u64::try_from(spare.as_millis()).unwrap_or(u64::MAX);
        self.spare_ms.fetch_max(ms, Ordering::Relaxed);
        tracing::warn!(
            api = self.host(),
            method = ask.method,
            allowed_s = spare.as_secs_f64(),
            "the state place is slow: noting a request takes so long that it could not be made yet"
        );
        spare
    }

    /// Settles a request.
    pub(crate) async fn end(&self, ticket: Ticket<'_>, ending: Ending) -> Result<()> {
        let Ticket { ask, note, .. } = ticket;
        self.change(|document, now| {
            document.end(&note, ask, ending, &self.options, now);
            (true, ())
        })
        .await
    }

    /// Reads the document.
    pub(super) async fn read(&self) -> Result<Document> {
        Ok(self.load().await?.1)
    }

    async fn load(&self) -> Result<(Option<Value>, Document)> {
        let stored = self.store.get(&self.key).await?;
        let document = match &stored {
            None => Document::default(),
            Some(stored) => Document::deserialize(stored).map_err(|error| {
                Error::data("the ledger of requests can't be read")
                    .with("key", &self.key)
                    .hint(
                        "another version of Tidegate wrote it; use that one, or a new state place",
                    )
                    .because(error)
            })?,
        };
        Ok((stored, document))
    }

    /// Changes the document by `work`, which says whether it is to be stored, as if nobody else did
    /// so at the same time. `work` is called again where somebody did.
    async fn change<T>(
        &self,
        mut work: impl FnMut(&mut Document, DateTime<Utc>) -> (bool, T),
    ) -> Result<T> {
        let mut lost = 0;
        loop {
            let (stored, mut document) = self.load().await?;
            let now = Utc::now();
            let mended = document.mend(now);
            let (changed, result) = work(&mut document, now);
            if !changed && !mended {
                return Ok(result);
            }
            let value = serde_json::to_value(&document)
                .map_err(|error| Error::internal("the ledger can't be written").because(error))?;
            let set = self
                .store
                .compare_and_set(&self.key, stored.as_ref(), &value)
                .await?;
            if set {
                return Ok(result);
            }
            // Others are at it: let them, a little longer each time.
            lost = (lost + 1).min(20);
            tokio::time::sleep(Duration::from_millis(lost)).await;
        }
    }

    async fn unless_cancelled(&self, wait: impl Future<Output = ()>) -> Result<()> {
        tokio::select! {
            () = wait => Ok(()),
            () = self.cancel.cancelled() => Err(stopped()),
        }
    }

    async fn spent(&self, until: DateTime<Utc>) -> Result<Error> {
        let (used, max) = self.read().await?.spent();
        let until = words::moment(until, Utc::now());
        let mut error = Error::exhausted("the API's quota of requests is spent")
            .with("api", self.host())
            .with("used", used);
        if let Some(max) = max {
            error = error.with("quota", max);
        }
        Ok(error.with("resets", &until).hint(format!(
            "run it again after {until}: it resumes where it stopped"
        )))
    }
}

fn stopped() -> Error {
    Error::exhausted("the run was stopped while it waited for the API")
}

/// A wait that is going on.
#[derive(Debug, Default)]
struct Waiting {
    begun: Option<Instant>,
    polls: u32,
    /// For what reason it was said in a low voice and aloud, last.
    whispered: Option<Why>,
    said: Option<Why>,
}

impl Waiting {
    /// How long to wait before looking again.
    fn pause(&mut self, left: Duration, why: Why) -> Duration {
        /// Somebody may change what is waited for; the machine may have slept.
        const LONGEST: Duration = Duration::from_secs(30);
        let most = match why {
            // It ends when somebody's answer comes, mostly long before its time.
            Why::Next => Duration::from_millis(20),
            Why::UnderWay | Why::Last => {
                self.polls = (self.polls + 1).min(6);
                Duration::from_millis(5 << self.polls)
            }
            _ => LONGEST,
        };
        // The stored time is in whole milliseconds.
        left.min(most).max(Duration::from_millis(1))
    }

    /// Says once for each reason that it takes long, once it does.
    fn say(&mut self, ledger: &Ledger, ask: Ask<'_>, then: DateTime<Utc>, why: Why) {
        const LONG: Duration = Duration::from_secs(2);
        let now = Utc::now();
        let waited = self.begun.get_or_insert_with(Instant::now).elapsed();
        let others = matches!(why, Why::UnderWay | Why::Next | Why::Last);
        if (others || until(then, now) < LONG) && waited < LONG {
            if self.whispered.replace(why) != Some(why) {
                tracing::debug!(method = ask.method, ?why, "a request waits a moment");
            }
        } else if self.said.replace(why) != Some(why) {
            tracing::warn!(
                api = ledger.host(),
                method = ask.method,
                until = words::moment(then, now),
                "{}",
                words::reason(why)
            );
        }
    }
}
