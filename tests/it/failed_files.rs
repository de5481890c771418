//! Files that can't be read, in whole runs: passed over, moved away, remembered, over kills.

use std::fs::{self, File};
use std::io::Write as _;
use std::path::Path;
use std::sync::Arc;
use std::time::{Duration, SystemTime};

use arrow_array::{ArrayRef, Int64Array, RecordBatch};
use flate2::Compression;
use flate2::write::GzEncoder;
use parquet::arrow::ArrowWriter;
use parquet::file::properties::WriterProperties;
use serde_json::Value;

use super::support::{Site, ids_of, kill_again_and_again, lines_of, until};

fn pipeline(source: &str, more: &str) -> String {
    format!(
        r#"
        name = "passing"
        guarantee = "exactly_once"

        [checkpoint]
        bytes = "100 KB"
        interval = "50ms"

        [sources.rows]
        type = "files"
        schema = [{{ name = "id", type = "int64" }}]
        {source}

        [sinks.lines]
        type = "files"
        inputs = ["rows"]
        url = "out"
        format = "ndjson"

        {more}
        "#
    )
}

const TOLD: &str = r#"
[sinks.failed]
type = "files"
inputs = ["rows.failed_files"]
url = "failed"
format = "ndjson"
"#;

fn csv(ids: std::ops::Range<i64>) -> String {
    "id\n".to_owned() + &ids.map(|id| format!("{id}\n")).collect::<String>()
}

fn gzip(text: &str) -> Vec<u8> {
    let mut gzip = GzEncoder::new(Vec::new(), Compression::fast());
    gzip.write_all(text.as_bytes()).expect("memory");
    gzip.finish().expect("memory")
}

/// A file that ends in the middle of what it compresses.
fn truncated(ids: std::ops::Range<i64>) -> Vec<u8> {
    let mut bytes = gzip(&csv(ids));
    bytes.truncate(bytes.len() * 3 / 4);
    bytes
}

/// So that a watch takes it at once.
fn age(path: &Path, seconds: u64) {
    let file = File::options().append(true).open(path).expect("the file");
    let then = SystemTime::now() - Duration::from_secs(seconds);
    file.set_modified(then).expect("a time");
}

fn arrive(site: &Site, name: &str, bytes: impl AsRef<[u8]>, seconds: u64) {
    let hidden = site.write(&format!("in/.{name}"), bytes);
    age(&hidden, seconds);
    fs::rename(hidden, site.path(format!("in/{name}"))).expect("a rename");
}

#[track_caller]
fn assert_ids(site: &Site, wanted: impl IntoIterator<Item = i64>) {
    let wanted: Vec<_> = wanted.into_iter().collect();
    let found = ids_of(&site.path("out"));
    assert!(
        found == wanted,
        "{} rows, but {} were wanted",
        found.len(),
        wanted.len()
    );
}

fn sources(report: &Value) -> &Value {
    let components = report["components"].as_array().expect("components");
    let source = components.iter().find(|one| one["id"] == "rows");
    source.expect("the source")
}

#[test]
fn a_file_that_cant_be_read_ends_the_run_and_the_error_names_the_way_out() {
    let site = Site::with(&pipeline("url = \"in/*\"", ""));
    site.write("in/a.csv.gz", gzip(&csv(0..10)));
    site.write("in/b.csv.gz", truncated(10..20_000));
    let said = ["in/b.csv.gz", "on_file_error"];
    site.run(&[]).expect_code(1).expect_said(&said);
    // A stream that isn't there is told with what makes it.
    site.write("pipeline.toml", pipeline("url = \"in/*\"", TOLD));
    site.tidegate(&["check", "pipeline.toml"])
        .expect_code(1)
        .expect_said(&["no stream `failed_files`", "on_file_error"]);
    // The same run goes on when it may pass the file over.
    site.write(
        "pipeline.toml",
        pipeline("url = \"in/*\"\non_file_error = \"skip\"", ""),
    );
    site.run(&[]).expect_done();
    assert_eq!(
        ids_of(&site.path("out"))[..10],
        [0, 1, 2, 3, 4, 5, 6, 7, 8, 9]
    );
}

