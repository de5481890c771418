//! A source whose upstream gives so much and no more, and that only learns by reading how far it
//! came.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use futures::StreamExt;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use serde_json::json;
use tidegate_core::{
    Ask, ByteSize, Context, Error, Event, EventStream, FinishedSplit, Kind, Next, Offset, Plan,
    PlanState, Replay, Result, Rows, Scan, Source, SourceConfig, SourceContext, Split, SplitData,
    Stream, async_trait, register_source, typetag,
};
use tidegate_runtime::Status;

use crate::components::{batch, schema};
use crate::crashes::crash_until_done;
use crate::world::{World, all};

/// Numbers from an upstream that counts what it is asked for.
#[derive(Debug, Clone, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct RationedConfig {
    /// How many numbers each run reads.
    pub rows: i64,
    /// How many answers the upstream gives in all, with ten numbers each.
    pub quota: i64,
    /// Where it is asked.
    #[serde(default)]
    pub asks_in: Place,
    #[serde(default)]
    pub pause_ms: u64,
    /// Whether it waits for the next quota, instead of stopping the run.
    #[serde(default)]
    pub waits: bool,
    /// What its splits can do after a crash.
    #[serde(default = "offset")]
    #[schemars(with = "String")]
    pub replay: Replay,
    /// Every k-th answer has a position.
    #[serde(default = "one")]
    pub resume_every: i64,
}

impl RationedConfig {
    fn has_position(&self, end: i64, from: i64) -> bool {
        match self.replay {
            Replay::Whole => end == from + self.rows,
            _ => end / STEP % self.resume_every == 0,
        }
    }
}

fn one() -> i64 {
    1
}

fn offset() -> Replay {
    Replay::Offset
}

#[derive(Debug, Clone, Copy, PartialEq, Default, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum Place {
    Open,
    Plan,
    #[default]
    Read,
}

const STEP: i64 = 10;

/// How often a source began to wait for the next quota.
static WAITING: AtomicUsize = AtomicUsize::new(0);

#[async_trait]
#[typetag::serde(name = "rationed")]
impl SourceConfig for RationedConfig {
    async fn open(&self, cx: &SourceContext) -> Result<Arc<dyn Source>> {
        let source = Rationed {
            config: self.clone(),
            cx: cx.clone(),
        };
        if self.asks_in == Place::Open {
            source.take().await?;
        }
        Ok(Arc::new(source))
    }

    fn tuning_keys(&self) -> &'static [&'static str] {
        &["quota", "waits"]
    }
}
register_source!("rationed", RationedConfig);

#[derive(Debug, Clone)]
struct Rationed {
    config: RationedConfig,
    cx: Context,
}

impl Rationed {
    /// Takes one answer from what is left, for all pipelines and in this component's own count.
    async fn take(&self) -> Result<()> {
        let mut spent = false;
        for store in [&self.cx.store, &self.cx.shared] {
            loop {
                let used = store.get("rationed/used").await?;
                let count = used.as_ref().and_then(|used| used.as_i64()).unwrap_or(0);
                spent = count >= self.config.quota;
                if spent {
                    break;
                }
                let new = json!(count + 1);
                if store
                    .compare_and_set("rationed/used", used.as_ref(), &new)
                    .await?
                {
                    break;
                }
            }
        }
        match spent {
            true if self.config.waits => {
                WAITING.fetch_add(1, Ordering::SeqCst);
                std::future::pending().await
            }
            true => Err(Error::exhausted("the quota is spent").hint("wait for the next one")),
            false => Ok(()),
        }
    }
}

/// Where the next run begins.
#[derive(Debug, Default, Serialize, Deserialize)]
struct Known {
    from: i64,
}

#[async_trait]
impl Source for Rationed {
    fn streams(&self) -> Vec<Stream> {
        vec![Stream {
            name: "all".into(),
            schema: schema(),
            key: Vec::new(),
            bounded: true,
            replay: self.config.replay,
        }]
    }

    async fn plan(&self, ask: &Ask<'_>) -> Result<Plan> {
        let mut known: Known = ask
            .state
            .map(PlanState::decode)
            .transpose()?
            .unwrap_or_default();
        for FinishedSplit { split, offset } in ask.finished {
            assert_eq!(split.id.to_string(), known.from.to_string());
            if let Some(offset) = offset {
                known.from = offset.decode()?;
            }
        }
        if !ask.first && !ask.finished.is_empty() {
            return Ok(Plan {
                new: Vec::new(),
                revoked: Vec::new(),
                state: PlanState::encode(&known)?,
                next: Next::Complete,
            });
        }
        if self.config.asks_in == Place::Plan {
            self.take().await?;
        }
        let split = Split::new(known.from.to_string(), SplitData::encode(&known.from)?);
        Ok(Plan {
            new: Vec::from_iter(ask.first.then_some(split)),
            revoked: Vec::new(),
            state: PlanState::encode(&known)?,
            next: Next::WhenFinished,
        })
    }

