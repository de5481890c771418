//! The ways to begin transactions on several connections that see the same.
//!
//! Each is exact: no commit can come between two of the transactions, or it is seen that none did.
//! What a way needs and hasn't got (a right, a lock in time) makes the next one be tried. The last
//! one always works.

use std::sync::Arc;
use std::time::Duration;

use futures::future::try_join_all;
use tidegate_core::{Error, Result};

use super::Taken;
use crate::connect::{Connector, Pool};
use crate::sql;
use crate::wire::{Connection, ServerError};

const DOING: &str = "take a snapshot";

/// How long a lock is waited for at a time. Meanwhile others have to wait behind us, and one of
/// them may be who we wait for: transactions that wait for each other's rows and for our lock are a
/// deadlock that the server doesn't see. So waits are short, and in between everybody gets on.
const LOCK_WAIT: Duration = Duration::from_secs(1);

/// How often a lock is waited for.
const LOCK_TRIES: usize = 5;

/// How long others may get on in between.
const LOCK_PAUSE: Duration = Duration::from_millis(200);

/// "Lock wait timeout exceeded", "Deadlock found".
const LOCK_NOT_HAD: [u16; 2] = [1205, 1213];

/// How long a lock is held at most; it takes a round trip.
const HELD: Duration = Duration::from_secs(5);

/// How often transactions are begun in the hope that no commit comes between them.
const TRIES: usize = 50;

/// A table by its database and name.
pub(super) type Name<'a> = (&'a str, &'a str);

/// A way to one view over several connections, the strongest first.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Way {
    /// No commit anywhere on the server while the transactions begin.
    GlobalLock,
    /// No commit to these tables while the transactions begin.
    TableLocks,
    /// MySQL's GTIDs tell that no commit came between the transactions.
    ///
    /// Only they do: `SHOW MASTER STATUS` isn't enough, as a commit stands in the binlog
    /// before it becomes visible, so one may come between two transactions and not move it.
    Binlog,
    /// One connection.
    Alone,
}

impl Way {
    pub(super) fn how(self) -> &'static str {
        match self {
            Self::GlobalLock => "FLUSH TABLES WITH READ LOCK, held for some milliseconds",
            Self::TableLocks => {
                "LOCK TABLES … READ of the tables that are read, held for some milliseconds"
            }
            Self::Binlog => "without a lock, as GTIDs tell whether all connections see the same",
            Self::Alone => "one connection reads them one after the other",
        }
    }
}

/// Why a way can't be gone.
type Refused = Error;

/// Takes a snapshot over `most` connections, or as many as see the same.
///
/// `lockable`: all the tables that will be read, if they are known.
pub(super) async fn take(
    connector: &Arc<Connector>,
    lockable: Option<&[Name<'_>]>,
    most: usize,
) -> Result<Taken> {
    // First all connections, which takes its time; then the lock.
    let opened = (0..most).map(|_| async {
        let mut connection = connector.connect().await?;
        // For as long as the run may take, a connection may wait for its next split.
        let sql = "SET SESSION TRANSACTION ISOLATION LEVEL REPEATABLE READ";
        connection.run(DOING, sql).await?;
        connection.run(DOING, patience(connector)).await?;
        Ok::<_, Error>(connection)
    });
    let mut members = try_join_all(opened).await?;
    let guard = hold_back_alterations(connector).await?;
    let (way, position) = begin(connector, lockable, &mut members).await?;
    tracing::info!(
        way = way.how(),
        connections = members.len(),
        position,
        "a snapshot is taken"
    );
    Ok(Taken {
        way,
        pool: Pool::of(members, guard),
    })
}

/// Lets a session wait for weeks, with its transaction open.
fn patience(connector: &Connector) -> &'static str {
    let server = connector.server();
    match server.mariadb && server.numbers >= (10, 3, 0) {
        true => {
            "SET SESSION wait_timeout = 2147483, idle_transaction_timeout = 0, idle_readonly_transaction_timeout = 0"
        }
        false => "SET SESSION wait_timeout = 2147483",
    }
}

