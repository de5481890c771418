//! An epoch and its open ends: rows into staging tables.

use std::ops::Range;
use std::sync::{Arc, Mutex, PoisonError};

use arrow_array::RecordBatch;
use futures::future::try_join_all;
use tidegate_core::{
    Epoch, Error, IoWriter, Origin, Prepared, Rejected, Result, Sealed, SinkBatch, SinkEpoch,
    Token, Writer, WriterId, Written, async_trait,
};
use tidegate_formats::row_to_json;

use super::commit::{CommitPart, Way};
use super::config::Mode;
use super::encode::Rows;
use super::live::Shared;
use super::plan::Plan;
use super::staging::{self, Begun};
use super::target::Named;
use crate::sql;
use crate::wire::{Connection, ServerError};

/// The staging tables of one epoch.
#[derive(Debug)]
pub(super) struct MySqlEpoch {
    shared: Arc<Shared>,
    plan: Arc<Plan>,
    epoch: Epoch,
    begun: Mutex<Vec<Named>>,
}

impl MySqlEpoch {
    pub(super) fn new(shared: &Arc<Shared>, plan: &Arc<Plan>, epoch: Epoch) -> Arc<Self> {
        Arc::new(Self {
            shared: Arc::clone(shared),
            plan: Arc::clone(plan),
            epoch,
            begun: Mutex::default(),
        })
    }

    fn begun(&self) -> Vec<Named> {
        let begun = self.begun.lock().unwrap_or_else(PoisonError::into_inner);
        begun.clone()
    }

    /// Makes a writer's staging table.
    async fn open(&self, id: WriterId) -> Result<Open> {
        let cx = &self.shared.cx;
        let staging = self.plan.target.beside(&staging::name(&cx.common, id));
        let begun = Begun {
            staging: staging.clone(),
        };
        let token = Token::encode(&begun)?;
        cx.journal.begin(self.epoch, token).await?;
        self.begun
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .push(staging.clone());
        let mut connection = self.shared.pool.take().await?;
        self.shared.make(&mut connection, &self.plan).await?;
        staging::create(&mut connection, &self.plan, &staging).await?;
        // Of several rows with one key, an upsert keeps the last. A staging table has no triggers
        // and nobody refers to it, so that REPLACE is just that.
        let verb = match self.plan.mode {
            Mode::Upsert => "REPLACE",
            Mode::Insert | Mode::Replace => "INSERT",
        };
        let columns: Vec<_> = self.plan.slots.iter().map(|s| sql::name(&s.name)).collect();
        let into = staging.sql();
        Ok(Open {
            connection,
            head: format!("{verb} INTO {into} ({}) VALUES ", columns.join(",")).into(),
        })
    }

    fn way(&self) -> Way {
        match self.plan.mode {
            Mode::Insert | Mode::Replace => Way::Insert,
            Mode::Upsert => Way::Upsert {
                key: self.plan.key.clone(),
                careful: self.plan.careful,
            },
        }
    }

    /// What a commit needs of a staging table, and the rows that the target wouldn't take.
    async fn seal_one(&self, staging: Named) -> Result<(Prepared, Rejected)> {
        let mut connection = self.shared.pool.take().await?;
        let rejected = staging::sift(&mut connection, &self.plan, &staging).await?;
        self.shared.pool.give(connection);
        let part = CommitPart {
            target: self.plan.target.clone(),
            columns: self.plan.columns(),
            way: self.way(),
            staging: Some(staging),
            create: None,
        };
        Ok((Prepared::encode(&part)?, rejected))
    }
}

/// Hands out an epoch's writers.
#[derive(Debug)]
pub(super) struct Staging(pub(super) Arc<MySqlEpoch>);

#[async_trait]
impl SinkEpoch for Staging {
    async fn writer(&self, id: WriterId) -> Result<Writer> {
        Ok(Writer::Io(Box::new(MySqlWriter {
            epoch: Arc::clone(&self.0),
            id,
            open: None,
        })))
    }

    async fn seal(&self) -> Result<Sealed> {
        let mut sealed = Sealed::default();
        let tables = self.0.begun().into_iter();
        for (prepared, rejected) in try_join_all(tables.map(|one| self.0.seal_one(one))).await? {
            sealed.prepared.push(prepared);
            sealed.rejected.extend(rejected);
        }
        Ok(sealed)
    }

