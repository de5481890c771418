//! Rows that a component could not take, with the reason.

use std::sync::{Arc, LazyLock};

use arrow_array::builder::{StringBuilder, TimestampMicrosecondBuilder, UInt64Builder};
use arrow_array::{ArrayRef, RecordBatch};
use arrow_schema::{DataType, Field, Schema, SchemaRef, TimeUnit};
use chrono::Utc;
use serde::{Deserialize, Serialize};

use crate::{ComponentId, Result, SplitId};

/// Where a rejected row came from, as far as it is known.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Origin {
    /// The split. The runtime fills it in for what sources and maps reject, as it does with a map's
    /// file and line where it knows them; a sink knows it if it
    /// [wants origins](crate::Sink::wants_origins).
    pub split: Option<SplitId>,
    /// The file, page or table.
    pub file: Option<Arc<str>>,
    /// The line in it, from 1.
    pub line: Option<u64>,
    /// The byte offset in it, from 0; or a row's number where bytes have no meaning.
    pub offset: Option<u64>,
}

/// One row that could not be taken.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct RejectedRow {
    /// The row: as JSON where it has columns, as its text (invalid UTF-8 replaced) where it could
    /// not be parsed.
    pub row: String,
    /// Why: one sentence.
    pub reason: String,
    /// Where it came from.
    pub origin: Origin,
    /// Which row it was of the batch that a map was given: the runtime makes its origin of that.
    pub row_of_batch: Option<usize>,
}

/// Rows that a component could not take.
///
/// They flow on as the stream `<component>.rejected`, whose schema is [`Rejected::schema`]. Where
/// nothing reads that stream, the first rejected row ends the run.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Rejected {
    /// The rows, in the order in which they were met.
    pub rows: Vec<RejectedRow>,
}

static SCHEMA: LazyLock<SchemaRef> = LazyLock::new(|| {
    Arc::new(Schema::new(vec![
        Field::new("row", DataType::Utf8, false),
        Field::new("reason", DataType::Utf8, false),
        Field::new("component", DataType::Utf8, false),
        Field::new("split", DataType::Utf8, true),
        Field::new("file", DataType::Utf8, true),
        Field::new("line", DataType::UInt64, true),
        Field::new("offset", DataType::UInt64, true),
        Field::new(
            "time",
            DataType::Timestamp(TimeUnit::Microsecond, Some("UTC".into())),
            false,
        ),
    ]))
});

impl Rejected {
    /// The one schema of all rejected rows: `row`, `reason`, `component`, `split`, `file`,
    /// `line`, `offset`, `time`.
    pub fn schema() -> SchemaRef {
        Arc::clone(&SCHEMA)
    }

    /// Whether there are none.
    pub fn is_empty(&self) -> bool {
        self.rows.is_empty()
    }

    /// How many there are.
    pub fn len(&self) -> usize {
        self.rows.len()
    }

    /// Adds a row.
    pub fn push(&mut self, row: impl Into<String>, reason: impl Into<String>, origin: Origin) {
        self.rows.push(RejectedRow {
            row: row.into(),
            reason: reason.into(),
            origin,
            row_of_batch: None,
        });
    }

    /// Adds a row of the batch that a map was given.
    pub fn push_of_batch(
        &mut self,
        row_of_batch: usize,
        row: impl Into<String>,
        reason: impl Into<String>,
    ) {
        self.rows.push(RejectedRow {
            row: row.into(),
            reason: reason.into(),
            origin: Origin::default(),
            row_of_batch: Some(row_of_batch),
        });
    }

    /// Adds all of another's rows.
    pub fn extend(&mut self, other: Self) {
        self.rows.extend(other.rows);
    }

    /// The rows as a batch of [`Rejected::schema`], rejected by `component` now.
    pub fn to_batch(&self, component: &ComponentId) -> Result<RecordBatch> {
        let now = Utc::now().timestamp_micros();
        let (mut row, mut reason) = (StringBuilder::new(), StringBuilder::new());
        let (mut by, mut split) = (StringBuilder::new(), StringBuilder::new());
        let mut file = StringBuilder::new();
        let (mut line, mut offset) = (UInt64Builder::new(), UInt64Builder::new());
        let mut time = TimestampMicrosecondBuilder::new().with_timezone("UTC");
        for rejected in &self.rows {
            row.append_value(&rejected.row);
            reason.append_value(&rejected.reason);
            by.append_value(component.as_str());
            split.append_option(rejected.origin.split.as_ref().map(SplitId::as_str));
            file.append_option(rejected.origin.file.as_deref());
            line.append_option(rejected.origin.line);
            offset.append_option(rejected.origin.offset);
            time.append_value(now);
        }
        let columns: Vec<ArrayRef> = vec![
            Arc::new(row.finish()),
            Arc::new(reason.finish()),
            Arc::new(by.finish()),
            Arc::new(split.finish()),
            Arc::new(file.finish()),
            Arc::new(line.finish()),
            Arc::new(offset.finish()),
            Arc::new(time.finish()),
        ];
        Ok(RecordBatch::try_new(Self::schema(), columns)?)
    }
}
