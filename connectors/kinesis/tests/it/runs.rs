//! Pipelines from a stream to this program.

use std::path::Path;
use std::time::Duration;

use serde_json::{Map, Value, json};
use tidegate_core::{PipelineSpec, Registry, Result, Span};
use tidegate_program::RowsOut;
use tidegate_runtime::{Pipeline, Report, RunOptions};
use tokio::sync::watch;
use tokio::task::JoinHandle;

use crate::site::{Row, Site, assert_all, rows_of};

/// A pipeline that runs.
struct Run {
    taken: RowsOut,
    hand: watch::Sender<bool>,
    running: JoinHandle<(Report, Result<()>)>,
}

impl Run {
    fn start(directory: &Path, keys: Value) -> Self {
        let mut registry = Registry::linked().unwrap();
        let (taken, sink) = tidegate_program::sink("taken", directory.join("rows"));
        registry.add(sink).unwrap();
        let spec = PipelineSpec::new("clicks", directory);
        let spec = spec.source("in", "kinesis", keys).unwrap();
        let mut spec = spec.sink("out", "taken", &["in"], json!({})).unwrap();
        spec.options.checkpoint.interval = Some(Span(Duration::from_millis(100)));
        let pipeline = Pipeline::new(spec, registry, Map::new()).unwrap();
        let (hand, stop) = watch::channel(false);
        let options = RunOptions {
            state: directory.join("state").into(),
            stop,
            ..RunOptions::default()
        };
        Self {
            taken,
            hand,
            running: tokio::spawn(async move { pipeline.run(options).await }),
        }
    }

    /// The next rows that are committed, at least so many.
    async fn rows(&mut self, least: usize) -> Vec<Row> {
        let mut rows = Vec::new();
        while rows.len() < least {
            let next = tokio::time::timeout(Duration::from_secs(60), self.taken.next());
            let Some(committed) = next.await.unwrap() else {
                break;
            };
            rows.extend(
                committed
                    .batches()
                    .flat_map(|batch| rows_of(&batch.unwrap())),
            );
            committed.done();
        }
        rows
    }

    /// Waits for its end; gives the rest of its rows.
    async fn end(mut self) -> Vec<Row> {
        let rows = self.rows(usize::MAX).await;
        let (_, result) = self.running.await.unwrap();
        result.unwrap();
        rows
    }

    async fn stop(self) -> Vec<Row> {
        self.hand.send(true).unwrap();
        self.end().await
    }

    async fn crash(self) {
        self.running.abort();
        let _ = self.running.await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_crash_costs_no_row_and_doubles_none() {
    let directory = tempfile::tempdir().unwrap();
    let site = Site::with_shards(2).await;
    site.put_numbers(0..100, 10).await;
    let mut run = Run::start(directory.path(), site.keys(json!({})));
    let mut rows = run.rows(100).await;
    site.put_numbers(100..200, 10).await;
    site.split("shardId-000000000000").await;
    site.put_numbers(200..300, 10).await;
    rows.extend(run.rows(50).await);
    // Committed, but the program hasn't said that it has them.
    let taken = run.taken.next().await;
    run.crash().await;
    drop(taken);
    site.put_numbers(300..400, 10).await;
    let mut run = Run::start(directory.path(), site.keys(json!({})));
    rows.extend(run.rows(400 - rows.len()).await);
    site.merge("shardId-000000000002", "shardId-000000000003")
        .await;
    site.put_numbers(400..500, 10).await;
    rows.extend(run.rows(500 - rows.len()).await);
    rows.extend(run.stop().await);
    assert_all(&rows, 0..500);
}

#[tokio::test(flavor = "multi_thread")]
async fn runs_with_an_end_follow_each_other() {
    let directory = tempfile::tempdir().unwrap();
    let site = Site::with_shards(2).await;
    let keys = site.keys(json!({ "until": "now" }));
    let mut rows = Run::start(directory.path(), keys.clone()).end().await;
    assert!(rows.is_empty());
    for round in 0..4 {
        site.put_numbers(round * 100..round * 100 + 100, 10).await;
        if round == 1 {
            site.split("shardId-000000000001").await;
        }
        rows.extend(Run::start(directory.path(), keys.clone()).end().await);
        assert_all(&rows, 0..round * 100 + 100);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn latest_begins_with_the_run_and_not_with_each_process() {
    let directory = tempfile::tempdir().unwrap();
    let site = Site::with_shards(2).await;
    site.put_numbers(1000..1050, 10).await;
    // Times are in milliseconds.
    tokio::time::sleep(Duration::from_millis(50)).await;
    let keys = site.keys(json!({ "start": "latest" }));
    let run = Run::start(directory.path(), keys.clone());
    let seen = || {
        let seen = site.proxy.seen();
        let mut seen = seen.iter();
        seen.any(|seen| seen.request.target().ends_with(".GetRecords"))
    };
    while !seen() {
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
    run.crash().await;
    site.put_numbers(0..100, 10).await;
    let mut run = Run::start(directory.path(), keys);
    let mut rows = run.rows(100).await;
    rows.extend(run.stop().await);
    assert_all(&rows, 0..100);
}

#[tokio::test(flavor = "multi_thread")]
async fn shards_in_which_nothing_came_are_read_on_from_the_start_that_was_asked_for() {
    let site = Site::with_shards(2).await;
    site.put_numbers(1000..1050, 10).await;
    // Times are in milliseconds.
    tokio::time::sleep(Duration::from_millis(50)).await;
    let time = chrono::Utc::now().to_rfc3339();
    let mut put = 0;
    for start in [json!("latest"), json!({ "at_timestamp": time })] {
        let directory = tempfile::tempdir().unwrap();
        let keys = site.keys(json!({ "start": start, "until": "now" }));
        let rows = async || Run::start(directory.path(), keys.clone()).end().await;
        let first = rows().await;
        assert_all(&first, 0..put);
        assert_eq!(rows().await, [], "{start}");
        site.put(&[("k0", format!("k0:{put}").as_bytes())]).await;
        put += 1;
        let second = rows().await;
        assert_all(&second, put - 1..put);
        assert_eq!(rows().await, [], "{start}");
    }
}
