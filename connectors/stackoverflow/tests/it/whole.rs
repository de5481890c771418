//! Reading a source as the runtime would, and its rows as JSON.

use std::collections::BTreeMap;
use std::sync::Arc;

use arrow_array::cast::AsArray;
use arrow_array::types::{Int64Type, TimestampMicrosecondType};
use arrow_array::{Array, RecordBatch, StructArray};
use arrow_schema::DataType;
use futures::StreamExt;
use serde_json::{Map, Value, json};
use tidegate_core::{Ask, Event, Rejected, Result, Rows, Scan, Source, SourceConfig};
use tidegate_stackoverflow::StackOverflowConfig;
use tidegate_testkit::suites::{TestContext, context};

/// What came of a run.
#[derive(Debug, Default)]
pub(crate) struct Read {
    /// By stream, in the order in which they came.
    pub(crate) batches: BTreeMap<String, Vec<RecordBatch>>,
    pub(crate) rejected: Rejected,
}

impl Read {
    /// The rows of a stream as JSON: NULLs left out, times in seconds since 1970.
    pub(crate) fn rows(&self, stream: &str) -> Vec<Value> {
        let batches = self.batches.get(stream).into_iter().flatten();
        let rows = batches.flat_map(|batch| {
            let rows = StructArray::from(batch.clone());
            (0..rows.len()).map(move |i| json_of(&rows, i).unwrap_or_default())
        });
        rows.collect()
    }
}

/// A configuration, for a server at `url`, that leaves nothing for a later run.
pub(crate) fn config(url: &str, keys: Value) -> StackOverflowConfig {
    let mut all = json!({ "base_url": url, "lag": "0s" });
    for (key, value) in keys.as_object().unwrap() {
        all[key] = value.clone();
    }
    let config: StackOverflowConfig = serde_json::from_value(all).unwrap();
    config.validate().unwrap();
    config
}

/// A first run that reads these streams whole.
pub(crate) async fn read(config: &StackOverflowConfig, streams: &[&str]) -> Read {
    let scans: Vec<_> = streams.iter().map(Scan::all).collect();
    read_scans(&context(), config, &scans).await.unwrap()
}

/// A first run.
pub(crate) async fn read_scans(
    cx: &TestContext,
    config: &StackOverflowConfig,
    scans: &[Scan],
) -> Result<Read> {
    let source: Arc<dyn Source> = config.open(&cx.source()).await?;
    let ask = Ask {
        scans,
        state: None,
        finished: &[],
        first: true,
    };
    let mut read = Read::default();
    for split in source.plan(&ask).await?.new {
        let mut events = source.read(&split, scans, None).await?;
        while let Some(event) = events.next().await {
            let Event::Rows { stream, rows, .. } = event? else {
                continue;
            };
            let batches = match rows {
                Rows::Batch(batch) => vec![batch],
                Rows::Encoded(encoded) => {
                    let decoded = encoded.decode()?;
                    read.rejected.extend(decoded.rejected);
                    decoded.batches
                }
            };
            let stream = read.batches.entry(stream.to_string()).or_default();
            stream.extend(batches);
        }
    }
    Ok(read)
}

/// A value as JSON; `None` for NULL.
fn json_of(column: &dyn Array, row: usize) -> Option<Value> {
    if column.is_null(row) {
        return None;
    }
    Some(match column.data_type() {
        DataType::Int64 => json!(column.as_primitive::<Int64Type>().value(row)),
        DataType::Int32 => {
            json!(
                column
                    .as_primitive::<arrow_array::types::Int32Type>()
                    .value(row)
            )
        }
        DataType::Boolean => json!(column.as_boolean().value(row)),
        DataType::Utf8 => json!(column.as_string::<i32>().value(row)),
        DataType::Binary => {
            json!(String::from_utf8_lossy(
                column.as_binary::<i32>().value(row)
            ))
        }
        DataType::Timestamp(..) => {
            let micros = column.as_primitive::<TimestampMicrosecondType>().value(row);
            json!(micros.div_euclid(1_000_000))
        }
        DataType::List(_) => {
            let items = column.as_list::<i32>().value(row);
            (0..items.len())
                .map(|i| json_of(&items, i).unwrap_or_default())
                .collect()
        }
        DataType::Struct(fields) => {
            let columns = fields.iter().zip(column.as_struct().columns());
            let members = columns
                .filter_map(|(field, column)| Some((field.name().clone(), json_of(column, row)?)));
            Value::Object(members.collect::<Map<_, _>>())
        }
        other => panic!("a column of {other}"),
    })
}
