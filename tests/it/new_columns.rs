//! Columns that only later records have, in whole pipelines.

use serde_json::{Value, json};

use super::support::{Site, lines_of};

/// More than is looked at, and then records with other columns.
fn long() -> String {
    let padding = "x".repeat(100);
    let line = |id: i64| format!("{{\"id\":{id},\"note\":\"{padding}\"}}\n");
    let last = "{\"id\":-1,\"tip\":7}\n{\"id\":-2,\"tip\":null,\"at\":{\"floor\":1}}\n";
    (0..30_000).map(line).collect::<String>() + last
}

fn pipeline(more: &str) -> String {
    format!(
        r#"
        name = "p"
        {more}

        [sinks.out]
        type = "files"
        inputs = ["in"]
        url = "out/rows.ndjson"
        "#
    )
}

fn source(policy: &str) -> String {
    pipeline(&format!(
        r#"
        [sources.in]
        type = "files"
        url = "a.ndjson"
        on_new_columns = "{policy}"
        "#
    ))
}

fn last(site: &Site) -> Vec<Value> {
    let mut rows = lines_of(&site.path("out"));
    rows.retain(|row| row["id"].as_i64().is_some_and(|id| id < 0));
    rows.sort_by_key(|row| -row["id"].as_i64().unwrap_or_default());
    rows
}

#[test]
fn a6_ignored_columns_are_warned_of_and_reported() {
    let site = Site::with(&source("ignore"));
    site.write("a.ndjson", long());
    let (ended, report) = site.run_with_report(&[]);
    let ended = ended.expect_done();
    for part in ["`tip`", "`at`", "a.ndjson", "30001", "left out"] {
        assert!(ended.stderr.contains(part), "{part}: {}", ended.stderr);
    }
    let read = &report["components"][0];
    assert_eq!(read["ignored"], 2);
    let columns = read["ignored_columns"].as_array().expect("columns");
    let told: Vec<_> = columns
        .iter()
        .map(|column| (&column["name"], &column["values"], &column["line"]))
        .collect();
    let (tip, at) = (json!("tip"), json!("at"));
    let wanted = [
        (&tip, &json!(1), &json!(30_001)),
        (&at, &json!(1), &json!(30_002)),
    ];
    assert_eq!(told, wanted);
    assert!(last(&site)[0].get("tip").is_none());
}

#[test]
fn a6_added_columns_are_there_in_the_same_run_and_the_next() {
    let site = Site::with(&source("add"));
    site.write("a.ndjson", long());
    for rows in [30_002, 60_004] {
        site.run(&[]).expect_done();
        assert_eq!(lines_of(&site.path("out")).len(), rows);
    }
    for row in last(&site) {
        let wanted = match row["id"].as_i64() {
            Some(-1) => json!({"id": -1, "note": null, "tip": 7, "at": null}),
            _ => json!({"id": -2, "note": null, "tip": null, "at": {"floor": 1}}),
        };
        assert_eq!(row, wanted);
    }
}

#[test]
fn a6_columns_are_not_added_where_schemas_may_not_change() {
    let text = source("add").replace("name = \"p\"", "name = \"p\"\non_schema_change = \"fail\"");
    let site = Site::with(&text);
    site.write("a.ndjson", long());
    site.run(&[])
        .expect_code(1)
        .expect_said(&["`tip`", "on_schema_change"]);
}

#[test]
fn a6_documents_of_the_json_transform_tell_too() {
    let site = Site::with(&pipeline(
        r#"
        [sources.raw]
        type = "files"
        url = "docs/*.txt"
        format = "raw"

        [transforms.in]
        type = "json"
        inputs = ["raw"]
        sample = "sample.json"
        "#,
    ));
    site.write("sample.json", r#"{"id":1}"#);
    site.write("docs/a.txt", r#"{"id":-1,"tip":7}"#);
    let (ended, report) = site.run_with_report(&[]);
    let ended = ended.expect_done();
    assert!(ended.stderr.contains("`tip`"), "{}", ended.stderr);
    let read = &report["components"][1];
    assert_eq!((&read["ignored"], &read["id"]), (&json!(1), &json!("in")));
}
