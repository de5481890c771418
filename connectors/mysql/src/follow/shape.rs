//! What a table's definition and the map in the binlog say together: how rows are read.

use std::sync::Arc;

use arrow_schema::SchemaRef;
use tidegate_core::{Error, Result, Scan};

use super::charset::Charset;
use super::columns::{self, OP, POS, TS};
use super::image::{Conversion, LaidOut, Layout, fixed_width, length_width};
use super::map::{MapColumn, Stored, TableMap};
use crate::decode::Decoder;
use crate::discover::{Key, Table};
use crate::types::{Column, Mapping, Type};

/// How rows of a table are read, as long as its map stays the same.
#[derive(Debug)]
pub(super) struct Shape {
    pub(super) layout: Layout,
    /// Of the columns that are asked for; none if nobody asks for the stream.
    pub(super) out: Option<Out>,
}

/// What becomes of the rows.
#[derive(Debug)]
pub(super) struct Out {
    pub(super) decoder: Arc<Decoder>,
    /// The columns that are asked for.
    pub(super) schema: SchemaRef,
    pub(super) op: bool,
    pub(super) ts: bool,
    pub(super) pos: bool,
}

impl Out {
    /// How many of our columns are asked for.
    pub(super) fn ours(&self) -> usize {
        usize::from(self.op) + usize::from(self.ts) + usize::from(self.pos)
    }
}

/// How a map's columns and a definition's belong together: for each column of the map how it is
/// read, and which one of the table's it is; none if it is hidden from us.
#[derive(Debug)]
pub(super) struct Fit(Vec<(Conversion, Option<usize>)>);

/// Whether it is a column of MariaDB's system versioning, which the server lists nowhere unless the
/// user declared it.
fn is_hidden(stored: &MapColumn) -> bool {
    let name = stored.name.as_deref().unwrap_or_default();
    ["row_start", "row_end"]
        .iter()
        .any(|hidden| name.eq_ignore_ascii_case(hidden))
}

/// Sees whether a definition is that of a map.
///
/// Errors: `Unsupported` for what can't be read from the binlog at all.
pub(super) fn fit(table: &Table, map: &TableMap) -> Result<Option<Fit>> {
    let full = map.is_full();
    if !full && table.columns.len() != map.columns.len() {
        return Ok(None);
    }
    let mut values = Vec::with_capacity(map.columns.len());
    let mut found = 0;
    for (at, stored) in map.columns.iter().enumerate() {
        let column = match &stored.name {
            Some(name) if full => table.columns.iter().position(|c| c.name == *name),
            _ => Some(at),
        };
        let Some(column) = column else {
            if !is_hidden(stored) {
                return Ok(None);
            }
            values.push((skipped(stored)?, None));
            continue;
        };
        // In another order they are another schema.
        if column != found {
            return Ok(None);
        }
        found += 1;
        let Some(value) = value(&table.columns[column], stored)? else {
            return Ok(None);
        };
        values.push((value, Some(column)));
    }
    Ok((found == table.columns.len()).then_some(Fit(values)))
}

/// A definition made of what a map says, which must be full; what the map doesn't say (whether a
/// TINYINT is a truth value, a LONGTEXT a JSON) is taken from other definitions of the table.
pub(super) fn compose(map: &TableMap, others: &[&Table]) -> Result<Table> {
    let Some(last) = others.first() else {
        return Err(Error::internal("a table without any definition"));
    };
    let mut columns = Vec::with_capacity(map.columns.len());
    for stored in &map.columns {
        let name = stored.name.as_deref().unwrap_or_default();
        let mut known = others
            .iter()
            .filter_map(|table| table.columns.iter().find(|c| c.name == name));
        let fitting = known.find_map(|column| match value(column, stored) {
            Ok(Some(_)) => Some(column.clone()),
            _ => None,
        });
        match fitting {
            Some(column) => columns.push(column),
            None if is_hidden(stored) => {}
            None => columns.push(column(name, stored)?),
        }
    }
    let key = last.key.as_ref().map(|key| {
        let at = |column: &usize| {
            let name = &last.columns.get(*column)?.name;
            columns.iter().position(|column| column.name == *name)
        };
        let positions: Option<Vec<usize>> = key.columns.iter().map(at).collect();
        positions.map(|columns| Key {
            index: key.index.clone(),
            columns,
        })
    });
    let key = match key {
        Some(None) => {
            return Err(
                Error::unsupported("the key of a followed table was changed")
                    .with("table", &last.name)
                    .hint("start over with --restart"),
            );
        }
        Some(key) => key,
        None => None,
    };
    Ok(Table {
        columns,
        key,
        ..(*last).clone()
    })
}

