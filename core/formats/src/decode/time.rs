//! Dates and times as text.

use arrow_schema::TimeUnit;

use crate::civil;

const SECOND: i64 = 1_000_000_000;
const DAY: i64 = 86_400;

/// A point in time as it is written.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Written {
    /// Days since 1970-01-01, local.
    days: i32,
    /// Nanoseconds of the day, local.
    nanos: i64,
    /// Seconds that the local time is ahead of UTC, if that is told.
    pub(crate) offset: Option<i32>,
}

impl Written {
    /// In UTC, as so many units since 1970; `None` if it is out of range, or finer than the unit.
    #[inline]
    pub(crate) fn to_unit(self, unit: TimeUnit) -> Option<i64> {
        let seconds =
            i64::from(self.days) * DAY + self.nanos / SECOND - i64::from(self.offset.unwrap_or(0));
        let fraction = exact_units(self.nanos % SECOND, unit)?;
        seconds.checked_mul(per_second(unit))?.checked_add(fraction)
    }
}

pub(crate) fn per_second(unit: TimeUnit) -> i64 {
    match unit {
        TimeUnit::Second => 1,
        TimeUnit::Millisecond => 1_000,
        TimeUnit::Microsecond => 1_000_000,
        TimeUnit::Nanosecond => SECOND,
    }
}

/// Nanoseconds in a unit, if that loses nothing.
#[inline]
pub(crate) fn exact_units(nanos: i64, unit: TimeUnit) -> Option<i64> {
    let size = SECOND / per_second(unit);
    (nanos % size == 0).then_some(nanos / size)
}

/// `YYYY-MM-DD`, as days since 1970. Years beyond 9999 have a sign.
pub(crate) fn date(text: &[u8]) -> Option<i32> {
    let (days, rest) = date_prefix(text)?;
    rest.is_empty().then_some(days)
}

/// `HH:MM[:SS[.fffffffff]]`, as nanoseconds.
pub(crate) fn time(text: &[u8]) -> Option<i64> {
    let (nanos, rest) = time_prefix(text)?;
    rest.is_empty().then_some(nanos)
}

/// A date and a time with `T` or a space between, and perhaps `Z` or an offset; or a date alone,
/// which is its midnight.
#[inline]
pub(crate) fn timestamp(text: &[u8]) -> Option<Written> {
    let (days, rest) = date_prefix(text)?;
    let (separator, rest) = match rest {
        [] => {
            return Some(Written {
                days,
                nanos: 0,
                offset: None,
            });
        }
        [separator, rest @ ..] => (separator, rest),
    };
    if !matches!(separator, b'T' | b't' | b' ') {
        return None;
    }
    let (nanos, rest) = time_prefix(rest)?;
    let offset = match rest {
        [] => None,
        b"Z" | b"z" | b" UTC" => Some(0),
        _ => Some(offset(rest)?),
    };
    Some(Written {
        days,
        nanos,
        offset,
    })
}

/// `+HH:MM`, `+HHMM` or `+HH`, in seconds.
pub(crate) fn offset(text: &[u8]) -> Option<i32> {
    let (sign, digits) = match text {
        [b'+', digits @ ..] => (1, digits),
        [b'-', digits @ ..] => (-1, digits),
        _ => return None,
    };
    let (hours, minutes) = match digits {
        [a, b] => (two(*a, *b)?, 0),
        [a, b, c, d] | [a, b, b':', c, d] => (two(*a, *b)?, two(*c, *d)?),
        _ => return None,
    };
    (hours < 24 && minutes < 60).then_some(sign * (hours * 3600 + minutes * 60))
}

#[inline]
fn two(tens: u8, ones: u8) -> Option<i32> {
    let (tens, ones) = (tens.wrapping_sub(b'0'), ones.wrapping_sub(b'0'));
    (tens < 10 && ones < 10).then(|| i32::from(tens) * 10 + i32::from(ones))
}

#[inline]
fn date_prefix(text: &[u8]) -> Option<(i32, &[u8])> {
    let [y1, y2, y3, y4, b'-', m1, m2, b'-', d1, d2, rest @ ..] = text else {
        return signed_date(text);
    };
    let Some(century) = two(*y1, *y2) else {
        return signed_date(text);
    };
    let year = century * 100 + two(*y3, *y4)?;
    let (month, day) = (two(*m1, *m2)?, two(*d1, *d2)?);
    Some((civil::days(year, month, day)?, rest))
}

