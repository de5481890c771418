//! What moto leaves out of Glue: versions that must be the read ones, limits of batches, pages.

use std::sync::{Arc, Mutex};

use axum::Router;
use axum::body::Bytes;
use axum::extract::State;
use axum::http::{HeaderMap, StatusCode};
use axum::response::{IntoResponse, Response};
use serde_json::{Value, json};
use tidegate_core::{Catalog, CatalogConfig, Context, Result};
use tidegate_glue::GlueConfig;
use tidegate_testkit::servers::{AwsServer, moto};
use tidegate_testkit::suites::{TestContext, context};
use tokio::sync::oneshot;

/// A server between Glue's client and moto.
pub(crate) struct Strict {
    pub(crate) moto: AwsServer,
    url: String,
    shared: Arc<Shared>,
    _task: Task,
}

struct Shared {
    upstream: String,
    client: reqwest::Client,
    /// Held by one change at a time, from the look at the version to its end.
    change: tokio::sync::Mutex<()>,
    seen: Mutex<Vec<(String, Value)>>,
    stale: Mutex<usize>,
    meddle: Mutex<Option<Meddle>>,
    halt: Mutex<Option<Halt>>,
}

/// How many requests come first; what is told that one waits; what it waits for.
type Halt = (usize, oneshot::Sender<()>, oneshot::Receiver<()>);

/// Answers some requests (operation, input) instead of moto.
type Meddle = Box<dyn FnMut(&str, &Value) -> Option<(StatusCode, Value)> + Send>;

/// A task that ends when this is dropped.
struct Task(tokio::task::JoinHandle<()>);

impl Drop for Task {
    fn drop(&mut self) {
        self.0.abort();
    }
}

/// Starts moto, and this before it.
pub(crate) async fn strict() -> Strict {
    let moto = tokio::task::spawn_blocking(moto).await.unwrap();
    let shared = Arc::new(Shared {
        upstream: moto.url(),
        client: reqwest::Client::new(),
        change: tokio::sync::Mutex::new(()),
        seen: Mutex::default(),
        stale: Mutex::default(),
        meddle: Mutex::default(),
        halt: Mutex::default(),
    });
    let router = Router::new()
        .fallback(serve)
        .with_state(Arc::clone(&shared));
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
    let url = format!("http://{}", listener.local_addr().unwrap());
    let task = tokio::spawn(async move { axum::serve(listener, router).await.unwrap() });
    Strict {
        moto,
        url,
        shared,
        _task: Task(task),
    }
}

impl Strict {
    /// The settings with which it is reached.
    pub(crate) fn settings(&self) -> Value {
        self.moto.settings_at(&self.url)
    }

    /// A context with those settings.
    pub(crate) fn context(&self) -> TestContext {
        context().settings("aws", self.settings())
    }

    /// The catalog.
    pub(crate) async fn open(&self) -> Arc<dyn Catalog> {
        self.open_in(self.context().common()).await.unwrap()
    }

    async fn open_in(&self, cx: Context) -> Result<Arc<dyn Catalog>> {
        GlueConfig::default().open(&cx).await
    }

    /// The inputs of all requests of an operation, in their order.
    pub(crate) fn seen(&self, operation: &str) -> Vec<Value> {
        let seen = self.shared.seen.lock().unwrap();
        let inputs = seen.iter().filter(|(name, _)| name == operation);
        inputs.map(|(_, input)| input.clone()).collect()
    }

    /// How many changes were refused because they were made to an old version.
    pub(crate) fn stale(&self) -> usize {
        *self.shared.stale.lock().unwrap()
    }

    /// From now on this may answer instead of moto.
    pub(crate) fn meddle(
        &self,
        meddle: impl FnMut(&str, &Value) -> Option<(StatusCode, Value)> + Send + 'static,
    ) {
        *self.shared.meddle.lock().unwrap() = Some(Box::new(meddle));
    }

    /// Lets the request after the next `after` wait: the first channel tells that it does, the other
    /// lets it go on.
    pub(crate) fn halt(&self, after: usize) -> (oneshot::Receiver<()>, oneshot::Sender<()>) {
        let ((stops, stopped), (go, goes)) = (oneshot::channel(), oneshot::channel());
        *self.shared.halt.lock().unwrap() = Some((after, stops, goes));
        (stopped, go)
    }

    /// Ends the wait for a request that never came.
    pub(crate) fn halt_no_more(&self) {
        self.shared.halt.lock().unwrap().take();
    }

    /// Calls moto itself, not seen here.
    pub(crate) async fn glue(&self, operation: &str, input: Value) -> Value {
        let mut headers = HeaderMap::new();
        headers.insert(
            "content-type",
            "application/x-amz-json-1.1".parse().unwrap(),
        );
        let key = "AWS4-HMAC-SHA256 Credential=tidegate-test/20260101/us-east-1/glue/aws4_request, \
                   SignedHeaders=host, Signature=0";
        headers.insert("authorization", key.parse().unwrap());
        let (status, answer) = self.shared.ask(operation, &headers, &input).await;
        assert!(status.is_success(), "{operation}: {answer}");
        answer
    }
}

