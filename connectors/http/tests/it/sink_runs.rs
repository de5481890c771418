//! The `http` sink in whole pipelines: before servers that fail, before our own `http_server`, after a
//! crash, and many requests at once.

use std::collections::{BTreeMap, HashSet};
use std::path::Path;
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use arrow_array::RecordBatch;
use arrow_schema::{DataType, Field, Schema};
use serde_json::{Map, Value, json};
use tidegate_core::{Delivery, ErrorKind, Guarantee, PipelineSpec, Registry, Result, Scan, Span};
use tidegate_formats::{CsvOptions, Decoder, Format};
use tidegate_generate as _;
use tidegate_runtime::{Pipeline, Report, RunOptions};
use tidegate_testkit::servers::{Faults, Proxy};
use tidegate_testkit::suites::sink_suite;

use crate::sink_far::{
    Answer, Far, Seen, answer, cx, deliver, keys, open, quick, rows, with_origins,
};
use crate::site::Site;

/// So many generated rows (`id`) into the sink with these keys.
fn pipeline(directory: &Path, count: usize, more: Value, keys: Value) -> Pipeline {
    let mut generate = json!({
        "rows": count,
        "batch_rows": 50,
        "columns": [{ "name": "id", "type": "sequence" }],
    });
    generate
        .as_object_mut()
        .unwrap()
        .extend(more.as_object().unwrap().clone());
    let mut spec = PipelineSpec::new("send", directory)
        .source("in", "generate", generate)
        .unwrap()
        .sink("out", "http", &["in"], keys)
        .unwrap();
    spec.options.checkpoint.interval = Some(Span(Duration::from_millis(50)));
    let mut settings = Map::new();
    let mut http = quick();
    http["attempts"] = 8.into();
    settings.insert("http".into(), http);
    Pipeline::new(spec, Registry::linked().unwrap(), settings).unwrap()
}

async fn run(directory: &Path, pipeline: Pipeline) -> (Report, Result<()>) {
    let options = RunOptions {
        state: directory.join("state").into(),
        ..RunOptions::default()
    };
    pipeline.run(options).await
}

fn ids_of(seen: &Seen) -> Vec<i64> {
    let id = |row: &Value| row["id"].as_i64().unwrap();
    let lines = seen.text().lines();
    lines
        .map(|line| id(&serde_json::from_str(line).unwrap()))
        .collect()
}

/// A server that has done what it was asked to, once for each key.
#[derive(Clone, Default)]
struct Ledger(Arc<Mutex<(HashSet<String>, Vec<i64>)>>);

impl Ledger {
    fn take(&self, seen: &Seen) {
        let mut ledger = self.0.lock().unwrap();
        if ledger.0.insert(seen.key()) {
            ledger.1.extend(ids_of(seen));
        }
    }

    /// What was done, in its order.
    fn done(&self) -> Vec<i64> {
        self.0.lock().unwrap().1.clone()
    }

    fn sorted(&self) -> Vec<i64> {
        let mut done = self.done();
        done.sort_unstable();
        done
    }
}

/// It fails every tenth request or so in one way or another, before or after it did what it was asked
/// to, and refuses some for a while.
async fn unreliable(ledger: &Ledger) -> (Far, Proxy) {
    let kept = ledger.clone();
    let far = Far::start(move |seen, number| {
        if number % 50 == 49 {
            return Answer {
                headers: vec![("retry-after", "0".to_owned())],
                ..answer(429, "")
            };
        }
        kept.take(seen);
        Answer {
            after: Duration::from_millis(number as u64 % 5),
            ..answer(200, "")
        }
    })
    .await;
    let proxy = Proxy::before(&far.url);
    proxy.fail(Faults::some(0.1, 7));
    (far, proxy)
}

