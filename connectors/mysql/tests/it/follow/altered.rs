//! Tables that are altered while the log is read.

use serde_json::json;
use tidegate_core::{ErrorKind, Event};
use tidegate_testkit::servers::{MariaDb, mariadb};

use super::log::{Log, ops, planned};
use crate::support::{config, open, plan, scans};

/// Statements between which the definition of now fits rows that were made by another one.
const MISLEADING: &[(&str, &[&str])] = &[
    (
        "one column goes and another one comes",
        &[
            "ALTER TABLE items ADD a INT",
            "INSERT INTO items VALUES (2, 'x', 'y', 7)",
            "ALTER TABLE items DROP a, ADD b INT",
        ],
    ),
    (
        "in a later transaction",
        &[
            "ALTER TABLE items ADD a INT",
            "INSERT INTO items VALUES (2, 'x', 'y', 7)",
            "CREATE TABLE others (id INT)",
            "INSERT INTO others VALUES (1)",
            "INSERT INTO items VALUES (3, 'x', 'y', 7)",
            "FLUSH BINARY LOGS",
            "ALTER TABLE items DROP a, ADD b INT",
            "INSERT INTO items VALUES (4, 'x', 'y', 7)",
        ],
    ),
    (
        "two change places, and back",
        &[
            "ALTER TABLE items RENAME COLUMN v TO w, RENAME COLUMN w TO v",
            "INSERT INTO items (id, v, w) VALUES (2, 'x', 'y')",
            "ALTER TABLE `shop`.`items` RENAME COLUMN v TO w, RENAME COLUMN w TO v",
        ],
    ),
    (
        "moved, and moved again",
        &[
            "ALTER TABLE items MODIFY w VARCHAR(40) AFTER id",
            "INSERT INTO items (id, v, w) VALUES (2, 'x', 'y')",
            "ALTER TABLE items MODIFY v VARCHAR(40) AFTER id",
        ],
    ),
    (
        "members change places",
        &[
            "ALTER TABLE items ADD e ENUM('a','b')",
            "INSERT INTO items VALUES (2, 'x', 'y', 'a')",
            "ALTER TABLE items MODIFY e ENUM('b','a')",
        ],
    ),
];

#[tokio::test(flavor = "multi_thread")]
async fn a_later_definition_gives_no_names_to_rows_of_before() {
    for metadata in ["NO_LOG", "MINIMAL", "FULL"] {
        let server = MariaDb::with(&[&format!("--binlog-row-metadata={metadata}")]);
        for (what, statements) in MISLEADING {
            server.sql(
                "CREATE OR REPLACE DATABASE shop; USE shop; \
                 CREATE TABLE items (id INT PRIMARY KEY, v VARCHAR(40), w VARCHAR(40))",
            );
            let planned = planned(&server, &json!({ "tables": ["items"] })).await;
            server.sql(&format!("USE shop; {}", statements.join("; ")));
            let mut log = planned.log(None).await;
            if metadata == "FULL" {
                let row = &log.at_least(1).await[0].row;
                let wanted = [
                    "v=x, w=y",
                    "a=7, id=2, v=x, w=y",
                    "e=a, id=2, v=x, w=y",
                    "id=2, v=x, w=y",
                ];
                assert!(wanted.iter().any(|wanted| row == wanted), "{what}: {row}");
                continue;
            }
            let error = log.error().await;
            assert_eq!(error.kind(), ErrorKind::Schema, "{what}: {error:?}");
            assert!(error.hint_text().unwrap().contains("binlog_row_metadata"));
        }
    }
}

/// With nothing behind it that would make it doubtful, an altered table is read on.
#[tokio::test(flavor = "multi_thread")]
async fn a_definition_that_still_holds_names_the_columns() {
    let server = MariaDb::with(&["--binlog-row-metadata=NO_LOG"]);
    server.sql(
        "CREATE DATABASE shop; USE shop; CREATE TABLE others (id INT); \
         CREATE TABLE items (id INT PRIMARY KEY, v VARCHAR(40), w VARCHAR(40))",
    );
    let planned = planned(&server, &json!({ "tables": ["items"] })).await;
    server.sql(
        "USE shop; INSERT INTO items VALUES (1, 'a', 'b'); \
         ALTER TABLE items RENAME COLUMN v TO w, RENAME COLUMN w TO v; \
         INSERT INTO items (id, v, w) VALUES (2, 'x', 'y'); FLUSH BINARY LOGS; \
         ALTER TABLE others ADD a INT; INSERT INTO items (id, v, w) VALUES (3, 'x', 'z'); \
         ALTER TABLE items ADD INDEX (v), COMMENT 'ADD x INT'; ALTER TABLE items DROP INDEX v",
    );
    let told = planned.log(None).await.at_least(3).await;
    let rows: Vec<_> = told.iter().map(|one| one.row.as_str()).collect();
    assert_eq!(rows, ["id=1, v=a, w=b", "id=2, v=x, w=y", "id=3, v=x, w=z"]);
}

