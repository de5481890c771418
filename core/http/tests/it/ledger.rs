//! The ledger, with servers that count, and with processes that are killed.

use std::future::pending;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};

use axum::Router;
use axum::http::StatusCode;
use axum::routing::get;
use serde_json::{Value, json};
use tidegate_core::{Cancel, ErrorKind, KeyValue, Result, async_trait};
use tidegate_http::{LedgerOptions, OnQuota, Url};
use tidegate_testkit::suites::MemoryKeyValue;
use tokio::sync::Notify;

use crate::judge::{Api, Judge, Process, options};
use crate::servers::serve;

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn processes_that_share_a_store_break_no_rule() {
    let (judge, url) = Judge::serve(60).await;
    let store = Arc::new(MemoryKeyValue::default());
    let options = LedgerOptions {
        per_second: Some(50.0),
        ..options()
    };
    let begun = Instant::now();
    let processes = (0..6_u64).map(|n| {
        let (store, url, options) = (Arc::clone(&store), url.clone(), options.clone());
        tokio::spawn(async move {
            let process = Process::new(&store, options);
            let mut done = 0;
            loop {
                let (method, backoff) = (done % 3, (done + n) % 4 * 20);
                let path = format!("m{method}?n={n}.{done}&takes=5&backoff={backoff}");
                match process.ask(&url, &path).await {
                    Ok(_) => done += 1,
                    Err(error) => {
                        assert_eq!(error.kind(), ErrorKind::Exhausted, "{error:?}");
                        return done;
                    }
                }
            }
        })
    });
    let mut done = 0;
    for process in processes.collect::<Vec<_>>() {
        done += process.await.unwrap();
    }
    judge.assert_content();
    assert_eq!((done, judge.asked()), (60, 60));
    assert!(
        begun.elapsed() >= Duration::from_millis(59 * 20),
        "50 a second"
    );
}

#[tokio::test]
async fn a_backoff_holds_for_its_method_and_is_known_to_the_next_process() {
    let (judge, url) = Judge::serve(100).await;
    let store = Arc::new(MemoryKeyValue::default());
    let process = Process::new(&store, options());
    process.ask(&url, "questions?backoff=400").await.unwrap();
    drop(process);

    let begun = Instant::now();
    let process = Process::new(&store, options());
    process.ask(&url, "answers").await.unwrap();
    assert_eq!(process.metrics.total_waited_ms(), 0);
    process.ask(&url, "questions?page=2").await.unwrap();
    assert!(begun.elapsed() >= Duration::from_millis(300));
    assert!(process.metrics.total_waited_ms() >= 300);
    judge.assert_content();
}

#[tokio::test]
async fn a_request_that_takes_long_is_not_taken_for_dead() {
    let (judge, url) = Judge::serve(100).await;
    let store = Arc::new(MemoryKeyValue::default());
    let options = LedgerOptions {
        caution: Duration::from_millis(10),
        ..options()
    };
    let minute = Duration::from_secs(60);
    let slow = Process::with(&store, options.clone(), minute, Cancel::never());
    let other = Process::with(&store, options, minute, Cancel::never());
    let (one, two) = tokio::join!(slow.ask(&url, "m?takes=400"), async {
        // Once the first one is there.
        while judge.asked() == 0 {
            tokio::task::yield_now().await;
        }
        other.ask(&url, "m?page=2").await
    });
    one.unwrap();
    two.unwrap();
    judge.assert_content();
}

/// A pace of this process holds a request back for longer than its note stands.
#[tokio::test]
async fn a_request_that_was_held_back_after_it_was_noted_takes_its_turn_again() {
    let (judge, url) = Judge::serve(1_000).await;
    let store = Arc::new(MemoryKeyValue::default());
    let options = LedgerOptions {
        caution: Duration::from_millis(10),
        ..options()
    };
    let timeout = Duration::from_millis(200);
    let slow = Process::with(&store, options.clone(), timeout, Cancel::never());
    let other = Process::with(&store, options, timeout, Cancel::never());
    let ask = |path| {
        let request = slow.client.get(url.join(path).unwrap()).dialect(&Api);
        request
            .paced("throttled", 2.0)
            .through(&slow.ledger, "m")
            .send()
    };
    ask("m?page=0").await.unwrap();
    tokio::select! {
        answer = ask("m?page=1&takes=50") => drop(answer.unwrap()),
        () = async {
            for n in 0.. {
                other.ask(&url, &format!("m?n={n}&takes=50")).await.unwrap();
            }
        } => {}
    }
    assert!(judge.asked() > 2, "the other one had its turns meanwhile");
    judge.assert_content();
}

