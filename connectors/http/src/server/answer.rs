//! One request and its answer.

use std::borrow::Cow;
use std::collections::HashSet;
use std::sync::atomic::{AtomicBool, AtomicU32, Ordering};
use std::sync::{Arc, PoisonError, RwLock};
use std::time::Duration;

use bytes::Bytes;
use chrono::Utc;
use http::header::{
    ACCESS_CONTROL_ALLOW_HEADERS, ACCESS_CONTROL_ALLOW_METHODS, ACCESS_CONTROL_ALLOW_ORIGIN, ALLOW,
    CONTENT_TYPE, ORIGIN, RETRY_AFTER, VARY,
};
use http::{HeaderMap, HeaderValue, Method, Request, Response, StatusCode};
use http_body_util::Full;
use hyper::body::Incoming;
use tidegate_core::{Metrics, Result, SourceContext};
use tidegate_formats::Compression;
use tokio::sync::Semaphore;
use tokio::time::timeout;
use uuid::Uuid;

use super::auth::{Keys, Signed};
use super::body;
use super::path::Path;
use crate::config::{Accept, HttpServerConfig, Route};
use crate::inbox::{Inbox, Memory, Refused, Room};
use crate::record::{Meta, column};

/// What answers requests.
#[derive(Debug)]
pub(super) struct Service {
    routes: Vec<Ready>,
    inbox: Inbox,
    memory: Arc<Memory>,
    /// The longest body that any route takes.
    longest: u64,
    in_flight: Semaphore,
    ids: Ids,
    body_timeout: Duration,
    cors: Vec<String>,
    /// Streams that nobody reads take nothing.
    unread: RwLock<HashSet<String>>,
    is_failed: AtomicBool,
    metrics: Arc<Metrics>,
}

/// A route, ready to be asked.
#[derive(Debug)]
pub(super) struct Ready {
    stream: String,
    paths: Vec<Path>,
    accept: Accept,
    max_body: u64,
    /// Headers, with their columns.
    headers: Vec<(String, String)>,
    keys: Option<Keys>,
    signed: Option<Signed>,
}

/// Where it is asked whether requests are taken.
const HEALTH: &str = "/health";

/// Bodies that take longer than a moment to unpack and check are handed to a thread that may block.
const LONG: usize = 64 << 10;

impl Ready {
    /// Reads the secrets of a route.
    pub(super) fn new(route: &Route, cx: &SourceContext) -> Result<Self> {
        let headers = route.headers.iter();
        let mut paths = route
            .paths
            .iter()
            .map(|path| Path::parse(path))
            .collect::<Result<Vec<_>>>()?;
        paths.sort_by_key(Path::width);
        Ok(Self {
            stream: route.stream.clone(),
            paths,
            accept: route.accept,
            max_body: route.max_body,
            headers: headers.map(|name| (name.clone(), column(name))).collect(),
            keys: route
                .auth
                .as_ref()
                .map(|auth| Keys::new(auth, cx))
                .transpose()?,
            signed: route
                .signature
                .as_ref()
                .map(|how| Signed::new(how, cx))
                .transpose()?,
        })
    }
}

impl Service {
    pub(super) fn new(
        config: &HttpServerConfig,
        routes: &[Route],
        inbox: Inbox,
        cx: &SourceContext,
    ) -> Result<Self> {
        let routes = routes.iter().map(|route| Ready::new(route, cx));
        let routes = routes.collect::<Result<Vec<_>>>()?;
        let largest = routes
            .iter()
            .map(|route| route.max_body)
            .max()
            .unwrap_or_default();
        Ok(Self {
            // One body of the largest size always has room.
            memory: Memory::new(cx.memory.max(2 * largest)),
            longest: largest,
            routes,
            inbox,
            in_flight: Semaphore::new(
                usize::try_from(config.max_in_flight).unwrap_or(Semaphore::MAX_PERMITS),
            ),
            ids: Ids::new(),
            body_timeout: config.body_timeout.0,
            cors: config.cors.clone(),
            unread: RwLock::default(),
            is_failed: AtomicBool::new(false),
            metrics: Arc::clone(&cx.metrics),
        })
    }

