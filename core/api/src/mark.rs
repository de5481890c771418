//! How far an incremental endpoint was read.

use std::cmp::Ordering;

use bytes::Bytes;
use chrono::{DateTime, NaiveDate, NaiveDateTime, SecondsFormat, Utc};
use serde::{Deserialize, Serialize};
use serde_json::value::RawValue;
use tidegate_core::{ErrorKind, Result};
use tidegate_http::Response;

use crate::hash::hash;
use crate::incremental::Start;
use crate::json::{Document, Kind, elements, kind};
use crate::records::unreadable;
use crate::{Incremental, MarkFormat, Records};

/// So many records of the last value are known by heart; if there are more, all come again.
const MOST_SEEN: usize = 256;

/// A value of the field that grows.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub(crate) enum Value {
    Number(i64),
    Text(String),
    /// Microseconds since 1970.
    Time(i64),
}

/// The largest value seen, and which records had it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Mark {
    pub(crate) value: Value,
    /// Hashes of the records that had it: a server that takes the bound as included gives them
    /// again.
    pub(crate) seen: Vec<u64>,
    /// Whether there were more than are in `seen`.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub(crate) crowded: bool,
}

impl Mark {
    /// The further of two, or both together where they are of one value.
    pub(crate) fn join(self, other: Self) -> Option<Self> {
        Some(match compare(&self.value, &other.value)? {
            Ordering::Greater => self,
            Ordering::Less => other,
            Ordering::Equal => {
                let mut both = self;
                both.crowded |= other.crowded;
                other.seen.into_iter().for_each(|hash| both.note(hash));
                both
            }
        })
    }

    fn note(&mut self, hash: u64) {
        if self.crowded || self.seen.contains(&hash) {
            return;
        }
        self.seen.push(hash);
        if self.seen.len() > MOST_SEEN {
            self.crowded = true;
            self.seen = Vec::new();
        }
    }

    /// The bound to send, so that nothing after this mark is missed.
    ///
    /// Without a format it is sent as the records have it, and in a body of the type that `start` has:
    /// what the server took in the first run.
    pub(crate) fn bound(&self, incremental: &Incremental) -> serde_json::Value {
        let micros = match (&self.value, &incremental.start) {
            (Value::Number(number), Some(Start::Text(_))) => return number.to_string().into(),
            (Value::Number(number), _) => return (*number).into(),
            (Value::Text(text), Some(Start::Integer(_))) => {
                let number = text.parse::<i64>().ok();
                let number = number.filter(|number| number.to_string() == *text);
                return number.map_or_else(|| text.clone().into(), serde_json::Value::from);
            }
            (Value::Text(text), _) => return text.clone().into(),
            (Value::Time(micros), _) => *micros,
        };
        let overlap = incremental.overlap.map_or(0, |overlap| {
            i64::try_from(overlap.0.as_micros()).unwrap_or(i64::MAX)
        });
        written(micros.saturating_sub(overlap), incremental.format)
    }
}

/// A time in microseconds since 1970, as it is sent.
pub(crate) fn written(micros: i64, format: MarkFormat) -> serde_json::Value {
    match format.unit() {
        Some(unit) => micros.div_euclid(unit).into(),
        None => DateTime::<Utc>::from_timestamp_micros(micros)
            .unwrap_or(DateTime::UNIX_EPOCH)
            .to_rfc3339_opts(SecondsFormat::AutoSi, true)
            .into(),
    }
}

/// A time that is written in a file, in microseconds since 1970; `None` if it is none.
pub(crate) fn time_of(value: &serde_json::Value, format: MarkFormat) -> Option<i64> {
    let value = serde_json::value::to_raw_value(value).ok()?;
    match read(&value, format)? {
        Value::Time(micros) => Some(micros),
        Value::Number(_) | Value::Text(_) => None,
    }
}

fn compare(one: &Value, other: &Value) -> Option<Ordering> {
    match (one, other) {
        (Value::Number(one), Value::Number(other)) | (Value::Time(one), Value::Time(other)) => {
            Some(one.cmp(other))
        }
        (Value::Text(one), Value::Text(other)) => Some(one.cmp(other)),
        _ => None,
    }
}

