//! The one transaction of a commit.

use serde::{Deserialize, Serialize};
use tidegate_core::{Commit, ComponentId, Context, Error, ErrorKind, Prepared, Result};

use super::staging;
use super::target::{Named, is_missing};
use crate::sql;
use crate::wire::{Connection, ServerError};

/// The table of markers.
const MARKERS: &str = "_tidegate_markers";

/// The longest name of a pipeline or a sink that a marker holds, in characters.
const LONGEST: usize = 255;

/// What a commit needs to know of a writer's rows, or of the end of a run: it is stored in the
/// checkpoint, and may be used by a process that knows no inputs.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub(super) struct CommitPart {
    pub(super) target: Named,
    /// The columns that are written.
    pub(super) columns: Vec<String>,
    pub(super) way: Way,
    /// Of one writer; none of the end of a run.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(super) staging: Option<Named>,
    /// Makes the target, if it isn't there.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(super) create: Option<String>,
}

/// How rows get into the table.
#[derive(Debug, Clone, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub(super) enum Way {
    Insert,
    /// In place of the row with the same key.
    Upsert {
        key: Vec<String>,
        /// In two steps, so that no row is touched through another unique index.
        careful: bool,
    },
    /// After all rows that were there are deleted.
    Replace,
}

impl CommitPart {
    pub(super) fn decode(prepared: &[Prepared]) -> Result<Vec<Self>> {
        prepared.iter().map(Prepared::decode).collect()
    }

    /// The statements that move the rows of this staging table.
    fn moves(&self, staging: &Named) -> Vec<String> {
        let target = self.target.sql();
        let list = |prefix: &str| {
            let columns = self
                .columns
                .iter()
                .map(|c| format!("{prefix}{}", sql::name(c)));
            columns.collect::<Vec<_>>().join(", ")
        };
        let (into, from) = (list(""), list("s."));
        let insert = format!(
            "INSERT INTO {target} ({into}) SELECT {from} FROM {} AS s",
            staging.sql()
        );
        let Way::Upsert { key, careful } = &self.way else {
            return vec![insert];
        };
        let others = self.columns.iter().filter(|column| !key.contains(column));
        let others: Vec<_> = others.map(|column| sql::name(column)).collect();
        let set = |prefix: &str| {
            let set = others
                .iter()
                .map(|name| format!("{prefix}{name} = s.{name}"));
            set.collect::<Vec<_>>().join(", ")
        };
        let same = |key: &[String]| {
            let same = key.iter().map(|column| sql::name(column));
            let same = same.map(|name| format!("t.{name} = s.{name}"));
            same.collect::<Vec<_>>().join(" AND ")
        };
        if !careful && !others.is_empty() {
            return vec![format!("{insert} ON DUPLICATE KEY UPDATE {}", set(""))];
        }
        let first = key
            .first()
            .map(|column| sql::name(column))
            .unwrap_or_default();
        let update = format!(
            "UPDATE {target} AS t JOIN {} AS s ON {} SET {}",
            staging.sql(),
            same(key),
            set("t.")
        );
        let add = format!(
            "{insert} LEFT JOIN {target} AS t ON {} WHERE t.{first} IS NULL",
            same(key)
        );
        // Where a row is nothing but its key, there is nothing to update.
        match others.is_empty() {
            true => vec![add],
            false => vec![update, add],
        }
    }
}

/// The marker of one sink of a pipeline.
#[derive(Debug)]
pub(super) struct Marker<'a> {
    table: Named,
    pipeline: &'a str,
    sink: &'a ComponentId,
}

/// Where a marker stands.
#[derive(Debug, PartialEq, Eq)]
struct Stand {
    lineage: String,
    run: String,
    epoch: u64,
}

impl<'a> Marker<'a> {
    /// In the database of the target.
    pub(super) fn new(target: &Named, cx: &'a Context) -> Result<Self> {
        for (what, name) in [("pipeline", &*cx.pipeline), ("sink", cx.id.as_str())] {
            if name.chars().count() > LONGEST {
                return Err(Error::config(format!(
                    "the name of the {what} is longer than {LONGEST} characters"
                ))
                .hint(format!("the table `{MARKERS}` can't hold it: shorten it")));
            }
        }
        Ok(Self {
            table: target.beside(MARKERS),
            pipeline: &cx.pipeline,
            sink: &cx.id,
        })
    }

