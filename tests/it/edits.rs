//! A pipeline file that is edited between a crash and the next run.

use std::fs;
use std::path::PathBuf;

use super::support::{Site, files_under, hidden_files, ids_of, until, visible_files};

const ROWS: i64 = 3000;

/// A pipeline that is slow enough to be met in the middle of an epoch.
fn pipeline(sink: &str, query: &str, more: &str) -> String {
    format!(
        r#"
        name = "edited"
        guarantee = "exactly_once"

        [checkpoint]
        interval = "300ms"

        [sources.numbers]
        type = "generate"
        rows = {ROWS}
        rate = 2000
        batch_rows = 100
        columns = [{{ name = "id", type = "sequence" }}]

        [transforms.chosen]
        type = "sql"
        inputs = ["numbers"]
        query = "{query}"

        [sinks.{sink}]
        type = "files"
        inputs = ["chosen"]
        url = "{sink}"
        {more}
        "#
    )
}

// The rows are long: a sink begins a file only when it has a block of a megabyte for it, and the
// file must be there to be met long before its epoch ends.
const ALL: &str = "SELECT id, repeat('x', 10000) AS pad FROM numbers";
const EVEN: &str = "SELECT id, repeat('x', 10000) AS pad FROM numbers WHERE id % 2 = 0";

/// The name that a hidden file is going to have.
fn target(hidden: &std::path::Path) -> PathBuf {
    let name = hidden.file_name().expect("a name").to_str().expect("UTF-8");
    let (name, _unique) = name
        .strip_prefix('.')
        .and_then(|name| name.strip_suffix(".tidegate-tmp"))
        .and_then(|name| name.rsplit_once('.'))
        .unwrap_or_else(|| panic!("`{name}` is no staged file"));
    hidden.with_file_name(name)
}

/// Runs the pipeline until one of its epochs is stored and can't be committed: a directory stands where
/// the epoch's file should appear. Then the directory is taken away.
fn crash_between_checkpoint_and_commit(site: &Site, directory: &str) {
    let running = site.start(&[]);
    let obstacle = until("a file that is begun", || {
        let hidden = hidden_files(&site.path(directory));
        let target = target(hidden.first()?);
        fs::create_dir(&target).ok()?;
        fs::write(target.join("in the way"), "").ok()?;
        Some(target)
    });
    running
        .wait()
        .expect_code(1)
        .expect_said(&["a directory stands where a file is to appear", "hint:"]);
    let state = site.state().expect("a state");
    assert_eq!((state.finished, state.stored_epochs), (false, 1));
    assert!(state.prepared > 0);
    fs::remove_dir_all(obstacle).expect("the way is free again");
    assert!(
        !hidden_files(&site.path(directory)).is_empty(),
        "what is stored stays"
    );
}

#[track_caller]
fn assert_ids(found: &[i64], wanted: impl Iterator<Item = i64>) {
    let wanted: Vec<_> = wanted.collect();
    assert!(
        found == wanted,
        "{} rows, but {} were wanted",
        found.len(),
        wanted.len()
    );
}

#[test]
fn a_run_goes_on_after_a_commit_that_failed() {
    let site = Site::with(&pipeline("lines", ALL, ""));
    crash_between_checkpoint_and_commit(&site, "lines");
    site.run(&[]).expect_done();
    assert_ids(&ids_of(&site.path("lines")), 0..ROWS);
    assert_eq!(hidden_files(&site.path("lines")), [] as [PathBuf; 0]);
    site.state().expect("a state").expect_finished();
}

#[test]
fn the_stored_epoch_of_a_renamed_sink_still_commits() {
    let site = Site::with(&pipeline("old", ALL, ""));
    crash_between_checkpoint_and_commit(&site, "old");
    site.write("pipeline.toml", pipeline("new", ALL, ""));

    site.run(&[]).expect_code(2).expect_said(&[
        "sinks.old is gone",
        "sinks.new is new",
        "--resume-anyway",
        "--restart",
    ]);
    let first = ids_of(&site.path("old"));
    assert!(
        !first.is_empty(),
        "what was prepared is committed all the same"
    );
    assert_eq!(hidden_files(&site.path("old")), [] as [PathBuf; 0]);
    assert_eq!(files_under(&site.path("new")), [] as [PathBuf; 0]);

    site.run(&["--resume-anyway"]).expect_done();
    assert_eq!(
        ids_of(&site.path("old")),
        first,
        "the old directory is left alone"
    );
    let mut all = first;
    all.extend(ids_of(&site.path("new")));
    all.sort_unstable();
    assert_ids(&all, 0..ROWS);
    site.state().expect("a state").expect_finished();
}