    async fn abandon(&self) {
        let begun = self.0.begun();
        if begun.is_empty() {
            return;
        }
        let dropped = async {
            let pool = &self.0.shared.pool;
            let mut connection = pool.take().await?;
            staging::drop(&mut connection, &begun).await?;
            pool.give(connection);
            Ok::<_, Error>(())
        };
        if let Err(error) = dropped.await {
            tracing::debug!(%error, "staging tables stay until the next run");
        }
    }
}

/// Takes rows for one epoch.
#[derive(Debug)]
struct MySqlWriter {
    epoch: Arc<MySqlEpoch>,
    id: WriterId,
    /// Its staging table, from the first row on.
    open: Option<Open>,
}

#[derive(Debug)]
struct Open {
    connection: Connection,
    /// The beginning of its statements, up to VALUES.
    head: Arc<str>,
}

/// An INSERT of some rows.
#[derive(Debug)]
struct Statement {
    head: usize,
    sql: Vec<u8>,
    /// The rows by their number in the batch, and where each one stands.
    rows: Vec<(usize, Range<usize>)>,
}

/// Rows that can't be taken, by their number in the batch, and why.
type Refused = Vec<(usize, String)>;

impl Statement {
    fn new(head: &str) -> Self {
        Self {
            head: head.len(),
            sql: head.into(),
            rows: Vec::new(),
        }
    }

    /// Of these rows alone.
    fn part(&self, rows: &[(usize, Range<usize>)]) -> Vec<u8> {
        let (from, to) = match rows {
            [] => (0, 0),
            [(_, one)] => (one.start, one.end),
            [(_, first), .., (_, last)] => (first.start, last.end),
        };
        let mut part = self.sql[..self.head].to_vec();
        part.extend_from_slice(&self.sql[from..to]);
        part
    }

    /// Adds a row that was just written at `start`.
    fn took(&mut self, row: usize, start: usize) {
        let end = self.sql.len();
        self.rows.push((row, start..end));
    }

    /// The statements of a batch: none longer than `most`, and each sent when it is about `enough`.
    fn of(
        rows: &Rows<'_>,
        count: usize,
        head: &str,
        (enough, most): (usize, usize),
    ) -> (Vec<Self>, Refused) {
        let (mut all, mut refused) = (Vec::new(), Vec::new());
        let mut now = Self::new(head);
        for row in 0..count {
            let before = now.sql.len();
            if !now.rows.is_empty() {
                now.sql.push(b',');
            }
            let start = now.sql.len();
            let written = rows.write(row, &mut now.sql);
            let length = now.sql.len() - start;
            let too_long = || {
                format!(
                    "the row takes {length} bytes in a statement, and the server's \
                     max_allowed_packet is {most}"
                )
            };
            let why = match written {
                Err(why) => Some(why),
                Ok(()) => (now.head + length > most).then(too_long),
            };
            if let Some(why) = why {
                now.sql.truncate(before);
                refused.push((row, why));
                continue;
            }
            if now.sql.len() > most {
                let own = now.sql.split_off(start);
                now.sql.truncate(before);
                all.push(std::mem::replace(&mut now, Self::new(head)));
                now.sql.extend_from_slice(&own);
                now.took(row, now.head);
            } else {
                now.took(row, start);
            }
            if now.sql.len() >= enough {
                all.push(std::mem::replace(&mut now, Self::new(head)));
            }
        }
        if !now.rows.is_empty() {
            all.push(now);
        }
        (all, refused)
    }
}

impl Open {
    /// Sends a statement. Rows that the server refuses are found by halving, and the others are
    /// taken, in their order.
    async fn send(&mut self, statement: &Statement, refused: &mut Refused) -> Result<()> {
        let rows = &statement.rows;
        let mut left = vec![&rows[..]];
        while let Some(some) = left.pop() {
            let why = if some.len() == rows.len() {
                self.insert(&statement.sql).await?
            } else {
                self.insert(&statement.part(some)).await?
            };
            match (why, some) {
                (None, _) => {}
                (Some(why), [(row, _)]) => refused.push((*row, why)),
                (Some(_), _) => {
                    let (first, second) = some.split_at(some.len() / 2);
                    left.push(second);
                    left.push(first);
                }
            }
        }
        Ok(())
    }