#[tokio::test(flavor = "multi_thread")]
async fn each_row_arrives_once_where_the_server_knows_the_keys() {
    let directory = tempfile::tempdir().unwrap();
    let ledger = Ledger::default();
    let (far, proxy) = unreliable(&ledger).await;
    let keys = keys(
        &proxy.url(),
        json!({ "server_dedupes": true, "concurrency": 8 }),
    );
    let (report, result) = run(
        directory.path(),
        pipeline(directory.path(), 600, json!({}), keys),
    )
    .await;
    result.unwrap();
    assert_eq!(ledger.sorted(), (0..600).collect::<Vec<_>>());
    assert!(far.seen().len() > 600, "some came again");
    assert_eq!(report.rejected, 0);
}

#[tokio::test(flavor = "multi_thread")]
async fn all_rows_arrive_in_batches_too() {
    let directory = tempfile::tempdir().unwrap();
    let ledger = Ledger::default();
    let (_far, proxy) = unreliable(&ledger).await;
    let keys = keys(
        &proxy.url(),
        json!({ "body": "ndjson", "batch_rows": 20, "concurrency": 4, "compression": "gzip" }),
    );
    let (_, result) = run(
        directory.path(),
        pipeline(directory.path(), 3000, json!({}), keys),
    )
    .await;
    result.unwrap();
    let all: HashSet<_> = ledger.done().into_iter().collect();
    assert_eq!(all, (0..3000).collect());
}

#[tokio::test(flavor = "multi_thread")]
async fn the_order_is_kept_whatever_fails() {
    for (body, count) in [("row", 150_i64), ("ndjson", 1500)] {
        let ledger = Ledger::default();
        let (_far, proxy) = unreliable(&ledger).await;
        let cx = cx();
        let keys = keys(&proxy.url(), json!({ "body": body, "ordered": true }));
        let keys = match body {
            "row" => keys,
            _ => {
                let mut keys = keys;
                keys["batch_rows"] = 9.into();
                keys
            }
        };
        let sink = open(&cx, keys, &rows(0, 0)).await.unwrap();
        assert!(sink.distribution(0).ordered);
        let batch = |from: i64| with_origins(rows(from, 25), "s", from.unsigned_abs());
        let batches = (0..count).step_by(25).map(batch).collect();
        deliver(&sink, batches).await.unwrap();
        assert_eq!(ledger.done(), (0..count).collect::<Vec<_>>(), "{body}");
    }
}

/// Where a source's splits lie side by side, each one's rows arrive in their order.
#[tokio::test(flavor = "multi_thread")]
async fn the_order_of_a_split_is_kept_in_a_run() {
    let directory = tempfile::tempdir().unwrap();
    let ledger = Ledger::default();
    let (_far, proxy) = unreliable(&ledger).await;
    let keys = keys(
        &proxy.url(),
        json!({ "ordered": true, "server_dedupes": true }),
    );
    let (_, result) = run(
        directory.path(),
        pipeline(directory.path(), 400, json!({}), keys),
    )
    .await;
    result.unwrap();
    let done = ledger.done();
    assert_eq!(ledger.sorted(), (0..400).collect::<Vec<_>>());
    // Splits are ranges: a row's successor comes after it, but where a range ends.
    let place: BTreeMap<_, _> = done
        .iter()
        .zip(0..)
        .map(|(id, place): (_, usize)| (*id, place))
        .collect();
    let broken = (1..400).filter(|id| place[id] < place[&(id - 1)]).count();
    assert!(broken < 16, "{broken} in {done:?}");
}

