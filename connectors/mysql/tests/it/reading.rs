//! Tables and queries are read whole, in any process, whatever happens in between.

use std::collections::BTreeSet;
use std::fmt::Write as _;
use std::time::{Duration, Instant};

use futures::StreamExt;
use serde_json::json;
use tidegate_core::{ErrorKind, Replay, Scan, SourceConfig};
use tidegate_testkit::servers::{MariaDb, mariadb};
use tidegate_testkit::suites::{context, source_suite};

use crate::support::{Seen, config, ids, open, plan, read, read_all, scans};

/// Tables with every kind of key: their columns, and the values of row `seq`.
const TABLES: &[(&str, &str, &str)] = &[
    (
        "backwards",
        "a INT, b INT, PRIMARY KEY (a DESC, b DESC)",
        "seq MOD 10, seq",
    ),
    ("bits", "id BIT(40) PRIMARY KEY", "seq * 99991"),
    (
        "bytes",
        "id VARBINARY(30) PRIMARY KEY",
        "CONCAT(UNHEX('00ff275c'), CHAR(seq MOD 256), seq)",
    ),
    (
        "days",
        "id DATE, n SMALLINT, PRIMARY KEY (id, n)",
        "'2020-01-01' + INTERVAL seq DIV 9 DAY, seq MOD 9",
    ),
    (
        "decimals",
        "id DECIMAL(30, 4) PRIMARY KEY",
        "(seq - 100) * 1234567.8901",
    ),
    (
        "exact",
        "id VARCHAR(40) COLLATE utf8mb4_bin PRIMARY KEY",
        "CONCAT(ELT(1 + seq MOD 3, 'a', 'A', 'a '), seq)",
    ),
    (
        "fixed",
        "id BINARY(6) PRIMARY KEY",
        "CONCAT(seq, UNHEX('00'))",
    ),
    (
        "folded",
        "id VARCHAR(40) PRIMARY KEY",
        "CONCAT(ELT(1 + seq MOD 5, 'ä', 'B', 'c_', 'é''', '\\\\'), seq, IF(seq MOD 2, ' ', ''))",
    ),
    (
        "kinds",
        "id SMALLINT, kind ENUM('z', 'a', 'm'), PRIMARY KEY (id, kind)",
        "seq DIV 3, 1 + seq MOD 3",
    ),
    (
        "large",
        "id BIGINT UNSIGNED PRIMARY KEY",
        "18446744073709551615 - seq",
    ),
    (
        "latin",
        "id VARCHAR(40) CHARACTER SET latin1 PRIMARY KEY",
        "CONCAT('é', seq, 'Ü')",
    ),
    (
        "moments",
        "id DATETIME(6) PRIMARY KEY",
        "'1999-12-31 23:59:59' + INTERVAL seq * seq MICROSECOND",
    ),
    ("negative", "id INT PRIMARY KEY", "(seq - 300) * 7"),
    (
        "parted",
        "id INT PRIMARY KEY) PARTITION BY RANGE (id) \
         (PARTITION a VALUES LESS THAN (300), PARTITION b VALUES LESS THAN MAXVALUE",
        "seq",
    ),
    (
        "stamps",
        "id TIMESTAMP(3) PRIMARY KEY",
        "'2020-03-29 00:00:00' + INTERVAL seq SECOND",
    ),
    (
        "times",
        "id TIME(1) PRIMARY KEY",
        "SEC_TO_TIME((seq - 300) * 1000.5)",
    ),
    (
        "unique_only",
        "a INT NOT NULL, b TEXT, UNIQUE (a)",
        "seq * 3, REPEAT('x', seq MOD 50)",
    ),
    (
        "uuids",
        "id UUID PRIMARY KEY",
        "REGEXP_REPLACE(MD5(seq), '^(.{8})(.{4}).(.{3}).(.{3})(.{12})$', '\\\\1-\\\\2-4\\\\3-8\\\\4-\\\\5')",
    ),
];
const ROWS: u64 = 900;

fn filled() -> MariaDb {
    let server = mariadb();
    let mut text = "CREATE DATABASE shop CHARACTER SET utf8mb4; USE shop;\n".to_owned();
    for (name, columns, values) in TABLES {
        let _ = writeln!(
            text,
            "CREATE TABLE {name} ({columns}); INSERT INTO {name} SELECT {values} FROM \
             (SELECT CAST(seq AS SIGNED) AS seq FROM seq_1_to_{ROWS}) AS s;"
        );
    }
    server.sql(&text);
    server
}

