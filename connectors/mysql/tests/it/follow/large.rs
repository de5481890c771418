//! A file of the log that is larger than positions have bits for.

use std::time::Duration;

use serde_json::json;
use tidegate_testkit::servers::{MariaDb, mariadb_plugins};

use super::log::{Planned, planned, told};
use crate::support::{Seen, read};
use futures::StreamExt;

#[tokio::test(flavor = "multi_thread")]
#[ignore = "writes 9 GB"]
async fn a_transaction_of_more_than_4_gib_is_followed() {
    let server = MariaDb::with(&[
        format!("--plugin-dir={}", mariadb_plugins().display()),
        "--plugin-load-add=ha_blackhole".to_owned(),
        "--max-allowed-packet=1G".to_owned(),
    ]);
    server.sql(
        "CREATE DATABASE shop; USE shop; CREATE TABLE items (id INT PRIMARY KEY); \
         CREATE TABLE hole (v LONGTEXT) ENGINE = BLACKHOLE",
    );
    let keys = json!({ "tables": ["items"] });
    let first = planned(&server, &keys).await;
    // The next file begins only when a transaction has ended.
    server.sql(
        "USE shop; BEGIN; INSERT INTO items VALUES (1); \
         INSERT INTO hole SELECT REPEAT('x', 60 << 20) FROM seq_1_to_72; \
         INSERT INTO items VALUES (2); COMMIT",
    );
    let files = server.sql("SHOW BINARY LOGS");
    let byte: u64 = files
        .lines()
        .next()
        .unwrap()
        .split('\t')
        .nth(1)
        .unwrap()
        .parse()
        .unwrap();
    assert!(byte > 1 << 32, "{files}");

    let mut log = first.log(None).await;
    let mut all = Vec::new();
    while all.len() < 2 {
        let event = tokio::time::timeout(Duration::from_secs(600), log.events.next());
        match event.await.unwrap().unwrap().unwrap() {
            tidegate_core::Event::Progress(_) => {}
            event => {
                if let tidegate_core::Event::Rows { resume, .. } = &event {
                    log.resume = resume.clone();
                }
                all.extend(told(&Seen::of(event).unwrap()));
            }
        }
    }
    // The connection is lost, then a reader begins anew from the last place.
    let ours = server
        .sql("SELECT id FROM information_schema.processlist WHERE command LIKE 'Binlog Dump%'");
    server.sql(&format!("KILL {}", ours.trim()));
    server.sql("INSERT INTO shop.items VALUES (3)");
    all.extend(log.at_least(1).await);
    let mut log = first.log(log.resume.as_ref()).await;
    server.sql("INSERT INTO shop.items VALUES (4)");
    all.extend(log.at_least(1).await);

    // And one that begins now.
    let Planned {
        source,
        scans,
        snapshot,
        ..
    } = &planned(&server, &keys).await;
    let seen = read(source.as_ref(), &snapshot[0], scans, None)
        .await
        .unwrap();
    let noted = told(&seen[0]).remove(0).pos;
    let rows: Vec<_> = all.iter().map(|change| change.row.as_str()).collect();
    assert_eq!(rows, ["id=1", "id=2", "id=3", "id=4"]);
    let mut positions: Vec<_> = all.into_iter().map(|change| change.pos).collect();
    positions.push(noted);
    assert!(positions.is_sorted(), "{positions:?}");
}
