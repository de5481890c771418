//! The type of CSV fields.

use arrow_schema::{DataType, TimeUnit};

use crate::decode::exact;
use crate::decode::number::Number;

/// What all fields of a column so far have in common.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub(crate) enum Kind {
    /// Only nulls were seen.
    #[default]
    Unknown,
    Bool,
    Number(Numbers),
    Date,
    /// Without an offset from UTC.
    Naive,
    /// With one.
    Instant,
    Text,
}

/// Which types all numbers of a column come back from as they were written.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Numbers {
    int: bool,
    float: bool,
    /// Of decimals with so many digits after the point.
    scale: Option<i8>,
}

impl Kind {
    /// The type of a text that isn't NULL.
    pub(crate) fn of(text: &[u8]) -> Self {
        if exact::text_bool(text).is_some() {
            return Self::Bool;
        }
        if let Some(number) = Number::text(text) {
            return Self::number(Numbers {
                int: exact::text_int(number, text).is_some(),
                float: exact::text_float(number, text).is_some(),
                scale: exact::text_scale(number, text),
            });
        }
        match (exact::text_date(text), exact::text_timestamp(text)) {
            (Some(_), _) => Self::Date,
            (None, Some((written, _))) if written.offset.is_some() => Self::Instant,
            (None, Some(_)) => Self::Naive,
            (None, None) => Self::Text,
        }
    }

    fn number(numbers: Numbers) -> Self {
        match numbers.data_type() {
            Some(_) => Self::Number(numbers),
            None => Self::Text,
        }
    }

    pub(crate) fn widen(&mut self, other: Self) {
        use Kind::{Number, Text, Unknown};
        *self = match (*self, other) {
            (Unknown, kind) | (kind, Unknown) => kind,
            (old, new) if old == new => old,
            (Number(old), Number(new)) => Self::number(Numbers {
                int: old.int && new.int,
                float: old.float && new.float,
                scale: old.scale.filter(|scale| new.scale == Some(*scale)),
            }),
            _ => Text,
        };
    }

    pub(crate) fn data_type(self) -> DataType {
        match self {
            Self::Unknown | Self::Text => DataType::Utf8,
            Self::Bool => DataType::Boolean,
            Self::Number(numbers) => numbers.data_type().unwrap_or(DataType::Utf8),
            Self::Date => DataType::Date32,
            Self::Naive => DataType::Timestamp(TimeUnit::Microsecond, None),
            Self::Instant => DataType::Timestamp(TimeUnit::Microsecond, Some("UTC".into())),
        }
    }
}

impl Numbers {
    fn data_type(self) -> Option<DataType> {
        match self {
            Self { int: true, .. } => Some(DataType::Int64),
            Self { float: true, .. } => Some(DataType::Float64),
            Self { scale, .. } => scale.map(|scale| DataType::Decimal128(38, scale)),
        }
    }
}
