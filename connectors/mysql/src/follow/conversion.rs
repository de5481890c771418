//! Values as the binlog stores them, written as the binary protocol sends them: which way fits a
//! column and what is stored.

use std::borrow::Cow;

use tidegate_core::{Error, Result};

use super::bytes::{Broken, Bytes, put_counted, put_length, put_measured};
use super::charset::Charset;
use super::event::inflate;
use super::map::MapColumn;
use super::stored::Stored;
use super::{json, values};
use crate::types::{Column, Declared, Type};

/// The most bytes of a value that came compressed: no server takes a longer one from anybody (its
/// largest `max_allowed_packet`).
const MOST: usize = 1 << 30;

/// How a stored value is written.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Conversion {
    /// As the way it is stored says by itself.
    Plain,
    /// A MEDIUMINT with a sign.
    Signed,
    /// Spaces at the end of a text may be padding.
    Text {
        charset: Charset,
        padded: bool,
    },
    /// Bytes, filled up with zeros.
    Filled,
    /// MariaDB's COMPRESSED columns.
    Compressed {
        charset: Charset,
    },
    Uuid,
    Inet4,
    Inet6,
    Json,
    Enum(Vec<String>),
    Set(Vec<String>),
}

impl Conversion {
    /// The way from what is stored to what the column is; `None` if what is stored is not of the
    /// column's type.
    ///
    /// Errors: `Unsupported` for what can't be read from the binlog at all.
    pub(super) fn of(column: &Column, map: &MapColumn) -> Result<Option<Self>> {
        if map.nullable && !column.nullable {
            return Ok(None);
        }
        let plain = |fits: bool| fits.then_some(Self::Plain);
        // Before binlog_row_metadata there was no way to tell.
        let signed = |unsigned: bool| map.unsigned.is_none_or(|told| told == unsigned);
        Ok(match (column.kind, map.stored) {
            (Type::Bool, Stored::Tiny) => plain(signed(false)),
            (Type::TinyInt { unsigned }, Stored::Tiny)
            | (Type::SmallInt { unsigned }, Stored::Short)
            | (
                Type::MediumInt {
                    unsigned: unsigned @ true,
                },
                Stored::Int24,
            )
            | (Type::Int { unsigned }, Stored::Long)
            | (Type::BigInt { unsigned }, Stored::LongLong) => plain(signed(unsigned)),
            (Type::MediumInt { unsigned: false }, Stored::Int24) => {
                signed(false).then_some(Self::Signed)
            }
            (Type::Decimal { precision, scale }, Stored::Decimal { .. }) => {
                plain(map.stored == Stored::Decimal { precision, scale })
            }
            (Type::Bit { bits }, Stored::Bit { bits: stored }) => plain(bits == stored),
            (Type::Float, Stored::Float)
            | (Type::Double, Stored::Double)
            | (Type::Year, Stored::Year)
            | (Type::Date, Stored::Date)
            | (Type::Time { fraction: 0 }, Stored::OldTime)
            | (Type::DateTime { fraction: 0 }, Stored::OldDateTime)
            | (Type::Timestamp { fraction: 0 }, Stored::OldTimestamp)
            | (Type::Geometry, Stored::Geometry { .. })
            | (Type::Binary, Stored::Vector { .. }) => plain(true),
            (Type::Time { fraction }, Stored::Time { fraction: stored })
            | (Type::DateTime { fraction }, Stored::DateTime { fraction: stored })
            | (Type::Timestamp { fraction }, Stored::Timestamp { fraction: stored }) => {
                plain(fraction == stored)
            }
            (Type::Json, Stored::Json { .. }) => Some(Self::Json),
            (Type::Uuid, Stored::Fixed { most: 16 }) => Some(Self::Uuid),
            (Type::Inet4, Stored::Fixed { most: 4 }) => Some(Self::Inet4),
            (Type::Inet6, Stored::Fixed { most: 16 }) => Some(Self::Inet6),
            (
                Type::Text | Type::Json,
                Stored::Varying { .. } | Stored::Fixed { .. } | Stored::Blob { .. },
            ) => {
                let charset = charset(column, map)?;
                let padded = matches!(map.stored, Stored::Fixed { .. });
                (charset != Charset::Binary).then_some(Self::Text { charset, padded })
            }
            (
                Type::Text | Type::Json,
                Stored::CompressedVarying { .. } | Stored::CompressedBlob { .. },
            ) => {
                let charset = charset(column, map)?;
                (charset != Charset::Binary).then_some(Self::Compressed { charset })
            }
            (Type::Binary, _) if !is_binary(map) => None,
            (Type::Binary, Stored::CompressedVarying { .. } | Stored::CompressedBlob { .. }) => {
                let charset = Charset::Binary;
                Some(Self::Compressed { charset })
            }
            (Type::Binary, Stored::Varying { .. } | Stored::Blob { .. }) => plain(true),
            (Type::Binary, Stored::Fixed { .. }) => Some(Self::Filled),
            (Type::Enum, Stored::Enum { .. }) => members_of(column, map)?.map(Self::Enum),
            (Type::Set, Stored::Set { .. }) => members_of(column, map)?.map(Self::Set),
            _ => None,
        })
    }

