//! The one type that values of different types have together, where DataFusion's choice would bend
//! them.

use std::sync::Arc;

use arrow_schema::{DataType, FieldRef, TimeUnit};
use datafusion::scalar::ScalarValue;

use super::constants::double;
use super::types::UTC;

/// A value that meets others: in a comparison, as a branch of CASE, as an argument of `coalesce`.
#[derive(Debug, Clone)]
pub(super) struct Member {
    pub(super) data_type: DataType,
    /// What it is, if that is known already.
    pub(super) constant: Option<ScalarValue>,
}

/// What members become so that they can meet; `None` for those that DataFusion may bring there.
pub(super) fn common(members: &[Member]) -> Vec<Option<DataType>> {
    let number = number(members);
    let time = number.is_none().then(|| time(members)).flatten();
    members
        .iter()
        .map(|member| {
            let wanted = match (&number, &time) {
                (Some(number), _) => with_numbers(&member.data_type, number)?,
                (None, Some(time)) if is_time(&member.data_type) => time.clone(),
                _ => return None,
            };
            (wanted != member.data_type).then_some(wanted)
        })
        .collect()
}

/// Decimals that meet floating-point numbers become such: DataFusion makes decimals of both, which
/// have no place for 1e-20, 1e20 and NaN.
///
/// A `FLOAT` stays one beside a literal that it holds exactly; beside others, and beside integers
/// that it can't hold, both become doubles.
fn number(members: &[Member]) -> Option<DataType> {
    let leaves: Vec<&DataType> = members.iter().map(|one| leaf(&one.data_type)).collect();
    let double = leaves.contains(&&DataType::Float64);
    if !double && !leaves.iter().any(|leaf| leaf.is_floating()) {
        return None;
    }
    let single = members
        .iter()
        .zip(&leaves)
        .all(|(member, leaf)| match leaf {
            leaf if is_decimal(leaf) || is_wide(leaf) => {
                member.constant.as_ref().is_some_and(is_single)
            }
            _ => true,
        });
    let number = match double || !single {
        true => DataType::Float64,
        false => DataType::Float32,
    };
    let bends = |leaf: &&DataType| is_decimal(leaf) || (!single && is_wide(leaf));
    leaves.iter().any(bends).then_some(number)
}

/// The type with `number` in the place of its decimals and floating-point numbers; `None` if it has
/// neither.
fn with_numbers(data_type: &DataType, number: &DataType) -> Option<DataType> {
    let inside = |item: &FieldRef| -> Option<FieldRef> {
        let inner = with_numbers(item.data_type(), number)?;
        Some(item.as_ref().clone().with_data_type(inner).into())
    };
    match data_type {
        DataType::List(item) => inside(item).map(DataType::List),
        DataType::LargeList(item) => inside(item).map(DataType::LargeList),
        DataType::FixedSizeList(item, size) => {
            inside(item).map(|item| DataType::FixedSizeList(item, *size))
        }
        other => (is_decimal(other) || other.is_floating()).then(|| number.clone()),
    }
}

/// What the innermost list has.
fn leaf(data_type: &DataType) -> &DataType {
    match data_type {
        DataType::List(item) | DataType::LargeList(item) | DataType::FixedSizeList(item, _) => {
            leaf(item.data_type())
        }
        DataType::Dictionary(_, values) => leaf(values),
        other => other,
    }
}

fn is_decimal(data_type: &DataType) -> bool {
    use DataType as T;
    matches!(
        data_type,
        T::Decimal32(..) | T::Decimal64(..) | T::Decimal128(..) | T::Decimal256(..)
    )
}

/// Whether it is an integer that a `FLOAT` has no place for.
fn is_wide(data_type: &DataType) -> bool {
    use DataType as T;
    matches!(data_type, T::Int32 | T::Int64 | T::UInt32 | T::UInt64)
}

/// Whether a `FLOAT` holds it exactly.
fn is_single(constant: &ScalarValue) -> bool {
    match constant {
        ScalarValue::Int64(Some(number)) => number.unsigned_abs() <= 1 << f32::MANTISSA_DIGITS,
        ScalarValue::Float32(_) | ScalarValue::Null => true,
        _ => double(constant).is_some_and(|number| f64::from(single(number)) == number),
    }
}

/// The nearest `FLOAT`.
#[expect(
    clippy::cast_possible_truncation,
    reason = "rounding is what is wanted"
)]
pub(super) fn single(number: f64) -> f32 {
    number as f32
}

/// Times and dates meet in the finest unit of the times, where DataFusion takes nanoseconds as soon
/// as one of them is a date. A time without a zone beside an instant is one of its zone.
fn time(members: &[Member]) -> Option<DataType> {
    let mut unit: Option<TimeUnit> = None;
    let mut zone: Option<Arc<str>> = None;
    for member in members {
        if let DataType::Timestamp(of, at) = &member.data_type {
            unit = unit.max(Some(*of));
            zone = match (zone, at) {
                (Some(zone), Some(at)) if zone != *at => Some(UTC.into()),
                (zone, at) => zone.or_else(|| at.clone()),
            };
        }
    }
    Some(DataType::Timestamp(unit?, zone))
}

fn is_time(data_type: &DataType) -> bool {
    use DataType as T;
    matches!(data_type, T::Timestamp(..) | T::Date32 | T::Date64)
}
