//! What can't be followed is refused.

use serde_json::{Value, json};
use tidegate_core::{ErrorKind, SourceConfig};
use tidegate_testkit::servers::{MariaDb, mariadb};
use tidegate_testkit::suites::context;

use super::log::{DEADLINE, planned};
use crate::support::config;

#[tokio::test(flavor = "multi_thread")]
async fn what_cant_be_told_as_rows_ends_the_run() {
    let server = mariadb();
    server.sql(
        "CREATE DATABASE shop; USE shop; CREATE TABLE items (id INT PRIMARY KEY, v INT DEFAULT 1); \
         CREATE TABLE spare (id INT PRIMARY KEY)",
    );
    for (statements, message) in [
        ("TRUNCATE items", "TRUNCATE"),
        (
            "RENAME TABLE items TO old; RENAME TABLE old TO items",
            "RENAME",
        ),
        (
            "SET binlog_format = STATEMENT; INSERT INTO items (id) VALUES (8)",
            "statements",
        ),
        (
            "XA START 'x'; INSERT INTO items (id) VALUES (10); XA END 'x'; XA PREPARE 'x'; XA COMMIT 'x'",
            "XA",
        ),
        (
            "SET binlog_row_image = MINIMAL; UPDATE items SET id = 11 WHERE id = 9",
            "lacks columns",
        ),
        ("DROP TABLE items", "DROP TABLE"),
    ] {
        let planned = planned(&server, &json!({ "tables": ["items"] })).await;
        let mut log = planned.log(None).await;
        // A REPLACE of the same row would leave no trace.
        server.sql("DELETE FROM shop.items; INSERT INTO shop.items (id) VALUES (1), (9)");
        log.at_least(2).await;
        server.sql(&format!("USE shop; {statements}"));
        let error = log.error().await;
        assert_eq!(error.kind(), ErrorKind::Unsupported, "{error:?}");
        assert!(error.to_string().contains(message), "{error:?}");
        assert!(error.hint_text().is_some(), "{error:?}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_log_that_is_gone_is_told() {
    let server = mariadb();
    server.sql(
        "CREATE DATABASE shop; USE shop; CREATE TABLE items (id INT PRIMARY KEY); \
         INSERT INTO items VALUES (1)",
    );
    let planned = planned(&server, &json!({})).await;
    server.sql("INSERT INTO shop.items VALUES (2)");
    server.sql("FLUSH BINARY LOGS; INSERT INTO shop.items VALUES (3); FLUSH BINARY LOGS");
    let last = server.sql("SHOW MASTER STATUS");
    let last = last.split('\t').next().unwrap();
    // The server keeps a file for as long as its own recovery may need it.
    let deadline = tokio::time::Instant::now() + DEADLINE;
    while !server.sql("SHOW BINARY LOGS").starts_with(last) {
        assert!(tokio::time::Instant::now() < deadline);
        server.sql(&format!("PURGE BINARY LOGS TO '{last}'"));
    }
    let error = planned.log(None).await.error().await;
    assert_eq!(error.kind(), ErrorKind::NotFound, "{error:?}");
    assert!(error.hint_text().unwrap().contains("--restart"));
}

/// What can be refused is refused when the source is opened.
#[tokio::test(flavor = "multi_thread")]
async fn servers_and_tables_that_cant_be_followed_are_refused() {
    let server = mariadb();
    server.sql(
        "CREATE DATABASE shop; USE shop; CREATE TABLE items (id INT PRIMARY KEY, _op INT); \
         CREATE TABLE armenian (id INT PRIMARY KEY, v TEXT CHARACTER SET armscii8); \
         CREATE TABLE good (id INT PRIMARY KEY); CREATE VIEW seen AS SELECT * FROM good; \
         CREATE USER reader; GRANT SELECT ON shop.* TO reader; \
         CREATE USER watcher; GRANT SELECT, BINLOG MONITOR ON *.* TO watcher; \
         CREATE USER follower; GRANT SELECT ON shop.* TO follower; \
         GRANT REPLICATION SLAVE, BINLOG MONITOR ON *.* TO follower",
    );
    let refused = async |server: &MariaDb, user: &str, tables: &[&str], columns: Value| {
        let mut keys = json!({ "follow": true, "tables": tables });
        keys["url"] = server
            .url("shop")
            .replace("root@", &format!("{user}@"))
            .into();
        if !columns.is_null() {
            keys["table"] = json!({ tables[0]: { "columns": columns } });
        }
        let cx = context();
        let opened = config(server, "shop", &keys).open(&cx.source()).await;
        opened.map(drop).err()
    };
    let none = Value::Null;
    let kind = |error: Option<tidegate_core::Error>| {
        let error = error.expect("an error");
        assert!(error.hint_text().is_some(), "{error:?}");
        error.kind()
    };
    let of = |user: &'static str, table: &'static str, columns: Value| {
        let refused = &refused;
        let server = &server;
        async move { refused(server, user, &[table], columns).await }
    };
    assert_eq!(
        kind(of("reader", "good", none.clone()).await),
        ErrorKind::Auth
    );
    assert_eq!(
        kind(of("watcher", "good", none.clone()).await),
        ErrorKind::Auth
    );
    assert!(of("follower", "good", none.clone()).await.is_none());
    assert_eq!(
        kind(of("root", "seen", none.clone()).await),
        ErrorKind::Config
    );
    assert_eq!(
        kind(of("root", "items", none.clone()).await),
        ErrorKind::Config
    );
    assert!(of("root", "items", json!(["id"])).await.is_none());
    assert_eq!(
        kind(of("root", "armenian", none.clone()).await),
        ErrorKind::Unsupported
    );
    assert!(of("root", "armenian", json!(["id"])).await.is_none());

    for setting in [
        "binlog_format = 'STATEMENT'",
        "binlog_format = 'ROW', binlog_row_image = 'MINIMAL'",
    ] {
        let settings = setting.replace("binlog_", "GLOBAL binlog_");
        server.sql(&format!("SET {settings}"));
        assert_eq!(
            kind(of("root", "good", none.clone()).await),
            ErrorKind::Config
        );
    }
}
