//! Stages that take rows while they come: the same values, nothing that waits for itself, and nothing
//! left when something fails.

use std::collections::BTreeSet;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use arrow_array::cast::AsArray;
use arrow_array::types::Int64Type;
use arrow_schema::SchemaRef;
use futures::StreamExt;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use serde_json::{Value, json};
use tidegate_core::{
    BatchStream, ErrorKind, Gather, Kind, Result, Scan, StageInput, Transform, TransformConfig,
    TransformContext, async_trait, register_transform, typetag,
};
use tidegate_runtime::Status;

use crate::components::{batch, schema};
use crate::crashes::crash_until_done;
use crate::running::Running;
use crate::world::{World, all, came, is_waited_at, note, open, pass, shut, until};

/// Of its first input, the numbers that every other input has.
#[derive(Debug, Clone, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
struct CommonConfig {
    /// Inputs that may be streamed.
    streams: Vec<usize>,
    /// Where it is noted what is streamed: `<name>/<input>`, and `<name>/came` for each batch.
    name: String,
    /// Ends after so many rows.
    #[serde(default)]
    most: Option<u64>,
    /// Panics at this number.
    #[serde(default)]
    panics_at: Option<i64>,
    /// Passed before each batch.
    #[serde(default)]
    gate: Option<String>,
}

#[async_trait]
#[typetag::serde(name = "common")]
impl TransformConfig for CommonConfig {
    async fn open(&self, _: &TransformContext) -> Result<Transform> {
        Ok(Transform::Gather(Arc::new(Common(self.clone()))))
    }
}
register_transform!("common", CommonConfig);

#[derive(Debug)]
struct Common(CommonConfig);

async fn read(partitions: Vec<BatchStream>) -> Result<BTreeSet<i64>> {
    let mut found = BTreeSet::new();
    for mut partition in partitions {
        while let Some(batch) = partition.next().await {
            found.extend(numbers(&batch?));
        }
    }
    Ok(found)
}

fn numbers(batch: &arrow_array::RecordBatch) -> Vec<i64> {
    batch
        .column(0)
        .as_primitive::<Int64Type>()
        .values()
        .to_vec()
}

#[async_trait]
impl Gather for Common {
    fn schema(&self) -> SchemaRef {
        schema()
    }

    fn scan(&self, _: usize) -> Scan {
        Scan::all("any")
    }

    fn streams(&self, input: usize) -> bool {
        self.0.streams.contains(&input)
    }

    async fn run(&self, inputs: Vec<StageInput>) -> Result<Vec<BatchStream>> {
        let config = &self.0;
        let mut opened = Vec::new();
        for (at, input) in inputs.into_iter().enumerate() {
            let partitions: Result<Vec<_>> = match input {
                StageInput::Collected(rows) => {
                    (0..rows.partitions()).map(|at| rows.open(at)).collect()
                }
                StageInput::Streamed(rows) => {
                    assert!(config.streams.contains(&at), "it may not be streamed");
                    note(&format!("{}/{at}", config.name));
                    (0..rows.partitions()).map(|at| rows.open(at)).collect()
                }
            };
            opened.push(partitions?);
        }
        let mut others = Vec::new();
        for partitions in opened.split_off(1) {
            others.push(read(partitions).await?);
        }
        let others = Arc::new(others);
        let taken = Arc::new(AtomicU64::new(0));
        let streams = opened.remove(0).into_iter().map(|partition| {
            let (config, others, taken) = (config.clone(), Arc::clone(&others), Arc::clone(&taken));
            let before = Arc::clone(&taken);
            let most = config.most.unwrap_or(u64::MAX);
            partition
                .take_while(move |_| {
                    let more = before.load(Ordering::Relaxed) < most;
                    async move { more }
                })
                .then(move |rows| {
                    let (config, others) = (config.clone(), Arc::clone(&others));
                    let taken = Arc::clone(&taken);
                    async move {
                        note(&format!("{}/came", config.name));
                        if let Some(gate) = &config.gate {
                            pass(gate).await;
                        }
                        let mut found = numbers(&rows?);
                        taken.fetch_add(found.len() as u64, Ordering::Relaxed);
                        let panics = |n: &i64| config.panics_at == Some(*n);
                        assert!(!found.iter().any(panics), "the stage is broken");
                        found.retain(|n| others.iter().all(|other| other.contains(n)));
                        Ok(batch(found))
                    }
                })
                .boxed()
        });
        Ok(streams.collect())
    }
}

/// A stage whose first input may be streamed, or not.
fn stage(world: &World, streams: bool, more: &Value) -> Value {
    let streams = if streams { vec![0] } else { vec![] };
    let mut config = json!({"streams": streams, "name": world.name});
    let keys = more.as_object().cloned().unwrap_or_default();
    config.as_object_mut().unwrap().extend(keys);
    config
}

