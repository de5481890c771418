use std::time::Duration;

use chrono::{DateTime, TimeDelta, Utc};
use serde::{Deserialize, Serialize};

/// A span of wall-clock time, from a moment when it was written down. Stored as two numbers of
/// milliseconds since 1970.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Hold(i64, i64);

/// How far two clocks may be apart before one is taken to have been set back.
const SKEW_MS: i64 = 5_000;

impl Hold {
    pub(crate) fn new(from: DateTime<Utc>, length: Duration) -> Self {
        // Rounded up: two requests 33 ms apart would be more than 30 a second, and a backoff that
        // begins late in a millisecond ends in the middle of another.
        let begun = u128::from(from.timestamp_subsec_nanos() % 1_000_000);
        let length = match length.as_nanos() {
            0 => 0,
            length => begun.saturating_add(length).div_ceil(1_000_000),
        };
        let length = i64::try_from(length).unwrap_or(i64::MAX);
        let from = from.timestamp_millis();
        Self(from, from.saturating_add(length))
    }

    pub(crate) fn from(self) -> DateTime<Utc> {
        moment(self.0)
    }

    pub(crate) fn until(self) -> DateTime<Utc> {
        moment(self.1)
    }

    pub(crate) fn length(self) -> Duration {
        until(self.until(), self.from())
    }

    /// Whether it is over.
    pub(crate) fn is_over(self, now: DateTime<Utc>) -> bool {
        now.timestamp_millis() >= self.1
    }

    /// The one that ends later.
    pub(crate) fn later(self, other: Option<Self>) -> Self {
        match other {
            Some(other) if other.1 > self.1 => other,
            _ => self,
        }
    }

    /// A hold that was written down in the future begins now: the clock was set back, and waiting
    /// for the old one could take forever. Says whether it was so.
    pub(crate) fn mend(&mut self, now: DateTime<Utc>) -> bool {
        let now = now.timestamp_millis();
        let ahead = self.0.saturating_sub(now) > SKEW_MS;
        if ahead {
            let length = self.1.saturating_sub(self.0);
            *self = Self(now, now.saturating_add(length));
        }
        ahead
    }
}

fn moment(ms: i64) -> DateTime<Utc> {
    DateTime::from_timestamp_millis(ms).unwrap_or(DateTime::<Utc>::MAX_UTC)
}

/// A tenth more than a span of time, but at most 5 seconds, for what happens between noting
/// something and doing it.
pub(crate) fn with_margin(span: Duration) -> Duration {
    span.saturating_add((span / 10).min(Duration::from_secs(5)))
}

/// The time from `now` until `then`; none if it has passed.
pub(crate) fn until(then: DateTime<Utc>, now: DateTime<Utc>) -> Duration {
    (then - now)
        .max(TimeDelta::zero())
        .to_std()
        .unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(s: i64) -> DateTime<Utc> {
        DateTime::from_timestamp(s, 0).unwrap()
    }

    #[test]
    fn a_hold_ends_after_its_length_whatever_the_clock_does() {
        let mut hold = Hold::new(at(1_000), Duration::from_secs(60));
        assert!(!hold.is_over(at(1_059)));
        assert!(hold.is_over(at(1_060)));
        assert!(!hold.mend(at(1_010)));
        assert!(!hold.mend(at(996)), "clocks differ by some seconds");
        assert!(hold.mend(at(500)));
        assert_eq!((hold.from(), hold.until()), (at(500), at(560)));
        let third = Hold::new(at(0), Duration::from_secs(1) / 30);
        assert_eq!(third.length(), Duration::from_millis(34), "never shorter");
        let late = DateTime::from_timestamp_micros(900).unwrap();
        let late = Hold::new(late, Duration::from_millis(50));
        assert!(!late.is_over(DateTime::from_timestamp_micros(50_800).unwrap()));
        let none = Hold::new(
            DateTime::from_timestamp_micros(900).unwrap(),
            Duration::ZERO,
        );
        assert!(none.is_over(DateTime::from_timestamp_micros(901).unwrap()));
        let mut endless = Hold::new(at(1_000), Duration::MAX);
        assert!(endless.mend(at(500)));
        assert!(!endless.is_over(at(1_000_000)));
    }
}
