//! What is shown, and what never is.

use std::cell::RefCell;
use std::io;
use std::sync::{Arc, Once};
use std::time::Duration;

use axum::Router;
use axum::http::{HeaderMap, StatusCode, Uri};
use axum::routing::any;
use tidegate_core::{Cancel, Context};
use tidegate_http::{Dialect, Ledger, LedgerOptions, Response, Told};
use tidegate_testkit::suites::{MemoryKeyValue, context};

use crate::servers::{client, serve, settings};

/// What a thread has logged.
///
/// One subscriber serves the whole process: what one that is only set for a thread gets to see
/// depends on who came by a place in the code first.
struct Log;

thread_local! {
    static LOGGED: RefCell<Option<Vec<u8>>> = const { RefCell::new(None) };
}

impl io::Write for Log {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        LOGGED.with_borrow_mut(|log| log.iter_mut().for_each(|log| log.extend_from_slice(bytes)));
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

impl Log {
    /// Begins to keep what this thread logs.
    fn begin() -> Self {
        static ONCE: Once = Once::new();
        ONCE.call_once(|| {
            let subscriber = tracing_subscriber::fmt()
                .with_max_level(tracing::Level::TRACE)
                .with_writer(|| Self)
                .with_ansi(false)
                .finish();
            tracing::subscriber::set_global_default(subscriber).unwrap();
        });
        LOGGED.set(Some(Vec::new()));
        Self
    }

    fn text(&self) -> String {
        LOGGED.with_borrow(|log| String::from_utf8(log.clone().unwrap()).unwrap())
    }
}

const SECRET: &str = "s3cr\"t/ü+key";

fn assert_hidden(text: &str) {
    for form in [
        SECRET,
        "s3cr",
        "%22t",
        "t/ü",
        "t%2F%C3%BC",
        "t/%C3%BC",
        "hunter2",
    ] {
        assert!(!text.contains(form), "{form} shows in: {text}");
    }
}

#[tokio::test]
async fn a_hidden_text_shows_nowhere_however_it_is_written() {
    // A server that says everything it was told.
    let echo = |uri: Uri, headers: HeaderMap| async move {
        let query = uri.query().unwrap_or_default();
        let said = [
            format!("{uri}"),
            serde_json::to_string(SECRET).unwrap(),
            SECRET.to_owned(),
            headers["x-anything"].to_str().unwrap().to_owned(),
        ];
        let status = if query.contains("good") {
            StatusCode::OK
        } else {
            StatusCode::INTERNAL_SERVER_ERROR
        };
        (status, said.join(" "))
    };
    let log = Log::begin();

    let mut url = serve(Router::new().fallback(any(echo))).await;
    url.path_segments_mut().unwrap().push(SECRET);
    url.set_username("me").unwrap();
    url.set_password(Some("hunter2")).unwrap();
    let store = Arc::new(MemoryKeyValue::default());
    let cx = Context {
        shared: Arc::clone(&store) as _,
        ..context().common()
    };
    let account = Ledger::account_of("api.test", &[SECRET]);
    let ledger = Ledger::new(&cx, LedgerOptions::new(account.clone()));
    let (client, _) = client(settings());
    client.hide(SECRET);
    client.hide("hunter2");
    let request = |how: &'static str| {
        client
            .get(url.clone())
            .query("q", SECRET)
            .query("how", how)
            .header("x-anything", "hunter2")
            .through(&ledger, "m")
    };
    assert_hidden(&format!("{:?} {client:?} {ledger:?}", request("bad")));
    let error = request("bad").send().await.unwrap_err();
    assert_hidden(&format!("{error} {error:?}"));
    assert!(error.to_string().contains("/***?q=***"), "{error}");
    let answer = request("good").send().await.unwrap();
    assert_hidden(&format!("{answer:?} {}", answer.shown_url()));
    let error = answer.json::<Vec<u8>>().unwrap_err();
    assert_hidden(&format!("{error} {error:?}"));

    let log = log.text();
    assert!(log.contains("answered"), "{log}");
    // The libraries below say what they connect to, by trace; no secrets.
    assert_hidden(&log);
    let stored = format!("{store:?}");
    assert!(stored.contains(&account), "{stored}");
    assert_hidden(&stored);
}

#[tokio::test]
async fn the_cause_of_a_wrong_shape_does_not_quote_a_hidden_text() {
    let url = serve(Router::new().fallback(any(|| async { "\"hunter2\"" }))).await;
    let (client, _) = client(settings());
    client.hide("hunter2");
    let answer = client.get(url).send().await.unwrap();
    let error = answer.json::<u32>().unwrap_err();
    assert_hidden(&format!("{error:?}"));
    assert!(format!("{error:?}").contains("invalid type"), "{error:?}");
}

/// An API that asks for an hour's break.
#[derive(Debug)]
struct Tired;

impl Dialect for Tired {
    fn told(&self, _: &Response) -> Told {
        Told {
            backoff: Some(Duration::from_secs(3_600)),
            ..Told::default()
        }
    }
}

#[tokio::test]
async fn a_long_wait_is_said_once_with_its_end_and_its_reason() {
    let url = serve(Router::new().fallback(any(|| async {}))).await;
    let (canceller, cancel) = Cancel::new();
    let cx = Context {
        cancel,
        ..context().common()
    };
    let ledger = Ledger::new(&cx, LedgerOptions::new("api.test/anonymous"));
    let (client, _) = client(settings());
    let ask = || {
        client
            .get(url.clone())
            .dialect(&Tired)
            .through(&ledger, "m")
    };
    ask().send().await.unwrap();

    let log = Log::begin();
    let stop = async {
        let said = async {
            while !log.text().contains("WARN") {
                tokio::task::yield_now().await;
            }
        };
        tokio::time::timeout(Duration::from_secs(30), said)
            .await
            .unwrap();
        drop(canceller);
    };
    let (answer, ()) = tokio::join!(ask().send(), stop);
    answer.unwrap_err();
    let log = log.text();
    let said: Vec<_> = log.lines().filter(|line| line.contains("WARN")).collect();
    assert_eq!(said.len(), 1, "{log}");
    for part in [
        "asked for a break",
        "api=\"api.test\"",
        "method=\"m\"",
        " UTC\"",
    ] {
        assert!(said[0].contains(part), "{part}: {log}");
    }
}
