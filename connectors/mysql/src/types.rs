//! The server's types, and what they are in Arrow.
//!
//! | server | Arrow |
//! |---|---|
//! | TINYINT, SMALLINT, MEDIUMINT, INT, BIGINT | Int8, Int16, Int32, Int32, Int64; UNSIGNED: UInt8 … UInt64 |
//! | TINYINT(1) | Boolean if `map_tinyint1_to_bool`; a row with another value than 0 and 1 is rejected |
//! | DECIMAL(p,s) | Decimal128(p,s) up to 38 digits, Decimal256(p,s) beyond |
//! | FLOAT, DOUBLE | Float32, Float64 |
//! | BIT(1), BIT(n) | Boolean, UInt64 |
//! | YEAR | UInt16; the year 0000 is 0 |
//! | DATE, DATETIME, TIMESTAMP | Date32, Timestamp(µs), Timestamp(µs, "UTC") |
//! | TIME | Duration(µs): it has a sign, and more than 24 hours |
//! | CHAR, VARCHAR, TEXT, ENUM, SET, JSON, UUID, INET4, INET6 | Utf8, as the server prints them |
//! | BINARY, VARBINARY, BLOB, VECTOR | Binary |
//! | GEOMETRY and its kinds | Binary: WKB |

use std::collections::HashMap;
use std::sync::Arc;

use arrow_schema::{DataType, Field, TimeUnit};
use mysql_common::constants::{ColumnFlags, ColumnType};
use mysql_common::packets::Column as Wire;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use tidegate_core::{Error, Result};

use crate::sql;

/// The key of a field's metadata under which the declared type stands.
pub(crate) const DECLARED: &str = "mysql.type";

/// The character set of what is no text ("binary" in the server's list of collations).
const NO_TEXT: u16 = 63;

/// The digits that a Decimal128 holds.
const SMALL_DECIMAL: u8 = 38;

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

impl Default for Mapping {
    fn default() -> Self {
        Self {
            tinyint1_to_bool: true,
            zero_dates: ZeroDates::default(),
        }
    }
}

/// A column's type at the server.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) enum Type {
    /// TINYINT(1), if truth values are asked for. Signed: `TINYINT(1) UNSIGNED` is a number.
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
    /// BINARY, VARBINARY, BLOB of any size, VECTOR.
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

impl Type {
    /// From a column's declaration: `tinyint(1) unsigned`, `decimal(38,2)`, `datetime(6)`. `text`:
    /// it has a character set.
    ///
    /// A type that is unknown here is a text or bytes; that it comes as such is seen when it comes.
    pub(crate) fn of_declaration(declared: &str, text: bool, mapping: Mapping) -> Self {
        let declared = declared.to_ascii_lowercase();
        let (name, rest) = match declared.find(|c: char| !c.is_ascii_alphanumeric() && c != '_') {
            Some(end) => declared.split_at(end),
            None => (declared.as_str(), ""),
        };
        let (numbers, attributes) = match rest.strip_prefix('(').and_then(|r| r.split_once(')')) {
            Some((numbers, attributes)) => (numbers, attributes),
            None => ("", rest),
        };
        let mut numbers = numbers.split(',').map(|number| number.trim().parse().ok());
        let first: Option<u8> = numbers.next().flatten();
        let second: Option<u8> = numbers.next().flatten();
        let unsigned = attributes
            .split_ascii_whitespace()
            .any(|word| word == "unsigned" || word == "zerofill");
        let fraction = first.unwrap_or(0);
        match name {
            "tinyint" if first == Some(1) && !unsigned && mapping.tinyint1_to_bool => Self::Bool,
            "tinyint" => Self::TinyInt { unsigned },
            "smallint" => Self::SmallInt { unsigned },
            "mediumint" => Self::MediumInt { unsigned },
            "int" | "integer" => Self::Int { unsigned },
            "bigint" => Self::BigInt { unsigned },
            "decimal" | "numeric" => Self::Decimal {
                precision: first.unwrap_or(10),
                scale: second.unwrap_or(0),
            },
            "float" => Self::Float,
            "double" | "real" => Self::Double,
            "bit" => Self::Bit {
                bits: first.unwrap_or(1),
            },
            "year" => Self::Year,
            "date" => Self::Date,
            "time" => Self::Time { fraction },
            "datetime" => Self::DateTime { fraction },
            "timestamp" => Self::Timestamp { fraction },
            "enum" => Self::Enum,
            "set" => Self::Set,
            "json" => Self::Json,
            "uuid" => Self::Uuid,
            "inet4" => Self::Inet4,
            "inet6" => Self::Inet6,
            "geometry" | "point" | "linestring" | "polygon" | "multipoint" | "multilinestring"
            | "multipolygon" | "geometrycollection" | "geomcollection" => Self::Geometry,
            _ if text => Self::Text,
            _ => Self::Binary,
        }
    }

