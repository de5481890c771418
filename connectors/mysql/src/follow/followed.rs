//! What is followed, and whether it still is what it was taken for.

use std::collections::HashMap;
use std::sync::Arc;

use serde::{Deserialize, Serialize};
use tidegate_core::{Error, ErrorKind, Metrics, Result, StreamName};

use super::ahead;
use super::position::{BinlogOffset, Noted};
use crate::connect::Connector;
use crate::discover::{self, Table};
use crate::types::Mapping;

/// What the split of the log holds: where it begins, and what is followed. Stored as JSON.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Following {
    pub(crate) noted: Noted,
    pub(crate) tables: Vec<Followed>,
}

/// A table that is followed, as it was when the position was noted.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Followed {
    pub(crate) stream: StreamName,
    pub(crate) table: Table,
    /// The columns that the user chose; none for all.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) columns: Option<Vec<String>>,
}

/// What reading needs beside the split.
#[derive(Debug, Clone)]
pub(crate) struct Around {
    pub(crate) connector: Arc<Connector>,
    pub(crate) mapping: Mapping,
    /// Bytes of changes that are told at once.
    pub(crate) batch: usize,
    /// Our number among the server's replicas.
    pub(crate) server_id: u32,
    pub(crate) metrics: Arc<Metrics>,
}

/// Sees whether the tables were what they are taken for at the noted position: what was altered
/// before, the log wouldn't tell.
pub(crate) async fn check_tables(
    around: &Around,
    noted: &Noted,
    tables: &[Followed],
) -> Result<()> {
    let altered = |table: &str| {
        Error::transient("a table was altered while reading began").with("table", table)
    };
    let mut connection = around.connector.connect().await?;
    let mut databases: HashMap<&str, Vec<String>> = HashMap::new();
    for followed in tables {
        let names = databases.entry(&followed.table.database).or_default();
        names.push(followed.table.name.clone());
    }
    for (database, names) in databases {
        let now = discover::tables(&mut connection, database, &names, around.mapping).await?;
        for followed in tables.iter().filter(|one| one.table.database == database) {
            let now = now.iter().find(|table| table.name == followed.table.name);
            if now.is_none_or(|now| !same_definition(now, &followed.table)) {
                return Err(altered(&followed.table.name));
            }
        }
    }
    let offset = BinlogOffset::new(noted.position.clone());
    let tables: Vec<_> = tables.iter().map(|followed| &followed.table).collect();
    match ahead::altered(&around.connector, &offset, &tables).await? {
        Some(at) => Err(altered(&tables[at].name)),
        None => Ok(()),
    }
}

pub(super) fn same_definition(one: &Table, other: &Table) -> bool {
    one.columns == other.columns && one.key == other.key
}

/// The table's definition as it is now; none if there is no such table any more.
pub(super) async fn definition_now(around: &Around, known: &Table) -> Result<Option<Table>> {
    let mut connection = around.connector.connect().await?;
    let names = [known.name.clone()];
    let found = discover::tables(&mut connection, &known.database, &names, around.mapping).await;
    match found {
        Ok(tables) => Ok(tables.into_iter().find(|table| table.name == names[0])),
        Err(error) if error.kind() == ErrorKind::NotFound => Ok(None),
        Err(error) => Err(error),
    }
}
