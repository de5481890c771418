//! The sink as it stands in a pipeline file.

use std::collections::BTreeMap;
use std::sync::Arc;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use tidegate_core::{
    ByteSize, Result, Secret, Sink, SinkConfig, SinkContext, async_trait, typetag,
};
use tidegate_formats::Compression;
use tidegate_http::{Auth, HeaderText, Method};

use super::live::HttpSink;

/// Sends rows to an HTTP server: one a request, or many.
///
/// Rows are sent as they come, before the checkpoint that covers them, so each arrives at least once:
/// after a crash, or after an answer that was lost, a row may come again. Each request carries an
/// idempotency key that is the same when its rows are sent again in the same request. A server that
/// takes what has a known key without doing it again makes that exactly as good as once: say so with
/// `server_dedupes`.
///
/// | answer | what is done |
/// |---|---|
/// | 2xx | the rows are taken; the presets of `body` look into the answer |
/// | 307, 308 | followed within the host; never to another one |
/// | other 3xx | the run ends: it would have been asked without the rows |
/// | 400, 413, 422 and, without `server_dedupes`, 409 | one row: it goes to `<id>.rejected`, with the status and the beginning of the answer. Several: they are sent again in two halves, until those that are refused are alone |
/// | 409 with `server_dedupes` | retried, because the row may be worked on already; then as above |
/// | 404, 405, 410 | where `url` has a placeholder in its path, the request's rows go to `<id>.rejected`; else the run ends |
/// | other 4xx | with one row a request, it goes to `<id>.rejected`; else the run ends |
/// | 401, 403, 407 | the run ends: see `auth` |
/// | 408, 429, 5xx, lost connections, time-outs | retried, after what `Retry-After` says, as the settings `[http]` allow; then the run resumes from its last checkpoint. 501 and 505 end it |
///
/// Where rows of one request are refused together, that takes about two requests for each halving of
/// each bad row: rows that are known to be bad are cheaper left out before.
///
/// A row without an address (NULL or nothing in a placeholder of the path, or `.` and `..` as a whole
/// segment) goes to `<id>.rejected`, and isn't sent.
///
/// What the server answers can be read as a stream, `<id>.answers`: one row for each request that it
/// took or whose rows it refused, in no order. Answers after which a request is retried aren't in it,
/// nor 409 with `server_dedupes`. Where nothing reads the stream, answers aren't kept.
///
/// | column | type | |
/// |---|---|---|
/// | `time` | timestamp, UTC | when the last byte of the answer had arrived |
/// | `url` | string | the address, without secrets |
/// | `rows` | uint64 | how many rows the request had |
/// | `row` | string | the row as JSON, where the request had one; else NULL |
/// | `status` | int32 | the status: 201 |
/// | `headers` | string | the answer's headers as a JSON object, names in lower case |
/// | `body` | string | the answer's body, unpacked; NULL where it isn't UTF-8 |
/// | `body_bytes` | binary | such a body; else NULL |
///
/// After a crash, requests are retried, and their answers are in the stream again unless the sink
/// that reads it shows rows only with a checkpoint, as `files` does.
///
/// ```toml
/// [sinks.crm]
/// type = "http"
/// inputs = ["customers"]
/// method = "PUT"
/// url = "https://crm.example.com/v1/customers/{id}?source={source}"
/// auth = { type = "bearer", token = { env = "CRM_TOKEN" } }
/// concurrency = 32
///
/// # What the CRM answered: {"id": "…"} and the like.
/// [sinks.answered]
/// type = "files"
/// inputs = ["crm.answers"]
/// url = "answers"
/// format = "ndjson"
///
/// [sinks.events]
/// type = "http"
/// inputs = ["events"]
/// url = "https://collector.example.com/events"
/// body = "ndjson"
/// batch_rows = 500
/// compression = "gzip"
///
/// [sinks.bus]
/// type = "http"
/// inputs = ["orders"]
/// url = "http://localhost:8082"
/// body = "kafka_rest"
/// topic = "orders"
/// key = "order_id"
/// ```
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct HttpSinkConfig {
    /// The address: `"https://crm.example.com/customers/{id}"`. `{column}` in the path or the query
    /// stands for the row's value, as text, escaped so that it stays one segment of the path or one
    /// value of the query, whatever it is; in the query, NULL is nothing. Rows of several addresses are
    /// in several requests: one ends where the address changes. With `body = "kafka_rest"` and
    /// `"kinesis_gateway"`, the address before `/topics` and `/streams`.
    pub url: String,

    /// How it is asked. Default: `POST`; with `body = "kinesis_gateway"`, `PUT`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub method: Option<Verb>,

    /// Headers of every request: `{ X-Api-Version = "2" }`. The `Content-Type` of `body` is sent
    /// unless another one stands here. A secret is named, not written, as in `auth`:
    /// `{ X-Api-Key = { env = "API_KEY" } }`.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub headers: BTreeMap<String, HeaderText>,

    /// How requests are authenticated: `{ type = "bearer", token = { env = "API_TOKEN" } }`.
    /// Default: no authentication.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub auth: Option<Auth>,

    /// Whether the credentials of `auth`, and secrets in `headers`, may go over plain http to another
    /// machine, where others can read them.
    #[serde(default)]
    pub allow_http: bool,

    /// What a request holds. Default: `row`; with `method = "DELETE"`, `none`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub body: Option<Body>,

    /// The text of `body = "template"`: JSON with placeholders. `{column}` where a value may stand is
    /// the row's value as JSON, `null` where it is NULL; within quotes it is the value's text, escaped,
    /// and nothing where it is NULL: `'{"text": "Order {id} of {name}", "total": {total}}'`. What
    /// stands between braces is a column's name without spaces, quotes, colons and commas; other braces
    /// are JSON's. A `{` within quotes that begins no placeholder may be written `\u007b`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub template: Option<String>,

    /// The topic of `body = "kafka_rest"`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub topic: Option<String>,

    /// The stream of `body = "kinesis_gateway"`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub stream: Option<String>,

    /// The column that is the record's key: of `body = "kafka_rest"`, as JSON (default: records have
    /// none); of `body = "kinesis_gateway"`, the partition key, as text, 1 to 256 characters (needed; a
    /// row without one is rejected).
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub key: Option<String>,

    /// The most rows of a request, for bodies that hold many. Default: 1000; with
    /// `body = "kinesis_gateway"`, 500, which is also the most. The end of an epoch sends what there is.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub batch_rows: Option<u32>,

    /// The most bytes of a request of many rows, before it is compressed, from `"1 KB"` to `"64 MiB"`,
    /// with `body = "kinesis_gateway"` `"10 MB"`. A longer row is sent alone.
    #[serde(default = "batch_bytes")]
    pub batch_bytes: ByteSize,

    /// How bodies are compressed (`Content-Encoding`). The server must know it.
    #[serde(default)]
    pub compression: Compression,

    /// Whether the rows of a split arrive in their order, also those that come again after a crash: then a CPU thread's rows are sent by one
    /// request after the other. With `body = "kafka_rest"` and `"kinesis_gateway"` it takes
    /// `batch_rows = 1`, because single records of a request are sent again, after those that followed.
    #[serde(default)]
    pub ordered: bool,

    /// The most requests under way at once, 1 to 1024. Fewer are while the server says that it has too
    /// much to do (429, 503), doesn't answer in time, or answers more slowly than usual.
    #[serde(default = "concurrency")]
    pub concurrency: u32,

    /// The header that carries a key of each request, made of where its rows come from, so that it is
    /// the same when they are sent again in this run: another name than the default `Idempotency-Key`,
    /// or `false` for none. None is possible behind sources without lasting positions, joins,
    /// aggregates and rejected rows: set `false` there. Default: `Idempotency-Key`; for the presets of
    /// `body`, which know no keys, none.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub idempotency_key: Option<IdempotencyKey>,

    /// Says that the server does a request with a key that it knows not again. It must remember keys
    /// for as long as a run may take from a crash to being resumed. Rows that come again then have the
    /// same effect as once. Only with one row a request: what stands together in a larger one may
    /// differ after a crash.
    #[serde(default)]
    pub server_dedupes: bool,
}