/// How often the server has sorted so far.
fn sorts(server: &MariaDb) -> String {
    server.sql("SHOW GLOBAL STATUS WHERE Variable_name IN ('Sort_scan', 'Sort_range')")
}

#[tokio::test]
async fn whatever_the_key_reading_goes_on_after_any_row_and_nothing_is_sorted() {
    let server = filled();
    let queries: serde_json::Map<_, _> = TABLES
        .iter()
        .map(|(name, ..)| {
            (
                format!("all_{name}"),
                format!("SELECT * FROM {name}").into(),
            )
        })
        .collect();
    let config = config(
        &server,
        "shop",
        &json!({ "tables": ["*"], "queries": queries, "batch_size": "16 KiB" }),
    );
    let (source, _cx) = open(&config).await;
    let scans = scans(source.as_ref());
    let plan = plan(source.as_ref(), &scans, None).await.unwrap();
    for (name, ..) in TABLES {
        let before = sorts(&server);
        let of = |stream: &str| {
            let mut splits = plan.new.iter();
            splits.find(|split| split.id.as_str() == stream).unwrap()
        };
        let table = of(name);
        let query = read(source.as_ref(), of(&format!("all_{name}")), &scans, None)
            .await
            .unwrap();
        let mut all: Vec<_> = query.iter().flat_map(Seen::rows).collect();
        all.sort_unstable();
        assert_eq!(all.len(), usize::try_from(ROWS).unwrap());

        let whole = read(source.as_ref(), table, &scans, None).await.unwrap();
        let rows: Vec<_> = whole.iter().flat_map(Seen::rows).collect();
        let mut sorted = rows.clone();
        sorted.sort_unstable();
        assert_eq!(sorted, all, "{name}");

        let mut given = 0;
        for seen in &whole {
            given += seen.rows().len();
            let rest = read(source.as_ref(), table, &scans, seen.resume.as_ref())
                .await
                .unwrap();
            let rest: Vec<_> = rest.iter().flat_map(Seen::rows).collect();
            assert_eq!(rest, rows[given..], "{name} after {given} rows");
        }
        // MariaDB doesn't walk a descending index backwards in two ranges at once.
        if *name != "backwards" {
            assert_eq!(sorts(&server), before, "{name}");
        }
    }
}

#[tokio::test]
async fn the_source_keeps_the_contract() {
    let server = mariadb();
    server.sql(
        "CREATE DATABASE shop; USE shop; \
         CREATE TABLE sales (id INT PRIMARY KEY, name VARCHAR(40), price DECIMAL(38, 2)); \
         INSERT INTO sales SELECT seq, REPEAT('x', seq MOD 40), seq / 7 FROM seq_1_to_3000; \
         CREATE TABLE notes (text VARCHAR(40)); \
         INSERT INTO notes SELECT CONCAT('note ', seq) FROM seq_1_to_500; \
         CREATE VIEW cheap AS SELECT id, price FROM sales WHERE id <= 100; \
         CREATE TABLE nothing (id INT PRIMARY KEY); \
         CREATE TABLE some (id INT PRIMARY KEY, region INT, secret INT); \
         INSERT INTO some SELECT seq, seq MOD 3, seq FROM seq_1_to_600",
    );
    let keys = json!({
        "tables": ["*"],
        "table": { "some": { "columns": ["region", "secret"], "where": "region > 0 -- not the sea" } },
        "queries": { "top": "SELECT name, COUNT(*) AS n FROM sales GROUP BY name ORDER BY name" },
        "batch_size": "16 KiB",
    });
    let good = config(&server, "shop", &keys);
    let mut suite = source_suite(move || {
        let config = good.clone();
        async move { config.open(&context().source()).await }
    })
    .same_positions();
    for (stream, rows) in [
        ("sales", 3_000),
        ("notes", 500),
        ("cheap", 100),
        ("nothing", 0),
        ("some", 400),
        ("top", 40),
    ] {
        suite = suite.rows(stream, rows);
    }
    for (what, kind, keys) in [
        (
            "a table that isn't there",
            ErrorKind::NotFound,
            json!({ "tables": ["sale"] }),
        ),
        (
            "a pattern that fits nothing",
            ErrorKind::NotFound,
            json!({ "tables": ["x*"] }),
        ),
        (
            "options of no table",
            ErrorKind::Config,
            json!({ "table": { "sale": { "where": "TRUE" } } }),
        ),
        (
            "a column that isn't there",
            ErrorKind::NotFound,
            json!({ "table": { "sales": { "columns": ["ID"] } } }),
        ),
        (
            "a condition that is none",
            ErrorKind::Config,
            json!({ "table": { "sales": { "where": "id >" } } }),
        ),
        (
            "a condition on no column",
            ErrorKind::Config,
            json!({ "table": { "sales": { "where": "nr > 1" } } }),
        ),
        (
            "a query that is none",
            ErrorKind::Config,
            json!({ "queries": { "q": "SELEC 1" } }),
        ),
        (
            "a query of a name",
            ErrorKind::Config,
            json!({ "tables": ["sales"], "queries": { "sales": "SELECT 1 AS a" } }),
        ),
        (
            "a cursor of texts",
            ErrorKind::Config,
            json!({ "table": { "sales": { "cursor": "name" } } }),
        ),
        (
            "a cursor of decimals",
            ErrorKind::Config,
            json!({ "table": { "sales": { "cursor": "price" } } }),
        ),
        (
            "a lag of the wrong kind",
            ErrorKind::Config,
            json!({ "table": { "sales": { "cursor": "id", "lag": "30s" } } }),
        ),
    ] {
        let bad = config(&server, "shop", &keys);
        suite = suite.refuses(what, kind, move || {
            let config = bad.clone();
            async move { config.open(&context().source()).await.map(drop) }
        });
    }
    suite.check().await;
}

