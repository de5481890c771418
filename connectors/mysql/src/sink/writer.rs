//! One open end: rows into a staging table.

use std::mem;
use std::ops::Range;
use std::sync::Arc;

use arrow_array::RecordBatch;
use tidegate_core::{
    Error, Origin, Prepared, Rejected, Result, Sealed, SinkWriter, Token, WriterId, async_trait,
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

/// Takes rows for one epoch.
#[derive(Debug)]
pub(super) struct MySqlWriter {
    shared: Arc<Shared>,
    plan: Arc<Plan>,
    id: WriterId,
    /// Its staging table, from the first row on.
    open: Option<Open>,
    statement: Statement,
}

#[derive(Debug)]
struct Open {
    connection: Connection,
    staging: Named,
}

/// An INSERT of some rows.
#[derive(Debug, Default)]
struct Statement {
    /// Its beginning, up to VALUES.
    head: usize,
    sql: Vec<u8>,
    /// The rows by their number in the batch, and where each one stands.
    rows: Vec<(usize, Range<usize>)>,
}

impl Statement {
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

    fn clear(&mut self) {
        self.sql.truncate(self.head);
        self.rows.clear();
    }
}

impl MySqlWriter {
    pub(super) fn new(shared: Arc<Shared>, plan: Arc<Plan>, id: WriterId) -> Self {
        Self {
            shared,
            plan,
            id,
            open: None,
            statement: Statement::default(),
        }
    }

    /// Makes the staging table, once.
    async fn open(&mut self) -> Result<()> {
        if self.open.is_some() {
            return Ok(());
        }
        let cx = &self.shared.cx;
        let staging = self.plan.target.beside(&staging::name(&cx.common, self.id));
        let begun = Begun {
            staging: staging.clone(),
        };
        cx.journal
            .begin(self.id.epoch, Token::encode(&begun)?)
            .await?;
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
        let head = format!(
            "{verb} INTO {} ({}) VALUES ",
            staging.sql(),
            columns.join(",")
        );
        self.statement = Statement {
            head: head.len(),
            sql: head.into_bytes(),
            rows: Vec::new(),
        };
        self.open = Some(Open {
            connection,
            staging,
        });
        Ok(())
    }

    /// Sends the statement that was gathered. Rows that the server refuses are found by halving,
    /// and the others are taken, in their order.
    async fn send(&mut self, refused: &mut Vec<(usize, String)>) -> Result<()> {
        let Some(open) = &mut self.open else {
            return Err(Error::internal(
                "a writer of MySQL that isn't open was used",
            ));
        };
        if self.statement.rows.is_empty() {
            return Ok(());
        }
        let rows = mem::take(&mut self.statement.rows);
        let mut left = vec![&rows[..]];
        let whole = rows.len();
        while let Some(some) = left.pop() {
            let why = if some.len() == whole {
                open.insert(&self.statement.sql).await?
            } else {
                open.insert(&self.statement.part(some)).await?
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
        let sent = self.statement.sql.len();
        self.shared
            .cx
            .common
            .metrics
            .bytes(u64::try_from(sent).unwrap_or(u64::MAX));
        self.statement.clear();
        Ok(())
    }

    /// Adds a row to the statement, which is sent first where the two don't fit together.
    async fn add(
        &mut self,
        rows: &Rows<'_>,
        row: usize,
        refused: &mut Vec<(usize, String)>,
    ) -> Result<()> {
        let statement = &mut self.statement;
        if !statement.rows.is_empty() {
            statement.sql.push(b',');
        }
        let start = statement.sql.len();
        if let Err(why) = rows.write(row, &mut statement.sql) {
            statement
                .sql
                .truncate(start - usize::from(!statement.rows.is_empty()));
            refused.push((row, why));
            return Ok(());
        }
        let most = self.shared.packet;
        let length = statement.sql.len() - start;
        if statement.head + length > most {
            statement
                .sql
                .truncate(start - usize::from(!statement.rows.is_empty()));
            refused.push((
                row,
                format!(
                    "the row takes {length} bytes in a statement, and the server's \
                     max_allowed_packet is {most}"
                ),
            ));
            return Ok(());
        }
        if statement.sql.len() > most {
            let own = statement.sql.split_off(start);
            statement.sql.pop();
            self.send(refused).await?;
            self.statement.sql.extend_from_slice(&own);
        }
        let statement = &mut self.statement;
        let end = statement.sql.len();
        statement.rows.push((row, end - length..end));
        if end >= self.shared.statement {
            self.send(refused).await?;
        }
        Ok(())
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
}

impl Open {
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
impl SinkWriter for MySqlWriter {
    async fn write(&mut self, _input: usize, batch: RecordBatch) -> Result<Rejected> {
        let mut rejected = Rejected::default();
        if batch.num_rows() == 0 {
            return Ok(rejected);
        }
        self.open().await?;
        let plan = Arc::clone(&self.plan);
        let rows = Rows::new(&batch, &plan.slots)?;
        let mut refused = Vec::new();
        for row in 0..batch.num_rows() {
            self.add(&rows, row, &mut refused).await?;
        }
        self.send(&mut refused).await?;
        refused.sort_by_key(|(row, _)| *row);
        for (row, why) in refused {
            rejected.push(row_to_json(&batch, row)?, why, Origin::default());
        }
        Ok(rejected)
    }

    async fn prepare(mut self: Box<Self>) -> Result<Sealed> {
        let way = self.way();
        let Some(Open {
            mut connection,
            staging,
        }) = self.open.take()
        else {
            return Ok(Sealed::default());
        };
        let rejected = staging::sift(&mut connection, &self.plan, &staging).await?;
        self.shared.pool.give(connection);
        let part = CommitPart {
            target: self.plan.target.clone(),
            columns: self.plan.columns(),
            way,
            staging: Some(staging),
            create: None,
        };
        Ok(Sealed {
            prepared: Some(Prepared::encode(&part)?),
            rejected,
        })
    }

    async fn abandon(mut self: Box<Self>) {
        // The old connection may be in the middle of anything.
        let Some(Open { staging, .. }) = self.open.take() else {
            return;
        };
        let dropped = async {
            let mut connection = self.shared.pool.take().await?;
            staging::drop(&mut connection, std::slice::from_ref(&staging)).await?;
            self.shared.pool.give(connection);
            Ok::<_, Error>(())
        };
        if let Err(error) = dropped.await {
            tracing::debug!(%error, "a staging table stays until the next run");
        }
    }
}
