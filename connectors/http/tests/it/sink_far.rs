//! The far end of an `http` sink: a server that says what it saw, and rows for it.

use std::io::Read as _;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use arrow_array::{ArrayRef, Int64Array, RecordBatch, StringArray};
use axum::Router;
use axum::body::{Body, to_bytes};
use axum::extract::Request;
use axum::http::{HeaderMap, StatusCode};
use axum::response::Response;
use serde_json::{Map, Value, json};
use tidegate_connector_http::HttpSinkConfig;
use tidegate_core::{
    ComponentId, Epoch, Input, Offset, Origins, Position, Rejected, Result, Sink, SinkBatch,
    SinkConfig as _, WriterId, Written,
};
use tidegate_testkit::suites::{Hand, TestContext, context};
use tokio::net::TcpListener;

/// A request that came.
#[derive(Debug, Clone)]
pub(crate) struct Seen {
    pub(crate) method: String,
    /// With its query, as it was sent.
    pub(crate) path: String,
    pub(crate) headers: HeaderMap,
    /// Unpacked.
    pub(crate) body: Vec<u8>,
}

impl Seen {
    pub(crate) fn header(&self, name: &str) -> Option<&str> {
        self.headers.get(name)?.to_str().ok()
    }

    pub(crate) fn key(&self) -> String {
        self.header("idempotency-key").unwrap().to_owned()
    }

    pub(crate) fn json(&self) -> Value {
        serde_json::from_slice(&self.body).unwrap()
    }

    pub(crate) fn text(&self) -> &str {
        std::str::from_utf8(&self.body).unwrap()
    }
}

/// What is answered, and after how long.
#[derive(Debug, Clone)]
pub(crate) struct Answer {
    pub(crate) status: u16,
    pub(crate) headers: Vec<(&'static str, String)>,
    pub(crate) body: Vec<u8>,
    pub(crate) after: Duration,
}

pub(crate) fn answer(status: u16, body: impl Into<Vec<u8>>) -> Answer {
    Answer {
        status,
        headers: Vec::new(),
        body: body.into(),
        after: Duration::ZERO,
    }
}

/// A server on this machine.
pub(crate) struct Far {
    pub(crate) url: String,
    seen: Arc<Mutex<Vec<Seen>>>,
    most: Arc<AtomicUsize>,
}

impl Far {
    /// One that answers like this to a request and its number, from 0.
    pub(crate) async fn start<F>(answer: F) -> Self
    where
        F: Fn(&Seen, usize) -> Answer + Send + Sync + 'static,
    {
        let seen: Arc<Mutex<Vec<Seen>>> = Arc::default();
        let (now, most) = (Arc::new(AtomicUsize::new(0)), Arc::new(AtomicUsize::new(0)));
        let answer = Arc::new(answer);
        let (kept, peak) = (Arc::clone(&seen), Arc::clone(&most));
        let handler = move |request: Request| {
            let (kept, peak, now) = (Arc::clone(&kept), Arc::clone(&peak), Arc::clone(&now));
            let answer = Arc::clone(&answer);
            async move {
                let here = now.fetch_add(1, Ordering::SeqCst) + 1;
                peak.fetch_max(here, Ordering::SeqCst);
                let seen = read(request).await;
                let answer = {
                    let mut kept = kept.lock().unwrap();
                    let answer = answer(&seen, kept.len());
                    kept.push(seen);
                    answer
                };
                tokio::time::sleep(answer.after).await;
                now.fetch_sub(1, Ordering::SeqCst);
                let mut response =
                    Response::builder().status(StatusCode::from_u16(answer.status).unwrap());
                for (name, value) in answer.headers {
                    response = response.header(name, value);
                }
                response.body(Body::from(answer.body)).unwrap()
            }
        };
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let url = format!("http://{}", listener.local_addr().unwrap());
        let router = Router::new().fallback(handler);
        tokio::spawn(async move { axum::serve(listener, router).await });
        Self { url, seen, most }
    }

    /// All requests so far.
    pub(crate) fn seen(&self) -> Vec<Seen> {
        self.seen.lock().unwrap().clone()
    }

