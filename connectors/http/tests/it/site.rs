//! A pipeline from an `http_server` to this program.

use std::net::TcpListener;
use std::path::Path;
use std::time::Duration;

use arrow_array::RecordBatch;
use arrow_array::cast::AsArray;
use arrow_schema::DataType;
use serde_json::{Map, Value, json};
use tidegate_connector_http as _;
use tidegate_core::{PipelineSpec, Registry, Result, Span};
use tidegate_program::RowsOut;
use tidegate_runtime::{Pipeline, Report, RunOptions};
use tokio::net::TcpStream;
use tokio::sync::watch;
use tokio::task::JoinHandle;

/// How often what was received is committed.
const INTERVAL: Duration = Duration::from_millis(100);

/// A port that nobody has.
pub(crate) fn free_port() -> u16 {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    listener.local_addr().unwrap().port()
}

/// The pipeline of a source with these keys, and what takes its rows, all inputs in one.
pub(crate) fn pipeline(directory: &Path, keys: &Value, inputs: &[&str]) -> (RowsOut, Pipeline) {
    pipeline_every(INTERVAL, directory, keys, inputs)
}

fn pipeline_every(
    interval: Duration,
    directory: &Path,
    keys: &Value,
    inputs: &[&str],
) -> (RowsOut, Pipeline) {
    let mut registry = Registry::linked().unwrap();
    let (taken, sink) = tidegate_program::sink("taken", directory.join("rows"));
    registry.add(sink).unwrap();
    let mut spec = PipelineSpec::new("site", directory)
        .source("in", "http_server", keys.clone())
        .unwrap();
    for (number, input) in inputs.iter().enumerate() {
        spec = spec
            .sink(&format!("out{number}"), "taken", &[input], json!({}))
            .unwrap();
    }
    spec.options.checkpoint.interval = Some(Span(interval));
    (taken, Pipeline::new(spec, registry, Map::new()).unwrap())
}

/// A pipeline that runs.
pub(crate) struct Site {
    pub(crate) url: String,
    pub(crate) taken: RowsOut,
    /// Rows that were committed before it listened.
    before: Vec<RecordBatch>,
    hand: watch::Sender<bool>,
    running: JoinHandle<(Report, Result<()>)>,
}

impl Site {
    /// Starts one with these keys beside `listen`, and waits until it answers.
    pub(crate) async fn start(directory: &Path, keys: Value) -> Self {
        Self::start_with(directory, keys, &["in"]).await
    }

    pub(crate) async fn start_with(directory: &Path, keys: Value, inputs: &[&str]) -> Self {
        Self::start_every(INTERVAL, directory, keys, inputs).await
    }

    /// The same, with checkpoints at this interval.
    pub(crate) async fn start_every(
        interval: Duration,
        directory: &Path,
        mut keys: Value,
        inputs: &[&str],
    ) -> Self {
        let port = free_port();
        keys["listen"] = format!("127.0.0.1:{port}").into();
        let scheme = if keys.get("tls").is_some() {
            "https"
        } else {
            "http"
        };
        let (mut taken, pipeline) = pipeline_every(interval, directory, &keys, inputs);
        let (hand, stop) = watch::channel(false);
        let options = RunOptions {
            state: directory.join("state").into(),
            stop,
            ..RunOptions::default()
        };
        let running = tokio::spawn(async move { pipeline.run(options).await });
        let mut before = Vec::new();
        while TcpStream::connect(("127.0.0.1", port)).await.is_err() {
            assert!(!running.is_finished(), "{:?}", running.await.unwrap());
            // What a crash left is committed before anything is listened to.
            let committed = tokio::time::timeout(Duration::from_millis(5), taken.next()).await;
            if let Ok(Some(committed)) = committed {
                before.extend(committed.batches().map(Result::unwrap));
                committed.done();
            }
        }
        Self {
            url: format!("{scheme}://127.0.0.1:{port}"),
            taken,
            before,
            hand,
            running,
        }
    }

    /// Posts a body; gives the status and the answer's JSON.
    pub(crate) async fn post(&self, path: &str, body: impl Into<reqwest::Body>) -> (u16, Value) {
        self.send(
            reqwest::Client::new()
                .post(format!("{}{path}", self.url))
                .body(body),
        )
        .await
    }

    /// Sends a request; gives the status and the answer's JSON.
    pub(crate) async fn send(&self, request: reqwest::RequestBuilder) -> (u16, Value) {
        let answer = request.send().await.unwrap();
        let status = answer.status().as_u16();
        let text = answer.text().await.unwrap();
        (status, serde_json::from_str(&text).unwrap_or(Value::Null))
    }

    /// The next rows that are committed, at least `rows` of them.
    pub(crate) async fn rows(&mut self, rows: usize) -> Vec<RecordBatch> {
        let mut batches = std::mem::take(&mut self.before);
        while batches.iter().map(RecordBatch::num_rows).sum::<usize>() < rows {
            let next = tokio::time::timeout(Duration::from_secs(60), self.taken.next());
            let committed = next.await.unwrap().unwrap();
            batches.extend(committed.batches().map(Result::unwrap));
            committed.done();
        }
        batches
    }

    /// The payloads of the next rows, sorted.
    pub(crate) async fn payloads(&mut self, rows: usize) -> Vec<String> {
        let batches = self.rows(rows).await;
        let mut payloads: Vec<_> = batches
            .iter()
            .flat_map(|batch| texts(batch, "payload"))
            .collect();
        payloads.sort();
        payloads
    }

    /// Ends it with a last commit.
    pub(crate) async fn stop(self) -> Report {
        self.end().await.0
    }

    /// The same; gives the rest of its rows.
    pub(crate) async fn end(self) -> (Report, Vec<RecordBatch>) {
        self.hand.send(true).unwrap();
        let (mut taken, mut rows) = (self.taken, self.before);
        let taking = tokio::spawn(async move {
            while let Some(committed) = taken.next().await {
                rows.extend(committed.batches().map(Result::unwrap));
                committed.done();
            }
            rows
        });
        let (report, result) = self.running.await.unwrap();
        result.unwrap();
        (report, taking.await.unwrap())
    }

    /// Ends it as a crash does.
    pub(crate) async fn crash(self) {
        self.running.abort();
        let _ = self.running.await;
    }
}

/// A column's values.
pub(crate) fn texts(batch: &RecordBatch, column: &str) -> Vec<String> {
    let column = batch.column_by_name(column).unwrap();
    if column.data_type() == &DataType::Binary {
        let values = column.as_binary::<i32>().iter().flatten();
        return values
            .map(|value| String::from_utf8_lossy(value).into_owned())
            .collect();
    }
    let values = column.as_string::<i32>().iter();
    values
        .map(|value| value.unwrap_or("NULL").to_owned())
        .collect()
}
