//! One value, from the text that Athena prints (that of Trino's casts to varchar) to what Arrow
//! stores.
//!
//! Nothing is rounded, cut or guessed: what doesn't fit exactly is refused with the reason.

use arrow_array::timezone::Tz;
use chrono::{DateTime, LocalResult, NaiveDate, NaiveDateTime, NaiveTime, TimeZone, Timelike, Utc};

/// Why a text isn't a value of its type.
pub(crate) type Reason = String;

type Read<T> = Result<T, Reason>;

fn not(text: &str, what: &str) -> Reason {
    format!("`{text}` is not {what}")
}

pub(crate) fn boolean(text: &str) -> Read<bool> {
    match text {
        "true" | "TRUE" | "True" => Ok(true),
        "false" | "FALSE" | "False" => Ok(false),
        _ => Err(not(text, "a boolean")),
    }
}

/// An integer or a floating-point number (`NaN`, `Infinity` and `-Infinity` included).
pub(crate) fn number<T: std::str::FromStr>(text: &str, what: &str) -> Read<T> {
    text.parse().map_err(|_| not(text, what))
}

/// The digits of a decimal with so many of them after the point.
pub(crate) fn decimal(text: &str, precision: u8, scale: u8) -> Read<i128> {
    let what = || not(text, &format!("a decimal({precision}, {scale})"));
    let (negative, digits) = match text.strip_prefix('-') {
        Some(rest) => (true, rest),
        None => (false, text.strip_prefix('+').unwrap_or(text)),
    };
    let (whole, fraction) = digits.split_once('.').unwrap_or((digits, ""));
    let all = whole.bytes().chain(fraction.bytes());
    if digits.len() <= digits.matches('.').count() || !all.clone().all(|b| b.is_ascii_digit()) {
        return Err(what());
    }
    let (kept, cut) = fraction.split_at(fraction.len().min(usize::from(scale)));
    if cut.bytes().any(|digit| digit != b'0') {
        return Err(what());
    }
    let missing = usize::from(scale) - kept.len();
    let digits = whole.bytes().chain(kept.bytes());
    let digits = digits.chain(std::iter::repeat_n(b'0', missing));
    let mut digits = digits.map(|digit| i128::from(digit - b'0'));
    let value = digits.try_fold(0_i128, |sum, digit| sum.checked_mul(10)?.checked_add(digit));
    match value {
        Some(value) if value < 10_i128.pow(u32::from(precision)) => {
            Ok(if negative { -value } else { value })
        }
        _ => Err(what()),
    }
}

/// Days since 1970-01-01.
pub(crate) fn date(text: &str) -> Read<i32> {
    let date = NaiveDate::parse_from_str(text, "%Y-%m-%d").map_err(|_| not(text, "a date"))?;
    let days = date.signed_duration_since(NaiveDate::default()).num_days();
    i32::try_from(days).map_err(|_| not(text, "a date"))
}

/// Microseconds since midnight.
pub(crate) fn time(text: &str) -> Read<i64> {
    let (seconds, micros) = split_fraction(text)?;
    let time = NaiveTime::parse_from_str(seconds, "%H:%M:%S").map_err(|_| not(text, "a time"))?;
    Ok(i64::from(time.num_seconds_from_midnight()) * 1_000_000 + micros)
}

/// Microseconds since 1970-01-01T00:00:00 on a clock without a zone.
pub(crate) fn timestamp(text: &str) -> Read<i64> {
    let (time, micros) = local(text)?;
    Ok(time.and_utc().timestamp_micros() + micros)
}

