//! Table maps: what the rows that follow are made of.

use super::bytes::{Broken, Bytes};
use super::stored::Stored;

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
