//! The sink that is open: what it promises, its writers and its commits.

use std::collections::HashSet;
use std::sync::Arc;

use tidegate_core::{
    Commit, Delivery, Distribution, Epoch, Error, ErrorKind, InFlight, Prepared, Recovery, Result,
    Sink, SinkContext, SinkEpoch, Visibility, async_trait,
};
use tokio::sync::{Mutex, Semaphore};

use super::checks;
use super::commit::{self, CommitPart, Marker, Way};
use super::config::{Mode, MySqlSinkConfig};
use super::create::Draft;
use super::plan::{Plan, common_schema};
use super::staging::{self, Begun};
use super::target::{Named, Target};
use super::writer::{MySqlEpoch, Staging};
use crate::connect::{Connector, Pool};
use crate::wire::{Connection, ServerError};

/// In literals a backslash is a backslash, so that only quotes are escaped. A table that others
/// hold locked isn't waited for for a year.
const SET_UP: &str =
    "SET sql_mode = CONCAT(@@sql_mode, ',NO_BACKSLASH_ESCAPES'), lock_wait_timeout = 60";

/// The sink that is open.
#[derive(Debug)]
pub(super) struct MySqlSink {
    mode: Mode,
    shared: Arc<Shared>,
    /// `None` where there are no inputs: commits of an earlier process are replayed.
    plan: Option<Arc<Plan>>,
}

/// What the writers share.
#[derive(Debug)]
pub(super) struct Shared {
    pub(super) cx: SinkContext,
    pub(super) pool: Arc<Pool>,
    /// The most bytes that the server takes at once.
    pub(super) packet: usize,
    /// The length from which on a statement is sent.
    pub(super) statement: usize,
    /// Whether the tables that stay are there: the target's and the markers'.
    made: Mutex<bool>,
}

impl Shared {
    /// Makes the tables that stay, once, after something was journalled.
    pub(super) async fn make(&self, connection: &mut Connection, plan: &Plan) -> Result<()> {
        let mut made = self.made.lock().await;
        if *made {
            return Ok(());
        }
        if let Some(create) = &plan.create {
            connection.run("make the target table", create).await?;
        }
        let marker = Marker::new(&plan.target, &self.cx.common)?;
        marker.create(connection).await?;
        *made = true;
        Ok(())
    }
}

impl MySqlSink {
    pub(super) async fn open(config: &MySqlSinkConfig, cx: &SinkContext) -> Result<Self> {
        let connector = Connector::open(&config.connection(), &cx.common).await?;
        let database = connector.database().ok_or_else(|| {
            Error::config("no database is named").hint(
                "write it into `url`, as in \"mysql://user@host/database\", or set `database`",
            )
        })?;
        let target = Named {
            database: database.to_owned(),
            table: config.table.clone(),
        };
        let pool = Pool::new(connector, Semaphore::MAX_PERMITS, Some(SET_UP));
        let mut connection = pool.take().await?;
        let packet = packet(&mut connection).await?;
        let schema = common_schema(&cx.inputs)?;
        let plan = match &schema {
            None => None,
            Some(schema) => {
                let marker = Marker::new(&target, &cx.common)?;
                rights(&mut connection, &target, config.mode, cx).await?;
                marker.check(&mut connection, &cx.common).await?;
                let mut plan = planned(&mut connection, config, &target, schema).await?;
                plan.suit(connection.server());
                Some(Arc::new(plan))
            }
        };
        pool.give(connection);
        Ok(Self {
            mode: config.mode,
            plan,
            shared: Arc::new(Shared {
                cx: cx.clone(),
                pool,
                packet,
                statement: config.statement_bytes.as_usize().min(packet),
                made: Mutex::new(false),
            }),
        })
    }
}

async fn planned(
    connection: &mut Connection,
    config: &MySqlSinkConfig,
    named: &Named,
    schema: &arrow_schema::Schema,
) -> Result<Plan> {
    if let Some(target) = Target::read(connection, named).await? {
        if config.mode == Mode::Replace {
            checks::no_children(connection, named).await?;
        }
        let foreign = checks::foreign_keys(connection, named).await?;
        return Plan::new(config, named, schema, &target, &foreign);
    }
    if !config.create {
        return Err(Error::not_found("the target table isn't there")
            .with("table", named.sql())
            .with("key", "table")
            .hint("make it, or set `create = true`"));
    }
    let draft = Draft::new(schema, &config.key)?;
    rehearse(connection, &draft, named).await?;
    let plan = Plan::new(config, named, schema, &draft.target, &[])?;
    Ok(Plan {
        create: Some(draft.statement(named)),
        ..plan
    })
}

/// Makes the table for this session alone, to see whether the server takes it. Without the right
/// to, that shows when the first row comes.
async fn rehearse(connection: &mut Connection, draft: &Draft, named: &Named) -> Result<()> {
    let doing = "make the target table";
    match connection.run(doing, &draft.rehearsal(named)).await {
        Ok(()) => {
            let drop = format!("DROP TEMPORARY TABLE {}", named.sql());
            connection.run("end a rehearsal", &drop).await
        }
        Err(error) if error.kind() == ErrorKind::Auth => Ok(()),
        Err(error) if error.kind() == ErrorKind::Transient => Err(error),
        Err(error) => Err(
            Error::schema("the server can't make a table for the inputs' columns")
                .with("table", named.sql())
                .hint("make the table yourself, or CAST the column that it names in a `sql` transform")
                .because(error),
        ),
    }
}

/// The most bytes that a statement may have: two of a packet are the command's and the end's.
async fn packet(connection: &mut Connection) -> Result<usize> {
    let asked = "SELECT @@max_allowed_packet";
    let bytes = connection
        .value("ask for max_allowed_packet", asked)
        .await?;
    let bytes = bytes.and_then(|bytes| bytes.parse::<usize>().ok());
    Ok(bytes.unwrap_or(1 << 20).saturating_sub(2))
}