    pub(super) fn inbox(&self) -> &Inbox {
        &self.inbox
    }

    pub(super) fn serve<'a>(&self, streams: impl Iterator<Item = &'a str>) {
        let read: HashSet<&str> = streams.collect();
        let unread = self.routes.iter().map(|route| &route.stream);
        let unread = unread
            .filter(|stream| !read.contains(stream.as_str()))
            .cloned()
            .collect();
        *self.unread.write().unwrap_or_else(PoisonError::into_inner) = unread;
    }

    /// Answers a request.
    pub(super) async fn answer(
        &self,
        request: Request<Incoming>,
        peer: &str,
    ) -> Response<Full<Bytes>> {
        self.metrics.requests(1);
        let id = self.request_id(request.headers());
        let origin = self.allowed(request.headers());
        let route = self.route(request.uri().path());
        let firehose = route
            .filter(|route| route.accept == Accept::Firehose)
            .map(|_| {
                let id = request.headers().get("x-amz-firehose-request-id");
                id.and_then(|id| id.to_str().ok())
                    .unwrap_or_default()
                    .to_owned()
            });
        let answer = match self.take(request, peer, &id, route).await {
            Ok(()) => Answer::new(StatusCode::ACCEPTED),
            Err(answer) => answer,
        };
        let mut response = match firehose {
            Some(id) => answer.to_firehose(&id),
            None => answer.to_json(&id),
        };
        let headers = response.headers_mut();
        if let Ok(id) = HeaderValue::from_str(&id) {
            headers.insert("x-request-id", id);
        }
        if let Some(origin) = origin {
            headers.insert(ACCESS_CONTROL_ALLOW_ORIGIN, origin);
            headers.insert(VARY, HeaderValue::from_static("Origin"));
            headers.insert(
                ACCESS_CONTROL_ALLOW_METHODS,
                HeaderValue::from_static("POST, PUT"),
            );
            headers.insert(
                ACCESS_CONTROL_ALLOW_HEADERS,
                HeaderValue::from_static("*, Authorization"),
            );
        }
        response
    }

    /// Takes a request's body and keeps it; or says what is to be answered.
    async fn take(
        &self,
        request: Request<Incoming>,
        peer: &str,
        id: &str,
        route: Option<&Ready>,
    ) -> Result<(), Answer> {
        let (head, incoming) = request.into_parts();
        if head.method == Method::GET && head.uri.path() == HEALTH {
            return Err(self.health());
        }
        let route = route.ok_or_else(|| Answer::error(StatusCode::NOT_FOUND, "Not found"))?;
        match head.method {
            Method::POST | Method::PUT => {}
            // Who may send is told by the headers that the answer gets.
            Method::OPTIONS => return Err(Answer::new(StatusCode::NO_CONTENT)),
            _ => {
                return Err(Answer::error(
                    StatusCode::METHOD_NOT_ALLOWED,
                    "Method not allowed",
                ));
            }
        }
        if route
            .keys
            .as_ref()
            .is_some_and(|keys| !keys.has(&head.headers))
        {
            return Err(Answer::error(StatusCode::UNAUTHORIZED, "Unauthorized"));
        }
        let Ok(_permit) = self.in_flight.try_acquire() else {
            return Err(Answer::error(StatusCode::TOO_MANY_REQUESTS, "Too many requests").retry());
        };
        if !body::is_type_right(route.accept, &head.headers) {
            return Err(Answer::error(
                StatusCode::UNSUPPORTED_MEDIA_TYPE,
                "Unsupported Content-Type",
            ));
        }
        let packing = body::packing(&head.headers)?;
        let mut room = self.memory.room();
        let read = body::read(incoming, &head.headers, route.max_body, &mut room);
        let sent = timeout(self.body_timeout, read).await.map_err(|_| {
            Answer::error(StatusCode::REQUEST_TIMEOUT, "The body didn't come in time")
        })??;
        self.metrics.bytes(sent.len() as u64);
        if route
            .signed
            .as_ref()
            .is_some_and(|signed| !signed.is_right(&head.headers, &sent))
        {
            return Err(Answer::error(StatusCode::UNAUTHORIZED, "Wrong signature"));
        }
        let (body, room) = plain(sent, packing, route.accept, route.max_body, room).await?;
        let headers = route.headers.iter().filter_map(|(name, column)| {
            let values: Vec<_> = head.headers.get_all(name).iter().map(text).collect();
            // Several of one name mean one with commas (RFC 9110, 5.3).
            (!values.is_empty()).then(|| (column.as_str(), values.join(", ")))
        });
        let headers: Vec<_> = headers.collect();
        let meta = Meta {
            stream: &route.stream,
            accept: route.accept,
            received_at: Utc::now().timestamp_micros(),
            request_id: id,
            method: head.method.as_str(),
            path: head.uri.path(),
            query: head.uri.query(),
            remote: peer,
            headers: headers
                .iter()
                .map(|(name, value)| (*name, value.as_str()))
                .collect(),
        };
        self.inbox
            .keep(meta.write(), body, room)
            .await
            .map_err(|refused| match refused {
                Refused::Full(why) => Answer::later(why),
                Refused::Failed(error) => {
                    // Said once: every request meets the same.
                    if !self.is_failed.swap(true, Ordering::Relaxed) {
                        tracing::error!("requests can't be kept: {error:?}");
                    }
                    Answer::later("Not kept")
                }
            })
    }

    fn route(&self, path: &str) -> Option<&Ready> {
        let takes = |route: &&Ready| route.paths.iter().any(|of| of.is(path));
        let route = match &self.routes[..] {
            [only] => Some(only).filter(takes),
            // The narrowest path that fits.
            routes => routes.iter().filter(takes).min_by_key(|route| {
                let fit = route.paths.iter().filter(|of| of.is(path)).map(Path::width);
                fit.min()
            }),
        }?;
        let unread = self.unread.read().unwrap_or_else(PoisonError::into_inner);
        (!unread.contains(&route.stream)).then_some(route)
    }

    /// The id that the client gave, if it can be repeated anywhere, or a new one.
    fn request_id(&self, headers: &HeaderMap) -> String {
        let given = headers
            .get("x-request-id")
            .and_then(|value| value.to_str().ok());
        let is_plain = |id: &&str| {
            (1..=128).contains(&id.len())
                && id
                    .bytes()
                    .all(|byte| byte.is_ascii_alphanumeric() || b"._-:+/=@".contains(&byte))
        };
        given
            .filter(is_plain)
            .map_or_else(|| self.ids.next(), str::to_owned)
    }

    fn health(&self) -> Answer {
        match self.inbox.takes(self.longest) {
            true => Answer::new(StatusCode::OK),
            false => Answer::later("Requests can't be kept"),
        }
    }

    /// The origin, if pages of it may send.
    fn allowed(&self, headers: &HeaderMap) -> Option<HeaderValue> {
        if self.cors.is_empty() {
            return None;
        }
        let origin = headers.get(ORIGIN)?;
        let is_allowed = self
            .cors
            .iter()
            .any(|of| of == "*" || of.as_bytes() == origin.as_bytes());
        is_allowed.then(|| origin.clone())
    }
}

