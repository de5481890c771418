//! `date_trunc` of times of UTC, in the column's own unit.
//!
//! DataFusion computes in nanoseconds, which begin in 1677 and end in 2262, and takes each time
//! apart by the calendar. Here a time is looked up in the calendar only where it isn't in the same
//! week, month or the like as the one before.

use std::cell::Cell;
use std::sync::Arc;

use arrow_array::cast::AsArray;
use arrow_array::types::ArrowTimestampType;
use arrow_array::{ArrayRef, PrimitiveArray};
use arrow_schema::{DataType, TimeUnit};
use datafusion::common::exec_datafusion_err;
use datafusion::error::Result as DfResult;
use datafusion::logical_expr::ColumnarValue;
use datafusion::scalar::ScalarValue;

use super::moments::size;
use super::types::UTC;

/// To what times are cut, in some unit.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Truncate {
    /// To a multiple of so many of the unit.
    Even { length: i64 },
    /// To Monday; with the length of a day.
    Week { day: i64 },
    /// To the first of a month whose number since year 0 is a multiple; with the length of a day.
    Months { count: i64, day: i64 },
}

impl Truncate {
    /// By the name of a part; `None` if it has no such name.
    pub(super) fn of(part: &ColumnarValue, unit: TimeUnit) -> Option<Self> {
        use ScalarValue as S;
        let ColumnarValue::Scalar(
            S::Utf8(Some(part)) | S::LargeUtf8(Some(part)) | S::Utf8View(Some(part)),
        ) = part
        else {
            return None;
        };
        // What is finer than the unit cuts nothing off.
        let units = |nanos: i128| i64::try_from(nanos / size(unit)).ok();
        let even = |nanos| {
            units(nanos).map(|length| Self::Even {
                length: length.max(1),
            })
        };
        let second = 1_000_000_000;
        let day = units(86_400 * second)?;
        match part.to_lowercase().as_str() {
            "microsecond" => even(1_000),
            "millisecond" => even(1_000_000),
            "second" => even(second),
            "minute" => even(60 * second),
            "hour" => even(3_600 * second),
            "day" => even(86_400 * second),
            "week" => Some(Self::Week { day }),
            "month" => Some(Self::Months { count: 1, day }),
            "quarter" => Some(Self::Months { count: 3, day }),
            "year" => Some(Self::Months { count: 12, day }),
            _ => None,
        }
    }

    /// The times, each cut; `None` if they aren't of UTC.
    pub(super) fn all<T: ArrowTimestampType>(self, times: &ArrayRef) -> DfResult<Option<ArrayRef>> {
        let DataType::Timestamp(_, zone) = times.data_type() else {
            return Ok(None);
        };
        if zone.as_deref().is_some_and(|zone| zone != UTC) {
            return Ok(None);
        }
        // The interval that the last time was in.
        let last = Cell::new((0, 0));
        let cut: PrimitiveArray<T> =
            times.as_primitive::<T>().try_unary(|at| -> DfResult<i64> {
                let (begin, end) = last.get();
                if (begin..end).contains(&at) {
                    return Ok(begin);
                }
                let interval = self.interval(at).ok_or_else(|| {
                    exec_datafusion_err!("date_trunc of a time that is out of range")
                })?;
                last.set(interval);
                Ok(interval.0)
            })?;
        let cut = cut.with_timezone_opt(zone.clone());
        Ok(Some(Arc::new(cut)))
    }

    /// Where the interval around a time begins and ends; the end may be cut off where numbers end.
    fn interval(self, at: i64) -> Option<(i64, i64)> {
        match self {
            Self::Even { length } => {
                let begin = at.checked_sub(at.rem_euclid(length))?;
                Some((begin, begin.saturating_add(length)))
            }
            Self::Week { day } => {
                // 1970-01-01 was a Thursday.
                let within = (at.rem_euclid(7 * day) + 3 * day) % (7 * day);
                let begin = at.checked_sub(within)?;
                Some((begin, begin.saturating_add(7 * day)))
            }
            Self::Months { count, day } => {
                let month = month(at.div_euclid(day));
                let first = month - month.rem_euclid(count);
                let begin = first_day(first).checked_mul(day)?;
                Some((begin, first_day(first + count).saturating_mul(day)))
            }
        }
    }
}

