//! The source as it stands in a pipeline file.

use std::collections::{BTreeMap, HashMap, HashSet};
use std::net::SocketAddr;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use http::HeaderName;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use tidegate_core::{
    ByteSize, Error, Result, Secret, Source, SourceConfig, SourceContext, Span, async_trait,
    typetag,
};

use crate::record::{self, FIXED};
use crate::source::HttpServerSource;

/// The stream's name where no routes are named.
pub(crate) const STREAM: &str = "requests";

/// Takes rows from HTTP requests, and answers when they are safe.
///
/// A server listens for the run's time. Each accepted body (`POST` or `PUT`) becomes a row, or as many
/// as `accept` finds in it, of the stream `requests`; with `routes`, each route has a stream of its own.
///
/// | column | type | what it is |
/// |---|---|---|
/// | `payload` | string; binary with `accept = "any"` and `"firehose"` | the body, or the record in it, as it was sent |
/// | `method` | string | `POST` or `PUT` |
/// | `path` | string | as it was sent, percent-encoded |
/// | `query` | string | what stands after `?`; NULL if there is none |
/// | `remote_addr` | string | the other end of the connection, without its port |
/// | `received_at` | timestamp | when the body was there |
/// | `request_id` | string | the request's `X-Request-Id` of 1 to 128 letters, digits and `._-:+/=@`, or one that was made for it; it is in the answer too. All rows of a body have the same |
/// | one for each of `headers` | string | the header's value: `x_github_event` of `X-GitHub-Event`; NULL if it wasn't sent |
///
/// | answer | when |
/// |---|---|
/// | 202 | the body is safe, as `ack` says |
/// | 400 `Empty request` | there is no body |
/// | 400 `Malformed JSON` | with the `position` (a byte, from 0) where it can't be read on, also for text that isn't UTF-8. With `ndjson`, one bad line is enough: nothing of the body is taken |
/// | 401 | no key of `auth`, or not the `signature`, was sent |
/// | 404, 405 | no route has this path; it isn't POST or PUT |
/// | 408 | the body didn't come within `body_timeout` |
/// | 413 | the body is longer than `max_body`, as sent or unpacked |
/// | 415 | `Content-Encoding` isn't gzip or zstd, or, but for `accept = "any"`, `Content-Type` says that it is an image, audio, video, a font, HTML, CSV, XML or multipart; none, `text/plain` and a form's are taken, because clients often say so |
/// | 429 | `max_in_flight` requests are under way; with `Retry-After` |
/// | 503 | it can't be kept now (the log or the memory is full, the disk fails, the commit failed or takes too long); with `Retry-After` |
///
/// `GET /health` answers 200 while a body of any allowed length would be taken, else 503. The body of an answer is JSON:
/// `{"request_id": "…"}`, with `error` where there is one.
///
/// With `ack = "disk"`, each row comes exactly once as far as the sink can give that, whatever happens
/// to the process or the machine. A client that got no answer (its connection was lost) can't know
/// whether its body was taken: if it sends it again, it may be there twice, under the same
/// `X-Request-Id` if it sends one.
///
/// ```toml
/// [sources.events]
/// type = "http_server"
/// listen = "127.0.0.1:8080"
/// paths = ["/events"]
/// ```
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct HttpServerConfig {
    /// Where it listens, an IP address and a port: `"127.0.0.1:8080"`, `"[::]:8080"` for all addresses of the machine. With
    /// port 0 the system chooses a free one, which is logged.
    pub listen: SocketAddr,

    /// When a request is answered with 202.
    #[serde(default)]
    pub ack: Ack,

    /// The directory of the write-ahead log of `ack = "disk"`, relative to the pipeline file. It holds
    /// what was accepted and isn't committed, so it belongs on a disk that lasts, and to one pipeline
    /// alone. Default: `.tidegate/http/<pipeline>/<source>`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub log: Option<PathBuf>,

    /// How many bytes the log may hold on disk; beyond, requests are answered with 503. When it is half
    /// full, a checkpoint is asked for, which makes room, without waiting for `interval` of
    /// `[checkpoint]`. At least 2 MiB.
    #[serde(default = "max_log")]
    pub max_log: ByteSize,

    /// With `ack = "commit"`: after how long a checkpoint is asked for that lets a waiting client
    /// have its answer.
    #[serde(default = "max_wait")]
    pub max_wait: Span,

    /// With `ack = "commit"`: after how long a client that still waits is answered with 503. Its rows
    /// may be committed later.
    #[serde(default = "commit_timeout")]
    pub commit_timeout: Span,

    /// The paths whose requests are taken: `"/events"`; `"/{anything}"` for any one segment,
    /// `"/{*rest}"` for everything. What is between braces has no meaning. Default: all paths.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub paths: Option<Vec<String>>,

    /// What a body holds.
    #[serde(default)]
    pub accept: Accept,

    /// The longest body, as it is sent and unpacked, up to 256 MiB. Default: 1 MiB; with
    /// `accept = "firehose"` 64 MiB, the most that Firehose sends.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub max_body: Option<ByteSize>,

    /// The headers that become columns: `["X-GitHub-Event"]`. Values that aren't UTF-8 are read as
    /// Latin-1.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub headers: Vec<String>,

    /// The keys by which clients are known. Default: everybody may send.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub auth: Option<ServerAuth>,

    /// How bodies are signed. Default: they aren't.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub signature: Option<Signature>,

    /// Several routes, each with a stream of its own, by the stream's name. `paths` then stands in
    /// each of them; other keys that a route doesn't have are those of the source.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub routes: BTreeMap<String, RouteConfig>,

    /// TLS. Default: plain HTTP, for a machine's own programs or behind a proxy that has TLS.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub tls: Option<Tls>,

    /// The most connections at once; more wait until one is closed.
    #[serde(default = "max_connections")]
    pub max_connections: u32,

    /// The most requests at once whose headers have come; more are answered with 429.
    #[serde(default = "max_in_flight")]
    pub max_in_flight: u32,

    /// How long a connection may take for a request's headers, also while it is idle.
    #[serde(default = "timeout")]
    pub header_timeout: Span,

    /// How long a request's body may take.
    #[serde(default = "timeout")]
    pub body_timeout: Span,

    /// The origins whose pages may send requests (CORS): `["https://shop.example"]`, or `["*"]`.
    /// Default: none.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub cors: Vec<String>,
}

