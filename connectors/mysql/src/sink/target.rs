//! The table that is written to, as the server describes it.

use tidegate_core::{Error, ErrorKind, Result};

use crate::sql;
use crate::types::{Declared, Mapping, Type};
use crate::wire::{Connection, ServerError};

/// A table's name, with its database.
#[derive(Debug, Clone, PartialEq, Eq, serde::Serialize, serde::Deserialize)]
pub(super) struct Named {
    pub(super) database: String,
    pub(super) table: String,
}

impl Named {
    /// Both, quoted.
    pub(super) fn sql(&self) -> String {
        format!("{}.{}", sql::name(&self.database), sql::name(&self.table))
    }

    /// Another table of the same database.
    pub(super) fn beside(&self, table: &str) -> Self {
        Self {
            database: self.database.clone(),
            table: table.to_owned(),
        }
    }
}

/// A table that is there.
#[derive(Debug, Clone)]
pub(super) struct Target {
    pub(super) slots: Vec<Slot>,
    pub(super) indexes: Vec<Index>,
}

/// A column that values go into.
#[derive(Debug, Clone)]
pub(super) struct Slot {
    pub(super) name: String,
    pub(super) kind: Type,
    pub(super) declared: Declared,
    /// Whether the server may be a MariaDB, which makes 0 of -0, however that is written, and whose
    /// ST_GeomFromWKB gives NULL for bytes that are no geometry, where MySQL's refuses them.
    pub(super) mariadb: bool,
    pub(super) nullable: bool,
    /// Whether a row may leave it out: it is nullable, has a default, or counts by itself.
    pub(super) optional: bool,
    pub(super) generated: bool,
    pub(super) auto_increment: bool,
    /// What the user may do with it: `select,insert,update,references`.
    pub(super) privileges: String,
}

impl Slot {
    /// A column declared so, that a new table has.
    pub(super) fn new(name: &str, declared: Declared, nullable: bool) -> Self {
        Self {
            name: name.to_owned(),
            // What we don't know takes texts.
            kind: kind(&declared).unwrap_or(Type::Text),
            declared,
            mariadb: true,
            nullable,
            optional: nullable,
            generated: false,
            auto_increment: false,
            privileges: "select,insert,update".to_owned(),
        }
    }

    /// Whether the user may `do` it: `insert`.
    pub(super) fn allows(&self, right: &str) -> bool {
        self.privileges.split(',').any(|one| one == right)
    }
}

/// An index.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Index {
    pub(super) name: String,
    pub(super) unique: bool,
    /// Its columns, or `None` for an expression.
    pub(super) parts: Vec<Option<Part>>,
}

/// A column of an index.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Part {
    pub(super) column: String,
    /// How many characters or bytes from its beginning, if not all of it.
    pub(super) prefix: Option<u32>,
}

impl Index {
    /// Its columns, if it stands on whole columns only.
    pub(super) fn columns(&self) -> Option<Vec<&str>> {
        self.parts
            .iter()
            .map(|part| match part {
                Some(Part {
                    column,
                    prefix: None,
                }) => Some(column.as_str()),
                _ => None,
            })
            .collect()
    }
}

impl Target {
    /// Reads it; `None` if there is no such table.
    ///
    /// Errors: `Unsupported` for a view, and for an engine without transactions.
    pub(super) async fn read(connection: &mut Connection, named: &Named) -> Result<Option<Self>> {
        let doing = "describe the target table";
        let kind = format!(
            "SELECT table_type, engine FROM information_schema.tables \
             WHERE table_schema = {} AND table_name = {}",
            sql::text(&named.database),
            sql::text(&named.table)
        );
        let found = connection.query(doing, &kind).await?;
        let Some([kind, engine]) = found.first().map(Vec::as_slice) else {
            return Ok(None);
        };
        let (kind, engine) = (kind.as_deref(), engine.as_deref());
        if !matches!(kind, Some("BASE TABLE" | "SYSTEM VERSIONED")) {
            return Err(
                Error::new(ErrorKind::Unsupported, "the target is no table of rows")
                    .with("table", named.sql())
                    .with("type", kind.unwrap_or("unknown"))
                    .hint("name the table that the view reads from"),
            );
        }
        if !engine.is_some_and(|engine| engine.eq_ignore_ascii_case("InnoDB")) {
            return Err(Error::new(
                ErrorKind::Unsupported,
                "the target's engine has no transactions",
            )
            .with("table", named.sql())
            .with("engine", engine.unwrap_or("unknown"))
            .hint("change it: ALTER TABLE … ENGINE = InnoDB"));
        }
        Self::describe(connection, named).await.map(Some)
    }

