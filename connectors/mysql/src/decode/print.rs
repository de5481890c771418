//! Single values: as the server prints them, as JSON, as literals of SQL. For what is rare: rejected
//! rows, resumes.

use std::fmt::Write as _;

use serde_json::Value;
use tidegate_core::{Error, Result};

use super::date::{Moment, Span};
use super::number::bits;
use super::read::{NOWHERE, fixed, run};
use crate::sql;
use crate::types::{Column, Declared, Type};

/// Moves on over a value.
pub(super) fn skip(kind: Type) -> fn(&[u8], &mut usize) {
    fn over<const N: usize>(bytes: &[u8], at: &mut usize) {
        fixed::<N>(bytes, at);
    }
    match kind {
        Type::Bool | Type::TinyInt { .. } => over::<1>,
        Type::SmallInt { .. } | Type::Year => over::<2>,
        Type::MediumInt { .. } | Type::Int { .. } | Type::Float => over::<4>,
        Type::BigInt { .. } | Type::Double => over::<8>,
        // Dates and times carry their length as texts do.
        _ => |bytes, at| {
            run(bytes, at);
        },
    }
}

/// One value of a row.
#[derive(Debug, Clone, PartialEq)]
pub(super) enum Cell<'a> {
    Null,
    Int(i64),
    Unsigned(u64),
    Float(f64),
    /// A decimal, a date or a time, as the server prints it.
    Printed(String),
    Text(&'a [u8]),
    Bytes(&'a [u8]),
}

impl<'a> Cell<'a> {
    fn take(kind: Type, bytes: &'a [u8], at: &mut usize) -> Self {
        match kind {
            Type::Bool | Type::TinyInt { unsigned: false } => {
                Self::Int(i8::from_le_bytes(fixed(bytes, at)).into())
            }
            Type::TinyInt { unsigned: true } => {
                Self::Unsigned(u8::from_le_bytes(fixed(bytes, at)).into())
            }
            Type::SmallInt { unsigned: false } => {
                Self::Int(i16::from_le_bytes(fixed(bytes, at)).into())
            }
            Type::SmallInt { unsigned: true } => {
                Self::Unsigned(u16::from_le_bytes(fixed(bytes, at)).into())
            }
            Type::MediumInt { unsigned: false } | Type::Int { unsigned: false } => {
                Self::Int(i32::from_le_bytes(fixed(bytes, at)).into())
            }
            Type::MediumInt { unsigned: true } | Type::Int { unsigned: true } => {
                Self::Unsigned(u32::from_le_bytes(fixed(bytes, at)).into())
            }
            Type::BigInt { unsigned: false } => Self::Int(i64::from_le_bytes(fixed(bytes, at))),
            Type::BigInt { unsigned: true } => Self::Unsigned(u64::from_le_bytes(fixed(bytes, at))),
            Type::Float => Self::Float(f32::from_le_bytes(fixed(bytes, at)).into()),
            Type::Double => Self::Float(f64::from_le_bytes(fixed(bytes, at))),
            Type::Bit { .. } => bits(bytes, at).map_or(Self::Bytes(b""), Self::Unsigned),
            Type::Year => {
                let year = u16::from_le_bytes(fixed(bytes, at));
                Self::Printed(format!("{year:04}"))
            }
            Type::Date | Type::DateTime { .. } | Type::Timestamp { .. } => {
                let mut text = String::new();
                print_moment(kind, Moment::take(bytes, at), &mut text);
                Self::Printed(text)
            }
            Type::Time { fraction } => Self::Printed(print_span(Span::take(bytes, at), fraction)),
            Type::Decimal { .. } => {
                Self::Printed(String::from_utf8_lossy(run(bytes, at)).into_owned())
            }
            Type::Binary | Type::Geometry => Self::Bytes(run(bytes, at)),
            Type::Text
            | Type::Enum
            | Type::Set
            | Type::Json
            | Type::Uuid
            | Type::Inet4
            | Type::Inet6 => Self::Text(run(bytes, at)),
        }
    }

    fn json(&self) -> Value {
        match self {
            Self::Null => Value::Null,
            Self::Int(number) => (*number).into(),
            Self::Unsigned(number) => (*number).into(),
            // There are no others in a database.
            Self::Float(number) => (*number).into(),
            Self::Printed(text) => text.as_str().into(),
            Self::Text(bytes) => String::from_utf8_lossy(bytes).into(),
            Self::Bytes(bytes) => hex_literal(bytes).into(),
        }
    }

    /// As a sentence shows it.
    pub(super) fn shown(&self) -> String {
        match self {
            Self::Text(bytes) if std::str::from_utf8(bytes).is_err() => hex_literal(bytes),
            cell => match cell.json() {
                Value::String(text) => text,
                other => other.to_string(),
            },
        }
    }
}

/// All values of a row, in the order of its columns.
pub(super) fn cells<'a>(row: &'a [u8], columns: &[Column]) -> Result<Vec<Cell<'a>>> {
    let mut at = 1 + (columns.len() + 2).div_ceil(8);
    let mut cells = Vec::with_capacity(columns.len());
    for (number, column) in columns.iter().enumerate() {
        let bit = number + 2;
        let null = row
            .get(1 + bit / 8)
            .is_none_or(|bits| bits >> (bit % 8) & 1 == 1);
        cells.push(match null {
            true => Cell::Null,
            false => Cell::take(column.kind, row, &mut at),
        });
        if at == NOWHERE {
            return Err(super::block::broken());
        }
    }
    Ok(cells)
}

