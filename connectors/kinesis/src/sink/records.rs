//! Rows as records.

use std::sync::Arc;

use arrow_array::RecordBatch;
use arrow_schema::SchemaRef;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use tidegate_core::{Error, Origin, Rejected, Result};
use tidegate_formats::{CsvOptions, Encoder, Format, row_to_json};

use super::key::KeyTemplate;

/// What a record holds.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum RecordFormat {
    /// The row as a JSON object, without a newline after it. Times are RFC 3339, bytes base64.
    #[default]
    Json,
    /// The only column of bytes or text, or the one named `payload`, `body` or `data`, byte for byte.
    Raw,
}

impl RecordFormat {
    fn format(self) -> Format {
        match self {
            Self::Json => Format::Ndjson,
            Self::Raw => Format::Raw,
        }
    }
}

/// A record on its way.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Record {
    pub(super) key: Option<String>,
    pub(super) data: Vec<u8>,
}

impl Record {
    /// The key, where there is one.
    pub(super) fn key(&self) -> &str {
        self.key.as_deref().unwrap_or_default()
    }

    /// The bytes that count against limits.
    pub(super) fn size(&self) -> usize {
        self.data.len() + self.key.as_ref().map_or(0, String::len)
    }
}

/// How much a request takes.
#[derive(Debug, Clone, Copy)]
pub(super) struct Limits {
    pub(super) records: usize,
    /// Keys included. A record that is larger by itself goes alone.
    pub(super) bytes: usize,
}

/// How rows become records.
#[derive(Debug)]
pub(super) struct Shape {
    pub(super) format: RecordFormat,
    /// `None` where records have no key.
    pub(super) key: Option<KeyTemplate>,
    pub(super) newline: bool,
    /// The largest record, its key included.
    pub(super) largest: usize,
}

impl Shape {
    /// Refuses an input whose rows can't be records.
    pub(super) fn check(&self, schema: &SchemaRef) -> Result<()> {
        self.encoder(schema)?;
        self.key.as_ref().map_or(Ok(()), |key| key.check(schema))
    }

    fn encoder(&self, schema: &SchemaRef) -> Result<Encoder> {
        Encoder::new(self.format.format(), &CsvOptions::default(), schema)
    }

    /// The records of a batch's rows, in their order.
    pub(super) fn records(&self, batch: &RecordBatch) -> Result<(Vec<Record>, Rejected)> {
        let (mut records, mut rejected) = (Vec::new(), Rejected::default());
        let keys = self.key.as_ref().map(|key| key.keys(batch)).transpose()?;
        let mut keys = keys.map(Vec::into_iter);
        for (row, payload) in self.payloads(batch)?.into_iter().enumerate() {
            let key = keys.as_mut().and_then(Iterator::next).transpose();
            let mut data = match payload {
                Ok(data) => data,
                Err(refused) => {
                    rejected.extend(refused);
                    continue;
                }
            };
            if self.newline {
                data.push(b'\n');
            }
            let reason = match key.map(|key| Record { key, data }) {
                Ok(record) if record.size() <= self.largest => {
                    records.push(record);
                    continue;
                }
                Ok(record) => format!(
                    "the record has {} bytes, and {} are the most",
                    record.size(),
                    self.largest
                ),
                Err(reason) => reason,
            };
            rejected.push(row_to_json(batch, row)?, reason, Origin::default());
        }
        Ok((records, rejected))
    }

    /// What the records hold, or the row as it is rejected.
    fn payloads(&self, batch: &RecordBatch) -> Result<Vec<Result<Vec<u8>, Rejected>>> {
        let mut encoder = self.encoder(&batch.schema())?;
        if self.format == RecordFormat::Json {
            let mut text = Vec::new();
            encoder.encode(batch, &mut text)?;
            let lines = text.split_inclusive(|byte| *byte == b'\n');
            let lines = lines.map(|line| Ok(line.strip_suffix(b"\n").unwrap_or(line).to_vec()));
            let lines: Vec<_> = lines.collect();
            // A column of JSON may have line breaks of its own.
            if lines.len() == batch.num_rows() {
                return Ok(lines);
            }
        }
        let rows = (0..batch.num_rows()).map(|row| {
            let mut data = Vec::new();
            let refused = encoder.encode(&batch.slice(row, 1), &mut data)?;
            if self.format == RecordFormat::Json {
                data.pop_if(|last| *last == b'\n');
            }
            Ok(match refused.is_empty() {
                true => Ok(data),
                false => Err(refused),
            })
        });
        rows.collect()
    }
}

/// The same, beside the tasks that wait for others.
pub(super) async fn encode(
    shape: &Arc<Shape>,
    batch: RecordBatch,
) -> Result<(Vec<Record>, Rejected)> {
    let shape = Arc::clone(shape);
    let encoded = tokio::task::spawn_blocking(move || shape.records(&batch)).await;
    encoded.map_err(|error| Error::internal("encoding rows failed").because(error))?
}
