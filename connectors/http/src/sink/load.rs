//! Records that go to the server together.

use std::sync::Arc;

use tidegate_core::{Rejected, Result, SinkBatch};
use tidegate_formats::row_to_json;
use tidegate_http::Url;

use super::config::Body;

/// A row, ready to be sent.
#[derive(Debug, Clone)]
pub(super) struct Record {
    /// Where it goes.
    pub(super) url: Arc<Url>,
    /// What is sent of it.
    pub(super) text: Vec<u8>,
    /// Where the row stands.
    pub(super) batch: Arc<SinkBatch>,
    pub(super) row: usize,
}

impl Record {
    /// Adds the row to those that can't be taken.
    pub(super) fn reject(&self, why: String, rejected: &mut Rejected) -> Result<()> {
        reject(&self.batch, self.row, why, rejected)
    }

    /// Where the row comes from, as a text that no other row of the input has; without origins,
    /// nothing.
    pub(super) fn origin(&self) -> Option<String> {
        let origins = self.batch.origins.as_ref()?;
        let origin = origins.get(self.row)?;
        Some(format!("{}:{origin}", self.batch.input))
    }
}

/// Adds a row of a batch to those that can't be taken.
pub(super) fn reject(
    batch: &SinkBatch,
    row: usize,
    why: String,
    rejected: &mut Rejected,
) -> Result<()> {
    let origin = batch.origins.as_ref().and_then(|origins| origins.get(row));
    let origin = origin.map(|origin| origin.rejected()).unwrap_or_default();
    rejected.push(row_to_json(&batch.rows, row)?, why, origin);
    Ok(())
}

/// Records that are collected until they are enough for a request.
#[derive(Debug, Default)]
pub(super) struct Filling {
    records: Vec<Record>,
    bytes: usize,
}

/// How much a request holds at the most.
#[derive(Debug, Clone, Copy)]
pub(super) struct Most {
    pub(super) rows: usize,
    pub(super) bytes: usize,
}

impl Filling {
    /// Adds records; gives the loads that are full. A load has one address.
    pub(super) fn add(&mut self, records: Vec<Record>, most: Most) -> Vec<Vec<Record>> {
        let mut full = Vec::new();
        for record in records {
            let other = self
                .records
                .last()
                .is_some_and(|last| last.url != record.url);
            if other || self.bytes + record.text.len() > most.bytes {
                full.extend(self.take());
            }
            self.bytes += record.text.len();
            self.records.push(record);
            if self.records.len() >= most.rows {
                full.extend(self.take());
            }
        }
        full
    }

    /// What there is.
    pub(super) fn take(&mut self) -> Option<Vec<Record>> {
        self.bytes = 0;
        let records = std::mem::take(&mut self.records);
        (!records.is_empty()).then_some(records)
    }
}

/// What stands around the records of a body.
#[derive(Debug, Clone, Copy)]
pub(super) struct Frame {
    open: &'static str,
    between: &'static str,
    close: &'static str,
}

impl Frame {
    /// `alone`: a request has one row.
    pub(super) fn of(body: Body, alone: bool) -> Self {
        let (open, between, close) = match body {
            Body::Row | Body::Template | Body::None => ("", "", ""),
            Body::KinesisGateway if alone => ("", "", ""),
            Body::Array => ("[", ",", "]"),
            Body::Ndjson => ("", "\n", "\n"),
            Body::KafkaRest | Body::KinesisGateway => ("{\"records\":[", ",", "]}"),
        };
        Self {
            open,
            between,
            close,
        }
    }

    /// The body of these records.
    pub(super) fn body(&self, records: &[Record]) -> Vec<u8> {
        let texts: usize = records.iter().map(|record| record.text.len() + 1).sum();
        let mut body = Vec::with_capacity(self.open.len() + texts + self.close.len());
        body.extend_from_slice(self.open.as_bytes());
        for (number, record) in records.iter().enumerate() {
            if number > 0 {
                body.extend_from_slice(self.between.as_bytes());
            }
            body.extend_from_slice(&record.text);
        }
        body.extend_from_slice(self.close.as_bytes());
        body
    }
}