    async fn describe(connection: &mut Connection, named: &Named) -> Result<Self> {
        let doing = "describe the target table";
        let columns = format!("SHOW FULL COLUMNS FROM {}", named.sql());
        let columns = connection.query(doing, &columns).await?;
        let slots = columns
            .iter()
            .map(|row| slot(row).ok_or_else(|| unread(named)))
            .collect::<Result<Vec<_>>>()?;
        let indexes = format!("SHOW INDEX FROM {}", named.sql());
        let mut read: Vec<Index> = Vec::new();
        for row in connection.query(doing, &indexes).await? {
            let (unique, name, part) = part(&row).ok_or_else(|| unread(named))?;
            match read.last_mut().filter(|index| index.name == name) {
                Some(index) => index.parts.push(part),
                None => read.push(Index {
                    name,
                    unique,
                    parts: vec![part],
                }),
            }
        }
        Ok(Self {
            slots,
            indexes: read,
        })
    }

    /// The column of this name; names of columns have no case.
    pub(super) fn slot(&self, name: &str) -> Option<&Slot> {
        let exact = self.slots.iter().find(|slot| slot.name == name);
        exact.or_else(|| {
            let lower = name.to_lowercase();
            let mut slots = self.slots.iter();
            slots.find(|slot| slot.name.to_lowercase() == lower)
        })
    }
}

/// Whether the server said that there is no such table.
pub(super) fn is_missing(error: &Error) -> bool {
    matches!(ServerError::code_of(error), Some(1146 | 1051))
}

fn unread(named: &Named) -> Error {
    Error::internal("the server describes the target table in an unknown way")
        .with("table", named.sql())
}

/// A row of SHOW FULL COLUMNS: Field, Type, Collation, Null, Key, Default, Extra, Privileges, …
fn slot(row: &[Option<String>]) -> Option<Slot> {
    let text = |at: usize| row.get(at)?.as_deref();
    let (name, declared) = (text(0)?, text(1)?);
    let extra = text(6).unwrap_or_default().to_lowercase();
    let nullable = text(3)? == "YES";
    let auto_increment = extra.contains("auto_increment");
    // DEFAULT_GENERATED is MySQL's word for a default that is an expression.
    let generated = extra.replace("default_generated", "").contains("generated")
        || extra.contains("persistent");
    let by_itself = extra.contains("default_generated") || auto_increment || generated;
    Some(Slot {
        optional: nullable || by_itself || text(5).is_some(),
        generated,
        auto_increment,
        privileges: text(7).unwrap_or_default().to_owned(),
        ..Slot::new(name, Declared::parse(declared), nullable)
    })
}

/// A row of SHOW INDEX: Table, Non_unique, Key_name, Seq_in_index, Column_name, Collation,
/// Cardinality, Sub_part, …
fn part(row: &[Option<String>]) -> Option<(bool, String, Option<Part>)> {
    let text = |at: usize| row.get(at)?.as_deref();
    let part = text(4).map(|column| Part {
        column: column.to_owned(),
        prefix: text(7).and_then(|length| length.parse().ok()),
    });
    Some((text(1)? == "0", text(2)?.to_owned(), part))
}

/// What a column declared so takes; none for what we don't know. To a sink, a TINYINT(1) is a number.
pub(super) fn kind(declared: &Declared) -> Option<Type> {
    let mapping = Mapping {
        tinyint1_to_bool: false,
        ..Mapping::default()
    };
    Type::of(declared, mapping)
}
