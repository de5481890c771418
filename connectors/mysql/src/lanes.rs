//! Connections for reading, as many at a time as asked for.

use std::sync::{Arc, Mutex, PoisonError};

use tidegate_core::{Error, Result};
use tokio::sync::{OwnedSemaphorePermit, Semaphore};

use crate::connect::Connector;
use crate::wire::Connection;

/// Gives connections to readers and planners, and takes them back.
///
/// Whoever waits gets one in the order in which they came.
#[derive(Debug)]
pub(crate) struct Lanes {
    connector: Arc<Connector>,
    free: Arc<Semaphore>,
    most: usize,
    /// What was given back; used again from the end, so that the others may be closed by the server.
    idle: Mutex<Vec<Connection>>,
}

/// The right to one connection. It ends with this value.
#[derive(Debug)]
pub(crate) struct Lane {
    lanes: Arc<Lanes>,
    _permit: OwnedSemaphorePermit,
}

impl Lanes {
    pub(crate) fn new(connector: Arc<Connector>, most: usize) -> Arc<Self> {
        Arc::new(Self {
            connector,
            free: Arc::new(Semaphore::new(most)),
            most,
            idle: Mutex::new(Vec::new()),
        })
    }

    /// How many there are at most.
    pub(crate) fn most(&self) -> usize {
        self.most
    }

    /// Waits until one more connection may be in use.
    pub(crate) async fn take(self: &Arc<Self>) -> Result<Lane> {
        let permit = Arc::clone(&self.free).acquire_owned().await;
        let permit =
            permit.map_err(|_| Error::internal("connections are asked for after the end"))?;
        Ok(Lane {
            lanes: Arc::clone(self),
            _permit: permit,
        })
    }

    /// Closes what nobody uses.
    pub(crate) fn close(&self) {
        self.idle().clear();
    }

    fn idle(&self) -> std::sync::MutexGuard<'_, Vec<Connection>> {
        self.idle.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Lane {
    /// A connection: one that was used before, unless `fresh` is asked for, because such a one may
    /// have been closed by the server meanwhile.
    pub(crate) async fn connect(&self, fresh: bool) -> Result<Connection> {
        let used = if fresh { None } else { self.lanes.idle().pop() };
        match used {
            Some(connection) => Ok(connection),
            None => self.lanes.connector.connect().await,
        }
    }

    /// Keeps a connection for the next one to ask. It must not be in the middle of anything.
    pub(crate) fn give_back(self, connection: Connection) {
        self.lanes.idle().push(connection);
    }
}
