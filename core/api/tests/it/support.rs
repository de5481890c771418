//! A server of numbered records that pages in every way, and a hand that runs a source.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, PoisonError};

use axum::Router;
use axum::body::Bytes;
use axum::http::{HeaderMap, Method, StatusCode, Uri};
use axum::response::{IntoResponse, Response};
use axum::routing::any;
use futures::StreamExt;
use serde_json::{Value, json};
use tidegate_api::{ApiSource, Endpoint, Pagination, Pointer};
use tidegate_core::{
    Ask, Event, FinishedSplit, Next, Offset, PlanState, Result, Rows, Scan, Source, Split,
};
use tidegate_http::{HttpClient, Url};
use tidegate_testkit::suites::{TestContext, context};

/// A request, as a server of tests sees it.
#[derive(Debug, Clone)]
pub(crate) struct Asked {
    pub(crate) path: String,
    pub(crate) query: BTreeMap<String, String>,
    /// As it came.
    pub(crate) raw_query: String,
    pub(crate) headers: HeaderMap,
    pub(crate) body: Value,
}

impl Asked {
    /// A parameter as a number.
    pub(crate) fn number(&self, name: &str) -> Option<usize> {
        self.query.get(name)?.parse().ok()
    }
}

/// A server on 127.0.0.1 that answers as it is told, and remembers what it was asked.
#[derive(Clone)]
pub(crate) struct Server {
    pub(crate) url: String,
    asked: Arc<Mutex<Vec<Asked>>>,
}

impl Server {
    pub(crate) fn new<R: IntoResponse>(
        answer: impl Fn(&Asked) -> R + Clone + Send + Sync + 'static,
    ) -> Self {
        let listener = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
        listener.set_nonblocking(true).unwrap();
        let url = format!("http://{}", listener.local_addr().unwrap());
        let asked = Arc::<Mutex<Vec<Asked>>>::default();
        let log = Arc::clone(&asked);
        let handler = move |_: Method, uri: Uri, headers: HeaderMap, body: Bytes| {
            let query = uri.query().unwrap_or_default();
            let parsed = Url::parse(&format!("http://x/?{query}")).unwrap();
            let asked = Asked {
                path: uri.path().to_owned(),
                query: parsed.query_pairs().into_owned().collect(),
                raw_query: query.to_owned(),
                headers,
                body: serde_json::from_slice(&body).unwrap_or_default(),
            };
            log.lock()
                .unwrap_or_else(PoisonError::into_inner)
                .push(asked.clone());
            std::future::ready(answer(&asked).into_response())
        };
        let router = Router::new().fallback(any(handler));
        // On a thread of its own: the suite counts the tasks of the test's runtime.
        std::thread::spawn(move || {
            let runtime = tokio::runtime::Builder::new_current_thread();
            let runtime = { runtime }.enable_all().build().unwrap();
            runtime.block_on(async {
                let listener = tokio::net::TcpListener::from_std(listener).unwrap();
                axum::serve(listener, router).await.unwrap();
            });
        });
        Self { url, asked }
    }

    /// What it was asked so far, and forgets.
    pub(crate) fn asked(&self) -> Vec<Asked> {
        std::mem::take(&mut *self.asked.lock().unwrap_or_else(PoisonError::into_inner))
    }

    pub(crate) fn at(&self, path: &str) -> Url {
        Url::parse(&format!("{}{path}", self.url)).unwrap()
    }
}

/// Records by number: `{"id": 1, "name": "record 1"}`.
pub(crate) fn numbered(count: usize) -> Vec<Value> {
    (1..=count)
        .map(|id| json!({ "id": id, "name": format!("record {id}") }))
        .collect()
}

/// A server of `count` records, at most `size` a page, that pages in a way by path.
pub(crate) fn pager(count: usize, size: usize) -> Server {
    let records = numbered(count);
    Server::new(move |asked| page(&records, size, asked))
}