impl Shape {
    /// How rows of `table` are read, and what is asked of them. `shown`: the columns of the stream.
    pub(super) fn new(
        table: &Table,
        fit: Fit,
        shown: &[Column],
        scan: Option<&Scan>,
        mapping: Mapping,
    ) -> Result<Self> {
        let key = table.key.iter().flat_map(|key| &key.columns);
        let key: Vec<usize> = key.copied().collect();
        let mut slots = vec![None; table.columns.len()];
        let mut out = None;
        if let Some(scan) = scan {
            let all = columns::schema(shown, mapping)?;
            let schema = scan.schema(&all)?;
            let has = |name: &str| schema.index_of(name).is_ok();
            let mut asked = Vec::new();
            for column in shown.iter().filter(|column| has(&column.name)) {
                let at = table.columns.iter().position(|c| c.name == column.name);
                if let Some(slot) = at.and_then(|at| slots.get_mut(at)) {
                    *slot = Some(asked.len());
                    asked.push(column.clone());
                }
            }
            let ours = [OP, TS, POS].into_iter().filter(|name| has(name));
            asked.extend(ours.map(columns::carried));
            let count = asked.len();
            out = Some(Out {
                decoder: Decoder::new(&table.name, asked, count, mapping)?,
                op: has(OP),
                ts: has(TS),
                pos: has(POS),
                schema,
            });
        }
        let columns = fit.0.into_iter().map(|(value, column)| LaidOut {
            value,
            slot: column.and_then(|column| slots.get(column).copied().flatten()),
            key: column.is_some_and(|column| key.contains(&column)),
        });
        Ok(Self {
            layout: Layout {
                shown: slots.iter().flatten().count(),
                columns: columns.collect(),
            },
            out,
        })
    }
}

/// How a value that nobody sees is passed over.
fn skipped(stored: &MapColumn) -> Result<Conversion> {
    Ok(match stored.stored {
        Stored::Int24 => Conversion::Int24 { unsigned: true },
        Stored::Year => Conversion::Year,
        Stored::Date => Conversion::Date,
        Stored::OldTime => Conversion::OldTime,
        Stored::OldDateTime => Conversion::OldDateTime,
        Stored::OldTimestamp => Conversion::OldTimestamp,
        Stored::Time { fraction } => Conversion::Time(fraction),
        Stored::DateTime { fraction } => Conversion::DateTime(fraction),
        Stored::Timestamp { fraction } => Conversion::Timestamp(fraction),
        Stored::Decimal { precision, scale } => Conversion::Decimal { precision, scale },
        Stored::Bit { bits } => Conversion::Bit(usize::from(bits).div_ceil(8)),
        Stored::Varying { most } | Stored::Fixed { most } | Stored::CompressedVarying { most } => {
            Conversion::Bytes {
                width: length_width(most),
                pad: 0,
            }
        }
        Stored::Blob { width }
        | Stored::CompressedBlob { width }
        | Stored::Geometry { width }
        | Stored::Vector { width }
        | Stored::Json { width } => Conversion::Bytes {
            width: width.into(),
            pad: 0,
        },
        Stored::Enum { width } | Stored::Set { width } => Conversion::Same(width.into()),
        Stored::Tiny
        | Stored::Short
        | Stored::Long
        | Stored::LongLong
        | Stored::Float
        | Stored::Double => Conversion::Same(fixed_width(stored.stored).unwrap_or_default()),
    })
}

