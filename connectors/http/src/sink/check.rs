//! What can be refused without asking the server.

use tidegate_core::{Error, Result};
use tidegate_http::header::HeaderName;
use tidegate_http::{check_auth_header, check_headers, may_carry};

use super::config::{Body, HttpSinkConfig};
use super::template::{JsonTemplate, UrlTemplate};

/// The largest `concurrency`.
const MOST_AT_ONCE: u32 = 1024;

/// Kinesis takes no more records at once (PutRecords).
const MOST_OF_KINESIS: u32 = 500;

/// Headers that say how long a body is and how it is packed.
const OURS: [&str; 3] = ["content-length", "content-encoding", "transfer-encoding"];

impl HttpSinkConfig {
    /// Checks the keys one by one, and those that exclude each other.
    pub(super) fn check(&self) -> Result<()> {
        check_headers(&self.headers)?;
        let own = |name: &&String| OURS.contains(&name.to_ascii_lowercase().as_str());
        if let Some(name) = self.headers.keys().find(own) {
            return Err(of_key(
                "headers",
                format!("the header `{name}` follows from the body"),
            )
            .hint("leave it out"));
        }
        let address = self.address()?;
        match &self.auth {
            Some(auth) => {
                auth.validate(self.allow_http)?;
                auth.may_go_to(address.base(), self.allow_http)?;
                check_auth_header(auth, &self.headers)?;
                let mut params = address.base().query_pairs();
                if let Some(own) = auth.query_param()
                    && params.any(|(name, _)| name == own)
                {
                    return Err(of_key(
                        "url",
                        format!("`{own}` is in `url`, and is sent by `auth`"),
                    )
                    .hint("leave it out of `url`: secrets don't stand in the file"));
                }
            }
            None if self.secrets().next().is_some() => {
                may_carry(address.base(), self.allow_http)?;
            }
            None if self.allow_http => {
                return Err(
                    of_key("allow_http", "`allow_http` has no use without secrets")
                        .hint("leave it out: what isn't secret may always go over plain http"),
                );
            }
            None => {}
        }
        self.check_body()?;
        self.check_limits()?;
        self.check_key()
    }

