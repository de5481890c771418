//! From kept requests to rows, on a worker.

use std::sync::Arc;

use arrow_array::builder::{BinaryBuilder, StringBuilder, TimestampMicrosecondBuilder};
use arrow_array::{ArrayRef, RecordBatch, RecordBatchOptions};
use arrow_schema::{DataType, Field, Schema, SchemaRef, TimeUnit};
use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use serde::Deserialize;
use tidegate_core::{Decode, Decoded, Error, Result};
use tidegate_formats::json_elements;
use tidegate_push::wal::Chunk;

use crate::config::{Accept, Route};
use crate::inbox::Kept;
use crate::record::{self, Meta};

/// The columns of a route's stream.
pub(crate) fn schema(route: &Route) -> SchemaRef {
    let payload = match route.accept {
        Accept::Any | Accept::Firehose => DataType::Binary,
        Accept::Json | Accept::Ndjson | Accept::Array => DataType::Utf8,
    };
    let mut fields = vec![
        Field::new("payload", payload, false),
        Field::new("method", DataType::Utf8, false),
        Field::new("path", DataType::Utf8, false),
        Field::new("query", DataType::Utf8, true),
        Field::new("remote_addr", DataType::Utf8, false),
        Field::new(
            "received_at",
            DataType::Timestamp(TimeUnit::Microsecond, Some("UTC".into())),
            false,
        ),
        Field::new("request_id", DataType::Utf8, false),
    ];
    let headers = route.headers.iter();
    fields.extend(headers.map(|name| Field::new(record::column(name), DataType::Utf8, true)));
    Arc::new(Schema::new(fields))
}

/// Requests that were read together.
#[derive(Debug, Clone)]
pub(crate) enum Requests {
    Logged(Chunk),
    Queued(Arc<Vec<Kept>>),
}

impl Requests {
    /// The bytes that they hold in memory.
    fn size(&self) -> usize {
        match self {
            Self::Logged(chunk) => chunk.size(),
            Self::Queued(kept) => kept.iter().map(Kept::size).sum(),
        }
    }

    /// The requests, of all streams.
    pub(crate) fn records(&self) -> Box<dyn Iterator<Item = &[u8]> + '_> {
        match self {
            Self::Logged(chunk) => Box::new(chunk.records()),
            Self::Queued(kept) => Box::new(kept.iter().map(Kept::record)),
        }
    }
}

/// The requests of one stream among those that were read together.
pub(crate) struct Encoded {
    pub(crate) requests: Requests,
    pub(crate) stream: Arc<str>,
    /// The columns that are wanted.
    pub(crate) schema: SchemaRef,
}

impl Decode for Encoded {
    fn size(&self) -> usize {
        self.requests.size()
    }

    fn decode(self: Box<Self>) -> Result<Decoded> {
        let mut rows = Rows::new(&self.schema)?;
        for record in self.requests.records() {
            if record::stream(record)? == &*self.stream {
                let (meta, body) = Meta::read(record)?;
                payloads(meta.accept, body, &mut |payload| rows.push(&meta, payload))?;
            }
        }
        Ok(Decoded {
            batches: rows.finish()?,
            ..Decoded::default()
        })
    }
}

/// Finds the rows' payloads in a body that was accepted.
fn payloads(accept: Accept, body: &[u8], give: &mut dyn FnMut(&[u8]) -> Result<()>) -> Result<()> {
    let broken =
        |why: String| Error::internal("a body was accepted that can't be read").because(why);
    match accept {
        Accept::Json | Accept::Any => give(body),
        Accept::Ndjson => lines(body).try_for_each(|(_, line)| give(line)),
        Accept::Array => {
            let elements = match body.trim_ascii_start().first() {
                Some(b'[') => json_elements(body, "").map_err(broken)?,
                _ => vec![body],
            };
            elements.into_iter().try_for_each(give)
        }
        Accept::Firehose => {
            let delivery: Delivery<'_> =
                serde_json::from_slice(body).map_err(|error| broken(error.to_string()))?;
            delivery
                .records
                .iter()
                .try_for_each(|record| give(&record.decode().map_err(broken)?))
        }
    }
}

/// The lines that aren't empty, without their ends (LF or CRLF), and where they begin.
pub(crate) fn lines(body: &[u8]) -> impl Iterator<Item = (usize, &[u8])> {
    let mut at = 0;
    let lines = body.split(|byte| *byte == b'\n').map(move |line| {
        let begin = at;
        at += line.len() + 1;
        (begin, line.strip_suffix(b"\r").unwrap_or(line))
    });
    lines.filter(|(_, line)| !line.trim_ascii().is_empty())
}