/// How a column's value is read; `None` if what is stored is not of the column's type.
fn value(column: &Column, stored: &MapColumn) -> Result<Option<Conversion>> {
    if stored.nullable && !column.nullable {
        return Ok(None);
    }
    let fitting = |fits: bool| match fits {
        true => skipped(stored).map(Some),
        false => Ok(None),
    };
    // Before binlog_row_metadata there was no way to tell.
    let signed = |unsigned: bool| stored.unsigned.is_none_or(|told| told == unsigned);
    match (column.kind, stored.stored) {
        (Type::Bool, Stored::Tiny) => fitting(signed(false)),
        (Type::TinyInt { unsigned }, Stored::Tiny)
        | (Type::SmallInt { unsigned }, Stored::Short)
        | (Type::Int { unsigned }, Stored::Long)
        | (Type::BigInt { unsigned }, Stored::LongLong) => fitting(signed(unsigned)),
        (Type::MediumInt { unsigned }, Stored::Int24) if signed(unsigned) => {
            Ok(Some(Conversion::Int24 { unsigned }))
        }
        (Type::Decimal { precision, scale }, Stored::Decimal { .. }) => {
            fitting(stored.stored == Stored::Decimal { precision, scale })
        }
        (Type::Bit { bits }, Stored::Bit { bits: stored }) => fitting(bits == stored),
        (Type::Float, Stored::Float)
        | (Type::Double, Stored::Double)
        | (Type::Year, Stored::Year)
        | (Type::Date, Stored::Date)
        | (Type::Time { fraction: 0 }, Stored::OldTime)
        | (Type::DateTime { fraction: 0 }, Stored::OldDateTime)
        | (Type::Timestamp { fraction: 0 }, Stored::OldTimestamp)
        | (Type::Geometry, Stored::Geometry { .. })
        | (Type::Binary, Stored::Vector { .. }) => skipped(stored).map(Some),
        (Type::Time { fraction }, Stored::Time { fraction: stored })
        | (Type::DateTime { fraction }, Stored::DateTime { fraction: stored })
        | (Type::Timestamp { fraction }, Stored::Timestamp { fraction: stored })
            if fraction != stored =>
        {
            Ok(None)
        }
        (Type::Time { .. }, Stored::Time { .. })
        | (Type::DateTime { .. }, Stored::DateTime { .. })
        | (Type::Timestamp { .. }, Stored::Timestamp { .. }) => skipped(stored).map(Some),
        (Type::Json, Stored::Json { width }) => Ok(Some(Conversion::Json {
            width: width.into(),
        })),
        (Type::Uuid, Stored::Fixed { most: 16 }) => Ok(Some(Conversion::Uuid)),
        (Type::Inet4, Stored::Fixed { most: 4 }) => Ok(Some(Conversion::Inet4)),
        (Type::Inet6, Stored::Fixed { most: 16 }) => Ok(Some(Conversion::Inet6)),
        (
            Type::Text | Type::Json,
            Stored::Varying { .. } | Stored::Fixed { .. } | Stored::Blob { .. },
        ) => {
            let charset = charset(column, stored)?;
            if charset == Charset::Binary {
                return Ok(None);
            }
            let (width, padded) = match stored.stored {
                Stored::Blob { width } => (width.into(), false),
                Stored::Varying { most } => (length_width(most), false),
                Stored::Fixed { most } => (length_width(most), true),
                _ => return Ok(None),
            };
            Ok(Some(Conversion::Text {
                width,
                charset,
                padded,
            }))
        }
        (Type::Text | Type::Json | Type::Binary, Stored::CompressedVarying { most }) => {
            compressed(column, stored, length_width(most))
        }
        (Type::Text | Type::Json | Type::Binary, Stored::CompressedBlob { width }) => {
            compressed(column, stored, width.into())
        }
        (Type::Binary, Stored::Varying { .. } | Stored::Blob { .. }) => fitting(is_binary(stored)),
        (Type::Binary, Stored::Fixed { most }) if is_binary(stored) => {
            Ok(Some(Conversion::Bytes {
                width: length_width(most),
                pad: most.into(),
            }))
        }
        (Type::Enum, Stored::Enum { width }) => {
            Ok(members_of(column, stored)?.map(|members| Conversion::Enum {
                width: width.into(),
                members,
            }))
        }
        (Type::Set, Stored::Set { width }) => {
            Ok(members_of(column, stored)?.map(|members| Conversion::Set {
                width: width.into(),
                members,
            }))
        }
        _ => Ok(None),
    }
}

fn compressed(column: &Column, stored: &MapColumn, width: usize) -> Result<Option<Conversion>> {
    let charset = match column.kind {
        Type::Binary if is_binary(stored) => Charset::Binary,
        Type::Binary => return Ok(None),
        _ => match charset(column, stored)? {
            Charset::Binary => return Ok(None),
            charset => charset,
        },
    };
    Ok(Some(Conversion::Compressed { width, charset }))
}

fn is_binary(stored: &MapColumn) -> bool {
    stored.collation.is_none_or(|collation| collation == 63)
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
    let members = declared_members(&column.declared);
    match told_members(column, stored)? {
        Some(told) if members.as_ref() != Some(&told) => Ok(None),
        _ => members.map(Some).ok_or_else(|| {
            Error::unsupported("the members of a column can't be read from its declaration")
                .with("column", &column.name)
                .with("type", &column.declared)
        }),
    }
}

