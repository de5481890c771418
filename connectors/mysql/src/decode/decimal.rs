//! Decimals: they come as texts, also in the binary protocol.

use arrow_buffer::i256;

use super::block::Fault;
use super::read::{peek, run};

/// `'0'` in each byte.
const ZEROS: u128 = u128::from_le_bytes([b'0'; 16]);

/// What is known of a column's decimals.
#[derive(Debug, Clone, Copy)]
pub(super) struct Decimal {
    scale: usize,
    precision: usize,
    /// What no value of up to 16 digits may reach.
    limit: u64,
}

impl Decimal {
    pub(super) fn new(precision: u8, scale: u8) -> Self {
        Self {
            scale: scale.into(),
            precision: precision.into(),
            limit: 10_u64.pow(precision.min(19).into()),
        }
    }

    /// Takes a decimal of at most 38 digits.
    #[inline(always)]
    pub(super) fn small(self, bytes: &[u8], at: &mut usize) -> Result<i128, Fault> {
        let text = run(bytes, at);
        match self.short(bytes, *at, text) {
            Some(value) => Ok(value.into()),
            None => self
                .any(text)
                .and_then(|value| value.to_i128().ok_or(Fault::TooManyDigits)),
        }
    }

    /// Takes a decimal of any size.
    pub(super) fn large(self, bytes: &[u8], at: &mut usize) -> Result<i256, Fault> {
        let text = run(bytes, at);
        match self.short(bytes, *at, text) {
            Some(value) => Ok(i256::from_i128(value.into())),
            None => self.any(text),
        }
    }

    /// Up to 16 digits, eight at once, if they stand as servers print them. `end`: where the text
    /// ends in `bytes`.
    #[inline(always)]
    fn short(self, bytes: &[u8], end: usize, text: &[u8]) -> Option<i64> {
        let negative = text.first() == Some(&b'-');
        let length = text.len() - usize::from(negative);
        let point = usize::from(self.scale > 0);
        let digits = length.checked_sub(point)?;
        if digits < self.scale.max(1) || digits > 16 {
            return None;
        }
        // The 16 bytes up to the end hold the fraction, those up to the point the rest: pushed
        // together, the point is gone.
        let mut all = u128::from_le_bytes(peek(bytes, end.checked_sub(16)?)?);
        if self.scale > 0 {
            let dot = end.checked_sub(self.scale + 1)?;
            if bytes.get(dot) != Some(&b'.') {
                return None;
            }
            let whole = u128::from_le_bytes(peek(bytes, dot.checked_sub(16)?)?);
            let fraction = 8 * self.scale;
            all = match fraction {
                128.. => all,
                _ => (all >> (128 - fraction) << (128 - fraction)) | (whole >> fraction),
            };
        }
        // What stands before the digits is none of ours.
        let [low, high] = halves((all ^ ZEROS) & (u128::MAX << (128 - 8 * digits)));
        if !(are_digits(low) && are_digits(high)) {
            return None;
        }
        // The first digits stand in the lower half.
        let value = eight(low) * 100_000_000 + eight(high);
        if value >= self.limit {
            return None;
        }
        let value = i64::try_from(value).ok()?;
        Some(if negative { -value } else { value })
    }

    /// Any decimal, also with fewer digits behind the point than the column has, or with more if
    /// they are zeros.
    #[cold]
    fn any(self, text: &[u8]) -> Result<i256, Fault> {
        let (negative, text) = match text {
            [b'-', rest @ ..] => (true, rest),
            [b'+', rest @ ..] => (false, rest),
            all => (false, all),
        };
        let (whole, fraction) = match text.iter().position(|byte| *byte == b'.') {
            Some(point) => (&text[..point], &text[point + 1..]),
            None => (text, &[][..]),
        };
        if whole.is_empty() && fraction.is_empty() {
            return Err(Fault::NotADecimal);
        }
        let kept = fraction.len().min(self.scale);
        if fraction[kept..].iter().any(|digit| *digit != b'0') {
            return Err(Fault::TooManyDigits);
        }
        let missing = std::iter::repeat_n(&b'0', self.scale - kept);
        let digits = whole.iter().chain(&fraction[..kept]).chain(missing);
        let mut value = i256::ZERO;
        // Seen from the first that isn't zero.
        let mut count = 0;
        let (mut group, mut power) = (0_i128, 1_i128);
        for digit in digits {
            let digit = digit.wrapping_sub(b'0');
            if digit > 9 {
                return Err(Fault::NotADecimal);
            }
            count += usize::from(count > 0 || digit > 0);
            group = group * 10 + i128::from(digit);
            power *= 10;
            if power == 10_i128.pow(37) {
                value = shifted(value, power, group).ok_or(Fault::TooManyDigits)?;
                (group, power) = (0, 1);
            }
        }
        if count > self.precision {
            return Err(Fault::TooManyDigits);
        }
        let value = shifted(value, power, group).ok_or(Fault::TooManyDigits)?;
        Ok(if negative {
            value.wrapping_neg()
        } else {
            value
        })
    }
}

