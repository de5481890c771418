//! Values as text.

use arrow_array::types::ArrowTimestampType;
use arrow_buffer::i256;
use arrow_schema::TimeUnit;

use crate::civil;
use crate::decode::time::per_second;

const DAY: i64 = 86_400;

/// Appends an unscaled decimal's digits with the point where the scale puts it, or with zeros behind
/// them where the scale is less than 0: `decimal_text("-5", 3, …)` appends `-0.005`.
pub fn decimal_text(digits: &str, scale: i8, out: &mut Vec<u8>) {
    let (sign, digits) = match digits.strip_prefix('-') {
        Some(digits) => ("-", digits),
        None => ("", digits),
    };
    out.extend_from_slice(sign.as_bytes());
    let places = usize::from(scale.unsigned_abs());
    if scale <= 0 {
        out.extend_from_slice(digits.as_bytes());
        if digits != "0" {
            out.resize(out.len() + places, b'0');
        }
        return;
    }
    let whole = digits.len().saturating_sub(places);
    if whole == 0 {
        out.extend_from_slice(b"0.");
        out.resize(out.len() + places - digits.len(), b'0');
        out.extend_from_slice(digits.as_bytes());
    } else {
        out.extend_from_slice(&digits.as_bytes()[..whole]);
        out.push(b'.');
        out.extend_from_slice(&digits.as_bytes()[whole..]);
    }
}

pub(crate) fn decimal256(value: i256, scale: i8, out: &mut Vec<u8>) {
    decimal_text(&value.to_string(), scale, out);
}

/// `YYYY-MM-DD`.
pub(crate) fn date(days: i64, out: &mut Vec<u8>) {
    let (year, month, day) = civil::date(days);
    if (0..=9999).contains(&year) {
        padded(year, 4, out);
    } else {
        out.push(if year < 0 { b'-' } else { b'+' });
        padded(year.abs(), 4, out);
    }
    out.push(b'-');
    padded(month, 2, out);
    out.push(b'-');
    padded(day, 2, out);
}

/// `HH:MM:SS`, and the fraction if there is one.
pub(crate) fn time(value: i64, unit: TimeUnit, out: &mut Vec<u8>) {
    let per_second = per_second(unit);
    let seconds = value / per_second;
    padded(seconds / 3600, 2, out);
    out.push(b':');
    padded(seconds / 60 % 60, 2, out);
    out.push(b':');
    padded(seconds % 60, 2, out);
    let fraction = value % per_second;
    if fraction != 0 {
        let (mut fraction, mut width) = (fraction, per_second.ilog10() as usize);
        // In groups of three, as is usual.
        while fraction % 1000 == 0 && width > 3 {
            fraction /= 1000;
            width -= 3;
        }
        out.push(b'.');
        padded(fraction, width, out);
    }
}

/// RFC 3339, in UTC if there is a zone, without an offset if there is none.
pub(crate) fn timestamp<T: ArrowTimestampType>(value: i64, zoned: bool, out: &mut Vec<u8>) {
    let per_day = DAY * per_second(T::UNIT);
    date(value.div_euclid(per_day), out);
    out.push(b'T');
    time(value.rem_euclid(per_day), T::UNIT, out);
    if zoned {
        out.push(b'Z');
    }
}

fn padded(value: i64, width: usize, out: &mut Vec<u8>) {
    let mut buffer = itoa::Buffer::new();
    let digits = buffer.format(value);
    out.resize(out.len() + width.saturating_sub(digits.len()), b'0');
    out.extend_from_slice(digits.as_bytes());
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn decimals_have_their_point_where_it_belongs() {
        let of = |digits: &str, scale| {
            let mut text = Vec::new();
            decimal_text(digits, scale, &mut text);
            String::from_utf8(text).unwrap()
        };
        assert_eq!(of("12345", 2), "123.45");
        assert_eq!(of("-5", 3), "-0.005");
        assert_eq!(of("0", 2), "0.00");
        assert_eq!(of("7", -2), "700");
        assert_eq!(of("123", 3), "0.123");
    }
}
