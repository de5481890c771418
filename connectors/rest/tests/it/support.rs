//! Servers and contexts for tests.

use std::sync::{Arc, Mutex};

use axum::Router;
use axum::extract::Request;
use axum::http::{HeaderMap, Uri};
use serde_json::{Value, json};
use tidegate_core::{Result, SourceContext};
use tidegate_http::{Auth, Authorizer, HttpClient, Response, Url};
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