/// Days of 400 years, after which the calendar is the same again.
const ERA: i64 = 146_097;
/// From 0000-03-01 to 1970-01-01. Counted from March, the leap day is a year's last.
const BEFORE: i64 = 719_468;

/// The month that a day since 1970 is in, counted from January of year 0.
fn month(day: i64) -> i64 {
    let day = day + BEFORE;
    let (era, of_era) = (day.div_euclid(ERA), day.rem_euclid(ERA));
    let year = (of_era - of_era / 1_460 + of_era / 36_524 - of_era / 146_096) / 365;
    let of_year = of_era - (365 * year + year / 4 - year / 100);
    // March to July and August to December are 153 days each.
    let from_march = (5 * of_year + 2) / 153;
    (era * 400 + year) * 12 + from_march + 2
}

/// The first day of a month that is counted from January of year 0, since 1970.
fn first_day(month: i64) -> i64 {
    let from_march = month - 2;
    let (year, of_year) = (from_march.div_euclid(12), from_march.rem_euclid(12));
    let (era, of_era) = (year.div_euclid(400), year.rem_euclid(400));
    let days = of_era * 365 + of_era / 4 - of_era / 100 + (153 * of_year + 2) / 5;
    era * ERA + days - BEFORE
}

#[cfg(test)]
mod tests {
    use chrono::{DateTime, Datelike, Days, NaiveDate};

    use super::*;

    /// All days of some years around those in which calendars go wrong.
    fn days() -> impl Iterator<Item = NaiveDate> {
        let years = [
            -400, -1, 0, 1, 1600, 1899, 1900, 1970, 2000, 2023, 2024, 9999,
        ];
        years.into_iter().flat_map(|year| {
            let first = NaiveDate::from_ymd_opt(year, 1, 1).expect("a day");
            first.iter_days().take(370)
        })
    }

    fn micros(day: NaiveDate) -> i64 {
        day.and_hms_opt(0, 0, 0)
            .expect("midnight")
            .and_utc()
            .timestamp_micros()
    }

    fn truncate(part: &str) -> Truncate {
        let part = ColumnarValue::Scalar(ScalarValue::from(part));
        Truncate::of(&part, TimeUnit::Microsecond).expect("a part")
    }

    #[test]
    fn a_day_is_cut_to_where_the_calendar_says() {
        for day in days() {
            let noon = micros(day) + 43_200_000_001;
            let begin = |part: &str| truncate(part).interval(noon).expect("in range").0;
            let monday = Days::new(day.weekday().num_days_from_monday().into());
            assert_eq!(begin("day"), micros(day));
            assert_eq!(begin("week"), micros(day - monday), "{day}");
            let first = day.with_day(1).expect("a day");
            assert_eq!(begin("Month"), micros(first), "{day}");
            let quarter = first.with_month0(day.month0() / 3 * 3).expect("a month");
            assert_eq!(begin("quarter"), micros(quarter), "{day}");
            let year = first.with_month0(0).expect("January");
            assert_eq!(begin("year"), micros(year), "{day}");
        }
    }

    #[test]
    fn an_interval_ends_where_the_next_begins() {
        for part in ["second", "hour", "week", "month", "quarter", "year"] {
            let mut at = micros(NaiveDate::from_ymd_opt(1899, 12, 31).expect("a day"));
            for _ in 0..50 {
                let (begin, end) = truncate(part).interval(at).expect("in range");
                assert!(begin <= at && at < end);
                assert_eq!(
                    truncate(part).interval(end - 1),
                    Some((begin, end)),
                    "{part}"
                );
                assert_eq!(truncate(part).interval(end).expect("in range").0, end);
                at = end;
            }
            let shown = DateTime::from_timestamp_micros(at).expect("a time");
            assert_eq!(shown.timestamp_subsec_micros(), 0);
        }
    }

    #[test]
    fn the_first_times_of_all_have_no_beginning_and_the_last_do() {
        for part in ["minute", "week", "month", "year"] {
            assert_eq!(truncate(part).interval(i64::MIN), None, "{part}");
            assert!(truncate(part).interval(i64::MAX).is_some(), "{part}");
        }
        assert_eq!(
            truncate("microsecond").interval(i64::MIN),
            Some((i64::MIN, i64::MIN + 1))
        );
    }
}
