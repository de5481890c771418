//! The HTTP client under `object_store`: one for a tokio runtime. What it retries is counted, and what
//! it is answered is held to what it asked for.

use std::collections::HashMap;
use std::fmt;
use std::net::SocketAddr;
use std::pin::Pin;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, LazyLock, Mutex, PoisonError};
use std::task::{Context, Poll};
use std::time::Duration;

use async_trait::async_trait;
use bytes::Bytes;
use http_body::{Body, Frame, SizeHint};
use object_store::ClientOptions;
use object_store::client::{
    HttpClient, HttpConnector, HttpError, HttpErrorKind, HttpRequest, HttpResponse,
    HttpResponseBody, HttpService,
};
use reqwest::dns::{Addrs, Name, Resolve, Resolving};
use reqwest::header::{CONTENT_LENGTH, CONTENT_RANGE, HeaderMap, HeaderName, RANGE};
use tidegate_core::Metrics;
use tokio::runtime;

/// Connections live on the runtime that made them, so another one gets its own client. By whether
/// plain HTTP is allowed.
static CLIENTS: LazyLock<Mutex<HashMap<(runtime::Id, bool), HttpClient>>> =
    LazyLock::new(Mutex::default);

/// So many runtimes are remembered; a program has one or two, a test suite one for each test.
const REMEMBERED: usize = 64;

/// The longest text of a refusal that is read.
const LONGEST_REFUSAL: u64 = 1 << 20;

/// The shared client.
fn client(allow_http: bool) -> reqwest::Result<HttpClient> {
    let client = reqwest::Client::builder()
        .user_agent(concat!("tidegate/", env!("CARGO_PKG_VERSION")))
        .https_only(!allow_http)
        // A signature is for one server, and `x-amz-security-token` would go to the next one too.
        .redirect(reqwest::redirect::Policy::none())
        .dns_resolver(Arc::new(InTurn))
        .connect_timeout(Duration::from_secs(10))
        // Of one request with its body: a chunk of 8 MiB on a line of 1 Mbit/s.
        .timeout(Duration::from_secs(90))
        .pool_idle_timeout(Duration::from_secs(15))
        // Lengths are those of the files.
        .no_gzip()
        .no_brotli()
        .no_zstd()
        .no_deflate()
        .build()?;
    Ok(HttpClient::new(client))
}

/// Takes the addresses of a name in turn: each of S3's servers gives only so much.
struct InTurn;

impl Resolve for InTurn {
    fn resolve(&self, name: Name) -> Resolving {
        static NEXT: AtomicUsize = AtomicUsize::new(0);
        Box::pin(async move {
            let found = tokio::net::lookup_host((name.as_str(), 0)).await?;
            let mut found: Vec<SocketAddr> = found.collect();
            if !found.is_empty() {
                let first = NEXT.fetch_add(1, Ordering::Relaxed) % found.len();
                found.rotate_left(first);
            }
            Ok(Box::new(found.into_iter()) as Addrs)
        })
    }
}

/// Gives `object_store` the shared client, with a component's counter around it.
#[derive(Debug)]
pub(super) struct Counting {
    pub(super) allow_http: bool,
    pub(super) metrics: Arc<Metrics>,
}

