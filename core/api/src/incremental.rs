use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use serde_json::Value;
use tidegate_core::{Error, Result, Span};

use crate::{Place, Pointer, mark};

/// Reads in each run what is new since the last one: the largest value of `field` that was seen is
/// kept, and the next run sends it as `param`.
///
/// A server that takes the bound as included gives the records of that last value again. Those that
/// are the same, byte by byte, are left out (unless more than 256 have it); one that has changed
/// since comes again, so merge by key. A run without records keeps the bound.
///
/// Where the server leaves the bound itself out (`updated_after`), a record that gets the same value
/// a moment later would be missed: give an `overlap` of as long as such a value lasts (`"1s"`).
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Incremental {
    /// The parameter that holds the bound.
    pub param: String,
    /// Where a record holds the value: `/updated_at`. It grows with each change of a record.
    pub field: Pointer,
    /// How values compare and are sent: `as_is` (default), `rfc3339`, `epoch_seconds` or
    /// `epoch_millis`.
    #[serde(default)]
    pub format: MarkFormat,
    /// What the first run sends, as it is written here: a text or a number. Later runs send what they
    /// send in the same way, which matters in a body: numbers as numbers, texts as texts. With
    /// `epoch_seconds` and `epoch_millis` that is a number, which may be written as a time too.
    /// Default: the first run sends no bound, and reads everything.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub start: Option<Start>,
    /// How far before the largest value the next run begins, for servers where records show up late.
    /// Records of that time come again: merge by key. Needs a `format` of time, not `as_is`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub overlap: Option<Span>,
    /// Where the parameter stands: `query` (default) or `body`.
    #[serde(default, rename = "in")]
    pub place: Place,
}

impl Incremental {
    /// Checks what contradicts itself.
    ///
    /// Errors: `Config`, naming the key.
    pub(crate) fn validate(&self) -> Result<()> {
        if self.param.is_empty() {
            return Err(of_key("`incremental.param` is empty")
                .hint("name the parameter that holds the bound, such as \"since\""));
        }
        if self.field == Pointer::root() {
            return Err(of_key("`incremental.field` is empty")
                .hint("write where a record holds the value: \"/updated_at\""));
        }
        if self.overlap.is_some() && self.format == MarkFormat::AsIs {
            return Err(
                of_key("`incremental.overlap` needs to know that values are times")
                    .hint("say how they are sent: `format = \"rfc3339\"`, for one"),
            );
        }
        if let Some(Start::Text(text)) = &self.start
            && self.format.unit().is_some()
            && self.first().is_some_and(|first| !first.is_number())
        {
            return Err(of_key("`incremental.start` is no time")
                .with("start", text)
                .hint("write it as \"2026-01-01T00:00:00Z\", or as the number that is sent"));
        }
        Ok(())
    }

    /// The bound that the first run sends.
    pub(crate) fn first(&self) -> Option<Value> {
        let value = self.start.as_ref()?.value();
        let time = match (&value, self.format) {
            (Value::String(_), MarkFormat::EpochSeconds | MarkFormat::EpochMillis)
            | (Value::Number(_), MarkFormat::Rfc3339) => mark::time_of(&value, self.format),
            _ => None,
        };
        Some(time.map_or(value, |time| mark::written(time, self.format)))
    }
}

/// Where the first run begins.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(untagged)]
#[schemars(inline)]
pub enum Start {
    /// An integer.
    Integer(i64),
    /// Another number.
    Number(f64),
    /// A text.
    Text(String),
}

impl Start {
    fn value(&self) -> Value {
        match self {
            Self::Integer(number) => (*number).into(),
            Self::Number(number) => (*number).into(),
            Self::Text(text) => text.as_str().into(),
        }
    }
}

fn of_key(message: &str) -> Error {
    Error::config(message).with("key", "incremental")
}

/// How values of the field that grows compare and are sent.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum MarkFormat {
    /// Sent as the record has it. Integers compare as numbers, texts character by character, which
    /// is right for times that are all written the same way.
    #[default]
    AsIs,
    /// A time, sent as `2024-05-01T12:00:00Z`. The record has it so, or as seconds since 1970.
    Rfc3339,
    /// A time, sent as whole seconds since 1970. The record has it so, or as RFC 3339.
    EpochSeconds,
    /// A time, sent as milliseconds since 1970. The record has it so, or as RFC 3339.
    EpochMillis,
}

impl MarkFormat {
    /// In which unit it is a number of them since 1970, in microseconds.
    pub(crate) fn unit(self) -> Option<i64> {
        match self {
            Self::AsIs | Self::Rfc3339 => None,
            Self::EpochSeconds => Some(1_000_000),
            Self::EpochMillis => Some(1_000),
        }
    }
}
