//! The kinds of columns, and how their values are made.

use std::sync::Arc;

use arrow_array::types::{Date32Type, Float64Type, Int64Type, TimestampMicrosecondType};
use arrow_array::{ArrayRef, BooleanArray, Decimal128Array, PrimitiveArray, StringArray};
use arrow_schema::{DataType, Field, TimeUnit};
use chrono::{DateTime, NaiveDate, Utc};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use tidegate_core::{Error, Result, Span};

use crate::dice::Dice;

/// A column: its name, its kind, and the range of its values.
#[derive(Debug, Clone, Serialize, Deserialize, JsonSchema)]
#[serde(tag = "type", rename_all = "snake_case", deny_unknown_fields)]
pub enum ColumnConfig {
    /// `start`, `start + step`, … by the row's number. Default: 0, 1, 2, …
    Sequence {
        /// Its name.
        name: String,
        /// The first row's value.
        #[serde(default)]
        start: i64,
        /// What each row adds.
        #[serde(default = "one")]
        step: i64,
    },
    /// Integers from `min` to `max`, both included. Default: 0 to 999999.
    Int {
        /// Its name.
        name: String,
        /// The share of NULLs, from 0 to 1.
        #[serde(default)]
        nulls: f64,
        /// The smallest value.
        #[serde(default)]
        min: i64,
        /// The largest value.
        #[serde(default = "million")]
        max: i64,
    },
    /// Numbers from `min` to `max`. Default: 0 to 1.
    Float {
        /// Its name.
        name: String,
        /// The share of NULLs, from 0 to 1.
        #[serde(default)]
        nulls: f64,
        /// The smallest value.
        #[serde(default)]
        min: f64,
        /// The largest value.
        #[serde(default = "unit")]
        max: f64,
    },
    /// Decimal numbers from `min` to `max`, both included. Default: 0 to 1000, two digits after the
    /// point.
    Decimal {
        /// Its name.
        name: String,
        /// The share of NULLs, from 0 to 1.
        #[serde(default)]
        nulls: f64,
        /// How many digits there are in all, at most 38.
        #[serde(default = "precision")]
        precision: u8,
        /// How many of them stand after the point.
        #[serde(default = "scale")]
        scale: u8,
        /// The smallest value.
        #[serde(default)]
        min: i64,
        /// The largest value.
        #[serde(default = "thousand")]
        max: i64,
    },
    /// True as often as `chance` says. Default: 0.5.
    Bool {
        /// Its name.
        name: String,
        /// The share of NULLs, from 0 to 1.
        #[serde(default)]
        nulls: f64,
        /// The share of true, from 0 to 1.
        #[serde(default = "half")]
        chance: f64,
    },
    /// Texts of `length` letters and digits. Default: 12.
    Text {
        /// Its name.
        name: String,
        /// The share of NULLs, from 0 to 1.
        #[serde(default)]
        nulls: f64,
        /// How many characters.
        #[serde(default = "length")]
        length: u32,
    },
    /// One of `values`.
    Choice {
        /// Its name.
        name: String,
        /// The share of NULLs, from 0 to 1.
        #[serde(default)]
        nulls: f64,
        /// The texts to choose from.
        values: Vec<String>,
    },
    /// A UUID, as text.
    Uuid {
        /// Its name.
        name: String,
        /// The share of NULLs, from 0 to 1.
        #[serde(default)]
        nulls: f64,
    },
    /// Days from `start` to `end`, both included, such as "2024-01-31".
    Date {
        /// Its name.
        name: String,
        /// The share of NULLs, from 0 to 1.
        #[serde(default)]
        nulls: f64,
        /// The first day.
        start: String,
        /// The last day.
        end: String,
    },
    /// Times in UTC, in microseconds: from `start` by `step` a row, or anywhere up to `end`.
    Timestamp {
        /// Its name.
        name: String,
        /// The share of NULLs, from 0 to 1.
        #[serde(default)]
        nulls: f64,
        /// The first row's time, or the earliest: such as "2024-01-31T00:00:00Z".
        start: String,
        /// What each row adds, such as "1s".
        #[serde(default)]
        step: Option<Span>,
        /// The latest time; then times are chosen at random, and there is no `step`.
        #[serde(default)]
        end: Option<String>,
    },
}

fn one() -> i64 {
    1
}
fn million() -> i64 {
    999_999
}
fn thousand() -> i64 {
    1000
}
fn unit() -> f64 {
    1.0
}
fn half() -> f64 {
    0.5
}
fn precision() -> u8 {
    18
}
fn scale() -> u8 {
    2
}
fn length() -> u32 {
    12
}

/// How the values of a column are made.
#[derive(Debug, Clone)]
enum Make {
    Sequence {
        start: i64,
        step: i64,
    },
    Int {
        min: i64,
        span: u64,
    },
    Float {
        min: f64,
        max: f64,
    },
    Decimal {
        precision: u8,
        scale: i8,
        min: i64,
        span: u64,
    },
    Bool {
        chance: f64,
    },
    Text {
        length: u32,
    },
    Choice {
        values: Arc<[String]>,
    },
    Uuid,
    Date {
        start: i32,
        span: u64,
    },
    TimestampStep {
        start: i64,
        step: i64,
    },
    TimestampRange {
        start: i64,
        span: u64,
    },
}

