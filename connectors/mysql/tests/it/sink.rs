//! The sink, against a real server.

pub(crate) mod back;
mod cut;
mod failing;
mod opening;
mod rows;
mod types;

use std::sync::{Arc, Mutex, PoisonError, Weak};

use arrow_array::{ArrayRef, Float64Array, Int64Array, RecordBatch, StringArray};
use arrow_schema::Schema;
use serde_json::{Value, json};
use tidegate_core::{Commit, Context, Epoch, Input, Prepared, Rejected, Result, Sink, SinkConfig};
use tidegate_mysql::MySqlSinkConfig;
use tidegate_testkit::servers::{MariaDb, mariadb};
use tidegate_testkit::suites::{TestContext, context, sealed, sink_suite};

/// A database of its own on a server.
struct Site {
    server: Arc<MariaDb>,
    database: String,
    cx: TestContext,
}

/// A server for tests that need none of their own.
fn server() -> Arc<MariaDb> {
    static SHARED: Mutex<Weak<MariaDb>> = Mutex::new(Weak::new());
    let mut shared = SHARED.lock().unwrap_or_else(PoisonError::into_inner);
    if let Some(server) = shared.upgrade() {
        return server;
    }
    let server = Arc::new(mariadb());
    *shared = Arc::downgrade(&server);
    server
}

impl Site {
    /// With a server of its own, and the database `shop`.
    fn new() -> Self {
        Self::with(&[])
    }

    fn with(options: &[&str]) -> Self {
        let server = MariaDb::with(options);
        server.sql("CREATE DATABASE shop");
        Self {
            server: Arc::new(server),
            database: "shop".to_owned(),
            cx: context(),
        }
    }

    /// On a server that others use too.
    fn on(server: Arc<MariaDb>) -> Self {
        let cx = context();
        let database = database(&cx.common());
        server.sql(&format!("CREATE DATABASE `{database}`"));
        Self {
            server,
            database,
            cx,
        }
    }

    fn restart(&mut self) {
        Arc::get_mut(&mut self.server).unwrap().restart();
    }

    fn sql(&self, statements: &str) -> String {
        let database = &self.database;
        self.server.sql(&format!("USE `{database}`; {statements}"))
    }

    fn config(&self, more: Value) -> MySqlSinkConfig {
        config(&self.server.url(&self.database), more)
    }

    fn input(&self, schema: &Schema) -> Input {
        Input {
            name: "rows".into(),
            schema: Arc::new(schema.clone()),
        }
    }

    async fn open(&self, more: Value, schema: &Schema) -> Result<Arc<dyn Sink>> {
        let input = self.input(schema);
        self.config(more).open(&self.cx.sink(vec![input])).await
    }

    fn commit<'a>(&'a self, cx: &'a Context, epoch: u64, prepared: &'a [Prepared]) -> Commit<'a> {
        Commit {
            pipeline: &cx.pipeline,
            lineage: cx.lineage,
            run: cx.run,
            epoch: Epoch(epoch),
            last: false,
            prepared,
        }
    }

    /// Writes batches with one writer, and seals their epoch.
    async fn prepare(
        &self,
        sink: &dyn Sink,
        epoch: u64,
        batches: &[RecordBatch],
    ) -> (Vec<Prepared>, Rejected) {
        let sealed = sealed(sink, epoch, vec![batches.to_vec()]).await.unwrap();
        (sealed.prepared, sealed.rejected)
    }

    /// An epoch from its first row to its commit; gives what was rejected.
    async fn write(&self, sink: &dyn Sink, epoch: u64, batches: &[RecordBatch]) -> Rejected {
        let (prepared, rejected) = self.prepare(sink, epoch, batches).await;
        let cx = self.cx.common();
        sink.commit(&self.commit(&cx, epoch, &prepared))
            .await
            .unwrap();
        rejected
    }

    /// Staging tables that are there.
    fn staging(&self) -> String {
        self.sql("SHOW TABLES LIKE '\\_tg\\_%'")
    }
}