#[tokio::test(flavor = "multi_thread")]
async fn after_a_crash_rows_come_again_with_their_keys() {
    let directory = tempfile::tempdir().unwrap();
    let ledger = Ledger::default();
    let kept = ledger.clone();
    let far = Far::start(move |seen, _| {
        kept.take(seen);
        Answer {
            after: Duration::from_millis(2),
            ..answer(200, "")
        }
    })
    .await;
    let keys = keys(
        &far.url,
        json!({ "server_dedupes": true, "concurrency": 4 }),
    );
    for wanted in [100, 250] {
        let pipeline = pipeline(directory.path(), 600, json!({}), keys.clone());
        let place = directory.path().to_owned();
        let running = tokio::spawn(async move { run(&place, pipeline).await });
        while ledger.done().len() < wanted {
            assert!(!running.is_finished());
            tokio::time::sleep(Duration::from_millis(1)).await;
        }
        running.abort();
        let _ = running.await;
    }
    let (report, result) = run(
        directory.path(),
        pipeline(directory.path(), 600, json!({}), keys),
    )
    .await;
    result.unwrap();
    assert!(report.resumed);
    assert_eq!(ledger.sorted(), (0..600).collect::<Vec<_>>());
}

/// It stays away for longer than a request is retried.
#[tokio::test(flavor = "multi_thread")]
async fn a_run_goes_on_from_its_checkpoint_when_the_server_is_back() {
    let directory = tempfile::tempdir().unwrap();
    let ledger = Ledger::default();
    let kept = ledger.clone();
    let far = Far::start(move |seen, number| {
        if (100..140).contains(&number) {
            return answer(500, "away");
        }
        kept.take(seen);
        answer(200, "")
    })
    .await;
    let keys = keys(
        &far.url,
        json!({ "server_dedupes": true, "concurrency": 2 }),
    );
    let (report, result) = run(
        directory.path(),
        pipeline(directory.path(), 300, json!({}), keys),
    )
    .await;
    result.unwrap();
    assert!(report.restarts > 0);
    assert_eq!(ledger.sorted(), (0..300).collect::<Vec<_>>());
}

#[tokio::test(flavor = "multi_thread")]
async fn a_guarantee_is_given_only_with_a_server_that_dedupes() {
    let directory = tempfile::tempdir().unwrap();
    let far = Far::start(|_, _| answer(200, "")).await;
    for (dedupes, fits) in [(false, false), (true, true)] {
        let mut spec = PipelineSpec::new("send", directory.path())
            .source(
                "in",
                "generate",
                json!({ "rows": 1, "columns": [{ "name": "id", "type": "sequence" }] }),
            )
            .unwrap()
            .sink(
                "out",
                "http",
                &["in"],
                keys(&far.url, json!({ "server_dedupes": dedupes })),
            )
            .unwrap();
        spec.options.guarantee = Some(Guarantee::EffectivelyOnce);
        let pipeline = Pipeline::new(spec, Registry::linked().unwrap(), Map::new()).unwrap();
        let (_, result) = run(directory.path(), pipeline).await;
        assert_eq!(result.is_ok(), fits, "{result:?}");
    }
}

/// A program's own rows have no lasting positions.
#[tokio::test(flavor = "multi_thread")]
async fn rows_without_origins_are_sent_without_keys_or_not_at_all() {
    let directory = tempfile::tempdir().unwrap();
    let far = Far::start(|_, _| answer(200, "")).await;
    for (more, fits) in [
        (json!({}), false),
        (json!({ "idempotency_key": false }), true),
    ] {
        let mut registry = Registry::linked().unwrap();
        let (sent, source) = tidegate_program::source("own", rows(0, 0).schema());
        registry.add(source).unwrap();
        let spec = PipelineSpec::new("send", directory.path())
            .source("in", "own", json!({}))
            .unwrap()
            .sink("out", "http", &["in"], keys(&far.url, more))
            .unwrap();
        let pipeline = Pipeline::new(spec, registry, Map::new()).unwrap();
        let place = directory.path().to_owned();
        let running = tokio::spawn(async move { run(&place, pipeline).await });
        if fits {
            sent.send(rows(0, 3)).await.unwrap();
            drop(sent);
        }
        let (_, result) = running.await.unwrap();
        assert_eq!(result.is_ok(), fits, "{result:?}");
        if let Err(error) = result {
            assert_eq!(error.kind(), ErrorKind::Config);
            assert!(
                error.hint_text().unwrap().contains("do without"),
                "{error:?}"
            );
        }
    }
    assert_eq!(far.seen().len(), 3);
}