    /// The most requests that there were at once.
    pub(crate) fn most(&self) -> usize {
        self.most.load(Ordering::SeqCst)
    }
}

async fn read(request: Request) -> Seen {
    let (head, body) = request.into_parts();
    let body = to_bytes(body, usize::MAX).await.unwrap_or_default();
    let packed = head.headers.get("content-encoding");
    let body = match packed.map(|name| name.to_str().unwrap()) {
        None => body.to_vec(),
        Some("gzip") => {
            let mut plain = Vec::new();
            let mut reader = flate2::read::MultiGzDecoder::new(&*body);
            reader.read_to_end(&mut plain).unwrap();
            plain
        }
        Some(other) => panic!("{other}"),
    };
    Seen {
        method: head.method.to_string(),
        path: head.uri.path_and_query().unwrap().to_string(),
        headers: head.headers,
        body,
    }
}

/// The rows `from`, `from + 1`, …: `id`, `name`.
pub(crate) fn rows(from: i64, count: usize) -> RecordBatch {
    let ids: Vec<i64> = (from..).take(count).collect();
    let names = ids.iter().map(|id| Some(format!("n\"{id}\"")));
    columns(&[
        ("id", Arc::new(Int64Array::from(ids.clone()))),
        ("name", Arc::new(names.collect::<StringArray>())),
    ])
}

/// One row for each text, in the column `name`.
pub(crate) fn named(names: &[Option<&str>]) -> RecordBatch {
    columns(&[("name", Arc::new(names.iter().collect::<StringArray>()))])
}

pub(crate) fn columns(columns: &[(&str, ArrayRef)]) -> RecordBatch {
    let columns = columns
        .iter()
        .map(|(name, array)| (*name, Arc::clone(array), true));
    RecordBatch::try_from_iter_with_nullable(columns).unwrap()
}

/// Settings with which nobody waits for long.
pub(crate) fn quick() -> Value {
    json!({ "attempts": 30, "backoff": "2ms", "max_backoff": "20ms", "request_timeout": "20s" })
}

pub(crate) fn cx() -> TestContext {
    context().settings("http", quick())
}

/// Opens the sink with these keys, for rows like those.
pub(crate) async fn open(
    cx: &TestContext,
    keys: Value,
    like: &RecordBatch,
) -> Result<Arc<dyn Sink>> {
    let config: HttpSinkConfig = serde_json::from_value(keys).unwrap();
    let input = Input {
        name: "rows".into(),
        schema: like.schema(),
    };
    config.open(&cx.sink(vec![input])).await
}

/// A batch as it comes from a source, after the position `after` of a split.
pub(crate) fn with_origins(rows: RecordBatch, split: &str, after: u64) -> SinkBatch {
    let mut origins = Origins::default();
    let position = Arc::new(Position {
        source: ComponentId::new("in").unwrap(),
        split: split.into(),
        offset: Some(Offset::encode(&after).unwrap()),
    });
    origins.push(&position, 0, rows.num_rows());
    SinkBatch {
        origins: Some(origins),
        ..SinkBatch::new(0, rows)
    }
}

/// Writes batches by one writer, one after the other, and seals the epoch.
pub(crate) async fn deliver(sink: &Arc<dyn Sink>, batches: Vec<SinkBatch>) -> Result<Written> {
    let epoch = sink.epoch(Epoch(1)).await?;
    let id = WriterId {
        epoch: Epoch(1),
        executor: 0,
        index: 0,
    };
    let mut hand = Hand::open(&epoch, id).await?;
    let mut written = Written::default();
    for batch in batches {
        written.extend(hand.send(batch).await?);
    }
    written.extend(hand.finish().await?);
    let sealed = epoch.seal().await?;
    written.extend(Written {
        rejected: sealed.rejected,
        answers: sealed.answers,
    });
    Ok(written)
}

/// Opens the sink and sends these rows.
pub(crate) async fn send(keys: Value, rows: RecordBatch) -> Result<Rejected> {
    let cx = cx();
    let sink = open(&cx, keys, &rows).await?;
    let written = deliver(&sink, vec![with_origins(rows, "s", 0)]).await?;
    Ok(written.rejected)
}

/// The keys with more of them.
pub(crate) fn keys(url: &str, more: Value) -> Value {
    let mut keys: Map<String, Value> = Map::new();
    keys.insert("url".into(), url.into());
    keys.extend(more.as_object().unwrap().clone());
    keys.into()
}