/// Begins all transactions, the best way; keeps those connections that see the same.
async fn begin(
    connector: &Arc<Connector>,
    lockable: Option<&[Name<'_>]>,
    members: &mut Vec<Connection>,
) -> Result<(Way, Option<String>)> {
    let mut refused = Vec::new();
    if members.len() > 1 {
        let ways = [Way::GlobalLock, Way::TableLocks, Way::Binlog];
        for way in ways {
            let begun = match (way, lockable) {
                (Way::GlobalLock, _) => {
                    let lock = "FLUSH TABLES WITH READ LOCK";
                    locked(connector, lock, members).await?
                }
                (Way::TableLocks, Some(tables)) => {
                    locked(connector, &lock_tables(tables), members).await?
                }
                (Way::TableLocks, None) => Err(Error::unsupported(
                    "the tables behind queries aren't known, so they can't be locked",
                )),
                _ => watched(connector, members).await?,
            };
            match begun {
                Ok(position) => return Ok((way, position)),
                Err(error) => {
                    tracing::debug!(?way, ?error, "this way to a snapshot is closed");
                    refused.push(error);
                }
            }
        }
        let why: Vec<String> = refused.iter().map(reason).collect();
        tracing::warn!(
            why = why.join("; "),
            "one connection reads everything, because several can't be made to see the same; grant RELOAD or LOCK TABLES for more speed"
        );
    }
    members.truncate(1);
    start(members).await?;
    let position = position(&mut members[0]).await?;
    Ok((Way::Alone, position))
}

/// Begins the transactions while a session of its own holds a lock.
async fn locked(
    connector: &Arc<Connector>,
    lock: &str,
    members: &mut [Connection],
) -> Result<Result<Option<String>, Refused>> {
    // Whatever ends this function closes the connection, which ends the lock.
    let mut keeper = connector.connect().await?;
    let wait = LOCK_WAIT.as_secs();
    // Without autocommit, InnoDB locks the tables too: the manual's way to lock them, which older
    // servers need to wait for transactions that have written and not committed.
    let sql = format!(
        "SET SESSION lock_wait_timeout = {wait}, innodb_lock_wait_timeout = {wait}, autocommit = 0"
    );
    keeper.run(DOING, &sql).await?;
    let mut tries = 1;
    while let Err(error) = keeper.run(DOING, lock).await {
        match ServerError::code_of(&error) {
            None => return Err(error),
            Some(code) if LOCK_NOT_HAD.contains(&code) && tries < LOCK_TRIES => {
                tries += 1;
                tokio::time::sleep(LOCK_PAUSE).await;
            }
            Some(_) => return Ok(Err(error)),
        }
    }
    let begun = tokio::time::timeout(HELD, async {
        start(members).await?;
        position(&mut members[0]).await
    });
    let begun = begun.await.unwrap_or_else(|_| {
        Err(Error::transient(format!(
            "the server took more than {} s to begin a snapshot, so its lock was given up",
            HELD.as_secs()
        )))
    })?;
    keeper.run(DOING, "UNLOCK TABLES").await?;
    Ok(Ok(begun))
}

fn lock_tables(tables: &[Name<'_>]) -> String {
    let mut lock = "LOCK TABLES ".to_owned();
    for (at, (database, table)) in tables.iter().enumerate() {
        if at > 0 {
            lock.push_str(", ");
        }
        lock.push_str(&format!(
            "{}.{} READ",
            sql::name(database),
            sql::name(table)
        ));
    }
    lock
}

/// Begins the transactions without a lock, until no commit came between them.
async fn watched(
    connector: &Arc<Connector>,
    members: &mut [Connection],
) -> Result<Result<Option<String>, Refused>> {
    if !tells(&mut members[0]).await? {
        return Ok(Err(Error::unsupported(
            "the server doesn't tell whether two connections see the same",
        )));
    }
    let mut watcher = connector.connect().await?;
    for _ in 0..TRIES {
        if quiet(&mut watcher, members).await? {
            return Ok(Ok(position(&mut members[0]).await?));
        }
        tokio::task::yield_now().await;
    }
    Ok(Err(Error::transient(
        "the server commits too often for connections to see the same",
    )))
}

/// Begins all transactions at the same time.
async fn start(members: &mut [Connection]) -> Result<()> {
    // Begins anew if one has begun.
    let sql = "START TRANSACTION WITH CONSISTENT SNAPSHOT, READ ONLY";
    try_join_all(members.iter_mut().map(|one| one.run(DOING, sql))).await?;
    Ok(())
}

/// MySQL with GTIDs: the same, and whether no commit came meanwhile.
///
/// A commit owns its GTID from before it becomes visible until after it, and then the GTID is among
/// the executed ones. So if afterwards none is owned, and the same ones are executed as before, no
/// commit became visible meanwhile. Both variables can be read by everybody.
async fn quiet(watcher: &mut Connection, members: &mut [Connection]) -> Result<bool> {
    let before = watcher
        .value(DOING, "SELECT @@GLOBAL.gtid_executed")
        .await?;
    start(members).await?;
    let owned = watcher.value(DOING, "SELECT @@GLOBAL.gtid_owned").await?;
    let after = watcher
        .value(DOING, "SELECT @@GLOBAL.gtid_executed")
        .await?;
    Ok(before == after && owned.is_none_or(|owned| owned.is_empty()))
}

/// Whether the server's GTIDs show every commit. What a user keeps out of the binlog
/// (`sql_log_bin = 0`) can't be seen.
///
/// MariaDB's don't. Two of its sessions that begin with a consistent snapshot at one position of the
/// binlog ought to see the same, but on a busy server of 10.11.19 they were seen not to.
pub(super) async fn tells(connection: &mut Connection) -> Result<bool> {
    if connection.server().mariadb {
        return Ok(false);
    }
    let sql = "SELECT @@GLOBAL.log_bin AND @@GLOBAL.gtid_mode = 'ON'";
    match connection.value(DOING, sql).await {
        Ok(told) => Ok(told.as_deref() == Some("1")),
        // It is too old to know these variables.
        Err(error) if ServerError::of(&error).is_some() => Ok(false),
        Err(error) => Err(error),
    }
}

/// Where the transaction of a connection stands in the binlog, for the log; as far as the server
/// says so.
async fn position(connection: &mut Connection) -> Result<Option<String>> {
    if connection.server().mariadb {
        return binlog_snapshot(connection).await;
    }
    match connection
        .value(DOING, "SELECT @@GLOBAL.gtid_executed")
        .await
    {
        Ok(position) => Ok(position),
        Err(error) if ServerError::of(&error).is_some() => Ok(None),
        Err(error) => Err(error),
    }
}

async fn binlog_snapshot(connection: &mut Connection) -> Result<Option<String>> {
    let sql =
        "SHOW STATUS WHERE Variable_name IN ('Binlog_snapshot_file', 'Binlog_snapshot_position')";
    let rows = connection.query(DOING, sql).await?;
    let values: Vec<String> = rows
        .into_iter()
        .filter_map(|row| row.into_iter().nth(1)?)
        .filter(|value| !value.is_empty())
        .collect();
    Ok((values.len() == 2).then(|| values.join(":")))
}

/// MySQL 8 with the right BACKUP_ADMIN: statements that alter tables wait until the connection ends,
/// reads and writes don't.
async fn hold_back_alterations(connector: &Arc<Connector>) -> Result<Option<Connection>> {
    let server = connector.server();
    if server.mariadb || server.numbers < (8, 0, 0) {
        return Ok(None);
    }
    let mut guard = connector.connect().await?;
    guard.run(DOING, patience(connector)).await?;
    let sql = format!("SET SESSION lock_wait_timeout = {}", LOCK_WAIT.as_secs());
    guard.run(DOING, &sql).await?;
    match guard.run(DOING, "LOCK INSTANCE FOR BACKUP").await {
        Ok(()) => Ok(Some(guard)),
        Err(error) if ServerError::of(&error).is_some() => {
            tracing::debug!(?error, "tables may be altered while they are read");
            Ok(None)
        }
        Err(error) => Err(error),
    }
}

/// An error with its cause, in one line.
fn reason(error: &Error) -> String {
    match ServerError::of(error) {
        Some(server) => server.to_string(),
        None => error.to_string(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn tables_are_locked_by_their_quoted_names() {
        let lock = lock_tables(&[("shop", "sales"), ("shop", "a`b")]);
        assert_eq!(lock, "LOCK TABLES `shop`.`sales` READ, `shop`.`a``b` READ");
    }
}