/// What Firehose posts
/// ([specification](https://docs.aws.amazon.com/firehose/latest/dev/httpdeliveryrequestresponse.html)).
#[derive(Debug, Deserialize)]
pub(crate) struct Delivery<'a> {
    #[serde(borrow)]
    pub(crate) records: Vec<Delivered<'a>>,
}

/// A record as Firehose posts it.
#[derive(Debug, Deserialize)]
pub(crate) struct Delivered<'a> {
    #[serde(borrow)]
    data: std::borrow::Cow<'a, str>,
}

impl Delivered<'_> {
    pub(crate) fn decode(&self) -> Result<Vec<u8>, String> {
        STANDARD
            .decode(self.data.as_bytes())
            .map_err(|error| error.to_string())
    }
}

/// Rows on their way to columns.
struct Rows<'a> {
    schema: &'a SchemaRef,
    columns: Vec<Column>,
    rows: usize,
    /// The bytes of texts and payloads.
    bytes: usize,
    batches: Vec<RecordBatch>,
}

enum Column {
    Text(StringBuilder),
    Binary(BinaryBuilder),
    Time(TimestampMicrosecondBuilder),
}

/// The most bytes of one batch: a column counts its bytes in 31 bits.
const BATCH: usize = 64 << 20;

impl<'a> Rows<'a> {
    fn new(schema: &'a SchemaRef) -> Result<Self> {
        Ok(Self {
            schema,
            columns: columns(schema)?,
            rows: 0,
            bytes: 0,
            batches: Vec::new(),
        })
    }

    fn push(&mut self, meta: &Meta<'_>, payload: &[u8]) -> Result<()> {
        if self.bytes > 0 && self.bytes + payload.len() > BATCH {
            self.cut()?;
        }
        for (field, column) in self.schema.fields().iter().zip(&mut self.columns) {
            let value = match (field.name().as_str(), &mut *column) {
                ("payload", Column::Binary(column)) => {
                    column.append_value(payload);
                    continue;
                }
                ("payload", _) => Some(simdutf8::basic::from_utf8(payload).map_err(|error| {
                    Error::internal("a body was accepted that isn't UTF-8").because(error)
                })?),
                ("received_at", Column::Time(column)) => {
                    column.append_value(meta.received_at);
                    continue;
                }
                ("method", _) => Some(meta.method),
                ("path", _) => Some(meta.path),
                ("query", _) => meta.query,
                ("remote_addr", _) => Some(meta.remote),
                ("request_id", _) => Some(meta.request_id),
                (name, _) => {
                    let headers = meta.headers.iter();
                    headers
                        .copied()
                        .find_map(|(column, value)| (column == name).then_some(value))
                }
            };
            if let Column::Text(column) = column {
                column.append_option(value);
            }
        }
        self.rows += 1;
        self.bytes += payload.len() + meta.path.len();
        Ok(())
    }

    fn cut(&mut self) -> Result<()> {
        let columns = std::mem::replace(&mut self.columns, columns(self.schema)?);
        let arrays = columns.into_iter().map(|column| match column {
            Column::Text(mut column) => Arc::new(column.finish()) as ArrayRef,
            Column::Binary(mut column) => Arc::new(column.finish()),
            Column::Time(mut column) => Arc::new(column.finish().with_timezone("UTC")),
        });
        let rows = std::mem::take(&mut self.rows);
        let options = RecordBatchOptions::new().with_row_count(Some(rows));
        self.batches.push(RecordBatch::try_new_with_options(
            Arc::clone(self.schema),
            arrays.collect(),
            &options,
        )?);
        self.bytes = 0;
        Ok(())
    }

    fn finish(mut self) -> Result<Vec<RecordBatch>> {
        if self.rows > 0 {
            self.cut()?;
        }
        Ok(self.batches)
    }
}

fn columns(schema: &SchemaRef) -> Result<Vec<Column>> {
    let columns = schema.fields().iter().map(|field| match field.data_type() {
        DataType::Utf8 => Ok(Column::Text(StringBuilder::new())),
        DataType::Binary => Ok(Column::Binary(BinaryBuilder::new())),
        DataType::Timestamp(..) => Ok(Column::Time(TimestampMicrosecondBuilder::new())),
        other => Err(Error::internal(format!(
            "requests have no column of type {other}"
        ))),
    });
    columns.collect()
}
