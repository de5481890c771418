//! A run reads what is new since the one before: nothing twice, and nothing is passed over.

use std::time::{Duration, Instant};

use serde_json::json;
use tidegate_core::{ErrorKind, SourceConfig};
use tidegate_testkit::servers::mariadb;
use tidegate_testkit::suites::{context, source_suite};

use crate::support::{config, ids, open, plan, run, scans};

#[tokio::test]
async fn integers_are_read_up_to_the_greatest() {
    let server = mariadb();
    server.sql(
        "CREATE DATABASE shop; USE shop; \
         CREATE TABLE sales (id BIGINT UNSIGNED PRIMARY KEY); \
         CREATE TABLE ties (n INT NOT NULL, id INT)",
    );
    let keys = json!({ "table": {
        "sales": { "cursor": "id", "lag": 10 },
        "ties": { "cursor": "n", "columns": ["id"] },
    } });
    let config = config(&server, "shop", &keys);
    let (rows, state) = run(&config, None).await.unwrap();
    assert!(rows.is_empty(), "{rows:?}");

    server.sql(
        "USE shop; INSERT INTO sales SELECT seq FROM seq_1_to_100; \
         INSERT INTO ties VALUES (1, 1), (2, 2), (2, 3)",
    );
    let (rows, state) = run(&config, Some(&state)).await.unwrap();
    assert_eq!(rows["sales"], ids(1..=90));
    assert_eq!(rows["ties"], ids(1..=3));

    // Nothing is new, but for what `lag` had left.
    let (rows, same) = run(&config, Some(&state)).await.unwrap();
    assert!(rows.is_empty(), "{rows:?}");
    assert_eq!(same, state);

    // A number far above, and one that was committed late, within the lag.
    server.sql(
        "USE shop; DELETE FROM sales WHERE id BETWEEN 91 AND 99; \
         INSERT INTO sales VALUES (95), (18446744073709551615)",
    );
    let (rows, state) = run(&config, Some(&state)).await.unwrap();
    assert_eq!(rows["sales"], ids([100, 95]));
    assert!(!rows.contains_key("ties"));

    // Deleted rows don't bring the bookmark back.
    server.sql("USE shop; DELETE FROM sales; INSERT INTO sales VALUES (5)");
    let (rows, _) = run(&config, Some(&state)).await.unwrap();
    assert!(rows.is_empty(), "{rows:?}");
}

#[tokio::test]
async fn times_are_read_up_to_the_clock_less_the_lag() {
    let server = mariadb();
    // A day counts once it is over, the lag included: right after midnight, the one before isn't.
    server.sql(
        "CREATE DATABASE shop; USE shop; SET time_zone = '+00:00'; \
         CREATE TABLE stamps (id INT PRIMARY KEY, at TIMESTAMP(6) NOT NULL, KEY (at)); \
         CREATE TABLE moments (id INT PRIMARY KEY, at DATETIME NOT NULL); \
         CREATE TABLE days (id INT, at DATE NOT NULL); \
         INSERT INTO stamps SELECT seq, NOW(6) - INTERVAL seq HOUR FROM seq_1_to_50; \
         INSERT INTO moments SELECT seq, NOW() - INTERVAL seq HOUR FROM seq_1_to_50; \
         INSERT INTO days \
             SELECT seq, DATE(NOW() - INTERVAL 30 MINUTE) - INTERVAL seq DAY FROM seq_1_to_50; \
         INSERT INTO stamps VALUES (60, NOW(6)), (61, NOW(6) + INTERVAL 1 HOUR); \
         INSERT INTO moments VALUES (60, NOW()), (61, NOW() + INTERVAL 1 HOUR); \
         INSERT INTO days VALUES (60, CURDATE() + INTERVAL 1 DAY)",
    );
    let keys = json!({ "table": { "*": { "cursor": "at", "columns": ["id"], "lag": "20m" } } });
    let config = config(&server, "shop", &keys);
    let (rows, state) = run(&config, None).await.unwrap();
    for stream in ["stamps", "moments", "days"] {
        assert_eq!(rows[stream], ids(1..=50), "{stream}");
    }
    // Late rows: within the lag, and changed ones.
    server.sql(
        "USE shop; SET time_zone = '+00:00'; \
         INSERT INTO stamps VALUES (70, NOW(6) - INTERVAL 19 MINUTE); \
         UPDATE moments SET at = NOW() WHERE id = 7; \
         UPDATE stamps SET at = NOW(6) - INTERVAL 10 SECOND WHERE id = 8",
    );
    let (rows, _) = run(&config, Some(&state)).await.unwrap();
    assert!(rows.is_empty(), "{rows:?}");
    // With a shorter lag they are old enough.
    let keys = json!({ "table": { "*": { "cursor": "at", "columns": ["id"], "lag": "5s" } } });
    let config = crate::support::config(&server, "shop", &keys);
    let (rows, _) = run(&config, Some(&state)).await.unwrap();
    assert_eq!(rows["stamps"], ids([70, 8]));
    assert!(!rows.contains_key("days"));
}