/// The body unpacked and checked, with its part of the memory.
async fn plain(
    sent: Bytes,
    packing: Compression,
    accept: Accept,
    most: u64,
    mut room: Room,
) -> Result<(Bytes, Room), Answer> {
    let is_long = sent.len() > LONG || packing != Compression::None;
    let work = move || {
        let body = match packing {
            Compression::None => sent,
            packing => body::unpack(sent, packing, most, &mut room)?,
        };
        body::check(accept, &body)?;
        Ok((body, room))
    };
    if !is_long {
        return work();
    }
    let done = tokio::task::spawn_blocking(work).await;
    done.unwrap_or_else(|_| Err(Answer::later("Not checked")))
}

/// A header's value.
fn text(value: &HeaderValue) -> Cow<'_, str> {
    match std::str::from_utf8(value.as_bytes()) {
        Ok(text) => text.into(),
        Err(_) => value
            .as_bytes()
            .iter()
            .map(|byte| char::from(*byte))
            .collect::<String>()
            .into(),
    }
}

/// Makes ids of requests: UUIDs of version 7.
///
/// What is random in them is asked for once: a system call for each request would be a tenth of what
/// it costs.
#[derive(Debug)]
struct Ids {
    random: [u8; 6],
    next: AtomicU32,
}

impl Ids {
    fn new() -> Self {
        let mut random = [0; 6];
        // Those of its bytes that are all by chance.
        random.copy_from_slice(&Uuid::new_v4().as_bytes()[..6]);
        Self {
            random,
            next: AtomicU32::new(0),
        }
    }

