//! Whether rows of which only bounds are known may fulfil a condition.

use std::cmp::Ordering;

use arrow_array::ArrayRef;
use arrow_array::cast::AsArray;
use arrow_array::types::{Date32Type, Decimal128Type, Float64Type, Int64Type};
use arrow_cast::cast;
use arrow_schema::{DataType, TimeUnit};
use tidegate_core::{Comparison, Literal, Predicate};

/// What is known of a column in some rows.
#[derive(Debug, Clone, Default)]
pub(crate) struct Bounds {
    /// No value is less.
    pub(crate) least: Option<Value>,
    /// No value is greater.
    pub(crate) greatest: Option<Value>,
    /// Whether both are values that are there.
    pub(crate) exact: bool,
    /// How many are NULL.
    pub(crate) nulls: Option<u64>,
    /// How many rows there are.
    pub(crate) rows: u64,
}

/// A value of any type that bounds can be told of.
#[derive(Debug, Clone, PartialEq)]
pub(crate) enum Value {
    /// Integers; decimals without their point; days; microseconds.
    Number(i128),
    Float(f64),
    Text(String),
    Bool(bool),
}

impl Value {
    fn compare(&self, other: &Self) -> Option<Ordering> {
        match (self, other) {
            (Self::Number(one), Self::Number(other)) => Some(one.cmp(other)),
            (Self::Float(one), Self::Float(other)) => one.partial_cmp(other),
            // Bytes, as Parquet and Arrow compare texts.
            (Self::Text(one), Self::Text(other)) => Some(one.as_bytes().cmp(other.as_bytes())),
            (Self::Bool(one), Self::Bool(other)) => Some(one.cmp(other)),
            _ => None,
        }
    }
}

/// What a type's values are compared as.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Domain {
    /// Numbers with so many digits behind the point.
    Number(i8),
    Float,
    Text,
    Bool,
    Date,
    /// With a zone or without, which are compared alike only if the zone is UTC.
    Time,
}

fn domain(data_type: &DataType) -> Option<Domain> {
    use DataType as T;
    Some(match data_type {
        t if t.is_integer() => Domain::Number(0),
        T::Decimal32(_, scale) | T::Decimal64(_, scale) | T::Decimal128(_, scale)
            if *scale >= 0 =>
        {
            Domain::Number(*scale)
        }
        T::Float32 | T::Float64 => Domain::Float,
        T::Utf8 | T::LargeUtf8 | T::Utf8View => Domain::Text,
        T::Boolean => Domain::Bool,
        T::Date32 => Domain::Date,
        T::Timestamp(_, None) => Domain::Time,
        T::Timestamp(_, Some(zone)) if matches!(&**zone, "UTC" | "+00:00" | "Z") => Domain::Time,
        T::Dictionary(_, values) => return domain(values),
        _ => return None,
    })
}

/// Whether a condition on a column of type `stream` can be judged by bounds of type `file`: where
/// the file's values become the stream's, their order must stay.
pub(crate) fn comparable(stream: &DataType, file: &DataType) -> bool {
    match (domain(stream), domain(file)) {
        (Some(Domain::Number(_)), Some(Domain::Number(_))) => true,
        (Some(one), Some(other)) => one == other,
        _ => false,
    }
}

/// The values of an array of bounds; where they are too fine, down or `up` to what can be told.
pub(crate) fn values(array: &ArrayRef, up: bool) -> Option<Vec<Option<Value>>> {
    fn numbers(values: impl Iterator<Item = Option<i128>>) -> Vec<Option<Value>> {
        values.map(|value| value.map(Value::Number)).collect()
    }
    Some(match (domain(array.data_type())?, array.data_type()) {
        (Domain::Number(0), t) if t.is_integer() => {
            let wide = cast(array, &DataType::Decimal128(38, 0)).ok()?;
            numbers(wide.as_primitive::<Decimal128Type>().iter())
        }
        (Domain::Number(scale), _) => {
            let wide = cast(array, &DataType::Decimal128(38, scale)).ok()?;
            numbers(wide.as_primitive::<Decimal128Type>().iter())
        }
        (Domain::Float, _) => {
            let wide = cast(array, &DataType::Float64).ok()?;
            let values = wide.as_primitive::<Float64Type>().iter();
            values.map(|value| value.map(Value::Float)).collect()
        }
        (Domain::Text, _) => {
            let texts = cast(array, &DataType::Utf8).ok()?;
            let values = texts.as_string::<i32>().iter();
            values
                .map(|value| value.map(|text| Value::Text(text.to_owned())))
                .collect()
        }
        (Domain::Bool, _) => {
            let values = array.as_boolean().iter();
            values.map(|value| value.map(Value::Bool)).collect()
        }
        (Domain::Date, _) => {
            let days = array.as_primitive_opt::<Date32Type>()?.iter();
            numbers(days.map(|day| day.map(i128::from)))
        }
        (Domain::Time, DataType::Timestamp(unit, _)) => {
            let unit = *unit;
            let ticks = cast(array, &DataType::Int64).ok()?;
            let ticks = ticks.as_primitive::<Int64Type>();
            numbers(
                ticks
                    .iter()
                    .map(|tick| tick.map(|tick| micros(tick, unit, up))),
            )
        }
        (Domain::Time, _) => return None,
    })
}