/// Rows that are written while runs follow one another, many with the same time.
#[tokio::test]
async fn a_series_of_runs_gives_every_row_once() {
    let server = mariadb();
    server.sql(
        "CREATE DATABASE shop; USE shop; \
         CREATE TABLE sales (id INT PRIMARY KEY AUTO_INCREMENT, at DATETIME NOT NULL, KEY (at))",
    );
    // West of Greenwich, where the server's clock is behind.
    server.sql("SET GLOBAL time_zone = '-05:00'");
    let keys = json!({ "table": { "sales": { "cursor": "at", "columns": ["id"], "lag": "0s" } } });
    let config = config(&server, "shop", &keys);
    let mut state = None;
    let mut all = Vec::new();
    for _ in 0..12 {
        server.sql("USE shop; INSERT INTO sales (at) SELECT NOW() FROM seq_1_to_25");
        let (rows, now) = run(&config, state.as_ref()).await.unwrap();
        all.extend(rows.into_values().flatten());
        state = Some(now);
    }
    let deadline = Instant::now() + Duration::from_secs(30);
    while all.len() < 300 && Instant::now() < deadline {
        let (rows, now) = run(&config, state.as_ref()).await.unwrap();
        all.extend(rows.into_values().flatten());
        state = Some(now);
    }
    all.sort_unstable();
    let written = server.sql("SELECT CONCAT('id=', id) FROM shop.sales");
    let mut written: Vec<_> = written.lines().map(str::to_owned).collect();
    written.sort_unstable();
    assert_eq!(written.len(), 300);
    assert_eq!(all, written);
}

#[tokio::test]
async fn an_incremental_source_keeps_the_contract() {
    let server = mariadb();
    server.sql(
        "CREATE DATABASE shop; USE shop; \
         CREATE TABLE sales (id INT PRIMARY KEY, at TIMESTAMP NOT NULL, text TEXT, KEY (at)); \
         INSERT INTO sales SELECT seq, '2020-01-01' + INTERVAL seq DIV 3 SECOND, \
             REPEAT('x', seq MOD 50) FROM seq_1_to_2000; \
         CREATE TABLE log (n INT NOT NULL); INSERT INTO log SELECT seq FROM seq_1_to_300",
    );
    let keys = json!({
        "table": { "sales": { "cursor": "at" }, "log": { "cursor": "n" } },
        "batch_size": "16 KiB",
    });
    let config = config(&server, "shop", &keys);
    source_suite(move || {
        let config = config.clone();
        async move { config.open(&context().source()).await }
    })
    .incremental()
    .rows("sales", 2_000)
    .rows("log", 300)
    .check()
    .await;
}

