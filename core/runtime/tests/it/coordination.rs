//! What takes long holds up nobody else, and what fails ends everything at once.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use futures::StreamExt;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use serde_json::{Value, json};
use tidegate_core::{
    Ask, ByteSize, Cancel, Error, ErrorKind, EventStream, Kind, Next, Offset, Plan, PlanState,
    Result, Scan, Source, SourceConfig, SourceContext, Span, Split, SplitData, Stream, async_trait,
    register_source, typetag,
};
use tidegate_runtime::Status;
use tidegate_runtime::state::{Change, Fence, Hold, PipelineState, SqliteStore, StateStore};

use crate::components::schema;
use crate::running::Running;
use crate::world::{
    World, all, arm, came, is_waited_at, open, shut, strikes, until, with_acknowledged,
};

/// One split that nobody comes to the end of.
fn long() -> Value {
    json!({"rows": 1_000_000_000, "pause_ms": 1})
}

fn every(world: &mut World, ms: u64) {
    world.options.checkpoint.interval = Some(Span(Duration::from_millis(ms)));
}

/// Splits of a hundred numbers, each planned when the one before is committed.
fn endless(gate: Option<String>) -> Value {
    json!({"rows": 100, "endless": true, "pause_ms": 1, "gate": gate})
}

#[tokio::test(flavor = "multi_thread")]
async fn a_source_that_plans_for_long_holds_up_no_other() {
    let mut world = World::new("slow_plan");
    let gate = world.fault("slow");
    world = world
        .source("a", endless(Some(gate.clone())))
        .source("b", endless(None))
        .sink("of_a", &["a"], json!({}))
        .sink("of_b", &["b"], json!({}));
    every(&mut world, 20);
    let gate = format!("{gate}/plan");
    for times in 0..2 {
        shut(&gate);
        let running = Running::start(&world);
        until("it is asked", || is_waited_at(&gate)).await;
        let seen = world.place("of_b").rows().len();
        until("the other's rows are committed", || {
            world.place("of_b").rows().len() > seen + 500
        })
        .await;
        open(&gate);
        until("its own come too", || {
            world.place("of_a").rows().len() > times * 100
        })
        .await;
        // A question later in the run is no different.
        shut(&gate);
        // Not by a count: a question may have been counted and come to the gate when it was shut.
        until("it is asked again", || is_waited_at(&gate)).await;
        let seen = world.place("of_b").rows().len();
        until("the other's rows are committed", || {
            world.place("of_b").rows().len() > seen + 500
        })
        .await;
        // A stop doesn't wait for it either.
        assert_eq!(running.stop().await.status, Status::Stopped);
        open(&gate);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_sink_that_commits_for_long_holds_up_neither_other_sinks_nor_the_next_epoch() {
    let mut world = World::new("slow_commit")
        .source("n", long())
        .sink("slow", &["n"], json!({}))
        .sink("fast", &["n"], json!({}));
    every(&mut world, 20);
    let gate = world.fault("slow/commit");
    shut(&gate);
    let running = Running::start(&world);
    until("it commits", || came(&gate) > 0).await;
    until("the other has committed", || {
        !world.place("fast").rows().is_empty()
    })
    .await;
    let seen = running.rows_out(0);
    until("the next epoch is filled", || {
        running.rows_out(0) > seen + 1000
    })
    .await;
    assert_eq!(came(&gate), 1);
    assert!(world.place("slow").rows().is_empty());
    open(&gate);
    until("all is committed", || {
        world.place("slow").rows().len() as u64 > seen + 1000
    })
    .await;
    running.stop().await;
    assert_eq!(world.place("slow").rows(), world.place("fast").rows());
}

#[tokio::test(flavor = "multi_thread")]
async fn an_epoch_of_so_many_bytes_waits_for_the_one_before() {
    let mut world = World::new("two_in_flight")
        .source("n", json!({"rows": 1_000_000, "endless": true}))
        .sink("out", &["n"], json!({}));
    world.options.checkpoint.bytes = Some(ByteSize(4000));
    world.settings["queue"] = json!("64 KB");
    let gate = world.fault("out/commit");
    shut(&gate);
    let running = Running::start(&world);
    until("it commits", || came(&gate) > 0).await;
    let mut seen = (0, 0);
    until("no more is read", || {
        let now = running.rows_out(0);
        seen = if now == seen.0 {
            (now, seen.1 + 1)
        } else {
            (now, 0)
        };
        seen.1 > 40
    })
    .await;
    assert!(seen.0 < 500_000, "{} rows", seen.0);
    assert_eq!(came(&gate), 1);
    open(&gate);
    until("it continues", || came(&gate) > 20).await;
    running.stop().await;
    let rows = world.place("out").rows();
    assert!(rows == all(rows.len() as i64));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_split_that_is_read_whole_holds_up_no_rows_of_others() {
    let mut world = World::new("long_whole");
    let gate = world.fault("whole");
    world = world
        .source(
            "whole",
            json!({"rows": 100, "splits": 3, "replay": "whole", "gate": gate, "pause_ms": 20}),
        )
        .source("b", long())
        .sink("out", &["whole"], json!({}))
        .sink("of_b", &["b"], json!({}));
    every(&mut world, 20);
    let gate = format!("{gate}/read");
    let running = Running::start(&world);
    until("it is read", || came(&gate) > 2).await;
    shut(&gate);
    assert!(world.place("out").rows().len() < 300, "it was too fast");
    // Nothing is committed meanwhile, but all of the other's rows flow.
    let seen = running.rows_out(1);
    until("the other's rows flow", || {
        running.rows_out(1) > seen + 1000
    })
    .await;
    open(&gate);
    until("all is committed", || world.place("out").rows() == all(300)).await;
    until("the other's too", || {
        world.place("of_b").rows().len() > 1000
    })
    .await;
    running.stop().await;
    assert_eq!(world.place("out").rows(), all(300));
}

#[tokio::test(flavor = "multi_thread")]
async fn splits_that_are_read_whole_one_after_the_other_leave_room_for_cuts() {
    let mut world = World::new("whole_after_whole")
        .source(
            "whole",
            json!({"rows": 40, "splits": 60, "replay": "whole", "pause_ms": 2}),
        )
        .source("b", json!({"rows": 4000, "pause_ms": 1}))
        .sink("out", &["whole"], json!({}))
        .sink("of_b", &["b"], json!({}));
    every(&mut world, 10);
    let report = world.complete().await;
    assert!(report.epochs > 5, "{}", report.epochs);
    assert_eq!(world.place("out").rows(), all(2400));
    assert_eq!(world.place("of_b").rows(), all(4000));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_stage_that_takes_long_holds_up_no_rows_of_the_next_epoch() {
    let mut world = World::new("slow_stage");
    let gate = world.fault("sum");
    world = world
        .source(
            "n",
            json!({"rows": 1_000_000_000, "pause_ms": 1, "endless": true}),
        )
        .component(
            Kind::Transform,
            "sum",
            "sum",
            &["n"],
            json!({"scope": "epoch", "gate": gate}),
        )
        .component(
            Kind::Transform,
            "again",
            "sum",
            &["sum"],
            json!({"scope": "epoch"}),
        )
        .sink("sums", &["again"], json!({}))
        .sink("raw", &["n"], json!({}));
    every(&mut world, 20);
    shut(&gate);
    let running = Running::start(&world);
    until("the stage runs", || came(&gate) > 0).await;
    let seen = running.rows_out(0);
    until("the next epoch is filled", || {
        running.rows_out(0) > seen + 1000
    })
    .await;
    open(&gate);
    until("both are committed", || {
        world.place("raw").rows().len() as u64 > seen + 1000
    })
    .await;
    running.stop().await;
    let sums: i64 = world.place("sums").rows().iter().sum();
    assert_eq!(sums, world.place("raw").rows().iter().sum::<i64>());
    assert!(world.place("sums").rows().len() > 1);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_stage_that_takes_long_ends_with_the_run_that_fails() {
    let mut world = World::new("failing_stage");
    let (gate, fault) = (world.fault("sum"), world.fault("read"));
    world = world
        .source(
            "n",
            json!({"rows": 1_000_000_000, "pause_ms": 1, "endless": true}),
        )
        .source(
            "bad",
            json!({"rows": 100, "gate": fault, "fault": fault, "new_columns": 1}),
        )
        .component(
            Kind::Transform,
            "sum",
            "sum",
            &["n"],
            json!({"scope": "epoch", "gate": gate}),
        )
        .sink("sums", &["sum", "bad"], json!({}));
    every(&mut world, 20);
    world.options.on_schema_change = tidegate_core::SchemaChange::Fail;
    shut(&gate);
    arm(&fault, 1);
    shut(&format!("{fault}/read"));
    let running = Running::start(&world);
    until("the stage runs", || came(&gate) > 0).await;
    open(&format!("{fault}/read"));
    let ended = tokio::time::timeout(Duration::from_secs(30), running.run).await;
    let (_, result) = ended.expect("it ends").unwrap();
    assert_eq!(result.unwrap_err().kind(), ErrorKind::SchemaChanged);
    assert!(world.place("sums").staged.is_empty());
    open(&gate);
}

/// A source whose stream holds a thread until it is cancelled, and says then that it was.
#[derive(Debug, Clone, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct StubbornConfig {
    /// Passed before the stream gives anything.
    pub gate: String,
}

#[async_trait]
#[typetag::serde(name = "stubborn")]
impl SourceConfig for StubbornConfig {
    async fn open(&self, cx: &SourceContext) -> Result<Arc<dyn Source>> {
        Ok(Arc::new(Stubborn {
            gate: self.gate.clone(),
            cancel: cx.cancel.clone(),
        }))
    }
}
register_source!("stubborn", StubbornConfig);

#[derive(Debug)]
struct Stubborn {
    gate: String,
    cancel: Cancel,
}

/// Waits, when it is dropped, for a thread that only ends when it is cancelled.
struct Thread(Option<std::thread::JoinHandle<()>>);

impl Drop for Thread {
    fn drop(&mut self) {
        self.0.take().unwrap().join().unwrap();
    }
}

#[async_trait]
impl Source for Stubborn {
    fn streams(&self) -> Vec<Stream> {
        vec![Stream {
            name: "all".into(),
            schema: schema(),
            key: Vec::new(),
            bounded: true,
            replay: tidegate_core::Replay::Offset,
        }]
    }

    async fn plan(&self, ask: &Ask<'_>) -> Result<Plan> {
        let split = Split::new("one", SplitData::encode(&())?);
        Ok(Plan {
            new: Vec::from_iter(ask.first.then_some(split)),
            revoked: Vec::new(),
            state: PlanState::encode(&())?,
            next: Next::Complete,
        })
    }

    async fn read(&self, _: &Split, _: &[Scan], _: Option<&Offset>) -> Result<EventStream> {
        let cancel = self.cancel.clone();
        let thread = Thread(Some(std::thread::spawn(move || {
            while !cancel.is_cancelled() {
                std::thread::sleep(Duration::from_millis(2));
            }
        })));
        let (gate, cancel) = (self.gate.clone(), self.cancel.clone());
        let events = futures::stream::once(async move {
            crate::world::pass(&gate).await;
            cancel.cancelled().await;
            drop(thread);
            Err(Error::transient("it was cancelled"))
        });
        Ok(events.boxed())
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn what_fails_first_is_told_and_cancels_everything_before_anything_is_waited_for() {
    let mut world = World::new("first_cause");
    let (gate, fault) = (world.fault("stubborn"), world.fault("read"));
    world = world
        .source(
            "n",
            json!({"rows": 100_000, "pause_ms": 1, "fault": fault, "new_columns": 1}),
        )
        .component(
            Kind::Source,
            "stubborn",
            "stubborn",
            &[],
            json!({"gate": gate}),
        )
        .sink("out", &["n", "stubborn"], json!({}));
    world.options.on_schema_change = tidegate_core::SchemaChange::Fail;
    arm(&fault, 1);
    let ended = tokio::time::timeout(Duration::from_secs(30), world.run()).await;
    let (report, result) = ended.expect("it ends");
    let error = result.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::SchemaChanged, "{error:?}");
    assert!(format!("{error:?}").contains("n"), "{error:?}");
    assert_eq!(report.restarts, 0, "what followed would be retried");
    assert!(world.place("out").staged.is_empty());
}

/// A store that counts the plans that are written, and whose answer to a run's end gets lost while the
/// fault `lost_answer` strikes.
#[derive(Debug)]
struct Watched {
    store: SqliteStore,
    plans: AtomicUsize,
}

#[async_trait]
impl StateStore for Watched {
    async fn acquire(&self, pipeline: &str) -> Result<Hold> {
        self.store.acquire(pipeline).await
    }

    async fn verify(&self, pipeline: &str, fence: Fence) -> Result<()> {
        self.store.verify(pipeline, fence).await
    }

    async fn load(&self, pipeline: &str) -> Result<Option<PipelineState>> {
        self.store.load(pipeline).await
    }

    async fn apply(&self, pipeline: &str, fence: Fence, change: Change) -> Result<()> {
        if matches!(change, Change::Planned { .. }) {
            self.plans.fetch_add(1, Ordering::SeqCst);
        }
        let ends = matches!(change, Change::Committed { last: true, .. });
        self.store.apply(pipeline, fence, change).await?;
        match ends && strikes("lost_answer") {
            true => Err(Error::transient("the answer is lost")),
            false => Ok(()),
        }
    }

    async fn get_value(&self, pipeline: &str, component: &str, key: &str) -> Result<Option<Value>> {
        self.store.get_value(pipeline, component, key).await
    }

    async fn compare_and_set_value(
        &self,
        pipeline: &str,
        component: &str,
        key: &str,
        expected: Option<&Value>,
        value: &Value,
    ) -> Result<bool> {
        self.store
            .compare_and_set_value(pipeline, component, key, expected, value)
            .await
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_run_that_has_ended_is_not_begun_anew_where_the_answer_is_lost() {
    let mut world = World::new("lost_answer")
        .source("n", json!({"rows": 100}))
        .sink("out", &["n"], json!({}));
    world.watched = Some(Arc::new(Watched {
        store: SqliteStore::open(&world.state()).unwrap(),
        plans: AtomicUsize::new(0),
    }));
    for run in 1..=2 {
        arm("lost_answer", 1);
        let report = world.complete().await;
        assert_eq!(report.restarts, 1);
        assert_eq!(world.place("out").rows().len(), 100 * run);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn an_answer_that_changes_nothing_is_not_written_again() {
    let mut world = World::new("unchanged_plan");
    let gate = world.fault("n");
    let store = Arc::new(Watched {
        store: SqliteStore::open(&world.state()).unwrap(),
        plans: AtomicUsize::new(0),
    });
    world.watched = Some(Arc::clone(&store) as _);
    world = world
        .source(
            "n",
            json!({"rows": 100_000, "endless": true, "pause_ms": 1, "gate": gate}),
        )
        .sink("out", &["n"], json!({}));
    every(&mut world, 20);
    let running = Running::start(&world);
    let asked = format!("{gate}/plan");
    until("it is asked many times", || came(&asked) > 20).await;
    assert_eq!(store.plans.load(Ordering::SeqCst), 1);
    running.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn finished_splits_are_told_once_in_each_kind_of_run() {
    for (index, kind) in ["offset", "session", "stage"].into_iter().enumerate() {
        let mut world = World::new(&format!("told{index}"));
        let replay = if kind == "session" {
            "session"
        } else {
            "offset"
        };
        let fault = world.fault("read");
        world = world
            .source(
                "n",
                json!({
                    "rows": 100, "splits": 2, "rounds": 4, "replay": replay, "pause_ms": 1,
                    "fault": fault,
                }),
            )
            .sink("out", &["n"], json!({}));
        if kind == "stage" {
            world = world
                .component(Kind::Transform, "sum", "sum", &["n"], json!({}))
                .sink("sums", &["sum"], json!({}));
        }
        // The double panics when a split is told twice. Attempts fail in each round.
        crate::crashes::crash_until_done(&world, 11).await;
        arm(&world.fault("read"), 3);
        world.complete().await;
        let twice = world.place("out").rows();
        assert_eq!(twice.len(), 1600, "{kind}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn two_splits_with_one_id_are_refused_by_name() {
    let world = World::new("twins")
        .source("n", json!({"rows": 10, "splits": 2, "twins": true}))
        .sink("out", &["n"], json!({}));
    let error = world.run().await.1.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Internal);
    let told = format!("{error:?}");
    for part in ["two splits with one id", "component: n", "split: 7"] {
        assert!(told.contains(part), "{part} in {told}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_source_is_read_within_its_limit_and_listeners_are_all_heard() {
    let cases = [
        (json!({"splits": 30}), 6),
        (json!({"splits": 30, "limit": 9}), 9),
        (json!({"splits": 2000, "listens": true}), 2000),
        (json!({"splits": 30, "listens": true, "limit": 5}), 5),
    ];
    for (index, (mut config, most)) in cases.into_iter().enumerate() {
        let mut world = World::new(&format!("limits{index}"));
        let gate = world.fault("n");
        let more = json!({"rows": 10, "endless": true, "gate": gate});
        let more = more.as_object().unwrap().clone();
        config.as_object_mut().unwrap().extend(more);
        let splits = config["splits"].as_i64().unwrap();
        world = world.source("n", config).sink("out", &["n"], json!({}));
        every(&mut world, 20);
        let graph = world.pipeline().unwrap().check().await.unwrap();
        let notes = graph.describe_with_splits(|_| None).await.unwrap().notes;
        let said = notes.iter().any(|note| note.contains("30 open splits"));
        assert_eq!(said, most == 5, "{notes:?}");
        let read = format!("{gate}/read");
        shut(&read);
        let running = Running::start(&world);
        until("as many are read", || came(&read) >= most).await;
        let asked = came(&format!("{gate}/plan"));
        until("time passes", || came(&format!("{gate}/plan")) > asked + 5).await;
        assert_eq!(came(&read), most, "case {index}");
        open(&read);
        until("all are read in the end", || {
            world.place("out").rows().len() as i64 >= splits * 10
        })
        .await;
        running.stop().await;
    }
}

/// What was acknowledged of each split in the end: position, whether finished, rejected rows in all.
fn acknowledged(place: &str) -> BTreeMap<String, (Option<i64>, bool, u64)> {
    let mut splits = BTreeMap::new();
    with_acknowledged(place, |all| {
        for told in all {
            let known = splits
                .entry(told.split.to_string())
                .or_insert((None, false, 0));
            let offset: Option<i64> = told.offset.as_ref().map(|offset| offset.decode().unwrap());
            assert!(offset >= known.0, "a position went back");
            assert!(!known.1 || told.finished, "told again as unfinished");
            *known = (offset, told.finished, known.2 + told.rejected);
        }
    });
    splits
}

#[tokio::test(flavor = "multi_thread")]
async fn finished_splits_and_rejected_rows_are_acknowledged() {
    for replay in ["offset", "whole"] {
        let mut world = World::new(&format!("acknowledged_{replay}"));
        let place = world.fault("n");
        world = world
            .source(
                "n",
                json!({
                    "rows": 500, "splits": 3, "replay": replay, "pause_ms": 1, "acknowledges": place,
                }),
            )
            .component(
                Kind::Transform,
                "sieve",
                "sieve",
                &["n"],
                json!({"reject": 10}),
            )
            .sink("good", &["sieve"], json!({"reject": -7}))
            .sink("bad", &["sieve.rejected", "good.rejected"], json!({}));
        every(&mut world, 20);
        // What can't be told is told later.
        arm(&place, 2);
        world.complete().await;
        let offset = (replay == "offset").then_some(500);
        // What a sink rejects belongs to no split.
        let all = (0..3).map(|split| (split.to_string(), (offset, true, 50)));
        assert_eq!(acknowledged(&place), all.collect(), "{replay}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_run_that_resumes_tells_first_what_was_committed_before() {
    let mut world = World::new("reminded");
    let place = world.fault("n");
    let gate = world.fault("read");
    world = world
        .source(
            "n",
            json!({
                "rows": 100, "splits": 2, "endless": true, "acknowledges": place, "gate": gate,
            }),
        )
        .sink("out", &["n"], json!({}));
    every(&mut world, 20);
    arm(&place, 1000);
    shut(&format!("{gate}/plan"));
    let running = Running::start(&world);
    until("it is asked", || came(&format!("{gate}/plan")) > 0).await;
    open(&format!("{gate}/plan"));
    until("it is committed", || world.place("out").rows().len() >= 200).await;
    running.stop().await;
    // What a source doesn't hear of isn't told as finished either, so the state has it.
    assert_eq!(world.place("out").rows().len(), 200);
    shut(&format!("{gate}/read"));
    assert!(acknowledged(&place).is_empty());
    arm(&place, 0);
    // Nothing new is read.
    let running = Running::start(&world);
    until("it is told", || acknowledged(&place).len() == 2).await;
    open(&format!("{gate}/read"));
    running.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn what_a_source_asks_for_is_committed_without_waiting_for_the_interval() {
    for (index, (replay, splits, rows)) in [("offset", 1, 30), ("offset", 4, 120)]
        .into_iter()
        .enumerate()
    {
        let mut world = World::new(&format!("requested{index}"));
        let gate = world.fault("n");
        world = world
            .source(
                "n",
                json!({
                    "rows": 1_000_000, "splits": splits, "replay": replay, "endless": true,
                    "requests": true, "gate": gate, "gate_from": 3,
                }),
            )
            .sink("out", &["n"], json!({}));
        every(&mut world, 3_600_000);
        shut(&format!("{gate}/read"));
        let running = Running::start(&world);
        until("all that was given is committed", || {
            world.place("out").rows().len() == rows
        })
        .await;
        running.stop().await;
        open(&format!("{gate}/read"));
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_asked_for_between_two_positions_is_committed_at_the_next() {
    let mut world = World::new("requested_between");
    let gate = world.fault("n");
    world = world
        .source(
            "n",
            json!({
                "rows": 1_000_000, "endless": true, "requests": true, "resume_every": 4,
                "pause_ms": 1, "gate": gate, "gate_from": 8,
            }),
        )
        .sink("out", &["n"], json!({}));
    every(&mut world, 3_600_000);
    shut(&format!("{gate}/read"));
    let running = Running::start(&world);
    until("what has a position is committed", || {
        world.place("out").rows().len() == 80
    })
    .await;
    open(&format!("{gate}/read"));
    running.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_asked_for_within_the_least_interval_is_joined() {
    let mut world = World::new("joined")
        .source(
            "n",
            json!({"rows": 1_000_000, "endless": true, "requests": true, "pause_ms": 1}),
        )
        .sink("out", &["n"], json!({}));
    every(&mut world, 3_600_000);
    world.options.checkpoint.min_interval = Some(Span(Duration::from_secs(3600)));
    let running = Running::start(&world);
    until("the first is made at once", || {
        world.place("out").commits.len() == 1
    })
    .await;
    let seen = running.rows_out(0);
    until("more is asked for", || running.rows_out(0) > seen + 2000).await;
    assert_eq!(world.place("out").commits.len(), 1);
    running.stop().await;
    world.options.checkpoint.min_interval = Some(Span(Duration::from_millis(1)));
    let running = Running::start(&world);
    until("each is made", || world.place("out").commits.len() > 20).await;
    running.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_kept_lives_over_the_attempts_of_one_run() {
    let mut world = World::new("kept");
    let (fault, a, b) = (world.fault("read"), world.fault("a"), world.fault("b"));
    world = world
        .source("a", json!({"rows": 1000, "fault": fault, "keeps": a}))
        .source("b", json!({"rows": 1000, "keeps": b}))
        .sink("out", &["a", "b"], json!({}));
    let (made, ended, gone) = (
        |of: &str| came(&format!("{of}/made")),
        |of: &str| came(&format!("{of}/ended")),
        |of: &str| came(&format!("{of}/gone")),
    );
    world.pipeline().unwrap().check().await.unwrap();
    assert_eq!((made(&a), made(&b)), (0, 0), "a check keeps nothing");
    for run in 1..=2 {
        arm(&fault, 3);
        let report = world.complete().await;
        assert!(report.restarts >= 1);
        for of in [&a, &b] {
            assert_eq!((made(of), ended(of), gone(of)), (run, run, run), "{of}");
        }
    }
}

/// Two endless splits of a million numbers each, and what was acknowledged of them.
fn revoking(name: &str, more: Value) -> (World, String) {
    let mut world = World::new(name);
    let place = world.fault("n");
    let mut config = json!({
        "rows": 1_000_000, "splits": 2, "endless": true, "pause_ms": 1,
        "acknowledges": place, "revokes": place,
    });
    let more = more.as_object().unwrap().clone();
    config.as_object_mut().unwrap().extend(more);
    world = world.source("n", config).sink("out", &["n"], json!({}));
    every(&mut world, 50);
    (world, place)
}

/// The committed rows of the first split and of the last one, each a beginning of it.
fn of_both(world: &World) -> (i64, i64) {
    let (first, last): (Vec<_>, Vec<_>) = world
        .place("out")
        .rows()
        .into_iter()
        .partition(|&n| n < 1_000_000);
    assert!(first == all(first.len() as i64));
    assert!(last.iter().copied().eq((1_000_000..).take(last.len())));
    (first.len() as i64, last.len() as i64)
}

#[tokio::test(flavor = "multi_thread")]
async fn what_was_handed_out_of_a_revoked_split_is_committed_and_the_rest_left_to_others() {
    let (mut world, place) = revoking("revoked", json!({}));
    // No interval is waited for.
    every(&mut world, 3_600_000);
    let running = Running::start(&world);
    until("both are read", || running.rows_out(0) > 500).await;
    arm(&place, 1);
    until("it is acknowledged", || {
        acknowledged(&place).get("0").is_some_and(|told| told.1)
    })
    .await;
    // Somebody else may read on from here: exactly what comes before is committed, forever.
    let upto = acknowledged(&place)["0"].0.unwrap();
    assert!(upto > 0);
    assert_eq!(of_both(&world).0, upto);
    let seen = running.rows_out(0);
    until("the other continues", || running.rows_out(0) > seen + 500).await;
    running.stop().await;
    let (_, seen) = of_both(&world);
    every(&mut world, 50);
    let running = Running::start(&world);
    until("also in the next process", || {
        of_both(&world).1 > seen + 500
    })
    .await;
    let report = running.stop().await;
    assert_eq!((of_both(&world).0, report.restarts), (upto, 0));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_split_revoked_before_it_was_read_never_is() {
    let (world, place) = revoking("revoked_early", json!({"limit": 1}));
    let running = Running::start(&world);
    until("one is read", || of_both(&world).0 > 100).await;
    arm(&format!("{place}/last"), 1);
    until("it is acknowledged", || {
        acknowledged(&place).get("1") == Some(&(None, true, 0))
    })
    .await;
    running.stop().await;
    assert_eq!(of_both(&world).1, 0);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_split_revoked_between_two_positions_is_dropped_back_to_the_last_checkpoint() {
    for (index, more) in [json!({"resume_every": 100_000}), json!({"replay": "whole"})]
        .into_iter()
        .enumerate()
    {
        let (world, place) = revoking(&format!("revoked_between{index}"), more);
        let running = Running::start(&world);
        until("both are read", || running.rows_out(0) > 500).await;
        arm(&place, 1);
        until("it is begun again", || running.stats.restarts() == 1).await;
        let seen = running.rows_out(0);
        until("the other is read", || running.rows_out(0) > seen + 500).await;
        arm(&format!("{place}/last"), 1);
        until("it is begun again", || running.stats.restarts() == 2).await;
        running.stop().await;
        assert_eq!(of_both(&world), (0, 0));
        assert!(world.place("out").staged.is_empty());
        assert!(acknowledged(&place).values().all(|told| !told.1));
    }
}
