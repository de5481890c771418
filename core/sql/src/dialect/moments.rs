//! Times that a query names, in the unit of the column that they are compared with.
//!
//! DataFusion brings both to the finer unit: nanoseconds, into which no date after 2262 fits. And where
//! it then takes the cast off the column again, it cuts off what the column's unit has no place for.

use std::sync::Arc;

use arrow_schema::{DataType, TimeUnit};
use datafusion::logical_expr::{Expr, Operator, binary_expr, lit};
use datafusion::scalar::ScalarValue;

use super::constants::constant;

/// What a column of times counts.
#[derive(Debug)]
pub(super) struct Unit {
    unit: TimeUnit,
    zone: Option<Arc<str>>,
}

/// Where a time lies among those that a column can have.
#[derive(Debug, Clone, Copy)]
pub(super) enum Moment {
    /// It is this one.
    Exact(i64),
    /// Above this one, and below the next, if there is any.
    Above(i64),
    /// Below all, of which this is the least.
    Below(i64),
}

impl Unit {
    pub(super) fn of(data_type: &DataType) -> Option<Self> {
        match data_type {
            DataType::Timestamp(unit, zone) => Some(Self {
                unit: *unit,
                zone: zone.clone(),
            }),
            _ => None,
        }
    }

    /// Where a constant lies; `None` for what is none, or tells no time. One without a zone is of
    /// UTC.
    pub(super) fn moment(&self, expr: &Expr) -> Option<Moment> {
        let nanos = nanos(&constant(expr)?)?;
        let size = size(self.unit);
        let floor = nanos.div_euclid(size);
        Some(match i64::try_from(floor) {
            Ok(at) if nanos.rem_euclid(size) == 0 => Moment::Exact(at),
            Ok(at) => Moment::Above(at),
            Err(_) if floor > 0 => Moment::Above(i64::MAX),
            Err(_) => Moment::Below(i64::MIN),
        })
    }

    /// A time of the column.
    pub(super) fn literal(&self, at: i64) -> Expr {
        use ScalarValue as S;
        let (at, zone) = (Some(at), self.zone.clone());
        lit(match self.unit {
            TimeUnit::Second => S::TimestampSecond(at, zone),
            TimeUnit::Millisecond => S::TimestampMillisecond(at, zone),
            TimeUnit::Microsecond => S::TimestampMicrosecond(at, zone),
            TimeUnit::Nanosecond => S::TimestampNanosecond(at, zone),
        })
    }
}

impl Moment {
    /// The comparison `left op self`.
    pub(super) fn compared(self, left: Expr, op: Operator, unit: &Unit) -> Expr {
        use Operator as O;
        let (at, less, greater) = match self {
            Self::Exact(at) => {
                return binary_expr(left, op, unit.literal(at));
            }
            Self::Above(at) => (at, O::LtEq, O::Gt),
            Self::Below(at) => (at, O::Lt, O::GtEq),
        };
        let op = match op {
            O::Lt | O::LtEq => less,
            O::Gt | O::GtEq => greater,
            O::Eq | O::NotEq => return never(left, op == O::NotEq, unit),
            op => return lit(op == O::IsDistinctFrom),
        };
        binary_expr(left, op, unit.literal(at))
    }
}

/// That a time is one which its column can't have: false, or true where `negated`, but NULL for NULL.
pub(super) fn never(time: Expr, negated: bool, unit: &Unit) -> Expr {
    let zero = unit.literal(0);
    match negated {
        true => time.clone().gt(zero.clone()).or(time.lt_eq(zero)),
        false => time.clone().gt(zero.clone()).and(time.lt_eq(zero)),
    }
}

/// Nanoseconds in a unit.
pub(super) fn size(unit: TimeUnit) -> i128 {
    match unit {
        TimeUnit::Second => 1_000_000_000,
        TimeUnit::Millisecond => 1_000_000,
        TimeUnit::Microsecond => 1_000,
        TimeUnit::Nanosecond => 1,
    }
}

/// A date, a time, or a text that tells one, in nanoseconds since 1970.
pub(super) fn nanos(constant: &ScalarValue) -> Option<i128> {
    use ScalarValue as S;
    let (at, unit) = match constant {
        S::TimestampSecond(Some(at), _) => (*at, TimeUnit::Second),
        S::TimestampMillisecond(Some(at), _) => (*at, TimeUnit::Millisecond),
        S::TimestampMicrosecond(Some(at), _) => (*at, TimeUnit::Microsecond),
        S::TimestampNanosecond(Some(at), _) => (*at, TimeUnit::Nanosecond),
        S::Date32(Some(days)) => (i64::from(*days) * 86_400, TimeUnit::Second),
        S::Utf8(Some(_)) | S::LargeUtf8(Some(_)) | S::Utf8View(Some(_)) => {
            let told = |unit| constant.cast_to(&DataType::Timestamp(unit, None)).ok();
            let told = told(TimeUnit::Nanosecond).or_else(|| told(TimeUnit::Microsecond))?;
            return nanos(&told);
        }
        _ => return None,
    };
    Some(i128::from(at) * size(unit))
}