fn shifted(value: i256, power: i128, group: i128) -> Option<i256> {
    value
        .checked_mul(i256::from_i128(power))?
        .checked_add(i256::from_i128(group))
}

#[inline(always)]
fn halves(all: u128) -> [u64; 2] {
    let bytes = all.to_le_bytes();
    let half = |from: usize| {
        let mut half = [0; 8];
        half.copy_from_slice(&bytes[from..from + 8]);
        u64::from_le_bytes(half)
    };
    [half(0), half(8)]
}

/// Whether each byte is at most 9.
#[inline(always)]
fn are_digits(word: u64) -> bool {
    ((word.wrapping_add(0x7676_7676_7676_7676)) | word) & 0x8080_8080_8080_8080 == 0
}

/// The number of eight digits, the first one in the lowest byte: neighbours are joined to numbers of
/// two digits, of four, of eight.
#[inline(always)]
fn eight(word: u64) -> u64 {
    let two = (word.wrapping_mul(10 << 8 | 1) >> 8) & 0x00FF_00FF_00FF_00FF;
    let four = (two.wrapping_mul(100 << 16 | 1) >> 16) & 0x0000_FFFF_0000_FFFF;
    four.wrapping_mul(10_000 << 32 | 1) >> 32
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    /// As it lies in a row, with bytes around it that are none of it.
    fn take(decimal: Decimal, text: &str, before: usize) -> Result<i128, Fault> {
        let mut bytes = vec![b'7'; before];
        bytes.push(u8::try_from(text.len()).unwrap());
        bytes.extend_from_slice(text.as_bytes());
        bytes.extend_from_slice(b"99");
        let mut at = before;
        let value = decimal.small(&bytes, &mut at);
        assert_eq!(at, before + 1 + text.len());
        let mut at = before;
        let large = decimal.large(&bytes, &mut at);
        assert_eq!(large, value.map(i256::from_i128));
        value
    }

    #[test]
    fn what_is_no_decimal_of_the_column_is_a_fault() {
        let decimal = Decimal::new(5, 2);
        for before in [3, 40] {
            for (text, value) in [
                ("1.25", Ok(125)),
                ("-0.00", Ok(0)),
                ("999.99", Ok(99_999)),
                ("1000.00", Err(Fault::TooManyDigits)),
                ("1.255", Err(Fault::TooManyDigits)),
                ("1.250", Ok(125)),
                ("1.5", Ok(150)),
                ("7", Ok(700)),
                ("+7", Ok(700)),
                (".5", Ok(50)),
                ("1,25", Err(Fault::NotADecimal)),
                ("1.2x", Err(Fault::NotADecimal)),
                ("x.25", Err(Fault::NotADecimal)),
                ("--1.2", Err(Fault::NotADecimal)),
                ("", Err(Fault::NotADecimal)),
                ("-", Err(Fault::NotADecimal)),
            ] {
                assert_eq!(
                    take(decimal, text, before),
                    value,
                    "{text} behind {before} bytes"
                );
            }
        }
    }

    proptest! {
        #[test]
        fn decimals_are_read_exactly(
            number in prop_oneof![any::<i64>().prop_map(i128::from), -(10_i128.pow(38) - 1)..10_i128.pow(38)],
            cut in 0..39_u32,
            scale in 0..=30_u8,
            before in 0..40_usize,
        ) {
            let number = number / 10_i128.pow(cut.min(37));
            let digits = format!("{:0width$}", number.abs(), width = usize::from(scale) + 1);
            let (whole, fraction) = digits.split_at(digits.len() - usize::from(scale));
            let point = if scale > 0 { "." } else { "" };
            let sign = if number < 0 { "-" } else { "" };
            let text = format!("{sign}{whole}{point}{fraction}");
            prop_assert_eq!(take(Decimal::new(38, scale), &text, before), Ok(number), "{}", text);
        }
    }
}
