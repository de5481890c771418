//! Where the first run begins.

use std::borrow::Cow;
use std::fmt;
use std::str::FromStr;

use chrono::{DateTime, NaiveDate, NaiveTime, SecondsFormat, TimeDelta, Utc};
use schemars::{JsonSchema, Schema, SchemaGenerator, json_schema};
use serde::{Deserialize, Deserializer, Serialize, Serializer, de};
use tidegate_core::Span;

/// A moment: `"2026-01-31"`, `"2026-01-31T08:00:00Z"`, or `"7d"` before now.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Since {
    /// This moment.
    At(DateTime<Utc>),
    /// So long before the moment at which the first run begins.
    Ago(Span),
}

impl Since {
    /// In whole seconds since 1970, rounded down so that nothing is left out.
    pub(crate) fn seconds(self, now: DateTime<Utc>) -> i64 {
        match self {
            Self::At(time) => time.timestamp(),
            Self::Ago(Span(span)) => TimeDelta::from_std(span)
                .ok()
                .and_then(|span| now.checked_sub_signed(span))
                .map_or(0, |time| time.timestamp()),
        }
    }
}

impl FromStr for Since {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        if let Ok(time) = DateTime::parse_from_rfc3339(text) {
            return Ok(Self::At(time.with_timezone(&Utc)));
        }
        if let Ok(date) = text.parse::<NaiveDate>() {
            return Ok(Self::At(date.and_time(NaiveTime::MIN).and_utc()));
        }
        text.parse().map(Self::Ago).map_err(|_| {
            format!(
                "`{text}` is not a time such as \"2026-01-31\" or \"2026-01-31T08:00:00Z\", \
                 or a span before now such as \"7d\""
            )
        })
    }
}

impl fmt::Display for Since {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::At(time) => f.write_str(&time.to_rfc3339_opts(SecondsFormat::AutoSi, true)),
            Self::Ago(span) => span.fmt(f),
        }
    }
}

impl Serialize for Since {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}

impl<'de> Deserialize<'de> for Since {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let text = String::deserialize(deserializer)?;
        text.parse()
            .map_err(|error| de::Error::custom(format!("`since`: {error}")))
    }
}

impl JsonSchema for Since {
    fn inline_schema() -> bool {
        true
    }

    fn schema_name() -> Cow<'static, str> {
        "Since".into()
    }

    fn json_schema(_: &mut SchemaGenerator) -> Schema {
        json_schema!({ "type": "string", "format": "time or span before now" })
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "a test that cannot go on fails")]

    use super::*;

    fn now() -> DateTime<Utc> {
        DateTime::from_timestamp(1_767_225_600, 500_000_000).unwrap()
    }

    #[test]
    fn a_moment_is_a_date_a_time_or_a_span_before_now() {
        for (text, seconds) in [
            ("2026-01-01", 1_767_225_600),
            ("2026-01-01T01:00:00+01:00", 1_767_225_600),
            ("2026-01-01T00:00:00.9Z", 1_767_225_600),
            ("1d", 1_767_225_600 - 86_400),
            ("1h 30m", 1_767_225_600 - 5_400),
            ("3000000000d", 0),
        ] {
            let since: Since = text.parse().unwrap();
            assert_eq!(since.seconds(now()), seconds, "{text}");
            let stored = serde_json::to_string(&since).unwrap();
            assert_eq!(serde_json::from_str::<Since>(&stored).unwrap(), since);
        }
    }

    #[test]
    fn what_is_no_moment_is_refused_with_examples() {
        for text in ["yesterday", "2026-13-01", "", "-1d"] {
            let error = text.parse::<Since>().unwrap_err();
            assert!(
                error.contains("2026-01-31") && error.contains("7d"),
                "{error}"
            );
        }
    }
}
