//! Copies of a state in one file: sealed when they are written, looked through before they are read.

use std::path::{Path, PathBuf};

use chrono::Utc;
use rusqlite::types::{Value as Cell, ValueRef};
use rusqlite::{Connection, OpenFlags, OptionalExtension, ToSql, Transaction, params_from_iter};
use serde_json::Value;
use sha2::{Digest, Sha256};
use tidegate_core::{Error, Result};

use super::rows::{TABLES, Table, load, parse};
use super::{Locks, Shared, VERSION, counted, failed, running};

/// What the copy's checksum stands in.
const SEAL: &str = "copy";

/// A copy of pipelines' states that was found whole.
#[derive(Debug)]
pub struct StateCopy {
    path: PathBuf,
    connection: Connection,
    pipelines: Vec<String>,
    without_checksum: bool,
}

/// Puts the checksum of all rows into a copy that was just written.
pub(super) fn seal(path: &Path) -> Result<()> {
    let work = || -> Result<()> {
        let connection = Connection::open(path).map_err(failed)?;
        // One that stems from a copy which was put into a directory as it is.
        let statements =
            format!("DROP TABLE IF EXISTS {SEAL}; CREATE TABLE {SEAL} (sha256 TEXT) STRICT");
        connection.execute_batch(&statements).map_err(failed)?;
        let insert = format!("INSERT INTO {SEAL} VALUES (?)");
        connection
            .execute(&insert, [digest(&connection)?])
            .map_err(failed)?;
        connection.close().map_err(|(_, error)| failed(error))
    };
    work().map_err(|error| error.with("path", path.display()))
}

impl StateCopy {
    /// Opens a copy and looks through all of it. It isn't changed.
    ///
    /// # Errors
    ///
    /// `NotFound`; `Conflict` if it isn't a copy, is damaged, or is of another version.
    pub fn read(path: &Path) -> Result<Self> {
        let copy = Self::open(path).map_err(|error| error.with("path", path.display()))?;
        if copy.without_checksum {
            tracing::warn!(
                path = %path.display(),
                "the copy has no checksum, as those of earlier versions: values in it that were damaged aren't noticed"
            );
        }
        Ok(copy)
    }

    /// Its pipelines, by name.
    pub fn pipelines(&self) -> &[String] {
        &self.pipelines
    }

    fn open(path: &Path) -> Result<Self> {
        let mut begin = [0; MAGIC.len()];
        let read = std::fs::File::open(path)
            .and_then(|mut file| std::io::Read::read_exact(&mut file, &mut begin));
        match read {
            Err(error) if error.kind() == std::io::ErrorKind::UnexpectedEof => {
                return Err(foreign());
            }
            Err(error) => return Err(Error::io("the copy can't be read", error)),
            Ok(()) if begin != *MAGIC => return Err(foreign()),
            Ok(()) => {}
        }
        let mut log = path.as_os_str().to_owned();
        log.push("-wal");
        if std::fs::metadata(&log).is_ok_and(|log| log.len() > 0) {
            return Err(Error::conflict(
                "this is a state in use, and no copy: what was stored last is in its -wal",
            )
            .hint("make a copy of it: `tidegate state export COPY --state DIRECTORY`"));
        }
        let connection = connect(path)?;
        let version: i64 = connection
            .pragma_query_value(None, "user_version", |row| row.get(0))
            .map_err(damaged)?;
        if !has_table(&connection, "pipeline")? {
            return Err(foreign());
        }
        if version != VERSION {
            return Err(
                Error::conflict("the copy was written by another version of Tidegate")
                    .with("layout", version)
                    .hint("import it with the version that wrote it"),
            );
        }
        let found: String = connection
            .query_row("PRAGMA integrity_check(1)", [], |row| row.get(0))
            .map_err(damaged)?;
        if found != "ok" {
            let found = found.lines().last().unwrap_or(&found).to_owned();
            return Err(damaged("SQLite finds it damaged").with("found", found));
        }
        let without_checksum = !has_table(&connection, SEAL)?;
        if !without_checksum {
            let sql = format!("SELECT sha256 FROM {SEAL}");
            let stored: Option<String> = connection
                .query_row(&sql, [], |row| row.get(0))
                .optional()
                .map_err(damaged)?;
            let found = digest(&connection).map_err(damaged)?;
            if stored.as_ref() != Some(&found) {
                return Err(damaged("its checksum is another"));
            }
        }
        let mut copy = Self {
            path: path.to_owned(),
            connection,
            pipelines: Vec::new(),
            without_checksum,
        };
        copy.pipelines = copy.parsed()?;
        Ok(copy)
    }

