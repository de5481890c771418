//! Lines of numbers on which the values of a column lie, so that there is a middle between two.

use chrono::{DateTime, NaiveDate, NaiveDateTime, TimeDelta};

use crate::sql;
use crate::types::Type;

/// How values and numbers belong together.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Line {
    Integer,
    /// Numbers without their point, and how many digits stand behind it.
    Decimal(u8),
    /// Days since 1970.
    Date,
    /// Microseconds since then.
    Time,
    /// The bytes behind those that both ends begin with.
    Bytes(Vec<u8>),
    /// The characters behind those that both ends begin with. `upper`: letters are upper-case ones.
    Text {
        prefix: String,
        upper: bool,
    },
}

/// A stretch of a line: the numbers after `from`, up to `to` and with it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Stretch {
    pub(super) line: Line,
    pub(super) from: i128,
    pub(super) to: i128,
}

/// Bytes that are looked at: as many as a positive number holds.
const BYTES: usize = 15;
/// The characters of a text that are looked at, and the digits that each is taken for: `-`, 0 to 9,
/// a to z. Whatever comes before these in ASCII is taken for the first, the rest for the last.
const CHARS: usize = 20;
const DIGITS: i128 = 37;

impl Stretch {
    /// The stretch from one literal to another, both in it; none if there is no line for the type.
    pub(super) fn between(kind: Type, low: &str, high: &str) -> Option<Self> {
        let line = match kind {
            Type::Bool | Type::Bit { .. } | Type::Year => Line::Integer,
            integer if integer.integer().is_some() => Line::Integer,
            Type::Decimal { scale, .. } => Line::Decimal(scale),
            Type::Date => Line::Date,
            Type::DateTime { .. } | Type::Timestamp { .. } => Line::Time,
            Type::Binary => {
                let (low, high) = (bytes(low)?, bytes(high)?);
                let same = low.iter().zip(&high).take_while(|(l, h)| l == h).count();
                Line::Bytes(low[..same].to_vec())
            }
            Type::Text => {
                let (low, high) = (text(low)?, text(high)?);
                let same = low.chars().zip(high.chars()).take_while(|(l, h)| l == h);
                let prefix: String = same.map(|(c, _)| c).collect();
                let letters = || low.chars().chain(high.chars());
                let upper = letters().any(|c| c.is_ascii_uppercase())
                    && !letters().any(|c| c.is_ascii_lowercase());
                Line::Text { prefix, upper }
            }
            _ => return None,
        };
        let (from, to) = (line.number(low)?.checked_sub(1)?, line.number(high)?);
        Some(Self { line, from, to })
    }

    /// The number that halves it; none if only one is in it.
    pub(super) fn middle(&self) -> Option<i128> {
        let size = self.to.checked_sub(self.from)?;
        (size >= 2).then(|| self.from + size / 2)
    }

    /// Both sides of a number, which itself is in the first.
    pub(super) fn cut(&self, at: i128) -> (Self, Self) {
        let (mut left, mut right) = (self.clone(), self.clone());
        left.to = at;
        right.from = at;
        (left, right)
    }
}

impl Line {
    /// Whether values follow one another at the server as numbers do here. Texts do so only nearly,
    /// so a place among them is to be looked up before it bounds anything.
    pub(super) fn is_exact(&self) -> bool {
        !matches!(self, Self::Text { .. })
    }

    fn number(&self, literal: &str) -> Option<i128> {
        match self {
            Self::Integer => integer(literal),
            Self::Decimal(scale) => {
                let (whole, fraction) = literal.split_once('.').unwrap_or((literal, ""));
                if fraction.len() > usize::from(*scale) {
                    return None;
                }
                let zeros = "0".repeat(usize::from(*scale) - fraction.len());
                format!("{whole}{fraction}{zeros}").parse().ok()
            }
            Self::Date => {
                let date: NaiveDate = quoted(literal)?.parse().ok()?;
                Some(
                    date.signed_duration_since(NaiveDate::default())
                        .num_days()
                        .into(),
                )
            }
            Self::Time => {
                let text = quoted(literal)?;
                let time = NaiveDateTime::parse_from_str(text, "%Y-%m-%d %H:%M:%S%.f").ok()?;
                Some(time.and_utc().timestamp_micros().into())
            }
            Self::Bytes(prefix) => {
                let bytes = bytes(literal)?;
                let mut rest = bytes.get(prefix.len()..)?.iter();
                Some((0..BYTES).fold(0, |number, _| {
                    number << 8 | i128::from(rest.next().copied().unwrap_or_default())
                }))
            }
            Self::Text { prefix, .. } => {
                let text = text(literal)?;
                let mut rest = text.strip_prefix(prefix.as_str())?.chars();
                Some((0..CHARS).fold(0, |number, _| {
                    number * DIGITS + rest.next().map_or(0, digit)
                }))
            }
        }
    }

