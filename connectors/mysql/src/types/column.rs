//! Columns of tables and of queries.

use std::collections::HashMap;

use arrow_schema::Field;
use serde::{Deserialize, Serialize};
use tidegate_core::{Error, Result};

use super::kind::{Mapping, Type, ZeroDates};

/// The key of a field's metadata under which the declared type stands.
pub(crate) const DECLARED: &str = "mysql.type";

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
    /// One that isn't a table's, or of which nothing more is known; never NULL.
    pub(crate) fn new(name: &str, kind: Type, declared: String) -> Self {
        Self {
            name: name.to_owned(),
            kind,
            nullable: false,
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
}
