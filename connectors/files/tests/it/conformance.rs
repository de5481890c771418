//! The source and the sink keep the contract, in every shape of their configuration.

use std::path::Path;
use std::sync::Arc;

use serde_json::{Value, json};
use tidegate_core::{ErrorKind, Registry, Result, Sink, SinkContext, Source};
use tidegate_testkit::suites::{context, files_under, sink_suite, source_suite};

use crate::support;

async fn open(base: &Path, config: Value) -> Result<Arc<dyn Source>> {
    let config = Registry::linked()?.source("files", config)?;
    config.validate()?;
    config.open(&context().base(base).source()).await
}

/// Checks a source over `files`, which hold 600 rows together.
async fn check(files: &[(&str, Vec<u8>)], more: Value) {
    let dir = tempfile::tempdir().unwrap();
    for (name, bytes) in files {
        support::write(dir.path(), &format!("in/{name}"), bytes);
    }
    let mut config = json!({ "url": "in" });
    let more = more.as_object().cloned().unwrap_or_default();
    config.as_object_mut().unwrap().extend(more);
    let base = dir.path().to_owned();
    let nowhere = dir.path().join("nowhere");
    let incremental = config["incremental"] == true;
    let mut suite = source_suite(move || {
        let (base, config) = (base.clone(), config.clone());
        async move { open(&base, config).await }
    })
    .rows("rows", 600)
    .resumes(12)
    .same_positions()
    .refuses("no file", ErrorKind::NotFound, move || {
        let nowhere = nowhere.clone();
        async move { open(&nowhere, json!({ "url": "in/*.csv" })).await.map(drop) }
    });
    if incremental {
        suite = suite.incremental();
    }
    suite.check().await;
}

#[tokio::test]
async fn ndjson() {
    let files = [
        ("a.ndjson", support::ndjson(0..250).into_bytes()),
        ("b.ndjson", support::ndjson(250..600).into_bytes()),
    ];
    check(&files, json!({})).await;
}

#[tokio::test]
async fn ndjson_in_pieces() {
    let files = [("a.ndjson", support::ndjson(0..600).into_bytes())];
    check(&files, json!({ "piece_size": 4_000 })).await;
}

#[tokio::test]
async fn ndjson_compressed() {
    let files = [(
        "a.ndjson.gz",
        support::gzip(support::ndjson(0..600).as_bytes()),
    )];
    check(&files, json!({})).await;
}

#[tokio::test]
async fn csv() {
    let files = [
        ("a.csv", support::csv(0..300).into_bytes()),
        ("b/c.csv", support::csv(300..600).into_bytes()),
    ];
    check(&files, json!({})).await;
}

#[tokio::test]
async fn json_arrays() {
    let files = [("a.json", support::array(0..600).into_bytes())];
    check(&files, json!({})).await;
}

#[tokio::test]
async fn parquet_in_row_groups() {
    let files = [("a.parquet", support::parquet(0..600, 100))];
    check(&files, json!({ "piece_size": 1_000 })).await;
}

#[tokio::test]
async fn raw_files() {
    let names: Vec<String> = (0..600).map(|i| format!("{i:03}.bin")).collect();
    let files: Vec<_> = names
        .iter()
        .map(|name| (name.as_str(), vec![0, 255, 10]))
        .collect();
    check(&files, json!({})).await;
}

#[tokio::test]
async fn only_files_that_no_run_has_read() {
    let files = [
        ("a.ndjson", support::ndjson(0..250).into_bytes()),
        ("b.ndjson", support::ndjson(250..600).into_bytes()),
    ];
    check(&files, json!({ "incremental": true })).await;
}

async fn open_sink(config: Value, cx: SinkContext) -> Result<Arc<dyn Sink>> {
    let config = Registry::linked()?.sink("files", config)?;
    config.validate()?;
    config.open(&cx).await
}

async fn check_sink(config: Value) {
    sink_suite(
        move |cx| open_sink(config.clone(), cx),
        |cx| async move {
            let names = files_under(&cx.base)?;
            if names
                .iter()
                .all(|name| name.split('/').any(|part| part.starts_with('.')))
            {
                return Ok(Vec::new());
            }
            let schema = json!([
                { "name": "id", "type": "int64", "nullable": false },
                { "name": "name", "type": "string" },
                { "name": "amount", "type": "float64" },
            ]);
            let source = open(&cx.base, json!({ "url": "out", "schema": schema })).await?;
            let (batches, rejected) = support::read_all(&source).await?;
            assert!(rejected.is_empty(), "{:?}", rejected.rows);
            Ok(batches)
        },
    )
    .refuses("a strange format", ErrorKind::Config, || async {
        open_sink(
            json!({ "url": "out", "format": "xml" }),
            context().sink(Vec::new()),
        )
        .await
        .map(drop)
    })
    .check()
    .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn appended_files() {
    for name in ["x.ndjson", "x.csv.gz", "x.json", "x.parquet"] {
        check_sink(json!({ "url": format!("out/{name}") })).await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn files_that_replace_those_of_the_run_before() {
    for name in ["x.ndjson.zst", "{part}.csv"] {
        check_sink(json!({ "url": format!("out/{name}"), "mode": "overwrite" })).await;
    }
}
