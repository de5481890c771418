//! The state store in a folder: one SQLite database for all pipelines that share the folder.

mod rows;

use std::collections::HashMap;
use std::fs::{File, OpenOptions, TryLockError};
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use async_trait::async_trait;
use rusqlite::{
    Connection, ErrorCode, OptionalExtension, Transaction, TransactionBehavior, params,
};
use serde_json::Value;
use tidegate_core::{Error, Lineage, Result, patiently};

use self::rows::{SCHEMA, json, keep, load, parse};
use super::names::{earlier_file_name, file_name};
use super::{Change, Fence, Held, Hold, PipelineState, StateStore, let_go, taken_over};

/// The layout of the tables above; a database with another is refused.
const VERSION: i64 = 1;

/// How long to wait for other processes that use the database.
const PATIENCE: Duration = Duration::from_secs(30);

/// The folder of the lock files, in the state's.
const LOCKS: &str = "locks";

/// The state store in a folder (`--state`, by default `.tidegate`): `state.db`, and a lock file
/// for each pipeline, which the operating system frees when its holder dies.
#[derive(Debug, Clone)]
pub struct SqliteStore {
    shared: Arc<Shared>,
}

#[derive(Debug)]
struct Shared {
    folder: PathBuf,
    connection: Mutex<Connection>,
    held: Mutex<HashMap<String, Mine>>,
}

/// What is known of a pipeline that this store holds.
#[derive(Debug)]
struct Mine {
    fence: Fence,
    /// What is stored, once it was read: nobody else changes it. `None` also while it is being
    /// changed, and after that went wrong.
    state: Option<PipelineState>,
}

/// The hold on a pipeline; the locks go with their files.
#[derive(Debug)]
struct Locked {
    shared: Arc<Shared>,
    pipeline: String,
    fence: Fence,
    _locks: Arc<Locks>,
}

#[derive(Debug)]
struct Locks {
    _own: File,
    /// Against earlier versions.
    _earlier: Option<File>,
}

impl SqliteStore {
    /// Opens the store in `folder`, making both if they aren't there.
    pub fn open(folder: &Path) -> Result<Self> {
        std::fs::create_dir_all(folder).map_err(|error| {
            Error::io("the state folder can't be made", error).with("path", folder.display())
        })?;
        let path = folder.join("state.db");
        let connect = || -> rusqlite::Result<Connection> {
            let connection = Connection::open(&path)?;
            connection.busy_timeout(PATIENCE)?;
            connection.pragma_update(None, "journal_mode", "WAL")?;
            connection.pragma_update(None, "synchronous", "FULL")?;
            Ok(connection)
        };
        let mut connection = patiently(PATIENCE, is_busy, connect).map_err(|error| {
            sqlite("the state can't be opened", error).with("path", path.display())
        })?;
        let found = migrate(&mut connection).map_err(|error| {
            sqlite("the state can't be read", error).with("path", path.display())
        })?;
        if found != VERSION {
            return Err(
                Error::conflict("the state was written by another version of Tidegate")
                    .with("path", path.display())
                    .with("layout", found)
                    .hint("use that version, or another folder with --state"),
            );
        }
        Ok(Self {
            shared: Arc::new(Shared {
                folder: folder.to_owned(),
                connection: Mutex::new(connection),
                held: Mutex::default(),
            }),
        })
    }

    /// Runs `work` in one transaction on a thread that may block.
    async fn transact<T, F>(&self, work: F) -> Result<T>
    where
        T: Send + 'static,
        F: FnOnce(&Transaction<'_>) -> Result<T> + Send + 'static,
    {
        self.blocking(move |shared| shared.transact(work)).await
    }

    async fn blocking<T: Send + 'static>(
        &self,
        work: impl FnOnce(&Arc<Shared>) -> Result<T> + Send + 'static,
    ) -> Result<T> {
        let shared = Arc::clone(&self.shared);
        let task = tokio::task::spawn_blocking(move || work(&shared));
        task.await
            .map_err(|error| Error::internal("the state's thread broke").because(error))?
    }
}

