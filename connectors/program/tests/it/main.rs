//! Pipelines inside a program, fed by it and read by it.

#![allow(clippy::unwrap_used)]

use std::path::Path;
use std::sync::Arc;

use arrow_array::cast::AsArray;
use arrow_array::types::Int64Type;
use arrow_array::{Int64Array, RecordBatch, StringArray};
use serde_json::Map;
use tidegate_core::{
    ComponentId, ComponentSpec, ErrorKind, Guarantee, Kind, PipelineOptions, PipelineSpec, Registry,
};
use tidegate_program::{Committed, RowsIn, RowsOut};
use tidegate_runtime::{Pipeline, Report, RunOptions, Status};
use tokio::sync::watch;
use tokio::task::JoinHandle;

fn batch(from: i64, to: i64) -> RecordBatch {
    let column = Arc::new(Int64Array::from_iter_values(from..to));
    RecordBatch::try_from_iter([("n", column as _)]).unwrap()
}

fn numbers(committed: &Committed) -> Vec<i64> {
    let batches = committed.batches().map(Result::unwrap);
    let numbers = batches.flat_map(|batch| {
        let column = batch.column(0).as_primitive::<Int64Type>();
        column.values().to_vec()
    });
    let mut numbers: Vec<i64> = numbers.collect();
    numbers.sort_unstable();
    numbers
}

/// A pipeline from a program to itself.
fn pipeline(directory: &Path) -> (RowsIn, RowsOut, Pipeline) {
    let mut registry = Registry::linked().unwrap();
    let (sent, source) = tidegate_program::source("sent", batch(0, 0).schema());
    let (taken, sink) = tidegate_program::sink("taken", directory.join("rows"));
    registry.add(source).unwrap();
    registry.add(sink).unwrap();
    let component = |kind, id, tag: &str, inputs: &[&str]| ComponentSpec {
        id: ComponentId::new(id).unwrap(),
        kind,
        tag: tag.to_owned(),
        inputs: inputs.iter().map(|&input| input.to_owned()).collect(),
        guarantee: None,
        config: Map::new(),
    };
    let spec = PipelineSpec {
        name: "program".to_owned(),
        base: directory.to_owned(),
        options: PipelineOptions::default(),
        components: vec![
            component(Kind::Source, "in", "sent", &[]),
            component(Kind::Sink, "out", "taken", &["in"]),
        ],
    };
    (
        sent,
        taken,
        Pipeline::new(spec, registry, Map::new()).unwrap(),
    )
}

type Running = JoinHandle<(Report, tidegate_core::Result<()>)>;

fn run(directory: &Path, pipeline: Pipeline) -> (watch::Sender<bool>, Running) {
    let (hand, stop) = watch::channel(false);
    let options = RunOptions {
        state: directory.join("state").into(),
        stop,
        ..RunOptions::default()
    };
    (
        hand,
        tokio::spawn(async move { pipeline.run(options).await }),
    )
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_sent_is_committed_when_sending_returns_and_the_run_ends_with_the_hand() {
    let directory = tempfile::tempdir().unwrap();
    let (sent, mut taken, pipeline) = pipeline(directory.path());
    let (_hand, running) = run(directory.path(), pipeline);
    let taking = tokio::spawn(async move {
        let mut all = Vec::new();
        while let Some(committed) = taken.next().await {
            all.extend(numbers(&committed));
            committed.done();
        }
        all
    });
    let others = (0..8).map(|one| {
        let sent = sent.clone();
        tokio::spawn(async move { sent.send(batch(one * 100, one * 100 + 100)).await })
    });
    for sending in others.collect::<Vec<_>>() {
        sending.await.unwrap().unwrap();
    }
    // What was told to be committed is out before the next is sent.
    sent.send(batch(800, 900)).await.unwrap();
    drop(sent);
    let (report, result) = running.await.unwrap();
    result.unwrap();
    assert_eq!(report.status, Status::Completed);
    let mut all = taking.await.unwrap();
    all.sort_unstable();
    assert_eq!(all, (0..900).collect::<Vec<_>>());
    let left = std::fs::read_dir(directory.path().join("rows")).unwrap();
    assert_eq!(left.count(), 0, "files of rows that were taken are left");
}

#[tokio::test(flavor = "multi_thread")]
async fn what_was_not_committed_is_told_and_what_was_not_taken_comes_again() {
    let directory = tempfile::tempdir().unwrap();
    let (sent, mut taken, first) = pipeline(directory.path());
    let (_hand, running) = run(directory.path(), first);
    let sending = tokio::spawn({
        let sent = sent.clone();
        async move { sent.send(batch(0, 10)).await }
    });
    let committed = taken.next().await.unwrap();
    let (lineage, epoch) = (committed.lineage, committed.epoch);
    assert_eq!(numbers(&committed), (0..10).collect::<Vec<_>>());
    // The program dies before it is done with them.
    running.abort();
    let _ = running.await;
    drop((committed, taken));
    let error = sending.await.unwrap().unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Transient);
    drop(sent);

    let (sent, mut taken, second) = pipeline(directory.path());
    let (hand, running) = run(directory.path(), second);
    let committed = taken.next().await.unwrap();
    assert_eq!((committed.lineage, committed.epoch), (lineage, epoch));
    assert_eq!(numbers(&committed), (0..10).collect::<Vec<_>>());
    committed.done();
    let sending = tokio::spawn(async move { sent.send(batch(10, 20)).await });
    let committed = taken.next().await.unwrap();
    assert_eq!(numbers(&committed), (10..20).collect::<Vec<_>>());
    committed.done();
    sending.await.unwrap().unwrap();
    hand.send(true).unwrap();
    running.await.unwrap().1.unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn other_columns_are_refused_and_a_pipeline_that_is_gone_is_told() {
    let directory = tempfile::tempdir().unwrap();
    let (sent, _taken, pipeline) = pipeline(directory.path());
    let text = Arc::new(StringArray::from(vec!["a"]));
    for other in [("m", text.clone() as _), ("n", text as _)] {
        let other = RecordBatch::try_from_iter([other]).unwrap();
        let error = sent.send(other).await.unwrap_err();
        assert_eq!(error.kind(), ErrorKind::Schema);
        assert!(error.hint_text().unwrap().contains("n Int64"), "{error}");
    }
    let graph = pipeline.check().await.unwrap();
    assert_eq!(
        graph.describe().components[1].guarantee,
        Some(Guarantee::AtLeastOnce.name())
    );
    drop((graph, pipeline));
    let error = sent.send(batch(0, 1)).await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Transient);
}