/// A page's records without those that the last run had, and the mark after them.
///
/// Errors: `Data` where a record's field can't be compared.
pub(crate) fn advance(
    answer: &Response,
    records: Records,
    incremental: &Incremental,
    since: Option<&Mark>,
    mut high: Option<Mark>,
) -> Result<(Records, Option<Mark>)> {
    let unusable = |record: &RawValue, why: String| {
        answer
            .error(ErrorKind::Data, why)
            .with("record", answer.excerpt(record.get().as_bytes()))
            .hint(
                "`incremental.field` must lead to an integer, a text or a time; a time that is \
                 a number with a fraction needs a `format`",
            )
    };
    // Parsed once already, as a part of the body.
    let array: &RawValue =
        serde_json::from_slice(&records.json).map_err(|error| unreadable(answer, error))?;
    let mut kept = Vec::new();
    let mut dropped = false;
    for record in elements(array).map_err(|error| unreadable(answer, error))? {
        let document = Document::of(record).map_err(|error| unreadable(answer, error))?;
        let Some(value) = document.present(&incremental.field) else {
            kept.push(record);
            continue;
        };
        let value = read(value, incremental.format).ok_or_else(|| {
            let field = &incremental.field;
            unusable(
                record,
                format!("a record's `{field}` is no value that can grow"),
            )
        })?;
        let hash = hash(record.get().as_bytes());
        if since.is_some_and(|since| since.value == value && since.seen.contains(&hash)) {
            dropped = true;
        } else {
            kept.push(record);
        }
        let this = Mark {
            value,
            seen: vec![hash],
            crowded: false,
        };
        high = Some(match high {
            None => this,
            Some(high) => high.join(this).ok_or_else(|| {
                let field = &incremental.field;
                unusable(
                    record,
                    format!("a record's `{field}` is of another type than that of others"),
                )
            })?,
        });
    }
    // It is stored.
    if let Some(Mark {
        value: Value::Text(text),
        ..
    }) = &high
        && answer.holds_hidden(text)
    {
        let field = &incremental.field;
        return Err(answer
            .error(
                ErrorKind::Data,
                format!("a record's `{field}` holds a secret, and isn't stored"),
            )
            .hint(
                "the server gives back a secret that it was sent, in what the next run would ask \
                 with: check `incremental.field`, or tell the server's operator",
            ));
    }
    if !dropped {
        return Ok((records, high));
    }
    let texts: Vec<_> = kept.iter().map(|record| record.get()).collect();
    let records = Records {
        json: Bytes::from(format!("[{}]", texts.join(","))),
        count: texts.len().try_into().unwrap_or(u64::MAX),
    };
    Ok((records, high))
}

/// A field's value; `None` if it can't be compared.
fn read(value: &RawValue, format: MarkFormat) -> Option<Value> {
    let text = match kind(value) {
        Kind::Text => serde_json::from_str::<String>(value.get()).ok()?,
        Kind::Number => value.get().to_owned(),
        _ => return None,
    };
    let is_text = kind(value) == Kind::Text;
    if format == MarkFormat::AsIs {
        return match is_text {
            true => Some(Value::Text(text)),
            false => text.parse().ok().map(Value::Number),
        };
    }
    let scale = format.unit().unwrap_or(1_000_000);
    let time = match is_text {
        true => time(&text).or_else(|| epoch(&text, scale)),
        false => epoch(&text, scale),
    };
    time.map(Value::Time)
}

/// A time since 1970 in units of `scale` microseconds, as microseconds.
fn epoch(text: &str, scale: i64) -> Option<i64> {
    if let Ok(whole) = text.parse::<i64>() {
        return whole.checked_mul(scale);
    }
    let (whole, fraction) = text.split_once('.')?;
    let digits = fraction.bytes().all(|byte| byte.is_ascii_digit());
    if !digits || fraction.is_empty() {
        return None;
    }
    let fraction: i64 = format!("{fraction:0<6.6}").parse().ok()?;
    let fraction = fraction / (1_000_000 / scale);
    let below_zero = whole.starts_with('-');
    let whole = whole.parse::<i64>().ok()?.checked_mul(scale)?;
    whole.checked_add(if below_zero { -fraction } else { fraction })
}