trait WithStage {
    fn stage(self, id: &str, inputs: &[&str], streams: bool, more: Value) -> Self;
}

impl WithStage for World {
    fn stage(self, id: &str, inputs: &[&str], streams: bool, more: Value) -> Self {
        let config = stage(&self, streams, &more);
        self.component(Kind::Transform, id, "common", inputs, config)
    }
}

/// Waits until the first source, which has `rows`, is held back, and fails if most were read by then.
async fn stands_still(running: &Running, rows: i64) {
    let read = || running.rows_out(0);
    let mut before = 0;
    until("rows come no more", || {
        std::thread::sleep(Duration::from_millis(100));
        std::mem::replace(&mut before, read()) == read() && read() > 0
    })
    .await;
    assert!(
        read() < rows.unsigned_abs() / 2,
        "{} rows were read",
        read()
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn a_chain_of_stages_takes_rows_before_their_source_has_ended() {
    let world = World::new("taken_early");
    let gate = world.fault("n");
    let last = world.fault("last");
    shut(&format!("{gate}/read"));
    let world = world
        .source(
            "n",
            json!({"rows": 40_000, "step": 10_000, "gate": gate, "gate_from": 3}),
        )
        .stage("one", &["n"], true, json!({}))
        .stage("two", &["one"], true, json!({"name": last}))
        .sink("out", &["two"], json!({}));
    let running = Running::start(&world);
    until("the second stage has rows", || {
        came(&format!("{last}/came")) > 0
    })
    .await;
    // It may not have come there yet.
    let waits = || is_waited_at(&format!("{gate}/read"));
    until("the source has more", waits).await;
    assert!(world.place("out").visible.is_empty());
    open(&format!("{gate}/read"));
    running.complete().await;
    assert!(world.place("out").rows() == all(40_000));
}

#[tokio::test(flavor = "multi_thread")]
async fn rows_are_the_same_whether_they_are_streamed_or_collected() {
    for streams in [false, true] {
        let world = World::new(&format!("same_rows_{streams}"))
            .source("n", json!({"rows": 30_000, "splits": 5, "step": 700}))
            .source("few", json!({"rows": 20_000, "step": 900}))
            .stage("joined", &["n", "few"], streams, json!({}))
            .stage("again", &["joined"], streams, json!({}))
            .sink("out", &["again"], json!({}))
            .sink("raw", &["n"], json!({}));
        let report = world.complete().await;
        assert!(world.place("out").rows() == all(20_000), "{streams}");
        assert!(world.place("raw").rows() == all(150_000));
        assert_eq!(report.components[2].rows_in, 170_000);
        assert_eq!(came(&format!("{}/0", world.name)) > 0, streams);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn the_larger_side_is_held_back_until_the_other_is_there() {
    let rows = 8_000_000_i64;
    for streams in [false, true] {
        let world = World::new(&format!("held_back_{streams}"));
        let gate = world.fault("few");
        shut(&format!("{gate}/read"));
        let mut world = world
            .source("n", json!({"rows": rows / 4, "splits": 4, "step": 50_000}))
            .source("few", json!({"rows": 100, "gate": gate}))
            .stage("joined", &["n", "few"], streams, json!({}))
            .sink("out", &["joined"], json!({}));
        world.settings["queue"] = json!("8 MB");
        let running = Running::start(&world);
        let all_read = || running.rows_out(0) == rows.unsigned_abs();
        if streams {
            stands_still(&running, rows).await;
        } else {
            until("all rows are collected", all_read).await;
        }
        assert_eq!(came(&format!("{}/came", world.name)), 0);
        open(&format!("{gate}/read"));
        running.complete().await;
        assert!(world.place("out").rows() == all(100));
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_stage_that_reads_one_stream_twice_waits_for_its_end() {
    let world = World::new("one_stream_twice").source("n", json!({"rows": 50_000, "splits": 3}));
    let config = json!({"streams": [0, 1], "name": world.name});
    let world = world
        .component(
            Kind::Transform,
            "left",
            "sieve",
            &["n"],
            json!({"reject": 1_000_000}),
        )
        .component(Kind::Transform, "both", "common", &["n", "left"], config)
        .sink("out", &["both"], json!({}))
        .sink("bad", &["left.rejected"], json!({}));
    Running::start(&world).complete().await;
    assert!(world.place("out").rows() == (1..150_000).collect::<Vec<_>>());
    assert_eq!(came("one_stream_twice/0") + came("one_stream_twice/1"), 0);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_slow_stage_holds_up_its_source_and_no_other() {
    let world = World::new("slow_streamed");
    let gate = world.fault("stage");
    shut(&gate);
    let rows = 6_000_000_i64;
    let mut world = world
        .source("n", json!({"rows": rows / 4, "splits": 4, "step": 50_000}))
        .source("other", json!({"rows": 200_000, "step": 1000}))
        .stage("one", &["n"], true, json!({"gate": gate}))
        .sink("out", &["one"], json!({}))
        .sink("rest", &["other"], json!({}));
    world.settings["queue"] = json!("8 MB");
    let running = Running::start(&world);
    until("the other source is read", || {
        running.stats.components[1].rows_out() == 200_000
    })
    .await;
    stands_still(&running, rows).await;
    open(&gate);
    running.complete().await;
    assert_eq!(world.place("out").rows().len() as i64, rows);
}

#[tokio::test(flavor = "multi_thread")]
async fn what_a_stage_doesnt_take_any_more_is_dropped() {
    let world = World::new("enough")
        .source("n", json!({"rows": 3_000_000, "splits": 2, "step": 20_000}))
        .stage("first", &["n"], true, json!({"most": 1}))
        .sink("out", &["first"], json!({}));
    Running::start(&world).complete().await;
    let rows = world.place("out").rows().len();
    assert!(rows > 0 && rows < 1_000_000, "{rows} rows");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_stage_that_fails_in_the_middle_ends_the_run_with_its_cause() {
    let world = World::new("broken_stage")
        .source(
            "n",
            json!({"rows": 100_000_000, "step": 20_000, "pause_ms": 1}),
        )
        .stage("one", &["n"], true, json!({}))
        .stage("two", &["one"], true, json!({"panics_at": 300_000}))
        .sink("out", &["two"], json!({}))
        .sink("raw", &["n"], json!({}));
    let (report, result) = Running::start(&world).end().await;
    let error = result.unwrap_err();
    assert_eq!(report.status, Status::Failed);
    assert_eq!(error.kind(), ErrorKind::Internal);
    let text = error.to_string();
    assert!(text.contains("panicked") && text.contains("two"), "{text}");
    for sink in ["out", "raw"] {
        assert!(world.place(sink).visible.is_empty());
        assert!(world.place(sink).staged.is_empty());
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_source_that_fails_ends_a_stage_that_waits_for_it() {
    let mut world = World::new("broken_source");
    let fault = world.fault("read");
    crate::world::arm(&fault, 100);
    world = world
        .source(
            "n",
            json!({"rows": 100_000, "step": 10_000, "fault": fault}),
        )
        .stage("one", &["n"], true, json!({}))
        .sink("out", &["one"], json!({}));
    let (_, result) = Running::start(&world).end().await;
    let error = result.unwrap_err();
    assert!(
        error.to_string().contains("the numbers are gone"),
        "{error}"
    );
    assert!(world.place("out").visible.is_empty());
    // Once it works again, all of it is read.
    crate::world::arm(&fault, 0);
    Running::start(&world).complete().await;
    assert!(world.place("out").rows() == all(100_000));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_stop_leaves_nothing_of_rows_that_were_streamed() {
    let world = World::new("stopped_stage")
        .source(
            "n",
            json!({"rows": 100_000_000, "step": 10_000, "pause_ms": 1}),
        )
        .stage("one", &["n"], true, json!({}))
        .sink("out", &["one"], json!({}));
    let running = Running::start(&world);
    until("something is staged", || {
        !world.place("out").staged.is_empty()
    })
    .await;
    running.stop.send(true).unwrap();
    let (report, result) = running.end().await;
    result.unwrap();
    assert_eq!(report.status, Status::Abandoned);
    assert!(world.place("out").visible.is_empty());
    assert!(world.place("out").staged.is_empty());
}

#[tokio::test(flavor = "multi_thread")]
async fn a_run_that_dies_in_a_stage_starts_over_and_shows_every_row_once() {
    let world = World::new("killed_stage")
        .source("n", json!({"rows": 300, "splits": 3, "pause_ms": 1}))
        .source("few", json!({"rows": 500, "pause_ms": 1}))
        .stage("joined", &["n", "few"], true, json!({}))
        .stage("again", &["joined"], true, json!({}))
        .sink("out", &["again"], json!({}))
        .sink("raw", &["n"], json!({}));
    crash_until_done(&world, 11).await;
    assert!(world.place("out").rows() == all(500));
    assert!(world.place("raw").rows() == all(900));
    assert!(world.place("out").staged.is_empty());
}

#[tokio::test(flavor = "multi_thread")]
async fn ordered_rows_of_chained_splits_beside_streamed_ones_come_to_an_end() {
    let world = World::new("chained_streams")
        .source("n", json!({"rows": 300, "splits": 4, "chained": true}))
        .source("few", json!({"rows": 400, "splits": 3, "chained": true}))
        .stage("joined", &["n", "few"], true, json!({}))
        .sink("rows", &["n"], json!({"ordered": true}))
        .sink("common", &["joined"], json!({}));
    Running::start(&world).complete().await;
    let place = world.place("rows");
    let written: Vec<i64> = place.visible.into_values().flatten().collect();
    assert_eq!(written, all(1200));
    assert!(world.place("common").rows() == all(1200));
}
