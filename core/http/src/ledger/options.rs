use std::fmt;
use std::time::Duration;

use chrono::{DateTime, Utc};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::words::moment;

/// How a [`Ledger`](crate::Ledger) keeps an API's rules.
#[derive(Debug, Clone, PartialEq)]
pub struct LedgerOptions {
    /// Whose quota it is: [`Ledger::account_of`](crate::Ledger::account_of). Never a key itself:
    /// it is stored.
    pub account: String,
    /// How many requests a second are made at most, evenly spaced, over all methods of the account.
    /// Default: any number. Where an API counts all accounts of an address together,
    /// `[http] rate_limit` keeps those of one process.
    pub per_second: Option<f64>,
    /// How soon the same request may be retried. Default: at once.
    pub repeat_after: Option<Duration>,
    /// How long a method is left alone after a request whose answer was never seen (a killed
    /// process): it may have asked for a backoff. Default: a minute.
    pub caution: Duration,
    /// How long a quota lasts from its first request, where no answer says when it resets.
    /// Default: 24 hours.
    pub window: Duration,
    /// What is done when the quota is spent. Default: stop. Where it stops, requests fail as
    /// `Exhausted`.
    pub on_quota: OnQuota,
}

impl LedgerOptions {
    /// The defaults, for an account.
    pub fn new(account: impl Into<String>) -> Self {
        Self {
            account: account.into(),
            per_second: None,
            repeat_after: None,
            caution: Duration::from_secs(60),
            window: Duration::from_secs(24 * 60 * 60),
            on_quota: OnQuota::Stop,
        }
    }
}

/// What is done when the quota of requests is spent.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum OnQuota {
    /// The run stops with exit code 4. What was read is kept, and the next run resumes after it.
    #[default]
    Stop,
    /// The run waits until there are requests again.
    Wait,
}

/// What is known of a quota.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Quota {
    /// How many requests a whole quota has, where that was told.
    pub max: Option<u64>,
    /// How many requests are left; those under way are taken off.
    pub left: u64,
    /// When there is a whole one again: what the server told, or else a `window` after the first
    /// request of this quota that we know of. `None`: now, it is whole.
    pub resets_at: Option<DateTime<Utc>>,
}

impl Quota {
    /// When there is a whole one again, as people read it: `14:05 UTC`, with the date where it isn't
    /// today's. `None`: now.
    pub fn resets(&self) -> Option<String> {
        self.resets_at.map(|time| moment(time, Utc::now()))
    }
}

/// `280 of 300 left until 14:05 UTC`
impl fmt::Display for Quota {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}", self.left)?;
        if let Some(max) = self.max {
            write!(f, " of {max}")?;
        }
        write!(f, " left")?;
        match self.resets() {
            Some(time) => write!(f, " until {time}"),
            None => Ok(()),
        }
    }
}
