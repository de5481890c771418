//! The type of CSV fields.

use arrow_schema::{DataType, TimeUnit};

use crate::decode::number::Number;
use crate::decode::time;

/// What all fields of a column so far have in common.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub(crate) enum Kind {
    /// Only nulls were seen.
    #[default]
    Unknown,
    Bool,
    Int,
    Float,
    Date,
    /// Without an offset from UTC.
    Naive,
    /// With one.
    Instant,
    Text,
}

impl Kind {
    /// The type of a text that isn't NULL.
    pub(crate) fn of(text: &[u8]) -> Self {
        if text.eq_ignore_ascii_case(b"true") || text.eq_ignore_ascii_case(b"false") {
            return Self::Bool;
        }
        if let Some(number) = Number::text(text) {
            return Self::of_number(number, text);
        }
        // A year alone is a number; anything with a date in it has two dashes.
        match (time::date(text), time::timestamp(text)) {
            (Some(_), _) => Self::Date,
            (None, Some(written)) if written.to_unit(TimeUnit::Microsecond).is_none() => Self::Text,
            (None, Some(written)) if written.offset.is_some() => Self::Instant,
            (None, Some(_)) => Self::Naive,
            (None, None) => Self::Text,
        }
    }

    /// Numbers are those that can be written back as they were: `00123` and `+49` are codes, and
    /// an integer too large for 64 bits would lose digits as a float.
    fn of_number(number: Number, text: &[u8]) -> Self {
        let digits = text.strip_prefix(b"-").unwrap_or(text);
        if let [b'+', ..] | [b'0', b'0'..=b'9', ..] = digits {
            return Self::Text;
        }
        if !number.integer {
            return if number.to_f64(text).is_some() {
                Self::Float
            } else {
                Self::Text
            };
        }
        match number.to_i128(text).map(i64::try_from) {
            Some(Ok(_)) => Self::Int,
            _ => Self::Text,
        }
    }

    pub(crate) fn widen(&mut self, other: Self) {
        use Kind::{Date, Float, Int, Naive, Text, Unknown};
        *self = match (*self, other) {
            (Unknown, kind) | (kind, Unknown) => kind,
            (old, new) if old == new => old,
            (Int | Float, Int | Float) => Float,
            (Date | Naive, Date | Naive) => Naive,
            _ => Text,
        };
    }

    pub(crate) fn data_type(self) -> DataType {
        match self {
            Self::Unknown | Self::Text => DataType::Utf8,
            Self::Bool => DataType::Boolean,
            Self::Int => DataType::Int64,
            Self::Float => DataType::Float64,
            Self::Date => DataType::Date32,
            Self::Naive => DataType::Timestamp(TimeUnit::Microsecond, None),
            Self::Instant => DataType::Timestamp(TimeUnit::Microsecond, Some("UTC".into())),
        }
    }
}