    /// Makes the table of markers, if it isn't there.
    pub(super) async fn create(&self, connection: &mut Connection) -> Result<()> {
        let create = format!(
            "CREATE TABLE IF NOT EXISTS {} (\
             pipeline VARCHAR({LONGEST}) NOT NULL, sink VARCHAR({LONGEST}) NOT NULL, \
             lineage CHAR(36) NOT NULL, run CHAR(36) NOT NULL, \
             epoch BIGINT UNSIGNED NOT NULL, committed DATETIME(6) NOT NULL, \
             PRIMARY KEY (pipeline, sink)) ENGINE = InnoDB ROW_FORMAT = DYNAMIC \
             DEFAULT CHARACTER SET utf8mb4 COLLATE utf8mb4_bin \
             COMMENT 'Tidegate: the last commit of each pipeline; its rows must not be changed'",
            self.table.sql()
        );
        connection.run("make the table of markers", &create).await
    }

    /// Refuses to resume where another state has written under this pipeline's name. Writes nothing.
    pub(super) async fn check(&self, connection: &mut Connection, cx: &Context) -> Result<()> {
        match self.read(connection, "").await {
            Ok(Some(stand)) => self.same_lineage(&stand, &cx.lineage.to_string()),
            Ok(None) => Ok(()),
            Err(error) if is_missing(&error) => Ok(()),
            Err(error) => Err(error),
        }
    }

    /// Reads it and locks it until the transaction ends.
    async fn lock(&self, connection: &mut Connection) -> Result<Option<Stand>> {
        self.read(connection, " FOR UPDATE").await
    }

    async fn read(&self, connection: &mut Connection, lock: &str) -> Result<Option<Stand>> {
        let doing = "read the marker of the last commit";
        let select = format!(
            "SELECT lineage, run, epoch FROM {} WHERE {}{lock}",
            self.table.sql(),
            self.which()
        );
        let rows = connection.query(doing, &select).await?;
        let Some(row) = rows.first() else {
            return Ok(None);
        };
        let stand = match row.as_slice() {
            [Some(lineage), Some(run), Some(epoch)] => epoch.parse().ok().map(|epoch| Stand {
                lineage: lineage.clone(),
                run: run.clone(),
                epoch,
            }),
            _ => None,
        };
        let unread = || {
            Error::conflict("the marker of the last commit can't be read")
                .with("table", self.table.sql())
        };
        stand.ok_or_else(unread).map(Some)
    }

    fn which(&self) -> String {
        format!(
            "pipeline = {} AND sink = {}",
            sql::text(self.pipeline),
            sql::text(self.sink.as_str())
        )
    }

    fn same_lineage(&self, stand: &Stand, lineage: &str) -> Result<()> {
        if stand.lineage == lineage {
            return Ok(());
        }
        Err(Error::conflict(
            "another state of a pipeline of this name has written to the table",
        )
        .with("pipeline", self.pipeline)
        .with("sink", self.sink)
        .with("its lineage", &stand.lineage)
        .with("marker", format!("{} WHERE {}", self.table.sql(), self.which()))
        .hint(
            "use the state with which it ran before (`--state`), or give this pipeline another \
             name; what to do where that state is lost is told under \"A lost state\" in \
             docs/guide/mysql.md",
        ))
    }

    async fn set(&self, connection: &mut Connection, commit: &Commit<'_>) -> Result<()> {
        let set = format!(
            "REPLACE INTO {} (pipeline, sink, lineage, run, epoch, committed) \
             VALUES ({}, {}, '{}', '{}', {}, UTC_TIMESTAMP(6))",
            self.table.sql(),
            sql::text(self.pipeline),
            sql::text(self.sink.as_str()),
            commit.lineage,
            commit.run,
            commit.epoch
        );
        connection.run("set the marker of the commit", &set).await
    }
}

/// Moves what was prepared, unless that is done, in one transaction.
///
/// After an error the connection is to be dropped, which ends the transaction.
pub(super) async fn commit(
    connection: &mut Connection,
    marker: &Marker<'_>,
    commit: &Commit<'_>,
    parts: &[CommitPart],
) -> Result<()> {
    let result = within(connection, marker, commit, parts).await;
    result.map_err(allowed)?;
    // The rows are where they belong, so nobody needs these any more. If that fails, the commit is
    // sent again, sees that it is done, and comes back here.
    let staging: Vec<_> = parts.iter().filter_map(|one| one.staging.clone()).collect();
    staging::drop(connection, &staging).await.map_err(allowed)
}