    /// The literal of a number; none where the server has no such value.
    pub(super) fn literal(&self, number: i128) -> Option<String> {
        match self {
            Self::Integer => Some(number.to_string()),
            Self::Decimal(scale) => {
                let scale = usize::from(*scale);
                let digits = format!("{:0width$}", number.unsigned_abs(), width = scale + 1);
                let (whole, fraction) = digits.split_at(digits.len() - scale);
                let sign = if number < 0 { "-" } else { "" };
                let point = if scale > 0 { "." } else { "" };
                Some(format!("{sign}{whole}{point}{fraction}"))
            }
            Self::Date => {
                let days = TimeDelta::try_days(i64::try_from(number).ok()?)?;
                let date = NaiveDate::default().checked_add_signed(days)?;
                Some(format!("'{}'", date.format("%Y-%m-%d")))
            }
            Self::Time => {
                let time = DateTime::from_timestamp_micros(i64::try_from(number).ok()?)?;
                Some(format!("'{}'", time.format("%Y-%m-%d %H:%M:%S%.6f")))
            }
            Self::Bytes(prefix) => {
                let bytes = u128::try_from(number).ok()?.to_be_bytes();
                let mut all = prefix.clone();
                all.extend_from_slice(bytes.get(bytes.len() - BYTES..)?);
                Some(sql::bytes(&all))
            }
            Self::Text { prefix, upper } => {
                let mut rest = number;
                let mut chars = Vec::new();
                for _ in 0..CHARS {
                    chars.push(char_of(rest % DIGITS, *upper)?);
                    rest /= DIGITS;
                }
                let text: String = chars.into_iter().rev().collect();
                Some(sql::text(&format!(
                    "{prefix}{}",
                    text.trim_end_matches('-')
                )))
            }
        }
    }
}

fn digit(c: char) -> i128 {
    match c.to_ascii_lowercase() {
        c @ '0'..='9' => i128::from(u32::from(c) - u32::from('0')) + 1,
        c @ 'a'..='z' => i128::from(u32::from(c) - u32::from('a')) + 11,
        c if c < '0' => 0,
        _ => DIGITS - 1,
    }
}

fn char_of(digit: i128, upper: bool) -> Option<char> {
    let digit = u32::try_from(digit).ok()?;
    Some(match digit {
        0 => '-',
        1..=10 => char::from_digit(digit - 1, 10)?,
        _ => {
            let letter = char::from_digit(digit - 1, 36)?;
            if upper {
                letter.to_ascii_uppercase()
            } else {
                letter
            }
        }
    })
}

/// A number as it stands, or as the bits of `b'101'`.
fn integer(literal: &str) -> Option<i128> {
    match literal
        .strip_prefix("b'")
        .and_then(|rest| rest.strip_suffix('\''))
    {
        Some(bits) => i128::from_str_radix(bits, 2).ok(),
        None => literal.parse().ok(),
    }
}

/// What stands between the only two quotes.
fn quoted(literal: &str) -> Option<&str> {
    let (_, rest) = literal.split_once('\'')?;
    let (text, _) = rest.split_once('\'')?;
    Some(text)
}

/// The bytes of `X'00ff'`, whatever stands around it.
fn bytes(literal: &str) -> Option<Vec<u8>> {
    let (_, rest) = literal.split_once("X'")?;
    let (digits, _) = rest.split_once('\'')?;
    let digits: Option<Vec<_>> = digits.chars().map(|c| c.to_digit(16)).collect();
    let pairs = digits?;
    let pairs = pairs
        .chunks_exact(2)
        .map(|two| u8::try_from(two[0] << 4 | two[1]).ok());
    pairs.collect()
}

/// The text of `'it''s'` or of its bytes.
fn text(literal: &str) -> Option<String> {
    if literal.contains("X'") {
        return String::from_utf8(bytes(literal)?).ok();
    }
    let (_, rest) = literal.split_once('\'')?;
    let (text, _) = rest.rsplit_once('\'')?;
    Some(text.replace("''", "'"))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn middle(kind: Type, low: &str, high: &str) -> String {
        let stretch = Stretch::between(kind, low, high).unwrap();
        let middle = stretch.middle().unwrap();
        stretch.line.literal(middle).unwrap()
    }

    #[test]
    fn there_is_a_middle_between_two_values() {
        let int = Type::BigInt { unsigned: true };
        assert_eq!(
            middle(int, "1", "18446744073709551615"),
            "9223372036854775807"
        );
        assert_eq!(middle(int, "-9", "-2"), "-6");
        let decimal = Type::Decimal {
            precision: 10,
            scale: 2,
        };
        assert_eq!(middle(decimal, "-0.10", "0.05"), "-0.03");
        assert_eq!(middle(decimal, "1.00", "2.00"), "1.49");
        assert_eq!(
            middle(Type::Date, "'2020-01-01'", "'2020-01-31'"),
            "'2020-01-15'"
        );
        let time = Type::DateTime { fraction: 0 };
        assert_eq!(
            middle(time, "'2020-01-01 00:00:00'", "'2020-01-01 00:00:01'"),
            "'2020-01-01 00:00:00.499999'"
        );
        assert!(middle(Type::Binary, "X'ab00'", "X'ab80'").starts_with("X'ab3fff"));
        assert!(middle(Type::Text, "'user-0001'", "'user-0009'").starts_with("'user-0004z"));
        assert!(middle(Type::Text, "_utf8mb4 X'4141'", "_utf8mb4 X'5A41'").starts_with("'M"));
    }

    #[test]
    fn where_there_is_no_line_there_is_no_middle() {
        assert_eq!(
            Stretch::between(Type::Date, "'0000-00-00'", "'2020-01-01'"),
            None
        );
        assert_eq!(Stretch::between(Type::Uuid, "'a'", "'b'"), None);
        let one = Stretch::between(Type::Year, "2020", "2020").unwrap();
        assert_eq!(one.middle(), None);
    }
}