/// A table that takes a while to be sent, and a source of it.
fn long_table(server: &MariaDb, key: &str) {
    server.sql(&format!(
        "CREATE DATABASE shop; USE shop; CREATE TABLE sales (id INT {key}, text VARCHAR(200)); \
         INSERT INTO sales SELECT seq, REPEAT('x', 200) FROM seq_1_to_300000; ANALYZE TABLE sales"
    ));
}

/// Ends every connection but the one that asks.
fn kill_all(server: &MariaDb) {
    let asked = "SELECT CONCAT('KILL ', id) FROM information_schema.processlist \
                 WHERE command IN ('Execute', 'Query') AND id <> CONNECTION_ID()";
    let kills = server.sql(asked);
    for kill in kills.lines() {
        // It may have ended by itself.
        let _ = server.try_sql(kill);
    }
}

#[tokio::test]
async fn reading_goes_on_after_a_lost_connection_and_a_restarted_server() {
    let mut server = mariadb();
    long_table(&server, "PRIMARY KEY");
    let config = config(
        &server,
        "shop",
        &json!({ "batch_size": "64 KiB", "connections": 2 }),
    );
    let (source, cx) = open(&config).await;
    let only = [Scan {
        columns: Some(vec!["id".to_owned(), "text".to_owned()]),
        ..Scan::all("sales")
    }];
    let plan = plan(source.as_ref(), &only, None).await.unwrap();
    assert!(plan.new.len() > 3, "{}", plan.new.len());
    let mut numbers = Vec::new();
    for (number, split) in plan.new.iter().enumerate() {
        let mut events = source.read(split, &only, None).await.unwrap();
        let mut seen = 0;
        while let Some(event) = events.next().await {
            let event = Seen::of(event.unwrap()).unwrap();
            numbers.extend(event.rows());
            seen += 1;
            match (number, seen) {
                // Until it was met while it was sending.
                (0, 3..) if cx.metrics.total_retries() == 0 => kill_all(&server),
                (1, 3) => server.restart(),
                _ => {}
            }
        }
    }
    assert!(cx.metrics.total_retries() >= 2, "nothing was lost");
    assert!(cx.metrics.total_bytes() > 300_000 * 200);
    assert_eq!(numbers.len(), 300_000);
    let different: BTreeSet<_> = numbers.into_iter().collect();
    assert_eq!(different.len(), 300_000);
}

