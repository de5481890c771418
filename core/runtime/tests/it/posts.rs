//! A sink of requests that take their time, and what happens with it in a pipeline.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::{Arc, LazyLock, Mutex};
use std::time::{Duration, Instant};

use arrow_array::cast::AsArray;
use arrow_array::types::Int64Type;
use arrow_array::{ArrayRef, Int64Array, RecordBatch};
use arrow_schema::{DataType, Field, Schema, SchemaRef};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use serde_json::json;
use tidegate_core::{
    ByteSize, Commit, Delivery, Distribution, Epoch, ErrorKind, InFlight, IoWriter, Kind, Recovery,
    Rejected, Result, Sealed, Sink, SinkBatch, SinkConfig, SinkContext, SinkEpoch, Spread, Writer,
    WriterId, Written, async_trait, register_sink, typetag,
};

use crate::crashes::crash_until_done;
use crate::world::{World, arm, strikes};

/// What came to a server.
#[derive(Debug, Default, Clone)]
struct Server {
    /// The rows of each request, in the order in which requests ended.
    requests: Vec<Vec<i64>>,
    under_way: usize,
    most_under_way: usize,
    most_threads: usize,
    /// The origins with which each row came.
    origins: BTreeMap<i64, BTreeSet<String>>,
    ended: Option<Instant>,
}

static SERVERS: LazyLock<Mutex<BTreeMap<String, Server>>> = LazyLock::new(Mutex::default);

fn with_server<T>(name: &str, change: impl FnOnce(&mut Server) -> T) -> T {
    change(SERVERS.lock().unwrap().entry(name.to_owned()).or_default())
}

/// Requests.
#[derive(Debug, Clone, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
struct PostsConfig {
    server: String,
    /// How long a request takes.
    #[serde(default)]
    pause_ms: u64,
    /// How many may be under way.
    writers: usize,
    /// Rows of a request.
    rows: usize,
    #[serde(default)]
    bytes: Option<u64>,
    #[serde(default)]
    ordered: bool,
    #[serde(default)]
    hash: bool,
    #[serde(default)]
    origins: bool,
    /// Multiples of this are rejected.
    #[serde(default)]
    reject: Option<i64>,
    /// Has answers: the numbers that were taken, odd ones with the write, even ones at the end.
    #[serde(default)]
    answers: bool,
}

fn answers() -> SchemaRef {
    Arc::new(Schema::new(vec![Field::new("n", DataType::Int64, false)]))
}

fn answered(numbers: Vec<i64>) -> Vec<RecordBatch> {
    if numbers.is_empty() {
        return Vec::new();
    }
    let column: ArrayRef = Arc::new(Int64Array::from(numbers));
    vec![RecordBatch::try_new(answers(), vec![column]).unwrap()]
}

#[async_trait]
#[typetag::serde(name = "posts")]
impl SinkConfig for PostsConfig {
    async fn open(&self, cx: &SinkContext) -> Result<Arc<dyn Sink>> {
        Ok(Arc::new(Posts(self.clone(), cx.answers)))
    }
}
register_sink!("posts", PostsConfig);

#[derive(Debug)]
struct Posts(PostsConfig, bool);

#[async_trait]
impl Sink for Posts {
    fn delivery(&self) -> Delivery {
        Delivery::AtLeastOnce
    }

    fn distribution(&self, _: usize) -> Distribution {
        let spread = match self.0.hash {
            true => Spread::Hash(vec!["n".into()]),
            false => Spread::Any,
        };
        let ordered = self.0.ordered;
        Distribution { spread, ordered }
    }

    fn wants_origins(&self) -> bool {
        self.0.origins
    }

    fn answers(&self) -> Option<SchemaRef> {
        self.0.answers.then(answers)
    }

    fn writer_bytes(&self) -> u64 {
        0
    }

    fn in_flight(&self) -> InFlight {
        InFlight {
            writers: self.0.writers,
            rows: self.0.rows,
            bytes: self.0.bytes.unwrap_or(u64::MAX),
        }
    }

    async fn epoch(&self, _: Epoch) -> Result<Arc<dyn SinkEpoch>> {
        Ok(Arc::new(PostsEpoch(self.0.clone(), self.1)))
    }

    async fn commit(&self, _: &Commit<'_>) -> Result<()> {
        Ok(())
    }

