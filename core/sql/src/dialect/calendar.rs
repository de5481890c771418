//! `date_trunc` and `date_bin` of times that nanoseconds have no number for: DataFusion computes in
//! nanoseconds, which begin in 1677 and end in 2262, and makes an error of others, or NULL.
//! [`Truncate`] cuts times; what follows is for bins.

use std::sync::Arc;

use arrow_array::cast::AsArray;
use arrow_array::types::{
    ArrowTimestampType, TimestampMicrosecondType, TimestampMillisecondType,
    TimestampNanosecondType, TimestampSecondType,
};
use arrow_array::{Array, ArrayRef, PrimitiveArray, new_null_array};
use arrow_schema::{DataType, IntervalUnit, TimeUnit};
use chrono::{DateTime, Datelike, Months, Utc};
use datafusion::common::exec_err;
use datafusion::error::Result as DfResult;
use datafusion::functions::datetime::{date_bin, date_trunc};
use datafusion::logical_expr::{ColumnarValue, ScalarFunctionArgs, ScalarUDF};
use datafusion::scalar::ScalarValue;

use super::functions::{Part, replaced, usual_types};
use super::moments::{nanos, size};
use super::truncate::Truncate;

/// `$call` for the unit of the second argument; `$other` if that is no time with a date.
macro_rules! of_unit {
    ($args:ident, $call:ident($($given:tt)*), $other:expr) => {{
        use TimeUnit as U;
        match $args.args.get(1).map(ColumnarValue::data_type) {
            Some(DataType::Timestamp(U::Second, _)) => $call::<TimestampSecondType>($($given)*),
            Some(DataType::Timestamp(U::Millisecond, _)) => {
                $call::<TimestampMillisecondType>($($given)*)
            }
            Some(DataType::Timestamp(U::Microsecond, _)) => {
                $call::<TimestampMicrosecondType>($($given)*)
            }
            Some(DataType::Timestamp(U::Nanosecond, _)) => {
                $call::<TimestampNanosecondType>($($given)*)
            }
            _ => $other,
        }
    }};
}

/// The functions, which take the place of DataFusion's.
pub(super) fn functions() -> Vec<Arc<ScalarUDF>> {
    vec![replaced(date_trunc(), Trunc), replaced(date_bin(), Bin)]
}

#[derive(Debug, PartialEq, Eq, Hash)]
struct Trunc;

impl Part for Trunc {
    fn coerce(&self, usual: &ScalarUDF, types: &[DataType]) -> DfResult<Vec<DataType>> {
        let mut types = types.to_vec();
        types.iter_mut().skip(1).for_each(in_micros);
        usual_types(usual, &types)
    }

    fn call(&self, usual: &ScalarUDF, args: ScalarFunctionArgs) -> DfResult<ColumnarValue> {
        of_unit!(args, trunc(usual, args), usual.invoke_with_args(args))
    }
}

#[derive(Debug, PartialEq, Eq, Hash)]
struct Bin;

impl Part for Bin {
    fn coerce(&self, usual: &ScalarUDF, types: &[DataType]) -> DfResult<Vec<DataType>> {
        use DataType as T;
        let mut types = types.to_vec();
        types.iter_mut().skip(1).for_each(in_micros);
        let origin = types.get(2);
        if let [stride, T::Timestamp(..), ..] = &*types
            && (stride.is_string() || matches!(stride, T::Interval(_)))
            && origin.is_none_or(|origin| matches!(origin, T::Timestamp(..)))
            && types.len() < 4
        {
            // DataFusion has nanoseconds for times with a zone.
            types[0] = T::Interval(IntervalUnit::MonthDayNano);
            return Ok(types);
        }
        usual_types(usual, &types)
    }

    fn call(&self, usual: &ScalarUDF, args: ScalarFunctionArgs) -> DfResult<ColumnarValue> {
        of_unit!(args, bin(usual, args), usual.invoke_with_args(args))
    }
}

/// Dates and texts become times in the unit of `TIMESTAMP`, where DataFusion makes nanoseconds of
/// them.
fn in_micros(of: &mut DataType) {
    if of.is_string() || matches!(of, DataType::Date32 | DataType::Date64) {
        *of = DataType::Timestamp(TimeUnit::Microsecond, None);
    }
}

fn trunc<T: ArrowTimestampType>(
    usual: &ScalarUDF,
    args: ScalarFunctionArgs,
) -> DfResult<ColumnarValue> {
    // Nanoseconds are DataFusion's own unit.
    let truncate = match T::UNIT {
        TimeUnit::Nanosecond => None,
        unit => Truncate::of(&args.args[0], unit),
    };
    let (times, is_scalar) = array(&args.args[1])?;
    let cut = truncate.map(|truncate| truncate.all::<T>(&times));
    match cut.transpose()?.flatten() {
        Some(cut) => answer(cut, is_scalar),
        None => usual.invoke_with_args(args),
    }
}

