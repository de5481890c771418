//! The sink keeps the contract in every mode.

use std::sync::Arc;

use arrow_array::{ArrayRef, Int64Array, RecordBatch, StringArray};
use serde_json::{Value, json};
use tidegate_core::{Context, ErrorKind, Registry, Result, Sink, SinkContext};
use tidegate_testkit::suites::{SinkSuite, context, sink_suite};

use crate::support;

async fn open(config: Value, cx: SinkContext) -> Result<Arc<dyn Sink>> {
    let config = Registry::linked()?.sink("parquet", config)?;
    config.validate()?;
    config.open(&cx).await
}

/// The visible rows, with the value of the directory `kind=…` as their last column.
async fn visible(cx: Context) -> Result<Vec<RecordBatch>> {
    let root = cx.base.join("out");
    let mut batches = Vec::new();
    for name in support::visible(&root) {
        let kind = name.split('/').find_map(|part| part.strip_prefix("kind="));
        let files = support::read(&root.join(&name));
        batches.extend(files.into_iter().map(|batch| match kind {
            Some(kind) => with_kind(&batch, kind),
            None => batch,
        }));
    }
    Ok(batches)
}

fn with_kind(batch: &RecordBatch, kind: &str) -> RecordBatch {
    let kinds: StringArray = (0..batch.num_rows()).map(|_| Some(kind)).collect();
    let ids = Arc::clone(batch.column_by_name("id").unwrap());
    RecordBatch::try_from_iter([("id", ids), ("kind", Arc::new(kinds) as ArrayRef)]).unwrap()
}

fn suite(more: Value) -> SinkSuite {
    let mut config = json!({ "url": "out" });
    config
        .as_object_mut()
        .unwrap()
        .extend(more.as_object().unwrap().clone());
    sink_suite(move |cx| open(config.clone(), cx), visible).refuses(
        "a level that the compression hasn't",
        ErrorKind::Config,
        || async {
            let config = json!({ "url": "out", "compression": "zstd", "compression_level": 99 });
            open(config, context().sink(Vec::new())).await.map(drop)
        },
    )
}

/// Rows that go into two partitions, whatever their numbers.
fn partitioned(more: Value) -> SinkSuite {
    let mut config = json!({ "partition_by": ["kind"] });
    config
        .as_object_mut()
        .unwrap()
        .extend(more.as_object().unwrap().clone());
    suite(config).batches(|from, rows| {
        let ids: Vec<i64> = (from..).take(rows).collect();
        let kinds: StringArray = ids
            .iter()
            .map(|id| Some(if id % 2 == 0 { "even" } else { "odd" }))
            .collect();
        let ids: ArrayRef = Arc::new(Int64Array::from(ids));
        RecordBatch::try_from_iter([("id", ids), ("kind", Arc::new(kinds) as _)]).unwrap()
    })
}

#[tokio::test(flavor = "multi_thread")]
async fn append() {
    suite(json!({})).check().await;
    partitioned(json!({})).check().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn overwrite() {
    suite(json!({ "mode": "overwrite" })).check().await;
    partitioned(json!({ "mode": "overwrite" })).check().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn overwrite_partitions() {
    partitioned(json!({ "mode": "overwrite_partitions" }))
        .overwrites_only_touched()
        .check()
        .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn tables_of_a_catalog() {
    let table = json!({ "type": "shelf", "database": "shop", "table": "sales" });
    suite(json!({ "catalog": table })).check().await;
    for mode in ["append", "overwrite"] {
        let config = json!({ "catalog": table, "mode": mode });
        partitioned(config).check().await;
    }
    partitioned(json!({ "catalog": table, "mode": "overwrite_partitions" }))
        .overwrites_only_touched()
        .check()
        .await;
}