    /// Writes a value that is stored so.
    pub(super) fn write(
        &self,
        stored: Stored,
        value: &[u8],
        out: &mut Vec<u8>,
    ) -> Result<(), Broken> {
        match self {
            Self::Plain => plain(stored, value, out)?,
            Self::Signed => {
                let negative = value.last().is_some_and(|byte| byte & 0x80 != 0);
                out.extend_from_slice(value);
                out.push(if negative { 0xFF } else { 0 });
            }
            Self::Text {
                charset: Charset::Utf8,
                padded: false,
            } => put_counted(out, value),
            Self::Text { charset, padded } => put_measured(out, |out| {
                let start = out.len();
                charset.write(value, out)?;
                while *padded && out.len() > start && out.last() == Some(&b' ') {
                    out.pop();
                }
                Ok(())
            })?,
            Self::Filled => {
                let Stored::Fixed { most } = stored else {
                    return Err(Broken);
                };
                let length = value.len().max(most.into());
                put_length(out, length);
                out.extend_from_slice(value);
                out.resize(out.len() + length - value.len(), 0);
            }
            Self::Compressed { charset } => {
                let value = match value {
                    [] => Cow::Borrowed(&[][..]),
                    // Too short to be worth it.
                    [0, value @ ..] => Cow::Borrowed(value),
                    compressed => Cow::Owned(inflate(compressed, MOST).map_err(|_| Broken)?),
                };
                put_measured(out, |out| charset.write(&value, out))?;
            }
            Self::Uuid => values::uuid(&padded::<16>(value)?, out)?,
            Self::Inet4 => values::inet4(&padded::<4>(value)?, out)?,
            Self::Inet6 => values::inet6(&padded::<16>(value)?, out)?,
            Self::Json => put_measured(out, |out| json::write(value, out))?,
            Self::Enum(members) => {
                // 0 is what became of a value that is no member; the server prints it as nothing.
                let number = Bytes(value).uint(value.len())?;
                let index = usize::try_from(number).map_err(|_| Broken)?;
                let member = match index.checked_sub(1) {
                    None => "",
                    Some(at) => members.get(at).ok_or(Broken)?,
                };
                put_counted(out, member.as_bytes());
            }
            Self::Set(members) => {
                let bits = Bytes(value).uint(value.len())?;
                put_measured(out, |out| put_set(bits, members, out))?;
            }
        }
        Ok(())
    }
}

