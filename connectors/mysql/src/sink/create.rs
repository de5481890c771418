//! A table made for a schema.

use arrow_schema::{DataType, Field, Schema, TimeUnit};
use tidegate_core::{Error, Result};

use super::config::LONGEST_NAME;
use super::literal;
use super::target::{Index, Kind, Named, Part, Slot, Target, kind};
use crate::sql;

/// Where a field says which type its column has at the server that it came from.
const DECLARED: &str = "mysql.type";

/// The most columns of an InnoDB table (manual, "InnoDB Limits").
const MOST_COLUMNS: usize = 1017;

/// A table that is to be made.
#[derive(Debug)]
pub(super) struct Draft {
    /// What it will be.
    pub(super) target: Target,
    columns: String,
}

impl Draft {
    /// For rows of this schema, with `key` as the primary key.
    ///
    /// Errors: `Schema` for what no table can have.
    pub(super) fn new(schema: &Schema, key: &[String]) -> Result<Self> {
        if schema.fields().len() > MOST_COLUMNS {
            return Err(Error::schema(format!(
                "{} columns are too many for a table: it has at most {MOST_COLUMNS}",
                schema.fields().len()
            ))
            .hint("leave some out: a `sql` transform with a SELECT of those that are needed"));
        }
        for column in key {
            if schema.field_with_name(column).is_err() {
                let names: Vec<_> = schema.fields().iter().map(|f| f.name().as_str()).collect();
                return Err(
                    Error::config(format!("`key` names `{column}`, which no input has"))
                        .with("key", "key")
                        .hint(format!("the inputs have {}", names.join(", "))),
                );
            }
        }
        let slots = schema
            .fields()
            .iter()
            .map(|field| slot(field, key.contains(field.name())))
            .collect::<Result<Vec<_>>>()?;
        let mut lines: Vec<String> = slots.iter().map(line).collect();
        let mut indexes = Vec::new();
        if !key.is_empty() {
            let names: Vec<_> = key.iter().map(|column| sql::name(column)).collect();
            lines.push(format!("PRIMARY KEY ({})", names.join(", ")));
            let part = |column: &String| {
                Some(Part {
                    column: column.clone(),
                    prefix: None,
                })
            };
            indexes.push(Index {
                name: "PRIMARY".to_owned(),
                unique: true,
                parts: key.iter().map(part).collect(),
            });
        }
        Ok(Self {
            target: Target { slots, indexes },
            columns: lines.join(", "),
        })
    }

    /// The statement that makes it, if it isn't there.
    pub(super) fn statement(&self, named: &Named) -> String {
        format!("CREATE TABLE IF NOT EXISTS {} {}", named.sql(), self.body())
    }

    /// The statement that makes it for this session alone, and leaves nothing: a rehearsal.
    pub(super) fn rehearsal(&self, named: &Named) -> String {
        format!("CREATE TEMPORARY TABLE {} {}", named.sql(), self.body())
    }

    fn body(&self) -> String {
        format!(
            "({}) ENGINE = InnoDB ROW_FORMAT = DYNAMIC \
             DEFAULT CHARACTER SET utf8mb4 COLLATE utf8mb4_bin",
            self.columns
        )
    }
}

fn slot(field: &Field, key: bool) -> Result<Slot> {
    let name = field.name();
    if name.is_empty() || name.chars().count() > LONGEST_NAME || name.ends_with(' ') {
        return Err(Error::schema(format!("no column can be called `{name}`"))
            .hint("rename it in a `sql` transform: SELECT … AS …; 64 characters at most"));
    }
    let nullable = field.is_nullable() && !key;
    let of = |declared: String| Slot {
        name: name.clone(),
        kind: kind(&declared),
        declared,
        nullable,
        optional: nullable,
        generated: false,
        auto_increment: false,
        privileges: "select,insert,update".to_owned(),
    };
    if let Some(declared) = field.metadata().get(DECLARED) {
        let slot = of(without_escapes(declared));
        if is_type(&slot.declared) && is_natural(field.data_type(), slot.kind) {
            return Ok(slot);
        }
    }
    let declared = declared(field.data_type(), key).ok_or_else(|| {
        Error::schema(format!("no type of a column fits `{name}`"))
            .with("type", field.data_type())
            .hint("CAST it in a `sql` transform, or make the table yourself")
    })?;
    let slot = of(declared);
    literal::takes(field, &slot).map_err(|why| {
        Error::schema(format!("no type of a column fits `{name}`"))
            .with("type", field.data_type())
            .hint(why)
    })?;
    Ok(slot)
}

