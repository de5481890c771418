//! Connections that are used again.

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use tidegate_core::{Error, Result};
use tokio::sync::{OwnedSemaphorePermit, Semaphore};

use super::connector::Connector;
use crate::wire::Connection;

/// Keeps connections for the next one to ask, and says how many may be in use at a time. Whoever
/// waits gets one in the order in which they came.
#[derive(Debug)]
pub(crate) struct Pool {
    /// What makes more, and what is said to each then; none: what the pool was made of is all there
    /// is, and one that is lost isn't replaced.
    more: Option<(Arc<Connector>, Option<&'static str>)>,
    turns: Arc<Semaphore>,
    most: usize,
    kept: Mutex<Kept>,
}

#[derive(Debug)]
struct Kept {
    /// Used again from the end, so that the others may be closed by the server.
    idle: Vec<Connection>,
    /// How many of what the pool was made of are not lost.
    alive: usize,
    /// Lives as long as one of them does.
    guard: Option<Connection>,
}

impl Pool {
    /// Of connections that are made when they are needed. `set_up`: a statement that each begins
    /// with.
    pub(crate) fn new(
        connector: Arc<Connector>,
        most: usize,
        set_up: Option<&'static str>,
    ) -> Arc<Self> {
        Self::with(Some((connector, set_up)), most, Vec::new(), None)
    }

    /// Of these and no others, whose transactions can't be retried.
    pub(crate) fn of(connections: Vec<Connection>, guard: Option<Connection>) -> Arc<Self> {
        Self::with(None, connections.len(), connections, guard)
    }

    fn with(
        more: Option<(Arc<Connector>, Option<&'static str>)>,
        most: usize,
        idle: Vec<Connection>,
        guard: Option<Connection>,
    ) -> Arc<Self> {
        Arc::new(Self {
            more,
            turns: Arc::new(Semaphore::new(most)),
            most,
            kept: Mutex::new(Kept {
                alive: idle.len(),
                idle,
                guard,
            }),
        })
    }

    /// How many there are at most.
    pub(crate) fn most(&self) -> usize {
        self.most
    }

    /// How many of the connections that it was made of are left.
    #[cfg(test)]
    pub(crate) fn alive(&self) -> usize {
        self.kept().alive
    }

    /// Waits until one more connection may be in use.
    ///
    /// Errors: `Internal` where none is left, and none can be made.
    pub(crate) async fn lend(self: &Arc<Self>) -> Result<Loan> {
        let turn = Arc::clone(&self.turns).acquire_owned().await;
        let turn = turn.map_err(|_| Error::internal("connections are asked for after the end"))?;
        Ok(Loan {
            pool: Arc::clone(self),
            turn: Some(turn),
            // Of those that can't be retried, it is lost with this loan.
            only: self.more.is_none().then(|| self.used()).flatten(),
        })
    }

    /// A connection that works, in no transaction, whoever else has one.
    pub(crate) async fn take(&self) -> Result<Connection> {
        while let Some(mut connection) = self.used() {
            // It may have been closed while it lay here.
            let lives = connection.run("see whether a connection lives", "DO 1");
            if lives.await.is_ok() {
                return Ok(connection);
            }
        }
        self.make().await
    }

    /// Keeps a connection for the next one to ask. It must not be in the middle of anything.
    pub(crate) fn give(&self, connection: Connection) {
        if !self.turns.is_closed() {
            self.kept().idle.push(connection);
        }
    }

    /// Closes what nobody uses; for good, if there are no others.
    pub(crate) fn close(&self) {
        let mut kept = self.kept();
        kept.idle.clear();
        if self.more.is_none() {
            self.end(&mut kept);
        }
    }

    /// Nobody is to wait for what never comes.
    fn end(&self, kept: &mut Kept) {
        kept.guard = None;
        self.turns.close();
    }

    fn used(&self) -> Option<Connection> {
        self.kept().idle.pop()
    }

    async fn make(&self) -> Result<Connection> {
        let (connector, set_up) = self
            .more
            .as_ref()
            .ok_or_else(|| Error::internal("a lent connection was used twice"))?;
        let mut connection = connector.connect().await?;
        if let Some(set_up) = set_up {
            connection.run("set the session up", set_up).await?;
        }
        Ok(connection)
    }

    fn kept(&self) -> MutexGuard<'_, Kept> {
        self.kept.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// The right to one connection. It ends with this value; where no other can be made, a connection
/// that wasn't given back by then is lost to the pool.
#[derive(Debug)]
pub(crate) struct Loan {
    pool: Arc<Pool>,
    turn: Option<OwnedSemaphorePermit>,
    only: Option<Connection>,
}

impl Loan {
    /// The connection: one that was used before, unless a `fresh` one is asked for and can be made,
    /// because such a one may have been closed by the server meanwhile.
    pub(crate) async fn connect(&mut self, fresh: bool) -> Result<Connection> {
        let used = match fresh || self.pool.more.is_none() {
            true => self.only.take(),
            false => self.pool.used(),
        };
        match used {
            Some(connection) => Ok(connection),
            None => self.pool.make().await,
        }
    }

    /// Keeps the connection for the next one to ask. It must not be in the middle of anything.
    pub(crate) fn give_back(mut self, connection: Connection) {
        self.pool.give(connection);
        // Only now, so that whoever gets it finds the connection.
        self.turn = None;
    }
}

impl Drop for Loan {
    fn drop(&mut self) {
        let Some(turn) = self.turn.take().filter(|_| self.pool.more.is_none()) else {
            return;
        };
        turn.forget();
        let mut kept = self.pool.kept();
        kept.alive -= 1;
        if kept.alive == 0 {
            self.pool.end(&mut kept);
        }
    }
}