/// How a server is asked to take rows.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "UPPERCASE")]
#[allow(missing_docs)]
pub enum Verb {
    Post,
    Put,
    Patch,
    Delete,
}

/// What a request holds.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum Body {
    /// One row, as a JSON object.
    Row,
    /// Rows, as a JSON array of objects.
    Array,
    /// Rows, as JSON objects, one a line.
    Ndjson,
    /// One row, in the text of `template`.
    Template,
    /// Nothing: the row is in `url`.
    None,
    /// Records for the Kafka REST Proxy, API v2: `POST {url}/topics/{topic}`. Records that Kafka
    /// couldn't take for now (error code 50003 or 2) are sent again, others that it refuses go to
    /// `<id>.rejected`; 40101 and 40301 end the run.
    KafkaRest,
    /// Records for Kinesis behind an API gateway, as AWS's
    /// [tutorial](https://docs.aws.amazon.com/apigateway/latest/developerguide/integrating-api-with-aws-services-kinesis.html)
    /// makes it: `PUT {url}/streams/{stream}/records`; with `batch_rows = 1`, `…/record`. Records that
    /// Kinesis couldn't take for now (`ProvisionedThroughputExceededException`, `InternalFailure`) are
    /// sent again, others that it refuses go to `<id>.rejected`.
    KinesisGateway,
}

