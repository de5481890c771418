//! What goes wrong on the way to a server, and how often.

use std::fmt;
use std::time::Duration;

use rand::rngs::StdRng;
use rand::seq::IndexedRandom as _;
use rand::{Rng as _, SeedableRng as _};

use super::http::Head;

/// A request, as the proxy has read it.
#[derive(Debug, Clone)]
pub struct Request {
    /// `GET`, `PUT`, …
    pub method: String,
    /// The path and the query, percent-encoded as they came.
    pub path: String,
    /// How many bytes its body has.
    pub bytes: usize,
    head: Head,
}

impl Request {
    pub(super) fn new(head: Head, bytes: usize) -> Self {
        let mut words = head.first.split(' ').map(str::to_owned);
        Self {
            method: words.next().unwrap_or_default(),
            path: words.next().unwrap_or_default(),
            bytes,
            head,
        }
    }

    pub(super) fn head(&self) -> &Head {
        &self.head
    }

    /// The value of a header, by its name in any case.
    pub fn header(&self, name: &str) -> Option<&str> {
        self.head.header(name)
    }

    /// What AWS's JSON protocols call: `AWSGlue.CreateTable`; empty for other protocols, as S3's.
    pub fn target(&self) -> &str {
        self.header("x-amz-target").unwrap_or_default()
    }
}

/// Something that goes wrong with one request.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
#[non_exhaustive]
pub enum Fault {
    /// 500 `InternalError` instead of the answer; the server isn't asked.
    InternalError,
    /// 503 `SlowDown` instead of the answer; the server isn't asked.
    SlowDown,
    /// The server is asked only after this time, and not at all if the client has gone by then.
    Late(Duration),
    /// The connection is reset; the server isn't asked.
    ResetBefore,
    /// The server does what it was asked to, and the connection is reset instead of the answer.
    ResetAfter,
    /// The connection is reset in the middle of the answer's body, or instead of an answer
    /// without one.
    Cut,
}

impl Fault {
    /// One of each, the late one by a tenth of a second.
    pub const ALL: [Self; 6] = [
        Self::InternalError,
        Self::SlowDown,
        Self::Late(Duration::from_millis(100)),
        Self::ResetBefore,
        Self::ResetAfter,
        Self::Cut,
    ];

    /// Whether a client can't but try again.
    pub fn fails(&self) -> bool {
        !matches!(self, Self::Late(_))
    }
}

/// Which requests go wrong, and how: the same for the same seed and the same order of requests.
pub struct Faults {
    share: f64,
    kinds: Vec<Fault>,
    only: Box<dyn Fn(&Request) -> bool + Send>,
    random: StdRng,
}

impl fmt::Debug for Faults {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Faults")
            .field("share", &self.share)
            .field("kinds", &self.kinds)
            .finish_non_exhaustive()
    }
}

impl Faults {
    /// This share of all requests (0.1: every tenth), each in one of all ways.
    pub fn some(share: f64, seed: u64) -> Self {
        Self {
            share,
            kinds: Fault::ALL.to_vec(),
            only: Box::new(|_| true),
            random: StdRng::seed_from_u64(seed),
        }
    }

    /// Only in these ways.
    #[must_use]
    pub fn of(mut self, kinds: &[Fault]) -> Self {
        self.kinds = kinds.to_vec();
        self
    }

    /// Only among these requests.
    #[must_use]
    pub fn only(mut self, these: impl Fn(&Request) -> bool + Send + 'static) -> Self {
        self.only = Box::new(these);
        self
    }

    pub(super) fn next(&mut self, request: &Request) -> Option<Fault> {
        if !(self.only)(request) || !self.random.random_bool(self.share) {
            return None;
        }
        self.kinds.choose(&mut self.random).copied()
    }
}

/// An answer that the server never gave.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Reply {
    /// The status: 403.
    pub status: u16,
    /// Headers besides the length.
    pub headers: Vec<(String, String)>,
    /// The body.
    pub body: String,
}

impl Reply {
    /// An error as S3 puts it.
    pub fn s3_error(status: u16, code: &str, message: &str) -> Self {
        Self {
            status,
            headers: vec![("Content-Type".into(), "application/xml".into())],
            body: format!(
                "<?xml version=\"1.0\" encoding=\"UTF-8\"?>\n<Error><Code>{code}</Code>\
                 <Message>{message}</Message><RequestId>tidegate-proxy</RequestId></Error>"
            ),
        }
    }

    /// An error as AWS's JSON protocols put it.
    pub fn json_error(status: u16, code: &str, message: &str) -> Self {
        let mut body = serde_json::Map::new();
        body.insert("__type".into(), code.into());
        body.insert("message".into(), message.into());
        Self {
            status,
            headers: vec![("Content-Type".into(), "application/x-amz-json-1.1".into())],
            body: serde_json::Value::from(body).to_string(),
        }
    }

    /// The same with another header.
    #[must_use]
    pub fn with(mut self, name: &str, value: &str) -> Self {
        self.headers.push((name.to_owned(), value.to_owned()));
        self
    }

    /// As it goes over the wire. An answer to HEAD has no body.
    pub(super) fn bytes(&self, method: &str) -> Vec<u8> {
        let mut headers = self.headers.clone();
        headers.push(("Content-Length".into(), self.body.len().to_string()));
        let head = Head {
            first: format!("HTTP/1.1 {} Said by the proxy", self.status),
            headers,
        };
        let mut bytes = head.bytes();
        if method != "HEAD" {
            bytes.extend(self.body.as_bytes());
        }
        bytes
    }
}
