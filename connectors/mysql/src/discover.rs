//! Which tables there are, and what they are made of.

use std::collections::HashMap;

use serde::{Deserialize, Serialize};
use tidegate_core::{Error, Result};

use crate::sql;
use crate::types::{Column, Mapping, Type};
use crate::wire::Connection;

mod keys;
mod names;

pub(crate) use keys::Key;

/// The databases that belong to the server itself.
const SYSTEM: [&str; 4] = ["information_schema", "mysql", "performance_schema", "sys"];

/// A table, or a view.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Table {
    pub(crate) database: String,
    pub(crate) name: String,
    /// In the server's order; invisible ones included.
    pub(crate) columns: Vec<Column>,
    /// The key by which it is read: the primary key, else the best unique key, of columns that
    /// can't be NULL and of which [`Decoder::literals`](crate::decode::Decoder::literals) can say
    /// exactly where a row stands in the index's order (no FLOAT, no SET, no prefix of a column).
    pub(crate) key: Option<Key>,
    /// The engine's guess of how many rows there are, and how many bytes.
    pub(crate) rows: Option<u64>,
    pub(crate) bytes: Option<u64>,
    /// `InnoDB`; none for a view.
    pub(crate) engine: Option<String>,
}

/// Finds tables of `database`: those that match one of `patterns` (names or globs), or all. Views
/// are found only by a pattern. In a fixed number of queries, however many tables there are.
///
/// Errors: `NotFound` for a name or a glob that nothing matches; `Config` for a database of the
/// server itself, and for a glob that is none.
pub(crate) async fn tables(
    connection: &mut Connection,
    database: &str,
    patterns: &[String],
    mapping: Mapping,
) -> Result<Vec<Table>> {
    if SYSTEM.contains(&database.to_ascii_lowercase().as_str()) {
        return Err(
            Error::config("this database belongs to the server itself, and is not read")
                .with("database", database)
                .hint("name the database whose tables you want"),
        );
    }
    let names = names::names(connection, database, patterns).await?;
    if names.is_empty() {
        return Ok(Vec::new());
    }
    let here = among(database, &names);
    let mut tables = sizes(connection, database, names, &here).await?;
    let at: HashMap<String, usize> = tables
        .iter()
        .enumerate()
        .map(|(at, table)| (table.name.clone(), at))
        .collect();
    columns(connection, &mut tables, &at, &here, mapping).await?;
    keys::keys(connection, &mut tables, &at, &here).await?;
    Ok(tables)
}

/// The columns of what a query gives, from the server's metadata alone. All of them can be NULL: of
/// `GROUP BY … WITH ROLLUP`, MariaDB says NOT NULL of columns that are.
///
/// Errors: `Config` for a query that gives no columns, and for two columns of one name;
/// `Unsupported` for an expression of type BIT, of which MariaDB sends the bits or, for `IF(…)` and
/// some others, the digits of a number, and nothing tells which.
pub(crate) async fn query(
    connection: &mut Connection,
    sql: &str,
    mapping: Mapping,
) -> Result<Vec<Column>> {
    let wire = connection.describe("prepare the query", sql).await?;
    if wire.is_empty() {
        return Err(Error::config("the query gives no rows").hint("it must be a SELECT"));
    }
    let columns: Vec<_> = wire
        .iter()
        .map(|column| Column {
            nullable: true,
            ..Column::of_wire(column, mapping)
        })
        .collect();
    for (at, column) in columns.iter().enumerate() {
        if matches!(column.kind, Type::Bit { .. }) && wire[at].org_table_ref().is_empty() {
            return Err(Error::unsupported(format!(
                "column `{}` of the query is an expression of type BIT",
                column.name
            ))
            .hint("the server sends it now as bits, now as digits; add 0 to make it a number: `MAX(b) + 0`"));
        }
        if columns[..at].iter().any(|other| other.name == column.name) {
            return Err(Error::config(format!(
                "two columns of the query are named `{}`",
                column.name
            ))
            .hint(format!(
                "give one of them another name: `SELECT a.{0}, b.{0} AS other_{0} …`",
                column.name
            )));
        }
    }
    Ok(columns)
}

/// The condition for rows of `information_schema` that are about these tables.
fn among(database: &str, names: &[String]) -> String {
    let database = sql::text(database);
    let names: Vec<_> = names.iter().map(|name| sql::text(name)).collect();
    format!(
        "TABLE_SCHEMA = {database} AND TABLE_NAME IN ({})",
        names.join(", ")
    )
}

