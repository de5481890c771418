//! The state store in a directory: one SQLite database for all pipelines that share the directory.
//!
//! What a run publishes rests on what it has stored. So three things are noticed, and refused:
//!
//! - a database that is older than the last run left it, because its `-wal` was lost or damaged:
//!   each change is counted in it, and the number is then written to the pipeline's lock file;
//! - a directory that is removed or replaced while a run is under way: nothing is answered after that;
//! - a damaged database, as far as SQLite's own check finds it.

mod copy;
mod files;
mod rows;

use std::collections::HashMap;
use std::fs::{File, TryLockError};
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use async_trait::async_trait;
use chrono::{DateTime, Utc};
use rusqlite::{
    Connection, ErrorCode, OptionalExtension, Transaction, TransactionBehavior, params,
};
use serde_json::Value;
use tidegate_core::{Error, Lineage, Result, patiently};

pub use self::copy::StateCopy;
use self::files::{Opened, Witness};
use self::rows::{CHANGES, SCHEMA, json, keep, load, parse};
use super::edits::Edit;
use super::names::{earlier_file_name, file_name};
use super::{Change, Fence, Held, Hold, Listed, PipelineState, StateStore, let_go, taken_over};

/// The layout of the tables above; a database with another is refused.
const VERSION: i64 = 1;

/// How long to wait for other processes that use the database.
const PATIENCE: Duration = Duration::from_secs(30);

/// The directory of the lock files, in the state's.
const LOCKS: &str = "locks";

/// A database up to this size is checked when it is opened, in bytes: that takes a fraction of a
/// second.
const CHECKED: u64 = 64 << 20;

/// The state store in a directory (`--state`, by default `.tidegate`): `state.db`, and a lock file
/// for each pipeline, which the operating system frees when its holder dies.
#[derive(Debug, Clone)]
pub struct SqliteStore {
    shared: Arc<Shared>,
}

#[derive(Debug)]
struct Shared {
    directory: PathBuf,
    database: Opened,
    connection: Mutex<Connection>,
    held: Mutex<HashMap<String, Mine>>,
}

/// What is known of a pipeline that this store holds.
#[derive(Debug)]
struct Mine {
    fence: Fence,
    witness: Arc<Witness>,
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
    witness: Arc<Witness>,
    /// Against earlier versions.
    _earlier: Option<File>,
}