/// One route of an `http_server`.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct RouteConfig {
    /// The paths whose requests are taken.
    pub paths: Vec<String>,
    /// What a body holds. Default: the source's.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub accept: Option<Accept>,
    /// The longest body. Default: the source's.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub max_body: Option<ByteSize>,
    /// The headers that become columns. Default: the source's.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub headers: Option<Vec<String>>,
    /// The keys by which clients are known. Default: the source's.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub auth: Option<ServerAuth>,
    /// How bodies are signed. Default: the source's.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub signature: Option<Signature>,
}

/// When a request is answered with 202.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum Ack {
    /// When the body is on the disk, in a write-ahead log from which it is read again after a crash.
    #[default]
    Disk,
    /// When its rows are committed in every sink. A client that gets no 202 sends again.
    Commit,
    /// When the body is in memory. What isn't committed is lost in a crash, so the guarantee of the
    /// pipeline is none.
    Memory,
}

/// What a body holds.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum Accept {
    /// One JSON value: one row.
    #[default]
    Json,
    /// JSON values, one a line: a row for each line that isn't empty.
    Ndjson,
    /// A JSON array: a row for each element. Another value is one row.
    Array,
    /// Anything: one row.
    Any,
    /// Records as Amazon Data Firehose delivers them to HTTP endpoints: a row for each, and its kind
    /// of answer. The access key is a key of `auth`, with `type = "header"` and the name
    /// `X-Amz-Firehose-Access-Key`.
    Firehose,
}

/// The keys by which clients are known. They are compared in constant time.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(tag = "type", rename_all = "snake_case", deny_unknown_fields)]
pub enum ServerAuth {
    /// Sent as `Authorization: Bearer …`.
    Bearer {
        /// The tokens, any of which will do: `[{ env = "API_TOKEN" }]`.
        tokens: Vec<Secret>,
    },
    /// Sent in a header of its own, such as `X-Api-Key`.
    Header {
        /// The header's name.
        name: String,
        /// Its values, any of which will do.
        values: Vec<Secret>,
    },
}

