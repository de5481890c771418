//! Numbers as text: to integers, floats and decimals, exactly or not at all.

use arrow_buffer::i256;

/// A number as it is written: `± mantissa × 10^exponent`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Number {
    pub(crate) negative: bool,
    /// The significant digits, if there are at most 19.
    pub(crate) mantissa: u64,
    pub(crate) exponent: i32,
    /// Whether `mantissa` holds all digits. If not, only the text does.
    pub(crate) exact: bool,
    /// Whether it was written without a point and an exponent.
    pub(crate) integer: bool,
    /// Whether it was written with an exponent.
    pub(crate) scientific: bool,
}

impl Number {
    /// The number at the beginning of JSON text, and its length.
    #[inline]
    pub(crate) fn json(text: &[u8]) -> Option<(Self, usize)> {
        Self::lex::<true>(text)
    }

    /// A number alone, as people write it: a `+`, leading zeros and an open point are fine.
    pub(crate) fn text(text: &[u8]) -> Option<Self> {
        Self::lex::<false>(text)
            .filter(|(_, length)| *length == text.len())
            .map(|(number, _)| number)
    }

    #[inline]
    fn lex<const JSON: bool>(text: &[u8]) -> Option<(Self, usize)> {
        let byte = |at: usize| text.get(at).copied().unwrap_or(0);
        let negative = byte(0) == b'-';
        let start = usize::from(negative || (!JSON && byte(0) == b'+'));
        let mut mantissa = 0u64;
        let mut at = start;
        while let digit @ 0..=9 = byte(at).wrapping_sub(b'0') {
            mantissa = mantissa.wrapping_mul(10).wrapping_add(u64::from(digit));
            at += 1;
        }
        let whole = at - start;
        if JSON && (whole == 0 || (whole > 1 && text[start] == b'0')) {
            return None;
        }
        let next = byte(at);
        if next != b'.' && next | 0x20 != b'e' {
            let exact = whole <= 19 || !overlong(&text[start..at]);
            let number = Self {
                negative,
                mantissa,
                exponent: 0,
                exact,
                integer: true,
                scientific: false,
            };
            return (whole > 0).then_some((number, at));
        }
        Self::lex_rest::<JSON>(text, negative, mantissa, start, at)
    }

    /// Resumes at the point or exponent at `at`.
    #[inline]
    fn lex_rest<const JSON: bool>(
        text: &[u8],
        negative: bool,
        mut mantissa: u64,
        start: usize,
        mut at: usize,
    ) -> Option<(Self, usize)> {
        let byte = |at: usize| text.get(at).copied().unwrap_or(0);
        let whole = at - start;
        let mut exponent = 0i32;
        let mut digits = whole;
        if byte(at) == b'.' {
            at += 1;
            let point = at;
            while let digit @ 0..=9 = byte(at).wrapping_sub(b'0') {
                mantissa = mantissa.wrapping_mul(10).wrapping_add(u64::from(digit));
                at += 1;
            }
            let fraction = at - point;
            if (JSON && fraction == 0) || whole + fraction == 0 {
                return None;
            }
            digits += fraction;
            exponent = -i32::try_from(fraction).ok()?;
        } else if whole == 0 {
            return None;
        }
        let exact = digits <= 19 || !overlong(&text[start..at]);
        let scientific = byte(at) | 0x20 == b'e';
        if scientific {
            let sign = at + 1;
            let minus = byte(sign) == b'-';
            at = sign + usize::from(minus || byte(sign) == b'+');
            let first = at;
            let mut power = 0i32;
            while let digit @ 0..=9 = byte(at).wrapping_sub(b'0') {
                power = power.saturating_mul(10).saturating_add(i32::from(digit));
                at += 1;
            }
            if at == first {
                return None;
            }
            exponent = exponent.saturating_add(if minus { -power } else { power });
        }
        Some((
            Self {
                negative,
                mantissa,
                exponent,
                exact,
                integer: false,
                scientific,
            },
            at,
        ))
    }

    /// Its value as an integer, if it is one that fits into 128 bits. `text` is what it was
    /// made of.
    pub(crate) fn to_i128(self, text: &[u8]) -> Option<i128> {
        self.scaled(text, 0)?.to_i128()
    }