/// A store far away, where each change takes a while.
#[derive(Debug)]
struct Slow {
    inner: MemoryKeyValue,
    takes: Duration,
}

#[async_trait]
impl KeyValue for Slow {
    async fn get(&self, key: &str) -> Result<Option<Value>> {
        self.inner.get(key).await
    }

    async fn compare_and_set(
        &self,
        key: &str,
        expected: Option<&Value>,
        value: &Value,
    ) -> Result<bool> {
        tokio::time::sleep(self.takes).await;
        self.inner.compare_and_set(key, expected, value).await
    }
}

/// Each note is too old by the usual measure (10 ms) when it is written.
#[tokio::test]
async fn a_slow_store_does_not_keep_a_request_from_being_made() {
    let (judge, url) = Judge::serve(100).await;
    let store = Arc::new(Slow {
        inner: MemoryKeyValue::default(),
        takes: Duration::from_millis(100),
    });
    let options = LedgerOptions {
        caution: Duration::ZERO,
        ..options()
    };
    let timeout = Duration::from_millis(200);
    let one = Process::with(&store, options.clone(), timeout, Cancel::never());
    let other = Process::with(&store, options, timeout, Cancel::never());
    let both = async {
        tokio::try_join!(
            one.ask(&url, "m?page=1&takes=50"),
            other.ask(&url, "m?page=2&takes=50"),
        )?;
        one.ask(&url, "m?page=3").await
    };
    let asked = tokio::time::timeout(Duration::from_secs(30), both).await;
    asked.expect("it is made").unwrap();
    assert_eq!(judge.asked(), 3);
    judge.assert_content();
}

#[tokio::test]
async fn a_run_that_is_stopped_while_its_note_is_written_makes_no_request() {
    let (judge, url) = Judge::serve(100).await;
    let store = Arc::new(Slow {
        inner: MemoryKeyValue::default(),
        takes: Duration::from_millis(100),
    });
    let options = LedgerOptions {
        caution: Duration::ZERO,
        ..options()
    };
    let (canceller, cancel) = Cancel::new();
    let process = Process::with(&store, options, Duration::from_millis(200), cancel);
    let (error, ()) = tokio::join!(process.ask(&url, "m?page=1"), async {
        // Its first note is being written.
        tokio::task::yield_now().await;
        drop(canceller);
    });
    assert_eq!(error.unwrap_err().kind(), ErrorKind::Exhausted);
    assert_eq!(judge.asked(), 0);
    // It left no note behind.
    let document = store.get("ledger/api.test/anonymous").await.unwrap();
    assert_eq!(document.unwrap().get("methods"), None);
}

#[tokio::test]
async fn the_same_request_is_not_made_again_at_once_whatever_its_order_and_its_key() {
    let (judge, url) = Judge::serve(100).await;
    let store = Arc::new(MemoryKeyValue::default());
    let options = LedgerOptions {
        repeat_after: Some(Duration::from_millis(500)),
        ..options()
    };
    let process = Process::new(&store, options);
    process.client.hide("hidden");
    let begun = Instant::now();
    let waited = || process.metrics.total_waited_ms();
    process.ask(&url, "m?a=1&b=2&key=one").await.unwrap();
    process.ask(&url, "m?a=1&b=3&key=one").await.unwrap();
    process.ask(&url, "n?a=1&b=2&key=one").await.unwrap();
    assert_eq!(waited(), 0);
    process
        .ask(&url, "m?who=hidden&b=2&key=two&a=1")
        .await
        .unwrap();
    assert!(begun.elapsed() >= Duration::from_millis(500));
    assert!(waited() > 0);
    assert_eq!(judge.asked(), 4);
}