/// A column, ready to be made.
#[derive(Debug, Clone)]
pub(crate) struct Column {
    pub(crate) field: Field,
    make: Make,
    nulls: f64,
    dice: Dice,
}

impl ColumnConfig {
    pub(crate) fn build(&self, seed: u64) -> Result<Column> {
        let (name, nulls, make) = self.parts()?;
        let fault = |why: &str| Err(Error::config(format!("column `{name}`: {why}")));
        if name.is_empty() {
            return fault("it needs a name");
        }
        if !(0.0..=1.0).contains(&nulls) {
            return fault("`nulls` is a share from 0 to 1");
        }
        let data_type = match &make {
            Make::Sequence { .. } | Make::Int { .. } => DataType::Int64,
            Make::Float { .. } => DataType::Float64,
            Make::Decimal {
                precision, scale, ..
            } => DataType::Decimal128(*precision, *scale),
            Make::Bool { .. } => DataType::Boolean,
            Make::Text { .. } | Make::Choice { .. } | Make::Uuid => DataType::Utf8,
            Make::Date { .. } => DataType::Date32,
            Make::TimestampStep { .. } | Make::TimestampRange { .. } => {
                DataType::Timestamp(TimeUnit::Microsecond, Some("UTC".into()))
            }
        };
        Ok(Column {
            field: Field::new(name, data_type, nulls > 0.0),
            make,
            nulls,
            dice: Dice::new(seed, name),
        })
    }

    fn parts(&self) -> Result<(&str, f64, Make)> {
        let fault = |name: &str, why: &str| Error::config(format!("column `{name}`: {why}"));
        // The number of values from `min` to `max`; all 2⁶⁴ are said as 0.
        let span = |name: &str, min: i64, max: i64| {
            if min > max {
                return Err(fault(name, "its range ends before it begins"));
            }
            Ok(max.abs_diff(min).wrapping_add(1))
        };
        Ok(match self {
            Self::Sequence { name, start, step } => (
                name,
                0.0,
                Make::Sequence {
                    start: *start,
                    step: *step,
                },
            ),
            Self::Int {
                name,
                nulls,
                min,
                max,
            } => (
                name,
                *nulls,
                Make::Int {
                    min: *min,
                    span: span(name, *min, *max)?,
                },
            ),
            Self::Float {
                name,
                nulls,
                min,
                max,
            } => {
                if !(min <= max && min.is_finite() && max.is_finite()) {
                    return Err(fault(name, "its range ends before it begins"));
                }
                (
                    name,
                    *nulls,
                    Make::Float {
                        min: *min,
                        max: *max,
                    },
                )
            }
            Self::Decimal {
                name,
                nulls,
                precision,
                scale,
                min,
                max,
            } => {
                let signed = i8::try_from(*scale).ok();
                let (Some(signed), 1..=38) = (signed.filter(|_| scale <= precision), *precision)
                else {
                    return Err(fault(
                        name,
                        "`precision` is 1 to 38, and `scale` no more than it",
                    ));
                };
                let unit = 10_i64.checked_pow(u32::from(*scale));
                let scaled = |value: i64| {
                    let value = unit.and_then(|unit| value.checked_mul(unit));
                    let fits = value.filter(|v| {
                        10_i128
                            .checked_pow(u32::from(*precision))
                            .is_none_or(|most| i128::from(*v).abs() < most)
                    });
                    fits.ok_or_else(|| fault(name, "its range doesn't fit its precision"))
                };
                let (min, max) = (scaled(*min)?, scaled(*max)?);
                let span = span(name, min, max)?;
                (
                    name,
                    *nulls,
                    Make::Decimal {
                        precision: *precision,
                        scale: signed,
                        min,
                        span,
                    },
                )
            }
            Self::Bool {
                name,
                nulls,
                chance,
            } => (name, *nulls, Make::Bool { chance: *chance }),
            Self::Text {
                name,
                nulls,
                length,
            } => (name, *nulls, Make::Text { length: *length }),
            Self::Choice {
                name,
                nulls,
                values,
            } => {
                if values.is_empty() {
                    return Err(fault(name, "there is nothing to choose from"));
                }
                (
                    name,
                    *nulls,
                    Make::Choice {
                        values: values.clone().into(),
                    },
                )
            }
            Self::Uuid { name, nulls } => (name, *nulls, Make::Uuid),
            Self::Date {
                name,
                nulls,
                start,
                end,
            } => {
                let day = |text: &String| {
                    let date = text.parse::<NaiveDate>().ok();
                    date.and_then(|date| {
                        i32::try_from((date - NaiveDate::default()).num_days()).ok()
                    })
                    .ok_or_else(|| fault(name, &format!("`{text}` is no day like \"2024-01-31\"")))
                };
                let (start, end) = (day(start)?, day(end)?);
                let span = span(name, start.into(), end.into())?;
                (name, *nulls, Make::Date { start, span })
            }
            Self::Timestamp {
                name,
                nulls,
                start,
                step,
                end,
            } => {
                let time = |text: &String| {
                    let time = text.parse::<DateTime<Utc>>();
                    time.map(|time| time.timestamp_micros()).map_err(|_| {
                        fault(
                            name,
                            &format!("`{text}` is no time like \"2024-01-31T00:00:00Z\""),
                        )
                    })
                };
                let start = time(start)?;
                let make = match (step, end) {
                    (Some(step), None) => Make::TimestampStep {
                        start,
                        step: i64::try_from(step.0.as_micros())
                            .map_err(|_| fault(name, "`step` is too long"))?,
                    },
                    (None, Some(end)) => Make::TimestampRange {
                        start,
                        span: span(name, start, time(end)?)?,
                    },
                    _ => return Err(fault(name, "give either `step` or `end`")),
                };
                (name, *nulls, make)
            }
        })
    }
}