    async fn read(
        &self,
        split: &Split,
        _: &[Scan],
        resume: Option<&Offset>,
    ) -> Result<EventStream> {
        let from: i64 = split.data.decode()?;
        let at: i64 = resume.map(Offset::decode).transpose()?.unwrap_or(from);
        let source = self.clone();
        let events = futures::stream::try_unfold(at, move |at| {
            let source = source.clone();
            async move {
                if at >= from + source.config.rows {
                    return Ok(None);
                }
                let pause = std::time::Duration::from_millis(source.config.pause_ms);
                tokio::time::sleep(pause).await;
                if source.config.asks_in == Place::Read {
                    source.take().await?;
                }
                let end = (at + STEP).min(from + source.config.rows);
                let event = Event::Rows {
                    stream: "all".into(),
                    rows: Rows::Batch(batch((at..end).collect())),
                    rejected: None,
                    resume: source
                        .config
                        .has_position(end, from)
                        .then(|| Offset::encode(&end))
                        .transpose()?,
                };
                Ok(Some((event, end)))
            }
        });
        Ok(events.boxed())
    }
}

fn set(world: &mut World, component: usize, key: &str, value: serde_json::Value) {
    world.components[component]
        .config
        .insert(key.to_owned(), value);
}

fn rationed(name: &str, rows: i64, quota: i64) -> World {
    World::new(name)
        .source("n", json!({"rows": 0}))
        .component(
            Kind::Source,
            "r",
            "rationed",
            &[],
            json!({"rows": rows, "quota": quota}),
        )
        .sink("out", &["n", "r"], json!({}))
}

fn each_state(name: &str, rows: i64, quota: i64) -> [World; 2] {
    [
        rationed(name, rows, quota),
        rationed(&format!("{name}_bucket"), rows, quota).with_bucket(),
    ]
}

