//! `snapshot = "consistent"`: everything as of one moment.

use std::collections::BTreeMap;
use std::sync::atomic::{AtomicBool, Ordering};

use arrow_array::Int64Array;
use futures::{StreamExt, TryStreamExt};
use serde_json::json;
use tidegate_core::{ErrorKind, Replay, Result, Scan, Source, SourceConfig, Split};
use tidegate_mysql::MySqlConfig;
use tidegate_testkit::servers::{MariaDb, mariadb};
use tidegate_testkit::suites::{context, source_suite};

use crate::support::{config, open, plan, read, scans};

/// Two tables, large enough to be cut into ranges, and one without a key. After every commit, all
/// values together sum up to nothing, and as many rows were added to each.
const SHOP: &str = "
CREATE DATABASE shop; USE shop;
CREATE TABLE a (id INT PRIMARY KEY, v BIGINT NOT NULL);
CREATE TABLE b (id INT PRIMARY KEY, v BIGINT NOT NULL);
CREATE TABLE heap (id INT, v BIGINT NOT NULL, INDEX (id));
INSERT INTO a SELECT seq, 10 FROM seq_1_to_120000;
INSERT INTO b SELECT seq, -20 FROM seq_1_to_120000;
INSERT INTO heap SELECT seq, 20 FROM seq_1_to_60000;
ANALYZE TABLE a, b, heap;
CREATE USER locker, reader;
GRANT SELECT, LOCK TABLES ON shop.* TO locker;
GRANT SELECT ON shop.* TO reader;
";

/// Moves values between all tables, from one end of each to the other, and adds and deletes rows.
fn transactions(turn: u64) -> String {
    let mut sql = "USE shop;".to_owned();
    for turn in turn..turn + 50 {
        let (low, high, new) = (1 + turn % 100, 120_000 - turn % 100, 200_000 + turn);
        sql += &format!(
            "BEGIN; UPDATE a SET v = v - 3 WHERE id = {low}; UPDATE b SET v = v + 2 WHERE id = {high};
             UPDATE heap SET v = v + 1 WHERE id = {low}; COMMIT;
             BEGIN; UPDATE a SET v = v + 5 WHERE id = {high}; UPDATE a SET v = v - 5 WHERE id = {low}; COMMIT;
             BEGIN; INSERT INTO a VALUES ({new}, 1); INSERT INTO b VALUES ({new}, -3);
             INSERT INTO heap VALUES ({new}, 2); COMMIT;
             BEGIN; DELETE FROM heap WHERE id = {new} - 5; DELETE FROM a WHERE id = {new} - 5;
             DELETE FROM b WHERE id = {new} - 5; COMMIT;"
        );
    }
    sql
}

/// The writer works until this is dropped, also by a test that fails.
struct Writer<'a>(&'a AtomicBool);

impl Drop for Writer<'_> {
    fn drop(&mut self) {
        self.0.store(true, Ordering::Relaxed);
    }
}

/// Does something while a writer is at work.
fn meanwhile(server: &MariaDb, work: impl Future<Output = ()>) {
    let stop = AtomicBool::new(false);
    std::thread::scope(|threads| {
        let writer = Writer(&stop);
        threads.spawn(|| {
            let mut turn = 0;
            while !stop.load(Ordering::Relaxed) {
                server.sql(&transactions(turn));
                turn += 50;
            }
        });
        tokio::task::block_in_place(|| tokio::runtime::Handle::current().block_on(work));
        drop(writer);
    });
}

fn consistent(server: &MariaDb, user: &str) -> MySqlConfig {
    let keys = json!({
        "snapshot": "consistent",
        "url": format!("mysql://{user}@127.0.0.1:{}/shop", server.port()),
        "connections": 3,
        "batch_size": "64 KiB",
        "tables": ["a", "b", "heap"],
        "queries": { "whole": "SELECT CAST(SUM(v) AS SIGNED) AS v FROM (SELECT v FROM a UNION ALL SELECT v FROM b UNION ALL SELECT v FROM heap) AS every" },
    });
    config(server, "shop", &keys)
}

/// The rows of each stream and the sum of their values, its splits read at once.
async fn sums(
    source: &dyn Source,
    splits: &[Split],
    scans: &[Scan],
) -> Result<BTreeMap<String, (usize, i64)>> {
    let reading = splits.iter().map(|split| read(source, split, scans, None));
    let reading: Vec<_> = reading.collect();
    let seen: Vec<_> = futures::stream::iter(reading)
        .buffer_unordered(8)
        .try_collect()
        .await?;
    let mut sums = BTreeMap::<String, (usize, i64)>::new();
    for seen in seen.into_iter().flatten() {
        let (rows, sum) = sums.entry(seen.stream).or_default();
        for batch in seen.batches {
            let values = batch.column_by_name("v").unwrap();
            let values = values.as_any().downcast_ref::<Int64Array>().unwrap();
            *rows += values.len();
            *sum += values.iter().flatten().sum::<i64>();
        }
    }
    Ok(sums)
}

fn is_session(source: &dyn Source) -> bool {
    let streams = source.streams();
    streams
        .iter()
        .all(|stream| stream.replay == Replay::Session)
}

