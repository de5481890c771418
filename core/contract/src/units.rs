//! Quantities as people write them: `"5 MB"`, `"60s"`.

use std::borrow::Cow;
use std::fmt;
use std::str::FromStr;
use std::time::Duration;

use schemars::{JsonSchema, Schema, SchemaGenerator, json_schema};
use serde::de::{self, Visitor};
use serde::{Deserialize, Deserializer, Serialize, Serializer};

/// A number of bytes: `"5 MB"` (10⁶), `"64 MiB"` (2²⁰), or an integer.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Default)]
pub struct ByteSize(pub u64);

impl ByteSize {
    /// The number as a length in memory.
    pub fn as_usize(self) -> usize {
        usize::try_from(self.0).unwrap_or(usize::MAX)
    }
}

impl fmt::Display for ByteSize {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}", bytesize::ByteSize(self.0).display().si())
    }
}

impl FromStr for ByteSize {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        text.parse::<bytesize::ByteSize>()
            .map(|size| Self(size.0))
            .map_err(|_| format!("`{text}` is not a size such as \"5 MB\" or \"64 MiB\""))
    }
}

/// A length of time: `"60s"`, `"1h 30m"`, `"500ms"`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Default)]
pub struct Span(pub Duration);

impl fmt::Display for Span {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        humantime::format_duration(self.0).fmt(f)
    }
}

impl Span {
    /// The same to two or three digits, for people: `740ms`, `3.1s`, `2m 5s`.
    pub fn rounded(self) -> String {
        let seconds = self.0.as_secs_f64();
        match self.0 {
            time if time < Duration::from_millis(1) => Span(Duration::from_micros(
                u64::try_from(time.as_micros()).unwrap_or(u64::MAX),
            ))
            .to_string(),
            time if time < Duration::from_secs(1) => format!("{}ms", time.as_millis()),
            time if time < Duration::from_secs(10) => format!("{seconds:.1}s"),
            time => Span(Duration::from_secs(time.as_secs())).to_string(),
        }
    }
}

impl FromStr for Span {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        humantime::parse_duration(text)
            .map(Self)
            .map_err(|_| format!("`{text}` is not a duration such as \"60s\" or \"5m\""))
    }
}

impl Serialize for ByteSize {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_u64(self.0)
    }
}

impl Serialize for Span {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}

struct Human<T>(&'static str, std::marker::PhantomData<T>);

impl<T: FromStr<Err = String> + From<u64>> Visitor<'_> for Human<T> {
    type Value = T;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.0)
    }

    fn visit_str<E: de::Error>(self, text: &str) -> Result<T, E> {
        text.parse().map_err(E::custom)
    }

    fn visit_u64<E: de::Error>(self, number: u64) -> Result<T, E> {
        Ok(T::from(number))
    }

    fn visit_i64<E: de::Error>(self, number: i64) -> Result<T, E> {
        u64::try_from(number)
            .map(T::from)
            .map_err(|_| E::custom(format!("{number} is negative")))
    }
}

impl From<u64> for ByteSize {
    fn from(bytes: u64) -> Self {
        Self(bytes)
    }
}

impl From<u64> for Span {
    fn from(seconds: u64) -> Self {
        Self(Duration::from_secs(seconds))
    }
}

impl<'de> Deserialize<'de> for ByteSize {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_any(Human("a size such as \"5 MB\"", std::marker::PhantomData))
    }
}

impl<'de> Deserialize<'de> for Span {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_any(Human(
            "a duration such as \"60s\"",
            std::marker::PhantomData,
        ))
    }
}

/// Reads a quantity that has to be more than nothing:
/// `#[serde(default, deserialize_with = "positive")]`.
pub(crate) fn positive<'de, T, D>(value: D) -> Result<Option<T>, D::Error>
where
    T: Deserialize<'de> + Default + PartialEq,
    D: Deserializer<'de>,
{
    match Option::<T>::deserialize(value)? {
        Some(given) if given == T::default() => Err(de::Error::custom("it must be more than 0")),
        given => Ok(given),
    }
}

impl JsonSchema for ByteSize {
    fn inline_schema() -> bool {
        true
    }

    fn schema_name() -> Cow<'static, str> {
        "ByteSize".into()
    }

    fn json_schema(_: &mut SchemaGenerator) -> Schema {
        json_schema!({
            "type": ["string", "integer"],
            "format": "size",
            "pattern": r"^\s*\d+(\.\d+)?\s*([kKMGTPE]i?)?[bB]?\s*$",
            "minimum": 0,
        })
    }
}

impl JsonSchema for Span {
    fn inline_schema() -> bool {
        true
    }

    fn schema_name() -> Cow<'static, str> {
        "Span".into()
    }

    fn json_schema(_: &mut SchemaGenerator) -> Schema {
        json_schema!({
            "type": ["string", "integer"],
            // Not `duration`, which in JSON Schema is ISO 8601's.
            "format": "time span",
            "pattern": r"^\s*(\d+\s*[a-zA-Z]+\s*)+$",
            "minimum": 0,
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_wait_is_shown_as_people_tell_it() {
        let shown = |micros| Span(Duration::from_micros(micros)).rounded();
        assert_eq!(shown(740_487), "740ms");
        assert_eq!(shown(2_588_426), "2.6s");
        assert_eq!(shown(61_400_000), "1m 1s");
        assert_eq!(shown(250), "250us");
    }
}
