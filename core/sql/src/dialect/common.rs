//! The one type that values of different types have together, where DataFusion's choice would bend
//! them.

use std::sync::Arc;

use arrow_schema::{
    DECIMAL128_MAX_PRECISION, DECIMAL256_MAX_PRECISION, DataType, FieldRef, Fields, TimeUnit,
};
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

/// What members become so that they can meet in a column; `None` for those that DataFusion may bring
/// there.
pub(super) fn common(members: &[Member]) -> Vec<Option<DataType>> {
    wanted(members, false)
}

/// What members become to be compared: nobody sees that type, so it may be wider than a column's.
pub(super) fn comparable(members: &[Member]) -> Vec<Option<DataType>> {
    wanted(members, true)
}

fn wanted(members: &[Member], compared: bool) -> Vec<Option<DataType>> {
    let wanted = together(members, compared);
    let pairs = members.iter().zip(wanted);
    pairs
        .map(|(member, wanted)| (wanted != member.data_type).then_some(wanted))
        .collect()
}

/// The types that members have when they meet. Items of lists meet items, and what is compared with
/// items; fields of structs meet fields of the same name, or else at the same place.
fn together(members: &[Member], compared: bool) -> Vec<DataType> {
    if members
        .iter()
        .any(|member| item(&member.data_type).is_some())
    {
        let items: Vec<Member> = members.iter().map(Member::item).collect();
        let items = members.iter().zip(together(&items, compared));
        return items
            .map(|(member, wanted)| with_item(&member.data_type, wanted))
            .collect();
    }
    match fields_of(members) {
        Some(fields) => with_fields(members, &fields, compared),
        None => leaves(members, compared),
    }
}

impl Member {
    pub(super) fn of(data_type: &DataType) -> Self {
        Self {
            data_type: data_type.clone(),
            constant: None,
        }
    }

    /// What meets the items of lists: its own, or itself.
    fn item(&self) -> Self {
        item(&self.data_type).map_or_else(|| self.clone(), |item| Self::of(item.data_type()))
    }
}

fn item(list: &DataType) -> Option<&FieldRef> {
    use DataType as T;
    match list {
        T::List(item) | T::LargeList(item) | T::FixedSizeList(item, _) | T::Map(item, _) => {
            Some(item)
        }
        _ => None,
    }
}

/// The type with another in the place of its items; what is no list becomes that.
fn with_item(list: &DataType, wanted: DataType) -> DataType {
    use DataType as T;
    let with = |item: &FieldRef| Arc::new(item.as_ref().clone().with_data_type(wanted.clone()));
    match list {
        T::List(item) => T::List(with(item)),
        T::LargeList(item) => T::LargeList(with(item)),
        T::FixedSizeList(item, size) => T::FixedSizeList(with(item), *size),
        T::Map(entries, sorted) => T::Map(with(entries), *sorted),
        _ => wanted,
    }
}

/// The fields of structs that meet; `None` if not all are structs, and equally long.
fn fields_of(members: &[Member]) -> Option<Vec<&Fields>> {
    let structs = members.iter().filter(|member| !member.data_type.is_null());
    let fields = structs.map(|member| match &member.data_type {
        DataType::Struct(fields) => Some(fields),
        _ => None,
    });
    let fields: Vec<&Fields> = fields.collect::<Option<_>>()?;
    let first = fields.first()?;
    let equal = fields.iter().all(|fields| fields.len() == first.len());
    equal.then_some(fields)
}

fn with_fields(members: &[Member], structs: &[&Fields], compared: bool) -> Vec<DataType> {
    let named = |fields: &Fields, name: &str| fields.iter().position(|one| one.name() == name);
    let first = structs[0];
    let by_name = structs
        .iter()
        .all(|fields| first.iter().all(|one| named(fields, one.name()).is_some()));
    let mut wanted: Vec<Vec<FieldRef>> = structs.iter().map(|fields| fields.to_vec()).collect();
    for (at, field) in first.iter().enumerate() {
        let places = structs.iter().map(|fields| match by_name {
            true => named(fields, field.name()).unwrap_or(at),
            false => at,
        });
        let places: Vec<usize> = places.collect();
        let met = structs.iter().zip(&places);
        let met: Vec<Member> = met
            .map(|(fields, at)| Member::of(fields[*at].data_type()))
            .collect();
        let met = together(&met, compared);
        for ((fields, at), data_type) in wanted.iter_mut().zip(places).zip(met) {
            fields[at] = Arc::new(fields[at].as_ref().clone().with_data_type(data_type));
        }
    }
    let mut wanted = wanted.into_iter();
    let types = members.iter().map(|member| match &member.data_type {
        DataType::Null => None,
        _ => wanted.next(),
    });
    types
        .map(|fields| fields.map_or(DataType::Null, |fields| DataType::Struct(fields.into())))
        .collect()
}