impl SqliteStore {
    /// Opens the store in `directory`, making both if they aren't there.
    pub fn open(directory: &Path) -> Result<Self> {
        files::make_directory(directory).map_err(|error| {
            Error::io("the state directory can't be made", error).with("path", directory.display())
        })?;
        let path = directory.join("state.db");
        files::make_database(&path);
        files::make_private(&path);
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
                    .hint("use that version, or another directory with --state"),
            );
        }
        // SQLite gives these the permissions of the database; earlier versions left them to all.
        for name in ["state.db-wal", "state.db-shm"] {
            files::make_private(&directory.join(name));
        }
        let database = Opened::at(&path).map_err(|error| {
            Error::io("the state can't be found", error).with("path", path.display())
        })?;
        check(&connection, &path)?;
        Ok(Self {
            shared: Arc::new(Shared {
                directory: directory.to_owned(),
                database,
                connection: Mutex::new(connection),
                held: Mutex::default(),
            }),
        })
    }

    /// Writes a copy of the state of all pipelines to `file`, which must not be there yet: a
    /// database in one file, as it is at one moment, also while runs go on.
    ///
    /// # Errors
    ///
    /// `Config` if there is such a file.
    pub async fn export(&self, file: &Path) -> Result<()> {
        let file = file.to_owned();
        self.blocking(move |shared| shared.export(&file)).await
    }

    /// Puts what a copy has of its pipelines in the place of what is here of them; other pipelines
    /// stay as they are. None of them may run meanwhile.
    ///
    /// # Errors
    ///
    /// `Conflict` if one of them runs, or has a state here and `replaces` is false.
    pub async fn import(&self, copy: StateCopy, replaces: bool) -> Result<()> {
        self.blocking(move |shared| copy.import(shared, replaces))
            .await
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
        self.transact_and(work, Ok)
    }

    /// The same, and `then`, once it is durable, before anybody else begins another one.
    ///
    /// Errors: also `Conflict` if the database isn't in its place any more.
    fn transact_and<T, U>(
        &self,
        work: impl FnOnce(&Transaction<'_>) -> Result<T>,
        then: impl FnOnce(T) -> Result<U>,
    ) -> Result<U> {
        let mut connection = self.connection();
        self.database.check()?;
        let transaction = connection
            .transaction_with_behavior(TransactionBehavior::Immediate)
            .map_err(failed)?;
        let result = work(&transaction)?;
        transaction.commit().map_err(failed)?;
        // What went into a file that nobody finds any more isn't stored.
        self.database.check()?;
        then(result)
    }

    fn connection(&self) -> MutexGuard<'_, Connection> {
        let connection = self.connection.lock();
        connection.unwrap_or_else(PoisonError::into_inner)
    }

    fn export(&self, file: &Path) -> Result<()> {
        let failed = |error: std::io::Error| {
            Error::io("the copy can't be written", error).with("path", file.display())
        };
        let there = || {
            Error::config("there is such a file already")
                .with("path", file.display())
                .hint("give the copy another name, or remove that file")
        };
        let file = std::path::absolute(file).map_err(failed)?;
        let directory = file.parent().unwrap_or(Path::new("/"));
        if file.symlink_metadata().is_ok() {
            return Err(there());
        }
        // It has its name only when it is whole.
        let mut unfinished = tempfile::Builder::new();
        let unfinished = unfinished.prefix(".").suffix(".tidegate-tmp");
        let copy = unfinished.tempfile_in(directory).map_err(failed)?;
        let copy = copy.into_temp_path();
        let Some(name) = copy.to_str() else {
            return Err(
                Error::config("the name of the copy's directory isn't UTF-8")
                    .with("path", file.display()),
            );
        };
        {
            let connection = self.connection();
            self.database.check()?;
            connection
                .execute("VACUUM INTO ?", [name])
                .map_err(|error| {
                    sqlite("the state can't be copied", error).with("path", file.display())
                })?;
        }
        copy::seal(&copy)?;
        let written = File::open(&copy).and_then(|copy| copy.sync_all());
        written.map_err(failed)?;
        copy.persist_noclobber(&file)
            .map_err(|error| match error.error.kind() {
                std::io::ErrorKind::AlreadyExists => there(),
                _ => failed(error.error),
            })?;
        let directory = File::open(directory).and_then(|directory| directory.sync_all());
        directory.map_err(failed)
    }

    /// Locks the pipeline; `None` while another one has it.
    ///
    /// Earlier versions locked a file right in the directory, by a name that several pipelines could
    /// share. That file is locked too, but shared: so an earlier version and this one never run a
    /// pipeline together, whichever was first, while pipelines of this version don't meet there.
    /// Where its name is too long for a file, no earlier version has ever run the pipeline.
    fn lock(&self, pipeline: &str) -> Result<Option<Locks>> {
        let locks = self.directory.join(LOCKS);
        files::make_directory(&locks).map_err(|error| {
            Error::io("the directory for locks can't be made", error).with("path", locks.display())
        })?;
        let path = locks.join(file_name(pipeline));
        let own = lock(&path, File::try_lock)?;
        let earlier = earlier_file_name(pipeline);
        let earlier = match earlier.len() {
            0..256 => match lock(&self.directory.join(earlier), File::try_lock_shared)? {
                None => return Ok(None),
                locked => locked,
            },
            _ => None,
        };
        let Some(own) = own else {
            return Ok(None);
        };
        let witness = Witness::of(&path, &own).map_err(|error| {
            Error::io("the pipeline's lock file can't be opened", error)
                .with("path", path.display())
        })?;
        Ok(Some(Locks {
            _own: own,
            witness: Arc::new(witness),
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
            let (known, witness) = self.mine(pipeline, fence, |mine| {
                (mine.state.take(), Arc::clone(&mine.witness))
            })?;
            witness.check()?;
            let known = known.map_or_else(|| load(db, pipeline), |state| Ok(Some(state)))?;
            let Some(mut state) = known else {
                return Err(taken_over(pipeline));
            };
            let edits = state.change(change)?;
            for edit in &edits {
                keep(db, pipeline, edit)?;
            }
            // What was begun besides in an epoch means nothing to what is published: without it
            // something is left over, no more. There may be many of them.
            let besides = |edit: &Edit| matches!(edit, Edit::Begun(_));
            let changes = match edits.iter().all(besides) {
                true => None,
                false => Some(count(db, pipeline)?),
            };
            Ok((state, witness, changes))
        };
        self.transact_and(work, |(state, witness, changes)| {
            // Whoever let go meanwhile needs it no more, and must not write into another's file.
            if self.mine(pipeline, fence, |_| ()).is_err() {
                return Ok(());
            }
            if let Some(changes) = changes {
                witness.check()?;
                witness.write(changes)?;
            }
            let _ = self.mine(pipeline, fence, |mine| mine.state = Some(state));
            Ok(())
        })
    }
}

fn lock(
    path: &Path,
    how: impl Fn(&File) -> std::result::Result<(), TryLockError>,
) -> Result<Option<File>> {
    let file = files::open_lock(path).map_err(|error| {
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
    }
    if matches!(version, 0 | VERSION) {
        // Earlier versions of this layout have no such table, and don't mind it.
        transaction.execute_batch(CHANGES)?;
        transaction.commit()?;
        return Ok(VERSION);
    }
    Ok(version)
}

/// Fails with `Conflict` if SQLite finds the database damaged.
fn check(connection: &Connection, path: &Path) -> Result<()> {
    let size = std::fs::metadata(path).map_or(0, |found| found.len());
    if size > CHECKED {
        return Ok(());
    }
    let found: String = connection
        .query_row("PRAGMA quick_check(1)", [], |row| row.get(0))
        .map_err(|error| sqlite("the state can't be read", error).with("path", path.display()))?;
    match found.as_str() {
        "ok" => Ok(()),
        found => Err(Error::conflict("the state is damaged")
            .with("path", path.display())
            .with("found", found.lines().last().unwrap_or(found))
            .hint(DAMAGED)),
    }
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
            return Err(running(pipeline)
                .with("holder", holder.as_deref().unwrap_or("unknown"))
                .hint("wait until it ends, or give this run another directory with --state"));
        };
        let (witness, seen) = (Arc::clone(&locks.witness), locks.witness.changes()?);
        let (place, lock) = (self.shared.directory.join("state.db"), Arc::clone(&witness));
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
                let changes = counted(db, &name)?;
                if let Some(seen) = seen.filter(|&seen| seen > changes) {
                    return Err(older(&name, changes, seen, &place, lock.path()));
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
        let mine = Mine {
            fence,
            witness,
            state: None,
        };
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
        let witness = |mine: &mut Mine| Arc::clone(&mine.witness);
        let witness = self.shared.mine(pipeline, fence, witness)?;
        let name = pipeline.to_owned();
        self.transact(move |db| {
            compare(db, &name, fence)?;
            witness.check()
        })
        .await
    }

    async fn pipelines(&self) -> Result<Vec<Listed>> {
        self.transact(|db| {
            let mut statement = db
                .prepare(
                    "SELECT name, at FROM pipeline
                     LEFT JOIN changes ON changes.pipeline = pipeline.name ORDER BY name",
                )
                .map_err(failed)?;
            let rows = statement.query_map([], |row| {
                Ok(Listed {
                    name: row.get(0)?,
                    changed: row
                        .get::<_, Option<i64>>(1)?
                        .and_then(DateTime::from_timestamp_millis),
                })
            });
            rows.map_err(failed)?
                .map(|row| row.map_err(failed))
                .collect()
        })
        .await
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

fn running(pipeline: &str) -> Error {
    Error::conflict("the pipeline is already running").with("pipeline", pipeline)
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

/// How many changes of the pipeline are in the database.
fn counted(db: &Transaction<'_>, pipeline: &str) -> Result<u64> {
    let sql = "SELECT count FROM changes WHERE pipeline = ?";
    let found = db.query_row(sql, [pipeline], |row| row.get(0));
    Ok(found.optional().map_err(failed)?.unwrap_or(0))
}

/// Counts one more; gives how many there are.
fn count(db: &Transaction<'_>, pipeline: &str) -> Result<u64> {
    db.prepare_cached(
        "INSERT INTO changes (pipeline, count, at) VALUES (?, 1, ?)
         ON CONFLICT DO UPDATE SET count = count + 1, at = excluded.at RETURNING count",
    )
    .and_then(|mut sql| sql.query_row((pipeline, Utc::now().timestamp_millis()), |row| row.get(0)))
    .map_err(failed)
}

/// What a run is told whose database has lost changes.
fn older(pipeline: &str, changes: u64, seen: u64, database: &Path, lock: &Path) -> Error {
    Error::conflict("state.db is older than the last run left it: its -wal is missing or damaged")
        .with("pipeline", pipeline)
        .with("path", database.display())
        .with("changes", format!("{changes} of {seen}"))
        .with("lock", lock.display())
        .hint(
            "put state.db back together with the state.db-wal that lay beside it; or, if that is \
             lost, remove the lock file: the next run then resumes from the older state, and \
             writes rows again that were published since",
        )
}

fn failed(error: rusqlite::Error) -> Error {
    sqlite("the state can't be read or written", error)
}

const DAMAGED: &str =
    "state.db is damaged: restore it, or start over in another directory with --state";

fn sqlite(message: &str, error: rusqlite::Error) -> Error {
    use rusqlite::ErrorCode;
    let error_of = match error.sqlite_error_code() {
        Some(ErrorCode::DatabaseBusy | ErrorCode::DatabaseLocked) => Error::transient(message),
        Some(ErrorCode::PermissionDenied | ErrorCode::CannotOpen | ErrorCode::ReadOnly) => {
            Error::auth(message).hint("check the permissions of the state directory (--state)")
        }
        Some(ErrorCode::DiskFull) => {
            Error::internal(message).hint("free some space, then run the same command again")
        }
        // SQLite says so too when its helper files can't grow.
        Some(ErrorCode::SystemIoFailure) => Error::internal(message)
            .hint("is the disk of the state directory (--state) full, or broken?"),
        Some(ErrorCode::DatabaseCorrupt | ErrorCode::NotADatabase) => {
            Error::conflict(message).hint(DAMAGED)
        }
        _ => Error::internal(message),
    };
    error_of.because(error)
}
