//! `sample`: random rows, again and again.

use std::collections::BTreeSet;

use futures::StreamExt;
use serde_json::{Value, json};
use tidegate_core::{ErrorKind, Event, Offset, Scan, Source, SourceConfig};
use tidegate_mysql::MySqlConfig;
use tidegate_testkit::servers::{MariaDb, mariadb};
use tidegate_testkit::suites::{context, source_suite};

use crate::support::{Seen, config, open, plan, read, scans};

/// `n` is the number of the row, from 0, in the order of the key.
const BOARD: &str = "
CREATE DATABASE board; USE board;
CREATE TABLE pins (id VARCHAR(20) PRIMARY KEY, n INT NOT NULL, title TEXT);
CREATE TABLE places (id INT UNSIGNED PRIMARY KEY, n INT NOT NULL);
CREATE TABLE users (n INT NOT NULL, name TEXT, INDEX (n));
INSERT INTO pins SELECT LPAD(seq * 7, 8, '0'), seq, 'a pin' FROM seq_0_to_999;
INSERT INTO places SELECT seq * 3 + 5, seq FROM seq_0_to_999;
INSERT INTO users SELECT seq, 'Ann' FROM seq_0_to_499;
";

fn board(server: &MariaDb, sample: &Value, more: &Value) -> MySqlConfig {
    let mut keys = json!({ "sample": sample });
    for (key, value) in more.as_object().unwrap() {
        keys[key] = value.clone();
    }
    config(server, "board", &keys)
}

/// The rows of all rounds, with their streams and positions.
async fn rounds(source: &dyn Source, scans: &[Scan], resume: Option<&Offset>) -> Vec<Seen> {
    let plan = plan(source, scans, None).await.unwrap();
    assert_eq!(plan.new.len(), 1);
    read(source, &plan.new[0], scans, resume).await.unwrap()
}

/// What is left to compare.
fn lines(seen: &[Seen]) -> Vec<String> {
    let lines = seen.iter().flat_map(|seen| {
        let rows = seen.rows().into_iter();
        rows.map(|row| format!("{}: {row}", seen.stream))
    });
    lines.collect()
}

/// The numbers of a stream's rows.
fn numbers(seen: &[Seen], stream: &str) -> Vec<u32> {
    let of = seen.iter().filter(|seen| seen.stream == stream);
    let rows = of.flat_map(Seen::rows);
    let number = |row: String| {
        let (_, rest) = row.split_once("n=").unwrap();
        let end = rest
            .find(|c: char| !c.is_ascii_digit())
            .unwrap_or(rest.len());
        rest[..end].parse().unwrap()
    };
    rows.map(number).collect()
}

#[tokio::test]
async fn a_seed_draws_the_same_rows_and_goes_on_where_it_was() {
    let server = mariadb();
    server.sql(BOARD);
    let sample = json!({
        "every": "0s", "seed": 100, "rounds": 40, "same_row_in": ["pins", "places"],
    });
    let config = board(&server, &sample, &json!({}));
    let (source, _cx) = open(&config).await;
    assert!(source.streams().iter().all(|stream| stream.bounded));
    let all = scans(source.as_ref());
    let seen = rounds(source.as_ref(), &all, None).await;
    assert_eq!(seen.len(), 3 * 40);

    // The same row of those that belong together; one of its own of the other.
    let (pins, places, users) = (
        numbers(&seen, "pins"),
        numbers(&seen, "places"),
        numbers(&seen, "users"),
    );
    assert_eq!(pins, places);
    assert_ne!(pins, users);
    let different: BTreeSet<_> = pins.iter().collect();
    assert!(different.len() > 30, "{pins:?}");
    assert!(pins.iter().any(|row| *row >= 500));
    assert_eq!(users.len(), 40, "as many as are in it are drawn from");

    // In a later process, from every position: exactly what came after it.
    let (later, _cx) = open(&config).await;
    assert_eq!(
        lines(&rounds(later.as_ref(), &all, None).await),
        lines(&seen)
    );
    for at in (0..seen.len()).filter(|at| seen[*at].resume.is_some()) {
        let rest = rounds(later.as_ref(), &all, seen[at].resume.as_ref()).await;
        assert_eq!(lines(&rest), lines(&seen[at + 1..]));
    }

    // Whatever else is read, and of which columns, a table gives the same rows.
    let few = [
        Scan {
            columns: Some(vec!["n".to_owned()]),
            ..Scan::all("users")
        },
        Scan {
            columns: Some(vec!["n".to_owned()]),
            ..Scan::all("pins")
        },
    ];
    let part = rounds(later.as_ref(), &few, None).await;
    assert_eq!(numbers(&part, "pins"), pins);
    assert_eq!(numbers(&part, "users"), users);
    assert_eq!(lines(&part)[0].matches('=').count(), 1);

    let other = json!({ "every": "0s", "seed": 101, "rounds": 40 });
    let (other, _cx) = open(&board(&server, &other, &json!({}))).await;
    assert_ne!(
        numbers(&rounds(other.as_ref(), &all, None).await, "pins"),
        pins
    );
}

