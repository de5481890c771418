//! The state store in a folder: one SQLite database for all pipelines that share the folder.

use std::collections::{BTreeMap, HashMap};
use std::fs::{File, TryLockError};
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use async_trait::async_trait;
use rusqlite::{
    Connection, ErrorCode, OptionalExtension, Transaction, TransactionBehavior, params,
};
use serde::Serialize;
use serde::de::DeserializeOwned;
use serde_json::Value;
use tidegate_core::{ComponentId, Epoch, Error, Lineage, Result};

use super::{
    Change, Checkpoint, Fence, PipelineState, SourceState, SplitState, StateStore, StoredEpoch,
    taken_over,
};

const SCHEMA: &str = "
CREATE TABLE IF NOT EXISTS pipeline (
    name TEXT PRIMARY KEY, lineage TEXT NOT NULL, epoch INTEGER NOT NULL,
    fence INTEGER NOT NULL, holder TEXT, run TEXT
) STRICT;
CREATE TABLE IF NOT EXISTS source (
    pipeline TEXT NOT NULL, id TEXT NOT NULL, plan TEXT, plan_before TEXT, next TEXT,
    PRIMARY KEY (pipeline, id)
) STRICT;
CREATE TABLE IF NOT EXISTS split (
    ord INTEGER PRIMARY KEY, pipeline TEXT NOT NULL, source TEXT NOT NULL, id TEXT NOT NULL,
    split TEXT NOT NULL, position TEXT, finished INTEGER NOT NULL DEFAULT 0,
    UNIQUE (pipeline, source, id)
) STRICT;
CREATE TABLE IF NOT EXISTS stream_schema (
    pipeline TEXT NOT NULL, source TEXT NOT NULL, stream TEXT NOT NULL, schema TEXT NOT NULL,
    PRIMARY KEY (pipeline, source, stream)
) STRICT;
CREATE TABLE IF NOT EXISTS epoch (
    pipeline TEXT NOT NULL, epoch INTEGER NOT NULL, last INTEGER NOT NULL,
    PRIMARY KEY (pipeline, epoch)
) STRICT;
CREATE TABLE IF NOT EXISTS prepared (
    ord INTEGER PRIMARY KEY, pipeline TEXT NOT NULL, sink TEXT NOT NULL,
    epoch INTEGER, value TEXT NOT NULL
) STRICT;
CREATE TABLE IF NOT EXISTS journal (
    ord INTEGER PRIMARY KEY, pipeline TEXT NOT NULL, sink TEXT NOT NULL,
    epoch INTEGER NOT NULL, token TEXT NOT NULL
) STRICT;
CREATE TABLE IF NOT EXISTS value (
    pipeline TEXT NOT NULL, component TEXT NOT NULL, key TEXT NOT NULL, value TEXT NOT NULL,
    PRIMARY KEY (pipeline, component, key)
) STRICT;
";

/// The layout of the tables above; a database with another is refused.
const VERSION: i64 = 1;

/// How long to wait for other processes that use the database.
const PATIENCE: Duration = Duration::from_secs(30);

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
    locks: Mutex<HashMap<String, File>>,
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
        let mut connection = patiently(connect).map_err(|error| {
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
                locks: Mutex::default(),
            }),
        })
    }

    /// Runs `work` in one transaction on a thread that may block.
    async fn transact<T, F>(&self, work: F) -> Result<T>
    where
        T: Send + 'static,
        F: FnOnce(&Transaction<'_>) -> Result<T> + Send + 'static,
    {
        let shared = Arc::clone(&self.shared);
        let task = tokio::task::spawn_blocking(move || {
            let mut connection = shared
                .connection
                .lock()
                .unwrap_or_else(PoisonError::into_inner);
            let transaction = connection
                .transaction_with_behavior(TransactionBehavior::Immediate)
                .map_err(failed)?;
            let result = work(&transaction)?;
            transaction.commit().map_err(failed)?;
            Ok(result)
        });
        task.await
            .map_err(|error| Error::internal("the state's thread broke").because(error))?
    }
}