impl Column {
    /// The values of the rows with these numbers.
    pub(crate) fn make(&self, rows: impl Iterator<Item = u64> + Clone) -> Result<ArrayRef> {
        let dice = self.dice;
        let absent = dice.other(0);
        let keep = |row: u64| self.nulls == 0.0 || absent.unit(row) >= self.nulls;
        macro_rules! numbers {
            ($kind:ty, $value:expr) => {{
                let value = $value;
                if self.nulls == 0.0 {
                    PrimitiveArray::<$kind>::from_iter_values(rows.map(value))
                } else {
                    rows.map(|row| keep(row).then(|| value(row))).collect()
                }
            }};
        }
        Ok(match &self.make {
            Make::Sequence { start, step } => Arc::new(numbers!(Int64Type, |row: u64| start
                .wrapping_add(step.wrapping_mul(row.cast_signed())))),
            Make::Int { min, span } => Arc::new(numbers!(Int64Type, |row| min
                .wrapping_add_unsigned(dice.below(row, *span)))),
            Make::Float { min, max } => Arc::new(numbers!(Float64Type, |row| {
                min + (max - min) * dice.unit(row)
            })),
            Make::Decimal {
                precision,
                scale,
                min,
                span,
            } => {
                let value = |row| i128::from(min.wrapping_add_unsigned(dice.below(row, *span)));
                let made: Decimal128Array = rows.map(|row| keep(row).then(|| value(row))).collect();
                Arc::new(made.with_precision_and_scale(*precision, *scale)?)
            }
            Make::Bool { chance } => {
                let made: BooleanArray = rows
                    .map(|row| keep(row).then(|| dice.unit(row) < *chance))
                    .collect();
                Arc::new(made)
            }
            Make::Text { length } => {
                let text = |row| {
                    const LETTERS: &[u8; 32] = b"abcdefghijklmnopqrstuvwxyz234567";
                    // 12 letters of 5 bits for each number.
                    let letter = |at: u32| {
                        let bits = dice.other(1 + u64::from(at / 12)).bits(row) >> (at % 12 * 5);
                        char::from(LETTERS[usize::try_from(bits & 31).unwrap_or_default()])
                    };
                    (0..*length).map(letter).collect::<String>()
                };
                let made: StringArray = rows.map(|row| keep(row).then(|| text(row))).collect();
                Arc::new(made)
            }
            Make::Choice { values } => {
                let value = |row| {
                    let at = dice.below(row, values.len() as u64);
                    values[usize::try_from(at).unwrap_or_default()].as_str()
                };
                let made: StringArray = rows.map(|row| keep(row).then(|| value(row))).collect();
                Arc::new(made)
            }
            Make::Uuid => {
                let value = |row| {
                    let (a, b) = (dice.bits(row), dice.other(1).bits(row));
                    format!(
                        "{:08x}-{:04x}-4{:03x}-{:04x}-{:012x}",
                        a >> 32,
                        a >> 16 & 0xffff,
                        a & 0xfff,
                        b >> 48 & 0x3fff | 0x8000,
                        b & 0xffff_ffff_ffff
                    )
                };
                let made: StringArray = rows.map(|row| keep(row).then(|| value(row))).collect();
                Arc::new(made)
            }
            Make::Date { start, span } => Arc::new(numbers!(Date32Type, |row| {
                let days = i32::try_from(dice.below(row, *span)).unwrap_or_default();
                start.wrapping_add(days)
            })),
            Make::TimestampStep { start, step } => {
                let value = |row: u64| start.wrapping_add(step.wrapping_mul(row.cast_signed()));
                Arc::new(numbers!(TimestampMicrosecondType, value).with_timezone("UTC"))
            }
            Make::TimestampRange { start, span } => {
                let value = |row| start.wrapping_add_unsigned(dice.below(row, *span));
                Arc::new(numbers!(TimestampMicrosecondType, value).with_timezone("UTC"))
            }
        })
    }
}