/// What the engine knows of the tables' sizes.
async fn sizes(
    connection: &mut Connection,
    database: &str,
    names: Vec<String>,
    here: &str,
) -> Result<Vec<Table>> {
    let server = connection.server();
    if !server.mariadb && server.numbers.0 >= 8 {
        // MySQL 8 tells sizes as they were up to a day ago unless asked. They are guesses anyhow,
        // so a server that doesn't know the variable does no harm.
        let _ = connection
            .run(
                "ask for fresh sizes",
                "SET SESSION information_schema_stats_expiry = 0",
            )
            .await;
    }
    let rows = connection
        .query(
            "ask for the tables' sizes",
            &format!(
                "SELECT TABLE_NAME, ENGINE, TABLE_ROWS, DATA_LENGTH \
                 FROM information_schema.TABLES WHERE {here}"
            ),
        )
        .await?;
    let mut known: HashMap<&str, _> = rows
        .iter()
        .filter_map(|row| Some((cell(row, 0)?, row)))
        .collect();
    let number = |row: &[Option<String>], at| cell(row, at).and_then(|text| text.parse().ok());
    let tables = names.into_iter().map(|name| {
        let row = known.remove(name.as_str()).map_or(&[][..], Vec::as_slice);
        Table {
            database: database.to_owned(),
            columns: Vec::new(),
            key: None,
            rows: number(row, 2),
            bytes: number(row, 3),
            engine: cell(row, 1).map(str::to_owned),
            name,
        }
    });
    Ok(tables.collect())
}

async fn columns(
    connection: &mut Connection,
    tables: &mut Vec<Table>,
    at: &HashMap<String, usize>,
    here: &str,
    mapping: Mapping,
) -> Result<()> {
    let rows = connection
        .query(
            "ask for the tables' columns",
            &format!(
                "SELECT TABLE_NAME, COLUMN_NAME, COLUMN_TYPE, IS_NULLABLE, CHARACTER_SET_NAME, \
                 COLLATION_NAME, EXTRA FROM information_schema.COLUMNS WHERE {here} \
                 ORDER BY TABLE_NAME, ORDINAL_POSITION"
            ),
        )
        .await?;
    for row in &rows {
        let Some(table) = cell(row, 0).and_then(|name| at.get(name)) else {
            continue;
        };
        let text = |at| cell(row, at).unwrap_or_default();
        let extra = text(6).to_ascii_uppercase();
        tables[*table].columns.push(Column {
            name: text(1).to_owned(),
            kind: Type::of_column(text(2), cell(row, 4).is_some(), mapping),
            nullable: text(3) != "NO",
            declared: text(2).to_owned(),
            charset: cell(row, 4).map(str::to_owned),
            collation: cell(row, 5).map(str::to_owned),
            // MySQL says DEFAULT_GENERATED of a default that is an expression: that is another thing.
            generated: extra.contains("VIRTUAL GENERATED") || extra.contains("STORED GENERATED"),
            invisible: extra.contains("INVISIBLE"),
        });
    }
    if connection.server().mariadb {
        json(connection, tables, at, here).await?;
    }
    // Dropped in the meantime, or not for this user.
    tables.retain(|table| !table.columns.is_empty());
    Ok(())
}

/// MariaDB's JSON is a LONGTEXT with a check that it is valid.
async fn json(
    connection: &mut Connection,
    tables: &mut [Table],
    at: &HashMap<String, usize>,
    here: &str,
) -> Result<()> {
    // The view of checks came with these versions.
    let since = match connection.server().numbers {
        (10, 2, _) => (10, 2, 22),
        _ => (10, 3, 10),
    };
    if connection.server().numbers < since {
        return Ok(());
    }
    let here = here.replacen("TABLE_SCHEMA", "CONSTRAINT_SCHEMA", 1);
    let rows = connection
        .query(
            "ask for the tables' checks",
            &format!(
                "SELECT TABLE_NAME, CHECK_CLAUSE FROM information_schema.CHECK_CONSTRAINTS \
                 WHERE {here} AND CHECK_CLAUSE LIKE 'json_valid(%'"
            ),
        )
        .await?;
    for row in &rows {
        let Some(table) = cell(row, 0).and_then(|name| at.get(name)) else {
            continue;
        };
        for column in &mut tables[*table].columns {
            let check = format!("json_valid({})", sql::name(&column.name));
            if column.declared == "longtext" && cell(row, 1) == Some(&check) {
                column.kind = Type::Json;
                column.declared = "json".to_owned();
            }
        }
    }
    Ok(())
}

fn cell(row: &[Option<String>], at: usize) -> Option<&str> {
    row.get(at)?.as_deref()
}

#[cfg(test)]
mod tests;
