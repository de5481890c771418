//! Transforms that are opened as a pipeline would open them.

use std::sync::Arc;

use arrow_array::RecordBatch;
use serde::de::DeserializeOwned;
use serde_json::Value;
use tidegate_core::{Error, Input, Map, Result, Transform, TransformConfig, TransformContext};
use tidegate_testkit::suites::{TransformSuite, context, render, transform_suite};

/// Opens a transform whose keys these are.
pub(crate) async fn open<C>(config: Value, cx: TransformContext) -> Result<Transform>
where
    C: TransformConfig + DeserializeOwned,
{
    let config: C =
        serde_json::from_value(config).map_err(|error| Error::config(error.to_string()))?;
    config.open(&cx).await
}

/// Inputs with the columns of these batches.
pub(crate) fn inputs(batches: &[&RecordBatch]) -> Vec<Input> {
    let names = ["shop.users", "api.users", "more"];
    let all = names.iter().zip(batches);
    all.map(|(name, batch)| Input {
        name: (*name).into(),
        schema: batch.schema(),
    })
    .collect()
}

/// Opens a map over an input with the columns of this batch.
pub(crate) async fn map<C>(config: Value, batch: &RecordBatch) -> Result<Arc<dyn Map>>
where
    C: TransformConfig + DeserializeOwned,
{
    let cx = context().transform(inputs(&[batch]));
    match open::<C>(config, cx).await? {
        Transform::Map(map) => Ok(map),
        other => panic!("{other:?}"),
    }
}

/// What a map makes of a batch: rows as text, and why others were rejected.
pub(crate) fn rows(map: &dyn Map, batch: &RecordBatch) -> (Vec<String>, Vec<String>) {
    let mapped = map.map(0, batch).unwrap();
    let rows = mapped.batches.iter().flat_map(|batch| {
        assert_eq!(batch.schema(), map.schema());
        render(batch).unwrap()
    });
    let reasons = mapped.rejected.rows.iter().map(|row| row.reason.clone());
    (rows.collect(), reasons.collect())
}

/// The text of an error and of its hint.
pub(crate) fn told<T: std::fmt::Debug>(result: Result<T>) -> String {
    let error = result.unwrap_err();
    format!("{error}; {}", error.hint_text().unwrap_or_default())
}

/// The suite for a transform with these keys.
pub(crate) fn suite<C>(config: Value, batches: Vec<RecordBatch>) -> TransformSuite
where
    C: TransformConfig + DeserializeOwned + 'static,
{
    transform_suite(move |cx| open::<C>(config.clone(), cx)).input("shop.users", batches)
}