    fn next(&self) -> String {
        let now = u64::try_from(Utc::now().timestamp_millis()).unwrap_or_default();
        let mut bytes = [0; 10];
        bytes[..6].copy_from_slice(&self.random);
        let number = self.next.fetch_add(1, Ordering::Relaxed);
        bytes[6..].copy_from_slice(&number.to_be_bytes());
        let id = uuid::Builder::from_unix_timestamp_millis(now, &bytes).into_uuid();
        id.to_string()
    }
}

/// What is answered.
#[derive(Debug)]
pub(super) struct Answer {
    status: StatusCode,
    error: Option<&'static str>,
    reason: Option<String>,
    position: Option<usize>,
    retry: bool,
}

impl Answer {
    fn new(status: StatusCode) -> Self {
        Self {
            status,
            error: None,
            reason: None,
            position: None,
            retry: false,
        }
    }

    pub(super) fn error(status: StatusCode, error: &'static str) -> Self {
        Self {
            error: Some(error),
            ..Self::new(status)
        }
    }

    /// It may be sent again after a while.
    pub(super) fn later(error: &'static str) -> Self {
        Self::error(StatusCode::SERVICE_UNAVAILABLE, error).retry()
    }

    pub(super) fn malformed(at: usize, why: String) -> Self {
        Self {
            position: Some(at),
            ..Self::error(StatusCode::BAD_REQUEST, "Malformed JSON").because(why)
        }
    }

    pub(super) fn because(self, why: String) -> Self {
        Self {
            reason: Some(why),
            ..self
        }
    }

    fn retry(self) -> Self {
        Self {
            retry: true,
            ..self
        }
    }

    fn to_json(&self, id: &str) -> Response<Full<Bytes>> {
        if self.status == StatusCode::NO_CONTENT {
            return self.with(String::new());
        }
        if self.error.is_none() {
            // An id holds nothing that JSON would escape.
            return self.with(format!("{{\"request_id\":\"{id}\"}}"));
        }
        let mut told = serde_json::json!({ "request_id": id, "error": self.error });
        if let Some(position) = self.position {
            told["position"] = position.into();
        }
        if let Some(reason) = &self.reason {
            told["reason"] = reason.as_str().into();
        }
        self.with(told.to_string())
    }

    /// As Firehose wants it: it takes 200 alone as success, and shows the message.
    fn to_firehose(&self, id: &str) -> Response<Full<Bytes>> {
        let mut told = serde_json::json!({
            "requestId": id,
            "timestamp": Utc::now().timestamp_millis(),
        });
        if let Some(error) = self.error {
            told["errorMessage"] = match &self.reason {
                Some(reason) => format!("{error}: {reason}").into(),
                None => error.into(),
            };
        }
        let mut response = self.with(told.to_string());
        if self.status == StatusCode::ACCEPTED {
            *response.status_mut() = StatusCode::OK;
        }
        response
    }

    fn with(&self, body: String) -> Response<Full<Bytes>> {
        let mut response = Response::new(Full::new(Bytes::from(body)));
        *response.status_mut() = self.status;
        let headers = response.headers_mut();
        headers.insert(CONTENT_TYPE, HeaderValue::from_static("application/json"));
        if self.retry {
            headers.insert(RETRY_AFTER, HeaderValue::from_static("1"));
        }
        if self.status == StatusCode::METHOD_NOT_ALLOWED {
            headers.insert(ALLOW, HeaderValue::from_static("POST, PUT"));
        }
        response
    }
}