/// Microseconds since 1970-01-01T00:00:00 UTC, of `2001-08-22 03:04:05.321 America/Los_Angeles`.
pub(crate) fn zoned(text: &str) -> Read<i64> {
    let what = || not(text, "a timestamp with a time zone");
    let (clock, zone) = text.rsplit_once(' ').ok_or_else(what)?;
    let (time, micros) = local(clock)?;
    let zone: Tz = match zone {
        "UTC" | "Z" | "GMT" => return Ok(time.and_utc().timestamp_micros() + micros),
        zone => zone.parse().map_err(|_| what())?,
    };
    let time: DateTime<Utc> = match zone.from_local_datetime(&time) {
        LocalResult::Single(time) => time.to_utc(),
        LocalResult::Ambiguous(..) => {
            return Err(format!(
                "`{text}` is one of two moments, because the clocks went back; ask for \
                 `… AT TIME ZONE 'UTC'`"
            ));
        }
        LocalResult::None => return Err(what()),
    };
    Ok(time.timestamp_micros() + micros)
}

fn local(text: &str) -> Read<(NaiveDateTime, i64)> {
    let (seconds, micros) = split_fraction(text)?;
    let time = NaiveDateTime::parse_from_str(seconds, "%Y-%m-%d %H:%M:%S");
    Ok((time.map_err(|_| not(text, "a timestamp"))?, micros))
}

/// Cuts the fraction of a second off; gives it in microseconds. Trino has up to twelve digits.
fn split_fraction(text: &str) -> Read<(&str, i64)> {
    let Some((seconds, digits)) = text.split_once('.') else {
        return Ok((text, 0));
    };
    if digits.is_empty() || !digits.bytes().all(|digit| digit.is_ascii_digit()) {
        return Err(not(text, "a time"));
    }
    let (micros, finer) = digits.split_at(digits.len().min(6));
    if finer.bytes().any(|digit| digit != b'0') {
        return Err(format!("`{text}` is finer than a microsecond"));
    }
    let micros = format!("{micros:0<6}").parse();
    Ok((seconds, micros.map_err(|_| not(text, "a time"))?))
}