    async fn recover(&self, _: &Recovery<'_>) -> Result<()> {
        Ok(())
    }
}

#[derive(Debug)]
struct PostsEpoch(PostsConfig, bool);

#[async_trait]
impl SinkEpoch for PostsEpoch {
    async fn writer(&self, _: WriterId) -> Result<Writer> {
        Ok(Writer::Io(Box::new(Post {
            config: self.0.clone(),
            answers: self.1,
            late: Vec::new(),
        })))
    }

    async fn seal(&self) -> Result<Sealed> {
        Ok(Sealed::default())
    }

    async fn abandon(&self) {}
}

struct Post {
    config: PostsConfig,
    answers: bool,
    late: Vec<i64>,
}

/// A request that is under way ends with its future.
struct UnderWay<'a>(&'a str);

impl<'a> UnderWay<'a> {
    fn begin(name: &'a str) -> Self {
        let threads = threads();
        with_server(name, |server| {
            server.under_way += 1;
            server.most_under_way = server.most_under_way.max(server.under_way);
            server.most_threads = server.most_threads.max(threads);
        });
        Self(name)
    }
}

impl Drop for UnderWay<'_> {
    fn drop(&mut self) {
        with_server(self.0, |server| server.under_way -= 1);
    }
}

#[async_trait]
impl IoWriter for Post {
    async fn write(&mut self, batch: SinkBatch) -> Result<Written> {
        let config = &self.config;
        let request = UnderWay::begin(&config.server);
        tokio::time::sleep(Duration::from_millis(config.pause_ms)).await;
        assert!(
            !strikes(&format!("{}/panic", config.server)),
            "the client is broken"
        );
        let numbers = batch.rows.column(0).as_primitive::<Int64Type>().values();
        let mut rejected = Rejected::default();
        let mut taken = Vec::new();
        for (row, n) in numbers.iter().enumerate() {
            let origin = batch
                .origins
                .as_ref()
                .map(|origins| origins.get(row).unwrap());
            if config.reject.is_some_and(|k| n % k == 0) {
                let place = origin.map(|origin| origin.rejected()).unwrap_or_default();
                rejected.push(format!("{{\"n\":{n}}}"), "a multiple", place);
                continue;
            }
            taken.push(*n);
            if let Some(origin) = origin {
                with_server(&config.server, |server| {
                    let known = server.origins.entry(*n).or_default();
                    known.insert(origin.to_string());
                });
            }
        }
        drop(request);
        let mut early = Vec::new();
        if self.answers {
            early = taken.iter().copied().filter(|n| n % 2 != 0).collect();
            self.late.extend(taken.iter().filter(|n| *n % 2 == 0));
        }
        with_server(&config.server, |server| {
            server.requests.push(taken);
            server.ended = Some(Instant::now());
        });
        Ok(Written {
            rejected,
            answers: answered(early),
        })
    }

    async fn finish(self: Box<Self>) -> Result<Written> {
        Ok(Written {
            answers: answered(self.late),
            ..Written::default()
        })
    }
}

/// The threads of this process.
fn threads() -> usize {
    let status = std::fs::read_to_string("/proc/self/status").unwrap();
    let line = status.lines().find(|line| line.starts_with("Threads:"));
    line.unwrap()["Threads:".len()..].trim().parse().unwrap()
}

fn world(name: &str, source: serde_json::Value, mut sink: serde_json::Value) -> World {
    sink["server"] = json!(name);
    World::new(name)
        .source("n", source)
        .component(Kind::Sink, "posts", "posts", &["n"], sink)
}

fn server(name: &str) -> Server {
    with_server(name, |server| server.clone())
}

