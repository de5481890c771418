//! Which types there are.

use std::sync::Arc;

use arrow_schema::{DataType, TimeUnit};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::declared::Declared;

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
    /// TINYINT(1) is a boolean.
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
    /// TINYINT(1), if booleans are asked for. Signed: `TINYINT(1) UNSIGNED` is a number.
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
    /// What is declared so; none for a word that isn't known here.
    pub(crate) fn of(declared: &Declared, mapping: Mapping) -> Option<Self> {
        let unsigned = declared.unsigned;
        let fraction = declared.size(0);
        Some(match declared.word.as_str() {
            "tinyint" if declared.number() == Some(1) && !unsigned && mapping.tinyint1_to_bool => {
                Self::Bool
            }
            "tinyint" => Self::TinyInt { unsigned },
            "smallint" => Self::SmallInt { unsigned },
            "mediumint" => Self::MediumInt { unsigned },
            "int" | "integer" => Self::Int { unsigned },
            "bigint" => Self::BigInt { unsigned },
            "decimal" | "numeric" => Self::Decimal {
                precision: declared.size(10),
                scale: declared.places().unwrap_or(0),
            },
            "float" => Self::Float,
            "double" | "real" => Self::Double,
            "bit" => Self::Bit {
                bits: declared.size(1),
            },
            "year" => Self::Year,
            "date" => Self::Date,
            "time" => Self::Time { fraction },
            "datetime" => Self::DateTime { fraction },
            "timestamp" => Self::Timestamp { fraction },
            "char" | "varchar" | "tinytext" | "text" | "mediumtext" | "longtext" => Self::Text,
            "binary" | "varbinary" | "tinyblob" | "blob" | "mediumblob" | "longblob" | "vector" => {
                Self::Binary
            }
            "enum" => Self::Enum,
            "set" => Self::Set,
            "json" => Self::Json,
            "uuid" => Self::Uuid,
            "inet4" => Self::Inet4,
            "inet6" => Self::Inet6,
            "geometry" | "point" | "linestring" | "polygon" | "multipoint" | "multilinestring"
            | "multipolygon" | "geometrycollection" | "geomcollection" => Self::Geometry,
            _ => return None,
        })
    }

    /// What a column declared so gives. `text`: it has a character set.
    ///
    /// A type that is unknown here is a text or bytes; that it comes as such is seen when it comes.
    pub(crate) fn of_column(declared: &str, text: bool, mapping: Mapping) -> Self {
        Self::of(&Declared::parse(declared), mapping).unwrap_or(match text {
            true => Self::Text,
            false => Self::Binary,
        })
    }

    /// The bits of an integer, and whether it has no sign.
    pub(crate) fn integer(self) -> Option<(u8, bool)> {
        match self {
            Self::TinyInt { unsigned } => Some((8, unsigned)),
            Self::SmallInt { unsigned } => Some((16, unsigned)),
            Self::MediumInt { unsigned } => Some((24, unsigned)),
            Self::Int { unsigned } => Some((32, unsigned)),
            Self::BigInt { unsigned } => Some((64, unsigned)),
            _ => None,
        }
    }

    /// Whether it is a date, with a time or without: what `zero_dates` is about.
    pub(crate) const fn is_date(self) -> bool {
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn declared_types_are_read() {
        for (declared, want) in [
            (
                "bigint(20) unsigned zerofill",
                Type::BigInt { unsigned: true },
            ),
            ("tinyint(1)", Type::Bool),
            ("tinyint(1) unsigned", Type::TinyInt { unsigned: true }),
            ("tinyint(4)", Type::TinyInt { unsigned: false }),
            (
                "decimal(65,30)",
                Type::Decimal {
                    precision: 65,
                    scale: 30,
                },
            ),
            ("datetime(6)", Type::DateTime { fraction: 6 }),
            ("timestamp", Type::Timestamp { fraction: 0 }),
            ("time(3) /* mariadb-5.3 */", Type::Time { fraction: 3 }),
            ("varchar(20)", Type::Text),
            ("enum('unsigned','b)')", Type::Enum),
            ("double(8,3)", Type::Double),
            ("bit(64)", Type::Bit { bits: 64 }),
            ("geometrycollection", Type::Geometry),
            ("year(4)", Type::Year),
            ("unheard_of(3)", Type::Binary),
        ] {
            let read = Type::of_column(declared, false, Mapping::default());
            assert_eq!(read, want, "{declared}");
        }
        let sizes = |text| {
            let declared = Declared::parse(text);
            (declared.most(), declared.places(), declared.is_padded())
        };
        assert_eq!(sizes("varchar(20)"), (Some(20), None, false));
        assert_eq!(sizes("char"), (Some(1), None, true));
        assert_eq!(sizes("longblob"), (None, None, false));
        assert_eq!(sizes("double(8,3)"), (None, Some(3), false));
    }
}