#[cold]
fn signed_date(text: &[u8]) -> Option<(i32, &[u8])> {
    let (negative, digits) = match text {
        [b'-', digits @ ..] => (true, digits),
        [b'+', digits @ ..] => (false, digits),
        _ => return None,
    };
    let length = digits
        .iter()
        .take_while(|byte| byte.is_ascii_digit())
        .count();
    if !(4..=6).contains(&length) {
        return None;
    }
    let year: i32 = std::str::from_utf8(&digits[..length]).ok()?.parse().ok()?;
    // Arrow's kernels know no later ones.
    (year <= 262_142).then_some(())?;
    let [b'-', m1, m2, b'-', d1, d2, rest @ ..] = &digits[length..] else {
        return None;
    };
    let (month, day) = (two(*m1, *m2)?, two(*d1, *d2)?);
    let days = civil::days(if negative { -year } else { year }, month, day)?;
    Some((days, rest))
}

#[inline]
fn time_prefix(text: &[u8]) -> Option<(i64, &[u8])> {
    let [h1, h2, b':', m1, m2, rest @ ..] = text else {
        return None;
    };
    let (hours, minutes) = (two(*h1, *h2)?, two(*m1, *m2)?);
    let (seconds, rest) = match rest {
        [b':', s1, s2, rest @ ..] => (two(*s1, *s2)?, rest),
        rest => (0, rest),
    };
    if hours > 23 || minutes > 59 || seconds > 59 {
        return None;
    }
    let nanos = i64::from(hours * 3600 + minutes * 60 + seconds) * SECOND;
    let Some((b'.' | b',', digits)) = rest.split_first() else {
        return Some((nanos, rest));
    };
    let length = digits
        .iter()
        .take_while(|byte| byte.is_ascii_digit())
        .count();
    if length == 0 || length > 9 {
        return None;
    }
    let mut fraction = 0;
    for digit in &digits[..length] {
        fraction = fraction * 10 + i64::from(digit - b'0');
    }
    for _ in length..9 {
        fraction *= 10;
    }
    Some((nanos + fraction, &digits[length..]))
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use chrono::NaiveDate;

    use super::*;

    #[test]
    fn all_the_usual_spellings() {
        let micros = |text: &str| timestamp(text.as_bytes())?.to_unit(TimeUnit::Microsecond);
        assert_eq!(micros("1970-01-01T00:00:00Z"), Some(0));
        assert_eq!(micros("1970-01-01 00:00:01.5"), Some(1_500_000));
        assert_eq!(micros("1970-01-01T01:00:00+01:00"), Some(0));
        assert_eq!(micros("1970-01-01T01:00:00.000001+0100"), Some(1));
        assert_eq!(micros("1969-12-31T23:59:59.999999Z"), Some(-1));
        assert_eq!(micros("1970-01-02"), Some(86_400_000_000));
        for bad in [
            "",
            "1970",
            "1970-13-01",
            "1970-02-29T00:00:00",
            "1970-01-01T24:00:00",
            "1970-01-01Q00:00:00",
            "1970-01-01T00:00:00X",
            "1970-01-01T00:00:00.",
            "1970-01-01T00:00:00+25:00",
        ] {
            assert_eq!(timestamp(bad.as_bytes()), None, "{bad}");
        }
        assert_eq!(
            micros("1970-01-01T00:00:00.0000001Z"),
            None,
            "finer than the unit"
        );
        assert_eq!(time(b"23:59:59.25"), Some(86_399_250_000_000));
        assert_eq!(date(b"2000-02-29"), Some(11_016));
        assert_eq!(date(b"2000-02-29 "), None);
    }

    proptest! {
        #[test]
        fn days_are_chronos(days in -4_000_000i32..4_000_000) {
            let date_there = NaiveDate::from_epoch_days(days).unwrap();
            prop_assert_eq!(date(date_there.to_string().as_bytes()), Some(days));
        }
    }
}