    /// Runs an INSERT in a transaction of its own. Gives the reason if the server refuses a row, or
    /// takes it only by bending it; then none is taken.
    async fn insert(&mut self, sql: &[u8]) -> Result<Option<String>> {
        let doing = "write rows to a staging table";
        let connection = &mut self.connection;
        connection
            .run("begin a transaction", "START TRANSACTION")
            .await?;
        let why = match connection.execute(doing, sql).await {
            Ok(done) if done.warnings == 0 => None,
            Ok(_) => bent(connection).await?,
            Err(error) => Some(of_row(error)?),
        };
        let end = if why.is_none() { "COMMIT" } else { "ROLLBACK" };
        connection.run("end a transaction", end).await?;
        Ok(why)
    }
}

/// What was done to a value so that it fits. A strict server refuses most of it, but only notes
/// when it cuts spaces or digits.
async fn bent(connection: &mut Connection) -> Result<Option<String>> {
    // Level, Code, Message; the last are left out, if there are many.
    let warnings = connection
        .query("read the server's warnings", "SHOW WARNINGS")
        .await?;
    let lossy = warnings.into_iter().find_map(|row| {
        let code = row.get(1)?.as_deref()?.parse::<u16>().ok()?;
        // Not those that a syntax or a type is deprecated.
        let lossy = matches!(code, 1264 | 1265 | 1292 | 1365 | 1366 | 1406 | 1411 | 1441);
        lossy.then(|| row.into_iter().nth(2).flatten()).flatten()
    });
    Ok(lossy.map(|message| told(&message)))
}

/// Why a row is refused; the error itself, if it isn't about a row.
fn of_row(error: Error) -> Result<String> {
    let Some(server) = ServerError::of(&error) else {
        return Err(error);
    };
    // Class 22 is "data exception", 23 "integrity constraint violation", 45 a SIGNAL. The others of
    // the manuals' lists have the general state HY000.
    let class = server.state.get(..2).unwrap_or_default();
    let row = matches!(class, "22" | "23" | "45")
        || matches!(
            server.code,
            1048 | 1118
                | 1264
                | 1265
                | 1292
                | 1364
                | 1366
                | 1367
                | 1411
                | 1416
                | 1441
                | 1525
                | 1526
                | 1690
                | 3037
                | 3064
                | 3140
                | 3141
                | 3143
                | 3156
                | 3516
                | 3548
                | 3616
                | 3617
                | 3643
                | 3732
                | 3819
                | 4025
                | 4078
                | 4161
        );
    if row {
        Ok(told(&server.message))
    } else {
        Err(error)
    }
}

/// The server's sentence without the row's number in the statement, which says nothing to anybody.
fn told(message: &str) -> String {
    let short = message.rsplit_once(" at row ").map_or(message, |(s, _)| s);
    format!("the server says: {short}")
}

#[async_trait]
impl IoWriter for MySqlWriter {
    async fn write(&mut self, batch: SinkBatch) -> Result<Written> {
        let batch = batch.rows;
        let mut rejected = Rejected::default();
        if batch.num_rows() == 0 {
            return Ok(rejected.into());
        }
        let open = match &mut self.open {
            Some(open) => open,
            none => none.insert(self.epoch.open(self.id).await?),
        };
        let shared = &self.epoch.shared;
        let sizes = (shared.statement, shared.packet);
        let (plan, head, rows) = (
            Arc::clone(&self.epoch.plan),
            Arc::clone(&open.head),
            batch.clone(),
        );
        // Writing literals is work for a CPU, and not for the thread that waits for all the others.
        let encode = move || encode(&plan, &head, &rows, sizes);
        let encoded = tokio::task::spawn_blocking(encode).await;
        let (statements, mut refused) = encoded
            .map_err(|error| Error::internal("rows could not be encoded").because(error))??;
        for statement in &statements {
            open.send(statement, &mut refused).await?;
            let sent = u64::try_from(statement.sql.len()).unwrap_or(u64::MAX);
            shared.cx.common.metrics.bytes(sent);
        }
        refused.sort_by_key(|(row, _)| *row);
        for (row, why) in refused {
            rejected.push(row_to_json(&batch, row)?, why, Origin::default());
        }
        Ok(rejected.into())
    }

    async fn finish(self: Box<Self>) -> Result<Written> {
        if let Some(open) = self.open {
            self.epoch.shared.pool.give(open.connection);
        }
        Ok(Written::default())
    }
}

fn encode(
    plan: &Plan,
    head: &str,
    batch: &RecordBatch,
    sizes: (usize, usize),
) -> Result<(Vec<Statement>, Refused)> {
    let rows = Rows::new(batch, &plan.slots)?;
    Ok(Statement::of(&rows, batch.num_rows(), head, sizes))
}