    /// Whether it is a date, with a time or without: what `zero_dates` is about.
    pub(crate) fn is_date(self) -> bool {
        matches!(
            self,
            Self::Date | Self::DateTime { .. } | Self::Timestamp { .. }
        )
    }

    /// Whether no row is rejected for what its column of this type holds.
    pub(crate) fn takes_all(self, mapping: Mapping) -> bool {
        self != Self::Bool && !(self.is_date() && mapping.zero_dates == ZeroDates::Error)
    }

    /// Its type in Arrow.
    pub(crate) fn arrow(self, mapping: Mapping) -> DataType {
        if self.is_date() && mapping.zero_dates == ZeroDates::Text {
            return DataType::Utf8;
        }
        match self {
            Self::Bool | Self::Bit { bits: 1 } => DataType::Boolean,
            Self::TinyInt { unsigned: false } => DataType::Int8,
            Self::TinyInt { unsigned: true } => DataType::UInt8,
            Self::SmallInt { unsigned: false } => DataType::Int16,
            Self::SmallInt { unsigned: true } | Self::Year => DataType::UInt16,
            Self::MediumInt { unsigned: false } | Self::Int { unsigned: false } => DataType::Int32,
            Self::MediumInt { unsigned: true } | Self::Int { unsigned: true } => DataType::UInt32,
            Self::BigInt { unsigned: false } => DataType::Int64,
            Self::BigInt { unsigned: true } | Self::Bit { .. } => DataType::UInt64,
            Self::Decimal { precision, scale } => {
                // 30 at most.
                let scale = i8::try_from(scale).unwrap_or(i8::MAX);
                match precision {
                    ..=SMALL_DECIMAL => DataType::Decimal128(precision, scale),
                    _ => DataType::Decimal256(precision, scale),
                }
            }
            Self::Float => DataType::Float32,
            Self::Double => DataType::Float64,
            Self::Date => DataType::Date32,
            Self::Time { .. } => DataType::Duration(TimeUnit::Microsecond),
            Self::DateTime { .. } => DataType::Timestamp(TimeUnit::Microsecond, None),
            Self::Timestamp { .. } => {
                DataType::Timestamp(TimeUnit::Microsecond, Some(Arc::from("UTC")))
            }
            Self::Text
            | Self::Enum
            | Self::Set
            | Self::Json
            | Self::Uuid
            | Self::Inet4
            | Self::Inet6 => DataType::Utf8,
            Self::Binary | Self::Geometry => DataType::Binary,
        }
    }
}

/// A column of a table or of a query.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Column {
    pub(crate) name: String,
    pub(crate) kind: Type,
    pub(crate) nullable: bool,
    /// As the server declares it: `decimal(38,2)`, `enum('a','b')`. MariaDB's JSON, a LONGTEXT with
    /// a check, is `json`.
    pub(crate) declared: String,
    /// The character set of a table's column of text, ENUM or SET: `latin1`.
    pub(crate) charset: Option<String>,
    /// Its collation: `latin1_swedish_ci`.
    pub(crate) collation: Option<String>,
    /// The server computes it; nobody can write it.
    pub(crate) generated: bool,
    /// `SELECT *` leaves it out.
    pub(crate) invisible: bool,
}

impl Column {
    /// A column of what a query gives, from the metadata that the server sends.
    pub(crate) fn of_wire(wire: &Wire, mapping: Mapping) -> Self {
        let declared = declaration(wire);
        let flags = wire.flags();
        let text = wire.character_set() != NO_TEXT;
        let kind = match wire.column_type() {
            _ if flags.contains(ColumnFlags::ENUM_FLAG) => Type::Enum,
            _ if flags.contains(ColumnFlags::SET_FLAG) => Type::Set,
            ColumnType::MYSQL_TYPE_NULL => Type::Text,
            _ => Type::of_declaration(&declared, text, mapping),
        };
        Self {
            name: wire.name_str().into_owned(),
            kind,
            nullable: !flags.contains(ColumnFlags::NOT_NULL_FLAG),
            declared,
            charset: None,
            collation: None,
            generated: false,
            invisible: false,
        }
    }