/// A time as RFC 3339 or nearly so (no colon in the offset, no offset at all: UTC), as microseconds.
fn time(text: &str) -> Option<i64> {
    const NEARLY: [&str; 2] = ["%Y-%m-%dT%H:%M:%S%.f%#z", "%Y-%m-%d %H:%M:%S%.f%#z"];
    const NAIVE: [&str; 2] = ["%Y-%m-%dT%H:%M:%S%.f", "%Y-%m-%d %H:%M:%S%.f"];
    let nearly = |format: &&str| DateTime::parse_from_str(text, format).ok();
    let naive = |format: &&str| NaiveDateTime::parse_from_str(text, format).ok();
    let zoned = DateTime::parse_from_rfc3339(text)
        .ok()
        .or_else(|| NEARLY.iter().find_map(nearly));
    if let Some(time) = zoned {
        return Some(time.timestamp_micros());
    }
    let date = || {
        NaiveDate::parse_from_str(text, "%Y-%m-%d")
            .ok()?
            .and_hms_opt(0, 0, 0)
    };
    let time = NAIVE.iter().find_map(naive).or_else(date)?;
    Some(time.and_utc().timestamp_micros())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn value(json: &str, format: MarkFormat) -> Option<Value> {
        read(serde_json::from_str(json).unwrap(), format)
    }

    #[test]
    fn values_are_read_in_every_format() {
        use MarkFormat::{AsIs, EpochMillis, EpochSeconds, Rfc3339};
        let text = |text: &str| Some(Value::Text(text.into()));
        let seconds = |seconds: i64| Some(Value::Time(seconds * 1_000_000));
        for (json, format, expected) in [
            ("7", AsIs, Some(Value::Number(7))),
            ("\"7\"", AsIs, text("7")),
            ("7.5", AsIs, None),
            ("true", AsIs, None),
            ("\"1970-01-01T00:01:00Z\"", Rfc3339, seconds(60)),
            ("\"1970-01-01T01:00:00+01:00\"", Rfc3339, seconds(0)),
            ("\"1970-01-01T01:00:00+0100\"", Rfc3339, seconds(0)),
            ("\"1970-01-01 00:00:01\"", Rfc3339, seconds(1)),
            ("\"1970-01-02\"", Rfc3339, seconds(86_400)),
            ("60", Rfc3339, seconds(60)),
            ("\"60\"", EpochSeconds, seconds(60)),
            ("1.5", EpochSeconds, Some(Value::Time(1_500_000))),
            ("-1.5", EpochSeconds, Some(Value::Time(-1_500_000))),
            ("\"1970-01-01T00:01:00Z\"", EpochSeconds, seconds(60)),
            ("1500", EpochMillis, Some(Value::Time(1_500_000))),
            ("1500.5", EpochMillis, Some(Value::Time(1_500_500))),
            ("\"yesterday\"", Rfc3339, None),
            ("1e9", EpochSeconds, None),
        ] {
            assert_eq!(value(json, format), expected, "{json} as {format:?}");
        }
    }

    #[test]
    fn the_bound_loses_nothing() {
        let mark = Mark {
            value: Value::Time(1_714_564_800_250_000),
            seen: Vec::new(),
            crowded: false,
        };
        let mut incremental: Incremental =
            serde_json::from_str(r#"{"param": "since", "field": "/at", "format": "rfc3339"}"#)
                .unwrap();
        assert_eq!(mark.bound(&incremental), "2024-05-01T12:00:00.250Z");
        incremental.overlap = Some("250ms".parse().unwrap());
        assert_eq!(mark.bound(&incremental), "2024-05-01T12:00:00Z");
        incremental.overlap = None;
        incremental.format = MarkFormat::EpochSeconds;
        assert_eq!(mark.bound(&incremental), 1_714_564_800);
        incremental.format = MarkFormat::EpochMillis;
        assert_eq!(mark.bound(&incremental), 1_714_564_800_250_i64);
    }

    #[test]
    fn marks_join() {
        let mark = |number, seen: &[u64]| Mark {
            value: Value::Number(number),
            seen: seen.to_vec(),
            crowded: false,
        };
        let join = |one: Mark, other| one.join(other).unwrap();
        assert_eq!(join(mark(1, &[1]), mark(2, &[2])), mark(2, &[2]));
        assert_eq!(join(mark(2, &[2]), mark(1, &[1])), mark(2, &[2]));
        assert_eq!(join(mark(2, &[2]), mark(2, &[2, 3])), mark(2, &[2, 3]));
        let many: Vec<_> = (0..257).collect();
        let crowded = join(mark(2, &[]), mark(2, &many));
        assert!(crowded.crowded && crowded.seen.is_empty());
        assert!(join(crowded, mark(2, &[1])).seen.is_empty());
        let text = Mark {
            value: Value::Text("a".into()),
            ..mark(0, &[])
        };
        assert_eq!(mark(1, &[]).join(text), None);
    }
}