fn micros(tick: i64, unit: TimeUnit, up: bool) -> i128 {
    let tick = i128::from(tick);
    match unit {
        TimeUnit::Second => tick * 1_000_000,
        TimeUnit::Millisecond => tick * 1_000,
        TimeUnit::Microsecond => tick,
        TimeUnit::Nanosecond if up => -(-tick).div_euclid(1_000),
        TimeUnit::Nanosecond => tick.div_euclid(1_000),
    }
}

/// A constant as bounds of type `file` are compared with it.
fn constant(literal: &Literal, file: &DataType) -> Option<Value> {
    let scaled = |number: i128, scale: i8| {
        let unit = 10_i128.checked_pow(u32::try_from(scale).ok()?)?;
        number.checked_mul(unit).map(Value::Number)
    };
    match (literal, domain(file)?) {
        (Literal::Int(number), Domain::Number(scale)) => scaled((*number).into(), scale),
        (Literal::UInt(number), Domain::Number(scale)) => scaled((*number).into(), scale),
        (Literal::Float(number), Domain::Float) => Some(Value::Float(*number)),
        (Literal::Text(text), Domain::Text) => Some(Value::Text(text.clone())),
        (Literal::Bool(truth), Domain::Bool) => Some(Value::Bool(*truth)),
        (Literal::Date(days), Domain::Date) => Some(Value::Number((*days).into())),
        (Literal::Timestamp(micros), Domain::Time) => Some(Value::Number((*micros).into())),
        _ => None,
    }
}

/// Whether any row may fulfil the condition. What isn't known says yes.
///
/// Of floating-point numbers only equality is judged: their bounds say nothing of NaN, which sorts
/// before or after all others.
pub(crate) fn may_match(predicate: &Predicate, bounds: &Bounds, data_type: &DataType) -> bool {
    let all_null = bounds.nulls == Some(bounds.rows);
    match predicate {
        Predicate::IsNull(_) => bounds.nulls != Some(0),
        Predicate::IsNotNull(_) => !all_null,
        Predicate::Compare { .. } | Predicate::In { .. } if all_null => false,
        Predicate::Compare { op, value, .. } => {
            constant(value, data_type).is_none_or(|value| compared(*op, &value, bounds))
        }
        Predicate::In { values, .. } => values.iter().any(|value| {
            constant(value, data_type).is_none_or(|value| compared(Comparison::Eq, &value, bounds))
        }),
        _ => true,
    }
}

fn compared(op: Comparison, value: &Value, bounds: &Bounds) -> bool {
    use Ordering as O;
    if matches!(value, Value::Float(_)) && op != Comparison::Eq {
        return true;
    }
    let against = |bound: &Option<Value>| bound.as_ref().and_then(|bound| bound.compare(value));
    let (least, greatest) = (against(&bounds.least), against(&bounds.greatest));
    match op {
        Comparison::Eq => least != Some(O::Greater) && greatest != Some(O::Less),
        Comparison::NotEq => {
            !(bounds.exact && least == Some(O::Equal) && greatest == Some(O::Equal))
        }
        Comparison::Lt => !matches!(least, Some(O::Equal | O::Greater)),
        Comparison::LtEq => least != Some(O::Greater),
        Comparison::Gt => !matches!(greatest, Some(O::Equal | O::Less)),
        Comparison::GtEq => greatest != Some(O::Less),
    }
}

impl Bounds {
    /// Those of a column that isn't there.
    pub(crate) fn missing() -> Self {
        Self {
            nulls: Some(1),
            rows: 1,
            ..Self::default()
        }
    }
}