fn told_members(column: &Column, stored: &MapColumn) -> Result<Option<Vec<String>>> {
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

/// The members in `enum('a','it''s')`, as information_schema prints them: quotes doubled, and a
/// backslash before what can't be seen.
fn declared_members(declared: &str) -> Option<Vec<String>> {
    let (_, list) = declared.split_once('(')?;
    let mut members = Vec::new();
    let mut chars = list.chars().peekable();
    loop {
        if chars.next()? != '\'' {
            return None;
        }
        let mut member = String::new();
        loop {
            match chars.next()? {
                '\'' if chars.peek() == Some(&'\'') => {
                    chars.next();
                    member.push('\'');
                }
                '\'' => break,
                '\\' => member.push(match chars.next()? {
                    '0' => '\0',
                    'n' => '\n',
                    'r' => '\r',
                    'Z' => '\u{1A}',
                    other => other,
                }),
                other => member.push(other),
            }
        }
        members.push(member);
        match chars.next()? {
            ',' => {}
            ')' => return Some(members),
            _ => return None,
        }
    }
}

/// A column as nothing but the map tells it.
fn column(name: &str, stored: &MapColumn) -> Result<Column> {
    let unsigned = stored.unsigned.unwrap_or(false);
    let sign = if unsigned { " unsigned" } else { "" };
    let digits = |fraction: u8| match fraction {
        0 => String::new(),
        fraction => format!("({fraction})"),
    };
    let text = !is_binary(stored) || stored.collation.is_none();
    let (kind, declared) = match stored.stored {
        Stored::Tiny => (Type::TinyInt { unsigned }, format!("tinyint{sign}")),
        Stored::Short => (Type::SmallInt { unsigned }, format!("smallint{sign}")),
        Stored::Int24 => (Type::MediumInt { unsigned }, format!("mediumint{sign}")),
        Stored::Long => (Type::Int { unsigned }, format!("int{sign}")),
        Stored::LongLong => (Type::BigInt { unsigned }, format!("bigint{sign}")),
        Stored::Float => (Type::Float, format!("float{sign}")),
        Stored::Double => (Type::Double, format!("double{sign}")),
        Stored::Year => (Type::Year, "year".to_owned()),
        Stored::Date => (Type::Date, "date".to_owned()),
        Stored::OldTime => (Type::Time { fraction: 0 }, "time".to_owned()),
        Stored::OldDateTime => (Type::DateTime { fraction: 0 }, "datetime".to_owned()),
        Stored::OldTimestamp => (Type::Timestamp { fraction: 0 }, "timestamp".to_owned()),
        Stored::Time { fraction } => (Type::Time { fraction }, format!("time{}", digits(fraction))),
        Stored::DateTime { fraction } => (
            Type::DateTime { fraction },
            format!("datetime{}", digits(fraction)),
        ),
        Stored::Timestamp { fraction } => (
            Type::Timestamp { fraction },
            format!("timestamp{}", digits(fraction)),
        ),
        Stored::Decimal { precision, scale } => (
            Type::Decimal { precision, scale },
            format!("decimal({precision},{scale}){sign}"),
        ),
        Stored::Bit { bits } => (Type::Bit { bits }, format!("bit({bits})")),
        Stored::Varying { .. } | Stored::CompressedVarying { .. } if text => {
            (Type::Text, "varchar".to_owned())
        }
        Stored::Varying { most } | Stored::CompressedVarying { most } => {
            (Type::Binary, format!("varbinary({most})"))
        }
        Stored::Fixed { .. } if text => (Type::Text, "char".to_owned()),
        Stored::Fixed { most } => (Type::Binary, format!("binary({most})")),
        Stored::Blob { width } | Stored::CompressedBlob { width } => {
            let size = match width {
                1 => "tiny",
                2 => "",
                3 => "medium",
                _ => "long",
            };
            match text {
                true => (Type::Text, format!("{size}text")),
                false => (Type::Binary, format!("{size}blob")),
            }
        }
        Stored::Json { .. } => (Type::Json, "json".to_owned()),
        Stored::Geometry { .. } => (Type::Geometry, "geometry".to_owned()),
        Stored::Vector { .. } => (Type::Binary, "vector".to_owned()),
        Stored::Enum { .. } => (Type::Enum, "enum".to_owned()),
        Stored::Set { .. } => (Type::Set, "set".to_owned()),
    };
    let mut column = Column {
        name: name.to_owned(),
        kind,
        nullable: stored.nullable,
        declared,
        charset: None,
        collation: None,
        generated: false,
        invisible: false,
    };
    if let Some(members) = told_members(&column, stored)? {
        let quoted: Vec<_> = members
            .iter()
            .map(|member| format!("'{}'", member.replace('\\', "\\\\").replace('\'', "''")))
            .collect();
        column.declared = format!("{}({})", column.declared, quoted.join(","));
    }
    Ok(column)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn members_are_read_from_a_declaration() {
        let read = |declared| declared_members(declared).unwrap();
        assert_eq!(read("enum('a','b')"), ["a", "b"]);
        assert_eq!(read("set('it''s','','a,b)')"), ["it's", "", "a,b)"]);
        assert_eq!(read(r"enum('a\nb','c\\d')"), ["a\nb", r"c\d"]);
        assert_eq!(declared_members("enum"), None);
        assert_eq!(declared_members("enum('a"), None);
    }
}