#[tokio::test]
async fn what_has_no_order_is_not_read_on() {
    let server = mariadb();
    long_table(&server, "");
    let config = config(&server, "shop", &json!({ "batch_size": "64 KiB" }));
    let (source, _cx) = open(&config).await;
    let scans = scans(source.as_ref());
    let plan = plan(source.as_ref(), &scans, None).await.unwrap();
    assert_eq!(plan.new.len(), 1);
    assert_eq!(source.streams()[0].replay, Replay::Whole);
    let mut events = source.read(&plan.new[0], &scans, None).await.unwrap();
    let first = Seen::of(events.next().await.unwrap().unwrap()).unwrap();
    assert!(first.resume.is_none());
    kill_all(&server);
    let error = loop {
        match events.next().await {
            Some(Ok(_)) => {}
            Some(Err(error)) => break error,
            None => panic!("it ended as if nothing were missing"),
        }
    };
    assert_eq!(error.kind(), ErrorKind::Transient);
}

#[tokio::test]
async fn no_more_connections_are_open_than_asked_for() {
    let server = mariadb();
    let mut text = "CREATE DATABASE shop; USE shop;".to_owned();
    for table in 0..30 {
        let _ = write!(
            text,
            "CREATE TABLE t{table} (id INT PRIMARY KEY); \
             INSERT INTO t{table} SELECT seq FROM seq_1_to_100;"
        );
    }
    server.sql(&text);
    server.sql("FLUSH STATUS; SET GLOBAL max_connections = 10");
    let config = config(&server, "shop", &json!({ "connections": 3 }));
    let before = server.sql("SHOW GLOBAL STATUS LIKE 'Connections'");
    let (source, _cx) = open(&config).await;
    let scans = scans(source.as_ref());
    let plan = plan(source.as_ref(), &scans, None).await.unwrap();
    assert_eq!(plan.new.len(), 30);
    let rows = read_all(source.as_ref(), &plan.new, &scans).await.unwrap();
    assert!(rows.values().all(|rows| *rows == ids(1..=100)));
    let after = server.sql("SHOW GLOBAL STATUS LIKE 'Connections'");
    let count = |text: &str| {
        text.split_whitespace()
            .last()
            .unwrap()
            .parse::<u64>()
            .unwrap()
    };
    // One to see who is there, three to read with, and the ones that ask here.
    assert!(count(&after) - count(&before) <= 6, "{before} {after}");
    // What was closed is seen a little later.
    wait_for_connections(&server, 3);
    // Each connection holds the statement that it prepared last, and no more.
    let held = server.sql("SHOW GLOBAL STATUS LIKE 'Prepared_stmt_count'");
    assert!(count(&held) <= 3, "{held}");
    source.close().await.unwrap();
    wait_for_connections(&server, 0);
}

/// Waits until so many are open beside the one that asks.
fn wait_for_connections(server: &MariaDb, count: usize) {
    let asked = "SELECT COUNT(*) - 1 FROM information_schema.processlist WHERE user = 'root'";
    let deadline = Instant::now() + Duration::from_secs(20);
    while server.sql(asked).trim() != count.to_string() {
        assert!(Instant::now() < deadline, "there are others than {count}");
    }
}

#[tokio::test]
async fn a_thousand_tables_are_planned_with_few_questions() {
    let server = mariadb();
    let mut text = "CREATE DATABASE shop; USE shop;".to_owned();
    for table in 0..1_000 {
        let _ = write!(
            text,
            "CREATE TABLE t{table} (id INT PRIMARY KEY) ENGINE = Aria;"
        );
    }
    text.push_str("INSERT INTO t7 VALUES (1), (2);");
    server.sql(&text);
    let config = config(&server, "shop", &json!({}));
    let questions = || {
        let text = server.sql("SHOW GLOBAL STATUS LIKE 'Questions'");
        text.split_whitespace()
            .last()
            .unwrap()
            .parse::<u64>()
            .unwrap()
    };
    let before = questions();
    let (source, _cx) = open(&config).await;
    let scans = scans(source.as_ref());
    assert_eq!(scans.len(), 1_000);
    let plan = plan(source.as_ref(), &scans, None).await.unwrap();
    assert_eq!(plan.new.len(), 1_000);
    assert!(questions() - before < 60);
    let rows = read_all(source.as_ref(), &plan.new, &scans).await.unwrap();
    assert_eq!(
        rows.into_iter().collect::<Vec<_>>(),
        [("t7".to_owned(), ids([1, 2]))]
    );
}

