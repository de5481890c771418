//! How many requests are left, as answers tell it.

use std::time::Duration;

use chrono::{DateTime, Utc};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use tidegate_core::Result;
use tidegate_http::header::HeaderName;
use tidegate_http::{Response, Told};

use crate::check::of_key;

/// Headers in which answers tell of a quota:
/// `{ left = "X-RateLimit-Remaining", max = "X-RateLimit-Limit", resets = "X-RateLimit-Reset" }`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Quota {
    /// How many requests are left.
    pub left: String,
    /// How many there are in all. Default: not known.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub max: Option<String>,
    /// When there are all of them again: in so many seconds, or a time as seconds or milliseconds
    /// since 1970, as RFC 3339, or as HTTP writes dates. Default: a day after the first request.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub resets: Option<String>,
}

impl Quota {
    pub(crate) fn check(&self) -> Result<()> {
        for name in self.headers() {
            if name.parse::<HeaderName>().is_err() {
                return Err(
                    of_key("quota", format!("`{name}` can't be a header's name")).hint(
                        "`left`, `max` and `resets` are names such as \"X-RateLimit-Remaining\"",
                    ),
                );
            }
        }
        Ok(())
    }

    fn headers(&self) -> impl Iterator<Item = &String> {
        [Some(&self.left), self.max.as_ref(), self.resets.as_ref()]
            .into_iter()
            .flatten()
    }

    /// What an answer tells.
    pub(crate) fn told(&self, answer: &Response) -> Told {
        let header = |name: &String| answer.header(name).map(str::trim);
        let number = |name: &String| header(name).and_then(|text| text.parse().ok());
        // Its clock and ours may differ; only the difference of its own times counts.
        let now = answer.server_time().unwrap_or(answer.fetched_at);
        Told {
            quota_left: number(&self.left),
            quota_max: self.max.as_ref().and_then(number),
            resets_in: self
                .resets
                .as_ref()
                .and_then(header)
                .and_then(|text| resets_in(text, now)),
            backoff: None,
        }
    }

    /// Whether an answer tells that nothing is left.
    pub(crate) fn is_spent(&self, answer: &Response) -> bool {
        self.told(answer).quota_left == Some(0)
    }
}

/// In what time, by a server whose clock shows `now`. `None` for what is no time.
fn resets_in(text: &str, now: DateTime<Utc>) -> Option<Duration> {
    /// Larger numbers of seconds are times since 1970 (from September 2001 on), not lengths of time
    /// (more than 31 years).
    const TIMES: f64 = 1e9;
    let until = |time: DateTime<Utc>| (time - now).to_std().unwrap_or(Duration::ZERO);
    if let Ok(number) = text.parse::<f64>() {
        let seconds = match number {
            n if n >= TIMES * 1e2 => n / 1e3,
            n => n,
        };
        let length = Duration::try_from_secs_f64(seconds).ok()?;
        if seconds < TIMES {
            return Some(length);
        }
        let time =
            DateTime::UNIX_EPOCH.checked_add_signed(chrono::Duration::from_std(length).ok()?);
        return time.map(until);
    }
    let time = DateTime::parse_from_rfc3339(text).or_else(|_| DateTime::parse_from_rfc2822(text));
    time.ok().map(|time| until(time.to_utc()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn resets_are_understood_in_the_ways_that_servers_write_them() {
        let now = "2026-11-21T12:00:00Z".parse().unwrap();
        let wait = |text: &str| resets_in(text, now);
        let seconds = |n| Some(Duration::from_secs(n));
        assert_eq!(wait("60"), seconds(60));
        assert_eq!(wait("0.5"), Some(Duration::from_millis(500)));
        assert_eq!(wait("1795262460"), seconds(60));
        assert_eq!(wait("1795262460000"), seconds(60));
        assert_eq!(wait("2026-11-21T12:01:00Z"), seconds(60));
        assert_eq!(wait("Sat, 21 Nov 2026 12:01:00 GMT"), seconds(60));
        assert_eq!(wait("1795262000"), seconds(0), "it has passed");
        for nonsense in ["", "soon", "-5", "NaN", "inf", "1e300"] {
            assert_eq!(wait(nonsense), None, "{nonsense}");
        }
    }
}