    /// Where requests go.
    pub(super) fn address(&self) -> Result<UrlTemplate> {
        let below = |what: &str, key: &'static str, name: &Option<String>| {
            let Some(name) = name.as_deref() else {
                return Err(of_key(key, format!("`{key}` is missing")).hint(format!(
                    "name the {what} that the records go to: {key} = \"orders\""
                )));
            };
            let fits = |c: char| c.is_ascii_alphanumeric() || "._-".contains(c);
            if name.is_empty() || !name.chars().all(fits) || [".", ".."].contains(&name) {
                return Err(of_key(key, format!("`{key}` is not the name of a {what}"))
                    .hint("a name is made of letters, digits, `.`, `_` and `-`"));
            }
            if self.url.contains('?') {
                return Err(
                    of_key("url", "`url` has a query, and a path is added to it")
                        .hint("write the address before `/topics` or `/streams`"),
                );
            }
            Ok(format!("{}/{what}s/{name}", self.url.trim_end_matches('/')))
        };
        let url = match self.body() {
            Body::KafkaRest => below("topic", "topic", &self.topic)?,
            Body::KinesisGateway => {
                let stream = below("stream", "stream", &self.stream)?;
                let last = if self.rows() == 1 {
                    "record"
                } else {
                    "records"
                };
                format!("{stream}/{last}")
            }
            _ => self.url.clone(),
        };
        UrlTemplate::parse(&url)
    }

    fn check_body(&self) -> Result<()> {
        let body = self.body();
        let only = [
            (
                "template",
                self.template.is_some(),
                body == Body::Template,
                "template",
            ),
            (
                "topic",
                self.topic.is_some(),
                body == Body::KafkaRest,
                "kafka_rest",
            ),
            (
                "stream",
                self.stream.is_some(),
                body == Body::KinesisGateway,
                "kinesis_gateway",
            ),
        ];
        for (key, given, wanted, of) in only {
            if given && !wanted {
                return Err(of_key(key, format!("`{key}` has no use with this `body`"))
                    .hint(format!("it belongs to `body = \"{of}\"`")));
            }
        }
        if self.key.is_some() && !body.is_preset() {
            return Err(of_key("key", "`key` has no use with this `body`")
                .hint("it belongs to `body = \"kafka_rest\"` and `\"kinesis_gateway\"`"));
        }
        match body {
            Body::Template => {
                let text = self.template.as_deref().ok_or_else(|| {
                    of_key("template", "`body = \"template\"` needs a `template`")
                })?;
                JsonTemplate::parse(text)?;
            }
            Body::KinesisGateway if self.key.is_none() => {
                return Err(of_key("key", "records of Kinesis need a partition key")
                    .hint("set `key` to a column whose values spread the rows over the shards"));
            }
            Body::None if !self.url.contains('{') => {
                return Err(of_key(
                    "body",
                    "without a body and without placeholders in `url`, nothing of the rows is sent",
                ));
            }
            _ => {}
        }
        if body.is_preset()
            && self
                .method
                .is_some_and(|method| method != body.usual_method())
        {
            return Err(of_key("method", "this `body` is sent by another method")
                .hint("leave `method` out"));
        }
        Ok(())
    }

    fn check_limits(&self) -> Result<()> {
        let most = match self.body() {
            Body::Row | Body::Template | Body::None => 1,
            Body::KinesisGateway => MOST_OF_KINESIS,
            Body::Array | Body::Ndjson | Body::KafkaRest => 1_000_000,
        };
        if let Some(rows) = self.batch_rows
            && !(1..=most).contains(&rows)
        {
            return Err(of_key(
                "batch_rows",
                format!("`batch_rows` is 1 to {most} with this `body`"),
            ));
        }
        // Kinesis takes no more at once (PutRecords), nor does an API gateway.
        let (largest, named) = match self.body() {
            Body::KinesisGateway => (10_000_000, "10 MB"),
            _ => (64 << 20, "64 MiB"),
        };
        if !(1_000..=largest).contains(&self.batch_bytes.0) {
            return Err(of_key("batch_bytes", "`batch_bytes` is out of bounds")
                .hint(format!("it is from \"1 KB\" to \"{named}\"")));
        }
        if !(1..=MOST_AT_ONCE).contains(&self.concurrency) {
            return Err(of_key(
                "concurrency",
                format!("`concurrency` is 1 to {MOST_AT_ONCE}"),
            ));
        }
        if self.ordered && self.body().is_preset() && self.rows() != 1 {
            return Err(of_key(
                "ordered",
                "records that are sent again would come after those that followed them",
            )
            .hint("set `batch_rows = 1`"));
        }
        Ok(())
    }

    fn check_key(&self) -> Result<()> {
        if let Some(name) = self.key_header() {
            if name.parse::<HeaderName>().is_err() {
                return Err(of_key(
                    "idempotency_key",
                    format!("`{name}` can't be a header's name"),
                ));
            }
            let mut others = self.headers.keys();
            if others.any(|other| other.eq_ignore_ascii_case(name)) {
                return Err(of_key(
                    "headers",
                    format!("the header `{name}` is sent by `idempotency_key`"),
                )
                .hint("leave it out of `headers`"));
            }
        }
        if !self.server_dedupes {
            return Ok(());
        }
        if self.key_header().is_none() {
            return Err(of_key(
                "server_dedupes",
                "without `idempotency_key` the server can't tell what comes again",
            ));
        }
        if self.rows() != 1 {
            return Err(of_key(
                "server_dedupes",
                "what stands together in a request of many rows may differ after a crash",
            )
            .hint("set `batch_rows = 1`, or use a `body` of one row"));
        }
        Ok(())
    }
}

/// An error of a key.
pub(super) fn of_key(key: &'static str, message: impl Into<String>) -> Error {
    Error::config(message).with("key", key)
}
