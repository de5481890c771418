//! A table made for a schema.

use arrow_schema::{DataType, Field, Schema};
use tidegate_core::{Error, Result};

use super::config::LONGEST_NAME;
use super::literal;
use super::target::{Index, Named, Part, Slot, Target, kind};
use crate::sql;
use crate::types::{DECLARED, Declared, Mapping, Type, declaration_for};

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
            lines.push(format!("PRIMARY KEY ({})", sql::names(key)));
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
    // Metadata may come from anywhere: what is no type and nothing else is left alone.
    let noted = field.metadata().get(DECLARED);
    if let Some(noted) = noted.and_then(|noted| Declared::parse(noted).for_statement()) {
        let slot = Slot::new(name, noted, nullable);
        if is_natural(field.data_type(), &slot) {
            return Ok(slot);
        }
    }
    let declared = declaration_for(field.data_type(), key).ok_or_else(|| {
        Error::schema(format!("no type of a column fits `{name}`"))
            .with("type", field.data_type())
            .hint("CAST it in a `sql` transform, or make the table yourself")
    })?;
    let slot = Slot::new(name, Declared::parse(&declared), nullable);
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
    if let (Type::Timestamp { fraction }, false) = (slot.kind, slot.nullable) {
        line.push_str(&format!(" DEFAULT CURRENT_TIMESTAMP({fraction})"));
    }
    line
}

/// Whether values of a type are those that such a column gave: a transform may have changed the
/// values and kept the note.
fn is_natural(data_type: &DataType, slot: &Slot) -> bool {
    use DataType as T;
    match (slot.kind, data_type) {
        _ if kind(&slot.declared).is_none() => false,
        (Type::TinyInt { .. }, T::Boolean) => true,
        (
            Type::Decimal { precision, scale },
            T::Decimal32(p, s) | T::Decimal64(p, s) | T::Decimal128(p, s) | T::Decimal256(p, s),
        ) => precision == *p && u8::try_from(*s) == Ok(scale),
        (Type::Decimal { .. }, _) => false,
        (Type::Year, _) => matches!(data_type, T::UInt16 | T::Int16),
        (kind, _) if kind.integer().is_some() => kind.arrow(Mapping::default()) == *data_type,
        _ => literal::takes(&Field::new("", data_type.clone(), true), slot).is_ok(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

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