#[test]
fn a_changed_query_is_refused_and_resumed_anyway() {
    let site = Site::with(&pipeline("lines", ALL, ""));
    crash_between_checkpoint_and_commit(&site, "lines");
    site.write("pipeline.toml", pipeline("lines", EVEN, ""));
    for _again in 0..2 {
        site.run(&[]).expect_code(2).expect_said(&[
            "transforms.chosen.query",
            "--resume-anyway",
            "--restart",
        ]);
    }
    let before = i64::try_from(ids_of(&site.path("lines")).len()).expect("few");
    assert_ids(&ids_of(&site.path("lines")), 0..before);
    site.run(&["--resume-anyway"]).expect_done();
    // All of them up to the crash, and every second one after it.
    let after = (before..ROWS).filter(|id| id % 2 == 0);
    assert_ids(&ids_of(&site.path("lines")), (0..before).chain(after));
    site.state().expect("a state").expect_finished();
}

#[test]
fn a_restart_begins_anew_beside_what_was_committed() {
    let site = Site::with(&pipeline("lines", ALL, ""));
    crash_between_checkpoint_and_commit(&site, "lines");
    site.write("pipeline.toml", pipeline("lines", EVEN, ""));
    site.run(&[]).expect_code(2);
    let before = ids_of(&site.path("lines"));
    site.run(&["--restart"]).expect_done();
    let mut wanted = before;
    wanted.extend((0..ROWS).filter(|id| id % 2 == 0));
    wanted.sort_unstable();
    assert_ids(&ids_of(&site.path("lines")), wanted.into_iter());
    assert_eq!(hidden_files(&site.path("lines")), [] as [PathBuf; 0]);
    site.state().expect("a state").expect_finished();
}

#[test]
fn a_restart_gives_up_what_waits_for_the_end_of_the_run() {
    let overwrite = r#"mode = "overwrite""#;
    let site = Site::with(&pipeline("lines", ALL, overwrite));
    let running = site.start(&[]);
    until("an epoch that is kept", || {
        site.state().filter(|state| state.prepared >= 2).map(drop)
    });
    running.kill().expect("it was still running");
    assert_eq!(visible_files(&site.path("lines")), [] as [PathBuf; 0]);
    site.write("pipeline.toml", pipeline("lines", EVEN, overwrite));
    site.run(&[])
        .expect_code(2)
        .expect_said(&["transforms.chosen.query"]);
    site.run(&["--restart"]).expect_done();
    assert_ids(
        &ids_of(&site.path("lines")),
        (0..ROWS).filter(|id| id % 2 == 0),
    );
    assert_eq!(hidden_files(&site.path("lines")), [] as [PathBuf; 0]);
    site.state().expect("a state").expect_finished();
}

#[test]
fn a_key_that_only_tunes_may_change() {
    let site = Site::with(&pipeline("lines", ALL, ""));
    crash_between_checkpoint_and_commit(&site, "lines");
    let tuned = pipeline("lines", ALL, r#"target_file_size = "1 KB""#)
        .replace("rate = 2000", "rate = 20000")
        .replace(r#"interval = "300ms""#, r#"interval = "5s""#);
    site.write("pipeline.toml", tuned);
    site.run(&["--workers", "3"]).expect_done();
    assert_ids(&ids_of(&site.path("lines")), 0..ROWS);
}

#[test]
fn between_runs_everything_may_change() {
    let site = Site::with(&pipeline("lines", ALL, ""));
    site.run(&[]).expect_done();
    site.write("pipeline.toml", pipeline("others", EVEN, ""));
    site.run(&[]).expect_done();
    assert_ids(&ids_of(&site.path("lines")), 0..ROWS);
    assert_ids(
        &ids_of(&site.path("others")),
        (0..ROWS).filter(|id| id % 2 == 0),
    );
}
