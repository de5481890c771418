//! Which tables there are, and what they are made of.

use serde::{Deserialize, Serialize};
use tidegate_core::Result;

use crate::types::{Column, Mapping};
use crate::wire::Connection;

/// A table, or a view.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Table {
    pub(crate) database: String,
    pub(crate) name: String,
    /// In the server's order; invisible ones included.
    pub(crate) columns: Vec<Column>,
    /// The key by which it is read: the primary key, else the best unique key, of columns that
    /// can't be NULL and whose order is exact (no FLOAT, no prefix of a column).
    pub(crate) key: Option<Key>,
    /// The engine's guess of how many rows there are, and how many bytes.
    pub(crate) rows: Option<u64>,
    pub(crate) bytes: Option<u64>,
    /// `InnoDB`; none for a view.
    pub(crate) engine: Option<String>,
}

/// An index that tells rows apart.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Key {
    /// Its name, for FORCE INDEX: `PRIMARY`.
    pub(crate) index: String,
    /// Positions of its columns in the table's.
    pub(crate) columns: Vec<usize>,
}

/// Finds tables of `database`: those that match one of `patterns` (names or globs), or all. In a
/// fixed number of queries, however many tables there are.
///
/// Errors: `NotFound` for a name or a glob that nothing matches.
pub(crate) async fn tables(
    connection: &mut Connection,
    database: &str,
    patterns: &[String],
    mapping: Mapping,
) -> Result<Vec<Table>> {
    let _ = (connection, database, patterns, mapping);
    unimplemented!("helper B")
}

/// The columns of what a query gives, from the server's metadata alone.
pub(crate) async fn query(
    connection: &mut Connection,
    sql: &str,
    mapping: Mapping,
) -> Result<Vec<Column>> {
    let _ = (connection, sql, mapping);
    unimplemented!("helper B")
}
