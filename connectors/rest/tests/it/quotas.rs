//! Requests that are counted and spaced.

use std::sync::Arc;
use std::sync::atomic::{AtomicI64, Ordering};
use std::time::{Duration, Instant};

use axum::extract::Request;
use axum::http::StatusCode;
use axum::response::{IntoResponse, Response};
use axum::{Json, Router};
use futures::StreamExt;
use serde_json::{Value, json};
use tidegate_core::{Ask, ErrorKind, Scan};
use tidegate_http::Url;

use crate::support::{Log, Pipeline, Seen, open, params, schema, serve, things};

/// A server that answers so many requests, and then refuses by this status until it is refilled.
#[derive(Clone)]
struct Strict {
    left: Arc<AtomicI64>,
    status: StatusCode,
    resets: &'static str,
    log: Log,
}

impl Strict {
    fn new(left: i64, status: StatusCode, resets: &'static str) -> Self {
        Self {
            left: Arc::new(AtomicI64::new(left)),
            status,
            resets,
            log: Log::default(),
        }
    }

    async fn serve(&self) -> Url {
        let strict = self.clone();
        let answer = move |request: Request| async move { strict.answer(request).await };
        serve(Router::new().fallback(answer)).await
    }

    async fn answer(&self, request: Request) -> Response {
        let seen = Seen::of(request).await;
        self.log.add(seen.clone());
        let left = self.left.fetch_sub(1, Ordering::SeqCst) - 1;
        let headers = [
            ("x-left", left.max(0).to_string()),
            ("x-max", "100".to_owned()),
            ("x-resets", self.resets.to_owned()),
        ];
        if left < 0 {
            return (self.status, headers, "slow down").into_response();
        }
        let page: i64 = params(&seen.uri)["page"].parse().unwrap();
        let records = things((page - 1) * 10 + 1..=(page * 10).min(45));
        (headers, Json(json!(records))).into_response()
    }
}

fn config(url: &Url, on_quota: &str) -> Value {
    json!({ "url": url, "schema": schema(), "pagination": { "type": "page" },
        "quota": { "left": "X-Left", "max": "X-Max", "resets": "X-Resets" },
        "on_quota": on_quota })
}

#[tokio::test]
async fn a_run_stops_when_no_requests_are_left_and_asks_no_more() {
    let strict = Strict::new(3, StatusCode::FORBIDDEN, "3600");
    let url = strict.serve().await;
    let mut pipeline = Pipeline::new(config(&url, "stop"));
    for _ in 0..2 {
        let error = pipeline.run().await.unwrap_err();
        assert_eq!(error.kind(), ErrorKind::Exhausted);
        let text = format!("{error:?}");
        assert!(
            text.contains("quota: 100") && text.contains("run it again after"),
            "{text}"
        );
        assert_eq!(
            strict.log.count(),
            3,
            "no request too many, in a later run too"
        );
    }
}

#[tokio::test]
async fn a_refusal_for_the_quota_is_no_matter_of_credentials() {
    for status in [StatusCode::FORBIDDEN, StatusCode::TOO_MANY_REQUESTS] {
        // Somebody else has spent it.
        let strict = Strict::new(0, status, "3600");
        let url = strict.serve().await;
        let error = Pipeline::new(config(&url, "stop")).run().await.unwrap_err();
        assert_eq!(error.kind(), ErrorKind::Exhausted, "{error:?}");
    }
}

#[tokio::test]
async fn a_run_waits_for_the_quota_if_it_is_told_to() {
    let strict = Strict::new(3, StatusCode::TOO_MANY_REQUESTS, "1");
    let url = strict.serve().await;
    let refill = strict.clone();
    let mut pipeline = Pipeline::new(config(&url, "wait"));
    let log = strict.log.clone();
    tokio::spawn(async move {
        while log.count() < 3 {
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
        refill.left.store(100, Ordering::SeqCst);
    });
    let read = pipeline.run().await.unwrap();
    assert_eq!(read.ids(), (1..=45).collect::<Vec<_>>());
    assert!(pipeline.cx.common().metrics.total_waited_ms() > 0);
    assert_eq!(strict.log.count(), 6);
}

#[tokio::test]
async fn requests_are_spaced() {
    let strict = Strict::new(100, StatusCode::TOO_MANY_REQUESTS, "3600");
    let url = strict.serve().await;
    let config = json!({ "url": url, "schema": schema(), "pagination": { "type": "page" },
        "rate_limit": 50 });
    let begun = Instant::now();
    Pipeline::new(config).run().await.unwrap();
    assert_eq!(strict.log.count(), 6);
    assert!(
        begun.elapsed() >= Duration::from_millis(100),
        "{:?}",
        begun.elapsed()
    );
}

#[tokio::test]
async fn after_the_quota_the_next_run_goes_on_with_the_next_page() {
    let strict = Strict::new(3, StatusCode::FORBIDDEN, "1");
    let url = strict.serve().await;
    let pipeline = Pipeline::new(config(&url, "stop"));
    let source = pipeline.open().await.unwrap();
    let scans = [Scan::all("records")];
    let ask = Ask {
        scans: &scans,
        state: None,
        finished: &[],
        first: true,
    };
    let split = source.plan(&ask).await.unwrap().new.remove(0);
    let mut pages = 0;
    let mut last = None;
    let mut events = source.read(&split, &scans, None).await.unwrap();
    let error = loop {
        match events.next().await.unwrap() {
            Ok(event) => {
                pages += 1;
                last = event.position().cloned();
            }
            Err(error) => break error,
        }
    };
    assert_eq!(
        (pages, error.kind()),
        (3, ErrorKind::Exhausted),
        "{error:?}"
    );

    strict.left.store(100, Ordering::SeqCst);
    // The user has changed his mind, and waits for the second that is left.
    let later = open(&config(&url, "wait"), &pipeline.cx.source())
        .await
        .unwrap();
    let mut events = later.read(&split, &scans, last.as_ref()).await.unwrap();
    while let Some(event) = events.next().await {
        event.unwrap();
    }
    let asked: Vec<_> = strict
        .log
        .all()
        .iter()
        .filter_map(|seen| seen.param("page"))
        .collect();
    assert_eq!(asked, ["1", "2", "3", "4", "5", "6"]);
}