    /// Its pipelines, each of whose values could be read.
    fn parsed(&mut self) -> Result<Vec<String>> {
        let db = self.connection.transaction().map_err(damaged)?;
        let texts = |sql: &str| -> Result<Vec<String>> {
            let mut statement = db.prepare(sql).map_err(damaged)?;
            let rows = statement.query_map([], |row| row.get(0)).map_err(damaged)?;
            rows.map(|row| row.map_err(damaged)).collect()
        };
        let names = texts("SELECT name FROM pipeline ORDER BY name")?;
        for name in &names {
            load(&db, name).map_err(|error| error.with("pipeline", name))?;
        }
        for value in texts("SELECT value FROM value")? {
            parse::<Value>(&value)?;
        }
        Ok(names)
    }

    pub(super) fn import(self, shared: &Shared, replaces: bool) -> Result<()> {
        let mut locks: Vec<(&String, Locks)> = Vec::new();
        for name in &self.pipelines {
            let lock = shared.lock(name)?;
            let lock = lock.ok_or_else(|| {
                running(name).hint("wait until it ends, then import the copy again")
            })?;
            locks.push((name, lock));
        }
        let work = |db: &Transaction<'_>| {
            let mut counts = Vec::new();
            for (name, locks) in &locks {
                let before = standing(db, name)?;
                if before.is_some_and(|(_, has_run)| has_run) && !replaces {
                    return Err(Error::conflict("the pipeline has a state here already")
                        .with("pipeline", name));
                }
                // Larger than all that was ever seen here: the lock file must not take it for one
                // that has lost changes, and who held the pipeline before stays fenced off.
                let seen = locks
                    .witness
                    .changes()?
                    .unwrap_or(0)
                    .max(counted(db, name)?);
                self.put(db, name)?;
                let count = seen.max(counted(db, name)?).saturating_add(1);
                db.execute(
                    "INSERT INTO changes (pipeline, count, at) VALUES (?1, ?2, ?3)
                     ON CONFLICT DO UPDATE SET count = excluded.count",
                    rusqlite::params![name, count, Utc::now().timestamp_millis()],
                )
                .map_err(failed)?;
                let fence = before.map_or(0, |(fence, _)| fence);
                db.execute(
                    "UPDATE pipeline SET fence = max(fence, ?) WHERE name = ?",
                    rusqlite::params![fence, name],
                )
                .map_err(failed)?;
                counts.push(count);
            }
            self.put_shared(db)?;
            Ok(counts)
        };
        let imported = shared.transact_and(work, |counts| {
            for ((_, locks), count) in locks.iter().zip(counts) {
                locks.witness.write(count)?;
            }
            Ok(())
        });
        imported.map_err(|error| error.with("copy", self.path.display()))
    }

    /// Puts the copy's rows of a pipeline in the place of those that are here.
    fn put(&self, db: &Transaction<'_>, pipeline: &str) -> Result<()> {
        for table in &TABLES {
            let Table {
                name, pipeline: of, ..
            } = table;
            let delete = format!("DELETE FROM {name} WHERE {of} = ?");
            db.execute(&delete, [pipeline]).map_err(failed)?;
            self.add(db, table, &format!("{of} = ?1"), &[&pipeline], "INSERT")?;
        }
        Ok(())
    }

    /// Adds values that belong to no pipeline (what was spent of quotas) where there are none: what is
    /// here was spent since.
    fn put_shared(&self, db: &Transaction<'_>) -> Result<()> {
        let values = TABLES.iter().filter(|table| table.name == "value");
        for table in values {
            let of = "pipeline NOT IN (SELECT name FROM pipeline)";
            self.add(db, table, of, &[], "INSERT OR IGNORE")?;
        }
        Ok(())
    }

    fn add(
        &self,
        db: &Transaction<'_>,
        table: &Table,
        of: &str,
        params: &[&dyn ToSql],
        insert: &str,
    ) -> Result<()> {
        if !has_table(&self.connection, table.name)? {
            return Ok(());
        }
        let Table {
            name,
            pipeline,
            columns,
        } = table;
        let select = format!("SELECT {pipeline}, {columns} FROM {name} WHERE {of} ORDER BY rowid");
        let mut select = self.connection.prepare(&select).map_err(damaged)?;
        let count = select.column_count();
        let places = vec!["?"; count].join(", ");
        let insert = format!("{insert} INTO {name} ({pipeline}, {columns}) VALUES ({places})");
        let mut insert = db.prepare(&insert).map_err(failed)?;
        let mut rows = select.query(params).map_err(damaged)?;
        while let Some(row) = rows.next().map_err(damaged)? {
            let cells = (0..count).map(|at| row.get::<_, Cell>(at));
            let cells: Vec<Cell> = cells.collect::<rusqlite::Result<_>>().map_err(damaged)?;
            insert.execute(params_from_iter(cells)).map_err(failed)?;
        }
        Ok(())
    }
}

