//! The server's answers, as rows of the stream `<id>.answers`.

use std::sync::{Arc, LazyLock};

use arrow_array::builder::{
    BinaryBuilder, Int32Builder, StringBuilder, TimestampMicrosecondBuilder, UInt64Builder,
};
use arrow_array::{ArrayRef, RecordBatch};
use arrow_schema::{DataType, Field, Schema, SchemaRef, TimeUnit};
use http::HeaderMap;
use serde_json::{Map, Value};
use tidegate_core::{Error, Result};
use tidegate_formats::row_to_json;
use tidegate_http::Response;

use super::load::Record;

static SCHEMA: LazyLock<SchemaRef> = LazyLock::new(|| {
    let time = DataType::Timestamp(TimeUnit::Microsecond, Some("UTC".into()));
    Arc::new(Schema::new(vec![
        Field::new("time", time, false),
        Field::new("url", DataType::Utf8, false),
        Field::new("rows", DataType::UInt64, false),
        Field::new("row", DataType::Utf8, true),
        Field::new("status", DataType::Int32, false),
        Field::new("headers", DataType::Utf8, false),
        Field::new("body", DataType::Utf8, true),
        Field::new("body_bytes", DataType::Binary, true),
    ]))
});

/// Answers that are collected; one row each.
#[derive(Debug)]
pub(super) struct Answers {
    time: TimestampMicrosecondBuilder,
    url: StringBuilder,
    rows: UInt64Builder,
    row: StringBuilder,
    status: Int32Builder,
    headers: StringBuilder,
    body: StringBuilder,
    body_bytes: BinaryBuilder,
}

impl Answers {
    pub(super) fn new() -> Self {
        Self {
            time: TimestampMicrosecondBuilder::new().with_timezone("UTC"),
            url: StringBuilder::new(),
            rows: UInt64Builder::new(),
            row: StringBuilder::new(),
            status: Int32Builder::new(),
            headers: StringBuilder::new(),
            body: StringBuilder::new(),
            body_bytes: BinaryBuilder::new(),
        }
    }

    pub(super) fn schema() -> SchemaRef {
        Arc::clone(&SCHEMA)
    }

    /// Adds the answer to a request of these records.
    pub(super) fn push(&mut self, records: &[Record], answer: &Response) -> Result<()> {
        self.time.append_value(answer.fetched_at.timestamp_micros());
        self.url.append_value(answer.shown_url());
        self.rows.append_value(records.len() as u64);
        match records {
            [one] => self
                .row
                .append_value(row_to_json(&one.batch.rows, one.row)?),
            _ => self.row.append_null(),
        }
        self.status.append_value(answer.status.as_u16().into());
        self.headers.append_value(headers(&answer.headers)?);
        match simdutf8::basic::from_utf8(&answer.body) {
            Ok(text) => {
                self.body.append_value(text);
                self.body_bytes.append_null();
            }
            Err(_) => {
                self.body.append_null();
                self.body_bytes.append_value(&answer.body);
            }
        }
        Ok(())
    }

    pub(super) fn finish(mut self) -> Result<RecordBatch> {
        let columns: Vec<ArrayRef> = vec![
            Arc::new(self.time.finish()),
            Arc::new(self.url.finish()),
            Arc::new(self.rows.finish()),
            Arc::new(self.row.finish()),
            Arc::new(self.status.finish()),
            Arc::new(self.headers.finish()),
            Arc::new(self.body.finish()),
            Arc::new(self.body_bytes.finish()),
        ];
        Ok(RecordBatch::try_new(Self::schema(), columns)?)
    }
}

/// Headers as a JSON object. A header that stands there more than once has its values joined by `, `,
/// as [RFC 9110](https://www.rfc-editor.org/rfc/rfc9110#section-5.3) has it; bytes that aren't UTF-8
/// are ISO-8859-1.
fn headers(headers: &HeaderMap) -> Result<String> {
    let mut object = Map::new();
    for name in headers.keys() {
        let values = headers.get_all(name).iter().map(|value| {
            let bytes = value.as_bytes();
            match std::str::from_utf8(bytes) {
                Ok(text) => text.to_owned(),
                Err(_) => bytes.iter().map(|byte| char::from(*byte)).collect(),
            }
        });
        let values: Vec<String> = values.collect();
        object.insert(name.as_str().to_owned(), values.join(", ").into());
    }
    serde_json::to_string(&Value::Object(object))
        .map_err(|error| Error::internal("headers are no JSON").because(error))
}