#[tokio::test]
async fn a_spent_quota_stops_before_it_is_overdrawn_and_says_until_when() {
    let (judge, url) = Judge::serve(2).await;
    let store = Arc::new(MemoryKeyValue::default());
    let process = Process::new(&store, options());
    assert_eq!(process.ledger.quota().await.unwrap(), None);
    process.ask(&url, "m?page=1").await.unwrap();
    let quota = process.ledger.quota().await.unwrap().unwrap();
    assert_eq!((quota.max, quota.left), (Some(100), 1));
    let reset = quota.resets_at.unwrap() - chrono::Utc::now();
    assert!((23..=24).contains(&reset.num_hours()), "{reset}");
    process.ask(&url, "m?page=2").await.unwrap();

    for process in [process, Process::new(&store, options())] {
        let error = process.ask(&url, "m?page=3").await.unwrap_err();
        assert_eq!(error.kind(), ErrorKind::Exhausted);
        let text = error.to_string();
        let begin =
            "the API's quota of requests is spent (api: api.test, used: 2, quota: 100, resets: ";
        assert!(text.starts_with(begin), "{text}");
        assert!(text.ends_with(" UTC)"), "{text}");
        let hint = error.hint_text().unwrap();
        assert!(hint.starts_with("run it again after "), "{hint}");
    }
    assert_eq!(judge.asked(), 2);
    judge.assert_content();
}

/// A server whose quota of one is whole again after a while, as its first refusal says.
#[tokio::test]
async fn a_spent_quota_is_waited_for_where_the_user_says_so() {
    let count = Arc::new(AtomicU64::new(0));
    let counted = Arc::clone(&count);
    let handler = move || {
        let n = counted.fetch_add(1, Ordering::SeqCst);
        async move {
            let told = [("x-max", "9"), ("x-left", if n == 0 { "0" } else { "8" })];
            let resets = [("x-resets-in-ms", "400")];
            let status = if n == 0 {
                StatusCode::TOO_MANY_REQUESTS
            } else {
                StatusCode::OK
            };
            (status, told, resets)
        }
    };
    let url = serve(Router::new().route("/m", get(handler))).await;
    let store = Arc::new(MemoryKeyValue::default());
    let options = LedgerOptions {
        on_quota: OnQuota::Wait,
        ..options()
    };
    let process = Process::new(&store, options);
    let begun = Instant::now();
    process.ask(&url, "m?page=1").await.unwrap_err();
    process.ask(&url, "m?page=1").await.unwrap();
    assert!(begun.elapsed() >= Duration::from_millis(400));
    assert_eq!(process.ledger.quota().await.unwrap().unwrap().left, 8);
}

#[tokio::test]
async fn a_wait_ends_when_the_run_is_stopped() {
    let (judge, url) = Judge::serve(100).await;
    let store = Arc::new(MemoryKeyValue::default());
    let (canceller, cancel) = Cancel::new();
    let process = Process::with(&store, options(), Duration::from_secs(1), cancel);
    process.ask(&url, "m?backoff=3600000").await.unwrap();
    let (error, ()) = tokio::join!(process.ask(&url, "m?page=2"), async { drop(canceller) });
    assert_eq!(error.unwrap_err().kind(), ErrorKind::Exhausted);
    assert_eq!(judge.asked(), 1);
}

#[tokio::test]
async fn what_never_reached_the_server_is_not_held_against_it() {
    let nobody = {
        let listener = tokio::net::TcpListener::bind(("127.0.0.1", 0))
            .await
            .unwrap();
        Url::parse(&format!("http://{}/", listener.local_addr().unwrap())).unwrap()
    };
    let store = Arc::new(MemoryKeyValue::default());
    let options = LedgerOptions {
        repeat_after: Some(Duration::from_secs(3600)),
        ..options()
    };
    let process = Process::new(&store, options);
    for _ in 0..2 {
        let error = process.ask(&nobody, "m").await.unwrap_err();
        assert_eq!(error.kind(), ErrorKind::Transient);
    }
    assert_eq!(process.metrics.total_waited_ms(), 0);
}

