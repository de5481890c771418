//! Input files that are corrected, touched, replaced or removed after a run that failed.

use std::fs::{self, File};
use std::time::{Duration, SystemTime};

use super::support::{Site, ids_of};

fn pipeline(source: &str, more: &str) -> String {
    format!(
        r#"
        name = "corrected"
        guarantee = "exactly_once"

        [checkpoint]
        bytes = "100 KB"

        [sources.rows]
        type = "files"
        url = "in/*.csv"
        schema = [{{ name = "id", type = "int64" }}, {{ name = "v", type = "float64" }}]
        {source}

        {more}
        "#
    )
}

const TO_LINES: &str = r#"
[sinks.lines]
type = "files"
inputs = ["rows"]
url = "out"
format = "ndjson"
"#;

const COUNTED: &str = r#"
[transforms.counted]
type = "sql"
inputs = ["rows"]
query = "SELECT count(*) AS id, sum(v) AS v FROM rows"

[sinks.lines]
type = "files"
inputs = ["counted"]
url = "out"
format = "ndjson"
"#;

/// A file of these ids, the last of them with this value.
fn csv(ids: std::ops::Range<i64>, last: &str) -> String {
    let end = ids.end - 1;
    let line = |id| match id == end {
        true => format!("{id},{last}\n"),
        false => format!("{id},1\n"),
    };
    "id,v\n".to_owned() + &ids.map(line).collect::<String>()
}

#[track_caller]
fn assert_ids(site: &Site, wanted: impl Iterator<Item = i64>) {
    let (found, wanted) = (ids_of(&site.path("out")), wanted.collect::<Vec<_>>());
    assert!(
        found == wanted,
        "{} rows, but {} were wanted",
        found.len(),
        wanted.len()
    );
}

fn touch(site: &Site, name: &str) {
    let file = File::options().append(true).open(site.path(name));
    let later = SystemTime::now() + Duration::from_secs(5);
    file.expect("the file").set_modified(later).expect("a time");
}

/// A run that has failed at a bad row, before anything was committed.
fn failed(source: &str, more: &str) -> Site {
    let site = Site::with(&pipeline(source, more));
    site.write("in/a.csv", csv(0..2, "1"));
    site.write("in/b.csv", csv(2..4, "oops"));
    site.run(&[]).expect_code(1).expect_said(&["oops"]);
    assert_ids(&site, 0..0);
    site
}

#[test]
fn a_file_is_read_as_it_is_now_where_nothing_is_committed() {
    for source in ["", "incremental = true"] {
        let site = failed(source, TO_LINES);
        site.write("in/b.csv", csv(2..4, "1"));
        site.tidegate(&["check", "pipeline.toml"]).expect_done();
        site.run(&[]).expect_done();
        assert_ids(&site, 0..4);

        let site = failed(source, TO_LINES);
        site.write("in/b.new", csv(2..5, "1"));
        fs::rename(site.path("in/b.new"), site.path("in/b.csv")).expect("a new file");
        touch(&site, "in/a.csv");
        site.run(&[]).expect_done();
        assert_ids(&site, 0..5);

        let site = failed(source, TO_LINES);
        fs::remove_file(site.path("in/b.csv")).expect("the file");
        site.write("in/c.csv", csv(2..3, "1"));
        site.run(&[]).expect_done();
        assert_ids(&site, 0..3);
    }
}

#[test]
fn what_was_corrected_is_remembered_as_read() {
    let site = failed("incremental = true", TO_LINES);
    site.write("in/b.csv", csv(2..4, "1"));
    site.run(&[]).expect_done();
    site.run(&[]).expect_done();
    assert_ids(&site, 0..4);
    site.write("in/c.csv", csv(4..5, "1"));
    site.run(&[]).expect_done();
    assert_ids(&site, 0..5);
}

#[test]
fn an_aggregate_reads_all_of_it_anew() {
    let site = failed("", COUNTED);
    site.write("in/b.csv", csv(2..4, "1"));
    touch(&site, "in/a.csv");
    site.run(&[]).expect_done();
    assert_ids(&site, 4..5);
}