/// A server that takes its time holds up what is read, and nothing fills the memory.
#[tokio::test(flavor = "multi_thread")]
async fn what_is_under_way_is_bounded() {
    let cx = cx().memory(8 << 20);
    let limited = keys("http://127.0.0.1:9", json!({ "concurrency": 7 }));
    let sink = open(&cx, limited, &rows(0, 0)).await.unwrap();
    let limits = sink.in_flight();
    assert_eq!((limits.writers, limits.rows, limits.bytes), (7, 1, 2 << 20));
    let directory = tempfile::tempdir().unwrap();
    let far = Far::start(|_, _| Answer {
        after: Duration::from_millis(20),
        ..answer(200, "")
    })
    .await;
    let keys = keys(
        &far.url,
        json!({ "body": "array", "batch_rows": 10, "concurrency": 3 }),
    );
    let (_, result) = run(
        directory.path(),
        pipeline(directory.path(), 1000, json!({}), keys),
    )
    .await;
    result.unwrap();
    assert!((2..=3).contains(&far.most()), "{}", far.most());
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn two_hundred_slow_requests_take_little_longer_than_one_and_no_threads() {
    let directory = tempfile::tempdir().unwrap();
    let times: Arc<Mutex<Vec<Instant>>> = Arc::default();
    let threads: Arc<Mutex<usize>> = Arc::default();
    let (kept, counted) = (Arc::clone(&times), Arc::clone(&threads));
    let far = Far::start(move |_, _| {
        kept.lock().unwrap().push(Instant::now());
        let now = std::fs::read_dir("/proc/self/task").map_or(0, Iterator::count);
        let mut most = counted.lock().unwrap();
        *most = now.max(*most);
        Answer {
            after: Duration::from_millis(200),
            ..answer(200, "")
        }
    })
    .await;
    let before = std::fs::read_dir("/proc/self/task").map_or(0, Iterator::count);
    let keys = keys(&far.url, json!({ "concurrency": 200 }));
    let (_, result) = run(
        directory.path(),
        pipeline(directory.path(), 200, json!({}), keys),
    )
    .await;
    result.unwrap();
    let times = times.lock().unwrap();
    assert_eq!(times.len(), 200);
    let took =
        *times.iter().max().unwrap() - *times.iter().min().unwrap() + Duration::from_millis(200);
    let most = *threads.lock().unwrap();
    // One after the other they would take 40 s.
    assert!(took < Duration::from_secs(2), "{took:?}");
    assert!(far.most() > 100, "{}", far.most());
    assert!(most < before + 50, "{most} threads, {before} before");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_server_that_is_overloaded_gets_fewer_requests_at_once() {
    let directory = tempfile::tempdir().unwrap();
    let now = Arc::new(Mutex::new(Vec::<Instant>::new()));
    // It takes five in 20 ms and refuses more.
    let far = Far::start(move |_, _| {
        let mut recent = now.lock().unwrap();
        let begun = Instant::now();
        recent.retain(|time| begun - *time < Duration::from_millis(20));
        let taken = recent.len() < 5;
        if taken {
            recent.push(begun);
        }
        Answer {
            after: Duration::from_millis(20),
            ..answer(if taken { 200 } else { 429 }, "")
        }
    })
    .await;
    let keys = keys(&far.url, json!({ "concurrency": 64 }));
    let (_, result) = run(
        directory.path(),
        pipeline(directory.path(), 400, json!({}), keys),
    )
    .await;
    result.unwrap();
    // With 64 at once, all the time, more than nine of ten would be refused.
    let refused = far.seen().len() - 400;
    assert!(refused < 800, "{refused}");
}

#[tokio::test(flavor = "multi_thread")]
async fn who_is_not_known_ends_the_run() {
    let directory = tempfile::tempdir().unwrap();
    let far = Far::start(|_, _| answer(401, "who?")).await;
    let keys = keys(&far.url, json!({}));
    let (report, result) = run(
        directory.path(),
        pipeline(directory.path(), 100, json!({}), keys),
    )
    .await;
    assert_eq!(result.unwrap_err().kind(), ErrorKind::Auth);
    assert_eq!(report.restarts, 0);
    assert!(far.seen().len() <= 16, "{}", far.seen().len());
}

#[tokio::test(flavor = "multi_thread")]
async fn our_own_server_takes_what_our_sink_sends() {
    let directory = tempfile::tempdir().unwrap();
    let far = tempfile::tempdir().unwrap();
    let mut site = Site::start(far.path(), json!({ "accept": "ndjson" })).await;
    let keys = keys(
        &format!("{}/rows", site.url),
        json!({ "body": "ndjson", "compression": "gzip", "batch_rows": 100 }),
    );
    let (_, result) = run(
        directory.path(),
        pipeline(directory.path(), 1000, json!({}), keys),
    )
    .await;
    result.unwrap();
    let mut ids: Vec<i64> = site
        .payloads(1000)
        .await
        .iter()
        .map(|payload| {
            serde_json::from_str::<Value>(payload).unwrap()["id"]
                .as_i64()
                .unwrap()
        })
        .collect();
    ids.sort_unstable();
    assert_eq!(ids, (0..1000).collect::<Vec<_>>());
    site.stop().await;
}

/// What the suite's rows look like at the far end, once for each key.
fn shown(seen: &[Seen], pipeline: &str, dedupes: bool) -> Result<Vec<RecordBatch>> {
    let schema = Arc::new(Schema::new(vec![
        Field::new("id", DataType::Int64, false),
        Field::new("name", DataType::Utf8, true),
        Field::new("amount", DataType::Float64, true),
    ]));
    let decoder = Decoder::new(
        Format::Ndjson,
        &CsvOptions::default(),
        schema,
        &Scan::all("rows"),
    )?;
    let mut keys = HashSet::new();
    let mut lines = String::new();
    for seen in seen
        .iter()
        .filter(|seen| seen.path == format!("/{pipeline}"))
    {
        if !dedupes || keys.insert(seen.key()) {
            lines.push_str(seen.text());
            lines.push('\n');
        }
    }
    Ok(decoder
        .decode_all(lines.replace("\n\n", "\n").into(), &"far".into())?
        .batches)
}

#[tokio::test(flavor = "multi_thread")]
async fn it_passes_the_suite() {
    let far = Arc::new(Far::start(|_, _| answer(200, "")).await);
    for more in [
        json!({}),
        json!({ "server_dedupes": true }),
        json!({ "server_dedupes": true, "ordered": true }),
        json!({ "body": "ndjson", "batch_rows": 7 }),
        json!({ "body": "ndjson", "batch_rows": 7, "ordered": true, "idempotency_key": false }),
    ] {
        let dedupes = more["server_dedupes"] == true;
        let ordered = more["ordered"] == true;
        let wanted = if dedupes {
            Delivery::Idempotent
        } else {
            Delivery::AtLeastOnce
        };
        let (url, seen) = (far.url.clone(), Arc::clone(&far));
        let suite = sink_suite(
            move |cx| {
                let keys = keys(&format!("{url}/{}", cx.common.pipeline), more.clone());
                async move {
                    let config: tidegate_connector_http::HttpSinkConfig =
                        serde_json::from_value(keys).unwrap();
                    let sink = tidegate_core::SinkConfig::open(&config, &cx).await?;
                    assert_eq!(sink.delivery(), wanted);
                    Ok(sink)
                }
            },
            move |cx| {
                let seen = Arc::clone(&seen);
                async move { shown(&seen.seen(), &cx.pipeline, dedupes) }
            },
        );
        let suite = if ordered { suite.in_order() } else { suite };
        suite.check().await;
    }
}