/// Writes a value of which nothing need be known but how it is stored.
fn plain(stored: Stored, value: &[u8], out: &mut Vec<u8>) -> Result<(), Broken> {
    let mut bytes = Bytes(value);
    match stored {
        Stored::Tiny
        | Stored::Short
        | Stored::Long
        | Stored::LongLong
        | Stored::Float
        | Stored::Double => out.extend_from_slice(value),
        Stored::Int24 => {
            out.extend_from_slice(value);
            out.push(0);
        }
        Stored::Year => {
            let year = match bytes.u8()? {
                0 => 0,
                since => 1900 + u16::from(since),
            };
            out.extend_from_slice(&year.to_le_bytes());
        }
        Stored::Date => values::date(&mut bytes, out)?,
        Stored::OldTime => values::old_time(&mut bytes, out)?,
        Stored::OldDateTime => values::old_datetime(&mut bytes, out)?,
        Stored::OldTimestamp => values::old_timestamp(&mut bytes, out)?,
        Stored::Time { fraction } => values::time(&mut bytes, fraction, out)?,
        Stored::DateTime { fraction } => values::datetime(&mut bytes, fraction, out)?,
        Stored::Timestamp { fraction } => values::timestamp(&mut bytes, fraction, out)?,
        Stored::Decimal { precision, scale } => {
            values::decimal(&mut bytes, precision, scale, out)?;
        }
        Stored::Bit { .. }
        | Stored::Varying { .. }
        | Stored::Blob { .. }
        | Stored::Geometry { .. }
        | Stored::Vector { .. } => put_counted(out, value),
        // These have ways of their own.
        Stored::Fixed { .. }
        | Stored::Json { .. }
        | Stored::Enum { .. }
        | Stored::Set { .. }
        | Stored::CompressedVarying { .. }
        | Stored::CompressedBlob { .. } => return Err(Broken),
    }
    Ok(())
}

fn padded<const N: usize>(value: &[u8]) -> Result<[u8; N], Broken> {
    let mut all = [0; N];
    all.get_mut(..value.len())
        .ok_or(Broken)?
        .copy_from_slice(value);
    Ok(all)
}

fn put_set(bits: u64, members: &[String], out: &mut Vec<u8>) -> Result<(), Broken> {
    let start = out.len();
    for at in 0..64 {
        if bits >> at & 1 == 1 {
            if out.len() > start {
                out.push(b',');
            }
            out.extend_from_slice(members.get(at).ok_or(Broken)?.as_bytes());
        }
    }
    Ok(())
}

fn is_binary(stored: &MapColumn) -> bool {
    stored.collation.is_none_or(|collation| collation == 63)
}

/// Whether it is a text, as far as the map tells.
pub(super) fn is_text(stored: &MapColumn) -> bool {
    stored.collation.is_none_or(|collation| collation != 63)
}

fn charset(column: &Column, stored: &MapColumn) -> Result<Charset> {
    let charset = match (stored.collation, column.charset.as_deref()) {
        (Some(collation), _) => Charset::of_collation(collation),
        (None, Some(name)) => Charset::named(name),
        (None, None) => Some(Charset::Utf8),
    };
    charset.ok_or_else(|| unknown_charset(column))
}

/// The error for a character set that only the server can convert.
pub(super) fn unknown_charset(column: &Column) -> Error {
    let charset = column.charset.as_deref().unwrap_or("unknown to us");
    Error::unsupported("a column's character set can't be read from the binary log")
        .with("column", &column.name)
        .with("charset", charset)
        .hint(
            "convert the column to utf8mb4, or leave it out by `columns`; not read are armscii8, cp850, \
             cp852, dec8, geostd8, hp8, keybcs2, macce and swe7",
        )
}

/// The members of an ENUM or SET, from the definition; `None` if the map has others.
fn members_of(column: &Column, stored: &MapColumn) -> Result<Option<Vec<String>>> {
    let members = Declared::parse(&column.declared).members;
    match told_members(column, stored)? {
        Some(told) if members.as_ref() != Some(&told) => Ok(None),
        _ => members.map(Some).ok_or_else(|| {
            Error::unsupported("the members of a column can't be read from its declaration")
                .with("column", &column.name)
                .with("type", &column.declared)
        }),
    }
}

pub(super) fn told_members(column: &Column, stored: &MapColumn) -> Result<Option<Vec<String>>> {
    let Some(members) = &stored.members else {
        return Ok(None);
    };
    let charset = match stored.member_collation {
        Some(collation) => Charset::of_collation(collation),
        None => Some(Charset::Utf8),
    };
    let charset = charset.ok_or_else(|| unknown_charset(column))?;
    let mut texts = Vec::with_capacity(members.len());
    for member in members {
        let mut text = Vec::new();
        let read = charset.write(member, &mut text).ok();
        let text = read.and_then(|()| String::from_utf8(text).ok());
        texts.push(text.ok_or_else(|| unknown_charset(column))?);
    }
    Ok(Some(texts))
}
