use std::time::Duration;

use chrono::{DateTime, Utc};
use serde::{Deserialize, Serialize};

use super::hold::Hold;
use super::options::LedgerOptions;
use crate::dialect::Told;

/// How much of a quota is spent, and until when.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
#[serde(default)]
pub(super) struct Spending {
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) max: Option<u64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) left: Option<u64>,
    /// When `left` was learnt.
    #[serde(skip_serializing_if = "Option::is_none")]
    learnt: Option<Hold>,
    /// When requests ended that were counted without an answer that tells: one that was asked
    /// before may not know of them.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    untold: Vec<DateTime<Utc>>,
    /// How many requests were made since `window` began.
    pub(super) used: u64,
    /// From the first request of this quota until it is whole again.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) window: Option<Hold>,
    /// When the last window ended: what was asked before may tell of the quota before this one.
    #[serde(skip_serializing_if = "Option::is_none")]
    renewed: Option<Hold>,
}

impl Spending {
    /// What is measured by the clock.
    pub(super) fn holds(&mut self) -> impl Iterator<Item = &mut Hold> {
        [&mut self.learnt, &mut self.window, &mut self.renewed]
            .into_iter()
            .flatten()
    }

    /// Begins anew when the quota is whole again.
    pub(super) fn renew(&mut self, now: DateTime<Utc>) {
        if let Some(window) = self.window.take_if(|window| window.is_over(now)) {
            *self = Self {
                max: self.max,
                left: self.max,
                renewed: Some(Hold::new(window.until(), Duration::ZERO)),
                ..Self::default()
            };
        }
    }

    /// Forgets what ended before the oldest request that is under way was noted: all that are
    /// answered from now on know of it.
    pub(super) fn forget(&mut self, oldest: Option<DateTime<Utc>>) {
        self.untold
            .retain(|ended| oldest.is_some_and(|oldest| *ended >= oldest));
    }

    /// Counts a request that the server may have counted.
    pub(super) fn count(&mut self, now: DateTime<Utc>) {
        self.used += 1;
        if let Some(left) = &mut self.left {
            *left = left.saturating_sub(1);
            self.untold.push(now);
        }
    }

    /// Whether a request surely belongs to this quota, and not to the one before.
    fn is_of_this(&self, asked: DateTime<Utc>) -> bool {
        self.renewed.is_none_or(|renewed| asked >= renewed.from())
    }

    /// Takes what an answer tells. `noted`: it wasn't counted yet; `asked`: when it was noted.
    pub(super) fn learn(
        &mut self,
        told: Told,
        noted: bool,
        asked: DateTime<Utc>,
        options: &LedgerOptions,
        now: DateTime<Utc>,
    ) {
        // The server surely counted it, at some time before now: it won't renew the quota later than
        // this.
        let of_this = self.is_of_this(asked);
        if of_this {
            self.window.get_or_insert(Hold::new(now, options.window));
        }
        self.max = told.quota_max.or(self.max);
        match told.quota_left.filter(|_| of_this) {
            Some(left) => {
                self.used += u64::from(noted);
                self.correct(left, asked, options, now);
            }
            None if noted => self.count(now),
            None => {}
        }
        if let Some(resets_in) = told.resets_in {
            self.window = Some(Hold::new(now, resets_in));
        }
    }

    /// Takes the server's word for how much is left. Answers may overtake each other.
    fn correct(
        &mut self,
        told: u64,
        asked: DateTime<Utc>,
        options: &LedgerOptions,
        now: DateTime<Utc>,
    ) {
        let unknown = self.untold.iter().filter(|ended| **ended >= asked).count();
        let left = told.saturating_sub(u64::try_from(unknown).unwrap_or(u64::MAX));
        let known = self.left.unwrap_or(left);
        // One that tells of more than is known is newer only if it was asked for after that was
        // known.
        let newer = self.learnt.is_none_or(|learnt| asked > learnt.from());
        if !newer && left > known {
            return;
        }
        self.left = Some(left);
        self.learnt = Some(Hold::new(now, Duration::ZERO));
        // Many more: the quota was renewed before we thought.
        if left.saturating_sub(known) > self.max.unwrap_or(left) / 10 {
            self.used = 1;
            self.window = Some(Hold::new(now, options.window));
        }
    }
}