#[tokio::test]
async fn an_answer_that_got_lost_may_have_asked_for_a_break() {
    let (judge, url) = Judge::serve(100).await;
    let store = Arc::new(MemoryKeyValue::default());
    let options = LedgerOptions {
        caution: Duration::from_millis(900),
        ..options()
    };
    let process = Process::new(&store, options);
    let error = process.ask(&url, "m?backoff=300&hang").await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Transient);
    process.ask(&url, "m?page=2").await.unwrap();
    judge.assert_content();
}

#[tokio::test]
async fn a_ledger_that_cannot_be_read_says_so() {
    let store = Arc::new(MemoryKeyValue::default());
    let garbage = json!({"quota": "much"});
    let key = "ledger/api.test/anonymous";
    assert!(store.compare_and_set(key, None, &garbage).await.unwrap());
    let process = Process::new(&store, options());
    let url = Url::parse("http://127.0.0.1:1/").unwrap();
    let error = process.ask(&url, "m").await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Data);
    assert!(error.to_string().contains(key), "{error}");
}

/// A store that stands still at its n-th step, before or after it took effect.
#[derive(Debug)]
struct Stumbling {
    inner: MemoryKeyValue,
    steps: AtomicU64,
    stumble_at: u64,
    stumbled: Notify,
}

impl Stumbling {
    async fn step(&self) {
        if self.steps.fetch_add(1, Ordering::SeqCst) == self.stumble_at {
            self.stumbled.notify_one();
            pending::<()>().await;
        }
    }
}

#[async_trait]
impl KeyValue for Stumbling {
    async fn get(&self, key: &str) -> Result<Option<Value>> {
        self.step().await;
        let value = self.inner.get(key).await;
        self.step().await;
        value
    }

    async fn compare_and_set(
        &self,
        key: &str,
        expected: Option<&Value>,
        value: &Value,
    ) -> Result<bool> {
        self.step().await;
        let set = self.inner.compare_and_set(key, expected, value).await;
        self.step().await;
        set
    }
}

/// What a killed process leaves behind, wherever it was, makes the next one break no rule.
#[tokio::test]
async fn a_process_may_be_killed_at_any_step() {
    // Two requests: each reads and writes twice, and each of these has two steps.
    let mut kills = Vec::new();
    for stumble_at in 0..16 {
        kills.push(tokio::spawn(kill_at(stumble_at)));
    }
    for kill in kills {
        kill.await.unwrap();
    }
}

async fn kill_at(stumble_at: u64) {
    let (judge, url) = Judge::serve(100).await;
    let store = Arc::new(Stumbling {
        inner: MemoryKeyValue::default(),
        steps: AtomicU64::new(0),
        stumble_at,
        stumbled: Notify::new(),
    });
    let options = LedgerOptions {
        caution: Duration::from_millis(700),
        repeat_after: Some(Duration::from_millis(100)),
        ..options()
    };
    let first = Process::new(&store, options.clone());
    let work = async {
        first.ask(&url, "m?page=1&backoff=100").await.unwrap();
        first.ask(&url, "m?page=2&backoff=100").await.unwrap();
    };
    tokio::select! {
        () = work => panic!("it was not killed at {stumble_at}"),
        () = store.stumbled.notified() => {}
    }
    drop(first);
    let next = Process::new(&store, options);
    for page in 1..4 {
        let path = format!("m?page={page}&backoff=50");
        next.ask(&url, &path).await.unwrap();
    }
    judge.assert_content();
}

/// The same, while the server works and after it.
#[tokio::test]
async fn a_process_may_be_killed_while_the_server_works() {
    for hang in ["", "&hang"] {
        let (judge, url) = Judge::serve(100).await;
        let store = Arc::new(MemoryKeyValue::default());
        let options = LedgerOptions {
            caution: Duration::from_millis(700),
            ..options()
        };
        let first = Process::new(&store, options.clone());
        let path = format!("m?takes=100&backoff=300{hang}");
        tokio::select! {
            _ = first.ask(&url, &path) => panic!("it was not killed"),
            () = async {
                while judge.asked() == 0 {
                    tokio::task::yield_now().await;
                }
                if !hang.is_empty() {
                    judge.1.notified().await;
                }
            } => {}
        }
        drop(first);
        let next = Process::new(&store, options);
        next.ask(&url, "m?page=2").await.unwrap();
        judge.assert_content();
    }
}