/// Tries again while another process has the database locked. Of two that turn a new one to WAL,
/// SQLite refuses one at once, whatever its `busy_timeout`.
fn patiently<T>(mut work: impl FnMut() -> rusqlite::Result<T>) -> rusqlite::Result<T> {
    let deadline = Instant::now() + PATIENCE;
    loop {
        match work() {
            Err(error)
                if error.sqlite_error_code() == Some(ErrorCode::DatabaseBusy)
                    && Instant::now() < deadline =>
            {
                std::thread::sleep(Duration::from_millis(10));
            }
            result => return result,
        }
    }
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
    async fn acquire(&self, pipeline: &str) -> Result<Fence> {
        let path = self
            .shared
            .folder
            .join(format!("{}.lock", file_name(pipeline)));
        let lock = File::create(&path).map_err(|error| {
            Error::io("the pipeline's lock file can't be made", error).with("path", path.display())
        })?;
        match lock.try_lock() {
            Ok(()) => {}
            Err(TryLockError::WouldBlock) => {
                let name = pipeline.to_owned();
                let holder: Option<String> = self
                    .transact(move |db| {
                        db.query_row(
                            "SELECT holder FROM pipeline WHERE name = ?",
                            [name],
                            |row| row.get(0),
                        )
                        .optional()
                        .map_err(failed)
                    })
                    .await?
                    .flatten();
                return Err(Error::conflict("the pipeline is already running")
                    .with("pipeline", pipeline)
                    .with("holder", holder.as_deref().unwrap_or("unknown"))
                    .hint("wait until it ends, or give this run another folder with --state"));
            }
            Err(TryLockError::Error(error)) => {
                return Err(
                    Error::io("the pipeline can't be locked", error).with("path", path.display())
                );
            }
        }
        let name = pipeline.to_owned();
        let holder = format!("process {}", std::process::id());
        let fence = self
            .transact(move |db| {
                db.execute(
                    "INSERT INTO pipeline (name, lineage, epoch, fence) VALUES (?, ?, 0, 0)
                     ON CONFLICT DO NOTHING",
                    params![name, json(&Lineage::new())?],
                )
                .map_err(failed)?;
                db.query_row(
                    "UPDATE pipeline SET fence = fence + 1, holder = ? WHERE name = ? RETURNING fence",
                    params![holder, name],
                    |row| row.get(0),
                )
                .map_err(failed)
            })
            .await?;
        let mut locks = self
            .shared
            .locks
            .lock()
            .unwrap_or_else(PoisonError::into_inner);
        locks.insert(pipeline.to_owned(), lock);
        Ok(Fence(fence))
    }

    async fn release(&self, pipeline: &str, fence: Fence) -> Result<()> {
        let name = pipeline.to_owned();
        let result = self
            .transact(move |db| {
                db.execute(
                    "UPDATE pipeline SET holder = NULL WHERE name = ? AND fence = ?",
                    params![name, fence.0],
                )
                .map_err(failed)
            })
            .await;
        self.shared
            .locks
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .remove(pipeline);
        result.map(|_| ())
    }

    async fn verify(&self, pipeline: &str, fence: Fence) -> Result<()> {
        let name = pipeline.to_owned();
        self.transact(move |db| compare(db, &name, fence)).await
    }

    async fn load(&self, pipeline: &str) -> Result<Option<PipelineState>> {
        let name = pipeline.to_owned();
        self.transact(move |db| load(db, &name)).await
    }

    async fn apply(&self, pipeline: &str, fence: Fence, change: Change) -> Result<()> {
        let name = pipeline.to_owned();
        self.transact(move |db| {
            compare(db, &name, fence)?;
            apply(db, &name, change)
        })
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

/// A pipeline's name as a file name.
fn file_name(pipeline: &str) -> String {
    pipeline
        .chars()
        .map(|c| {
            if c.is_alphanumeric() || "-_.".contains(c) {
                c
            } else {
                '_'
            }
        })
        .collect()
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

fn load(db: &Transaction<'_>, pipeline: &str) -> Result<Option<PipelineState>> {
    let head: Option<(String, u64, Option<String>)> = db
        .query_row(
            "SELECT lineage, epoch, run FROM pipeline WHERE name = ?",
            [pipeline],
            |row| Ok((row.get(0)?, row.get(1)?, row.get(2)?)),
        )
        .optional()
        .map_err(failed)?;
    let Some((lineage, epoch, run)) = head else {
        return Ok(None);
    };

    let mut sources: BTreeMap<ComponentId, SourceState> = BTreeMap::new();
    each(
        db,
        "SELECT id, plan, plan_before, next FROM source WHERE pipeline = ?",
        pipeline,
        |row| {
            let source = SourceState {
                plan: row.json_opt(1)?,
                plan_before: row.json_opt(2)?,
                next: row.json_opt(3)?,
                ..SourceState::default()
            };
            sources.insert(row.id(0)?, source);
            Ok(())
        },
    )?;
    each(
        db,
        "SELECT source, split, position, finished FROM split WHERE pipeline = ? ORDER BY ord",
        pipeline,
        |row| {
            sources
                .entry(row.id(0)?)
                .or_default()
                .splits
                .push(SplitState {
                    split: row.json(1)?,
                    offset: row.json_opt(2)?,
                    finished: row.0.get(3).map_err(failed)?,
                });
            Ok(())
        },
    )?;
    each(
        db,
        "SELECT source, stream, schema FROM stream_schema WHERE pipeline = ?",
        pipeline,
        |row| {
            let stream: String = row.0.get(1).map_err(failed)?;
            sources
                .entry(row.id(0)?)
                .or_default()
                .schemas
                .insert(stream.into(), row.json(2)?);
            Ok(())
        },
    )?;

    let mut epochs: BTreeMap<u64, StoredEpoch> = BTreeMap::new();
    each(
        db,
        "SELECT epoch, last FROM epoch WHERE pipeline = ?",
        pipeline,
        |row| {
            let number: u64 = row.0.get(0).map_err(failed)?;
            let last = row.0.get(1).map_err(failed)?;
            epochs.insert(
                number,
                StoredEpoch {
                    epoch: Epoch(number),
                    last,
                    prepared: Vec::new(),
                },
            );
            Ok(())
        },
    )?;
    let mut kept = Vec::new();
    each(
        db,
        "SELECT epoch, sink, value FROM prepared WHERE pipeline = ? ORDER BY ord",
        pipeline,
        |row| {
            let value = (row.id(1)?, row.json(2)?);
            match row.0.get::<_, Option<u64>>(0).map_err(failed)? {
                None => kept.push(value),
                Some(epoch) => {
                    if let Some(epoch) = epochs.get_mut(&epoch) {
                        epoch.prepared.push(value);
                    }
                }
            }
            Ok(())
        },
    )?;
    let mut journal = Vec::new();
    each(
        db,
        "SELECT sink, token FROM journal WHERE pipeline = ? ORDER BY ord",
        pipeline,
        |row| {
            journal.push((row.id(0)?, row.json(1)?));
            Ok(())
        },
    )?;

    Ok(Some(PipelineState {
        lineage: parse(&lineage)?,
        epoch: Epoch(epoch),
        run: run.map(|run| parse(&run)).transpose()?,
        sources,
        epochs: epochs.into_values().collect(),
        kept,
        journal,
    }))
}

fn apply(db: &Transaction<'_>, pipeline: &str, change: Change) -> Result<()> {
    let run = |sql: &str, params: &[&dyn rusqlite::ToSql]| -> Result<()> {
        db.prepare_cached(sql)
            .and_then(|mut sql| sql.execute(params))
            .map_err(failed)?;
        Ok(())
    };
    let p: &dyn rusqlite::ToSql = &pipeline;
    match change {
        Change::BeginRun { run: state } => {
            let unfinished: bool = db
                .query_row(
                    "SELECT run ->> 'finished' = 0 FROM pipeline WHERE name = ?",
                    [pipeline],
                    |r| r.get::<_, Option<bool>>(0),
                )
                .map_err(failed)?
                .unwrap_or(false);
            run("DELETE FROM split WHERE pipeline = ?", &[p])?;
            run("DELETE FROM stream_schema WHERE pipeline = ?", &[p])?;
            run(
                if unfinished {
                    "UPDATE source SET plan = plan_before, next = NULL WHERE pipeline = ?"
                } else {
                    "UPDATE source SET plan_before = plan, next = NULL WHERE pipeline = ?"
                },
                &[p],
            )?;
            run(
                "UPDATE pipeline SET run = ? WHERE name = ?",
                &[&json(&state)?, p],
            )
        }
        Change::Reconfigure { run: state } => run(
            "UPDATE pipeline SET run = ? WHERE name = ?",
            &[&json(&state)?, p],
        ),
        Change::Planned {
            source,
            plan,
            next,
            new,
            told,
            revoked,
        } => {
            run(
                "INSERT INTO source (pipeline, id, plan, next) VALUES (?, ?, ?, ?)
                 ON CONFLICT DO UPDATE SET plan = excluded.plan, next = excluded.next",
                &[p, &source.as_str(), &json(&plan)?, &json(&next)?],
            )?;
            for id in told {
                run(
                    "DELETE FROM split WHERE (pipeline, source, id) = (?, ?, ?) AND finished",
                    &[p, &source.as_str(), &id.as_str()],
                )?;
            }
            for id in revoked {
                run(
                    "DELETE FROM split WHERE (pipeline, source, id) = (?, ?, ?) AND NOT finished",
                    &[p, &source.as_str(), &id.as_str()],
                )?;
            }
            for split in new {
                run(
                    "INSERT INTO split (pipeline, source, id, split) VALUES (?, ?, ?, ?)",
                    &[p, &source.as_str(), &split.id.as_str(), &json(&split)?],
                )?;
            }
            Ok(())
        }
        Change::Replan { source } => {
            run(
                "DELETE FROM split WHERE (pipeline, source) = (?, ?)",
                &[p, &source.as_str()],
            )?;
            run(
                "UPDATE source SET plan = plan_before, next = NULL WHERE (pipeline, id) = (?, ?)",
                &[p, &source.as_str()],
            )
        }
        Change::Begun { sink, epoch, token } => {
            run(
                "UPDATE pipeline SET epoch = MAX(epoch, ?) WHERE name = ?",
                &[&epoch.0, p],
            )?;
            run(
                "INSERT INTO journal (pipeline, sink, epoch, token) VALUES (?, ?, ?, ?)",
                &[p, &sink.as_str(), &epoch.0, &json(&token)?],
            )
        }
        Change::Checkpoint(checkpoint) => store(run, p, &checkpoint),
        Change::Committed {
            epoch,
            settled,
            last,
        } => {
            run(
                "DELETE FROM epoch WHERE (pipeline, epoch) = (?, ?)",
                &[p, &epoch.0],
            )?;
            run(
                "DELETE FROM prepared WHERE (pipeline, epoch) = (?, ?)",
                &[p, &epoch.0],
            )?;
            for sink in settled {
                run(
                    "DELETE FROM journal WHERE (pipeline, sink) = (?, ?) AND epoch <= ?",
                    &[p, &sink.as_str(), &epoch.0],
                )?;
            }
            if last {
                run("DELETE FROM prepared WHERE pipeline = ?", &[p])?;
                run(
                    "DELETE FROM journal WHERE pipeline = ? AND epoch <= ?",
                    &[p, &epoch.0],
                )?;
                run(
                    "UPDATE pipeline SET run = json_set(run, '$.finished', json('true')) WHERE name = ?",
                    &[p],
                )?;
            }
            Ok(())
        }
        Change::Recovered { sink } => run(
            "DELETE FROM journal WHERE (pipeline, sink) = (?, ?)",
            &[p, &sink.as_str()],
        ),
        Change::Forsake { sink } => run(
            "DELETE FROM prepared WHERE (pipeline, sink) = (?, ?) AND epoch IS NULL",
            &[p, &sink.as_str()],
        ),
    }
}

fn store(
    run: impl Fn(&str, &[&dyn rusqlite::ToSql]) -> Result<()>,
    p: &dyn rusqlite::ToSql,
    checkpoint: &Checkpoint,
) -> Result<()> {
    let epoch = checkpoint.epoch.0;
    run(
        "UPDATE pipeline SET epoch = MAX(epoch, ?),
             run = json_set(run, '$.checkpointed', json('true')) WHERE name = ?",
        &[&epoch, p],
    )?;
    run(
        "INSERT INTO epoch (pipeline, epoch, last) VALUES (?, ?, ?)",
        &[p, &epoch, &checkpoint.last],
    )?;
    for (source, split, offset) in &checkpoint.offsets {
        run(
            "UPDATE split SET position = ? WHERE (pipeline, source, id) = (?, ?, ?)",
            &[&json(offset)?, p, &source.as_str(), &split.as_str()],
        )?;
    }
    for (source, split, offset) in &checkpoint.finished {
        let offset = offset.as_ref().map(json).transpose()?;
        run(
            "UPDATE split SET finished = 1, position = ? WHERE (pipeline, source, id) = (?, ?, ?)",
            &[&offset, p, &source.as_str(), &split.as_str()],
        )?;
    }
    for (source, stream, schema) in &checkpoint.schemas {
        run(
            "INSERT OR REPLACE INTO stream_schema (pipeline, source, stream, schema) VALUES (?, ?, ?, ?)",
            &[p, &source.as_str(), &stream.as_str(), &json(schema)?],
        )?;
    }
    for (sink, value) in &checkpoint.prepared {
        run(
            "INSERT INTO prepared (pipeline, sink, epoch, value) VALUES (?, ?, ?, ?)",
            &[p, &sink.as_str(), &epoch, &json(value)?],
        )?;
    }
    for (sink, value) in &checkpoint.kept {
        run(
            "INSERT INTO prepared (pipeline, sink, epoch, value) VALUES (?, ?, NULL, ?)",
            &[p, &sink.as_str(), &json(value)?],
        )?;
    }
    Ok(())
}

/// A row whose text columns are ids and JSON.
struct Row<'a>(&'a rusqlite::Row<'a>);

impl Row<'_> {
    fn id(&self, column: usize) -> Result<ComponentId> {
        ComponentId::new(&self.0.get::<_, String>(column).map_err(failed)?)
    }

    fn json<T: DeserializeOwned>(&self, column: usize) -> Result<T> {
        parse(&self.0.get::<_, String>(column).map_err(failed)?)
    }

    fn json_opt<T: DeserializeOwned>(&self, column: usize) -> Result<Option<T>> {
        let text: Option<String> = self.0.get(column).map_err(failed)?;
        text.map(|text| parse(&text)).transpose()
    }
}

fn each(
    db: &Transaction<'_>,
    sql: &str,
    pipeline: &str,
    mut take: impl FnMut(Row<'_>) -> Result<()>,
) -> Result<()> {
    let mut statement = db.prepare_cached(sql).map_err(failed)?;
    let mut rows = statement.query([pipeline]).map_err(failed)?;
    while let Some(row) = rows.next().map_err(failed)? {
        take(Row(row))?;
    }
    Ok(())
}

fn json<T: Serialize>(value: &T) -> Result<String> {
    serde_json::to_string(value)
        .map_err(|error| Error::internal("a value of the state can't be written").because(error))
}

fn parse<T: DeserializeOwned>(text: &str) -> Result<T> {
    serde_json::from_str(text).map_err(|error| {
        Error::conflict("a value of the state can't be read")
            .hint("the state may have been written by another version of Tidegate")
            .because(error)
    })
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