impl Shared {
    fn transact<T>(&self, work: impl FnOnce(&Transaction<'_>) -> Result<T>) -> Result<T> {
        self.transact_and(work, |result| result)
    }

    /// The same, and `then`, once it is durable, before anybody else begins another one.
    fn transact_and<T, U>(
        &self,
        work: impl FnOnce(&Transaction<'_>) -> Result<T>,
        then: impl FnOnce(T) -> U,
    ) -> Result<U> {
        let mut connection = self
            .connection
            .lock()
            .unwrap_or_else(PoisonError::into_inner);
        let transaction = connection
            .transaction_with_behavior(TransactionBehavior::Immediate)
            .map_err(failed)?;
        let result = work(&transaction)?;
        transaction.commit().map_err(failed)?;
        Ok(then(result))
    }

    /// Locks the pipeline; `None` while another one has it.
    ///
    /// Earlier versions locked a file right in the folder, by a name that several pipelines could
    /// share. That file is locked too, but shared: so an earlier version and this one never run a
    /// pipeline together, whichever was first, while pipelines of this version don't meet there.
    /// Where its name is too long for a file, no earlier version has ever run the pipeline.
    fn lock(&self, pipeline: &str) -> Result<Option<Locks>> {
        let locks = self.folder.join(LOCKS);
        std::fs::create_dir_all(&locks).map_err(|error| {
            Error::io("the folder for locks can't be made", error).with("path", locks.display())
        })?;
        let own = lock(&locks.join(file_name(pipeline)), File::try_lock)?;
        let earlier = earlier_file_name(pipeline);
        let earlier = match earlier.len() {
            0..256 => match lock(&self.folder.join(earlier), File::try_lock_shared)? {
                None => return Ok(None),
                locked => locked,
            },
            _ => None,
        };
        Ok(own.map(|own| Locks {
            _own: own,
            _earlier: earlier,
        }))
    }

    fn held(&self) -> MutexGuard<'_, HashMap<String, Mine>> {
        self.held.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// What `change` asks of a pipeline that is held; fails if it isn't any more.
    fn mine<T>(
        &self,
        pipeline: &str,
        fence: Fence,
        change: impl FnOnce(&mut Mine) -> T,
    ) -> Result<T> {
        let mut held = self.held();
        let mine = held.get_mut(pipeline).filter(|mine| mine.fence == fence);
        mine.map(change).ok_or_else(|| let_go(pipeline))
    }

    fn apply(&self, pipeline: &str, fence: Fence, change: &Change) -> Result<()> {
        let work = |db: &Transaction<'_>| {
            compare(db, pipeline, fence)?;
            let known = self.mine(pipeline, fence, |mine| mine.state.take())?;
            let known = known.map_or_else(|| load(db, pipeline), |state| Ok(Some(state)))?;
            let Some(mut state) = known else {
                return Err(taken_over(pipeline));
            };
            for edit in state.change(change)? {
                keep(db, pipeline, &edit)?;
            }
            Ok(state)
        };
        self.transact_and(work, |state| {
            // Whoever let go meanwhile needs it no more.
            let _ = self.mine(pipeline, fence, |mine| mine.state = Some(state));
        })
    }
}

fn lock(
    path: &Path,
    how: impl Fn(&File) -> std::result::Result<(), TryLockError>,
) -> Result<Option<File>> {
    let mut options = OpenOptions::new();
    let file = options.create(true).write(true).truncate(false).open(path);
    let file = file.map_err(|error| {
        Error::io("the pipeline's lock file can't be made", error).with("path", path.display())
    })?;
    match how(&file) {
        Ok(()) => Ok(Some(file)),
        Err(TryLockError::WouldBlock) => Ok(None),
        Err(TryLockError::Error(error)) => {
            Err(Error::io("the pipeline can't be locked", error).with("path", path.display()))
        }
    }
}

#[async_trait]
impl Held for Locked {
    async fn release(self: Box<Self>) -> Result<()> {
        Ok(())
    }
}

impl Drop for Locked {
    fn drop(&mut self) {
        let mut held = self.shared.held();
        if held
            .get(&self.pipeline)
            .is_some_and(|mine| mine.fence == self.fence)
        {
            held.remove(&self.pipeline);
        }
    }
}

fn is_busy(error: &rusqlite::Error) -> bool {
    error.sqlite_error_code() == Some(ErrorCode::DatabaseBusy)
}

fn migrate(connection: &mut Connection) -> rusqlite::Result<i64> {
    let transaction = connection.transaction_with_behavior(TransactionBehavior::Immediate)?;
    let version: i64 = transaction.pragma_query_value(None, "user_version", |row| row.get(0))?;
    if version == 0 {
        transaction.execute_batch(SCHEMA)?;
        transaction.pragma_update(None, "user_version", VERSION)?;
        transaction.commit()?;
        return Ok(VERSION);
    }
    Ok(version)
}

#[async_trait]
impl StateStore for SqliteStore {
    async fn acquire(&self, pipeline: &str) -> Result<Hold> {
        let name = pipeline.to_owned();
        // The locks are this future's, so that they go with it. (To take them waits for nothing.)
        let Some(locks) = self.shared.lock(pipeline)? else {
            let holder: Option<String> = self
                .transact(move |db| {
                    db.query_row(
                        "SELECT holder FROM pipeline WHERE name = ?",
                        [name],
                        |row| row.get(0),
                    )
                    .optional()
                    .map(Option::flatten)
                    .map_err(failed)
                })
                .await?;
            return Err(Error::conflict("the pipeline is already running")
                .with("pipeline", pipeline)
                .with("holder", holder.as_deref().unwrap_or("unknown"))
                .hint("wait until it ends, or give this run another folder with --state"));
        };
        let locks = Arc::new(locks);
        let wanted = Arc::downgrade(&locks);
        let holder = format!("process {}", std::process::id());
        let fence = self
            .transact(move |db| {
                // Nobody else can have taken the pipeline by now, nor can before this is committed:
                // or else whoever did would be fenced off by one that has given up.
                if wanted.strong_count() == 0 {
                    return Err(let_go(&name));
                }
                db.execute(
                    "INSERT INTO pipeline (name, lineage, epoch, fence) VALUES (?, ?, 0, 0)
                     ON CONFLICT DO NOTHING",
                    params![name, json(&Lineage::new())?],
                )
                .map_err(failed)?;
                db.query_row(
                    "UPDATE pipeline SET fence = fence + 1, holder = ? WHERE name = ? RETURNING fence",
                    params![holder, name],
                    |row| row.get(0).map(Fence),
                )
                .map_err(failed)
            })
            .await?;
        let mine = Mine { fence, state: None };
        self.shared.held().insert(pipeline.to_owned(), mine);
        let locked = Locked {
            shared: Arc::clone(&self.shared),
            pipeline: pipeline.to_owned(),
            fence,
            _locks: locks,
        };
        Ok(Hold::new(fence, locked))
    }

