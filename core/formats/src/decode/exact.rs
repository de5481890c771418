//! Values that come back as they were written.
//!
//! A column whose type is learnt takes these and no others, both while it is learnt and after: what
//! reads as a number may be a code (`00123`, `+49`, `12E4`, `1.10`), and a float may not hold it.

use arrow_array::types::*;
use arrow_schema::{DataType, TimeUnit};

use super::Fault;
use super::json::Cursor;
use super::number::Number;
use super::primitive::{Date, Decimal128, Float64, Int, Parse, Timestamp, Zone};
use super::time::{self, Written};

/// The most digits after the point of a decimal.
const MOST_SCALE: i32 = 38;

/// Whether a float holds all digits of a number, be it in JSON or alone: whether they are those of the
/// shortest text that reads as it.
#[inline]
pub(crate) fn float(number: Number, text: &[u8]) -> Option<f64> {
    let value = number.to_f64(text)?;
    let sure = number.exact && (number.mantissa == 0 || is_shortest(number, value));
    (sure || holds(value, text)).then_some(value)
}

/// Whether decimals with as many digits after the point lie further apart than floats do here. Then
/// no other one reads as this float, and none with fewer digits, which would be among them.
///
/// A float is its significand times the distance to the next, and a decimal its mantissa times the
/// distance to the next: of about the same number, the smaller factor has the larger distance.
#[inline]
fn is_shortest(number: Number, value: f64) -> bool {
    const HIDDEN: u64 = 1 << (f64::MANTISSA_DIGITS - 1);
    let bits = value.to_bits();
    let hidden = if value.is_normal() { HIDDEN } else { 0 };
    number.mantissa < bits & (HIDDEN - 1) | hidden
}

#[cold]
fn holds(value: f64, text: &[u8]) -> bool {
    let mut buffer = zmij::Buffer::new();
    let shortest = buffer.format_finite(value).as_bytes();
    // Most programs write a float in just this way.
    shortest == text || significant(shortest).eq(significant(text))
}

/// The digits of a number without the zeros before and behind them.
fn significant(text: &[u8]) -> impl Iterator<Item = &u8> {
    let end = text.iter().position(|byte| byte | 0x20 == b'e');
    let text = &text[..end.unwrap_or(text.len())];
    let is_digit = |byte: &u8| matches!(byte, b'1'..=b'9');
    let start = text.iter().position(is_digit).unwrap_or(text.len());
    let end = text.iter().rposition(is_digit).map_or(start, |at| at + 1);
    text[start..end].iter().filter(|byte| **byte != b'.')
}

/// Whether a number is 0 with a sign, which integers and decimals don't keep.
#[inline]
fn loses_sign(number: Number) -> bool {
    number.negative && number.mantissa == 0 && number.exact
}

/// Whether a number alone has no zeros before it, no `+` and a digit before its point.
#[inline]
fn plain(text: &[u8]) -> bool {
    let digits = match text {
        [b'-', digits @ ..] => digits,
        _ => text,
    };
    matches!(
        digits,
        [b'1'..=b'9', ..] | [b'0'] | [b'0', b'.' | b'e' | b'E', ..]
    )
}

/// An integer as integers are written.
#[inline]
pub(crate) fn text_int(number: Number, text: &[u8]) -> Option<i64> {
    if !number.integer || !number.exact || !plain(text) || loses_sign(number) {
        return None;
    }
    super::number::Integer::from_parts(number.negative, number.mantissa)
}

/// A float as floats are written; a whole one may have no point.
#[inline]
pub(crate) fn text_float(number: Number, text: &[u8]) -> Option<f64> {
    let shortest = match text {
        _ if number.scientific => return scientific(number, text),
        _ if number.integer => !loses_sign(number),
        [.., b'.', b'0'] | [.., b'1'..=b'9'] => true,
        _ => false,
    };
    if !shortest || !plain(text) {
        return None;
    }
    float(number, text)
}

/// With an exponent floats are written where they are very large or small, as here (`1.5e-7`) or as
/// C and Python do (`1.5e-07`). `7e3` and `12E12` are codes.
#[cold]
fn scientific(number: Number, text: &[u8]) -> Option<f64> {
    let value = float(number, text)?;
    if zmij::Buffer::new().format_finite(value).as_bytes() == text {
        return Some(value);
    }
    let written = format!("{value:e}");
    let (mantissa, exponent) = written.split_once('e')?;
    let exponent: i32 = exponent.parse().ok()?;
    let usual = !(1e-4..1e16).contains(&value.abs());
    (usual && format!("{mantissa}e{exponent:+03}").as_bytes() == text).then_some(value)
}

/// How many digits a decimal has after its point.
pub(crate) fn text_scale(number: Number, text: &[u8]) -> Option<i8> {
    let scale = number.exponent.checked_neg()?;
    if !(1..=MOST_SCALE).contains(&scale) {
        return None;
    }
    let scale = i8::try_from(scale).ok()?;
    text_decimal(number, text, 38, scale).map(|_| scale)
}

/// A decimal with exactly so many digits after its point.
#[inline]
fn text_decimal(number: Number, text: &[u8], precision: u8, scale: i8) -> Option<i128> {
    if number.scientific || number.exponent != -i32::from(scale) || !plain(text) {
        return None;
    }
    json_decimal(number, text, precision, scale)
}