/// A page of these records.
pub(crate) fn page(records: &[Value], size: usize, asked: &Asked) -> Response {
    let size = asked.number("size").unwrap_or(size).min(size);
    let from = |start: usize| {
        let start = start.min(records.len());
        &records[start..(start + size).min(records.len())]
    };
    let number = asked.number("page").unwrap_or(1);
    let numbered = from((number - 1) * size);
    let pages = records.len().div_ceil(size);
    match asked.path.as_str() {
        "/all" => axum::Json(records.to_vec()).into_response(),
        "/page" => {
            let count = [("x-total-count", records.len().to_string())];
            (count, axum::Json(numbered.to_vec())).into_response()
        }
        "/pages" => {
            let more = number < pages;
            let body = json!({ "paging": { "more": more, "pages": pages }, "items": numbered });
            axum::Json(body).into_response()
        }
        "/offset" => {
            let offset = asked.number("offset").unwrap_or(0);
            let body = json!({ "total": records.len().to_string(), "items": from(offset) });
            axum::Json(body).into_response()
        }
        "/cursor" => {
            let start = match asked.query.get("after") {
                None => 0,
                Some(cursor) => cursor.strip_prefix("c+/=&").unwrap().parse().unwrap(),
            };
            let next = (start + size < records.len()).then(|| format!("c+/=&{}", start + size));
            axum::Json(json!({ "items": from(start), "next": { "after": next } })).into_response()
        }
        "/last" => {
            let start = asked.number("after").unwrap_or(0);
            let more = start + size < records.len();
            axum::Json(json!({ "items": from(start), "more": more })).into_response()
        }
        "/link" => {
            let next = format!(
                "</link?page={}&size={size}>; rel=\"next\", <x>; rel=last",
                number + 1
            );
            let link = (number < pages).then_some([("link", next)]);
            (
                link.map(axum::response::AppendHeaders),
                axum::Json(numbered.to_vec()),
            )
                .into_response()
        }
        "/next" => {
            let host = asked.headers["host"].to_str().unwrap();
            let next = format!("http://{host}/next?page={}&size={size}", number + 1);
            let next = if number < pages { next } else { String::new() };
            axum::Json(json!({ "items": numbered, "next": next })).into_response()
        }
        "/search" => {
            let start = asked.body["paging"]["from"].as_u64().unwrap_or(0);
            let items = from(usize::try_from(start).unwrap());
            axum::Json(json!({ "items": items, "asked": asked.body })).into_response()
        }
        _ => StatusCode::NOT_FOUND.into_response(),
    }
}

pub(crate) fn pointer(text: &str) -> Pointer {
    text.parse().unwrap()
}

/// Pagination as a pipeline file has it.
pub(crate) fn paged(config: Value) -> Pagination {
    serde_json::from_value(config).unwrap()
}

/// An endpoint `records` of numbered records.
pub(crate) fn endpoint(url: Url, pagination: Pagination, records: &str) -> Endpoint {
    let endpoint = Endpoint::of("records", url, "id:int64,name:string", &["id"]).unwrap();
    let endpoint = endpoint.pagination(pagination).records(pointer(records));
    endpoint.validate().unwrap();
    endpoint
}

/// An impatient context.
pub(crate) fn impatient() -> TestContext {
    context().settings("http", json!({ "attempts": 3, "backoff": "1ms" }))
}

pub(crate) fn client() -> HttpClient {
    HttpClient::new(&impatient().source()).unwrap()
}

pub(crate) fn source(endpoint: Endpoint) -> ApiSource {
    ApiSource::new(client(), vec![endpoint])
}

/// What a run read: rows by stream, as JSON; and the state it left.
#[derive(Debug)]
pub(crate) struct Run {
    pub(crate) rows: BTreeMap<String, Vec<Value>>,
    pub(crate) splits: Vec<Split>,
    pub(crate) state: PlanState,
}