/// Which header carries idempotency keys.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(untagged)]
pub enum IdempotencyKey {
    /// The default one, or none.
    Whether(bool),
    /// The one of this name.
    Header(String),
}

fn batch_bytes() -> ByteSize {
    ByteSize(1_000_000)
}

fn concurrency() -> u32 {
    16
}

impl HttpSinkConfig {
    /// The headers that are secrets.
    pub(super) fn secrets(&self) -> impl Iterator<Item = (&str, &Secret)> {
        self.headers.iter().filter_map(|(name, value)| match value {
            HeaderText::Secret(secret) => Some((name.as_str(), secret)),
            HeaderText::Text(_) => None,
        })
    }

    pub(super) fn body(&self) -> Body {
        match (self.body, self.method) {
            (Some(body), _) => body,
            (None, Some(Verb::Delete)) => Body::None,
            (None, _) => Body::Row,
        }
    }

    pub(super) fn method(&self) -> Method {
        match self.method.unwrap_or_else(|| self.body().usual_method()) {
            Verb::Post => Method::POST,
            Verb::Put => Method::PUT,
            Verb::Patch => Method::PATCH,
            Verb::Delete => Method::DELETE,
        }
    }

    /// The most rows of a request.
    pub(super) fn rows(&self) -> usize {
        let asked = self.batch_rows.and_then(|rows| usize::try_from(rows).ok());
        match self.body() {
            Body::Row | Body::Template | Body::None => 1,
            Body::Array | Body::Ndjson | Body::KafkaRest => asked.unwrap_or(1000),
            Body::KinesisGateway => asked.unwrap_or(500),
        }
    }

    /// The name of the header that carries keys.
    pub(super) fn key_header(&self) -> Option<&str> {
        const USUAL: &str = "Idempotency-Key";
        match &self.idempotency_key {
            Some(IdempotencyKey::Header(name)) => Some(name),
            Some(IdempotencyKey::Whether(true)) => Some(USUAL),
            Some(IdempotencyKey::Whether(false)) => None,
            None => (!self.body().is_preset()).then_some(USUAL),
        }
    }
}

impl Body {
    pub(super) fn is_preset(self) -> bool {
        matches!(self, Self::KafkaRest | Self::KinesisGateway)
    }

    pub(super) fn usual_method(self) -> Verb {
        match self {
            Self::KinesisGateway => Verb::Put,
            _ => Verb::Post,
        }
    }

    /// What it calls itself.
    pub(super) fn content_type(self) -> Option<&'static str> {
        match self {
            Self::Row | Self::Array | Self::Template | Self::KinesisGateway => {
                Some("application/json")
            }
            Self::Ndjson => Some("application/x-ndjson"),
            Self::KafkaRest => Some("application/vnd.kafka.json.v2+json"),
            Self::None => None,
        }
    }
}

#[async_trait]
#[typetag::serde(name = "http")]
impl SinkConfig for HttpSinkConfig {
    fn validate(&self) -> Result<()> {
        self.check()
    }

    async fn open(&self, cx: &SinkContext) -> Result<Arc<dyn Sink>> {
        self.check()?;
        Ok(Arc::new(HttpSink::open(self, cx)?))
    }

    /// With credentials, because a run that they were to blame for resumes with others.
    fn tuning_keys(&self) -> &'static [&'static str] {
        &[
            "auth",
            "allow_http",
            "batch_rows",
            "batch_bytes",
            "compression",
            "concurrency",
        ]
    }
}
