//! The table that is written to, as the server describes it.

use tidegate_core::{Error, ErrorKind, Result};

use crate::sql;
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
    pub(super) kind: Kind,
    /// As the server declares it: `decimal(38,2)`.
    pub(super) declared: String,
    pub(super) nullable: bool,
    /// Whether a row may leave it out: it is nullable, has a default, or counts by itself.
    pub(super) optional: bool,
    pub(super) generated: bool,
    pub(super) auto_increment: bool,
    /// What the user may do with it: `select,insert,update,references`.
    pub(super) privileges: String,
}

impl Slot {
    /// Whether the user may `do` it: `insert`.
    pub(super) fn allows(&self, right: &str) -> bool {
        self.privileges.split(',').any(|one| one == right)
    }
}

/// What a column takes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Kind {
    Int {
        bits: u8,
        unsigned: bool,
    },
    Decimal {
        precision: u8,
        scale: u8,
    },
    /// With digits behind the point, of FLOAT(7,3), to which the server rounds; and whether it makes
    /// 0 of -0, as MariaDB does, however -0 is written.
    Float {
        places: Option<u8>,
        unsigned_zero: bool,
    },
    Double {
        places: Option<u8>,
        unsigned_zero: bool,
    },
    Bit {
        bits: u8,
    },
    Year,
    Date,
    Time {
        fraction: u8,
    },
    DateTime {
        fraction: u8,
    },
    Timestamp {
        fraction: u8,
    },
    /// CHAR, which forgets spaces at the end.
    Char {
        characters: u64,
    },
    VarChar {
        characters: u64,
    },
    /// TEXT of any size.
    Text,
    /// BINARY, which fills up with zero bytes.
    Binary {
        bytes: u64,
    },
    VarBinary {
        bytes: u64,
    },
    /// BLOB of any size, VECTOR.
    Blob,
    Enum,
    Set,
    Json,
    /// Whether it must be guarded against NULL: MariaDB's ST_GeomFromWKB gives that for bytes that
    /// are no geometry, where MySQL's refuses them.
    Geometry {
        guarded: bool,
    },
    Uuid,
    Inet4,
    Inet6,
    /// What we don't know: it takes texts.
    Other,
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
    ServerError::of(error).is_some_and(|error| matches!(error.code, 1146 | 1051))
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
        name: name.to_owned(),
        kind: kind(declared),
        declared: declared.to_owned(),
        nullable,
        optional: nullable || by_itself || text(5).is_some(),
        generated,
        auto_increment,
        privileges: text(7).unwrap_or_default().to_owned(),
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

/// The values of an ENUM or a SET, as they are declared: `enum('a','it''s')`.
pub(super) fn members(declared: &str) -> impl Iterator<Item = &str> {
    let inner = declared.split_once("('").map_or("", |(_, inner)| inner);
    let inner = inner.strip_suffix("')").unwrap_or(inner);
    inner.split("','")
}

/// What a declared type takes: `decimal(10,2) unsigned zerofill`.
pub(super) fn kind(declared: &str) -> Kind {
    let declared = declared.to_lowercase();
    let word_end = declared
        .find(|c: char| !c.is_ascii_alphanumeric())
        .unwrap_or(declared.len());
    let (word, rest) = declared.split_at(word_end);
    let inner = rest
        .strip_prefix('(')
        .and_then(|rest| rest.split_once(')'))
        .map(|(inner, _)| inner);
    let mut numbers = inner
        .unwrap_or_default()
        .split(',')
        .map(|number| number.trim().parse::<u64>().ok());
    let (first, second) = (numbers.next().flatten(), numbers.next().flatten());
    let small = |number: Option<u64>, usual: u8| {
        number.map_or(usual, |number| u8::try_from(number).unwrap_or(u8::MAX))
    };
    let places = second.map(|_| small(second, 0));
    let int = |bits| Kind::Int {
        bits,
        unsigned: rest.contains("unsigned"),
    };
    match word {
        "tinyint" => int(8),
        "smallint" => int(16),
        "mediumint" => int(24),
        "int" => int(32),
        "bigint" => int(64),
        "decimal" => Kind::Decimal {
            precision: small(first, 10),
            scale: small(second, 0),
        },
        "float" => Kind::Float {
            places,
            unsigned_zero: true,
        },
        "double" => Kind::Double {
            places,
            unsigned_zero: true,
        },
        "bit" => Kind::Bit {
            bits: small(first, 1),
        },
        "year" => Kind::Year,
        "date" => Kind::Date,
        "time" => Kind::Time {
            fraction: small(first, 0),
        },
        "datetime" => Kind::DateTime {
            fraction: small(first, 0),
        },
        "timestamp" => Kind::Timestamp {
            fraction: small(first, 0),
        },
        "char" => Kind::Char {
            characters: first.unwrap_or(1),
        },
        "varchar" => Kind::VarChar {
            characters: first.unwrap_or(0),
        },
        "tinytext" | "text" | "mediumtext" | "longtext" => Kind::Text,
        "binary" => Kind::Binary {
            bytes: first.unwrap_or(1),
        },
        "varbinary" => Kind::VarBinary {
            bytes: first.unwrap_or(0),
        },
        "tinyblob" | "blob" | "mediumblob" | "longblob" | "vector" => Kind::Blob,
        "enum" => Kind::Enum,
        "set" => Kind::Set,
        "json" => Kind::Json,
        "geometry" | "point" | "linestring" | "polygon" | "multipoint" | "multilinestring"
        | "multipolygon" | "geometrycollection" | "geomcollection" => {
            Kind::Geometry { guarded: true }
        }
        "uuid" => Kind::Uuid,
        "inet4" => Kind::Inet4,
        "inet6" => Kind::Inet6,
        _ => Kind::Other,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn members_are_told_apart() {
        let of = |declared| members(declared).collect::<Vec<_>>();
        assert_eq!(of("enum('1','b c','it''s')"), ["1", "b c", "it''s"]);
        assert_eq!(of("set('x')"), ["x"]);
    }

    #[test]
    fn declared_types_are_read() {
        for (declared, want) in [
            (
                "bigint(20) unsigned zerofill",
                Kind::Int {
                    bits: 64,
                    unsigned: true,
                },
            ),
            (
                "tinyint(1)",
                Kind::Int {
                    bits: 8,
                    unsigned: false,
                },
            ),
            (
                "decimal(65,30)",
                Kind::Decimal {
                    precision: 65,
                    scale: 30,
                },
            ),
            ("datetime(6)", Kind::DateTime { fraction: 6 }),
            ("timestamp", Kind::Timestamp { fraction: 0 }),
            ("time(3) /* mariadb-5.3 */", Kind::Time { fraction: 3 }),
            ("varchar(20)", Kind::VarChar { characters: 20 }),
            ("enum('unsigned','b)')", Kind::Enum),
            (
                "double(8,3)",
                Kind::Double {
                    places: Some(3),
                    unsigned_zero: true,
                },
            ),
            (
                "float",
                Kind::Float {
                    places: None,
                    unsigned_zero: true,
                },
            ),
            ("bit(64)", Kind::Bit { bits: 64 }),
            ("geometrycollection", Kind::Geometry { guarded: true }),
            ("year(4)", Kind::Year),
        ] {
            assert_eq!(kind(declared), want, "{declared}");
        }
    }
}