    /// Its value times `10^scale`, if that is an integer of at most 76 digits.
    pub(crate) fn scaled(self, text: &[u8], scale: i32) -> Option<i256> {
        let (digits, exponent) = if self.exact {
            (i256::from_i128(i128::from(self.mantissa)), self.exponent)
        } else {
            self.long_digits(text)?
        };
        let value = if digits == i256::ZERO {
            i256::ZERO
        } else {
            let shift = exponent.checked_add(scale)?;
            let factor = i256::from_i128(10).checked_pow(shift.unsigned_abs())?;
            if shift >= 0 {
                digits.checked_mul(factor)?
            } else {
                (digits.checked_rem(factor)? == i256::ZERO)
                    .then(|| digits.checked_div(factor))??
            }
        };
        Some(if self.negative {
            value.wrapping_neg()
        } else {
            value
        })
    }

    /// More digits than a mantissa has: they are cut of zeros at the end and read again.
    fn long_digits(self, text: &[u8]) -> Option<(i256, i32)> {
        let end = text
            .iter()
            .position(|byte| byte | 0x20 == b'e')
            .unwrap_or(text.len());
        let digits: Vec<u8> = text[..end]
            .iter()
            .copied()
            .filter(u8::is_ascii_digit)
            .collect();
        let zeros = digits
            .iter()
            .rev()
            .take_while(|digit| **digit == b'0')
            .count();
        let significant = &digits[..digits.len() - zeros];
        if significant
            .iter()
            .skip_while(|digit| **digit == b'0')
            .count()
            > 76
        {
            return None;
        }
        let ten = i256::from_i128(10);
        let mut value = i256::ZERO;
        for digit in significant {
            let digit = i256::from_i128(i128::from(digit - b'0'));
            value = value.wrapping_mul(ten).wrapping_add(digit);
        }
        Some((
            value,
            self.exponent.checked_add(i32::try_from(zeros).ok()?)?,
        ))
    }

    /// The nearest float, by the short way where that is exact (Clinger's: both factors are whole
    /// numbers that a float holds, so one rounding is made), else by the library's.
    #[inline]
    pub(crate) fn to_f64(self, text: &[u8]) -> Option<f64> {
        const EXACT: u64 = 1 << 53;
        if self.exact && self.mantissa <= EXACT && self.exponent.unsigned_abs() <= 22 {
            #[expect(clippy::cast_precision_loss, reason = "at most 2^53")]
            let mantissa = self.mantissa as f64;
            let power = POWERS[self.exponent.unsigned_abs() as usize];
            let value = if self.exponent < 0 {
                mantissa / power
            } else {
                mantissa * power
            };
            return Some(if self.negative { -value } else { value });
        }
        std::str::from_utf8(text)
            .ok()?
            .parse()
            .ok()
            .filter(|value: &f64| value.is_finite())
    }
}

/// Whether there are more than 19 digits, zeros at the beginning not counted.
#[cold]
fn overlong(text: &[u8]) -> bool {
    text.iter()
        .filter(|byte| byte.is_ascii_digit())
        .skip_while(|digit| **digit == b'0')
        .count()
        > 19
}

const POWERS: [f64; 23] = [
    1e0, 1e1, 1e2, 1e3, 1e4, 1e5, 1e6, 1e7, 1e8, 1e9, 1e10, 1e11, 1e12, 1e13, 1e14, 1e15, 1e16,
    1e17, 1e18, 1e19, 1e20, 1e21, 1e22,
];

/// An integer type of Arrow.
pub(crate) trait Integer: Sized {
    /// From a sign and a magnitude; `None` if it doesn't fit.
    fn from_parts(negative: bool, magnitude: u64) -> Option<Self>;
    /// From a wide integer; `None` if it doesn't fit.
    fn from_wide(value: i128) -> Option<Self>;
}

macro_rules! integers {
    ($($type:ty)*) => {$(
        impl Integer for $type {
            #[inline]
            fn from_parts(negative: bool, magnitude: u64) -> Option<Self> {
                if negative {
                    Self::try_from(0i64.checked_sub_unsigned(magnitude)?).ok()
                } else {
                    Self::try_from(magnitude).ok()
                }
            }

            fn from_wide(value: i128) -> Option<Self> {
                Self::try_from(value).ok()
            }
        }
    )*};
}

integers!(i8 i16 i32 i64 u8 u16 u32 u64);
