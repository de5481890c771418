//! Killed at any moment and started again, a pipeline ends with exactly its input's rows; asked to
//! stop, it commits what it has read.

use std::collections::BTreeSet;
use std::fmt::Write as _;
use std::path::Path;
use std::process::{Command, Stdio};
use std::time::Duration;

use arrow_array::cast::AsArray;
use arrow_array::types::Int64Type;

use super::quickstart;
use super::support::{
    Running, Site, batches_of, hidden_files, ids_of, kill_again_and_again, until, visible_files,
};

/// How many kills must land in the middle of a run, for each pipeline.
const KILLS: u32 = 24;

fn start(site: &Site) -> Running {
    site.start(&[])
}

#[test]
fn the_quickstart_survives_any_kill() {
    let fresh = || Site::of_example("quickstart");
    kill_again_and_again(1, KILLS, fresh, start, |site, done| {
        if done {
            site.state().expect("a state").expect_finished();
            quickstart::assert_right(site);
            assert_eq!(visible_files(&site.path("out")).len(), 4);
        }
    });
}

const ROWS: usize = 2_000_000;

fn amount(id: usize) -> usize {
    id * 7919 % 1_000_003
}

fn name(id: usize) -> String {
    format!("n{}", id % 1000)
}

fn ndjson(rows: usize) -> String {
    let mut text = String::with_capacity(rows * 48);
    for id in 0..rows {
        let (amount, name) = (amount(id), name(id));
        writeln!(text, r#"{{"id":{id},"amount":{amount},"name":"{name}"}}"#).expect("a string");
    }
    text
}

/// Asserts that every row in the directory is one of the input's, whole, and there once; says how many
/// there are.
#[track_caller]
fn count_whole_rows(directory: &Path) -> usize {
    let names: Vec<String> = (0..1000).map(name).collect();
    let mut seen = vec![false; ROWS];
    for batch in batches_of(directory) {
        let column = |name| batch.column_by_name(name).expect("a column");
        let ids = column("id").as_primitive::<Int64Type>().values();
        let amounts = column("amount").as_primitive::<Int64Type>().values();
        let texts = column("name").as_string::<i32>();
        for (row, id) in ids.iter().enumerate() {
            let id = usize::try_from(*id).expect("an id of the input");
            assert!(
                !std::mem::replace(&mut seen[id], true),
                "row {id} is there twice"
            );
            assert_eq!(usize::try_from(amounts[row]), Ok(amount(id)), "row {id}");
            assert_eq!(texts.value(row), names[id % 1000], "row {id}");
        }
    }
    seen.into_iter().filter(|seen| *seen).count()
}

#[test]
fn two_million_rows_survive_any_kill() {
    let input = Site::new();
    let input_file = input.write("rows.ndjson", ndjson(ROWS));
    let pipeline = format!(
        r#"
        name = "copy"
        guarantee = "exactly_once"

        [checkpoint]
        bytes = "1 MB"

        [sources.rows]
        type = "files"
        url = "{}"
        incremental = true
        piece_size = "8 MiB"

        [sinks.lake]
        type = "parquet"
        inputs = ["rows"]
        url = "out"
        "#,
        input_file.display()
    );
    let fresh = || Site::with(&pipeline);
    kill_again_and_again(2, KILLS, fresh, start, |site, done| {
        let out = site.path("out");
        // What is visible is right at every moment, however little it is.
        let rows = count_whole_rows(&out);
        if done {
            site.state().expect("a state").expect_finished();
            assert_eq!(rows, ROWS);
            assert_eq!(
                hidden_files(&out),
                [] as [&Path; 0],
                "nothing half-written stays"
            );
        }
    });
}

/// Writes the numbers from 0 on, slowly enough to be stopped in the middle.
const SLOW: &str = r#"
    name = "slow"
    guarantee = "exactly_once"

    [checkpoint]
    interval = "50ms"

    [sources.numbers]
    type = "generate"
    rows = 6000
    rate = 2000
    batch_rows = 20
    columns = [{ name = "id", type = "sequence" }]

    [sinks.lines]
    type = "files"
    inputs = ["numbers"]
    url = "out"
"#;

#[track_caller]
fn assert_all_ids(site: &Site, rows: i64) {
    let ids = ids_of(&site.path("out"));
    assert_eq!(
        ids.iter().collect::<BTreeSet<_>>().len(),
        ids.len(),
        "some are there twice"
    );
    assert!(
        ids.iter().copied().eq(0..rows),
        "{} of {rows} rows",
        ids.len()
    );
}

fn a_stop_commits_what_was_read(signal: &str) {
    let site = Site::with(SLOW);
    let running = site.start(&["--report", "report.json"]);
    until("a first commit", || {
        (!visible_files(&site.path("out")).is_empty()).then_some(())
    });
    running.signal(signal);
    let ended = running
        .wait()
        .expect_code(4)
        .expect_said(&["stopping after a last commit"]);
    assert!(
        ended.took < Duration::from_secs(3),
        "it didn't wait for the end"
    );
    let report: serde_json::Value = serde_json::from_str(&site.read("report.json")).expect("JSON");
    assert_eq!(report["status"], "stopped");
    let first = ids_of(&site.path("out"));
    assert!(
        !first.is_empty() && first.len() < 6000,
        "{} rows",
        first.len()
    );
    assert_eq!(
        report["components"][1]["rows_in"],
        first.len(),
        "all that was taken is there"
    );
    assert_eq!(hidden_files(&site.path("out")), [] as [&Path; 0]);
    let state = site.state().expect("a state");
    assert_eq!(
        (state.finished, state.stored_epochs, state.begun),
        (false, 0, 0)
    );

    let (ended, report) = site.run_with_report(&[]);
    ended.expect_done();
    assert_eq!(report["resumed"], true);
    assert_all_ids(&site, 6000);
    site.state().expect("a state").expect_finished();
}

#[test]
fn ctrl_c_commits_what_was_read_and_the_next_run_goes_on() {
    a_stop_commits_what_was_read("INT");
}

#[test]
fn sigterm_commits_what_was_read_and_the_next_run_goes_on() {
    a_stop_commits_what_was_read("TERM");
}

#[test]
fn a_second_ctrl_c_stops_at_once() {
    // Nobody reads its output, so the last commit would take forever.
    let site = Site::with(
        r#"
        name = "stuck"

        [sources.numbers]
        type = "generate"
        columns = [{ name = "text", type = "text", length = 1000 }]

        [sinks.screen]
        type = "console"
        inputs = ["numbers"]
        format = "ndjson"
        "#,
    );
    let mut command = site.command(&["run", "pipeline.toml"]);
    command.stdout(Stdio::piped()).stderr(Stdio::piped());
    let mut child = command.spawn().expect("the program starts");
    let signal = |id: u32| {
        let kill = format!("kill -s INT {id}");
        Command::new("sh")
            .args(["-c", &kill])
            .status()
            .expect("a shell");
    };
    until("a first row", || {
        site.state().filter(|state| !state.finished).map(drop)
    });
    std::thread::sleep(Duration::from_millis(200));
    signal(child.id());
    std::thread::sleep(Duration::from_millis(200));
    assert_eq!(
        child.try_wait().expect("a child"),
        None,
        "it waits for its last commit"
    );
    signal(child.id());
    let status = until("its end", || child.try_wait().expect("a child"));
    assert_eq!(status.code(), Some(4));
}
