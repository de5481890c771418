//! By which key a table is read.

use std::collections::HashMap;

use serde::{Deserialize, Serialize};
use tidegate_core::Result;

use super::{Table, cell};
use crate::types::{Column, Declared, Type};
use crate::wire::Connection;

/// An index that tells rows apart.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Key {
    /// Its name, for FORCE INDEX: `PRIMARY`.
    pub(crate) index: String,
    /// Positions of its columns in the table's.
    pub(crate) columns: Vec<usize>,
}

/// A unique index as it is being put together.
#[derive(Debug, Default)]
struct Index {
    name: String,
    /// Positions of its columns; none for an expression.
    columns: Vec<Option<usize>>,
    usable: bool,
    descending: Vec<bool>,
}

pub(super) async fn keys(
    connection: &mut Connection,
    tables: &mut [Table],
    at: &HashMap<String, usize>,
    here: &str,
) -> Result<()> {
    let server = connection.server();
    // FORCE INDEX refuses an index that the optimizer is told not to see.
    let seen = match (server.mariadb, server.numbers) {
        (true, version) if version >= (10, 6, 0) => "IGNORED = 'NO'",
        (false, version) if version >= (8, 0, 0) => "IS_VISIBLE = 'YES'",
        _ => "TRUE",
    };
    let rows = connection
        .query(
            "ask for the tables' keys",
            &format!(
                "SELECT TABLE_NAME, INDEX_NAME, COLUMN_NAME, SUB_PART, INDEX_TYPE, COLLATION, {seen} \
                 FROM information_schema.STATISTICS WHERE {here} AND NON_UNIQUE = 0 \
                 ORDER BY TABLE_NAME, INDEX_NAME, SEQ_IN_INDEX"
            ),
        )
        .await?;
    let mut indexes: Vec<Vec<Index>> = tables.iter().map(|_| Vec::new()).collect();
    for row in &rows {
        let Some(table) = cell(row, 0).and_then(|name| at.get(name)) else {
            continue;
        };
        let name = cell(row, 1).unwrap_or_default();
        let list = &mut indexes[*table];
        if list.last().is_none_or(|index| index.name != name) {
            list.push(Index {
                name: name.to_owned(),
                usable: true,
                ..Index::default()
            });
        }
        if let Some(index) = list.last_mut() {
            let columns = &tables[*table].columns;
            let column = cell(row, 2).and_then(|name| {
                columns
                    .iter()
                    .position(|column| column.name.to_lowercase() == name.to_lowercase())
            });
            index.columns.push(column);
            index.usable &= cell(row, 3).is_none()
                && cell(row, 4) == Some("BTREE")
                && cell(row, 6) == Some("1");
            index.descending.push(cell(row, 5) == Some("D"));
        }
    }
    for (table, indexes) in tables.iter_mut().zip(indexes) {
        table.key = best(&table.columns, indexes);
    }
    Ok(())
}

/// The primary key if it will do, else the unique key of the fewest and plainest columns.
fn best(columns: &[Column], indexes: Vec<Index>) -> Option<Key> {
    let keys = indexes.into_iter().filter_map(|index| {
        let positions: Vec<_> = index.columns.iter().copied().collect::<Option<_>>()?;
        let one_way = index.descending.windows(2).all(|two| two[0] == two[1]);
        let ordered = positions
            .iter()
            .enumerate()
            .all(|(at, position)| orders(&columns[*position], at));
        (index.usable && one_way && ordered).then_some(Key {
            index: index.name,
            columns: positions,
        })
    });
    keys.min_by_key(|key| {
        let plain: usize = key.columns.iter().map(|at| rank(columns[*at].kind)).sum();
        (key.index != "PRIMARY", key.columns.len(), plain)
    })
}

/// Whether a value of the column, written as a literal, tells exactly where it stands in the order
/// of an index, and whether the server finds that place without reading the whole index. `at`: the
/// column's place in the key.
fn orders(column: &Column, at: usize) -> bool {
    !column.nullable
        && match column.kind {
            // What is printed is not what is stored.
            Type::Float | Type::Double => false,
            // It sorts by number, and a comparison with a number is not looked up in the index:
            // good enough behind another column, which is.
            // 4-byte characters look like `?` in a declaration: whose member that is, nobody knows.
            Type::Enum => {
                at > 0
                    && Declared::parse(&column.declared).members.is_some()
                    && !column.declared.contains('?')
            }
            Type::Set | Type::Json | Type::Geometry => false,
            Type::Bool
            | Type::TinyInt { .. }
            | Type::SmallInt { .. }
            | Type::MediumInt { .. }
            | Type::Int { .. }
            | Type::BigInt { .. }
            | Type::Decimal { .. }
            | Type::Bit { .. }
            | Type::Year
            | Type::Date
            | Type::Time { .. }
            | Type::DateTime { .. }
            | Type::Timestamp { .. }
            | Type::Text
            | Type::Binary
            | Type::Uuid
            | Type::Inet4
            | Type::Inet6 => true,
        }
}

/// How dear it is to compare: less is better.
fn rank(kind: Type) -> usize {
    match kind {
        Type::Text => 3,
        Type::Binary | Type::Decimal { .. } | Type::Uuid | Type::Inet6 => 2,
        Type::Date | Type::Time { .. } | Type::DateTime { .. } | Type::Timestamp { .. } => 1,
        _ => 0,
    }
}