impl Shared {
    async fn ask(
        &self,
        operation: &str,
        headers: &HeaderMap,
        input: &Value,
    ) -> (StatusCode, Value) {
        let mut headers = headers.clone();
        headers.remove("host");
        headers.remove("content-length");
        headers.insert(
            "x-amz-target",
            format!("AWSGlue.{operation}").parse().unwrap(),
        );
        let request = self.client.post(&self.upstream).headers(headers);
        let answer = request.body(input.to_string()).send().await.unwrap();
        let status = answer.status();
        let text = answer.text().await.unwrap();
        (status, serde_json::from_str(&text).unwrap_or(Value::Null))
    }

    /// What Glue refuses and moto doesn't.
    async fn refused(&self, operation: &str, headers: &HeaderMap, input: &Value) -> Option<String> {
        let length = |key: &str| input[key].as_array().map_or(0, Vec::len);
        let most = |key: &str, most: i64| input[key].as_i64().is_some_and(|n| n > most || n < 1);
        let too_many = match operation {
            "BatchCreatePartition" => length("PartitionInputList") > 100,
            "BatchUpdatePartition" => !(1..=100).contains(&length("Entries")),
            "BatchGetPartition" => length("PartitionsToGet") > 1000,
            "BatchDeletePartition" => length("PartitionsToDelete") > 25,
            "GetPartitions" => {
                most("MaxResults", 1000)
                    || input["Expression"]
                        .as_str()
                        .is_some_and(|text| text.len() > 2048)
            }
            "GetTables" | "GetDatabases" => most("MaxResults", 100),
            _ => false,
        };
        if too_many {
            return Some("ValidationException".to_owned());
        }
        if operation != "UpdateTable" {
            return None;
        }
        let name =
            json!({ "DatabaseName": input["DatabaseName"], "Name": input["TableInput"]["Name"] });
        let (_, table) = self.ask("GetTable", headers, &name).await;
        let fresh = input["VersionId"] == table["Table"]["VersionId"];
        if fresh {
            return None;
        }
        *self.stale.lock().unwrap() += 1;
        Some("ConcurrentModificationException".to_owned())
    }
}

async fn serve(State(shared): State<Arc<Shared>>, headers: HeaderMap, body: Bytes) -> Response {
    let target = headers["x-amz-target"].to_str().unwrap().to_owned();
    let operation = target.strip_prefix("AWSGlue.").unwrap();
    let mut input: Value = serde_json::from_slice(&body).unwrap();
    shared
        .seen
        .lock()
        .unwrap()
        .push((operation.to_owned(), input.clone()));
    let halt = {
        let mut halt = shared.halt.lock().unwrap();
        match &mut *halt {
            Some((0, ..)) => halt.take(),
            Some((left, ..)) => {
                *left -= 1;
                None
            }
            None => None,
        }
    };
    if let Some((_, stops, goes)) = halt {
        let _ = stops.send(());
        let _ = goes.await;
    }
    let meddled = {
        let mut meddle = shared.meddle.lock().unwrap();
        meddle.as_mut().and_then(|meddle| meddle(operation, &input))
    };
    if let Some((status, answer)) = meddled {
        return (status, answer.to_string()).into_response();
    }
    let _alone = match operation.starts_with("Get") {
        true => None,
        false => Some(shared.change.lock().await),
    };
    if let Some(code) = shared.refused(operation, &headers, &input).await {
        let error = json!({ "__type": code, "Message": "as Glue would say" });
        return (StatusCode::BAD_REQUEST, error.to_string()).into_response();
    }
    let list = match operation {
        "GetPartitions" => Some("Partitions"),
        "GetTables" => Some("TableList"),
        "GetDatabases" => Some("DatabaseList"),
        _ => None,
    };
    let token = input
        .as_object_mut()
        .and_then(|input| input.remove("NextToken"));
    let (status, mut answer) = shared.ask(operation, &headers, &input).await;
    if let (true, Some(list)) = (status.is_success(), list) {
        page(&mut answer, list, token.as_ref(), &input);
    }
    (status, answer.to_string()).into_response()
}

/// One page of what moto gives as a whole.
fn page(answer: &mut Value, list: &str, token: Option<&Value>, input: &Value) {
    let from = token.map_or(0, |token| token.as_str().unwrap().parse::<usize>().unwrap());
    let length = input["MaxResults"]
        .as_u64()
        .map_or(100, |n| usize::try_from(n).unwrap());
    let all = answer[list].as_array().unwrap().clone();
    let to = (from + length).min(all.len());
    answer[list] = all[from..to].to_vec().into();
    answer["NextToken"] = match to < all.len() {
        true => to.to_string().into(),
        false => Value::Null,
    };
}