/// How many rows the file has of which a part is committed.
const ROWS: i64 = 400_000;

/// A run that has failed at the last row of a large file, when a part of it was committed.
fn failed_late(source: &str) -> (Site, i64) {
    let site = Site::with(&pipeline(source, TO_LINES));
    site.write("in/a.csv", csv(0..ROWS, "oops"));
    // Its reader gives what it has in pieces, so the first ones are committed by then.
    site.run(&["--workers", "1"])
        .expect_code(1)
        .expect_said(&["oops"]);
    let committed = i64::try_from(ids_of(&site.path("out")).len()).expect("it fits");
    assert!(0 < committed && committed < ROWS, "{committed}");
    assert_ids(&site, 0..committed);
    (site, committed)
}

#[test]
fn a_file_of_which_a_part_is_committed_is_what_the_user_says() {
    let told = ["of which", "a part of it was committed"];
    for source in ["", "incremental = true"] {
        let (site, committed) = failed_late(source);
        site.write("in/a.csv", csv(0..ROWS, "1234"));
        let said = [
            told[1],
            "in/a.csv",
            "committed: what stands before line",
            "--changed-input skip",
            "--restart",
        ];
        // `check` tells it, too, and neither changes anything.
        let check = ["check", "pipeline.toml"];
        site.tidegate(&check).expect_code(1).expect_said(&said);
        for _again in 0..2 {
            site.run(&[]).expect_code(1).expect_said(&said);
        }
        assert_ids(&site, 0..committed);
        // The new file is as long as the old one and the same up to there.
        site.run(&["--changed-input", "resume"]).expect_done();
        assert_ids(&site, 0..ROWS);

        let (site, committed) = failed_late(source);
        site.write("in/a.csv", csv(0..ROWS, "1"));
        site.write("in/b.csv", csv(ROWS..ROWS + 2, "1"));
        let another = "it has another size now";
        let resume = site.run(&["--changed-input", "resume"]);
        resume.expect_code(1).expect_said(&[another]);
        site.run(&["--changed-input", "skip"]).expect_done();
        assert_ids(&site, 0..committed);
        site.run(&[]).expect_done();
        // A run that remembers has the changed file behind it, and reads the new one alone.
        let again = match source.is_empty() {
            true => (0..ROWS + 2).chain(0..committed),
            false => (ROWS..ROWS + 2).chain(0..committed),
        };
        let mut again: Vec<_> = again.collect();
        again.sort_unstable();
        assert_ids(&site, again.into_iter());

        let (site, committed) = failed_late(source);
        site.write("in/a.csv", csv(0..ROWS, "1"));
        site.run(&["--changed-input", "reread"]).expect_done();
        let mut twice: Vec<_> = (0..ROWS).chain(0..committed).collect();
        twice.sort_unstable();
        assert_ids(&site, twice.into_iter());
    }
}

#[test]
fn a_file_that_is_gone_after_a_part_of_it_was_committed() {
    let (site, committed) = failed_late("");
    fs::remove_file(site.path("in/a.csv")).expect("the file");
    site.write("in/b.csv", csv(ROWS..ROWS + 2, "1"));
    site.run(&[]).expect_code(1).expect_said(&[
        "a file is gone of which only a part is committed",
        "a.csv",
        "--changed-input skip",
    ]);
    site.run(&["--changed-input", "skip"]).expect_done();
    assert_ids(&site, 0..committed);
}

#[test]
fn a_copy_with_its_old_time_is_read_on() {
    let (site, _) = failed_late("");
    let old = site.path("in/a.csv");
    let modified = fs::metadata(&old).and_then(|file| file.modified());
    let modified = modified.expect("a time");
    // As a backup puts it back: another file of the same size and time. It is right up to its last row.
    site.write("in/a.new", csv(0..ROWS, "1234"));
    let copy = File::options().append(true).open(site.path("in/a.new"));
    copy.and_then(|file| file.set_modified(modified))
        .expect("a time");
    fs::rename(site.path("in/a.new"), old).expect("the copy");
    site.run(&[]).expect_done();
    assert_ids(&site, 0..ROWS);
}