#[tokio::test]
async fn rows_are_numbered_in_the_order_of_the_key() {
    let server = mariadb();
    server.sql(BOARD);
    let sample = json!({ "every": "0s", "rows": 20, "rounds": 60 });
    let more = json!({ "table": { "places": { "where": "n >= 100 -- not the first", "columns": ["n"] } } });
    let (source, _cx) = open(&board(&server, &sample, &more)).await;
    let all = scans(source.as_ref());
    let seen = rounds(source.as_ref(), &all, None).await;
    for (stream, within) in [("pins", 0..20), ("places", 100..120), ("users", 0..20)] {
        let numbers: BTreeSet<_> = numbers(&seen, stream).into_iter().collect();
        assert!(
            numbers.iter().all(|number| within.contains(number)),
            "{stream}: {numbers:?}"
        );
        assert!(numbers.len() > 10, "{stream}: {numbers:?}");
    }
}

#[tokio::test]
async fn a_table_that_is_too_short_gives_none_in_such_rounds() {
    let server = mariadb();
    server.sql(BOARD);
    server.sql("CREATE TABLE board.empty (id INT PRIMARY KEY)");
    let sample = json!({
        "every": "0s", "rows": 1000, "rounds": 50, "same_row_in": ["pins", "users"],
    });
    let (source, _cx) = open(&board(&server, &sample, &json!({}))).await;
    let all = scans(source.as_ref());
    let seen = rounds(source.as_ref(), &all, None).await;
    let (pins, users) = (numbers(&seen, "pins"), numbers(&seen, "users"));
    assert_eq!(pins.len(), 50);
    let there: Vec<_> = pins.into_iter().filter(|number| *number < 500).collect();
    assert_eq!(users, there);
    assert!(there.len() < 50);

    // Where nothing at all is given, the position moves on.
    let empty = [Scan::all("empty")];
    let plan = plan(source.as_ref(), &empty, None).await.unwrap();
    let events = source.read(&plan.new[0], &empty, None).await.unwrap();
    let events: Vec<_> = events.map(Result::unwrap).collect().await;
    assert_eq!(events.len(), 50);
    assert!(
        events
            .iter()
            .all(|event| matches!(event, Event::Progress(_)))
    );
}

#[tokio::test]
async fn it_never_ends_and_outlives_its_connection() {
    let mut server = mariadb();
    server.sql(BOARD);
    let (source, cx) = open(&board(&server, &json!({ "every": "0s..1ms" }), &json!({}))).await;
    assert!(source.streams().iter().all(|stream| !stream.bounded));
    let all = scans(source.as_ref());
    let plan = plan(source.as_ref(), &all, None).await.unwrap();
    let mut events = source.read(&plan.new[0], &all, None).await.unwrap();
    for turn in 0..150 {
        events.next().await.unwrap().unwrap();
        if turn == 50 {
            server.restart();
        }
    }
    assert!(cx.metrics.total_retries() > 0);
    assert!(cx.metrics.total_bytes() > 0);
}

#[tokio::test]
async fn a_misspelt_table_is_refused() {
    let server = mariadb();
    server.sql(BOARD);
    let config = board(
        &server,
        &json!({ "same_row_in": ["pins", "user"] }),
        &json!({}),
    );
    let error = config.open(&context().source()).await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Config);
    assert!(error.hint_text().unwrap().contains("`users`"), "{error}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn it_conforms() {
    let server = mariadb();
    server.sql(BOARD);
    for sample in [
        json!({ "every": "0s", "rounds": 10, "same_row_in": ["pins", "users"] }),
        json!({ "every": "0s..1ms", "seed": 7 }),
    ] {
        let config = board(&server, &sample, &json!({}));
        let open = move || {
            let config = config.clone();
            async move { config.open(&context().source()).await }
        };
        let suite = source_suite(open);
        match sample.get("rounds") {
            Some(_) => suite.rows("pins", 10).rows("users", 10).check().await,
            None => suite.first_events(30).check().await,
        }
    }
}