/// Reads everything as of one moment, and sees that it is one.
async fn look(config: &MySqlConfig) -> i64 {
    let (source, _cx) = open(config).await;
    let scans = scans(source.as_ref());
    let plan = plan(source.as_ref(), &scans, None).await.unwrap();
    assert!(is_session(source.as_ref()));
    assert!(plan.new.len() > scans.len(), "the tables were not cut");
    let sums = sums(source.as_ref(), &plan.new, &scans).await.unwrap();
    source.close().await.unwrap();
    let (a, b, heap) = (sums["a"], sums["b"], sums["heap"]);
    assert_eq!(a.1 + b.1 + heap.1, 0, "torn: {sums:?}");
    assert_eq!((a.0, a.0), (b.0, heap.0 + 60_000), "torn: {sums:?}");
    assert_eq!(sums["whole"], (1, 0));
    a.1
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_sum_is_right_while_amounts_move() {
    let server = mariadb();
    server.sql(SHOP);
    meanwhile(&server, async {
        for user in ["root", "locker", "reader"] {
            let config = consistent(&server, user);
            let mut seen = Vec::new();
            for _ in 0..3 {
                seen.push(look(&config).await);
            }
            assert!(seen[0] != seen[2], "nothing moved meanwhile");
        }
    });
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_sum_is_right_over_one_connection() {
    // Without a binlog nothing tells the reader that two connections see the same.
    let server = MariaDb::with(&["--skip-log-bin"]);
    server.sql(SHOP);
    meanwhile(&server, async {
        let config = consistent(&server, "reader");
        look(&config).await;
        look(&config).await;
    });
}

#[tokio::test]
async fn it_says_what_it_will_do() {
    let server = mariadb();
    server.sql(SHOP);
    let note = async |user| {
        let (source, _cx) = open(&consistent(&server, user)).await;
        assert!(is_session(source.as_ref()));
        source.notes().concat()
    };
    let root = note("root").await;
    assert!(root.contains("over 3 connections"), "{root}");
    assert!(root.contains("FLUSH TABLES WITH READ LOCK"), "{root}");
    // What a query reads isn't known, so it can't be locked.
    let locker = note("locker").await;
    assert!(locker.contains("one connection"), "{locker}");
    assert!(note("reader").await.contains("one connection"));
    let relaxed = config(&server, "shop", &json!({}));
    let (source, _cx) = open(&relaxed).await;
    assert!(!is_session(source.as_ref()));
    assert!(source.notes().is_empty());
}

#[tokio::test]
async fn a_lost_connection_is_the_end_of_the_snapshot() {
    let server = mariadb();
    server.sql(SHOP);
    // Much more than lies in the buffers of a socket.
    let long = "SELECT seq, REPEAT('x', 1000) AS text FROM seq_1_to_100000";
    let mut config = consistent(&server, "reader");
    config.queries.insert("whole".to_owned(), long.to_owned());
    let (source, _cx) = open(&config).await;
    let scans = scans(source.as_ref());
    let plan = plan(source.as_ref(), &scans, None).await.unwrap();
    let mut splits = plan.new.iter();
    let split = splits.find(|split| split.id.as_str() == "whole");
    let split = split.unwrap();
    let mut events = source.read(split, &scans, None).await.unwrap();
    events.next().await.unwrap().unwrap();
    server.sql("KILL USER reader");
    let error = loop {
        match events.next().await.unwrap() {
            Ok(_) => {}
            Err(error) => break error,
        }
    };
    // Transient: the run starts over. It must not be read on over another connection, which would
    // see something else.
    assert_eq!(error.kind(), ErrorKind::Transient, "{error}");
    drop(events);
    let error = read(source.as_ref(), split, &scans, None)
        .await
        .unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Transient, "{error}");
    source.close().await.unwrap();
    // And it can be: another attempt opens the source anew.
    look(&consistent(&server, "reader")).await;
}

#[tokio::test]
async fn whoever_needs_few_rows_gives_the_connection_back() {
    let server = mariadb();
    server.sql(SHOP);
    let mut config = consistent(&server, "reader");
    config.connections = Some(1);
    let long = "SELECT v FROM a".to_owned();
    config.queries.insert("whole".to_owned(), long);
    let (source, _cx) = open(&config).await;
    let mut scans = scans(source.as_ref());
    for scan in &mut scans {
        scan.limit = Some(10);
    }
    let plan = plan(source.as_ref(), &scans, None).await.unwrap();
    let sums = sums(source.as_ref(), &plan.new, &scans).await.unwrap();
    assert!(sums.values().all(|(rows, _)| *rows >= 10), "{sums:?}");
    assert_eq!(sums["heap"].0, 10);
}

#[tokio::test]
async fn an_engine_without_transactions_is_refused() {
    let server = mariadb();
    server.sql("CREATE DATABASE shop; CREATE TABLE shop.log (id INT PRIMARY KEY) ENGINE = Aria");
    let config = config(&server, "shop", &json!({ "snapshot": "consistent" }));
    let error = config.open(&context().source()).await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Unsupported);
    assert!(error.to_string().contains("`log`"), "{error}");
    assert!(error.hint_text().unwrap().contains("ENGINE = InnoDB"));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn it_conforms() {
    let server = mariadb();
    server.sql(
        "CREATE DATABASE shop; USE shop;
         CREATE TABLE a (id INT PRIMARY KEY, v BIGINT NOT NULL);
         CREATE TABLE heap (id INT, v BIGINT NOT NULL);
         CREATE TABLE empty (id INT PRIMARY KEY);
         INSERT INTO a SELECT seq, 10 FROM seq_1_to_5000;
         INSERT INTO heap SELECT seq, 20 FROM seq_1_to_3000;",
    );
    let keys = json!({ "snapshot": "consistent", "batch_size": "16 KiB" });
    let config = config(&server, "shop", &keys);
    let open = move || {
        let config = config.clone();
        async move { config.open(&context().source()).await }
    };
    source_suite(open)
        .rows("a", 5_000)
        .rows("heap", 3_000)
        .rows("empty", 0)
        .check()
        .await;
}
