//! Dates and times.
//!
//! On the wire: a length, then year, month, day; then, if it isn't midnight, hour, minute, second;
//! then, if it isn't zero, the microseconds. Length 0 is the date of nothing but zeros.

use tidegate_formats::civil;

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

/// What the server's times end with: 838:59:59.
const MOST_HOURS: u32 = 838;

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
        civil::days(self.year.into(), self.month.into(), self.day.into())
            .ok_or(Fault::NotInCalendar)
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
    pub(super) fn micros(self) -> Result<i64, Fault> {
        if self.hours > MOST_HOURS {
            return Err(Fault::TooManyHours);
        }
        let micros = i64::from(self.hours) * HOUR
            + i64::from(self.minute) * MINUTE
            + i64::from(self.second) * SECOND
            + i64::from(self.micros);
        Ok(if self.negative { -micros } else { micros })
    }
}
