//! Following: the snapshot and the changes after it, together the table.

mod altered;
mod charsets;
mod large;
mod log;
mod odd;
mod refused;

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::time::Duration;

use futures::StreamExt;
use serde_json::json;
use tidegate_core::Event;
use tidegate_testkit::servers::{MariaDb, mariadb};

use crate::support::{Seen, read};
use log::{Applied, DEADLINE, ops, planned, table, told};

pub(crate) const EVERY_TYPE: &str = "
    CREATE TABLE every (
        id INT PRIMARY KEY,
        b BOOL, t TINYINT, tu TINYINT UNSIGNED, s SMALLINT, su SMALLINT UNSIGNED,
        m MEDIUMINT, mu MEDIUMINT UNSIGNED, i INT, iu INT UNSIGNED, l BIGINT, lu BIGINT UNSIGNED,
        d DECIMAL(65,30), d2 DECIMAL(38,2), d3 DECIMAL(5,0), d4 DECIMAL(9,9), f FLOAT, g DOUBLE,
        b1 BIT(1), b9 BIT(9), b64 BIT(64), y YEAR, da DATE,
        ti TIME, ti2 TIME(2), ti3 TIME(3), ti6 TIME(6),
        dt DATETIME, dt1 DATETIME(1), dt4 DATETIME(4), dt6 DATETIME(6),
        ts TIMESTAMP NULL, ts2 TIMESTAMP(2) NULL, ts6 TIMESTAMP(6) NULL,
        c CHAR(10), cl CHAR(200) CHARACTER SET utf8mb4, v VARCHAR(20), vl VARCHAR(2000),
        la VARCHAR(50) CHARACTER SET latin1, lac CHAR(50) CHARACTER SET latin1,
        u2 VARCHAR(50) CHARACTER SET ucs2, u16 CHAR(50) CHARACTER SET utf16, u16le TEXT CHARACTER SET utf16le,
        u32 VARCHAR(50) CHARACTER SET utf32, u3 TEXT CHARACTER SET utf8mb3, asc_ CHAR(5) CHARACTER SET ascii,
        tt TINYTEXT, tx TEXT, mt MEDIUMTEXT, lt LONGTEXT,
        bi BINARY(8), vb VARBINARY(300), tb TINYBLOB, bl BLOB, mb MEDIUMBLOB, lb LONGBLOB,
        e ENUM('a','it''s','back\\\\slash','ü','') , se SET('x','y y','z','ü'),
        el ENUM('é','ü') CHARACTER SET latin1,
        j JSON, ge GEOMETRY, po POINT, uu UUID, i4 INET4, i6 INET6
    ) CHARACTER SET utf8mb4;";