async fn within(
    connection: &mut Connection,
    marker: &Marker<'_>,
    commit: &Commit<'_>,
    parts: &[CommitPart],
) -> Result<()> {
    for create in parts.iter().filter_map(|one| one.create.as_deref()) {
        connection.run("make the target table", create).await?;
    }
    connection
        .run("begin a transaction", "START TRANSACTION")
        .await?;
    let stand = match marker.lock(connection).await {
        Err(error) if is_missing(&error) => {
            marker.create(connection).await?;
            connection
                .run("begin a transaction", "START TRANSACTION")
                .await?;
            marker.lock(connection).await?
        }
        stand => stand?,
    };
    if let Some(stand) = &stand {
        marker.same_lineage(stand, &commit.lineage.to_string())?;
        let done = stand.epoch > commit.epoch.0
            || (stand.epoch == commit.epoch.0 && stand.run == commit.run.to_string());
        if done {
            return connection.run("end a transaction", "ROLLBACK").await;
        }
    }
    if let Some(one) = parts.iter().find(|one| matches!(one.way, Way::Replace)) {
        let delete = format!("DELETE FROM {}", one.target.sql());
        connection.run("delete the rows of before", &delete).await?;
    }
    for one in parts {
        let Some(staging) = &one.staging else {
            continue;
        };
        for statement in one.moves(staging) {
            let moved = connection.run("move rows into the table", &statement).await;
            moved.map_err(|error| match is_missing(&error) {
                true => Error::conflict("a staging table or the target is gone")
                    .with("staging", staging.sql())
                    .hint("another process has taken over, or somebody dropped it")
                    .because(error),
                false => error,
            })?;
        }
    }
    marker.set(connection, commit).await?;
    connection.run("commit", "COMMIT").await
}

/// Refuses rows of several staging tables with the same key: the table couldn't hold both.
pub(super) async fn no_twins(
    connection: &mut Connection,
    key: &[String],
    staging: &[&Named],
) -> Result<()> {
    let (names, set) = (sql::names(key), sql::all_set(key));
    let keys: Vec<_> = staging
        .iter()
        .map(|one| format!("SELECT {names} FROM {} WHERE {set}", one.sql()))
        .collect();
    let twins = format!(
        "SELECT {names} FROM ({}) AS keys_of_all GROUP BY {names} HAVING COUNT(*) > 1 LIMIT 1",
        keys.join(" UNION ALL ")
    );
    let found = connection
        .query("look for keys that come twice", &twins)
        .await?;
    let Some(twin) = found.first() else {
        return Ok(());
    };
    let value: Vec<_> = twin
        .iter()
        .map(|v| v.as_deref().unwrap_or("NULL"))
        .collect();
    Err(Error::data("two rows of the run have the same key, and the table can't hold both")
        .with("key", key.join(", "))
        .with("value", value.join(", "))
        .hint("let each key come once, with a `sql` transform for instance; the table is as it was"))
}

/// A commit fails only for what passes, for permissions, or for what others changed meanwhile.
fn allowed(error: Error) -> Error {
    if matches!(
        error.kind(),
        ErrorKind::Transient
            | ErrorKind::RateLimited { .. }
            | ErrorKind::Auth
            | ErrorKind::Conflict
    ) {
        return error;
    }
    let hint = match ServerError::code_of(&error) {
        // Duplicate key.
        Some(1062 | 1169 | 1586) => {
            "since these rows were checked, another row with the same key came into the table: \
             remove that one, then run again; or use `mode = \"upsert\"`"
        }
        // Foreign keys.
        Some(1216 | 1217 | 1451 | 1452) => {
            "the table's foreign keys don't allow it: bring the other table in order, then run again"
        }
        _ => {
            "the table was changed since the run began, or a trigger refuses: see the cause, \
              bring the table in order, then run again"
        }
    };
    Error::conflict("the rows of an epoch can't be moved into the table")
        .hint(hint)
        .because(error)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn part(way: Way) -> CommitPart {
        let named = Named {
            database: "d".into(),
            table: "t".into(),
        };
        CommitPart {
            target: named.clone(),
            columns: vec!["k".into(), "v".into()],
            way,
            staging: Some(named.beside("x")),
            create: None,
        }
    }

    fn moves(way: Way) -> Vec<String> {
        let part = part(way);
        part.moves(part.staging.as_ref().unwrap())
    }

    #[test]
    fn rows_are_moved_by_their_way() {
        let insert = "INSERT INTO `d`.`t` (`k`, `v`) SELECT s.`k`, s.`v` FROM `d`.`x` AS s";
        assert_eq!(moves(Way::Insert), [insert]);
        let key = vec!["k".to_owned()];
        let careful = false;
        assert_eq!(
            moves(Way::Upsert {
                key: key.clone(),
                careful
            }),
            [format!("{insert} ON DUPLICATE KEY UPDATE `v` = s.`v`")]
        );
        let careful = true;
        assert_eq!(
            moves(Way::Upsert { key, careful }),
            [
                "UPDATE `d`.`t` AS t JOIN `d`.`x` AS s ON t.`k` = s.`k` SET t.`v` = s.`v`",
                &format!("{insert} LEFT JOIN `d`.`t` AS t ON t.`k` = s.`k` WHERE t.`k` IS NULL"),
            ]
        );
    }
}