/// The position is noted after the tables were looked at: what was altered in between is in no log
/// that is read.
#[tokio::test(flavor = "multi_thread")]
async fn a_table_that_is_altered_before_the_position_is_noted_is_looked_at_again() {
    let server = mariadb();
    server.sql("CREATE DATABASE shop; USE shop; CREATE TABLE items (id INT PRIMARY KEY, v INT)");
    let keys = json!({ "follow": true });
    let (source, _cx) = open(&config(&server, "shop", &keys)).await;
    let all = scans(source.as_ref());
    server.sql("ALTER TABLE shop.items DROP v, ADD w INT");
    let error = plan(source.as_ref(), &all, None).await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Transient, "{error:?}");
    let (source, _cx) = open(&config(&server, "shop", &keys)).await;
    assert!(plan(source.as_ref(), &all, None).await.is_ok());
}

#[tokio::test(flavor = "multi_thread")]
async fn altered_tables_are_noticed() {
    let full = mariadb();
    let less = MariaDb::with(&["--binlog-row-metadata=NO_LOG"]);
    for (server, is_full) in [(&full, true), (&less, false)] {
        server.sql(
            "CREATE DATABASE shop; USE shop; CREATE TABLE items (id INT PRIMARY KEY, v VARCHAR(40)); \
             CREATE TABLE others (id INT PRIMARY KEY)",
        );
        let planned = planned(server, &json!({ "tables": ["items"] })).await;
        let mut log = planned.log(None).await;
        server.sql("INSERT INTO shop.items VALUES (1, 'a')");
        assert_eq!(log.at_least(1).await[0].row, "id=1, v=a");
        server.sql(
            "USE shop; ALTER TABLE others ADD COLUMN w INT; \
             ALTER TABLE items ADD COLUMN w INT UNSIGNED NULL, RENAME COLUMN v TO x; \
             INSERT INTO items VALUES (2, 'b', 4000000000)",
        );
        let Event::Schema { schema, .. } = log.event().await.unwrap() else {
            panic!("a new schema comes first");
        };
        let names: Vec<_> = schema
            .fields()
            .iter()
            .map(|field| field.name().as_str())
            .collect();
        assert_eq!(names, ["id", "x", "w", "_op", "_ts", "_pos"]);
        let resume = log.resume.clone();
        assert_eq!(log.at_least(1).await[0].row, "id=2, w=4000000000, x=b");

        // From there on it isn't told again.
        let mut again = planned.log(resume.as_ref()).await;
        assert_eq!(
            ops(&again.changes().await.unwrap()),
            ["insert"],
            "the schema is told once"
        );

        // Altered twice before we look: only a full log knows what it was in between.
        drop((log, again));
        server.sql(
            "USE shop; ALTER TABLE items ADD COLUMN y ENUM('k','l') NULL; \
             INSERT INTO items VALUES (3, 'c', 3, 'l'); \
             ALTER TABLE items DROP COLUMN y, DROP COLUMN w; INSERT INTO items VALUES (4, 'd')",
        );
        let mut log = planned.log(resume.as_ref()).await;
        log.at_least(1).await;
        if !is_full {
            let error = log.error().await;
            assert_eq!(error.kind(), ErrorKind::Schema, "{error:?}");
            assert!(error.hint_text().unwrap().contains("binlog_row_metadata"));
            continue;
        }
        assert!(matches!(log.event().await.unwrap(), Event::Schema { .. }));
        assert_eq!(log.at_least(1).await[0].row, "id=3, w=3, x=c, y=l");
        assert!(matches!(log.event().await.unwrap(), Event::Schema { .. }));
        assert_eq!(log.at_least(1).await[0].row, "id=4, x=d");

        // A source that is opened now has the schema of now; what comes first is of before.
        let (source, _cx) = open(&config(
            server,
            "shop",
            &json!({ "follow": true, "tables": ["items"] }),
        ))
        .await;
        let events = source
            .read(&planned.log, &planned.scans, None)
            .await
            .unwrap();
        let mut log = Log {
            events,
            resume: None,
        };
        let Event::Schema { schema, .. } = log.event().await.unwrap() else {
            panic!("the schema of before comes first");
        };
        assert_eq!(schema.fields().len(), 5);
        assert_eq!(log.at_least(1).await[0].row, "id=1, v=a");
        assert!(matches!(log.event().await.unwrap(), Event::Schema { .. }));
    }
}