pub(crate) const ROWS_OF_EVERY_TYPE: &str = r#"
    SET time_zone = '+00:00', sql_mode = '', NAMES utf8mb4;
    INSERT INTO every (id) VALUES (1);
    INSERT INTO every VALUES (2, 1, -128, 255, -32768, 65535, -8388608, 16777215, -2147483648,
        4294967295, -9223372036854775808, 18446744073709551615,
        -99999999999999999999999999999999999.999999999999999999999999999999, -123456789012345678901234567890123456.78,
        99999, 0.123456789, -1.5, 2.2250738585072014e-308, b'1', b'101010101', X'FFFFFFFFFFFFFFFF', 1901, '9999-12-31',
        '-838:59:59', '-00:00:00.01', '-12:34:56.789', '-838:59:59.999999',
        '9999-12-31 23:59:59', '2024-02-29 12:34:56.7', '2024-02-29 12:34:56.7891', '1000-01-01 00:00:00.000001',
        '2038-01-19 03:14:07', '2000-02-29 00:00:00.25', '1970-01-01 00:00:01.000001',
        'spaces  ', 'ä😀', '', 'trailing  ', 'café €', 'naïve ', 'Ωμέγα', 'a ', 'le', '😀', 'ü', 'ascii',
        'tiny', 'text 😀', 'medium', REPEAT('long', 20000),
        X'0102000000000000', X'FF00', X'', X'00', REPEAT('m', 70000), X'DEADBEEF',
        'it''s', 'x,z', 'ü', '{"a": [1, 2.5, "ü"]}', POINT(1, -2), POINT(0, 0),
        '123e4567-e89b-12d3-a456-426614174000', '192.168.0.1', '2001:db8::1');
    INSERT INTO every VALUES (3, 0, 127, 0, 32767, 0, 8388607, 0, 2147483647, 0, 9223372036854775807, 0,
        0.000000000000000000000000000001, 0.05, -1, -0.000000001, 3.4028234e38, -1.7976931348623157e308,
        b'0', b'0', 0, 2155, '1000-01-01', '00:00:00', '00:00:00.5', '838:59:59', '100:00:00.000001',
        '1000-01-01 00:00:00', '2024-02-29 00:00:00', '2024-02-29 12:00:00', '2024-12-31 23:59:59.999999',
        '1970-01-01 00:00:01', '2024-06-01 12:00:00', '2037-12-31 23:59:59.999999',
        '', REPEAT('ü', 200), 'v', REPEAT('😀', 400), '', 'x', '', '', '', '', '', '',
        '', '', '', '', X'0000000000000000', REPEAT('b', 300), X'FF', '', '', '',
        'back\\slash', '', 'é', 'null', ST_GeomFromText('LINESTRING(0 0,1 1,2 5)'), POINT(-180.5, 90.25),
        'ffffffff-ffff-ffff-ffff-ffffffffffff', '0.0.0.0', '::ffff:1.2.3.4');
    INSERT INTO every (id, e, se, uu, i4, i6) VALUES
        (4, 'ü', 'x,y y,z,ü', '00000000-0000-0000-0000-000000000000', '255.255.255.255', '::'),
        (5, '', '', '018f4e3a-9c1b-7abc-8def-0123456789ab', '1.0.0.0', '::1'),
        (6, 'nothing', 'y y', '6ba7b810-9dad-11d1-80b4-00c04fd430c8', '10.0.0.1', '::1.2.3.4'),
        (7, NULL, NULL, 'f47ac10b-58cc-4372-a567-0e02b2c3d479', NULL, 'fe80::1:0:0:1'),
        (8, NULL, NULL, '886313e1-3b8a-5372-9b90-0c9aee199e5d', NULL, '1:0:0:2:0:0:0:3'),
        (9, NULL, NULL, '1ec9414c-232a-6b00-b3c8-9f6bdeced846', NULL, '::ffff:0:0'),
        (10, NULL, NULL, '123e4567-e89b-12d3-f456-426614174000', NULL, 'a:b:c:d:e:f:0:1'),
        (11, NULL, NULL, '12345678-1234-8234-8234-123456789012', NULL, '::1:0');
"#;

/// Of each type the binary log and a SELECT give the same: values, and types.
#[tokio::test(flavor = "multi_thread")]
async fn changes_have_the_values_that_a_select_gives() {
    let server = mariadb();
    let compressed = MariaDb::with(&[
        "--log-bin-compress=1",
        "--log-bin-compress-min-len=10",
        "--binlog-row-metadata=NO_LOG",
        "--binlog-checksum=NONE",
    ]);
    for server in [&server, &compressed] {
        server.sql(&format!("CREATE DATABASE shop; USE shop; {EVERY_TYPE}"));
        let planned = planned(server, &json!({})).await;
        server.sql(&format!("USE shop; {ROWS_OF_EVERY_TYPE}"));
        let mut log = planned.log(None).await;
        let mut changes = log.at_least(11).await;
        assert_eq!(ops(&changes), ["insert"; 11]);
        let wanted = table(server, "every").await;
        changes.sort_by(|one, other| one.row.cmp(&other.row));
        for (change, wanted) in changes.iter().zip(&wanted) {
            for (one, other) in change.row.split(", ").zip(wanted.split(", ")) {
                assert_eq!(one, other, "in {wanted:.300}");
            }
            assert_eq!(change.row, *wanted);
        }
        // Deletes and updates have all of it too.
        server.sql("USE shop; UPDATE every SET l = 0; DELETE FROM every");
        let changes = log.at_least(22).await;
        assert_eq!(ops(&changes[..11]), ["update"; 11]);
        assert_eq!(ops(&changes[11..]), ["delete"; 11]);
    }
}

/// What a writer does, in statements; keys are its own.
fn work(writer: u64, changes: u64) -> String {
    let mut random = writer * 7_919 + 17;
    let mut next = |below: u64| {
        random = random
            .wrapping_mul(6_364_136_223_846_793_005)
            .wrapping_add(1_442_695_040_888_963_407);
        (random >> 33) % below
    };
    let mut script = "USE shop;".to_owned();
    for at in 0..changes {
        if at.is_multiple_of(100) {
            script += "BEGIN;";
        }
        let id = next(5_000) * 4 + writer;
        let text = "é".repeat(usize::try_from(next(20)).unwrap());
        script += &match next(10) {
            0..=3 => format!(
                "INSERT INTO items VALUES ({id}, {at}, '{text}') \
                 ON DUPLICATE KEY UPDATE n = n + 1, v = '{text}';"
            ),
            4..=6 => format!("UPDATE items SET n = n + 0.25, v = NULL WHERE id = {id};"),
            7 => format!(
                "UPDATE IGNORE items SET id = {} WHERE id = {id};",
                next(5_000) * 4 + writer
            ),
            _ => format!("DELETE FROM items WHERE id = {id};"),
        };
        if at % 100 == 49 {
            script += "COMMIT;";
        }
        script.push('\n');
    }
    script + "COMMIT;"
}