fn bin<T: ArrowTimestampType>(
    usual: &ScalarUDF,
    mut args: ScalarFunctionArgs,
) -> DfResult<ColumnarValue> {
    let (times, is_scalar) = array(&args.args[1])?;
    let Some(bins) = Bins::of(&args.args)? else {
        return usual.invoke_with_args(args);
    };
    let known = match i64::try_from(bins.origin) {
        Ok(origin) => {
            let origin = ScalarValue::TimestampNanosecond(Some(origin), None);
            args.args.truncate(2);
            args.args.push(ColumnarValue::Scalar(origin));
            usual.invoke_with_args(args)?.into_array(times.len())?
        }
        Err(_) => new_null_array(times.data_type(), times.len()),
    };
    let all = match known.null_count() > times.null_count() {
        true => bins.fill::<T>(&times, &known)?,
        false => known,
    };
    answer(all, is_scalar)
}

fn array(value: &ColumnarValue) -> DfResult<(ArrayRef, bool)> {
    let is_scalar = matches!(value, ColumnarValue::Scalar(_));
    Ok((value.clone().into_array(1)?, is_scalar))
}

fn answer(array: ArrayRef, is_scalar: bool) -> DfResult<ColumnarValue> {
    Ok(match is_scalar {
        true => ColumnarValue::Scalar(ScalarValue::try_from_array(&array, 0)?),
        false => ColumnarValue::Array(array),
    })
}

const DAY: i128 = 86_400 * 1_000_000_000;

/// Of `date_bin`, in nanoseconds.
struct Bins {
    stride: Stride,
    origin: i128,
}

enum Stride {
    Nanos(i128),
    Months(i32),
}

impl Bins {
    /// Of arguments; `None` if DataFusion has the answer: NULL, or an error.
    fn of(args: &[ColumnarValue]) -> DfResult<Option<Self>> {
        use ScalarValue as S;
        let stride = match args.first() {
            Some(ColumnarValue::Scalar(S::IntervalMonthDayNano(Some(of)))) => {
                let nanos = i128::from(of.days) * DAY + i128::from(of.nanoseconds);
                match (of.months, nanos) {
                    (0, 1..) => Stride::Nanos(nanos),
                    (1.., 0) => Stride::Months(of.months),
                    (..=-1, _) | (0, ..=0) => {
                        return exec_err!("date_bin needs a positive interval");
                    }
                    _ => return Ok(None),
                }
            }
            _ => return Ok(None),
        };
        let origin = match args.get(2) {
            None => Some(0),
            Some(ColumnarValue::Scalar(origin)) => nanos(origin),
            Some(ColumnarValue::Array(_)) => None,
        };
        Ok(origin.map(|origin| Self { stride, origin }))
    }

    /// The bins of times, of which some are known.
    fn fill<T: ArrowTimestampType>(
        &self,
        times: &ArrayRef,
        known: &ArrayRef,
    ) -> DfResult<ArrayRef> {
        let size = size(T::UNIT);
        let (times, known) = (times.as_primitive::<T>(), known.as_primitive::<T>());
        let bins = times
            .iter()
            .zip(known)
            .map(|(at, known)| match (at, known) {
                (Some(at), None) => {
                    let bin = self
                        .begin(i128::from(at) * size)
                        .map(|bin| bin.div_euclid(size));
                    match bin.and_then(|bin| i64::try_from(bin).ok()) {
                        Some(bin) => Ok(Some(bin)),
                        None => exec_err!("date_bin of a time that is out of range"),
                    }
                }
                (_, known) => Ok(known),
            });
        let bins: PrimitiveArray<T> = bins.collect::<DfResult<_>>()?;
        Ok(Arc::new(bins.with_data_type(known.data_type().clone())))
    }

    /// Where the bin of a time begins.
    fn begin(&self, at: i128) -> Option<i128> {
        let stride = match self.stride {
            Stride::Nanos(stride) => {
                return Some(self.origin + (at - self.origin).div_euclid(stride) * stride);
            }
            Stride::Months(months) => months,
        };
        let (at, origin) = (date(at)?, date(self.origin)?);
        let months = |of: &DateTime<Utc>| of.year() * 12 + of.month0().cast_signed();
        let bins = (months(&at) - months(&origin)).div_euclid(stride);
        let begin = moved(origin, bins.checked_mul(stride)?)?;
        let begin = match begin > at {
            // The origin isn't the first of a month.
            true => moved(origin, (bins - 1).checked_mul(stride)?)?,
            false => begin,
        };
        let nanos = i128::from(begin.timestamp_subsec_nanos());
        Some(i128::from(begin.timestamp()) * 1_000_000_000 + nanos)
    }
}

fn date(nanos: i128) -> Option<DateTime<Utc>> {
    let seconds = i64::try_from(nanos.div_euclid(1_000_000_000)).ok()?;
    let nanos = u32::try_from(nanos.rem_euclid(1_000_000_000)).ok()?;
    DateTime::from_timestamp(seconds, nanos)
}

fn moved(date: DateTime<Utc>, months: i32) -> Option<DateTime<Utc>> {
    let by = Months::new(months.unsigned_abs());
    match months < 0 {
        true => date.checked_sub_months(by),
        false => date.checked_add_months(by),
    }
}
