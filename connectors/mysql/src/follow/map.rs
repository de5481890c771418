//! Table maps: what the rows that follow are made of.

use super::bytes::{Broken, Bytes};

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
    fn is_numeric(self) -> bool {
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
    fn is_text(self, mariadb: bool) -> bool {
        match self {
            Self::Varying { .. } | Self::Fixed { .. } | Self::Blob { .. } => true,
            Self::Geometry { .. }
            | Self::CompressedVarying { .. }
            | Self::CompressedBlob { .. } => mariadb,
            Self::Vector { .. } => !mariadb,
            _ => false,
        }
    }

    fn parse(number: u8, told: &mut Bytes<'_>) -> Result<Self, Broken> {
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
}

/// A column as a map tells it. The optional parts come with `binlog_row_metadata = FULL`, the sign
/// also with `MINIMAL`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct MapColumn {
    pub(super) stored: Stored,
    pub(super) nullable: bool,
    pub(super) unsigned: Option<bool>,
    pub(super) name: Option<String>,
    /// The number of a text's collation; 63 for bytes.
    pub(super) collation: Option<usize>,
    /// The members of an ENUM or SET, in the collation of `member_collation`.
    pub(super) members: Option<Vec<Vec<u8>>>,
    pub(super) member_collation: Option<usize>,
}

/// What the rows that follow are made of.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct TableMap {
    pub(super) database: String,
    pub(super) table: String,
    pub(super) columns: Vec<MapColumn>,
}

/// The number by which events of rows refer to their table's map, which stands before all else.
pub(super) fn id(body: &[u8]) -> Result<u64, Broken> {
    Bytes(body).uint(6)
}

/// All that a map says but its number, which changes for many reasons.
pub(super) fn substance(body: &[u8]) -> Result<&[u8], Broken> {
    body.get(8..).ok_or(Broken)
}

/// The names of database and table.
pub(super) fn names(body: &[u8]) -> Result<(&str, &str), Broken> {
    let mut bytes = Bytes(substance(body)?);
    Ok((name(&mut bytes)?, name(&mut bytes)?))
}

fn name<'a>(bytes: &mut Bytes<'a>) -> Result<&'a str, Broken> {
    let length = usize::from(bytes.u8()?);
    let name = std::str::from_utf8(bytes.take(length)?).map_err(|_| Broken)?;
    bytes.u8()?;
    Ok(name)
}

impl TableMap {
    /// Reads the map of a MariaDB, or of a MySQL.
    pub(super) fn parse(body: &[u8], mariadb: bool) -> Result<Self, Broken> {
        let mut bytes = Bytes(substance(body)?);
        let database = name(&mut bytes)?.to_owned();
        let table = name(&mut bytes)?.to_owned();
        let count = bytes.length()?;
        let types = bytes.take(count)?;
        let mut told = Bytes(bytes.counted()?);
        let nullable = bytes.take(count.div_ceil(8))?;
        let mut columns = Vec::with_capacity(count);
        for (at, number) in types.iter().enumerate() {
            columns.push(MapColumn {
                stored: Stored::parse(*number, &mut told)?,
                nullable: nullable[at / 8] >> (at % 8) & 1 == 1,
                unsigned: None,
                name: None,
                collation: None,
                members: None,
                member_collation: None,
            });
        }
        let mut map = Self {
            database,
            table,
            columns,
        };
        map.parse_optional(bytes, mariadb)?;
        Ok(map)
    }

    /// Whether the names of the columns are known, and with them all else.
    pub(super) fn is_full(&self) -> bool {
        self.columns.iter().all(|column| column.name.is_some())
    }

    fn parse_optional(&mut self, mut bytes: Bytes<'_>, mariadb: bool) -> Result<(), Broken> {
        let is_text = |column: &MapColumn| column.stored.is_text(mariadb);
        let is_enum = |column: &MapColumn| matches!(column.stored, Stored::Enum { .. });
        let is_set = |column: &MapColumn| matches!(column.stored, Stored::Set { .. });
        let has_members = |column: &MapColumn| is_enum(column) || is_set(column);
        while !bytes.is_empty() {
            let field = bytes.u8()?;
            let mut value = Bytes(bytes.counted()?);
            match field {
                1 => self.signs(value)?,
                2 => self.default_collation(value, is_text, |c| &mut c.collation)?,
                3 => self.collations(value, is_text, |c| &mut c.collation)?,
                4 => {
                    for column in &mut self.columns {
                        let name = std::str::from_utf8(value.counted()?).map_err(|_| Broken)?;
                        column.name = Some(name.to_owned());
                    }
                }
                5 => self.members(value, is_set)?,
                6 => self.members(value, is_enum)?,
                10 => self.default_collation(value, has_members, |c| &mut c.member_collation)?,
                11 => self.collations(value, has_members, |c| &mut c.member_collation)?,
                // The kinds of geometries; the primary key; visibility.
                _ => {}
            }
        }
        Ok(())
    }

    fn signs(&mut self, value: Bytes<'_>) -> Result<(), Broken> {
        let numeric = self.columns.iter_mut().filter(|c| c.stored.is_numeric());
        for (at, column) in numeric.enumerate() {
            let byte = value.0.get(at / 8).ok_or(Broken)?;
            // The first column stands in the highest bit.
            column.unsigned = Some(byte >> (7 - at % 8) & 1 == 1);
        }
        Ok(())
    }

    /// One collation for all, and the exceptions: the column's number among those of its kind, its
    /// collation.
    fn default_collation(
        &mut self,
        mut value: Bytes<'_>,
        concerned: impl Fn(&MapColumn) -> bool,
        slot: impl Fn(&mut MapColumn) -> &mut Option<usize>,
    ) -> Result<(), Broken> {
        let default = value.length()?;
        let mut concerned: Vec<_> = self.columns.iter_mut().filter(|c| concerned(c)).collect();
        for column in &mut concerned {
            *slot(column) = Some(default);
        }
        while !value.is_empty() {
            let (at, collation) = (value.length()?, value.length()?);
            *slot(concerned.get_mut(at).ok_or(Broken)?) = Some(collation);
        }
        Ok(())
    }

    fn collations(
        &mut self,
        mut value: Bytes<'_>,
        concerned: impl Fn(&MapColumn) -> bool,
        slot: impl Fn(&mut MapColumn) -> &mut Option<usize>,
    ) -> Result<(), Broken> {
        for column in self.columns.iter_mut().filter(|c| concerned(c)) {
            *slot(column) = Some(value.length()?);
        }
        Ok(())
    }

    fn members(
        &mut self,
        mut value: Bytes<'_>,
        concerned: impl Fn(&MapColumn) -> bool,
    ) -> Result<(), Broken> {
        for column in self.columns.iter_mut().filter(|c| concerned(c)) {
            let count = value.length()?;
            let members: Result<_, Broken> =
                (0..count).map(|_| Ok(value.counted()?.to_vec())).collect();
            column.members = Some(members?);
        }
        Ok(())
    }
}
