//! The HTTP client under `object_store`: one for a tokio runtime, and what it retries is counted.

use std::collections::HashMap;
use std::pin::Pin;
use std::sync::{Arc, LazyLock, Mutex, PoisonError};
use std::task::{Context, Poll};
use std::time::Duration;

use async_trait::async_trait;
use bytes::Bytes;
use http_body::{Body, Frame, SizeHint};
use object_store::ClientOptions;
use object_store::client::{
    HttpClient, HttpConnector, HttpError, HttpRequest, HttpResponse, HttpResponseBody, HttpService,
    ReqwestConnector,
};
use tidegate_core::Metrics;
use tokio::runtime;

/// Connections live on the runtime that made them, so another one gets its own client. By whether
/// plain HTTP is allowed.
static CLIENTS: LazyLock<Mutex<HashMap<(runtime::Id, bool), HttpClient>>> =
    LazyLock::new(Mutex::default);

/// So many runtimes are remembered; a program has one or two, a test suite one for each test.
const REMEMBERED: usize = 64;

/// The options of the shared client.
pub(super) fn options(allow_http: bool) -> ClientOptions {
    ClientOptions::new()
        .with_allow_http(allow_http)
        .with_connect_timeout(Duration::from_secs(10))
        // Of one request with its body: a chunk of 8 MiB on a line of 1 Mbit/s.
        .with_timeout(Duration::from_secs(90))
        .with_pool_idle_timeout(Duration::from_secs(15))
}

/// Gives `object_store` the shared client, with a component's counter around it.
#[derive(Debug)]
pub(super) struct Counting {
    pub(super) allow_http: bool,
    pub(super) metrics: Arc<Metrics>,
}

impl HttpConnector for Counting {
    fn connect(&self, options: &ClientOptions) -> object_store::Result<HttpClient> {
        let connect = || ReqwestConnector::default().connect(options);
        let client = match runtime::Handle::try_current() {
            Err(_) => connect()?,
            Ok(here) => {
                let mut clients = CLIENTS.lock().unwrap_or_else(PoisonError::into_inner);
                let key = (here.id(), self.allow_http);
                match clients.get(&key) {
                    Some(client) => client.clone(),
                    None => {
                        if clients.len() >= REMEMBERED {
                            clients.clear();
                        }
                        clients.entry(key).or_insert(connect()?).clone()
                    }
                }
            }
        };
        Ok(HttpClient::new(CountingService {
            client,
            metrics: Arc::clone(&self.metrics),
        }))
    }
}

/// Counts answers after which `object_store` asks again. The last of them, when it gives up, is
/// counted too.
#[derive(Debug)]
struct CountingService {
    client: HttpClient,
    metrics: Arc<Metrics>,
}

#[async_trait]
impl HttpService for CountingService {
    async fn call(&self, request: HttpRequest) -> Result<HttpResponse, HttpError> {
        let answer = self.client.execute(request).await;
        match &answer {
            Err(_) => self.metrics.retries(1),
            Ok(answer) => {
                let status = answer.status().as_u16();
                if status >= 500 || status == 429 {
                    self.metrics.retries(1);
                }
            }
        }
        let metrics = &self.metrics;
        answer.map(|answer| {
            answer.map(|body| {
                HttpResponseBody::new(CountingBody {
                    body,
                    metrics: Arc::clone(metrics),
                })
            })
        })
    }
}

/// A body that breaks off is asked for again from where it broke.
struct CountingBody {
    body: HttpResponseBody,
    metrics: Arc<Metrics>,
}

impl Body for CountingBody {
    type Data = Bytes;
    type Error = HttpError;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, HttpError>>> {
        let frame = Pin::new(&mut self.body).poll_frame(cx);
        if let Poll::Ready(Some(Err(_))) = &frame {
            self.metrics.retries(1);
        }
        frame
    }

    fn is_end_stream(&self) -> bool {
        self.body.is_end_stream()
    }

    fn size_hint(&self) -> SizeHint {
        self.body.size_hint()
    }
}