/// The fence of a pipeline that is here, and whether it has ever begun a run.
fn standing(db: &Transaction<'_>, pipeline: &str) -> Result<Option<(u64, bool)>> {
    let sql = "SELECT fence, run IS NOT NULL FROM pipeline WHERE name = ?";
    let found = db.query_row(sql, [pipeline], |row| Ok((row.get(0)?, row.get(1)?)));
    found.optional().map_err(failed)
}

/// What a database of SQLite begins with.
const MAGIC: &[u8; 16] = b"SQLite format 3\0";

/// Opens a database that nobody writes to, without making any file beside it.
fn connect(path: &Path) -> Result<Connection> {
    let path =
        std::path::absolute(path).map_err(|error| Error::io("the copy can't be found", error))?;
    let mut url = "file:".to_owned();
    for byte in path.as_os_str().as_encoded_bytes() {
        match byte {
            b'/' | b'-' | b'_' | b'.' => url.push(char::from(*byte)),
            byte if byte.is_ascii_alphanumeric() => url.push(char::from(*byte)),
            byte => url.push_str(&format!("%{byte:02X}")),
        }
    }
    url.push_str("?mode=ro&immutable=1");
    let flags = OpenFlags::SQLITE_OPEN_READ_ONLY
        | OpenFlags::SQLITE_OPEN_URI
        | OpenFlags::SQLITE_OPEN_NO_MUTEX;
    Connection::open_with_flags(url, flags).map_err(damaged)
}

fn has_table(connection: &Connection, name: &str) -> Result<bool> {
    let sql = "SELECT count(*) FROM sqlite_schema WHERE type = 'table' AND name = ?";
    let count: i64 = connection
        .query_row(sql, [name], |row| row.get(0))
        .map_err(damaged)?;
    Ok(count > 0)
}

/// The SHA-256 of all rows, in hex: of each the table's name, then each value with its type and length.
fn digest(connection: &Connection) -> Result<String> {
    let mut hash = Sha256::new();
    let mut add = |kind: u8, bytes: &[u8]| {
        hash.update([kind]);
        hash.update(u64::try_from(bytes.len()).unwrap_or(u64::MAX).to_be_bytes());
        hash.update(bytes);
    };
    for table in &TABLES {
        if !has_table(connection, table.name)? {
            continue;
        }
        let Table {
            name,
            pipeline,
            columns,
        } = table;
        let sql = format!("SELECT {pipeline}, {columns} FROM {name} ORDER BY rowid");
        let mut statement = connection.prepare(&sql).map_err(failed)?;
        let count = statement.column_count();
        let mut rows = statement.query([]).map_err(failed)?;
        while let Some(row) = rows.next().map_err(failed)? {
            add(b'r', name.as_bytes());
            for at in 0..count {
                match row.get_ref(at).map_err(failed)? {
                    ValueRef::Null => add(b'n', &[]),
                    ValueRef::Integer(number) => add(b'i', &number.to_be_bytes()),
                    ValueRef::Real(number) => add(b'f', &number.to_be_bytes()),
                    ValueRef::Text(text) => add(b't', text),
                    ValueRef::Blob(bytes) => add(b'b', bytes),
                }
            }
        }
    }
    Ok(hash
        .finalize()
        .iter()
        .map(|byte| format!("{byte:02x}"))
        .collect())
}

fn foreign() -> Error {
    Error::conflict("the file is no copy of a state").hint("`tidegate state export COPY` makes one")
}

fn damaged(why: impl Into<Box<dyn std::error::Error + Send + Sync>>) -> Error {
    Error::conflict("the copy is damaged")
        .because(why)
        .hint("take another copy: this one can't be trusted, and nothing of it was imported")
}
