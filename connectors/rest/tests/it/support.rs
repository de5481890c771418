//! Servers and contexts for tests.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex};

use axum::Router;
use axum::extract::Request;
use axum::http::{HeaderMap, Uri};
use futures::StreamExt;
use serde_json::{Value, json};
use tidegate_core::{
    Ask, Event, FinishedSplit, Next, Offset, PlanState, RejectedRow, Result, Rows, Scan, Source,
    SourceConfig, SourceContext, Split,
};
use tidegate_formats::row_to_json;
use tidegate_http::{Auth, Authorizer, HttpClient, Response, Url};
use tidegate_rest::RestConfig;
use tidegate_testkit::suites::{TestContext, context};

/// Serves a router on this machine for as long as the test's runtime lives.
pub(crate) async fn serve(router: Router) -> Url {
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    tokio::spawn(async move { axum::serve(listener, router).await });
    Url::parse(&format!("http://{address}/")).unwrap()
}

/// What arrived at a server.
#[derive(Debug, Clone)]
pub(crate) struct Seen {
    pub(crate) uri: Uri,
    pub(crate) headers: HeaderMap,
    pub(crate) body: String,
}

impl Seen {
    pub(crate) async fn of(request: Request) -> Self {
        let (head, body) = request.into_parts();
        let body = axum::body::to_bytes(body, 1 << 20).await.unwrap();
        Self {
            uri: head.uri,
            headers: head.headers,
            body: String::from_utf8(body.to_vec()).unwrap(),
        }
    }

    pub(crate) fn header(&self, name: &str) -> Option<&str> {
        self.headers.get(name).map(|value| value.to_str().unwrap())
    }

    /// The value of a parameter in the query.
    pub(crate) fn param(&self, name: &str) -> Option<String> {
        let url = Url::parse("http://h/").unwrap().join(&self.uri.to_string());
        let url = url.unwrap();
        let mut pairs = url.query_pairs();
        let found = pairs.find(|(key, _)| key == name);
        found.map(|(_, value)| value.into_owned())
    }
}

/// All that arrived at a server.
#[derive(Debug, Clone, Default)]
pub(crate) struct Log(Arc<Mutex<Vec<Seen>>>);

impl Log {
    pub(crate) fn add(&self, seen: Seen) {
        self.0.lock().unwrap().push(seen);
    }

    pub(crate) fn all(&self) -> Vec<Seen> {
        self.0.lock().unwrap().clone()
    }

    pub(crate) fn count(&self) -> usize {
        self.0.lock().unwrap().len()
    }

    /// Only one request arrived: it.
    pub(crate) fn only(&self) -> Seen {
        let all = self.all();
        assert_eq!(all.len(), 1, "{all:#?}");
        all[0].clone()
    }
}

/// A router that answers everything with `[]`, and notes it.
pub(crate) fn open_to_all(log: &Log) -> Router {
    let log = log.clone();
    Router::new().fallback(move |request: Request| async move {
        log.add(Seen::of(request).await);
        axum::Json(json!([]))
    })
}

/// A context whose requests fail quickly, with these secrets as files.
pub(crate) fn impatient(secrets: &[(&str, &str)]) -> TestContext {
    let cx = context().settings(
        "http",
        json!({ "attempts": 2, "backoff": "1ms", "request_timeout": "20s" }),
    );
    for (name, value) in secrets {
        std::fs::write(cx.path(name), value).unwrap();
    }
    cx
}

/// The client and the credentials that `auth` leads to.
pub(crate) fn authorized(cx: &SourceContext, auth: Value) -> Result<(HttpClient, Authorizer)> {
    let client = HttpClient::new(cx)?;
    let auth: Auth = serde_json::from_value(auth).unwrap();
    let authorizer = Authorizer::new(&auth, false, cx, &client)?;
    Ok((client.confined()?, authorizer))
}

/// Asks `url` once with the credentials `auth`.
pub(crate) async fn ask(cx: &TestContext, auth: Value, url: &Url) -> Result<Response> {
    let (client, authorizer) = authorized(&cx.source(), auth)?;
    authorizer.send(|| client.get(url.clone())).await
}

/// A source as a pipeline uses it, run after run.
pub(crate) struct Pipeline {
    config: Value,
    pub(crate) cx: TestContext,
    state: Option<PlanState>,
}

/// What a run gave: each stream's rows, as JSON, and what was rejected.
#[derive(Debug, Default)]
pub(crate) struct Read {
    pub(crate) rows: BTreeMap<String, Vec<Value>>,
    pub(crate) rejected: Vec<RejectedRow>,
    pub(crate) splits: usize,
    /// All positions, as they are stored.
    pub(crate) positions: Vec<Offset>,
}