/// Rows that are read in their order, once whole and once after each position.
async fn check_resumes(server: &MariaDb, keys: &serde_json::Value, rows: usize) {
    let config = config(server, "shop", keys);
    let (source, _cx) = open(&config).await;
    let scans = scans(source.as_ref());
    let plan = plan(source.as_ref(), &scans, None).await.unwrap();
    assert_eq!(plan.new.len(), 1);
    let whole = read(source.as_ref(), &plan.new[0], &scans, None)
        .await
        .unwrap();
    assert!(whole.len() > 2, "{keys}");
    let all: Vec<_> = whole.iter().flat_map(Seen::rows).collect();
    assert_eq!(all.len(), rows, "{keys}");
    let mut given = 0;
    for seen in &whole {
        given += seen.rows().len();
        let rest = read(source.as_ref(), &plan.new[0], &scans, seen.resume.as_ref()).await;
        let rest: Vec<_> = rest.unwrap().iter().flat_map(Seen::rows).collect();
        assert_eq!(rest, all[given..], "{keys} after {given} rows");
    }
}

#[tokio::test]
async fn keys_that_no_calendar_has_odd_names_and_other_engines_are_read_on() {
    let server = mariadb();
    server.sql(
        "CREATE DATABASE shop; USE shop; SET sql_mode = ''; \
         CREATE TABLE zeros (day DATE, n INT, text TEXT, PRIMARY KEY (day, n)); \
         INSERT INTO zeros SELECT ELT(1 + seq MOD 3, '0000-00-00', '2020-00-15', '2020-01-01'), \
             seq, REPEAT('x', 200) FROM seq_1_to_300; \
         CREATE TABLE `we``ird na.me'\"` (`a``b'` INT, `SELECT` INT, `ä ö` TEXT, \
             PRIMARY KEY (`SELECT`, `a``b'`)); \
         INSERT INTO `we``ird na.me'\"` SELECT seq, seq MOD 4, REPEAT('x', 200) \
             FROM seq_1_to_300; \
         CREATE TABLE isam (id INT PRIMARY KEY, text TEXT) ENGINE = MyISAM; \
         INSERT INTO isam SELECT 1000 - seq, REPEAT('x', 200) FROM seq_1_to_300; \
         CREATE TABLE aria (id INT PRIMARY KEY, text TEXT) ENGINE = Aria; \
         INSERT INTO aria SELECT 1000 - seq, REPEAT('x', 200) FROM seq_1_to_300",
    );
    for (table, zero_dates) in [
        ("zeros", "null"),
        ("zeros", "text"),
        ("we`ird na.me'\"", "error"),
        ("isam", "error"),
        ("aria", "error"),
    ] {
        let keys = json!({
            "tables": [table], "zero_dates": zero_dates, "batch_size": "16 KiB",
            "table": { table: { "where": "TRUE" } },
        });
        check_resumes(&server, &keys, 300).await;
    }
}

#[tokio::test]
async fn a_table_that_was_altered_is_not_read_as_if_it_were_the_same() {
    let server = mariadb();
    server.sql(
        "CREATE DATABASE shop; USE shop; \
         CREATE TABLE columns (id INT PRIMARY KEY, n INT); INSERT INTO columns VALUES (1, 1); \
         CREATE TABLE types (id INT PRIMARY KEY, n INT); INSERT INTO types VALUES (1, 1); \
         CREATE TABLE `keys` (id INT PRIMARY KEY); INSERT INTO `keys` VALUES (1); \
         CREATE TABLE gone (id INT PRIMARY KEY); INSERT INTO gone VALUES (1)",
    );
    let config = config(&server, "shop", &json!({}));
    let (source, _cx) = open(&config).await;
    let scans = scans(source.as_ref());
    let plan = plan(source.as_ref(), &scans, None).await.unwrap();
    server.sql(
        "USE shop; ALTER TABLE columns DROP COLUMN n; ALTER TABLE types MODIFY n TEXT; \
         ALTER TABLE `keys` DROP PRIMARY KEY; DROP TABLE gone",
    );
    for split in &plan.new {
        let error = read(source.as_ref(), split, &scans, None)
            .await
            .unwrap_err();
        let kind = match split.id.as_str() {
            "gone" => ErrorKind::NotFound,
            "types" => ErrorKind::Schema,
            _ => ErrorKind::Conflict,
        };
        assert_eq!(error.kind(), kind, "{error:?}");
    }
}
