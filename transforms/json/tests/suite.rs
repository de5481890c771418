//! The transform keeps the contract, in every shape of its configuration.

#![allow(clippy::unwrap_used, reason = "a test that cannot go on fails")]

use std::sync::Arc;

use arrow_array::{ArrayRef, Int64Array, RecordBatch, StringArray};
use serde_json::{Value, json};
use tidegate_core::{ErrorKind, Result, Transform, TransformConfig, TransformContext};
use tidegate_testkit::suites::{TransformSuite, transform_suite};
use tidegate_transform_json::JsonConfig;

async fn open(config: Value, cx: TransformContext) -> Result<Transform> {
    let config: JsonConfig = serde_json::from_value(config)
        .map_err(|error| tidegate_core::Error::config(error.to_string()))?;
    config.open(&cx).await
}

fn pages() -> RecordBatch {
    let bodies = StringArray::from(vec![
        Some(r#"{"id": 1, "name": "a", "items": [{"id": 10}, {"id": 11}]}"#),
        Some(r#"{"id": "two"}"#),
        None,
        Some("{"),
        Some(r#"{"id": 5, "geo": {"lat": 1.5}, "items": []}"#),
    ]);
    let pages: ArrayRef = Arc::new(Int64Array::from(vec![0, 1, 2, 3, 4]));
    RecordBatch::try_from_iter([("page", pages), ("body", Arc::new(bodies) as _)]).unwrap()
}

fn suite(config: Value) -> TransformSuite {
    transform_suite(move |cx| open(config.clone(), cx))
        .input("api.raw", vec![pages(), pages().slice(1, 3)])
        .refuses("no schema", ErrorKind::Config, || async {
            let cx = tidegate_testkit::suites::context().transform(Vec::new());
            open(json!({}), cx).await.map(drop)
        })
}

#[tokio::test]
async fn a_row_for_each_document() {
    let schema = json!([
        { "name": "id", "type": "int64" },
        { "name": "name", "type": "string" },
        { "name": "geo", "type": "struct<lat:float64>" },
    ]);
    suite(json!({ "column": "body", "schema": schema }))
        .check()
        .await;
    suite(json!({ "column": "body", "schema": schema, "keep": ["page"] }))
        .check()
        .await;
}

#[tokio::test]
async fn a_row_for_each_element_of_an_array() {
    let schema = json!([{ "name": "id", "type": "int64" }]);
    suite(json!({ "column": "body", "schema": schema, "records": "/items", "keep": ["page"] }))
        .check()
        .await;
}
