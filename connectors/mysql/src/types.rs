//! The server's types, and what they are in Arrow.

use arrow_schema::Field;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use tidegate_core::Result;

/// What becomes of dates that no calendar has: `0000-00-00`, `2020-00-15`.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum ZeroDates {
    /// They become NULL.
    Null,
    /// Their rows are rejected, with the column and the value.
    #[default]
    Error,
    /// Columns of dates and times become texts, exactly as the server prints them.
    Text,
}

/// How types are mapped.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Mapping {
    /// TINYINT(1) is a truth value.
    pub(crate) tinyint1_to_bool: bool,
    pub(crate) zero_dates: ZeroDates,
}

/// A column's type at the server.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) enum Type {
    /// TINYINT(1), if truth values are asked for.
    Bool,
    TinyInt {
        unsigned: bool,
    },
    SmallInt {
        unsigned: bool,
    },
    MediumInt {
        unsigned: bool,
    },
    Int {
        unsigned: bool,
    },
    BigInt {
        unsigned: bool,
    },
    Decimal {
        precision: u8,
        scale: u8,
    },
    Float,
    Double,
    /// 1 to 64 bits.
    Bit {
        bits: u8,
    },
    Year,
    Date,
    /// Digits of the fraction of a second, 0 to 6.
    Time {
        fraction: u8,
    },
    DateTime {
        fraction: u8,
    },
    Timestamp {
        fraction: u8,
    },
    /// CHAR, VARCHAR, TEXT of any size, with a character set.
    Text,
    /// BINARY, VARBINARY, BLOB of any size.
    Binary,
    Enum,
    Set,
    Json,
    /// GEOMETRY and its kinds: WKB, and the SRID in front of it left out.
    Geometry,
    // MariaDB's.
    Uuid,
    Inet4,
    Inet6,
}

/// A column of a table or of a query.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Column {
    pub(crate) name: String,
    pub(crate) kind: Type,
    pub(crate) nullable: bool,
    /// As the server declares it: `decimal(38,2)`, `enum('a','b')`.
    pub(crate) declared: String,
}

impl Column {
    /// Its field in Arrow; the declared type stands in the metadata under `mysql.type`.
    pub(crate) fn field(&self, mapping: Mapping) -> Result<Field> {
        let _ = mapping;
        unimplemented!("helper B")
    }

    /// What stands for it in a SELECT: its quoted name, or an expression around it where the bare
    /// column would lose something, with the name as its alias.
    pub(crate) fn select(&self, mapping: Mapping) -> String {
        let _ = mapping;
        unimplemented!("helper B")
    }
}
