//! Values as the text that a literal holds, and texts that are values.

use std::io::Write as _;

use tidegate_formats::civil;

use crate::types::Type;

/// The last microsecond of a TIME, on both sides of zero: MariaDB's. MySQL's has no fraction, and it
/// refuses the rest itself.
const TIME_MOST: u64 = ((838 * 60 + 59) * 60 + 59) * 1_000_000 + 999_999;

/// How many microseconds the last digit of a fraction counts.
fn step(fraction: u8) -> u64 {
    10_u64.pow(6 - u32::from(fraction.min(6)))
}

/// `2024-02-29`, of days since 1970. `None` outside the years 0 to 9999.
pub(super) fn date(days: i64, out: &mut Vec<u8>) -> Option<()> {
    let (year, month, day) = civil::date(i32::try_from(days).ok()?.into());
    (0..=9999).contains(&year).then_some(())?;
    let _ = write!(out, "{year:04}-{month:02}-{day:02}");
    Some(())
}

/// `2024-02-29 13:00:00.000001`, of microseconds since 1970. `None` outside the years 0 to 9999.
pub(super) fn moment(micros: i64, out: &mut Vec<u8>) -> Option<()> {
    const DAY: i64 = 86_400_000_000;
    date(micros.div_euclid(DAY), out)?;
    out.push(b' ');
    clock(micros.rem_euclid(DAY).unsigned_abs(), out);
    Some(())
}

/// `-12:00:00.5`, of microseconds. `None` outside the range of TIME.
pub(super) fn time(micros: i64, out: &mut Vec<u8>) -> Option<()> {
    let size = micros.unsigned_abs();
    if size > TIME_MOST {
        return None;
    }
    if micros < 0 {
        out.push(b'-');
    }
    clock(size, out);
    Some(())
}

/// Hours, of which there may be more than 24, minutes, seconds, and a fraction if there is one.
fn clock(micros: u64, out: &mut Vec<u8>) {
    let (seconds, rest) = (micros / 1_000_000, micros % 1_000_000);
    let (minutes, hours) = (seconds / 60 % 60, seconds / 3600);
    let _ = write!(out, "{hours:02}:{minutes:02}:{:02}", seconds % 60);
    if rest > 0 {
        let _ = write!(out, ".{rest:06}");
    }
}

/// Whether a column with so many digits behind the second holds them all.
pub(super) fn fits_fraction(micros: i64, fraction: u8) -> bool {
    micros.unsigned_abs().is_multiple_of(step(fraction))
}

/// Whether a decimal of these digits fits DECIMAL(precision, places) without rounding, and if not,
/// why.
pub(super) fn decimal_fits(
    digits: &str,
    scale: i8,
    precision: u8,
    places: u8,
) -> Result<(), &'static str> {
    let digits = digits.trim_start_matches('-');
    let significant = digits.trim_start_matches('0');
    if significant.is_empty() {
        return Ok(());
    }
    let zeros = significant.len() - significant.trim_end_matches('0').len();
    let size = |n: usize| i64::try_from(n).unwrap_or(i64::MAX);
    // Digits behind the point that aren't zero.
    if i64::from(scale) - size(zeros) > i64::from(places) {
        return Err("has more digits behind the point than the column");
    }
    if size(significant.len()) - i64::from(scale) > i64::from(precision) - i64::from(places) {
        return Err("has more digits before the point than the column");
    }
    Ok(())
}

/// Whether the server takes a text as a date or time of this kind without dropping any of it. It is
/// lenient, and silently cuts what it can't use.
pub(super) fn is_temporal(text: &str, kind: Type) -> bool {
    match kind {
        Type::Date => is_date(text),
        Type::DateTime { fraction } | Type::Timestamp { fraction } => {
            let Some((date, clock)) = text.split_once([' ', 'T']) else {
                return is_date(text);
            };
            is_date(date) && is_clock(clock, fraction, 2)
        }
        Type::Time { fraction } => is_clock(text.strip_prefix('-').unwrap_or(text), fraction, 3),
        _ => true,
    }
}