fn line(slot: &Slot) -> String {
    let mut line = format!("{} {}", sql::name(&slot.name), slot.declared);
    line.push_str(if slot.nullable { " NULL" } else { " NOT NULL" });
    // Older servers let the first TIMESTAMP follow the clock, unless it has a default.
    if let (Kind::Timestamp { fraction }, false) = (slot.kind, slot.nullable) {
        line.push_str(&format!(" DEFAULT CURRENT_TIMESTAMP({fraction})"));
    }
    line
}

/// Our type for values that came from elsewhere.
fn declared(data_type: &DataType, key: bool) -> Option<String> {
    use DataType as T;
    let text = |key: &str, other: &str, is_key| if is_key { key } else { other }.to_owned();
    Some(match data_type {
        T::Boolean => "tinyint(1)".to_owned(),
        T::Int8 => "tinyint".to_owned(),
        T::Int16 => "smallint".to_owned(),
        T::Int32 => "int".to_owned(),
        T::Int64 => "bigint".to_owned(),
        T::UInt8 => "tinyint unsigned".to_owned(),
        T::UInt16 => "smallint unsigned".to_owned(),
        T::UInt32 => "int unsigned".to_owned(),
        T::UInt64 => "bigint unsigned".to_owned(),
        T::Float16 | T::Float32 => "float".to_owned(),
        T::Float64 => "double".to_owned(),
        T::Decimal32(p, s) | T::Decimal64(p, s) | T::Decimal128(p, s) | T::Decimal256(p, s) => {
            let (precision, scale) = match u8::try_from(*s) {
                Ok(scale) => (*p.max(&scale), scale),
                // Zeros before the point.
                Err(_) => (p.checked_add(s.unsigned_abs())?, 0),
            };
            // The most that the servers have (manual, "Fixed-Point Types").
            if precision > 65 || scale > 30 {
                return None;
            }
            format!("decimal({precision},{scale})")
        }
        T::Utf8 | T::LargeUtf8 | T::Utf8View => text("varchar(255)", "longtext", key),
        T::Binary | T::LargeBinary | T::BinaryView => text("varbinary(255)", "longblob", key),
        T::FixedSizeBinary(size) => match u16::try_from(*size) {
            Ok(size) if size <= 1024 => format!("varbinary({})", size.max(1)),
            _ => "longblob".to_owned(),
        },
        T::Date32 | T::Date64 => "date".to_owned(),
        T::Time32(TimeUnit::Second) => "time".to_owned(),
        T::Time32(_) => "time(3)".to_owned(),
        T::Time64(_) | T::Duration(_) => "time(6)".to_owned(),
        T::Timestamp(_, _) => "datetime(6)".to_owned(),
        T::Null => "longtext".to_owned(),
        T::Dictionary(_, values) => declared(values, key)?,
        T::RunEndEncoded(_, values) => declared(values.data_type(), key)?,
        T::List(_)
        | T::LargeList(_)
        | T::ListView(_)
        | T::LargeListView(_)
        | T::FixedSizeList(_, _)
        | T::Struct(_)
        | T::Map(_, _) => "json".to_owned(),
        T::Interval(_) | T::Union(_, _) => return None,
    })
}

/// Whether values of a type are those that a column of that kind gave: a transform may have changed
/// the values and kept the note.
fn is_natural(data_type: &DataType, kind: Kind) -> bool {
    use DataType as T;
    let bits = |bits: u8| if bits == 24 { 32 } else { bits };
    let int = match data_type {
        T::Int8 => Some((8, false)),
        T::Int16 => Some((16, false)),
        T::Int32 => Some((32, false)),
        T::Int64 => Some((64, false)),
        T::UInt8 => Some((8, true)),
        T::UInt16 => Some((16, true)),
        T::UInt32 => Some((32, true)),
        T::UInt64 => Some((64, true)),
        _ => None,
    };
    match (kind, data_type) {
        (
            Kind::Int {
                bits: size,
                unsigned,
            },
            _,
        ) if int.is_some() => int == Some((bits(size), unsigned)),
        (Kind::Int { bits: 8, .. }, T::Boolean) => true,
        (Kind::Decimal { precision, scale }, T::Decimal32(p, s))
        | (Kind::Decimal { precision, scale }, T::Decimal64(p, s))
        | (Kind::Decimal { precision, scale }, T::Decimal128(p, s))
        | (Kind::Decimal { precision, scale }, T::Decimal256(p, s)) => {
            precision == *p && u8::try_from(*s) == Ok(scale)
        }
        (Kind::Int { .. } | Kind::Decimal { .. } | Kind::Other, _) => false,
        (Kind::Year, T::UInt16 | T::Int16) => true,
        (Kind::Year, _) => false,
        _ => {
            let slot = Slot {
                name: String::new(),
                kind,
                declared: String::new(),
                nullable: true,
                optional: true,
                generated: false,
                auto_increment: false,
                privileges: String::new(),
            };
            literal::takes(&Field::new("", data_type.clone(), true), &slot).is_ok()
        }
    }
}