#[tokio::test(flavor = "multi_thread")]
async fn the_last_position_of_a_finished_split_reaches_the_plan_of_the_next_run() {
    for mut world in each_state("learnt", 95, 1000) {
        for run in 1..=3 {
            world.complete().await;
            assert!(world.place("out").rows() == all(95 * run));
        }
        // A split without a row has no position, and one run more changes nothing.
        set(&mut world, 1, "rows", json!(0));
        world.complete().await;
        set(&mut world, 1, "rows", json!(95));
        world.complete().await;
        assert!(world.place("out").rows() == all(95 * 4));
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn splits_that_are_read_as_a_whole_tell_their_last_position_too() {
    for replay in [Replay::Whole, Replay::Session] {
        let mut crashes = 0;
        for (seed, mut world) in each_state(&format!("learnt_{replay:?}"), 200, 1_000_000)
            .into_iter()
            .enumerate()
        {
            set(&mut world, 1, "pause_ms", json!(1));
            set(&mut world, 1, "replay", json!(replay));
            let mut seed = 100 + seed as u64;
            while world.place("out").rows().len() < 800 {
                crashes += crash_until_done(&world, seed).await;
                seed += 10;
            }
            assert!(world.place("out").rows() == all(800), "{replay:?}");
        }
        assert!(
            crashes > 2,
            "the test must crash runs, and crashed {crashes}"
        );
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_stop_ends_a_source_s_wait_for_its_upstream() {
    for place in ["open", "plan", "read"] {
        for mut world in each_state(&format!("waiting_in_{place}"), 50, 0) {
            set(&mut world, 1, "asks_in", json!(place));
            set(&mut world, 1, "waits", json!(true));
            let (stop, options) = world.run_options();
            let pipeline = world.pipeline().unwrap();
            let before = WAITING.load(Ordering::SeqCst);
            let running = tokio::spawn(async move { pipeline.run(options).await });
            while WAITING.load(Ordering::SeqCst) == before {
                tokio::time::sleep(std::time::Duration::from_millis(5)).await;
            }
            stop.send(true).unwrap();
            let ended = tokio::time::timeout(std::time::Duration::from_secs(20), running);
            let (report, result) = ended.await.expect(place).unwrap();
            result.unwrap();
            assert_eq!(report.status, Status::Stopped, "{place}");
            set(&mut world, 1, "quota", json!(1000));
            world.complete().await;
            assert!(world.place("out").rows() == all(50), "{place}");
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn the_last_position_of_a_finished_split_outlives_crashes() {
    let mut crashes = 0;
    for (seed, mut world) in each_state("learnt_crashing", 600, 1_000_000)
        .into_iter()
        .enumerate()
    {
        world.options.checkpoint.bytes = Some(ByteSize(600));
        set(&mut world, 1, "pause_ms", json!(1));
        let mut seed = seed as u64;
        // A death before a run has begun leaves the one before it as finished.
        while world.place("out").rows().len() < 1800 {
            crashes += crash_until_done(&world, seed).await;
            seed += 10;
        }
        assert!(world.place("out").rows() == all(1800));
    }
    assert!(
        crashes > 8,
        "the test must crash runs, and crashed {crashes}"
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn a_source_that_gets_no_more_while_reading_stops_the_run_and_loses_nothing() {
    for mut world in each_state("spent", 100, 4) {
        for (quota, rows) in [(4, 40), (4, 40), (7, 70)] {
            set(&mut world, 1, "quota", json!(quota));
            let (report, result) = world.run().await;
            result.unwrap();
            assert_eq!(report.status, Status::Stopped);
            assert_eq!(report.restarts, 0);
            let why = report.exhausted.unwrap();
            assert_eq!(why.message, "the quota is spent");
            assert_eq!(why.context["component"], "r");
            assert_eq!(why.hint.as_deref(), Some("wait for the next one"));
            assert!(world.place("out").rows() == all(rows));
        }
        set(&mut world, 1, "quota", json!(1000));
        let report = world.complete().await;
        assert!(report.resumed);
        assert!(report.exhausted.is_none());
        assert!(world.place("out").rows() == all(100));
        world.complete().await;
        assert!(world.place("out").rows() == all(200));
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn every_answer_that_was_paid_for_is_committed() {
    for mut world in each_state("paid", 100_000, 400) {
        for quota in [400, 800] {
            set(&mut world, 1, "quota", json!(quota));
            let (report, result) = world.run().await;
            result.unwrap();
            assert_eq!(report.status, Status::Stopped);
            assert!(world.place("out").rows() == all(quota * STEP), "{quota}");
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_source_that_gets_no_more_between_two_positions_loses_what_came_after_the_first() {
    for mut world in each_state("spent_between", 100, 3) {
        set(&mut world, 1, "resume_every", json!(4));
        let (report, result) = world.run().await;
        result.unwrap();
        assert_eq!(report.status, Status::Abandoned);
        assert!(report.exhausted.is_some());
        assert!(world.place("out").visible.is_empty());
        assert!(world.place("out").staged.is_empty());
        set(&mut world, 1, "quota", json!(1000));
        world.complete().await;
        assert!(world.place("out").rows() == all(100));
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_source_that_gets_no_more_while_planning_or_opening_stops_the_run_and_keeps_the_rest() {
    for place in ["plan", "open"] {
        for mut world in each_state(&format!("spent_in_{place}"), 50, 1) {
            set(&mut world, 1, "asks_in", json!(place));
            set(&mut world, 0, "rows", json!(30));
            set(&mut world, 0, "incremental", json!(true));
            set(&mut world, 0, "splits", json!(1));
            world.complete().await;
            // The other source's rows and this one's begin at the same numbers.
            assert_eq!(world.place("out").rows().len(), 80);

            let (report, result) = world.run().await;
            result.unwrap();
            assert_eq!(report.status, Status::Stopped, "{place}");
            assert!(report.exhausted.is_some(), "{place}");
            set(&mut world, 1, "quota", json!(1000));
            let report = world.complete().await;
            assert!(report.resumed);
            let rows = world.place("out").rows();
            assert_eq!(rows.len(), 160, "{place}");
            for (number, times) in [(5, 2), (35, 2), (55, 2), (75, 1), (99, 1)] {
                let found = rows.iter().filter(|&&n| n == number).count();
                assert_eq!(found, times, "{place}: {number}");
            }
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_run_that_can_only_be_kept_whole_is_abandoned_when_a_source_gets_no_more() {
    for mut world in each_state("spent_whole", 100, 4) {
        world = world
            .component(Kind::Transform, "sum", "sum", &["r"], json!({}))
            .sink("sums", &["sum"], json!({}));
        let (report, result) = world.run().await;
        result.unwrap();
        assert_eq!(report.status, Status::Abandoned);
        assert!(report.exhausted.is_some());
        assert!(world.place("out").visible.is_empty());
        assert!(world.place("out").staged.is_empty());
        set(&mut world, 1, "quota", json!(1000));
        world.complete().await;
        assert!(world.place("out").rows() == all(100));
        assert_eq!(world.place("sums").rows(), [(0..100).sum::<i64>()]);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn pipelines_with_one_state_place_share_a_store_and_keep_their_own() {
    for in_a_bucket in [false, true] {
        let name = |which| format!("sharing{in_a_bucket}{which}");
        let mut first = rationed(&name(1), 60, 10);
        let mut second = rationed(&name(2), 60, 10);
        if in_a_bucket {
            first = first.with_bucket();
            second.bucket = first.bucket.clone();
        } else {
            second.directory = Arc::clone(&first.directory);
        }
        first.complete().await;
        let (report, result) = second.run().await;
        result.unwrap();
        // Six answers went to the first, so that four are left; each has counted its own.
        assert_eq!(report.status, Status::Stopped);
        assert_eq!(second.place("out").rows(), all(40));
        for (world, own) in [(&first, 6), (&second, 5)] {
            let store = world.store();
            let used = store.get_value(&world.name, "r", "rationed/used").await;
            assert_eq!(used.unwrap(), Some(json!(own)));
        }
        // Another place knows nothing of it.
        rationed(&name(3), 60, 10).complete().await;
    }
}