#[test]
fn a_run_passes_over_files_and_says_so_everywhere() {
    let site = Site::with(&pipeline("url = \"in\"\non_file_error = \"skip\"", TOLD));
    site.write("in/a.csv", csv(0..10));
    site.write("in/b.csv.gz", truncated(10..2_000));
    site.write("in/c.csv", "ident\n7\n");
    site.write("in/d.csv", csv(10..20));
    site.write("in/README", "no rows");
    for _again in 0..2 {
        let _ = fs::remove_dir_all(site.path("out"));
        let _ = fs::remove_dir_all(site.path("failed"));
        let (ended, report) = site.run_with_report(&[]);
        ended.expect_done().expect_said(&[
            "a file can't be read, and is passed over",
            "`rows`: 3 files can't be read and were passed over:",
            "b.csv.gz: ",
            "truncated",
            "none of its rows is committed",
        ]);
        assert_ids(&site, 0..20);
        let source = sources(&report);
        assert_eq!(source["failed"], 3);
        let listed = source["failed_files"].as_array().expect("a list");
        let mut names: Vec<_> = listed
            .iter()
            .map(|file| {
                assert_eq!(file["rows_committed"], 0, "{file}");
                let path = file["path"].as_str().expect("a path");
                path.rsplit('/').next().expect("a name").to_owned()
            })
            .collect();
        names.sort();
        assert_eq!(names, ["README", "b.csv.gz", "c.csv"]);
        let told = lines_of(&site.path("failed"));
        assert_eq!(told.len(), 3);
        let header = told.iter().find(|file| {
            let path = file["path"].as_str().expect("a path");
            path.ends_with("in/c.csv")
        });
        let header = header.expect("the file with another header");
        assert!(
            header["error"].as_str().expect("why").contains("`id`"),
            "{header}"
        );
        assert_eq!(
            (&header["size"], &header["rows_committed"]),
            (&8.into(), &0.into())
        );
    }
}

#[test]
fn a_watched_directory_outlives_bad_files_and_reads_the_ones_that_replace_them() {
    let source = "url = \"in/*\"\nwatch = true\npoll = \"20ms\"\n\
                  on_file_error = \"quarantine\"\nquarantine = \"bad\"";
    let site = Site::with(&pipeline(source, TOLD));
    arrive(&site, "a.csv", csv(0..10), 90);
    let running = site.start(&[]);
    let ids = |wanted: i64| {
        let is = || ids_of(&site.path("out")).len() == usize::try_from(wanted).expect("it fits");
        until("rows", || is().then_some(()));
    };
    ids(10);
    arrive(&site, "b.csv.gz", truncated(10..2_000), 80);
    arrive(&site, "c.csv", csv(10..20), 80);
    ids(20);
    until("the bad file to be moved", || {
        site.path("bad/b.csv.gz").exists().then_some(())
    });
    // Also when it is started again.
    running.signal("TERM");
    running.wait().expect_code(4);
    arrive(&site, "d.csv.gz", b"no gzip", 70);
    let running = site.start(&["--report", "report.json"]);
    until("the next one to be moved", || {
        site.path("bad/d.csv.gz").exists().then_some(())
    });
    arrive(&site, "b.csv.gz", gzip(&csv(20..30)), 60);
    ids(30);
    running.signal("TERM");
    running.wait().expect_code(4).expect_said(&["bad/d.csv.gz"]);
    assert_ids(&site, 0..30);
    let report: Value = serde_json::from_str(&site.read("report.json")).expect("JSON");
    let listed = &sources(&report)["failed_files"];
    assert_eq!(listed.as_array().expect("a list").len(), 1);
    let moved = listed[0]["moved_to"].as_str().expect("a path");
    assert!(moved.ends_with("bad/d.csv.gz"), "{moved}");
    assert_eq!(lines_of(&site.path("failed")).len(), 2);
}

#[test]
fn a_bad_file_is_not_tried_again_by_later_runs_until_it_changes() {
    let source = "url = \"in/*\"\nincremental = true\non_file_error = \"skip\"";
    let site = Site::with(&pipeline(source, TOLD));
    arrive(&site, "a.csv.gz", gzip(&csv(0..10)), 90);
    arrive(&site, "b.csv.gz", truncated(10..2_000), 90);
    let (ended, report) = site.run_with_report(&[]);
    ended.expect_done();
    assert_eq!(sources(&report)["failed"], 1);
    let (ended, report) = site.run_with_report(&[]);
    ended.expect_done();
    assert_eq!(sources(&report)["failed"], 0);
    arrive(&site, "b.csv.gz", gzip(&csv(10..20)), 60);
    site.run(&[]).expect_done();
    assert_ids(&site, 0..20);
    assert_eq!(lines_of(&site.path("failed")).len(), 1);
}

const ROWS: i64 = 300_000;

#[test]
fn a_file_of_which_a_part_is_committed_keeps_that_part_and_says_how_much_over_kills() {
    let source = "url = \"in/*\"\nincremental = true\n\
                  on_file_error = \"quarantine\"\nquarantine = \"bad\"";
    let pipeline = pipeline(source, TOLD);
    let fresh = || {
        let site = Site::with(&pipeline);
        site.write("in/a.csv.gz", truncated(0..ROWS));
        site.write("in/b.csv", csv(ROWS..ROWS + 1_000));
        site
    };
    let start = |site: &Site| site.start(&[]);
    kill_again_and_again(11, 12, fresh, start, |site, done| {
        let ids = ids_of(&site.path("out"));
        assert!(
            ids.windows(2).all(|pair| pair[0] < pair[1]),
            "some are there twice"
        );
        let told = lines_of(&site.path("failed"));
        let first = ids.iter().filter(|id| **id < ROWS).count();
        assert!(
            ids[..first]
                .iter()
                .copied()
                .eq(0..i64::try_from(first).expect("it fits"))
        );
        if let [told] = told.as_slice() {
            assert_eq!(
                told["rows_committed"], first,
                "what is told is what is there"
            );
        }
        if done {
            site.state().expect("a state").expect_finished();
            assert_eq!(told.len(), 1);
            assert!(0 < first && first < 300_000, "{first}");
            assert_eq!(ids.len() - first, 1_000);
            assert!(!site.path("in/a.csv.gz").exists());
            assert!(site.path("bad/a.csv.gz").exists());
        }
    });
}