fn rows(server: &Server) -> Vec<i64> {
    let mut rows: Vec<i64> = server.requests.iter().flatten().copied().collect();
    rows.sort_unstable();
    rows
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn two_hundred_requests_at_once_need_no_threads() {
    let name = "posts_many";
    let sink = json!({"writers": 200, "rows": 1, "pause_ms": 200});
    let world = world(name, json!({"rows": 600}), sink);
    let before = threads();
    let began = Instant::now();
    world.complete().await;
    let took = began.elapsed();
    let server = server(name);
    assert_eq!(rows(&server), (0..600).collect::<Vec<_>>());
    assert!(server.requests.iter().all(|request| request.len() == 1));
    assert_eq!(server.most_under_way, 200);
    // One by one they would take two minutes.
    assert!(took < Duration::from_secs(20), "{took:?}");
    // The tests beside this one start threads of their own.
    let more = server.most_threads.saturating_sub(before);
    assert!(more < 100, "{more} threads more");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_sink_that_waits_holds_up_no_other_branch() {
    let name = "posts_slow";
    let sink = json!({"server": name, "writers": 1, "rows": 2000, "pause_ms": 100, "bytes": 1});
    let mut world = World::new(name)
        .source("slow", json!({"rows": 80_000, "step": 2000}))
        .source("fast", json!({"rows": 200_000, "step": 100}))
        .component(Kind::Sink, "posts", "posts", &["slow"], sink)
        .sink("out", &["fast"], json!({}));
    // A few events of the slow branch fill the queue.
    world.settings = json!({"workers": 1, "attempts": 4, "queue": "64 kB"});
    let began = Instant::now();
    let run = tokio::spawn(async move {
        world.complete().await;
        world
    });
    let written = || {
        crate::world::with_place(&format!("{name}/out"), |place| {
            place.batches.iter().sum::<usize>()
        })
    };
    while written() < 190_000 {
        assert!(began.elapsed() < Duration::from_secs(60), "{}", written());
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
    let posted = server(name).requests.len();
    assert!(
        posted < 40,
        "the other branch was through only after all requests"
    );
    let world = run.await.unwrap();
    assert_eq!(rows(&server(name)), (0..80_000).collect::<Vec<_>>());
    assert_eq!(world.place("out").rows().len(), 200_000);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_sink_that_encodes_for_a_slow_place_holds_up_no_other_branch() {
    let mut world = World::new("cpu_slow")
        .source("slow", json!({"rows": 200_000, "step": 10_000}))
        .source("fast", json!({"rows": 200_000, "step": 100}))
        .sink("posts", &["slow"], json!({"ready_ms": 100}))
        .sink("out", &["fast"], json!({}));
    world.settings = json!({"workers": 1, "attempts": 4, "queue": "64 kB"});
    let began = Instant::now();
    let run = tokio::spawn(async move {
        world.complete().await;
        world
    });
    let batches = |sink: &str| {
        crate::world::with_place(&format!("cpu_slow/{sink}"), |place| place.batches.clone())
    };
    while batches("out").iter().sum::<usize>() < 190_000 {
        assert!(began.elapsed() < Duration::from_secs(60));
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
    assert!(batches("posts").len() < 20, "the other branch was held up");
    let world = run.await.unwrap();
    // It was waited for after each of its twenty batches but the last.
    assert!(began.elapsed() > Duration::from_millis(1900));
    assert_eq!(world.place("posts").rows().len(), 200_000);
    assert_eq!(world.place("out").rows().len(), 200_000);
}

#[tokio::test(flavor = "multi_thread")]
async fn no_more_is_read_for_a_sink_than_it_may_hold() {
    let name = "posts_held";
    let sink = json!({"writers": 2, "rows": 1000, "pause_ms": 20, "bytes": 20_000});
    let mut world = world(name, json!({"rows": 400_000, "step": 10_000}), sink);
    world.settings["queue"] = json!("160 kB");
    let (stop, options) = world.run_options();
    let pipeline = world.pipeline().unwrap();
    let stats = pipeline.stats();
    let run = tokio::spawn(async move { pipeline.run(options).await });
    let mut most = 0;
    while !run.is_finished() {
        let given = stats.components[1].rows_in();
        let posted = rows(&server(name)).len() as u64;
        most = most.max(given.saturating_sub(posted));
        tokio::time::sleep(Duration::from_millis(1)).await;
    }
    run.await.unwrap().1.unwrap();
    drop(stop);
    assert_eq!(rows(&server(name)).len(), 400_000);
    // What it may hold, and what three workers had in hand when it was enough.
    assert!(most <= 50_000, "{most} rows waited");
}

#[tokio::test(flavor = "multi_thread")]
async fn an_order_is_kept_where_it_is_asked_for_and_only_there() {
    for hash in [false, true] {
        let name = format!("posts_ordered_{hash}");
        let sink = json!({"writers": 8, "rows": 3, "pause_ms": 1, "ordered": true, "hash": hash});
        let source = json!({"rows": 500, "splits": 3, "step": 7});
        let world = world(&name, source, sink);
        world.complete().await;
        let server = server(&name);
        assert_eq!(rows(&server), (0..1500).collect::<Vec<_>>());
        let posted: Vec<i64> = server.requests.iter().flatten().copied().collect();
        for split in 0..3 {
            let of_split: Vec<_> = posted.iter().filter(|n| **n / 500 == split).collect();
            // By hash, what is in order is each value's rows.
            assert!(
                hash || of_split.is_sorted(),
                "split {split} came out of order"
            );
        }
        assert!(server.most_under_way > 1, "{}", server.most_under_way);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn what_an_io_writer_rejects_reaches_its_reader_in_the_same_epoch() {
    let name = "posts_rejected";
    let sink = json!({"writers": 5, "rows": 10, "pause_ms": 1, "reject": 10, "origins": true});
    let mut world = world(name, json!({"rows": 1000, "splits": 2}), sink).sink(
        "bad",
        &["posts.rejected"],
        json!({}),
    );
    world.options.checkpoint.bytes = Some(ByteSize(3000));
    let report = world.complete().await;
    assert_eq!(world.place("bad").rows().len(), 200);
    assert_eq!(rows(&server(name)).len(), 1800);
    assert_eq!(report.rejected, 200);
    assert_eq!(report.components[1].rows_out, 1800);
}

#[tokio::test(flavor = "multi_thread")]
async fn answers_reach_their_readers_in_the_same_epoch_early_and_late() {
    let name = "posts_answers";
    let sink = json!({"writers": 5, "rows": 10, "pause_ms": 1, "reject": 10, "answers": true});
    let mut world = world(name, json!({"rows": 1000, "splits": 2}), sink)
        .sink("bad", &["posts.rejected"], json!({}))
        .component(
            Kind::Transform,
            "fan",
            "fan",
            &["posts.answers"],
            json!({"times": 2}),
        )
        .sink("answers", &["posts.answers"], json!({}))
        .sink("twice", &["fan"], json!({}));
    world.options.checkpoint.bytes = Some(ByteSize(3000));
    let report = world.complete().await;
    let want = rows(&server(name));
    assert_eq!(want.len(), 1800);
    assert_eq!(world.place("answers").rows(), want);
    // The transform drops multiples of 7.
    let kept = want.iter().filter(|n| *n % 7 != 0).count();
    assert_eq!(world.place("twice").rows().len(), 2 * kept);
    assert_eq!(world.place("bad").rows().len(), 200);
    assert_eq!(report.components[1].rows_out, 1800);
}

#[tokio::test(flavor = "multi_thread")]
async fn answers_of_epochs_that_are_lost_are_not_shown() {
    let mut crashes = 0;
    for seed in 0..4_usize {
        let name = format!("posts_answers_{seed}");
        let sink = json!({"server": name, "writers": 4, "rows": 5, "answers": true});
        let mut world = World::new(&name)
            .source(
                "n",
                json!({"rows": 600, "splits": 3, "pause_ms": 1, "resume_every": seed + 1}),
            )
            .component(Kind::Sink, "posts", "posts", &["n"], sink)
            .sink("answers", &["posts.answers"], json!({}));
        world.options.checkpoint.bytes = Some(ByteSize(2000));
        crashes += crash_until_done(&world, seed as u64).await;
        let want: BTreeSet<i64> = rows(&server(&name)).into_iter().collect();
        assert_eq!(want.len(), 1800);
        assert_eq!(
            world.place("answers").rows(),
            want.into_iter().collect::<Vec<_>>()
        );
    }
    assert!(crashes > 3, "{crashes}");
}

#[tokio::test(flavor = "multi_thread")]
async fn answers_are_read_only_of_sinks_that_have_them_and_not_gathered() {
    let posts = |name: &str, answers: bool| {
        let sink = json!({"writers": 1, "rows": 1, "answers": answers});
        world(name, json!({"rows": 10}), sink)
    };
    let none = posts("posts_mute", false).sink("out", &["posts.answers"], json!({}));
    let error = none.pipeline().unwrap().check().await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Config);
    assert!(
        error.to_string().contains("no stream of answers"),
        "{error}"
    );
    for between in [false, true] {
        let mut gathered = posts(&format!("posts_gathered_{between}"), true);
        let mut input = "posts.answers";
        if between {
            let fan = json!({"times": 1});
            gathered = gathered.component(Kind::Transform, "fan", "fan", &[input], fan);
            input = "fan";
        }
        let gathered = gathered
            .component(Kind::Transform, "sum", "sum", &[input], json!({}))
            .sink("out", &["sum"], json!({}));
        let error = gathered.pipeline().unwrap().check().await.unwrap_err();
        assert!(error.to_string().contains("gives only later"), "{error}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn an_io_writer_that_panics_is_named_with_the_cause() {
    let name = "posts_panic";
    let world = world(
        name,
        json!({"rows": 100}),
        json!({"writers": 3, "rows": 10}),
    );
    arm(&format!("{name}/panic"), 1);
    let error = world.run().await.1.expect_err("a panic");
    let told = format!("{error:?}");
    for part in ["a writer panicked", "posts", "the client is broken"] {
        assert!(told.contains(part), "{told}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_row_has_the_same_origin_however_often_it_comes() {
    let mut again = 0;
    for seed in 0..6_usize {
        let name = format!("posts_origins_{seed}");
        let sink = json!({
            "server": name, "writers": 4, "rows": 5, "origins": true, "hash": seed % 2 == 0,
        });
        let replay = ["offset", "offset", "whole"][seed % 3];
        let mut world = World::new(&name)
            .source(
                "n",
                json!({"rows": 300, "splits": 3, "pause_ms": 1, "resume_every": seed + 1, "replay": replay}),
            )
            .component(Kind::Transform, "fan", "fan", &["n"], json!({"times": 3}))
            .component(Kind::Transform, "sieve", "sieve", &["fan"], json!({"reject": 5}))
            .component(Kind::Sink, "posts", "posts", &["sieve"], sink)
            .sink("bad", &["sieve.rejected"], json!({}));
        world.options.checkpoint.bytes = Some(ByteSize(2000));
        crash_until_done(&world, seed as u64).await;
        let server = server(&name);
        let kept = (0..900)
            .filter(|n| n % 7 != 0)
            .flat_map(|n| n * 3..n * 3 + 3);
        let want: BTreeSet<i64> = kept.filter(|n| n % 5 != 0).collect();
        assert_eq!(
            server.origins.keys().copied().collect::<BTreeSet<_>>(),
            want
        );
        let mut all = BTreeSet::new();
        for (row, origins) in &server.origins {
            assert_eq!(origins.len(), 1, "seed {seed}, row {row}: {origins:?}");
            let is_new = all.insert(origins.clone());
            assert!(is_new, "two rows have the origin {origins:?}");
        }
        again += rows(&server).len() - want.len();
    }
    assert!(
        again > 100,
        "the test must send rows again, and sent {again}"
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn origins_are_refused_behind_what_loses_them() {
    let build = |name: &str, tag: &str, config: serde_json::Value| {
        let sink = json!({"server": name, "writers": 1, "rows": 1, "origins": true});
        World::new(name)
            .source("n", json!({"rows": 10}))
            .component(Kind::Transform, "between", tag, &["n"], config)
            .component(Kind::Sink, "posts", "posts", &["between"], sink)
    };
    for (tag, config, why) in [
        ("sum", json!({}), "one row of many"),
        (
            "fan",
            json!({"times": 1, "random": true}),
            "may give other rows",
        ),
    ] {
        let world = build(&format!("lost_{tag}"), tag, config);
        let error = world.pipeline().unwrap().check().await.unwrap_err();
        assert_eq!(error.kind(), ErrorKind::Config);
        let told = error.to_string();
        assert!(
            told.contains("`posts`") && told.contains("`between`") && told.contains(why),
            "{told}"
        );
        assert!(error.hint_text().is_some());
    }
    let world = build("not_lost", "fan", json!({"times": 1}));
    assert!(world.pipeline().unwrap().check().await.is_ok());
    let late = World::new("late_lost")
        .source("n", json!({"rows": 10}))
        .sink("out", &["n"], json!({"reject": 3}))
        .component(
            Kind::Sink,
            "posts",
            "posts",
            &["out.rejected"],
            json!({"server": "late_lost", "writers": 1, "rows": 1, "origins": true}),
        );
    let error = late.pipeline().unwrap().check().await.unwrap_err();
    assert!(error.to_string().contains("gives rows"), "{error}");
}