/// A row as JSON: its columns' names, and the values as the server prints them; bytes as hex digits.
pub(super) fn json(cells: &[Cell<'_>], columns: &[Column]) -> String {
    let values = columns
        .iter()
        .zip(cells)
        .map(|(column, cell)| (column.name.clone(), cell.json()));
    Value::Object(values.collect()).to_string()
}

/// A value as a literal that stands where the value stands in the order of an index.
///
/// A text is compared by its column's collation: a literal gives way to a column, and what came from
/// the column's character set goes back into it. Dates and times are written as texts, which also
/// those that no calendar has can be. An ENUM sorts by its number.
///
/// Errors: `Unsupported` for a NULL, or a type of which no key is made.
pub(super) fn literal(cell: &Cell<'_>, column: &Column) -> Result<String> {
    let unusable = || {
        Error::unsupported("a value of this column can't be a position to resume from")
            .with("column", &column.name)
            .with("type", &column.declared)
            .with("value", cell.shown())
    };
    match (column.kind, cell) {
        (Type::Float | Type::Double | Type::Set | Type::Json | Type::Geometry, _) => {
            Err(unusable())
        }
        (_, Cell::Null | Cell::Float(_)) => Err(unusable()),
        (_, Cell::Int(number)) => Ok(number.to_string()),
        (_, Cell::Unsigned(number)) => Ok(number.to_string()),
        (Type::Year | Type::Decimal { .. }, Cell::Printed(number)) => Ok(number.clone()),
        (_, Cell::Printed(text)) => Ok(format!("'{text}'")),
        (Type::Enum, Cell::Text(bytes)) => {
            let members = Declared::parse(&column.declared)
                .members
                .ok_or_else(unusable)?;
            let number = members
                .iter()
                .position(|member| member.as_bytes() == *bytes);
            match number {
                Some(number) => Ok((number + 1).to_string()),
                // What was no member when it was written.
                None if bytes.is_empty() => Ok("0".to_owned()),
                None => Err(unusable()),
            }
        }
        (_, Cell::Text(bytes)) => Ok(format!("_utf8mb4 {}", sql::bytes(bytes))),
        (_, Cell::Bytes(bytes)) => Ok(format!("_binary {}", sql::bytes(bytes))),
    }
}

/// A date or a date and time, as the server prints it.
pub(super) fn print_moment(kind: Type, moment: Moment, out: &mut String) {
    let Moment {
        year,
        month,
        day,
        hour,
        minute,
        second,
        micros,
    } = moment;
    // Writing into a String can't fail.
    let _ = write!(out, "{year:04}-{month:02}-{day:02}");
    if let Type::DateTime { fraction } | Type::Timestamp { fraction } = kind {
        let _ = write!(out, " {hour:02}:{minute:02}:{second:02}");
        print_fraction(micros, fraction, out);
    }
}

fn print_span(span: Span, fraction: u8) -> String {
    let mut out = String::new();
    let Span {
        negative,
        hours,
        minute,
        second,
        micros,
    } = span;
    let sign = if negative { "-" } else { "" };
    let _ = write!(out, "{sign}{hours:02}:{minute:02}:{second:02}");
    print_fraction(micros, fraction, &mut out);
    out
}

fn print_fraction(micros: u32, digits: u8, out: &mut String) {
    if digits > 0 {
        let _ = write!(out, ".{micros:06}");
        out.truncate(out.len() - 6 + usize::from(digits.min(6)));
    }
}

fn hex_literal(bytes: &[u8]) -> String {
    format!("0x{}", hex::encode_upper(bytes))
}