impl HttpConnector for Counting {
    fn connect(&self, _: &ClientOptions) -> object_store::Result<HttpClient> {
        let connect = || {
            client(self.allow_http).map_err(|error| object_store::Error::Generic {
                store: "S3",
                source: Box::new(error),
            })
        };
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

/// Counts answers after which `object_store` asks again (the last of them, when it gives up, is
/// counted too), and takes only those that fit the question: `object_store` compares the range of a
/// first answer, not of the later ones that resume where it broke off, and the length of none. The
/// connection sees to it that a body has the length that its answer says.
#[derive(Debug)]
struct CountingService {
    client: HttpClient,
    metrics: Arc<Metrics>,
}

#[async_trait]
impl HttpService for CountingService {
    async fn call(&self, request: HttpRequest) -> Result<HttpResponse, HttpError> {
        let part = Part::asked(request.headers());
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
        let answer = answer?;
        let refused = !answer.status().is_success();
        if let Some(part) = part.filter(|_| !refused) {
            part.fits(&answer)?;
        }
        let metrics = Arc::clone(&self.metrics);
        let left = if refused { LONGEST_REFUSAL } else { u64::MAX };
        Ok(answer.map(|body| {
            HttpResponseBody::new(CountingBody {
                body,
                left,
                metrics,
            })
        }))
    }
}

/// A part of a file, as the header `Range` names it: `bytes=2-5`, `bytes=2-`, `bytes=-4` (the last
/// four).
#[derive(Debug, Clone, Copy)]
struct Part {
    first: Option<u64>,
    /// The last byte; without a first one, how many.
    last: Option<u64>,
}

impl Part {
    fn asked(headers: &HeaderMap) -> Option<Self> {
        let (first, last) = text(headers, RANGE)?
            .strip_prefix("bytes=")?
            .split_once('-')?;
        Some(Self {
            first: first.parse().ok(),
            last: last.parse().ok(),
        })
    }

    /// Whether the answer is this part, or as much of it as there is, and just as long.
    fn fits(self, answer: &HttpResponse) -> Result<(), Misbehaved> {
        if answer.status().as_u16() != 206 {
            return Err(Misbehaved::Whole);
        }
        let headers = answer.headers();
        let part = text(headers, CONTENT_RANGE).and_then(|text| {
            let (part, _) = text.trim().strip_prefix("bytes ")?.split_once('/')?;
            let (first, last) = part.split_once('-')?;
            Some((first.parse::<u64>().ok()?, last.parse::<u64>().ok()?))
        });
        let (first, last) = part.ok_or(Misbehaved::Other)?;
        let bytes = last.checked_sub(first).and_then(|more| more.checked_add(1));
        let bytes = bytes.ok_or(Misbehaved::Other)?;
        let fits = match (self.first, self.last) {
            (Some(wanted), until) => wanted == first && until.is_none_or(|until| last <= until),
            (None, most) => most.is_none_or(|most| bytes <= most),
        };
        // `object_store` adds one to it.
        if !fits || last == u64::MAX {
            return Err(Misbehaved::Other);
        }
        let said = text(headers, CONTENT_LENGTH).and_then(|text| text.parse::<u64>().ok());
        match said == Some(bytes) {
            true => Ok(()),
            false => Err(Misbehaved::Length),
        }
    }
}

fn text(headers: &HeaderMap, name: HeaderName) -> Option<&str> {
    headers.get(name)?.to_str().ok()
}

/// What no server of S3 does.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Misbehaved {
    Whole,
    Other,
    Length,
    Refusal,
}

impl fmt::Display for Misbehaved {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Whole => "the server sends the whole file instead of a part of it",
            Self::Other => "the server sends another part of the file than was asked for",
            Self::Length => "the server sends more or fewer bytes than were asked for",
            Self::Refusal => "the server's reason for refusing it has no end",
        })
    }
}

impl std::error::Error for Misbehaved {}

impl From<Misbehaved> for HttpError {
    fn from(what: Misbehaved) -> Self {
        // Of this kind, a request isn't retried.
        Self::new(HttpErrorKind::Unknown, what)
    }
}

/// A body that breaks off is asked for again from where it broke.
struct CountingBody {
    body: HttpResponseBody,
    /// How many bytes may still come.
    left: u64,
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
        match &frame {
            Poll::Ready(Some(Err(_))) => self.metrics.retries(1),
            Poll::Ready(Some(Ok(frame))) => {
                let bytes = frame.data_ref().map_or(0, |bytes| bytes.len() as u64);
                match self.left.checked_sub(bytes) {
                    Some(left) => self.left = left,
                    None => return Poll::Ready(Some(Err(Misbehaved::Refusal.into()))),
                }
            }
            _ => {}
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