/// Whether the server would read a text as a whole number.
pub(super) fn is_number(text: &str) -> bool {
    let text = text.trim();
    let digits = text.strip_prefix(['+', '-']).unwrap_or(text);
    !digits.is_empty() && digits.bytes().all(|b| b.is_ascii_digit())
}

fn is_date(text: &str) -> bool {
    let parts: Vec<_> = text.split('-').collect();
    matches!(parts.as_slice(), [year, month, day] if digits(year, 4, 4) && digits(month, 2, 2) && digits(day, 2, 2))
}

fn is_clock(text: &str, fraction: u8, hours: usize) -> bool {
    let (clock, rest) = text.split_once('.').unwrap_or((text, "0"));
    let parts: Vec<_> = clock.split(':').collect();
    let clock = matches!(parts.as_slice(), [h, m, s] if digits(h, 2, hours) && digits(m, 2, 2) && digits(s, 2, 2));
    let shown = rest.trim_end_matches('0');
    clock && digits(rest, 1, 9) && shown.len() <= usize::from(fraction)
}

fn digits(text: &str, least: usize, most: usize) -> bool {
    (least..=most).contains(&text.len()) && text.bytes().all(|b| b.is_ascii_digit())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn written(write: impl FnOnce(&mut Vec<u8>) -> Option<()>) -> Option<String> {
        let mut out = Vec::new();
        write(&mut out).map(|()| String::from_utf8(out).unwrap())
    }

    #[test]
    fn dates_and_times_are_written_over_their_whole_range() {
        let day = |days| written(|out| date(days, out));
        assert_eq!(day(0).unwrap(), "1970-01-01");
        assert_eq!(day(-719_528).unwrap(), "0000-01-01");
        assert_eq!(day(2_932_896).unwrap(), "9999-12-31");
        assert_eq!(day(2_932_897), None);
        assert_eq!(day(-719_529), None);
        assert_eq!(day(i64::MAX), None);
        let at = |micros| written(|out| moment(micros, out));
        assert_eq!(at(-1).unwrap(), "1969-12-31 23:59:59.999999");
        assert_eq!(at(1_000_000).unwrap(), "1970-01-01 00:00:01");
        let span = |micros| written(|out| time(micros, out));
        assert_eq!(span(-1).unwrap(), "-00:00:00.000001");
        assert_eq!(span(3_020_399_999_999).unwrap(), "838:59:59.999999");
        assert_eq!(span(3_020_400_000_000), None);
        assert_eq!(span(i64::MIN), None);
    }

    #[test]
    fn a_decimal_fits_without_rounding_or_not() {
        assert!(decimal_fits("12300", 4, 5, 2).is_ok());
        assert!(decimal_fits("12345", 4, 5, 2).is_err());
        assert!(decimal_fits("-99999", 2, 5, 2).is_ok());
        assert!(decimal_fits("100000", 2, 5, 2).is_err());
        assert!(decimal_fits("1", -3, 4, 0).is_ok());
        assert!(decimal_fits("1", -4, 4, 0).is_err());
        assert!(decimal_fits("0", 30, 1, 0).is_ok());
    }

    #[test]
    fn texts_that_the_server_would_cut_are_no_dates() {
        assert!(is_temporal("0000-00-00", Type::Date));
        assert!(!is_temporal("2024-01-01 10:00:00", Type::Date));
        let at = Type::DateTime { fraction: 3 };
        assert!(is_temporal("2024-01-01 10:00:00.120000", at));
        assert!(!is_temporal("2024-01-01 10:00:00.1234", at));
        assert!(!is_temporal("2024-01-01 10:00:00Z", at));
        assert!(is_temporal("-838:59:59", Type::Time { fraction: 0 }));
        assert!(!is_temporal("1 10:00:00", Type::Time { fraction: 0 }));
    }
}