    /// Its field in Arrow; the declared type stands in the metadata under `mysql.type`.
    ///
    /// With `zero_dates = "null"`, a column of dates can be NULL whatever the server says.
    ///
    /// Errors: `Unsupported` for a DECIMAL that Arrow has no room for, which no server declares.
    pub(crate) fn field(&self, mapping: Mapping) -> Result<Field> {
        if let Type::Decimal { precision, scale } = self.kind
            && (precision == 0 || precision > 76 || scale > precision)
        {
            return Err(Error::unsupported("a decimal of a size that can't be")
                .with("column", &self.name)
                .with("type", &self.declared));
        }
        let zero = self.kind.is_date() && mapping.zero_dates == ZeroDates::Null;
        let field = Field::new(&self.name, self.kind.arrow(mapping), self.nullable || zero);
        Ok(field.with_metadata(HashMap::from([(
            DECLARED.to_owned(),
            self.declared.clone(),
        )])))
    }

    /// What stands for it in a SELECT: its quoted name. In the binary protocol no column loses
    /// anything, so none needs an expression around it; an SRID is taken off by the decoder.
    pub(crate) fn select(&self, _: Mapping) -> String {
        sql::name(&self.name)
    }
}

/// How a table's column would be declared that holds what a query's does.
///
/// Lengths in metadata are bytes; a connection in utf8mb4 counts four for each character.
fn declaration(wire: &Wire) -> String {
    let flags = wire.flags();
    let (length, text) = (wire.column_length(), wire.character_set() != NO_TEXT);
    let sign = match flags.contains(ColumnFlags::UNSIGNED_FLAG) {
        true => " unsigned",
        false => "",
    };
    let fraction = match wire.decimals() {
        digits @ 1..=6 => format!("({digits})"),
        // More: an expression whose digits aren't known. It may have any.
        0 => String::new(),
        _ => "(6)".to_owned(),
    };
    let sized = |fixed: &str, varying: &str, large: &str| {
        let most = length / if text { 4 } else { 1 };
        match wire.column_type() {
            ColumnType::MYSQL_TYPE_STRING if most < 256 => format!("{fixed}({most})"),
            ColumnType::MYSQL_TYPE_STRING
            | ColumnType::MYSQL_TYPE_VAR_STRING
            | ColumnType::MYSQL_TYPE_VARCHAR
                if most <= 16_383 =>
            {
                format!("{varying}({most})")
            }
            _ => large.to_owned(),
        }
    };
    match wire.column_type() {
        _ if flags.contains(ColumnFlags::ENUM_FLAG) => "enum".to_owned(),
        _ if flags.contains(ColumnFlags::SET_FLAG) => "set".to_owned(),
        ColumnType::MYSQL_TYPE_TINY if length == 1 => format!("tinyint(1){sign}"),
        ColumnType::MYSQL_TYPE_TINY => format!("tinyint{sign}"),
        ColumnType::MYSQL_TYPE_SHORT => format!("smallint{sign}"),
        ColumnType::MYSQL_TYPE_INT24 => format!("mediumint{sign}"),
        ColumnType::MYSQL_TYPE_LONG => format!("int{sign}"),
        ColumnType::MYSQL_TYPE_LONGLONG => format!("bigint{sign}"),
        ColumnType::MYSQL_TYPE_DECIMAL | ColumnType::MYSQL_TYPE_NEWDECIMAL => {
            // The length counts the digits, the point if there is one, and the sign if there may be.
            let scale = wire.decimals().min(38);
            let around = u32::from(scale > 0) + u32::from(sign.is_empty());
            let digits = length.saturating_sub(around).clamp(1, 65);
            format!("decimal({},{scale}){sign}", digits.max(scale.into()))
        }
        ColumnType::MYSQL_TYPE_FLOAT => "float".to_owned(),
        ColumnType::MYSQL_TYPE_DOUBLE => "double".to_owned(),
        ColumnType::MYSQL_TYPE_BIT => format!("bit({length})"),
        ColumnType::MYSQL_TYPE_YEAR => "year".to_owned(),
        ColumnType::MYSQL_TYPE_DATE | ColumnType::MYSQL_TYPE_NEWDATE => "date".to_owned(),
        ColumnType::MYSQL_TYPE_TIME | ColumnType::MYSQL_TYPE_TIME2 => format!("time{fraction}"),
        ColumnType::MYSQL_TYPE_DATETIME | ColumnType::MYSQL_TYPE_DATETIME2 => {
            format!("datetime{fraction}")
        }
        ColumnType::MYSQL_TYPE_TIMESTAMP | ColumnType::MYSQL_TYPE_TIMESTAMP2 => {
            format!("timestamp{fraction}")
        }
        ColumnType::MYSQL_TYPE_JSON => "json".to_owned(),
        ColumnType::MYSQL_TYPE_GEOMETRY => "geometry".to_owned(),
        ColumnType::MYSQL_TYPE_VECTOR => format!("vector({})", length / 4),
        ColumnType::MYSQL_TYPE_NULL => "null".to_owned(),
        _ if text => sized("char", "varchar", "longtext"),
        _ => sized("binary", "varbinary", "longblob"),
    }
}
