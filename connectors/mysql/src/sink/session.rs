//! Connections for writing: set up alike, and used again.

use std::sync::{Arc, Mutex, PoisonError};

use tidegate_core::{Error, Result};

use crate::connect::Connector;
use crate::wire::Connection;

/// In literals a backslash is a backslash, so that only quotes are escaped. A table that others
/// hold locked isn't waited for for a year.
const SET_UP: &str =
    "SET sql_mode = CONCAT(@@sql_mode, ',NO_BACKSLASH_ESCAPES'), lock_wait_timeout = 60";

/// Connections that nobody uses just now, and the way to new ones.
#[derive(Debug)]
pub(super) struct Sessions {
    connector: Arc<Connector>,
    idle: Mutex<Vec<Connection>>,
}

impl Sessions {
    pub(super) fn new(connector: Arc<Connector>) -> Self {
        Self {
            connector,
            idle: Mutex::default(),
        }
    }

    /// The database of the configuration.
    pub(super) fn database(&self) -> Result<&str> {
        self.connector.database().ok_or_else(|| {
            Error::config("no database is named").hint(
                "write it into `url`, as in \"mysql://user@host/database\", or set `database`",
            )
        })
    }

    /// A connection that works, in no transaction.
    pub(super) async fn take(&self) -> Result<Connection> {
        loop {
            let idle = self.lock().pop();
            let Some(mut connection) = idle else {
                let mut connection = self.connector.connect().await?;
                connection.run("set the session up", SET_UP).await?;
                return Ok(connection);
            };
            // It may have been closed while it lay here.
            if connection
                .run("see whether a connection lives", "DO 1")
                .await
                .is_ok()
            {
                return Ok(connection);
            }
        }
    }

    /// Gives a connection back that works, in no transaction.
    pub(super) fn give(&self, connection: Connection) {
        self.lock().push(connection);
    }

    /// Closes what nobody uses.
    pub(super) fn close(&self) {
        self.lock().clear();
    }

    fn lock(&self) -> std::sync::MutexGuard<'_, Vec<Connection>> {
        self.idle.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
