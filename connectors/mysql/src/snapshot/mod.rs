//! One consistent view of all tables over several connections.
//!
//! ```text
//! Snapshot::prepare (in `open`) ── may these tables be read so, and by which way?  No lock.
//!     └─> lend (the first read) ── ways: all connections begin their transactions at one moment
//!             └─> Loan ── give_back: the connection serves the next split
//! ```
//!
//! A snapshot lives in the transactions of its connections. One that is lost can't be replaced: the
//! others go on, and when the last is gone, the snapshot is. The split that was read is lost in any
//! case, and with it the run, which then starts over (`Replay::Session`).

mod rights;
mod ways;

use std::sync::{Arc, Mutex, PoisonError};

use tidegate_core::{Error, Result, Scan, StreamName};
use tokio::sync::Mutex as AsyncMutex;

use crate::connect::{Connector, Loan, Pool};
use crate::discover::Table;
use crate::retry::passes;
use crate::wire::{Connection, ServerError};

use rights::Rights;
use ways::Way;

/// "Table definition has changed, please retry transaction".
const ER_TABLE_DEF_CHANGED: u16 = 1412;

/// Engines whose transactions can begin with a consistent view.
const CONSISTENT: [&str; 2] = ["InnoDB", "ROCKSDB"];

/// A consistent view that is yet to be taken, or has been.
#[derive(Debug)]
pub(crate) struct Snapshot {
    connector: Arc<Connector>,
    tables: Vec<Member>,
    queries: bool,
    connections: usize,
    rights: Rights,
    state: AsyncMutex<State>,
    /// Of the same, for who can't wait.
    open: Mutex<Option<Arc<Pool>>>,
}

/// A table that can be locked by its name.
#[derive(Debug, Clone, PartialEq, Eq)]
struct Member {
    stream: StreamName,
    database: String,
    name: String,
}

#[derive(Debug, Default)]
enum State {
    #[default]
    ToBeTaken,
    Taken(Taken),
    /// Once is enough: whoever comes after the one that failed is told so.
    Failed,
}

/// Connections whose transactions see the same, and how that came to be.
#[derive(Debug, Clone)]
struct Taken {
    way: Way,
    pool: Arc<Pool>,
}

impl Snapshot {
    /// Sees whether these tables can be read consistently, and what the user may do for it. Locks
    /// nothing and changes nothing. Streams that are not among `tables` are queries, if there are
    /// `queries`.
    ///
    /// Whether the tables behind views and queries have transactions can't be seen here.
    ///
    /// Errors: `Unsupported` for a table whose engine has no transactions.
    pub(crate) async fn prepare<'a>(
        connector: &Arc<Connector>,
        connection: &mut Connection,
        tables: impl IntoIterator<Item = (StreamName, &'a Table)>,
        queries: bool,
        connections: usize,
    ) -> Result<Self> {
        let mut members = Vec::new();
        for (stream, table) in tables {
            if let Some(engine) = &table.engine
                && !CONSISTENT
                    .iter()
                    .any(|one| one.eq_ignore_ascii_case(engine))
            {
                return Err(without_transactions(table, engine));
            }
            members.push(Member {
                stream,
                database: table.database.clone(),
                name: table.name.clone(),
            });
        }
        let rights = Rights::ask(connection).await?;
        Ok(Self {
            connector: Arc::clone(connector),
            tables: members,
            queries,
            connections: connections.max(1),
            rights,
            state: AsyncMutex::default(),
            open: Mutex::default(),
        })
    }

    /// What `check` says of it: which way it will most likely take.
    pub(crate) fn note(&self) -> String {
        let databases = self.tables.iter().map(|table| table.database.as_str());
        let way = match self.connections {
            1 => Way::Alone,
            _ => self.rights.likely((!self.queries).then_some(databases)),
        };
        match way {
            Way::Alone => format!("reads everything as of one moment: {}", way.how()),
            _ => format!(
                "reads everything as of one moment, over {} connections: {}",
                self.connections,
                way.how()
            ),
        }
    }

    /// Waits for one of the snapshot's connections. Whoever comes first takes the snapshot; `scans`
    /// say which tables matter.
    ///
    /// Errors: `Transient` where the snapshot, or what it takes to take it, is lost.
    pub(crate) async fn lend(&self, scans: &[Scan]) -> Result<Loan> {
        let Taken { way, pool } = self.taken(scans).await?;
        pool.lend().await.map_err(|_| {
            Error::transient("the snapshot is lost: all its connections are gone")
                .with("way", way.how())
                .hint("the run starts over with a new snapshot")
        })
    }

    async fn taken(&self, scans: &[Scan]) -> Result<Taken> {
        let mut state = self.state.lock().await;
        match &*state {
            State::Taken(taken) => return Ok(taken.clone()),
            State::Failed => {
                return Err(Error::transient("the snapshot could not be taken"));
            }
            State::ToBeTaken => {}
        }
        let lockable = self.lockable(scans);
        match ways::take(&self.connector, lockable.as_deref(), self.connections).await {
            Ok(taken) => {
                *state = State::Taken(taken.clone());
                *self.open.lock().unwrap_or_else(PoisonError::into_inner) =
                    Some(Arc::clone(&taken.pool));
                Ok(taken)
            }
            Err(error) => {
                *state = State::Failed;
                Err(error)
            }
        }
    }

    /// The tables that are read; `None` if there is something else too, whose tables aren't known.
    fn lockable(&self, scans: &[Scan]) -> Option<Vec<(&str, &str)>> {
        let table = |scan: &Scan| {
            let of = |member: &&Member| member.stream == scan.stream;
            let member = self.tables.iter().find(of)?;
            Some((member.database.as_str(), member.name.as_str()))
        };
        scans.iter().map(table).collect()
    }

    /// Lets go of the snapshot: connections that are not lent are closed now, others when they
    /// come back.
    pub(crate) fn close(&self) {
        let open = self.open.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(pool) = &*open {
            pool.close();
        }
    }
}

/// What an error means that is met while a snapshot is read: `Transient` where the connection is
/// lost or the table was altered since the snapshot was taken, as then a new one is needed, and with
/// it the run starts over.
pub(crate) fn of_reading(error: Error) -> Error {
    if ServerError::code_of(&error) == Some(ER_TABLE_DEF_CHANGED) {
        return Error::transient(
            "a table was altered after its snapshot was taken, so it can't be read any more",
        )
        .hint(
            "alter tables while the run isn't on; on MySQL 8, a user with BACKUP_ADMIN makes such statements wait for it",
        )
        .because(error);
    }
    if passes(&error) {
        return Error::transient("a connection of the snapshot is lost, so the run starts over")
            .because(error);
    }
    error
}

fn without_transactions(table: &Table, engine: &str) -> Error {
    Error::unsupported(format!(
        "table `{}` can't be read consistently with others: its engine {engine} has no transactions",
        table.name
    ))
    .with("key", "snapshot")
    .hint(
        "convert it (ALTER TABLE … ENGINE = InnoDB), leave it out of `tables`, or read with `snapshot = \"relaxed\"`",
    )
}

#[cfg(test)]
mod tests;