impl Run {
    /// The ids of the rows of `records`.
    pub(crate) fn ids(&self) -> Vec<i64> {
        let rows = self.rows.get("records").map(Vec::as_slice);
        let ids = rows.unwrap_or_default().iter();
        ids.map(|row| row["id"].as_i64().unwrap()).collect()
    }
}

/// Runs a source as the runtime does: plans, reads, tells what has finished, until it is complete.
pub(crate) async fn run(source: &dyn Source, state: Option<&PlanState>) -> Result<Run> {
    let scans = scans(source);
    let mut all = Run {
        rows: BTreeMap::new(),
        splits: Vec::new(),
        state: PlanState::encode(&())?,
    };
    let mut ask = Ask {
        scans: &scans,
        state,
        finished: &[],
        first: true,
    };
    let mut finished;
    let mut known;
    loop {
        let plan = source.plan(&ask).await?;
        finished = Vec::new();
        for split in &plan.new {
            let read = read(source, split, None).await?;
            for (stream, rows) in read.rows {
                all.rows.entry(stream).or_default().extend(rows);
            }
            finished.push(FinishedSplit {
                split: split.clone(),
                offset: read.offsets.last().cloned(),
            });
        }
        all.splits.extend(plan.new);
        all.state = plan.state;
        if plan.next == Next::Complete {
            return Ok(all);
        }
        assert!(!finished.is_empty(), "it waits for nothing");
        known = all.state.clone();
        ask = Ask {
            scans: &scans,
            state: Some(&known),
            finished: &finished,
            first: false,
        };
    }
}

pub(crate) fn scans(source: &dyn Source) -> Vec<Scan> {
    let streams = source.streams().into_iter();
    streams.map(|stream| Scan::all(stream.name)).collect()
}

/// What reading a split gives.
#[derive(Debug, Default)]
pub(crate) struct Read {
    pub(crate) rows: BTreeMap<String, Vec<Value>>,
    pub(crate) offsets: Vec<Offset>,
    /// How many rows of `records` there were up to each offset.
    pub(crate) upto: Vec<usize>,
}

pub(crate) async fn read(
    source: &dyn Source,
    split: &Split,
    resume: Option<&Offset>,
) -> Result<Read> {
    let mut read = Read::default();
    let mut events = source.read(split, &scans(source), resume).await?;
    while let Some(event) = events.next().await {
        match event? {
            Event::Rows {
                stream,
                rows,
                resume,
                ..
            } => {
                let rows = values(rows)?;
                read.rows
                    .entry(stream.to_string())
                    .or_default()
                    .extend(rows);
                read.offsets.extend(resume);
            }
            Event::Progress(offset) => read.offsets.push(offset),
            Event::Schema { .. } => panic!("no schema changes"),
        }
        let rows = read.rows.get("records").map_or(0, Vec::len);
        read.upto.resize(read.offsets.len(), rows);
    }
    Ok(read)
}

/// Rows as JSON; none may be rejected.
fn values(rows: Rows) -> Result<Vec<Value>> {
    let batches = match rows {
        Rows::Batch(batch) => vec![batch],
        Rows::Encoded(encoded) => {
            let decoded = encoded.decode()?;
            assert!(decoded.rejected.is_empty(), "{:?}", decoded.rejected);
            decoded.batches
        }
    };
    let mut values = Vec::new();
    for batch in batches {
        for row in 0..batch.num_rows() {
            let text = tidegate_formats::row_to_json(&batch, row)?;
            values.push(serde_json::from_str(&text).unwrap());
        }
    }
    Ok(values)
}

/// The ids of the rows of an event.
pub(crate) fn ids(event: Event) -> Vec<i64> {
    let Event::Rows { rows, .. } = event else {
        return Vec::new();
    };
    let rows = values(rows).unwrap().into_iter();
    rows.map(|row| row["id"].as_i64().unwrap()).collect()
}