/// The types of what has no parts.
fn leaves(members: &[Member], compared: bool) -> Vec<DataType> {
    let number = number(members);
    let wide = compared.then(|| wide_decimal(members)).flatten();
    let time = number.is_none().then(|| time(members)).flatten();
    let types = members.iter().map(|member| &member.data_type);
    types
        .map(|data_type| match (&number, &time) {
            (Some(number), _) if is_decimal(data_type) || data_type.is_floating() => number.clone(),
            (None, Some(time)) if is_time(data_type) => time.clone(),
            (None, None) if !data_type.is_null() && wide.is_some() => {
                wide.clone().unwrap_or_else(|| data_type.clone())
            }
            _ => data_type.clone(),
        })
        .collect()
}

/// Decimals that meet floating-point numbers become such: DataFusion makes decimals of both, which
/// have no place for 1e-20, 1e20 and NaN.
///
/// A `FLOAT` stays one beside a literal that it holds exactly; beside others, and beside integers
/// that it can't hold, both become doubles.
fn number(members: &[Member]) -> Option<DataType> {
    let values = members.iter().map(|one| values(&one.data_type));
    let values: Vec<&DataType> = values.collect();
    let double = values.contains(&&DataType::Float64);
    if !double && !values.iter().any(|one| one.is_floating()) {
        return None;
    }
    let single = members.iter().zip(&values).all(|(member, one)| match one {
        one if is_decimal(one) || is_wide(one) => member.constant.as_ref().is_some_and(is_single),
        _ => true,
    });
    let number = match double || !single {
        true => DataType::Float64,
        false => DataType::Float32,
    };
    let bends = |one: &&DataType| is_decimal(one) || (!single && is_wide(one));
    values.iter().any(bends).then_some(number)
}

/// The decimal that holds integers and decimals exactly, where it has more digits than DataFusion's
/// own choice, which stops at 38: `1.5e-20` beside a BIGINT asks for 19 digits and 21 places.
fn wide_decimal(members: &[Member]) -> Option<DataType> {
    let mut whole = 0;
    let mut places = 0;
    for member in members.iter().filter(|one| !one.data_type.is_null()) {
        let (digits, scale) = digits(values(&member.data_type))?;
        whole = whole.max(digits);
        places = places.max(scale);
    }
    let precision = u8::try_from(whole + places).ok()?;
    let is_wide = precision > DECIMAL128_MAX_PRECISION && precision <= DECIMAL256_MAX_PRECISION;
    is_wide.then_some(DataType::Decimal256(precision, i8::try_from(places).ok()?))
}

/// The digits before the point that a number can have, and those behind it.
fn digits(number: &DataType) -> Option<(i16, i16)> {
    use DataType as T;
    Some(match number {
        T::Int8 | T::UInt8 => (3, 0),
        T::Int16 | T::UInt16 => (5, 0),
        T::Int32 | T::UInt32 => (10, 0),
        T::Int64 => (19, 0),
        T::UInt64 => (20, 0),
        T::Decimal32(precision, scale)
        | T::Decimal64(precision, scale)
        | T::Decimal128(precision, scale)
        | T::Decimal256(precision, scale) => {
            let (precision, scale) = (i16::from(*precision), i16::from(*scale));
            ((precision - scale).max(0), scale.max(0))
        }
        _ => return None,
    })
}

/// What a dictionary's values are.
fn values(data_type: &DataType) -> &DataType {
    match data_type {
        DataType::Dictionary(_, values) => values,
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
/// as one of them is a date. One without a zone beside an instant is of UTC, whatever zone the
/// instant is told in.
fn time(members: &[Member]) -> Option<DataType> {
    let mut unit: Option<TimeUnit> = None;
    let mut zones: Vec<Option<&Arc<str>>> = Vec::new();
    for member in members {
        if let DataType::Timestamp(of, zone) = &member.data_type {
            unit = unit.max(Some(*of));
            zones.push(zone.as_ref());
        }
        if let DataType::Date32 | DataType::Date64 = &member.data_type {
            zones.push(None);
        }
    }
    let first = zones.first().copied().flatten().cloned();
    let zone = match zones.iter().all(|zone| *zone == zones[0]) {
        true => first,
        false => Some(UTC.into()),
    };
    Some(DataType::Timestamp(unit?, zone))
}

fn is_time(data_type: &DataType) -> bool {
    use DataType as T;
    matches!(data_type, T::Timestamp(..) | T::Date32 | T::Date64)
}
