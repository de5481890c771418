//! Killed at any moment and started again, a pipeline from MySQL ends with exactly the table's rows:
//! keyed tables go on in the middle, what can't is read again.

use tidegate_testkit::servers::{MariaDb, mariadb};

use super::mysql::{count_numbers, make_numbers, to_parquet};
use super::support::{Running, Site, hidden_files, kill_again_and_again, until, visible_files};

const ROWS: usize = 300_000;

/// How many kills land at any moment, for each way of reading.
const KILLS: u32 = 12;

/// Many small epochs.
const OFTEN: &str = "bytes = \"1 MB\"";

fn start(site: &Site) -> Running {
    site.start(&[])
}

fn survives_any_kill(seed: u64, server: &MariaDb, keys: &str) {
    let pipeline = to_parquet(server, "numbers", OFTEN, keys);
    kill_again_and_again(
        seed,
        KILLS,
        || Site::with(&pipeline),
        start,
        |site, done| {
            let rows = count_numbers(site);
            if done {
                site.state().expect("a state").expect_finished();
                assert_eq!(rows, ROWS);
                assert!(
                    hidden_files(&site.path("out")).is_empty(),
                    "something half-written stays"
                );
            }
        },
    );
}

/// Kills a run as soon as `ready`, and says what the next one reports.
fn killed_when(site: &Site, ready: impl Fn(&Site) -> bool) -> serde_json::Value {
    let running = start(site);
    until("the moment", || ready(site).then_some(()));
    assert!(running.kill().is_some(), "the run was over too soon");
    let (ended, report) = site.run_with_report(&[]);
    ended.expect_done();
    report
}

#[test]
fn a_keyed_table_is_read_on_in_the_middle() {
    let server = mariadb();
    make_numbers(&server, ROWS, "PRIMARY KEY", 5);
    let site = Site::with(&to_parquet(&server, "numbers", OFTEN, ""));
    let report = killed_when(&site, |site| !visible_files(&site.path("out")).is_empty());
    assert_eq!(report["resumed"], true);
    assert_eq!(count_numbers(&site), ROWS);
    let read = report["components"][0]["rows_out"].as_u64().expect("rows");
    assert!(
        (1..ROWS as u64).contains(&read),
        "the second run read {read} rows"
    );
    survives_any_kill(11, &server, "");
}

#[test]
fn a_consistent_snapshot_starts_over() {
    let server = mariadb();
    make_numbers(&server, ROWS, "PRIMARY KEY", 5);
    let keys = "snapshot = \"consistent\"";
    let site = Site::with(&to_parquet(&server, "numbers", OFTEN, keys));
    // What is begun is hidden; nothing may be visible before the end.
    let report = killed_when(&site, |site| !hidden_files(&site.path("out")).is_empty());
    assert_eq!(
        report["components"][0]["rows_out"].as_u64(),
        Some(ROWS as u64)
    );
    assert_eq!(count_numbers(&site), ROWS);
    survives_any_kill(12, &server, keys);
}

#[test]
fn a_table_without_a_key_starts_over() {
    let server = mariadb();
    make_numbers(&server, ROWS, "", 5);
    let site = Site::with(&to_parquet(&server, "numbers", OFTEN, ""));
    let report = killed_when(&site, |site| !hidden_files(&site.path("out")).is_empty());
    assert_eq!(
        report["components"][0]["rows_out"].as_u64(),
        Some(ROWS as u64)
    );
    assert_eq!(count_numbers(&site), ROWS);
    survives_any_kill(13, &server, "");
}
