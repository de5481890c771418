//! A tenth of all requests to S3 and to the catalog goes wrong, and nobody but the report notices.

use std::fmt::Write as _;

use serde_json::{Value, json};
use tidegate_testkit::servers::{Fault, Faults, Proxy, Request};

use super::lake::{BUCKET, Lake};
use super::support::{Site, rows_of, until};

const ROWS: usize = 60_000;
/// So many that a run of few epochs makes enough requests.
const PARTITIONS: usize = 120;

fn retries(report: &Value) -> u64 {
    let components = report["components"].as_array().expect("components");
    let retries = components.iter().map(|one| one["retries"].as_u64());
    retries.map(|one| one.expect("a number")).sum()
}

/// Ids from 0 on, in all partitions.
fn input() -> String {
    let mut text = String::new();
    for id in 0..ROWS {
        let part = id % PARTITIONS;
        writeln!(text, r#"{{"id":{id},"name":"n{id}","part":{part}}}"#).expect("a string");
    }
    text
}

#[test]
fn a_run_ends_right_while_every_tenth_request_fails() {
    let lake = Lake::new();
    let s3 = Proxy::before(&lake.s3.url());
    let glue = Proxy::before(&lake.glue.url());
    s3.fail(Faults::some(0.1, 11));
    let to_glue = [
        Fault::InternalError,
        Fault::ResetBefore,
        Fault::ResetAfter,
        Fault::Cut,
    ];
    glue.fail(Faults::some(0.1, 12).of(&to_glue));
    let aws = lake
        .environment()
        .with("AWS_ENDPOINT_URL_S3", &s3.url())
        .with("AWS_ENDPOINT_URL_GLUE", &glue.url());

    let site = Site::with(&format!(
        r#"
        name = "out"
        guarantee = "exactly_once"

        [checkpoint]
        bytes = "256 kB"

        [sources.rows]
        type = "files"
        url = "rows.ndjson"
        piece_size = "128 KiB"

        [sinks.lake]
        type = "parquet"
        inputs = ["rows"]
        url = "s3://{BUCKET}/rows"
        partition_by = ["part"]
        catalog = {{ type = "glue", database = "lake", table = "rows" }}
        "#
    ));
    site.write("rows.ndjson", input());
    let (ended, report) = aws.run_with_report(&site);
    ended.expect_done();
    assert_eq!(report["status"], "completed");
    let failures = s3.failures() + glue.failures();
    assert!(failures > 10, "only {failures} requests failed");
    assert!(retries(&report) > 0, "{report}");
    assert_eq!(lake.glue.glue_partitions("lake", "rows").len(), PARTITIONS);
    assert_eq!(lake.s3.uploads(BUCKET), [], "no upload is left open");

    // Back, through the same proxies.
    let failed_before = s3.failures();
    let back = Site::with(
        r#"
        name = "back"
        guarantee = "exactly_once"

        [sources.rows]
        type = "table"
        catalog = { type = "glue", database = "lake", table = "rows" }

        [sinks.local]
        type = "parquet"
        inputs = ["rows"]
        url = "out"
        "#,
    );
    let (ended, report) = aws.run_with_report(&back);
    ended.expect_done();
    let failed = s3.failures() - failed_before;
    assert!(failed > 0, "no request failed on the way back");
    assert!(retries(&report) > 0, "{report}");
    let mut rows = rows_of(&back.path("out"));
    rows.sort_by_key(|row| row["id"].as_u64());
    assert_eq!(rows.len(), ROWS);
    for (id, row) in rows.iter().enumerate() {
        let part = id % PARTITIONS;
        assert_eq!(
            *row,
            json!({ "id": id, "name": format!("n{id}"), "part": part })
        );
    }

    // And by a query.
    let settings = "[catalog]\ntype = \"glue\"\n";
    back.write("tidegate.toml", settings);
    let rows = aws.query(&back, "SELECT count(*) AS n, sum(id) AS ids FROM lake.rows");
    assert_eq!(rows, [json!({ "n": ROWS, "ids": ROWS * (ROWS - 1) / 2 })]);
}

#[test]
fn a_server_that_is_overloaded_for_a_while_only_slows_a_run() {
    let lake = Lake::new();
    let s3 = Proxy::before(&lake.s3.url());
    // Everything but what lists and looks.
    let writes = |request: &Request| request.method != "GET" && request.method != "HEAD";
    s3.fail(Faults::some(1.0, 3).of(&[Fault::SlowDown]).only(writes));
    let aws = lake.environment().with("AWS_ENDPOINT_URL_S3", &s3.url());
    let site = Site::with(&format!(
        r#"
        name = "slow"

        [sources.rows]
        type = "files"
        url = "rows.ndjson"

        [sinks.lake]
        type = "parquet"
        inputs = ["rows"]
        url = "s3://{BUCKET}/rows"
        "#
    ));
    site.write("rows.ndjson", "{\"id\":1}\n");
    let args = ["run", "pipeline.toml", "--report", "report.json"];
    let running = site.spawn(aws.command(&site, &args));
    until("three refusals", || (s3.failures() >= 3).then_some(()));
    assert_eq!(lake.s3.objects(BUCKET, ""), []);
    s3.calm();
    running.wait().expect_done();
    let report = serde_json::from_str(&site.read("report.json")).expect("JSON");
    assert!(retries(&report) >= 3, "{report}");
    assert_eq!(lake.s3.objects(BUCKET, "rows/").len(), 1);
    assert_eq!(lake.s3.uploads(BUCKET), []);
}