/// How bodies are signed: with HMAC, over the body as it was sent. Compared in constant time.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(tag = "type", rename_all = "snake_case", deny_unknown_fields)]
pub enum Signature {
    /// As GitHub signs webhooks: `X-Hub-Signature-256: sha256=…`
    /// ([documentation](https://docs.github.com/en/webhooks/using-webhooks/validating-webhook-deliveries)).
    Github {
        /// The webhook's secret.
        secret: Secret,
    },
    /// As Stripe signs webhooks: `Stripe-Signature: t=…,v1=…`
    /// ([documentation](https://docs.stripe.com/webhooks/signature)).
    Stripe {
        /// The endpoint's secret.
        secret: Secret,
        /// How far the signature's time may be from now.
        #[serde(default = "tolerance")]
        tolerance: Span,
    },
    /// In a header, as so many others do.
    Hmac {
        /// The header's name.
        header: String,
        /// The secret.
        secret: Secret,
        /// The hash.
        #[serde(default)]
        algorithm: Algorithm,
        /// How it is written.
        #[serde(default)]
        encoding: Encoding,
        /// What stands before it: `"sha256="`. Default: nothing.
        #[serde(default, skip_serializing_if = "String::is_empty")]
        prefix: String,
    },
}

/// The hash of a signature.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
#[allow(missing_docs)]
pub enum Algorithm {
    #[default]
    Sha256,
    Sha512,
}

/// How a signature is written.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
#[allow(missing_docs)]
pub enum Encoding {
    #[default]
    Hex,
    Base64,
}

/// A server's certificate. The files are read again when they change.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Tls {
    /// The certificate and those between it and an authority, as PEM.
    pub cert_file: PathBuf,
    /// Its key, as PEM.
    pub key_file: PathBuf,
}

fn max_log() -> ByteSize {
    ByteSize(1 << 30)
}

fn max_wait() -> Span {
    Span(Duration::from_secs(1))
}

fn commit_timeout() -> Span {
    Span(Duration::from_secs(60))
}

fn max_connections() -> u32 {
    16_384
}

fn max_in_flight() -> u32 {
    4096
}

fn timeout() -> Span {
    Span(Duration::from_secs(30))
}

fn tolerance() -> Span {
    Span(Duration::from_secs(300))
}

/// The largest `max_body`.
const LARGEST_BODY: u64 = 256 << 20;

/// A route with all its keys.
#[derive(Debug, Clone)]
pub(crate) struct Route {
    pub(crate) stream: String,
    pub(crate) paths: Vec<String>,
    pub(crate) accept: Accept,
    pub(crate) max_body: u64,
    pub(crate) headers: Vec<String>,
    pub(crate) auth: Option<ServerAuth>,
    pub(crate) signature: Option<Signature>,
}

impl HttpServerConfig {
    pub(crate) fn routes(&self) -> Vec<Route> {
        let everything = || vec!["/{*rest}".to_owned()];
        if self.routes.is_empty() {
            return vec![Route {
                stream: STREAM.to_owned(),
                paths: self.paths.clone().unwrap_or_else(everything),
                accept: self.accept,
                max_body: self.max_body(None, self.accept),
                headers: self.headers.clone(),
                auth: self.auth.clone(),
                signature: self.signature.clone(),
            }];
        }
        let routes = self.routes.iter().map(|(stream, route)| Route {
            stream: stream.clone(),
            paths: route.paths.clone(),
            accept: route.accept.unwrap_or(self.accept),
            max_body: self.max_body(route.max_body, route.accept.unwrap_or(self.accept)),
            headers: route.headers.as_ref().unwrap_or(&self.headers).clone(),
            auth: route.auth.as_ref().or(self.auth.as_ref()).cloned(),
            signature: route
                .signature
                .as_ref()
                .or(self.signature.as_ref())
                .cloned(),
        });
        routes.collect()
    }

    /// The longest body of a route.
    fn max_body(&self, of_route: Option<ByteSize>, accept: Accept) -> u64 {
        let usual = match accept {
            // https://docs.aws.amazon.com/firehose/latest/dev/httpdeliveryrequestresponse.html
            Accept::Firehose => 64 << 20,
            Accept::Json | Accept::Ndjson | Accept::Array | Accept::Any => 1 << 20,
        };
        of_route.or(self.max_body).map_or(usual, |size| size.0)
    }
}