impl Read {
    pub(crate) fn of(&self, stream: &str) -> &[Value] {
        self.rows.get(stream).map_or(&[], Vec::as_slice)
    }

    /// The values of a field of the stream `records`.
    pub(crate) fn field(&self, name: &str) -> Vec<Value> {
        let rows = self.of("records").iter();
        rows.map(|row| row[name].clone()).collect()
    }

    /// The numbers in the field `id` of the stream `records`.
    pub(crate) fn ids(&self) -> Vec<i64> {
        let ids = self.field("id");
        ids.iter().map(|id| id.as_i64().unwrap()).collect()
    }
}

impl Pipeline {
    /// The keys of `[sources.x]` but for `type`.
    pub(crate) fn new(config: Value) -> Self {
        Self::with_secrets(config, &[])
    }

    pub(crate) fn with_secrets(config: Value, secrets: &[(&str, &str)]) -> Self {
        Self {
            config,
            cx: impatient(secrets),
            state: None,
        }
    }

    /// What is kept for the next run.
    pub(crate) fn state(&self) -> Option<&PlanState> {
        self.state.as_ref()
    }

    pub(crate) async fn open(&self) -> Result<Arc<dyn Source>> {
        open(&self.config, &self.cx.source()).await
    }

    /// A whole run, one split after the other. One that fails leaves the state as it was.
    pub(crate) async fn run(&mut self) -> Result<Read> {
        let source = self.open().await?;
        let streams = source.streams();
        let scans: Vec<_> = streams
            .iter()
            .map(|of| Scan::all(of.name.clone()))
            .collect();
        let mut read = Read::default();
        let mut state = self.state.clone();
        let mut finished = Vec::new();
        let mut first = true;
        loop {
            let ask = Ask {
                scans: &scans,
                state: state.as_ref(),
                finished: &finished,
                first,
            };
            let plan = source.plan(&ask).await?;
            (first, finished) = (false, Vec::new());
            state = Some(plan.state);
            for split in plan.new {
                read.splits += 1;
                let offset = drain(&*source, &split, &scans, &mut read).await?;
                finished.push(FinishedSplit { split, offset });
            }
            if plan.next == Next::Complete {
                break;
            }
        }
        self.state = state;
        Ok(read)
    }
}

/// Opens the source that these keys describe.
pub(crate) async fn open(config: &Value, cx: &SourceContext) -> Result<Arc<dyn Source>> {
    let config: RestConfig = serde_json::from_value(config.clone()).unwrap();
    config.validate()?;
    config.open(cx).await
}

async fn drain(
    source: &dyn Source,
    split: &Split,
    scans: &[Scan],
    read: &mut Read,
) -> Result<Option<Offset>> {
    let mut last = None;
    let mut events = source.read(split, scans, None).await?;
    while let Some(event) = events.next().await {
        let event = event?;
        read.positions.extend(event.position().cloned());
        last = event.position().cloned().or(last);
        let Event::Rows {
            stream,
            rows,
            rejected,
            ..
        } = event
        else {
            continue;
        };
        read.rejected
            .extend(rejected.into_iter().flat_map(|all| all.rows));
        let batches = match rows {
            Rows::Batch(batch) => vec![batch],
            Rows::Encoded(encoded) => {
                let decoded = encoded.decode()?;
                read.rejected.extend(decoded.rejected.rows);
                decoded.batches
            }
        };
        let all = read.rows.entry(stream.to_string()).or_default();
        for batch in batches {
            for row in 0..batch.num_rows() {
                all.push(serde_json::from_str(&row_to_json(&batch, row)?).unwrap());
            }
        }
    }
    Ok(last)
}

/// Records that the servers of these tests have: `{ "id": 1, "name": "n1", "at": 1001 }` and so on.
pub(crate) fn things(ids: std::ops::RangeInclusive<i64>) -> Vec<Value> {
    ids.map(|id| json!({ "id": id, "name": format!("n{id}"), "at": 1_000 + id }))
        .collect()
}

/// The columns of [`things`].
pub(crate) fn schema() -> Value {
    json!([{ "name": "id", "type": "int64", "nullable": false },
        { "name": "name", "type": "string" }, { "name": "at", "type": "int64" }])
}

/// The parameters of a request, each once.
pub(crate) fn params(uri: &Uri) -> BTreeMap<String, String> {
    let url = Url::parse("http://h/").unwrap().join(&uri.to_string());
    let url = url.unwrap();
    let pairs: Vec<_> = url.query_pairs().into_owned().collect();
    let params: BTreeMap<_, _> = pairs.iter().cloned().collect();
    assert_eq!(
        params.len(),
        pairs.len(),
        "a parameter came twice: {pairs:?}"
    );
    params
}