/// Sees whether the user may do what writing takes, by statements that change nothing: about a
/// table that isn't there, and a server looks at rights before it looks for tables.
async fn rights(
    connection: &mut Connection,
    target: &Named,
    mode: Mode,
    cx: &SinkContext,
) -> Result<()> {
    let probe = target.beside(&format!("_tg_probe_{}", cx.common.lineage.short()));
    let probe = probe.sql();
    let mut tries = vec![
        ("DROP", format!("DROP TABLE IF EXISTS {probe}")),
        // No table has a column twice.
        ("CREATE", format!("CREATE TABLE {probe} (a INT, a INT)")),
        ("ALTER", format!("ALTER TABLE {probe} DROP COLUMN a")),
        ("INSERT", format!("INSERT INTO {probe} VALUES (1)")),
        ("SELECT", format!("SELECT * FROM {probe}")),
        ("UPDATE", format!("UPDATE {probe} SET a = 1")),
        ("DELETE", format!("DELETE FROM {probe}")),
    ];
    if mode == Mode::Replace {
        let none = format!("DELETE FROM {} WHERE FALSE", target.sql());
        tries.push(("DELETE", none));
    }
    for (right, statement) in tries {
        let tried = connection
            .query("see what the user may do", &statement)
            .await;
        let Err(error) = tried else { continue };
        match (error.kind(), ServerError::of(&error)) {
            (ErrorKind::Auth, _) => {
                return Err(Error::auth(format!("the user lacks the right {right}"))
                    .with("database", &target.database)
                    .hint(format!(
                        "GRANT SELECT, INSERT, UPDATE, DELETE, CREATE, ALTER, DROP ON `{}`.* TO the user: \
                         rows are staged in tables beside the target",
                        target.database
                    ))
                    .because(error));
            }
            (ErrorKind::Transient, _) | (_, None) => return Err(error),
            // There is no such table, or it has a column twice: so we may.
            (_, Some(_)) => {}
        }
    }
    Ok(())
}

#[async_trait]
impl Sink for MySqlSink {
    fn delivery(&self) -> Delivery {
        Delivery::TwoPhase
    }

    fn replaces_by_key(&self) -> bool {
        self.mode == Mode::Upsert
    }

    fn visibility(&self) -> Visibility {
        match self.mode {
            Mode::Insert | Mode::Upsert => Visibility::Epoch,
            Mode::Replace => Visibility::Run,
        }
    }

    fn distribution(&self, _input: usize) -> Distribution {
        let plan = self.plan.as_ref();
        plan.map(|plan| plan.distribution.clone())
            .unwrap_or_default()
    }

    /// A writer is a connection, and what it writes takes the server longer than us.
    fn writer_bytes(&self) -> u64 {
        4 << 20
    }

    /// A row is a small part of a statement, so batches stay whole.
    fn in_flight(&self) -> InFlight {
        InFlight {
            writers: self.shared.cx.common.parallelism.max(1),
            rows: 64 << 10,
            ..InFlight::default()
        }
    }

    async fn epoch(&self, id: Epoch) -> Result<Arc<dyn SinkEpoch>> {
        let plan = self.plan.as_ref().ok_or_else(|| {
            Error::internal("a sink that was opened to replay commits was asked for an epoch")
        })?;
        Ok(Arc::new(Staging(MySqlEpoch::new(&self.shared, plan, id))))
    }

    async fn conclude(&self, prepared: &[Prepared]) -> Result<Option<Prepared>> {
        let plan = self.plan.as_ref().ok_or_else(|| {
            Error::internal("a sink that was opened to replay commits was asked to conclude")
        })?;
        let parts = CommitPart::decode(prepared)?;
        let staging: Vec<_> = parts
            .iter()
            .filter_map(|one| one.staging.as_ref())
            .collect();
        if staging.len() > 1 {
            let mut connection = self.shared.pool.take().await?;
            for key in &plan.unique {
                commit::no_twins(&mut connection, key, &staging).await?;
            }
            self.shared.pool.give(connection);
        }
        let end = CommitPart {
            target: plan.target.clone(),
            columns: plan.columns(),
            way: Way::Replace,
            staging: None,
            create: plan.create.clone(),
        };
        Prepared::encode(&end).map(Some)
    }

    async fn commit(&self, commit: &Commit<'_>) -> Result<()> {
        let parts = CommitPart::decode(commit.prepared)?;
        // The last epoch of a run without rows.
        let Some(first) = parts.first() else {
            return Ok(());
        };
        let marker = Marker::new(&first.target, &self.shared.cx.common)?;
        let mut connection = self.shared.pool.take().await?;
        // After an error the connection is dropped, and the transaction with it.
        commit::commit(&mut connection, &marker, commit, &parts).await?;
        self.shared.pool.give(connection);
        Ok(())
    }

    async fn recover(&self, recovery: &Recovery<'_>) -> Result<()> {
        let kept = CommitPart::decode(recovery.keep)?;
        let kept: HashSet<_> = kept
            .into_iter()
            .filter_map(|one| one.staging)
            .map(|staging| staging.sql())
            .collect();
        let mut lost = Vec::new();
        for token in recovery.begun {
            let Begun { staging } = token.decode()?;
            if !kept.contains(&staging.sql()) {
                lost.push(staging);
            }
        }
        if lost.is_empty() {
            return Ok(());
        }
        let mut connection = self.shared.pool.take().await?;
        staging::drop(&mut connection, &lost).await?;
        self.shared.pool.give(connection);
        Ok(())
    }

    async fn close(&self) -> Result<()> {
        self.shared.pool.close();
        Ok(())
    }
}
