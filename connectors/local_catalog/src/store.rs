//! The file: one SQLite database, used in transactions on threads that may block.

use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use rusqlite::{Connection, ErrorCode, OpenFlags, Transaction, TransactionBehavior};
use tidegate_core::{Error, Result, patiently};

/// A definition is the JSON of a `CatalogTable`; a key is the JSON of a partition's values.
const TABLES: &str = "
CREATE TABLE catalog_database (name TEXT PRIMARY KEY) STRICT, WITHOUT ROWID;
CREATE TABLE catalog_table (
    database TEXT NOT NULL REFERENCES catalog_database (name), name TEXT NOT NULL,
    definition TEXT NOT NULL,
    PRIMARY KEY (database, name)
) STRICT, WITHOUT ROWID;
CREATE TABLE catalog_partition (
    database TEXT NOT NULL, name TEXT NOT NULL, key TEXT NOT NULL, location TEXT NOT NULL,
    PRIMARY KEY (database, name, key),
    FOREIGN KEY (database, name) REFERENCES catalog_table (database, name) ON DELETE CASCADE
) STRICT, WITHOUT ROWID;
";

/// The layout of the tables above; a file with another is refused.
const VERSION: i64 = 1;

/// Tells a catalog from other files of SQLite, such as the state: "Tdgt".
const APPLICATION: i64 = 0x5464_6774;

/// How long another process may hold the file before that is an error.
const PATIENCE: Duration = Duration::from_secs(30);

/// An open file.
#[derive(Debug, Clone)]
pub(crate) struct Store(Arc<Shared>);

#[derive(Debug)]
struct Shared {
    path: PathBuf,
    connection: Mutex<Connection>,
}

impl Store {
    /// Opens the file, making it and its directory if they aren't there.
    pub(crate) async fn open(path: PathBuf) -> Result<Self> {
        blocking(move || {
            let connection = connect(&path).map_err(|error| error.with("path", path.display()))?;
            Ok(Self(Arc::new(Shared {
                path,
                connection: Mutex::new(connection),
            })))
        })
        .await
    }

    /// Runs `work` in a transaction that only reads.
    pub(crate) async fn read<T, F>(&self, work: F) -> Result<T>
    where
        T: Send + 'static,
        F: FnOnce(&Transaction<'_>) -> Result<T> + Send + 'static,
    {
        self.transact(TransactionBehavior::Deferred, work).await
    }

    /// Runs `work` in a transaction that no other process's change can get into. What it changed
    /// is there if it succeeds, and nothing of it otherwise.
    pub(crate) async fn write<T, F>(&self, work: F) -> Result<T>
    where
        T: Send + 'static,
        F: FnOnce(&Transaction<'_>) -> Result<T> + Send + 'static,
    {
        self.transact(TransactionBehavior::Immediate, work).await
    }

    async fn transact<T, F>(&self, behavior: TransactionBehavior, work: F) -> Result<T>
    where
        T: Send + 'static,
        F: FnOnce(&Transaction<'_>) -> Result<T> + Send + 'static,
    {
        let shared = Arc::clone(&self.0);
        blocking(move || {
            let mut connection = shared
                .connection
                .lock()
                .unwrap_or_else(PoisonError::into_inner);
            let run = || {
                let transaction = connection
                    .transaction_with_behavior(behavior)
                    .map_err(failed)?;
                let result = work(&transaction)?;
                transaction.commit().map_err(failed)?;
                Ok(result)
            };
            run().map_err(|error: Error| error.with("catalog", shared.path.display()))
        })
        .await
    }
}

async fn blocking<T, F>(work: F) -> Result<T>
where
    T: Send + 'static,
    F: FnOnce() -> Result<T> + Send + 'static,
{
    let task = tokio::task::spawn_blocking(work);
    task.await
        .map_err(|error| Error::internal("the catalog's thread broke").because(error))?
}

fn connect(path: &Path) -> Result<Connection> {
    if let Some(directory) = path.parent() {
        std::fs::create_dir_all(directory)
            .map_err(|error| Error::io("the catalog's directory can't be made", error))?;
    }
    // Without the flag for URIs: a file may be called `file:x`.
    let flags = OpenFlags::SQLITE_OPEN_READ_WRITE
        | OpenFlags::SQLITE_OPEN_CREATE
        | OpenFlags::SQLITE_OPEN_NO_MUTEX;
    let opened = || -> rusqlite::Result<Connection> {
        let connection = Connection::open_with_flags(path, flags)?;
        connection.busy_timeout(PATIENCE)?;
        Ok(connection)
    };
    let mut connection = opened().map_err(failed)?;
    // Looked at before anything is changed: the file may be somebody else's.
    check(&mut connection)?;
    let settle = || -> rusqlite::Result<()> {
        connection.pragma_update(None, "journal_mode", "WAL")?;
        connection.pragma_update(None, "synchronous", "FULL")?;
        connection.pragma_update(None, "foreign_keys", true)
    };
    patiently(PATIENCE, is_busy, settle).map_err(failed)?;
    Ok(connection)
}

/// Makes the tables in an empty file; refuses a file that isn't a catalog of this version's.
fn check(connection: &mut Connection) -> Result<()> {
    let look = || -> rusqlite::Result<(i64, i64)> {
        let transaction = connection.transaction_with_behavior(TransactionBehavior::Immediate)?;
        let pragma = |name| transaction.pragma_query_value(None, name, |row| row.get(0));
        let (mut application, mut version) = (pragma("application_id")?, pragma("user_version")?);
        let objects: i64 =
            transaction.query_row("SELECT count(*) FROM sqlite_schema", [], |row| row.get(0))?;
        if (application, version, objects) == (0, 0, 0) {
            transaction.execute_batch(TABLES)?;
            (application, version) = (APPLICATION, VERSION);
            transaction.pragma_update(None, "application_id", application)?;
            transaction.pragma_update(None, "user_version", version)?;
            transaction.commit()?;
        }
        Ok((application, version))
    };
    match patiently(PATIENCE, is_busy, look).map_err(failed)? {
        (APPLICATION, VERSION) => Ok(()),
        (APPLICATION, layout) => Err(Error::conflict(
            "the catalog was written by another version of Tidegate",
        )
        .with("layout", layout)
        .hint("use that version, or another file with `path`")),
        _ => Err(
            Error::config("the file is a database, but no catalog of Tidegate's")
                .with("key", "path")
                .hint("name another file; it is made if it isn't there"),
        ),
    }
}

fn is_busy(error: &rusqlite::Error) -> bool {
    error.sqlite_error_code() == Some(ErrorCode::DatabaseBusy)
}

/// An error of SQLite's, with the kind that says what to do.
pub(crate) fn failed(error: rusqlite::Error) -> Error {
    let message = "the local catalog can't be read or written";
    let typed = match error.sqlite_error_code() {
        Some(ErrorCode::DatabaseBusy | ErrorCode::DatabaseLocked) => Error::transient(message),
        Some(ErrorCode::PermissionDenied | ErrorCode::CannotOpen | ErrorCode::ReadOnly) => {
            Error::auth(message).hint("check the permissions of the file and of its directory")
        }
        // SQLite also says so when its helper files can't grow.
        Some(ErrorCode::DiskFull | ErrorCode::SystemIoFailure) => Error::internal(message)
            .hint("is the disk full, or broken? free some space, then run the same command again"),
        Some(ErrorCode::DatabaseCorrupt | ErrorCode::NotADatabase) => Error::config(message)
            .with("key", "path")
            .hint("the file is no database, or a damaged one: restore it, or name another"),
        _ => Error::internal(message),
    };
    typed.because(error)
}