#[async_trait]
#[typetag::serde(name = "http_server")]
impl SourceConfig for HttpServerConfig {
    fn validate(&self) -> Result<()> {
        if !self.routes.is_empty() && self.paths.is_some() {
            return Err(
                Error::config("`paths` stands in each route where there are `routes`")
                    .with("key", "paths"),
            );
        }
        if self.max_log.0 < 2 << 20 {
            return Err(Error::config("`max_log` is less than 2 MiB").with("key", "max_log"));
        }
        for (key, limit) in [
            ("max_connections", self.max_connections),
            ("max_in_flight", self.max_in_flight),
        ] {
            if limit == 0 {
                return Err(
                    Error::config(format!("with `{key} = 0` nothing could be received"))
                        .with("key", key),
                );
            }
        }
        for (key, time) in [
            ("header_timeout", self.header_timeout),
            ("body_timeout", self.body_timeout),
            ("commit_timeout", self.commit_timeout),
        ] {
            if time.0.is_zero() {
                return Err(Error::config(format!(
                    "with `{key} = \"0s\"` nothing could be received"
                ))
                .with("key", key));
            }
        }
        let mut paths = HashMap::new();
        for route in self.routes() {
            let of = |error: Error| match self.routes.is_empty() {
                true => error,
                false => error.with("route", &route.stream),
            };
            route.check(self).map_err(of)?;
            for path in &route.paths {
                // Names within braces have no meaning.
                let parsed = crate::server::Path::parse(path).map_err(of)?;
                if let Some(other) = paths.insert(parsed, path.clone()) {
                    let what = match other == *path {
                        true => format!("the path `{path}` is there twice"),
                        false => format!("the paths `{other}` and `{path}` are the same"),
                    };
                    return Err(of(Error::config(what).with("key", "paths")));
                }
            }
        }
        Ok(())
    }

    async fn open(&self, cx: &SourceContext) -> Result<Arc<dyn Source>> {
        Ok(Arc::new(HttpServerSource::open(self, cx).await?))
    }

    fn tuning_keys(&self) -> &'static [&'static str] {
        &[
            "listen",
            "max_log",
            "max_wait",
            "commit_timeout",
            "max_body",
            "auth",
            "signature",
            "tls",
            "max_connections",
            "max_in_flight",
            "header_timeout",
            "body_timeout",
            "cors",
        ]
    }
}

impl Route {
    fn check(&self, config: &HttpServerConfig) -> Result<()> {
        if self.paths.is_empty() {
            return Err(Error::config("`paths` names no path").with("key", "paths"));
        }
        for path in &self.paths {
            crate::server::Path::parse(path)?;
        }
        if self.stream == "rejected" {
            return Err(Error::config("a stream can't be named `rejected`").with("key", "routes"));
        }
        if self.max_body == 0 || self.max_body > LARGEST_BODY {
            return Err(
                Error::config("`max_body` is between 1 byte and 256 MiB").with("key", "max_body")
            );
        }
        if config.ack == Ack::Disk && 2 * self.max_body > config.max_log.0 {
            return Err(
                Error::config("`max_log` has no room for two bodies of `max_body`")
                    .with("key", "max_log"),
            );
        }
        let mut columns: HashSet<String> = FIXED.iter().map(|name| (*name).to_owned()).collect();
        for header in &self.headers {
            if header.parse::<HeaderName>().is_err() {
                return Err(
                    Error::config(format!("`{header}` can't be a header's name"))
                        .with("key", "headers"),
                );
            }
            let column = record::column(header);
            if !columns.insert(column.clone()) {
                return Err(
                    Error::config(format!("two columns would be named `{column}`"))
                        .with("key", "headers"),
                );
            }
        }
        match &self.auth {
            Some(ServerAuth::Header { name, .. }) if name.parse::<HeaderName>().is_err() => {
                return Err(
                    Error::config(format!("`{name}` can't be a header's name")).with("key", "auth")
                );
            }
            Some(ServerAuth::Header { values: keys, .. } | ServerAuth::Bearer { tokens: keys })
                if keys.is_empty() =>
            {
                return Err(
                    Error::config("`auth` has no key, so nobody could send anything")
                        .with("key", "auth"),
                );
            }
            _ => {}
        }
        match &self.signature {
            Some(Signature::Hmac { header, .. }) if header.parse::<HeaderName>().is_err() => Err(
                Error::config(format!("`{header}` can't be a header's name"))
                    .with("key", "signature"),
            ),
            _ => Ok(()),
        }
    }
}
