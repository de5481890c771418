//! How values lie in rows of the binlog.

use super::bytes::{Broken, Bytes};
use super::values::{decimal_width, fraction_width};
use crate::types::with_fraction;

/// How a value lies in a row of the binlog.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Stored {
    Tiny,
    Short,
    Int24,
    Long,
    LongLong,
    Float,
    Double,
    Year,
    Date,
    /// As before MySQL 5.6, whole seconds.
    OldTime,
    OldDateTime,
    OldTimestamp,
    Time {
        fraction: u8,
    },
    DateTime {
        fraction: u8,
    },
    Timestamp {
        fraction: u8,
    },
    Decimal {
        precision: u8,
        scale: u8,
    },
    Bit {
        bits: u8,
    },
    /// VARCHAR and VARBINARY: at most this many bytes.
    Varying {
        most: u16,
    },
    /// CHAR and BINARY: padded to this many bytes, the padding left out.
    Fixed {
        most: u16,
    },
    /// Its length takes this many bytes.
    Blob {
        width: u8,
    },
    Json {
        width: u8,
    },
    Geometry {
        width: u8,
    },
    /// MySQL's; MariaDB stores its own as VARBINARY.
    Vector {
        width: u8,
    },
    Enum {
        width: u8,
    },
    Set {
        width: u8,
    },
    /// MariaDB's COMPRESSED columns of VARCHAR and VARBINARY.
    CompressedVarying {
        most: u16,
    },
    /// And those of TEXT and BLOB.
    CompressedBlob {
        width: u8,
    },
}

impl Stored {
    /// Whether the map tells its sign.
    pub(super) fn is_numeric(self) -> bool {
        matches!(
            self,
            Self::Tiny
                | Self::Short
                | Self::Int24
                | Self::Long
                | Self::LongLong
                | Self::Float
                | Self::Double
                | Self::Year
                | Self::Decimal { .. }
        )
    }

    /// Whether the map tells its collation among those of texts. MySQL goes by the type
    /// (`is_character_type` in its log_event.cc), MariaDB by whether the column has a collation at
    /// all (`is_character_field`), and a geometry has that of bytes.
    pub(super) fn is_text(self, mariadb: bool) -> bool {
        match self {
            Self::Varying { .. } | Self::Fixed { .. } | Self::Blob { .. } => true,
            Self::Geometry { .. }
            | Self::CompressedVarying { .. }
            | Self::CompressedBlob { .. } => mariadb,
            Self::Vector { .. } => !mariadb,
            _ => false,
        }
    }

    pub(super) fn parse(number: u8, told: &mut Bytes<'_>) -> Result<Self, Broken> {
        Ok(match number {
            1 => Self::Tiny,
            2 => Self::Short,
            3 => Self::Long,
            4 => {
                told.u8()?;
                Self::Float
            }
            5 => {
                told.u8()?;
                Self::Double
            }
            7 => Self::OldTimestamp,
            8 => Self::LongLong,
            9 => Self::Int24,
            10 | 14 => Self::Date,
            11 => Self::OldTime,
            12 => Self::OldDateTime,
            13 => Self::Year,
            15 | 253 => Self::Varying { most: told.u16()? },
            16 => {
                let (bits, bytes) = (told.u8()?, told.u8()?);
                let whole = bytes.checked_mul(8).ok_or(Broken)?;
                Self::Bit {
                    bits: whole.checked_add(bits).ok_or(Broken)?,
                }
            }
            17 => Self::Timestamp {
                fraction: told.u8()?,
            },
            18 => Self::DateTime {
                fraction: told.u8()?,
            },
            19 => Self::Time {
                fraction: told.u8()?,
            },
            140 => Self::CompressedBlob { width: told.u8()? },
            141 => Self::CompressedVarying { most: told.u16()? },
            242 => Self::Vector { width: told.u8()? },
            249..=252 => Self::Blob { width: told.u8()? },
            245 => Self::Json { width: told.u8()? },
            246 => Self::Decimal {
                precision: told.u8()?,
                scale: told.u8()?,
            },
            254 | 247 | 248 => {
                // The real type; where CHAR is longer than 255 bytes, two bits of its length are
                // hidden in the type (MySQL bug 37426).
                let (high, low) = (told.u8()?, told.u8()?);
                match (number, high) {
                    (247, _) | (_, 247) => Self::Enum { width: low },
                    (248, _) | (_, 248) => Self::Set { width: low },
                    _ => Self::Fixed {
                        most: u16::from(low) | u16::from((high & 0x30) ^ 0x30) << 4,
                    },
                }
            }
            255 => Self::Geometry { width: told.u8()? },
            _ => return Err(Broken),
        })
    }