#[inline]
fn json_decimal(number: Number, text: &[u8], precision: u8, scale: i8) -> Option<i128> {
    let value = Decimal128 { precision, scale }.of(number, text)?;
    (value != 0 || !number.negative).then_some(value)
}

/// `true` or `false`.
#[inline]
pub(crate) fn text_bool(text: &[u8]) -> Option<bool> {
    match text {
        b"true" => Some(true),
        b"false" => Some(false),
        _ => None,
    }
}

/// `YYYY-MM-DD`.
#[inline]
pub(crate) fn text_date(text: &[u8]) -> Option<i32> {
    (text.len() == 10).then(|| time::date(text)).flatten()
}

/// A date and a time to the second or up to the microsecond, with a `T` or a space between. Where
/// an offset from UTC is told it is 0: others would be lost.
#[inline]
pub(crate) fn text_timestamp(text: &[u8]) -> Option<(Written, i64)> {
    if text.get(4) != Some(&b'-') || text.get(16) != Some(&b':') {
        return None;
    }
    let written = time::timestamp(text)?;
    let value = written.to_unit(TimeUnit::Microsecond)?;
    matches!(written.offset, None | Some(0)).then_some((written, value))
}

/// Reads what comes back as it was written.
pub(crate) struct Exact<P>(pub(crate) P);

/// JSON numbers have a value, however they are written; strings are no numbers.
macro_rules! exact {
    ($parse:ty, $native:ty, |$self:ident, $number:ident, $text:ident| $json:expr, $alone:expr) => {
        impl Parse for Exact<$parse> {
            type Arrow = <$parse as Parse>::Arrow;

            #[inline]
            fn json(
                &$self,
                cursor: &mut Cursor<'_>,
                data_type: &DataType,
            ) -> Result<$native, Fault> {
                if let Some(b'0'..=b'9' | b'-') = cursor.peek() {
                    let ($number, $text) = cursor.number()?;
                    return $json.ok_or_else(|| Fault::changed($text, data_type));
                }
                Err(Fault::changed(cursor.raw()?, data_type))
            }

            #[inline]
            fn text(&$self, $text: &[u8], data_type: &DataType) -> Result<$native, Fault> {
                let value = match Number::text($text) {
                    Some($number) => $alone,
                    None => None,
                };
                value.ok_or_else(|| Fault::changed($text, data_type))
            }
        }
    };
}

exact!(
    Int<Int64Type>,
    i64,
    |self, number, text| {
        match number.integer && number.exact && !loses_sign(number) {
            true => super::number::Integer::from_parts(number.negative, number.mantissa),
            false => json_decimal(number, text, 38, 0).and_then(|value| value.try_into().ok()),
        }
    },
    text_int(number, text)
);

exact!(
    Float64,
    f64,
    |self, number, text| float(number, text),
    text_float(number, text)
);

exact!(
    Decimal128,
    i128,
    |self, number, text| json_decimal(number, text, self.0.precision, self.0.scale),
    text_decimal(number, text, self.0.precision, self.0.scale)
);

impl Parse for Exact<Date> {
    type Arrow = Date32Type;

    fn text(&self, text: &[u8], data_type: &DataType) -> Result<i32, Fault> {
        text_date(text).ok_or_else(|| Fault::changed(text, data_type))
    }
}

impl Parse for Exact<Timestamp<TimestampMicrosecondType>> {
    type Arrow = TimestampMicrosecondType;

    #[inline]
    fn text(&self, text: &[u8], data_type: &DataType) -> Result<i64, Fault> {
        match text_timestamp(text) {
            Some((written, value)) if written.offset.is_some() == (self.0.zone != Zone::Naive) => {
                Ok(value)
            }
            _ => Err(Fault::changed(text, data_type)),
        }
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn number(text: &str) -> (Number, f64) {
        let number = Number::text(text.as_bytes()).unwrap();
        (number, number.to_f64(text.as_bytes()).unwrap())
    }

    proptest! {
        #[test]
        fn what_is_taken_for_the_shortest_text_is_it(
            mantissa in prop_oneof![any::<u64>(), 0..10_000_000_000_000_000_u64, 4_503_599_627_370_000..9_007_199_254_741_000_u64],
            exponent in -345..292_i32,
        ) {
            let text = format!("{mantissa}e{exponent}");
            let number = Number::text(text.as_bytes()).unwrap();
            // Some are greater than all doubles.
            if let Some(value) = number.to_f64(text.as_bytes())
                && is_shortest(number, value)
            {
                prop_assert!(holds(value, text.as_bytes()), "{}", text);
            }
        }

        #[test]
        fn floats_come_back(value in any::<f64>().prop_filter("finite", |value| value.is_finite())) {
            // Not by Rust's own formatting, which writes ...3.3 for 2042321406712193.25, where JavaScript,
            // Python and most others take the even one of two digits that are as near.
            let mut buffer = zmij::Buffer::new();
            let text = buffer.format_finite(value);
            let (number, _) = number(text);
            prop_assert_eq!(float(number, text.as_bytes()).map(f64::to_bits), Some(value.to_bits()));
        }
    }

    #[test]
    fn up_to_fifteen_digits_are_sure() {
        for text in [
            "0.1",
            "123456789.012345",
            "999999999999999",
            "1.5e-7",
            "4.5035996273704e-300",
        ] {
            let (number, value) = number(text);
            assert!(is_shortest(number, value), "{text}");
        }
    }
}