#[tokio::test]
async fn what_a_cursor_cannot_place_is_refused() {
    let server = mariadb();
    server.sql(
        "CREATE DATABASE shop; USE shop; CREATE TABLE sales (id INT PRIMARY KEY, n INT); \
         INSERT INTO sales VALUES (1, 1), (2, NULL)",
    );
    let keys = json!({ "table": { "sales": { "cursor": "n", "columns": ["id"] } } });
    let nulls = config(&server, "shop", &keys);
    let error = run(&nulls, None).await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Data);
    assert!(format!("{error:?}").contains("n IS NOT NULL"), "{error:?}");

    let keys = json!({ "table": { "sales":
        { "cursor": "n", "columns": ["id"], "where": "n IS NOT NULL" } } });
    let (rows, state) = run(&config(&server, "shop", &keys), None).await.unwrap();
    assert_eq!(rows["sales"], ids([1]));

    // Another cursor than before.
    let keys = json!({ "table": { "sales": { "cursor": "id" } } });
    let other = config(&server, "shop", &keys);
    assert_eq!(
        run(&other, Some(&state)).await.unwrap_err().kind(),
        ErrorKind::Conflict
    );
}

#[tokio::test]
async fn a_short_run_reads_by_the_cursors_index() {
    let server = mariadb();
    server.sql(
        "CREATE DATABASE shop; USE shop; \
         CREATE TABLE sales (id INT PRIMARY KEY, at TIMESTAMP NOT NULL, KEY `by time` (at)); \
         INSERT INTO sales SELECT seq, '2020-01-01' + INTERVAL seq SECOND FROM seq_1_to_20000; \
         ANALYZE TABLE sales",
    );
    let config = config(
        &server,
        "shop",
        &json!({ "table": { "sales": { "cursor": "at" } } }),
    );
    let (_, state) = run(&config, None).await.unwrap();
    // As if the run before had been then.
    let text = serde_json::to_string(&state).unwrap();
    let from = text.find("'20").unwrap();
    let to = from + text[from..].find("\"").unwrap();
    let text = format!("{}'2020-01-01 05:33:10'{}", &text[..from], &text[to..]);
    let state = serde_json::from_str(&text).unwrap();
    server.sql("ANALYZE TABLE shop.sales; FLUSH STATUS");
    let read = || server.sql("SHOW GLOBAL STATUS LIKE 'Handler_read%next'");
    let sorts = || server.sql("SHOW GLOBAL STATUS LIKE 'Sort_range'");
    let (source, _cx) = open(&config).await;
    let scans = scans(source.as_ref());
    let plan = plan(source.as_ref(), &scans, Some(&state)).await.unwrap();
    let (before, sorted) = (read(), sorts());
    let rows = crate::support::read_all(source.as_ref(), &plan.new, &scans)
        .await
        .unwrap();
    assert_eq!(rows["sales"].len(), 11);
    let count = |text: &str| -> u64 {
        text.lines()
            .map(|line| line.rsplit('\t').next().unwrap().parse::<u64>().unwrap())
            .sum()
    };
    assert!(count(&read()) - count(&before) < 1_000);
    assert_eq!(sorts(), sorted);
    assert!(
        serde_json::to_string(&plan.new)
            .unwrap()
            .contains("by time")
    );
}

/// A zone whose clocks change twice, in hours from UTC and seconds since 1970.
struct Zone {
    name: &'static str,
    usual: i64,
    summer: i64,
    /// When clocks go forward, and when they go back.
    nights: [i64; 2],
}

const fn zone(name: &'static str, usual: i64, nights: [i64; 2]) -> Zone {
    Zone {
        name,
        usual,
        summer: usual + 1,
        nights,
    }
}