fn config(url: &str, more: Value) -> MySqlSinkConfig {
    let mut all = json!({ "url": url, "table": "t" });
    let more = more.as_object().unwrap().clone();
    all.as_object_mut().unwrap().extend(more);
    serde_json::from_value(all).unwrap()
}

fn batch(columns: &[(&str, ArrayRef)]) -> RecordBatch {
    let columns = columns
        .iter()
        .map(|(name, array)| (*name, array.clone(), true));
    RecordBatch::try_from_iter_with_nullable(columns).unwrap()
}

fn ints(values: impl IntoIterator<Item = i64>) -> ArrayRef {
    Arc::new(Int64Array::from_iter_values(values))
}

fn texts<'a>(values: impl IntoIterator<Item = Option<&'a str>>) -> ArrayRef {
    Arc::new(values.into_iter().collect::<StringArray>())
}

/// Rows `id`, `name`.
fn named(rows: &[(i64, &str)]) -> RecordBatch {
    batch(&[
        ("id", ints(rows.iter().map(|row| row.0))),
        ("name", texts(rows.iter().map(|row| Some(row.1)))),
    ])
}

fn reasons(rejected: &Rejected) -> Vec<&str> {
    rejected
        .rows
        .iter()
        .map(|row| row.reason.as_str())
        .collect()
}

/// Each check of the suite has a database of its own, named as its pipeline.
fn database(cx: &Context) -> String {
    cx.pipeline.replace('-', "_")
}

fn suite(server: &Arc<MariaDb>, more: &Value) -> tidegate_testkit::suites::SinkSuite {
    let (url, more) = (server.url(""), more.clone());
    let (making, reading, listing) = (server.clone(), server.clone(), server.clone());
    sink_suite(
        move |cx| {
            let name = database(&cx.common);
            making.sql(&format!("CREATE DATABASE IF NOT EXISTS `{name}`"));
            let config = config(&format!("{url}{name}"), more.clone());
            async move { config.open(&cx).await }
        },
        move |cx| {
            let name = database(&cx);
            let there = reading.sql(&format!("SHOW TABLES FROM `{name}` LIKE 't'"));
            let rows = match there.is_empty() {
                true => String::new(),
                false => reading.sql(&format!("SELECT id, name, amount FROM `{name}`.t")),
            };
            async move { Ok(vec![read(&rows)]) }
        },
    )
    .objects(move |cx| {
        // Before anything was opened there is no such database.
        let tables = listing.try_sql(&format!("SHOW TABLES FROM `{}`", database(&cx)));
        let tables = tables.unwrap_or_default();
        async move { Ok(tables.lines().map(str::to_owned).collect()) }
    })
}

/// The suite's rows as the server prints them.
fn read(rows: &str) -> RecordBatch {
    let rows: Vec<Vec<&str>> = rows.lines().map(|row| row.split('\t').collect()).collect();
    let some = |text: &str| (text != "NULL").then(|| text.to_owned());
    let ids = rows.iter().map(|row| row[0].parse::<i64>().unwrap());
    let names = rows.iter().map(|row| some(row[1]));
    let amounts = rows.iter().map(|row| row[2].parse::<f64>().unwrap());
    batch(&[
        ("id", ints(ids)),
        ("name", Arc::new(names.collect::<StringArray>())),
        ("amount", Arc::new(Float64Array::from_iter_values(amounts))),
    ])
}

#[tokio::test(flavor = "multi_thread")]
async fn it_keeps_the_contract_in_every_mode() {
    let server = Arc::new(mariadb());
    for more in [
        json!({ "create": true }),
        json!({ "create": true, "key": ["id"] }),
        json!({ "create": true, "mode": "upsert", "key": ["id"] }),
        json!({ "create": true, "mode": "replace" }),
        json!({ "create": true, "mode": "replace", "key": ["id"] }),
    ] {
        suite(&server, &more).check().await;
    }
}