/// Servers declare the values of an ENUM with `\\`, `\n`, `\r` and `\0` for what these mean, whatever
/// the SQL mode; in our sessions a backslash is a backslash.
fn without_escapes(declared: &str) -> String {
    let mut plain = String::with_capacity(declared.len());
    let mut rest = declared.chars();
    while let Some(c) = rest.next() {
        let escaped = if c == '\\' { rest.next() } else { None };
        plain.push(match escaped {
            None => c,
            Some('n') => '\n',
            Some('r') => '\r',
            Some('0') => '\0',
            Some(other) => other,
        });
    }
    plain
}

/// Whether a text is a type and nothing else. It comes from a field's metadata, which may come from
/// anywhere, and becomes part of a statement.
fn is_type(declared: &str) -> bool {
    let mut rest = declared;
    let mut first = true;
    let mut depth = 0_u32;
    loop {
        rest = rest.trim_start_matches(' ');
        let Some(c) = rest.chars().next() else {
            return !first && depth == 0;
        };
        match c {
            'a'..='z' | 'A'..='Z' => {
                let end = rest.find(|c: char| !c.is_ascii_alphanumeric());
                let (word, after) = rest.split_at(end.unwrap_or(rest.len()));
                let known = matches!(word.to_lowercase().as_str(), "unsigned" | "zerofill");
                if depth > 0 || !(first || known) {
                    return false;
                }
                first = false;
                rest = after;
            }
            '0'..='9' | ',' if depth > 0 => rest = &rest[1..],
            '(' if depth == 0 && !first => {
                depth = 1;
                rest = &rest[1..];
            }
            ')' if depth > 0 => {
                depth = 0;
                rest = &rest[1..];
            }
            '\'' if depth > 0 => {
                // To the quote that isn't doubled.
                let mut inner = &rest[1..];
                loop {
                    let Some(end) = inner.find('\'') else {
                        return false;
                    };
                    inner = &inner[end + 1..];
                    match inner.strip_prefix('\'') {
                        Some(after) => inner = after,
                        None => break,
                    }
                }
                rest = inner;
            }
            _ => return false,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_type_is_a_type_and_nothing_else() {
        for good in [
            "int(10) unsigned zerofill",
            "enum('a','it''s','b)')",
            "decimal(38,2)",
            "json",
        ] {
            assert!(is_type(good), "{good}");
        }
        for bad in [
            "",
            "int; DROP TABLE x",
            "int) ENGINE=MyISAM, (a int",
            "enum('a'",
            "int default 7",
            "int -- x",
            "int/*",
            "(3)",
            "varchar(now())",
        ] {
            assert!(!is_type(bad), "{bad}");
        }
    }

    #[test]
    fn escapes_of_a_declaration_are_resolved() {
        assert_eq!(
            without_escapes(r"enum('\\','a\nb','it''s')"),
            "enum('\\','a\nb','it''s')"
        );
        // What is a quote then ends the text, and what follows is no type.
        assert!(!is_type(&without_escapes(r"enum('a\') ENGINE = x -- ')")));
    }

    #[test]
    fn a_table_is_drafted_for_a_schema() {
        let noted = |name: &str, data_type, note: &str| {
            Field::new(name, data_type, true)
                .with_metadata([(DECLARED.to_owned(), note.to_owned())].into())
        };
        let schema = Schema::new(vec![
            Field::new("id", DataType::Utf8, true),
            Field::new("n", DataType::UInt64, false),
            Field::new("d", DataType::Decimal128(10, -2), true),
            noted("e", DataType::Utf8, "enum('a','b')"),
            noted("changed", DataType::Int64, "tinyint(4)"),
        ]);
        let draft = Draft::new(&schema, &["id".to_owned()]).unwrap();
        assert_eq!(
            draft.columns,
            "`id` varchar(255) NOT NULL, `n` bigint unsigned NOT NULL, `d` decimal(12,0) NULL, \
             `e` enum('a','b') NULL, `changed` bigint NULL, PRIMARY KEY (`id`)"
        );
        assert!(Draft::new(&schema, &["x".to_owned()]).is_err());
    }
}