const ZONES: &[Zone] = &[
    // New York in 2026: 8 March at 2:00, and 1 November at 2:00.
    zone("Test/West", -5, [1_772_953_200, 1_793_512_800]),
    // Oslo: 29 March at 2:00, and 25 October at 3:00.
    zone("Test/East", 1, [1_774_746_000, 1_792_890_000]),
    // The Azores.
    zone("Test/Isles", -1, [1_774_746_000, 1_792_890_000]),
    // Where midnight comes twice.
    zone("Test/Midnight", -4, [1_774_746_000, 1_792_897_200]),
];

fn zones() -> String {
    let mut script = "USE mysql;".to_owned();
    for (id, zone) in (1..).zip(ZONES) {
        let (name, [forward, back]) = (zone.name, zone.nights);
        script += &format!(
            "INSERT INTO time_zone (Time_zone_id, Use_leap_seconds) VALUES ({id}, 'N'); \
             INSERT INTO time_zone_name VALUES ('{name}', {id}); \
             INSERT INTO time_zone_transition_type VALUES ({id}, 0, {}, 0, 'A'), ({id}, 1, {}, 1, 'B'); \
             INSERT INTO time_zone_transition VALUES ({id}, -2000000000, 0), ({id}, {forward}, 1), ({id}, {back}, 0);",
            zone.usual * 3600,
            zone.summer * 3600,
        );
    }
    script
}

/// The clock of readers and writers is set to the nights in which clocks change, ten minutes by ten
/// minutes, and a run at each of them reads what is new.
#[tokio::test]
async fn an_hour_that_comes_twice_is_read_once() {
    let server = mariadb();
    server.sql(&zones());
    // It holds for those who may not change the server.
    server.sql("CREATE USER reader; GRANT ALL ON shop.* TO reader");
    for Zone {
        name: zone, nights, ..
    } in ZONES
    {
        for night in nights {
            for lag in ["0s", "25m"] {
                server.sql(&format!(
                    "SET GLOBAL time_zone = '{zone}'; CREATE OR REPLACE DATABASE shop; USE shop; \
                     CREATE TABLE moments (id INT PRIMARY KEY, at DATETIME NOT NULL); \
                     CREATE TABLE fine (id INT PRIMARY KEY, at DATETIME(6) NOT NULL, KEY (at)); \
                     CREATE TABLE days (id INT PRIMARY KEY, at DATE NOT NULL); \
                     CREATE TABLE stamps (id INT PRIMARY KEY, at TIMESTAMP NOT NULL)"
                ));
                let keys = json!({
                    "url": server.url("shop").replace("root@", "reader@"),
                    "table": { "*": { "cursor": "at", "columns": ["id"], "lag": lag } },
                });
                let config = config(&server, "shop", &keys);
                let (mut state, mut all) = (None, std::collections::BTreeMap::new());
                // Two days later all of it is behind the bound.
                let times = (-14..20)
                    .map(|at| night + at * 600)
                    .chain([night + 200_000]);
                let count = u64::try_from(times.clone().count()).unwrap();
                for (id, now) in (1..).zip(times) {
                    let insert: Vec<_> = ["moments", "fine", "days", "stamps"]
                        .map(|table| format!("INSERT INTO {table} VALUES ({id}, NOW(6));"))
                        .into();
                    server.sql(&format!(
                        "SET GLOBAL init_connect = 'SET timestamp = {now}'; \
                         SET timestamp = {now}.25, time_zone = '{zone}'; USE shop; {}",
                        insert.concat()
                    ));
                    let (rows, next) = run(&config, state.as_ref()).await.unwrap();
                    for (stream, rows) in rows {
                        all.entry(stream).or_insert_with(Vec::new).extend(rows);
                    }
                    state = Some(next);
                }
                let what = format!("{zone} {night} {lag}");
                for stream in ["moments", "fine", "days", "stamps"] {
                    let mut rows = all.remove(stream).unwrap();
                    rows.sort_unstable();
                    // The last one of all lies in front of the bound.
                    assert_eq!(rows, ids(1..count), "{what} {stream}");
                }
            }
        }
    }
}
