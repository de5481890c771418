//! Types as the server's metadata tells them, of what a query gives.

use mysql_common::constants::{ColumnFlags, ColumnType};
use mysql_common::packets::Column as Wire;

use super::column::Column;
use super::declared::with_fraction;
use super::kind::{Mapping, Type};

/// The character set of what is no text ("binary" in the server's list of collations).
const NO_TEXT: u16 = 63;

impl Column {
    /// A column of what a query gives, from the metadata that the server sends.
    pub(crate) fn of_wire(wire: &Wire, mapping: Mapping) -> Self {
        let declared = declaration(wire);
        let text =
            wire.character_set() != NO_TEXT || wire.column_type() == ColumnType::MYSQL_TYPE_NULL;
        let kind = Type::of_column(&declared, text, mapping);
        Self {
            nullable: !wire.flags().contains(ColumnFlags::NOT_NULL_FLAG),
            ..Self::new(&wire.name_str(), kind, declared)
        }
    }
}

impl Type {
    /// Whether a column's values come in its shape.
    pub(crate) fn comes_as(self, wire: &Wire) -> bool {
        use ColumnType as W;
        let unsigned = wire.flags().contains(ColumnFlags::UNSIGNED_FLAG);
        let comes = wire.column_type();
        match self {
            Self::Bool => comes == W::MYSQL_TYPE_TINY && !unsigned,
            Self::TinyInt { unsigned: sign } => comes == W::MYSQL_TYPE_TINY && sign == unsigned,
            Self::SmallInt { unsigned: sign } => comes == W::MYSQL_TYPE_SHORT && sign == unsigned,
            Self::MediumInt { unsigned: sign } | Self::Int { unsigned: sign } => {
                matches!(comes, W::MYSQL_TYPE_INT24 | W::MYSQL_TYPE_LONG) && sign == unsigned
            }
            Self::BigInt { unsigned: sign } => comes == W::MYSQL_TYPE_LONGLONG && sign == unsigned,
            Self::Decimal { scale, .. } => {
                matches!(comes, W::MYSQL_TYPE_DECIMAL | W::MYSQL_TYPE_NEWDECIMAL)
                    && wire.decimals() == scale
            }
            Self::Float => comes == W::MYSQL_TYPE_FLOAT,
            Self::Double => comes == W::MYSQL_TYPE_DOUBLE,
            Self::Bit { .. } => comes == W::MYSQL_TYPE_BIT,
            Self::Year => comes == W::MYSQL_TYPE_YEAR,
            Self::Date => matches!(comes, W::MYSQL_TYPE_DATE | W::MYSQL_TYPE_NEWDATE),
            Self::Time { .. } => matches!(comes, W::MYSQL_TYPE_TIME | W::MYSQL_TYPE_TIME2),
            Self::DateTime { .. } => {
                matches!(comes, W::MYSQL_TYPE_DATETIME | W::MYSQL_TYPE_DATETIME2)
            }
            Self::Timestamp { .. } => {
                matches!(comes, W::MYSQL_TYPE_TIMESTAMP | W::MYSQL_TYPE_TIMESTAMP2)
            }
            Self::Geometry => comes == W::MYSQL_TYPE_GEOMETRY,
            Self::Text
            | Self::Binary
            | Self::Enum
            | Self::Set
            | Self::Json
            | Self::Uuid
            | Self::Inet4
            | Self::Inet6 => matches!(
                comes,
                W::MYSQL_TYPE_NULL
                    | W::MYSQL_TYPE_VARCHAR
                    | W::MYSQL_TYPE_VECTOR
                    | W::MYSQL_TYPE_JSON
                    | W::MYSQL_TYPE_ENUM
                    | W::MYSQL_TYPE_SET
                    | W::MYSQL_TYPE_TINY_BLOB
                    | W::MYSQL_TYPE_MEDIUM_BLOB
                    | W::MYSQL_TYPE_LONG_BLOB
                    | W::MYSQL_TYPE_BLOB
                    | W::MYSQL_TYPE_VAR_STRING
                    | W::MYSQL_TYPE_STRING
            ),
        }
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
    // More than 6: an expression whose digits aren't known. It may have any.
    let timed = |word: &str| with_fraction(word, wire.decimals().min(6));
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
        ColumnType::MYSQL_TYPE_TIME | ColumnType::MYSQL_TYPE_TIME2 => timed("time"),
        ColumnType::MYSQL_TYPE_DATETIME | ColumnType::MYSQL_TYPE_DATETIME2 => timed("datetime"),
        ColumnType::MYSQL_TYPE_TIMESTAMP | ColumnType::MYSQL_TYPE_TIMESTAMP2 => timed("timestamp"),
        ColumnType::MYSQL_TYPE_JSON => "json".to_owned(),
        ColumnType::MYSQL_TYPE_GEOMETRY => "geometry".to_owned(),
        ColumnType::MYSQL_TYPE_VECTOR => format!("vector({})", length / 4),
        ColumnType::MYSQL_TYPE_NULL => "null".to_owned(),
        _ if text => sized("char", "varchar", "longtext"),
        _ => sized("binary", "varbinary", "longblob"),
    }
}