#[tokio::test(flavor = "multi_thread")]
async fn snapshot_and_changes_together_are_the_table() {
    let server = Arc::new(mariadb());
    server.sql(
        "CREATE DATABASE shop; USE shop; \
         CREATE TABLE items (id INT PRIMARY KEY, n DECIMAL(12,2), v VARCHAR(40)); \
         CREATE TABLE others (id INT PRIMARY KEY); \
         CREATE TABLE done (id INT PRIMARY KEY); \
         INSERT INTO items SELECT seq, seq / 100, 'old' FROM seq_1_to_20000",
    );
    let keys = json!({ "tables": ["items", "done"] });
    let reader = planned(&server, &keys).await;
    let writers: Vec<_> = (0..4)
        .map(|writer| {
            let server = Arc::clone(&server);
            std::thread::spawn(move || server.sql(&work(writer, 25_000)))
        })
        .collect();

    let mut applied = Applied::default();
    for split in &reader.snapshot {
        for seen in read(reader.source.as_ref(), split, &reader.scans, None)
            .await
            .unwrap()
        {
            for change in told(&seen) {
                assert_eq!(change.op, "snapshot");
                applied.apply(&change);
            }
        }
    }
    // The reader is killed again and again, and resumes from the last offset, now and then in a
    // source that was opened anew.
    let mut resume = None;
    let mut positions = BTreeSet::new();
    let mut last = String::new();
    let mut life = 0_u64;
    let mut fresh = planned(&server, &keys).await;
    let writing = std::thread::spawn({
        let server = Arc::clone(&server);
        move || {
            for writer in writers {
                writer.join().unwrap();
            }
            server.sql("INSERT INTO shop.done VALUES (1)");
        }
    });
    'lives: loop {
        life += 1;
        if life.is_multiple_of(5) {
            fresh = planned(&server, &keys).await;
            fresh.log = reader.log.clone();
        }
        let source = if life.is_multiple_of(5) {
            &fresh
        } else {
            &reader
        };
        let mut log = source.log(resume.as_ref()).await;
        let mut behind = Vec::new();
        for _ in 0..1 + life * 13 % 90 {
            let Some(seen) = Seen::of(log.event().await.unwrap()) else {
                continue;
            };
            behind.extend(told(&seen));
            if seen.resume.is_some() {
                for change in behind.drain(..) {
                    assert!(
                        positions.insert(change.pos.clone()),
                        "{change:?} came twice"
                    );
                    assert!(change.pos > last, "{change:?} after {last}");
                    last = change.pos.clone();
                    if change.stream == "done" {
                        break 'lives;
                    }
                    applied.apply(&change);
                }
                resume = log.resume.clone();
            }
        }
    }
    writing.join().unwrap();
    assert!(positions.len() > 50_000, "{}", positions.len());
    assert!(life > 5, "{life}");
    assert_eq!(applied.rows(), table(&server, "items").await);
}

