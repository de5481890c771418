//! The source keeps the contract, in every shape of its configuration.

#![allow(clippy::unwrap_used, clippy::expect_used, reason = "a test may panic")]

use serde_json::{Value, json};
use tidegate_core::{ErrorKind, Source, SourceConfig};
use tidegate_generate::GenerateConfig;
use tidegate_testkit::suites::{SourceSuite, context, source_suite};

fn table(mut more: Value) -> Value {
    let columns = json!([
        { "name": "id", "type": "sequence", "start": 10, "step": 3 },
        { "name": "n", "type": "int", "nulls": 0.2, "min": -5, "max": 5 },
        { "name": "f", "type": "float", "min": -1.0, "max": 2.0 },
        { "name": "d", "type": "decimal", "precision": 9, "scale": 2, "min": 1, "max": 99 },
        { "name": "b", "type": "bool", "nulls": 0.5 },
        { "name": "t", "type": "text", "length": 15 },
        { "name": "c", "type": "choice", "values": ["red", "green"] },
        { "name": "u", "type": "uuid" },
        { "name": "day", "type": "date", "start": "2023-12-30", "end": "2024-01-02" },
        { "name": "at", "type": "timestamp", "start": "2024-01-01T00:00:00Z", "step": "1s" },
        { "name": "when", "type": "timestamp", "start": "2024-01-01T00:00:00Z",
          "end": "2024-02-01T00:00:00Z" },
    ]);
    more["columns"] = more.get("columns").cloned().unwrap_or(columns);
    more
}

async fn open(table: Value) -> tidegate_core::Result<std::sync::Arc<dyn Source>> {
    let config: GenerateConfig = serde_json::from_value(table).unwrap();
    config.open(&context().source()).await
}

fn suite(more: Value) -> SourceSuite {
    let table = table(more);
    source_suite(move || open(table.clone())).same_positions()
}

#[tokio::test]
async fn with_an_end() {
    suite(json!({ "rows": 1003, "batch_rows": 10 }))
        .rows("rows", 1003)
        .resumes(8)
        .refuses("no columns", ErrorKind::Config, || async {
            open(json!({ "columns": [] })).await.map(drop)
        })
        .refuses(
            "a range that ends before it begins",
            ErrorKind::Config,
            || async {
                let column = json!([{ "name": "n", "type": "int", "min": 2, "max": 1 }]);
                open(json!({ "columns": column })).await.map(drop)
            },
        )
        .check()
        .await;
}

#[tokio::test]
async fn without_rows() {
    suite(json!({ "rows": 0 })).rows("rows", 0).check().await;
}

#[tokio::test]
async fn without_an_end() {
    suite(json!({ "batch_rows": 7 }))
        .first_events(9)
        .check()
        .await;
}

#[tokio::test]
async fn at_a_rate() {
    suite(json!({ "rows": 50, "rate": 5000 }))
        .rows("rows", 50)
        .resumes(4)
        .check()
        .await;
}
