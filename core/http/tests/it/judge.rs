//! A server that forgives nothing, and processes that ask it.

use std::collections::BTreeMap;
use std::future::pending;
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use axum::Router;
use axum::extract::{Query, State};
use axum::http::Uri;
use axum::response::{IntoResponse as _, Response as Answer};
use axum::routing::get;
use tidegate_core::{Cancel, Context, KeyValue, Metrics, Result};
use tidegate_http::{
    Dialect, HttpClient, Ledger, LedgerOptions, Refusal, Response, Told, Url, by_status,
};
use tidegate_testkit::suites::context;
use tokio::sync::Notify;

use crate::servers::{serve, settings};

/// A process: a ledger of its own on a store that others have too, and a client.
pub(crate) struct Process {
    pub(crate) client: HttpClient,
    pub(crate) ledger: Ledger,
    pub(crate) metrics: Arc<Metrics>,
}

pub(crate) fn options() -> LedgerOptions {
    LedgerOptions {
        caution: Duration::from_millis(300),
        ..LedgerOptions::new("api.test/anonymous")
    }
}

impl Process {
    pub(crate) fn new(store: &Arc<impl KeyValue + 'static>, options: LedgerOptions) -> Self {
        Self::with(store, options, Duration::from_millis(500), Cancel::never())
    }

    pub(crate) fn with(
        store: &Arc<impl KeyValue + 'static>,
        options: LedgerOptions,
        timeout: Duration,
        cancel: Cancel,
    ) -> Self {
        let metrics = Arc::new(Metrics::default());
        let cx = Context {
            shared: Arc::clone(store) as _,
            metrics: Arc::clone(&metrics),
            cancel,
            ..context().common()
        };
        let mut settings = settings();
        settings.request_timeout.0 = timeout;
        settings.attempts = 1;
        Self {
            client: HttpClient::with_settings(settings, Arc::clone(&metrics)).unwrap(),
            ledger: Ledger::new(&cx, options),
            metrics,
        }
    }

    /// Asks for `/method?…`.
    pub(crate) async fn ask(&self, base: &Url, path: &str) -> Result<Response> {
        let url = base.join(path).unwrap();
        let method = url.path().trim_start_matches('/').to_owned();
        let request = self.client.get(url).dialect(&Api);
        request.through(&self.ledger, &method).send().await
    }
}

/// An API that tells everything in headers.
#[derive(Debug)]
pub(crate) struct Api;

impl Dialect for Api {
    fn judge(&self, answer: &Response) -> Result<(), Refusal> {
        by_status(answer)
    }

    fn told(&self, answer: &Response) -> Told {
        let number = |name| answer.header(name).and_then(|text| text.parse().ok());
        Told {
            quota_max: number("x-max"),
            quota_left: number("x-left"),
            resets_in: number("x-resets-in-ms").map(Duration::from_millis),
            backoff: number("x-backoff-ms").map(Duration::from_millis),
        }
    }
}

/// A server that forgives nothing.
#[derive(Clone, Default)]
pub(crate) struct Judge(Arc<Mutex<Judging>>, pub(crate) Arc<Notify>);

#[derive(Default)]
struct Judging {
    under_way: BTreeMap<String, u32>,
    backoffs: BTreeMap<String, Instant>,
    asked: Vec<String>,
    left: u64,
    violations: Vec<String>,
}

impl Judge {
    pub(crate) async fn serve(left: u64) -> (Self, Url) {
        let judge = Self::default();
        judge.0.lock().unwrap().left = left;
        let routes = Router::new()
            .route("/{method}", get(Self::handle))
            .with_state(judge.clone());
        (judge, serve(routes).await)
    }

    /// `takes`: how long it takes; `backoff`: what it asks for then; `hang`: it never answers.
    async fn handle(
        State(judge): State<Self>,
        uri: Uri,
        Query(query): Query<BTreeMap<String, String>>,
    ) -> Answer {
        let method = uri.path().to_owned();
        let number = |name| query.get(name).and_then(|text| text.parse::<u64>().ok());
        let left = {
            let mut state = judge.0.lock().unwrap();
            state.asked.push(uri.to_string());
            let under_way = state.under_way.entry(method.clone()).or_default();
            *under_way += 1;
            let mut wrong = Vec::new();
            if *under_way > 1 {
                wrong.push(format!("{uri}: two at once"));
            }
            if state
                .backoffs
                .get(&method)
                .is_some_and(|end| Instant::now() < *end)
            {
                wrong.push(format!("{uri}: before the backoff was over"));
            }
            if state.left == 0 {
                wrong.push(format!("{uri}: over the quota"));
            }
            state.left = state.left.saturating_sub(1);
            state.violations.append(&mut wrong);
            state.left
        };
        // It continues when its client is gone.
        let worker = judge.clone();
        let (takes, backoff) = (number("takes"), number("backoff"));
        let work = tokio::spawn(async move {
            tokio::time::sleep(Duration::from_millis(takes.unwrap_or(0))).await;
            let mut state = worker.0.lock().unwrap();
            if let Some(backoff) = backoff {
                let end = Instant::now() + Duration::from_millis(backoff);
                state.backoffs.insert(method.clone(), end);
            }
            *state.under_way.entry(method).or_default() -= 1;
            worker.1.notify_one();
        });
        work.await.unwrap();
        if query.contains_key("hang") {
            pending::<()>().await;
        }
        let told = [("x-max", 100), ("x-left", left)].map(|(name, of)| (name, of.to_string()));
        let backoff = [("x-backoff-ms", backoff.unwrap_or(0).to_string())];
        (told, backoff, "[]").into_response()
    }

    pub(crate) fn asked(&self) -> usize {
        self.0.lock().unwrap().asked.len()
    }

    pub(crate) fn assert_content(&self) {
        let violations = &self.0.lock().unwrap().violations;
        assert!(violations.is_empty(), "{violations:#?}");
    }
}