    async fn verify(&self, pipeline: &str, fence: Fence) -> Result<()> {
        self.shared.mine(pipeline, fence, |_| ())?;
        let name = pipeline.to_owned();
        self.transact(move |db| compare(db, &name, fence)).await
    }

    async fn load(&self, pipeline: &str) -> Result<Option<PipelineState>> {
        let name = pipeline.to_owned();
        self.transact(move |db| load(db, &name)).await
    }

    async fn apply(&self, pipeline: &str, fence: Fence, change: Change) -> Result<()> {
        let name = pipeline.to_owned();
        self.blocking(move |shared| shared.apply(&name, fence, &change))
            .await
    }

    async fn get_value(&self, pipeline: &str, component: &str, key: &str) -> Result<Option<Value>> {
        let at = (pipeline.to_owned(), component.to_owned(), key.to_owned());
        self.transact(move |db| {
            db.query_row(
                "SELECT value FROM value WHERE (pipeline, component, key) = (?, ?, ?)",
                params![at.0, at.1, at.2],
                |row| row.get::<_, String>(0),
            )
            .optional()
            .map_err(failed)?
            .map(|text| parse(&text))
            .transpose()
        })
        .await
    }

    async fn compare_and_set_value(
        &self,
        pipeline: &str,
        component: &str,
        key: &str,
        expected: Option<&Value>,
        value: &Value,
    ) -> Result<bool> {
        let at = (pipeline.to_owned(), component.to_owned(), key.to_owned());
        let (expected, value) = (expected.cloned(), json(value)?);
        self.transact(move |db| {
            let found: Option<String> = db
                .query_row(
                    "SELECT value FROM value WHERE (pipeline, component, key) = (?, ?, ?)",
                    params![at.0, at.1, at.2],
                    |row| row.get(0),
                )
                .optional()
                .map_err(failed)?;
            if found.map(|text| parse::<Value>(&text)).transpose()? != expected {
                return Ok(false);
            }
            db.execute(
                "INSERT OR REPLACE INTO value (pipeline, component, key, value) VALUES (?, ?, ?, ?)",
                params![at.0, at.1, at.2, value],
            )
            .map_err(failed)?;
            Ok(true)
        })
        .await
    }
}

fn compare(db: &Transaction<'_>, pipeline: &str, fence: Fence) -> Result<()> {
    let found: Option<u64> = db
        .query_row(
            "SELECT fence FROM pipeline WHERE name = ?",
            [pipeline],
            |row| row.get(0),
        )
        .optional()
        .map_err(failed)?;
    if found == Some(fence.0) {
        return Ok(());
    }
    Err(taken_over(pipeline))
}

fn failed(error: rusqlite::Error) -> Error {
    sqlite("the state can't be read or written", error)
}

fn sqlite(message: &str, error: rusqlite::Error) -> Error {
    use rusqlite::ErrorCode;
    let error_of = match error.sqlite_error_code() {
        Some(ErrorCode::DatabaseBusy | ErrorCode::DatabaseLocked) => Error::transient(message),
        Some(ErrorCode::PermissionDenied | ErrorCode::CannotOpen | ErrorCode::ReadOnly) => {
            Error::auth(message).hint("check the permissions of the state folder (--state)")
        }
        Some(ErrorCode::DiskFull) => {
            Error::internal(message).hint("free some space, then run the same command again")
        }
        // SQLite says so too when its helper files can't grow.
        Some(ErrorCode::SystemIoFailure) => Error::internal(message)
            .hint("is the disk of the state folder (--state) full, or broken?"),
        Some(ErrorCode::DatabaseCorrupt | ErrorCode::NotADatabase) => Error::conflict(message)
            .hint("state.db is damaged: restore it, or start over in another folder with --state"),
        _ => Error::internal(message),
    };
    error_of.because(error)
}