#[tokio::test(flavor = "multi_thread")]
async fn lost_connections_restarts_rotations_and_large_transactions_lose_nothing() {
    let mut server = mariadb();
    server.sql(
        "CREATE DATABASE shop; USE shop; CREATE TABLE items (id INT PRIMARY KEY, v VARCHAR(40)); \
         CREATE TABLE others (id INT PRIMARY KEY)",
    );
    let planned = planned(&server, &json!({ "tables": ["items"] })).await;
    let mut log = planned.log(None).await;
    server.sql("INSERT INTO shop.items VALUES (1, 'a'), (2, 'b')");
    assert_eq!(log.at_least(2).await.len(), 2);

    // The connection is killed.
    let ours = server
        .sql("SELECT id FROM information_schema.processlist WHERE command LIKE 'Binlog Dump%'");
    server.sql(&format!("KILL {}", ours.trim()));
    server.sql("UPDATE shop.items SET v = 'c' WHERE id = 2; INSERT INTO shop.others VALUES (1)");
    let changes = log.at_least(1).await;
    assert_eq!(
        (ops(&changes), changes[0].row.as_str()),
        (vec!["update"], "id=2, v=c")
    );

    // Files of the log follow one another, and the server is started again.
    server.sql("FLUSH BINARY LOGS; DELETE FROM shop.items WHERE id = 1; FLUSH BINARY LOGS");
    let changes = log.at_least(1).await;
    assert_eq!(
        (ops(&changes), changes[0].row.as_str()),
        (vec!["delete"], "id=1, v=a")
    );
    server.restart();
    server.sql("UPDATE shop.items SET id = 7 WHERE id = 2");
    let changes = log.at_least(2).await;
    assert_eq!(ops(&changes), ["delete", "insert"]);
    assert_eq!(changes[1].row, "id=7, v=c");
    assert!(changes[0].pos < changes[1].pos);

    // A transaction that doesn't fit a batch is told in pieces, and may be left in its middle.
    server.sql(
        "USE shop; BEGIN; INSERT INTO items SELECT seq, CONCAT('row ', seq) FROM seq_1001_to_101000; \
         DELETE FROM items WHERE id = 7; COMMIT",
    );
    let mut ids = BTreeSet::new();
    let mut pieces = 0_u64;
    while ids.len() < 100_001 {
        pieces += 1;
        if pieces.is_multiple_of(20) {
            let resume = log.resume.clone();
            log = planned.log(resume.as_ref()).await;
        }
        for change in log.changes().await.unwrap() {
            assert!(ids.insert(change.pos), "came twice: {}", change.row);
        }
    }
    assert!(pieces > 20, "{pieces}");

    // With nothing for us in the log, the place moves all the same.
    server.sql("INSERT INTO shop.others VALUES (2)");
    let before = log.resume.clone();
    let deadline = tokio::time::Instant::now() + DEADLINE;
    loop {
        assert!(tokio::time::Instant::now() < deadline);
        server.sql("REPLACE INTO shop.others VALUES (3)");
        let event = tokio::time::timeout(Duration::from_millis(200), log.events.next()).await;
        if let Ok(Some(event)) = event {
            let Event::Progress(offset) = event.unwrap() else {
                panic!("nothing concerns us");
            };
            assert_ne!(Some(&offset), before.as_ref());
            break;
        }
    }
}

/// Only some columns, some of ours, a table that nobody asks for, and one without a key.
#[tokio::test(flavor = "multi_thread")]
async fn only_what_is_asked_for_is_given() {
    let server = mariadb();
    server.sql(
        "CREATE DATABASE shop; USE shop; CREATE TABLE items (id INT PRIMARY KEY, v INT, w INT); \
         CREATE TABLE keyless (a INT, b INT); CREATE TABLE others (id INT PRIMARY KEY); \
         INSERT INTO items VALUES (1, 2, 3)",
    );
    let mut planned = planned(&server, &json!({})).await;
    let streams = planned.source.streams();
    assert!(streams.iter().all(|stream| !stream.bounded));
    planned
        .scans
        .retain(|scan| scan.stream.as_str() != "others");
    for scan in &mut planned.scans {
        let columns: &[&str] = match scan.stream.as_str() {
            "items" => &["w", "_ts"],
            _ => &["a", "b", "_op"],
        };
        scan.columns = Some(columns.iter().map(|&name| name.into()).collect());
    }
    let names = |seen: &Seen| -> Vec<String> {
        let schema = seen.batches[0].schema();
        schema
            .fields()
            .iter()
            .map(|field| field.name().clone())
            .collect()
    };
    let mut rows = 0;
    for split in &planned.snapshot {
        let seen = read(planned.source.as_ref(), split, &planned.scans, None).await;
        for seen in seen.unwrap().iter().filter(|seen| seen.stream == "items") {
            assert_eq!(names(seen), ["w", "_ts"]);
            rows += seen.rows().len();
        }
    }
    assert_eq!(rows, 1);
    server.sql(
        "USE shop; INSERT INTO others VALUES (1); INSERT INTO items VALUES (2, 3, 4); \
         INSERT INTO keyless VALUES (1, 1); UPDATE keyless SET b = 2",
    );
    let mut log = planned.log(None).await;
    let mut seen = BTreeMap::<String, Vec<String>>::new();
    while seen.get("keyless").is_none_or(|rows| rows.len() < 3) {
        if let Some(event) = Seen::of(log.event().await.unwrap()) {
            if event.stream == "items" {
                assert_eq!(names(&event), ["w", "_ts"]);
            }
            seen.entry(event.stream.clone())
                .or_default()
                .extend(event.rows());
        }
    }
    assert_eq!(seen.keys().collect::<Vec<_>>(), ["items", "keyless"]);
    assert_eq!(
        seen["keyless"],
        [
            "_op=insert, a=1, b=1",
            "_op=delete, a=1, b=1",
            "_op=insert, a=1, b=2"
        ]
    );
    let time = seen["items"][0].split("_ts=").nth(1).unwrap();
    assert!(time.starts_with("20") && time.contains('T'), "{time}");
}
