//! Every way in, against a real server.

use std::path::Path;
use std::sync::Arc;

use tidegate_core::{Context, Result};
use tidegate_testkit::servers::MariaDb;

use super::{ConnectionKeys, Connector};

fn context() -> Context {
    Context::detached(Path::new("/"), Arc::default()).unwrap()
}

async fn open(keys: &ConnectionKeys) -> Result<Arc<Connector>> {
    Connector::open(keys, &context()).await
}

fn root(server: &MariaDb, database: &str) -> ConnectionKeys {
    ConnectionKeys {
        url: Some(server.url(database)),
        ..ConnectionKeys::default()
    }
}

#[tokio::test]
async fn sessions_are_set_up_alike() {
    let server = MariaDb::with(&[
        "--default-time-zone=+05:00",
        "--sql-mode=ANSI_QUOTES,NO_BACKSLASH_ESCAPES",
        "--autocommit=0",
        "--max-statement-time=1",
        "--net-write-timeout=1",
        "--wait-timeout=10",
        "--character-set-server=latin1",
    ]);
    let connector = open(&root(&server, "mysql")).await.unwrap();
    assert!(connector.server().mariadb);
    assert_eq!(connector.database(), Some("mysql"));
    let mut connection = connector.connect().await.unwrap();
    let set = "SELECT @@time_zone, @@sql_mode, @@autocommit, @@max_statement_time, \
               @@net_write_timeout, @@net_read_timeout, @@wait_timeout, @@character_set_results, \
               @@character_set_client, @@group_concat_max_len, DATABASE(), 'ä'";
    let rows = connection.query("ask", set).await.unwrap();
    let row: Vec<_> = rows[0].iter().flatten().map(String::as_str).collect();
    let expected = [
        "+00:00",
        "STRICT_ALL_TABLES,ERROR_FOR_DIVISION_BY_ZERO,NO_AUTO_VALUE_ON_ZERO,NO_ENGINE_SUBSTITUTION",
        "1",
        "0.000000",
        "600",
        "600",
        "28800",
        "utf8mb4",
        "utf8mb4",
        "1048576",
        "mysql",
        "ä",
    ];
    let sorted = |modes: &str| {
        let mut modes: Vec<_> = modes.split(',').map(str::to_owned).collect();
        modes.sort();
        modes
    };
    assert_eq!(sorted(row[1]), sorted(expected[1]));
    assert_eq!(row[0], expected[0]);
    assert_eq!(row[2..], expected[2..]);
}
