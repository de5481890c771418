//! A pipeline as the runtime would run it, process by process.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use arrow_array::RecordBatch;
use arrow_json::LineDelimitedWriter;
use futures::StreamExt;
use futures::future::join_all;
use serde_json::{Value, json};
use tidegate_core::{
    Ask, Cancel, Context, Error, Event, Metrics, Next, Offset, PlanState, Result, Rows, Scan,
    Source, SourceConfig, Span, Split,
};
use tidegate_stackoverflow::StackOverflowConfig;
use tidegate_testkit::servers::StackExchange;
use tidegate_testkit::suites::{MemoryKeyValue, context};

/// What lives from one process to the next.
pub(crate) struct Pipeline {
    pub(crate) config: StackOverflowConfig,
    /// Only these streams are read; all, if empty.
    pub(crate) streams: Vec<&'static str>,
    pub(crate) shared: Arc<MemoryKeyValue>,
    pub(crate) store: Arc<MemoryKeyValue>,
    pub(crate) state: Option<PlanState>,
    /// Splits that aren't read to their end, and how far they are.
    pub(crate) open: Vec<(Split, Option<Offset>)>,
    /// A reader is stopped after so many events, as by a kill.
    pub(crate) killed_after: Option<usize>,
    /// What came, by stream, in order.
    pub(crate) rows: BTreeMap<String, Vec<Value>>,
    pub(crate) metrics: Arc<Metrics>,
    pub(crate) http: Value,
}

/// A configuration for a fake: nothing is waited for that the fake doesn't ask for.
pub(crate) fn config(api: &StackExchange) -> StackOverflowConfig {
    StackOverflowConfig {
        base_url: api.url(),
        lag: Span(Duration::from_secs(1)),
        caution: Span(Duration::from_millis(50)),
        repeat_after: Span(Duration::ZERO),
        ..StackOverflowConfig::default()
    }
}

impl Pipeline {
    pub(crate) fn new(config: StackOverflowConfig) -> Self {
        Self {
            config,
            streams: Vec::new(),
            shared: Arc::default(),
            store: Arc::default(),
            state: None,
            open: Vec::new(),
            killed_after: None,
            rows: BTreeMap::new(),
            metrics: Arc::default(),
            http: json!({ "attempts": 2, "backoff": "1ms" }),
        }
    }

    pub(crate) fn context(&self) -> Context {
        let mut cx = context().settings("http", self.http.clone()).source();
        cx.shared = self.shared.clone();
        cx.store = self.store.clone();
        cx.metrics = self.metrics.clone();
        // That of a context made in passing is cancelled when it goes.
        cx.cancel = Cancel::never();
        cx
    }

    pub(crate) async fn source(&self) -> Result<Arc<dyn Source>> {
        self.config.validate()?;
        self.config.open(&self.context()).await
    }

    /// A process: it continues with what the last one left, or else plans and reads what is new.
    pub(crate) async fn run(&mut self) -> Result<()> {
        self.metrics = Arc::default();
        let source = self.source().await?;
        let streams = source.streams();
        let names = streams.iter().map(|stream| stream.name.as_str());
        let names = names.filter(|name| self.streams.is_empty() || self.streams.contains(name));
        let scans: Vec<_> = names.map(Scan::all).collect();
        if self.open.is_empty() {
            let ask = Ask {
                scans: &scans,
                state: self.state.as_ref(),
                finished: &[],
                first: true,
            };
            let plan = source.plan(&ask).await?;
            assert_eq!(plan.next, Next::Complete);
            self.state = Some(plan.state);
            self.open = plan.new.into_iter().map(|split| (split, None)).collect();
        }
        let most = self.killed_after;
        let open = self.open.iter().cloned();
        let reads = open.map(|(split, resume)| read(&source, &scans, split, resume, most));
        let reads = join_all(reads).await;
        // What was read is stored here. A run that is dropped before leaves everything as it was.
        self.open.clear();
        let mut failed = None;
        for read in reads {
            for (stream, rows) in read.rows {
                self.rows.entry(stream).or_default().extend(rows);
            }
            match read.end {
                End::Finished => {}
                End::Killed => self.open.push((read.split, read.resume)),
                End::Failed(error) => {
                    failed.get_or_insert(error);
                    self.open.push((read.split, read.resume));
                }
            }
        }
        failed.map_or(Ok(()), Err)
    }

    /// Runs until nothing is left open.
    pub(crate) async fn run_through(&mut self) {
        self.run().await.unwrap();
        while !self.open.is_empty() {
            self.run().await.unwrap();
        }
    }

    /// The last of each key that came.
    pub(crate) fn merged(&self, stream: &str, key: &str) -> BTreeMap<String, Value> {
        let rows = self.rows.get(stream).into_iter().flatten();
        rows.map(|row| (row[key].to_string(), row.clone()))
            .collect()
    }

    pub(crate) fn count(&self, stream: &str) -> usize {
        self.rows.get(stream).map_or(0, Vec::len)
    }
}

struct Read {
    split: Split,
    resume: Option<Offset>,
    rows: BTreeMap<String, Vec<Value>>,
    end: End,
}

enum End {
    Finished,
    Killed,
    Failed(Error),
}

async fn read(
    source: &Arc<dyn Source>,
    scans: &[Scan],
    split: Split,
    resume: Option<Offset>,
    most: Option<usize>,
) -> Read {
    let mut read = Read {
        end: End::Finished,
        rows: BTreeMap::new(),
        resume,
        split,
    };
    let mut events = match source.read(&read.split, scans, read.resume.as_ref()).await {
        Ok(events) => events,
        Err(error) => {
            read.end = End::Failed(error);
            return read;
        }
    };
    let mut pending = Vec::new();
    for seen in 0.. {
        if most.is_some_and(|most| seen >= most) {
            read.end = End::Killed;
            break;
        }
        match events.next().await {
            None => break,
            Some(Err(error)) => {
                read.end = End::Failed(error);
                break;
            }
            Some(Ok(event)) => {
                let position = event.position().cloned();
                if let Event::Rows { stream, rows, .. } = event {
                    pending.push((stream.to_string(), decoded(rows)));
                }
                // What has no position after it would come again.
                if position.is_some() {
                    read.resume = position;
                    for (stream, rows) in pending.drain(..) {
                        read.rows.entry(stream).or_default().extend(rows);
                    }
                }
            }
        }
    }
    read
}

fn decoded(rows: Rows) -> Vec<Value> {
    let batches = match rows {
        Rows::Batch(batch) => vec![batch],
        Rows::Encoded(encoded) => {
            let decoded = encoded.decode().unwrap();
            assert!(decoded.rejected.is_empty(), "{:?}", decoded.rejected);
            decoded.batches
        }
    };
    batches.iter().flat_map(as_json).collect()
}

fn as_json(batch: &RecordBatch) -> Vec<Value> {
    let mut writer = LineDelimitedWriter::new(Vec::new());
    writer.write(batch).unwrap();
    let lines = writer.into_inner();
    let lines = lines
        .split(|byte| *byte == b'\n')
        .filter(|line| !line.is_empty());
    lines
        .map(|line| serde_json::from_slice(line).unwrap())
        .collect()
}

/// The seconds since 1970 of a time in a row.
pub(crate) fn seconds(time: &Value) -> i64 {
    let time = time.as_str().unwrap_or_else(|| panic!("no time: {time}"));
    chrono::DateTime::parse_from_rfc3339(time)
        .unwrap()
        .timestamp()
}

#[track_caller]
pub(crate) fn no_violations(api: &StackExchange) {
    assert_eq!(api.violations(), []);
}
