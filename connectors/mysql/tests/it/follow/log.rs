//! A log that is read in a test, and what it tells.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use arrow_array::{Array, RecordBatch, StringArray};
use futures::StreamExt;
use serde_json::{Value, json};
use tidegate_core::{Event, EventStream, Offset, Result, Scan, Source, Split};
use tidegate_testkit::servers::MariaDb;
use tidegate_testkit::suites::render;

use crate::support::{Seen, config, open, plan, read_all, scans};

/// No test waits longer for anything.
pub(super) const DEADLINE: Duration = Duration::from_secs(60);

/// A source that follows, planned: the snapshot's splits, and the log's.
pub(super) struct Planned {
    pub(super) source: Arc<dyn Source>,
    pub(super) scans: Vec<Scan>,
    pub(super) snapshot: Vec<Split>,
    pub(super) log: Split,
}

pub(super) async fn planned(server: &MariaDb, keys: &Value) -> Planned {
    let mut all = json!({ "follow": true, "batch_size": "16 KiB" });
    for (key, value) in keys.as_object().unwrap() {
        all[key] = value.clone();
    }
    let (source, _cx) = open(&config(server, "shop", &all)).await;
    let scans = scans(source.as_ref());
    let mut snapshot = plan(source.as_ref(), &scans, None).await.unwrap().new;
    let log = snapshot.pop().unwrap();
    assert_eq!(log.after.len(), snapshot.len());
    Planned {
        source,
        scans,
        snapshot,
        log,
    }
}

impl Planned {
    /// The log from here on.
    pub(super) async fn log(&self, resume: Option<&Offset>) -> Log {
        let events = self.source.read(&self.log, &self.scans, resume).await;
        Log {
            events: events.unwrap(),
            resume: resume.cloned(),
        }
    }
}

/// The log as it is read.
pub(super) struct Log {
    pub(super) events: EventStream,
    /// The last offset that was told.
    pub(super) resume: Option<Offset>,
}

/// One change.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Told {
    pub(super) stream: String,
    pub(super) op: String,
    pub(super) pos: String,
    /// The table's own columns.
    pub(super) row: String,
}

impl Log {
    pub(super) async fn event(&mut self) -> Result<Event> {
        let next = tokio::time::timeout(DEADLINE, self.events.next()).await;
        let event = next.unwrap().unwrap()?;
        match &event {
            Event::Rows { resume, .. } => self.resume = resume.clone().or(self.resume.take()),
            Event::Progress(resume) | Event::Schema { resume, .. } => {
                self.resume = Some(resume.clone());
            }
        }
        Ok(event)
    }

    /// The next changes.
    pub(super) async fn changes(&mut self) -> Result<Vec<Told>> {
        loop {
            if let Some(seen) = Seen::of(self.event().await?) {
                assert_eq!(seen.rejected, Vec::<String>::new());
                return Ok(told(&seen));
            }
        }
    }

    /// At least so many changes.
    pub(super) async fn at_least(&mut self, count: usize) -> Vec<Told> {
        let mut all = Vec::new();
        while all.len() < count {
            all.extend(self.changes().await.unwrap());
        }
        all
    }

    /// The error that comes when all before it was told.
    pub(super) async fn error(&mut self) -> tidegate_core::Error {
        loop {
            if let Err(error) = self.event().await {
                return error;
            }
        }
    }
}

pub(super) fn told(seen: &Seen) -> Vec<Told> {
    let mut all = Vec::new();
    for batch in &seen.batches {
        let (ops, positions) = (texts(batch, "_op"), texts(batch, "_pos"));
        let rows = render(&own(batch)).unwrap();
        for ((op, pos), row) in ops.into_iter().zip(positions).zip(rows) {
            all.push(Told {
                stream: seen.stream.clone(),
                op,
                pos,
                row,
            });
        }
    }
    all
}

pub(super) fn texts(batch: &RecordBatch, column: &str) -> Vec<String> {
    let column = batch.column_by_name(column).unwrap();
    let texts: &StringArray = column.as_any().downcast_ref().unwrap();
    texts.iter().map(|text| text.unwrap().to_owned()).collect()
}

/// The table's own columns.
pub(super) fn own(batch: &RecordBatch) -> RecordBatch {
    let schema = batch.schema();
    let own = (0..batch.num_columns()).filter(|at| !schema.field(*at).name().starts_with('_'));
    batch.project(&own.collect::<Vec<_>>()).unwrap()
}

pub(super) fn ops(changes: &[Told]) -> Vec<&str> {
    changes.iter().map(|change| change.op.as_str()).collect()
}

/// The rows of a table as a SELECT gives them, sorted.
pub(super) async fn table(server: &MariaDb, name: &str) -> Vec<String> {
    let (source, _cx) = open(&config(server, "shop", &json!({ "tables": [name] }))).await;
    let scans = scans(source.as_ref());
    let splits = plan(source.as_ref(), &scans, None).await.unwrap().new;
    let mut rows = read_all(source.as_ref(), &splits, &scans).await.unwrap();
    rows.remove(name).unwrap_or_default()
}

/// The rows of streams of changes, by their key: the first column, as the test's tables have it.
#[derive(Debug, Default)]
pub(super) struct Applied(pub(super) BTreeMap<String, (String, Option<String>)>);

impl Applied {
    pub(super) fn apply(&mut self, change: &Told) {
        let key = change
            .row
            .split(", ")
            .find(|cell| cell.starts_with("id="))
            .unwrap();
        let row = (change.op != "delete").then(|| change.row.clone());
        let last = self.0.entry(key.to_owned()).or_default();
        if change.pos >= last.0 {
            *last = (change.pos.clone(), row);
        }
    }

    pub(super) fn rows(self) -> Vec<String> {
        let mut rows: Vec<_> = self.0.into_values().filter_map(|(_, row)| row).collect();
        rows.sort_unstable();
        rows
    }
}
