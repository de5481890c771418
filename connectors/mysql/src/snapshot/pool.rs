//! The connections that share one view, lent to one split at a time.

use std::sync::{Arc, Mutex, PoisonError};

use tidegate_core::{Error, ErrorKind, Result};
use tokio::sync::{OwnedSemaphorePermit, Semaphore};

use super::ways::Way;
use crate::wire::{Connection, Rows, ServerError};

/// "Table definition has changed, please retry transaction".
const ER_TABLE_DEF_CHANGED: u16 = 1412;

/// Connections whose transactions see the same.
#[derive(Debug)]
pub(super) struct Pool {
    /// How its view was taken.
    pub(super) way: Way,
    kept: Mutex<Kept>,
    /// A permit for each connection that is in the pool.
    turn: Arc<Semaphore>,
}

#[derive(Debug)]
struct Kept {
    idle: Vec<Connection>,
    /// Those that are idle or lent.
    alive: usize,
    /// Keeps tables from being altered for as long as it lives.
    guard: Option<Connection>,
    closed: bool,
}

impl Pool {
    pub(super) fn new(way: Way, idle: Vec<Connection>, guard: Option<Connection>) -> Self {
        let alive = idle.len();
        Self {
            way,
            kept: Mutex::new(Kept {
                idle,
                alive,
                guard,
                closed: false,
            }),
            turn: Arc::new(Semaphore::new(alive)),
        }
    }

    /// How many of its connections are left.
    #[cfg(test)]
    pub(super) fn alive(&self) -> usize {
        self.kept().alive
    }

    /// Waits for a connection that nobody uses.
    pub(super) async fn lend(self: &Arc<Self>) -> Result<Loan> {
        let turn = Arc::clone(&self.turn).acquire_owned().await;
        let turn = turn.map_err(|_| self.lost())?;
        let connection = self.kept().idle.pop().ok_or_else(|| self.lost())?;
        Ok(Loan {
            pool: Arc::clone(self),
            turn: Some(turn),
            connection: Some(connection),
        })
    }

    pub(super) fn close(&self) {
        let mut kept = self.kept();
        kept.closed = true;
        kept.idle.clear();
        kept.guard = None;
        self.turn.close();
    }

    fn lost(&self) -> Error {
        Error::transient("the snapshot is lost: all its connections are gone")
            .with("way", self.way.how())
            .hint("the run starts over with a new snapshot")
    }

    fn kept(&self) -> std::sync::MutexGuard<'_, Kept> {
        self.kept.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// A connection of a snapshot, for one split at a time. One that is dropped without being given
/// back is lost to the snapshot.
#[derive(Debug)]
pub(crate) struct Loan {
    pool: Arc<Pool>,
    turn: Option<OwnedSemaphorePermit>,
    connection: Option<Connection>,
}

impl Loan {
    /// Begins to read, within the snapshot.
    ///
    /// Errors met from here on are to go through [`of_reading`].
    pub(crate) async fn rows(&mut self, doing: &'static str, sql: &str) -> Result<Rows> {
        let connection = self.connection.take();
        let connection =
            connection.ok_or_else(|| Error::internal("a lent connection was used twice"))?;
        connection.rows(doing, sql).await
    }

    /// Gives the connection back, after its last row.
    pub(crate) fn give_back(mut self, rows: Rows) {
        self.connection = rows.into_connection();
        let mut kept = self.pool.kept();
        if kept.closed {
            return;
        }
        if let Some(connection) = self.connection.take() {
            kept.idle.push(connection);
            drop(kept);
            // Returns the permit, so after the connection.
            self.turn = None;
        }
    }
}

impl Drop for Loan {
    fn drop(&mut self) {
        let Some(turn) = self.turn.take() else {
            return;
        };
        turn.forget();
        let mut kept = self.pool.kept();
        kept.alive -= 1;
        if kept.alive == 0 {
            // Nobody is to wait for what never comes.
            kept.guard = None;
            self.pool.turn.close();
        }
    }
}

/// What an error means that is met while a snapshot is read: `Transient` where the connection is
/// lost or the table was altered since the snapshot was taken, as then a new one is needed, and with
/// it the run starts over.
pub(crate) fn of_reading(error: Error) -> Error {
    let altered = ServerError::of(&error).is_some_and(|server| server.code == ER_TABLE_DEF_CHANGED);
    if altered {
        return Error::transient(
            "a table was altered after its snapshot was taken, so it can't be read any more",
        )
        .hint(
            "alter tables while the run isn't on; on MySQL 8, a user with BACKUP_ADMIN makes such statements wait for it",
        )
        .because(error);
    }
    if error.kind() == ErrorKind::Transient {
        return Error::transient("a connection of the snapshot is lost, so the run starts over")
            .because(error);
    }
    error
}