/// The bytes of `00 ff 1a`: hexadecimal, two digits a byte, spaces between.
pub(crate) fn bytes(text: &str) -> Read<Vec<u8>> {
    let what = || not(text, "hexadecimal bytes");
    let pairs = text
        .split_ascii_whitespace()
        .map(|pair| match pair.as_bytes() {
            [high, low] if high.is_ascii_hexdigit() && low.is_ascii_hexdigit() => {
                u8::from_str_radix(pair, 16).map_err(|_| what())
            }
            _ => Err(what()),
        });
    pairs.collect()
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "a test that cannot go on fails")]

    use proptest::prelude::*;

    use super::*;

    #[test]
    fn decimals_are_exact_or_refused() {
        assert_eq!(decimal("12.34", 10, 2), Ok(1234));
        assert_eq!(decimal("-0.5", 10, 2), Ok(-50));
        assert_eq!(decimal("7", 10, 2), Ok(700));
        assert_eq!(decimal("1.2300", 10, 2), Ok(123));
        assert_eq!(decimal(".5", 2, 1), Ok(5));
        let nines = "9".repeat(38);
        assert_eq!(decimal(&nines, 38, 0), Ok(10_i128.pow(38) - 1));
        for wrong in ["", "-", ".", "1.234", "1e3", "1,5", "NaN", "1.2.3", " 1"] {
            assert!(decimal(wrong, 10, 2).is_err(), "{wrong}");
        }
        assert!(decimal("123456789.00", 10, 2).is_err(), "too many digits");
        assert!(decimal(&format!("{nines}9"), 38, 0).is_err());
    }

    #[test]
    fn dates_and_times_are_read_to_the_microsecond() {
        assert_eq!(date("1970-01-02"), Ok(1));
        assert_eq!(date("1969-12-31"), Ok(-1));
        assert_eq!(time("01:02:03.456"), Ok(3_723_456_000));
        assert_eq!(time("00:00:00"), Ok(0));
        assert_eq!(timestamp("1970-01-01 00:00:01.5"), Ok(1_500_000));
        assert_eq!(timestamp("1969-12-31 23:59:59.999999"), Ok(-1));
        assert_eq!(
            timestamp("2024-02-29 12:00:00.000"),
            Ok(1_709_208_000_000_000)
        );
        assert_eq!(
            timestamp("2024-02-29 12:00:00.123456000"),
            Ok(1_709_208_000_123_456)
        );
        let finer = timestamp("2024-02-29 12:00:00.1234567").unwrap_err();
        assert!(finer.contains("finer than a microsecond"), "{finer}");
        for wrong in [
            "",
            "2024-02-30 00:00:00",
            "2024-01-01",
            "2024-01-01 00:00:00.x",
            "now",
        ] {
            assert!(timestamp(wrong).is_err(), "{wrong}");
        }
        assert!(date("2024-1-1x").is_err());
        assert!(time("24:00:00").is_err());
    }

    #[test]
    fn zones_are_turned_into_utc() {
        let utc = timestamp("2001-08-22 10:04:05.321").unwrap();
        for text in [
            "2001-08-22 03:04:05.321 America/Los_Angeles",
            "2001-08-22 10:04:05.321 UTC",
            "2001-08-22 12:04:05.321 +02:00",
            "2001-08-22 12:04:05.321 Europe/Berlin",
        ] {
            assert_eq!(zoned(text), Ok(utc), "{text}");
        }
        assert!(zoned("2001-08-22 03:04:05.321").is_err());
        assert!(zoned("2001-08-22 03:04:05.321 Middle/Earth").is_err());
    }

    #[test]
    fn an_hour_that_the_clock_shows_twice_is_refused_not_guessed() {
        let reason = zoned("2024-10-27 02:30:00.000 Europe/Berlin").unwrap_err();
        assert!(reason.contains("AT TIME ZONE 'UTC'"), "{reason}");
        assert!(
            zoned("2024-03-31 02:30:00.000 Europe/Berlin").is_err(),
            "never shown"
        );
    }

    #[test]
    fn bytes_are_pairs_of_digits() {
        assert_eq!(bytes("00 ff 1A"), Ok(vec![0, 255, 26]));
        assert_eq!(bytes(""), Ok(vec![]));
        for wrong in ["0", "00f", "0g", "+1", "b'x'", "é"] {
            assert!(bytes(wrong).is_err(), "{wrong}");
        }
    }

    #[test]
    fn numbers_have_the_range_of_their_type() {
        assert_eq!(number::<i8>("-128", "a tinyint"), Ok(-128));
        let reason = number::<i8>("128", "a tinyint").unwrap_err();
        assert_eq!(reason, "`128` is not a tinyint");
        assert_eq!(
            number::<f64>("-Infinity", "a double"),
            Ok(f64::NEG_INFINITY)
        );
        assert!(number::<f64>("NaN", "a double").unwrap().is_nan());
        assert_eq!(number::<f32>("3.4028235E38", "a float"), Ok(f32::MAX));
    }

    proptest! {
        #[test]
        fn a_printed_decimal_is_read_back(value in -10_i64.pow(18) + 1..10_i64.pow(18), scale in 0_u8..19) {
            let digits = format!("{:0>1$}", value.unsigned_abs(), usize::from(scale) + 1);
            let (whole, fraction) = digits.split_at(digits.len() - usize::from(scale));
            let sign = if value < 0 { "-" } else { "" };
            let point = if scale > 0 { "." } else { "" };
            let text = format!("{sign}{whole}{point}{fraction}");
            prop_assert_eq!(decimal(&text, 18, scale), Ok(i128::from(value)));
        }

        #[test]
        fn a_printed_timestamp_is_read_back(micros in -62_135_596_800_000_000_i64..253_402_300_800_000_000) {
            let time = DateTime::<Utc>::from_timestamp_micros(micros).unwrap();
            let text = time.format("%Y-%m-%d %H:%M:%S%.6f").to_string();
            prop_assert_eq!(timestamp(&text), Ok(micros));
        }

        #[test]
        fn any_text_is_read_or_refused_without_a_panic(text in ".*") {
            let _ = (decimal(&text, 38, 10), date(&text), time(&text), timestamp(&text));
            let _ = (zoned(&text), bytes(&text), boolean(&text));
        }
    }
}
