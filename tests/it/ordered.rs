//! `ORDER BY` holds for what a sink writes.

use std::fs;

use crate::support::{Site, batches_in, files_under, ids_of_batches};

const ROWS: u64 = 400_000;

/// A pipeline that writes rows by falling numbers, also by way of another query, and with `sink`'s
/// settings.
fn pipeline(sink: &str) -> String {
    format!(
        r#"
name = "ordered"

[sources.numbers]
type = "generate"
rows = {ROWS}
columns = [{{ name = "id", type = "sequence" }}]

[transforms.falling]
type = "sql"
inputs = ["numbers"]
query = "SELECT id, id % 3 AS part FROM numbers ORDER BY id DESC"

[transforms.odd]
type = "sql"
inputs = ["falling"]
query = "SELECT id, part FROM falling WHERE id % 2 = 1"

[sinks.out]
inputs = ["odd"]
url = "out/"
{sink}
"#
    )
}

fn numbers(text: &str) -> Vec<u64> {
    let lines = text.lines().skip(1);
    let number = |line: &str| line.split(',').next().unwrap_or_default().parse();
    lines.map(|line| number(line).expect("a number")).collect()
}

#[test]
fn a_file_has_the_rows_in_order() {
    for workers in ["1", "4"] {
        let site = Site::with(&pipeline("type = \"files\"\nformat = \"csv\""));
        let ended = site.tidegate(&["plan", "pipeline.toml"]);
        let plan = ended.expect_done().stdout;
        assert!(plan.contains("odd (in order)"), "{plan}");
        let ended = site.tidegate(&["run", "pipeline.toml", "--workers", workers]);
        ended.expect_done();
        let files = files_under(&site.path("out"));
        assert_eq!(files.len(), 1, "{files:?}");
        let found = numbers(&fs::read_to_string(&files[0]).expect("the file"));
        assert_eq!(found.len() as u64, ROWS / 2);
        assert!(found.is_sorted_by(|one, next| one > next), "{workers}");
    }
}

#[test]
fn each_partition_has_its_rows_in_order() {
    let sink = "type = \"parquet\"\npartition_by = [\"part\"]";
    let site = Site::with(&pipeline(sink));
    site.run(&["--workers", "4"]).expect_done();
    let files = files_under(&site.path("out"));
    assert_eq!(files.len(), 3, "{files:?}");
    let mut rows = 0;
    for file in files {
        let found = ids_of_batches(&batches_in(&file));
        rows += found.len() as u64;
        assert!(found.is_sorted_by(|one, next| one > next), "{file:?}");
    }
    assert_eq!(rows, ROWS / 2);
}

#[test]
fn parquet_has_the_rows_in_order() {
    let site = Site::with(&pipeline("type = \"parquet\""));
    site.run(&["--workers", "4"]).expect_done();
    let files = files_under(&site.path("out"));
    assert_eq!(files.len(), 1, "{files:?}");
    let ids = ids_of_batches(&batches_in(&files[0]));
    assert_eq!(ids.len() as u64, ROWS / 2);
    assert!(ids.is_sorted_by(|one, next| one > next));
}