    /// Takes a value from the front: its bytes, without the length before them.
    pub(super) fn take<'a>(self, bytes: &mut Bytes<'a>) -> Result<&'a [u8], Broken> {
        let width = match self {
            Self::Tiny | Self::Year => 1,
            Self::Short => 2,
            Self::Int24 | Self::Date | Self::OldTime => 3,
            Self::Long | Self::Float | Self::OldTimestamp => 4,
            Self::LongLong | Self::Double | Self::OldDateTime => 8,
            Self::Time { fraction } => 3 + fraction_width(fraction),
            Self::DateTime { fraction } => 5 + fraction_width(fraction),
            Self::Timestamp { fraction } => 4 + fraction_width(fraction),
            Self::Decimal { precision, scale } => decimal_width(precision, scale),
            Self::Bit { bits } => usize::from(bits).div_ceil(8),
            Self::Enum { width } | Self::Set { width } => width.into(),
            Self::Varying { most } | Self::Fixed { most } | Self::CompressedVarying { most } => {
                return prefixed(bytes, if most > 255 { 2 } else { 1 });
            }
            Self::Blob { width }
            | Self::CompressedBlob { width }
            | Self::Json { width }
            | Self::Geometry { width }
            | Self::Vector { width } => return prefixed(bytes, width.into()),
        };
        bytes.take(width)
    }

    /// How a table's column would be declared that is stored so; as far as that can be told.
    pub(super) fn declaration(self, unsigned: bool, text: bool) -> String {
        let sign = if unsigned { " unsigned" } else { "" };
        match self {
            Self::Tiny => format!("tinyint{sign}"),
            Self::Short => format!("smallint{sign}"),
            Self::Int24 => format!("mediumint{sign}"),
            Self::Long => format!("int{sign}"),
            Self::LongLong => format!("bigint{sign}"),
            Self::Float => format!("float{sign}"),
            Self::Double => format!("double{sign}"),
            Self::Year => "year".to_owned(),
            Self::Date => "date".to_owned(),
            Self::OldTime => "time".to_owned(),
            Self::OldDateTime => "datetime".to_owned(),
            Self::OldTimestamp => "timestamp".to_owned(),
            Self::Time { fraction } => with_fraction("time", fraction),
            Self::DateTime { fraction } => with_fraction("datetime", fraction),
            Self::Timestamp { fraction } => with_fraction("timestamp", fraction),
            Self::Decimal { precision, scale } => format!("decimal({precision},{scale}){sign}"),
            Self::Bit { bits } => format!("bit({bits})"),
            Self::Varying { .. } | Self::CompressedVarying { .. } if text => "varchar".to_owned(),
            Self::Varying { most } | Self::CompressedVarying { most } => {
                format!("varbinary({most})")
            }
            Self::Fixed { .. } if text => "char".to_owned(),
            Self::Fixed { most } => format!("binary({most})"),
            Self::Blob { width } | Self::CompressedBlob { width } => {
                let size = match width {
                    1 => "tiny",
                    2 => "",
                    3 => "medium",
                    _ => "long",
                };
                format!("{size}{}", if text { "text" } else { "blob" })
            }
            Self::Json { .. } => "json".to_owned(),
            Self::Geometry { .. } => "geometry".to_owned(),
            Self::Vector { .. } => "vector".to_owned(),
            Self::Enum { .. } => "enum".to_owned(),
            Self::Set { .. } => "set".to_owned(),
        }
    }
}

fn prefixed<'a>(bytes: &mut Bytes<'a>, width: usize) -> Result<&'a [u8], Broken> {
    let length = usize::try_from(bytes.uint(width)?).map_err(|_| Broken)?;
    bytes.take(length)
}
