//! What only the target can tell of a staged row: whether it would take it. It is looked up when an
//! epoch is prepared, because a commit may not refuse.

use tidegate_core::{Error, ErrorKind, Result};

use super::target::{Index, Named, Slot};
use crate::sql;
use crate::types::Type;
use crate::wire::Connection;

/// Rows of a staging table that the target wouldn't take.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Check {
    /// What is wrong with them.
    pub(super) reason: String,
    /// Which rows, as a condition about `s`; `{staging}` stands for their table.
    condition: String,
}

impl Check {
    /// The condition for rows of this table.
    pub(super) fn condition(&self, staging: &Named) -> String {
        self.condition.replace("{staging}", &staging.sql())
    }
}

/// A foreign key of the target.
#[derive(Debug, Clone)]
pub(super) struct Foreign {
    pub(super) parent: Named,
    /// Columns here and there.
    pub(super) columns: Vec<(String, String)>,
}

/// How an index's columns in `s` equal those in `t`; nothing for an expression, which we can't
/// compute.
fn equal(index: &Index) -> Option<String> {
    let parts = index.parts.iter().map(|part| {
        let part = part.as_ref()?;
        let name = sql::name(&part.column);
        Some(match part.prefix {
            None => format!("t.{name} = s.{name}"),
            Some(length) => format!("LEFT(t.{name}, {length}) = LEFT(s.{name}, {length})"),
        })
    });
    let parts: Option<Vec<_>> = parts.collect();
    parts.map(|parts| parts.join(" AND "))
}

pub(super) fn there_already(index: &Index, named: &Named) -> Option<Check> {
    Some(Check {
        reason: format!(
            "the table has a row with the same value in its unique index `{}`",
            index.name
        ),
        condition: format!(
            "EXISTS (SELECT 1 FROM {} AS t WHERE {})",
            named.sql(),
            equal(index)?
        ),
    })
}

/// Rows that have what another row has, there or in the same epoch.
pub(super) fn another_has_it(index: &Index, named: &Named, key: &[String]) -> Vec<Check> {
    let reason = format!(
        "another row has the same value in the table's unique index `{}`",
        index.name
    );
    let mut checks = Vec::new();
    if let Some(equal) = equal(index) {
        let same: Vec<_> = key
            .iter()
            .map(|column| sql::name(column))
            .map(|name| format!("t.{name} = s.{name}"))
            .collect();
        checks.push(Check {
            reason: reason.clone(),
            condition: format!(
                "EXISTS (SELECT 1 FROM {} AS t WHERE {equal} AND NOT ({}))",
                named.sql(),
                same.join(" AND ")
            ),
        });
    }
    if let Some(columns) = index.columns() {
        let names = sql::names(&columns);
        // The derived table is computed before rows are deleted by it.
        checks.push(Check {
            reason,
            condition: format!(
                "({names}) IN (SELECT * FROM (SELECT {names} FROM {{staging}} WHERE {} \
                 GROUP BY {names} HAVING COUNT(*) > 1) AS twice)",
                sql::all_set(&columns)
            ),
        });
    }
    checks
}

/// Rows whose foreign key leads nowhere.
pub(super) fn orphans(foreign: &Foreign) -> Check {
    let (mut set, mut equal) = (Vec::new(), Vec::new());
    for (here, there) in &foreign.columns {
        let (here, there) = (sql::name(here), sql::name(there));
        set.push(format!("s.{here} IS NOT NULL"));
        equal.push(format!("p.{there} = s.{here}"));
    }
    Check {
        reason: format!(
            "its foreign key leads to no row of {}",
            foreign.parent.sql()
        ),
        condition: format!(
            "{} AND NOT EXISTS (SELECT 1 FROM {} AS p WHERE {})",
            set.join(" AND "),
            foreign.parent.sql(),
            equal.join(" AND ")
        ),
    }
}

/// The foreign keys of a table.
pub(super) async fn foreign_keys(
    connection: &mut Connection,
    named: &Named,
) -> Result<Vec<Foreign>> {
    let asked = format!(
        "SELECT constraint_name, column_name, referenced_table_schema, referenced_table_name, \
         referenced_column_name FROM information_schema.key_column_usage \
         WHERE table_schema = {} AND table_name = {} AND referenced_table_name IS NOT NULL \
         ORDER BY constraint_name, ordinal_position",
        sql::text(&named.database),
        sql::text(&named.table)
    );
    let rows = connection
        .query("read the target's foreign keys", &asked)
        .await?;
    let mut read: Vec<(String, Foreign)> = Vec::new();
    for row in rows {
        let [
            Some(name),
            Some(here),
            Some(database),
            Some(table),
            Some(there),
        ] = row.as_slice()
        else {
            continue;
        };
        let columns = (here.clone(), there.clone());
        match read.last_mut().filter(|(last, _)| last == name) {
            Some((_, foreign)) => foreign.columns.push(columns),
            None => {
                let parent = Named {
                    database: database.clone(),
                    table: table.clone(),
                };
                let columns = vec![columns];
                read.push((name.clone(), Foreign { parent, columns }));
            }
        }
    }
    Ok(read.into_iter().map(|(_, foreign)| foreign).collect())
}

/// Refuses to replace the rows of a table to which others refer.
pub(super) async fn no_children(connection: &mut Connection, named: &Named) -> Result<()> {
    let asked = format!(
        "SELECT DISTINCT table_schema, table_name FROM information_schema.key_column_usage \
         WHERE referenced_table_schema = {} AND referenced_table_name = {}",
        sql::text(&named.database),
        sql::text(&named.table)
    );
    let rows = connection
        .query("see which tables refer to the target", &asked)
        .await?;
    let Some([Some(database), Some(table)]) = rows.first().map(Vec::as_slice) else {
        return Ok(());
    };
    Err(Error::new(
        ErrorKind::Unsupported,
        "the rows of a table to which foreign keys lead can't be replaced",
    )
    .with("table", named.sql())
    .with("referring", format!("{database}.{table}"))
    .with("key", "mode")
    .hint(
        "use `mode = \"upsert\"`: replacing deletes all rows first, and those that refer to them",
    ))
}

/// How a row of `s` is told in a list of rejected rows.
pub(super) fn as_json(slots: &[Slot]) -> String {
    let values = slots.iter().map(|slot| {
        let column = format!("s.{}", sql::name(&slot.name));
        let value = match slot.kind {
            Type::Binary => format!("TO_BASE64({column})"),
            Type::Geometry => format!("TO_BASE64(ST_AsWKB({column}))"),
            Type::Bit { .. } => format!("{column} + 0"),
            _ => column,
        };
        format!("{}, {value}", sql::text(&slot.name))
    });
    format!("JSON_OBJECT({})", values.collect::<Vec<_>>().join(", "))
}
