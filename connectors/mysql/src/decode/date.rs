//! Dates and times.
//!
//! On the wire: a length, then year, month, day; then, if it isn't midnight, hour, minute, second;
//! then, if it isn't zero, the microseconds. Length 0 is the date of nothing but zeros.

use super::block::Fault;
use super::read::{fixed, run};

/// A date and time of day as it came; it may be one that no calendar has.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(super) struct Moment {
    pub(super) year: u16,
    pub(super) month: u8,
    pub(super) day: u8,
    pub(super) hour: u8,
    pub(super) minute: u8,
    pub(super) second: u8,
    pub(super) micros: u32,
}

/// A TIME as it came: of either sign, and of up to 838 hours.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(super) struct Span {
    pub(super) negative: bool,
    pub(super) hours: u32,
    pub(super) minute: u8,
    pub(super) second: u8,
    pub(super) micros: u32,
}

const SECOND: i64 = 1_000_000;
const MINUTE: i64 = 60 * SECOND;
const HOUR: i64 = 60 * MINUTE;
const DAY: i64 = 24 * HOUR;

impl Moment {
    #[inline(always)]
    pub(super) fn take(bytes: &[u8], at: &mut usize) -> Self {
        let [length] = fixed(bytes, at);
        if length == 0 {
            return Self::default();
        }
        let [low, high, month, day] = fixed(bytes, at);
        let mut moment = Self {
            year: u16::from_le_bytes([low, high]),
            month,
            day,
            ..Self::default()
        };
        if length >= 7 {
            [moment.hour, moment.minute, moment.second] = fixed(bytes, at);
        }
        if length >= 11 {
            moment.micros = u32::from_le_bytes(fixed(bytes, at));
        }
        moment
    }

    /// Days since 1970-01-01, in the Gregorian calendar, which the server uses for all of the past.
    #[inline(always)]
    pub(super) fn days(self) -> Result<i32, Fault> {
        let (year, month, day) = (i32::from(self.year), self.month, self.day);
        let in_calendar = (1..=12).contains(&month)
            && day >= 1
            && (day <= 28 || day <= days_in(self.year, month));
        if !in_calendar {
            return Err(Fault::NotInCalendar);
        }
        // Years begin in March, so that the day that comes and goes is the last of a year.
        let year = year - i32::from(month < 3);
        let month = i32::from(month) + if month < 3 { 9 } else { -3 };
        // The year is shifted by 400, the length of a period, to be positive.
        let year = year + 400;
        let before = 365 * year + year / 4 - year / 100 + year / 400;
        let in_year = (153 * month + 2) / 5 + i32::from(day) - 1;
        // From 0000-03-01 to 1970-01-01 there are 719,468 days, and 146,097 in a period.
        Ok(before + in_year - 719_468 - 146_097)
    }

    /// Microseconds since 1970-01-01T00:00:00.
    #[inline(always)]
    pub(super) fn micros(self) -> Result<i64, Fault> {
        let days = i64::from(self.days()?);
        Ok(days * DAY
            + i64::from(self.hour) * HOUR
            + i64::from(self.minute) * MINUTE
            + i64::from(self.second) * SECOND
            + i64::from(self.micros))
    }
}

impl Span {
    #[inline(always)]
    pub(super) fn take(bytes: &[u8], at: &mut usize) -> Self {
        let mut rest = run(bytes, at);
        let rest = &mut rest;
        let mut next = 0;
        if rest.is_empty() {
            return Self::default();
        }
        let [negative] = fixed(rest, &mut next);
        let days = u32::from_le_bytes(fixed(rest, &mut next));
        let [hour, minute, second] = fixed(rest, &mut next);
        let micros = match rest.len() {
            12.. => u32::from_le_bytes(fixed(rest, &mut next)),
            _ => 0,
        };
        Self {
            negative: negative != 0,
            // 34 days and 22 hours at most.
            hours: days.saturating_mul(24).saturating_add(hour.into()),
            minute,
            second,
            micros,
        }
    }

    #[inline(always)]
    pub(super) fn micros(self) -> i64 {
        let micros = i64::from(self.hours) * HOUR
            + i64::from(self.minute) * MINUTE
            + i64::from(self.second) * SECOND
            + i64::from(self.micros);
        if self.negative { -micros } else { micros }
    }
}

fn days_in(year: u16, month: u8) -> u8 {
    match month {
        2 if year.is_multiple_of(4) && (!year.is_multiple_of(100) || year.is_multiple_of(400)) => {
            29
        }
        2 => 28,
        4 | 6 | 9 | 11 => 30,
        _ => 31,
    }
}

#[cfg(test)]
mod tests {
    use chrono::{Datelike as _, NaiveDate};

    use super::*;

    #[test]
    fn every_day_of_the_servers_range_is_chronos() {
        let epoch = NaiveDate::from_ymd_opt(1970, 1, 1).unwrap();
        let mut date = NaiveDate::from_ymd_opt(0, 1, 1).unwrap();
        while date.year() < 10_000 {
            let moment = Moment {
                year: u16::try_from(date.year()).unwrap(),
                month: u8::try_from(date.month()).unwrap(),
                day: u8::try_from(date.day()).unwrap(),
                ..Moment::default()
            };
            let days = i64::from(moment.days().unwrap());
            assert_eq!(days, (date - epoch).num_days(), "{date}");
            date = date.succ_opt().unwrap();
        }
    }

    #[test]
    fn days_of_no_calendar_are_faults() {
        for (year, month, day) in [
            (0, 0, 0),
            (2020, 0, 15),
            (2020, 5, 0),
            (2020, 13, 1),
            (2020, 4, 31),
            (2021, 2, 29),
            (1900, 2, 29),
        ] {
            let moment = Moment {
                year,
                month,
                day,
                ..Moment::default()
            };
            assert_eq!(moment.days(), Err(Fault::NotInCalendar), "{moment:?}");
        }
    }
}