/// Parquet whose second row group of 10,000 can't be decoded.
fn damaged(ids: std::ops::Range<i64>) -> Vec<u8> {
    let ids: ArrayRef = Arc::new(Int64Array::from_iter_values(ids));
    let batch = RecordBatch::try_from_iter([("id", ids)]).expect("a batch");
    let properties = WriterProperties::builder()
        .set_max_row_group_row_count(Some(10_000))
        .set_dictionary_enabled(false)
        .build();
    let mut writer =
        ArrowWriter::try_new(Vec::new(), batch.schema(), Some(properties)).expect("a writer");
    writer.write(&batch).expect("rows");
    let written = writer.finish().expect("a file");
    let (from, _) = written.row_group(1).column(0).byte_range();
    let mut bytes = std::mem::take(writer.inner_mut());
    // The header of its first page.
    let from = usize::try_from(from).expect("it fits");
    bytes[from..from + 16].fill(0xff);
    bytes
}

#[test]
fn rows_that_only_a_worker_finds_to_be_damaged() {
    let site = Site::with(&pipeline(
        "url = \"in/*.parquet\"\non_file_error = \"skip\"",
        TOLD,
    ));
    site.write("in/a.parquet", damaged(0..30_000));
    site.write("in/b.parquet", damaged(30_000..60_000));
    let (ended, report) = site.run_with_report(&[]);
    ended.expect_done();
    assert_eq!(sources(&report)["failed"], 2);
    assert_eq!(report["restarts"], 1, "{report}");
    assert_ids(&site, (0..10_000).chain(30_000..40_000));
    for told in lines_of(&site.path("failed")) {
        assert_eq!(told["rows_committed"], 10_000, "{told}");
    }
}

#[test]
fn an_aggregate_is_made_of_what_can_be_read() {
    let query = r#"
        [transforms.counted]
        type = "sql"
        inputs = ["rows"]
        query = "SELECT count(*) AS id FROM rows"

        [sinks.counts]
        type = "files"
        inputs = ["counted"]
        url = "counts"
        format = "ndjson"
    "#;
    let source = "url = \"in/*\"\non_file_error = \"quarantine\"\nquarantine = \"bad\"";
    let site = Site::with(&pipeline(source, query));
    site.write("in/a.csv.gz", gzip(&csv(0..10)));
    site.write("in/b.csv.gz", truncated(10..2_000));
    let (ended, report) = site.run_with_report(&[]);
    ended.expect_done();
    assert_eq!(sources(&report)["failed"], 1);
    assert_eq!(ids_of(&site.path("counts")), [10]);
    assert!(site.path("bad/b.csv.gz").exists());
}

#[test]
fn the_only_file_is_gone_when_a_part_of_it_was_committed() {
    let late = |more: &str| {
        let site = Site::with(&pipeline(&format!("url = \"in/*\"\n{more}"), ""));
        let mut text = csv(0..400_000);
        text.push_str("oops\n");
        site.write("in/a.csv", text);
        site.run(&["--workers", "1"])
            .expect_code(1)
            .expect_said(&["oops"]);
        let committed = i64::try_from(ids_of(&site.path("out")).len()).expect("it fits");
        assert!(0 < committed && committed < 400_000, "{committed}");
        fs::remove_file(site.path("in/a.csv")).expect("the file");
        (site, committed)
    };
    let (site, committed) = late("incremental = true");
    let gone = "a file is gone of which only a part is committed";
    site.run(&[])
        .expect_code(1)
        .expect_said(&[gone, "--changed-input skip"]);
    site.run(&["--changed-input", "skip"]).expect_done();
    assert_ids(&site, 0..committed);
    // A run that begins misses the files.
    site.run(&[])
        .expect_code(1)
        .expect_said(&["no file matches"]);
    site.write("in/b.csv", csv(400_000..400_010));
    site.run(&[]).expect_done();
    assert_ids(&site, (0..committed).chain(400_000..400_010));

    let (site, committed) = late("watch = true\npoll = \"20ms\"");
    let running = site.start(&["--changed-input", "skip"]);
    site.write("in/b.csv", csv(400_000..400_010));
    until("the next file", || {
        let all = ids_of(&site.path("out")).len();
        (i64::try_from(all) == Ok(committed + 10)).then_some(())
    });
    running.signal("TERM");
    running.wait().expect_code(4);
    assert_ids(&site, (0..committed).chain(400_000..400_010));
}
