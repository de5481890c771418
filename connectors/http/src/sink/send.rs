//! Sending loads until each of their rows is taken or rejected.

use std::fmt;

use bytes::Bytes;
use sha2::{Digest, Sha256};
use tidegate_core::{Error, Rejected, Result, SinkContext, Written, names_a_secret};
use tidegate_formats::{Compression, Compressor};
use tidegate_http::{
    Adaptive, Along, Authorizer, HeaderText, HttpClient, Method, Response, StatusCode, status_of,
};

use super::answer::{Manners, Meaning, refusal};
use super::answers::Answers;
use super::config::HttpSinkConfig;
use super::load::{Frame, Record};
use super::preset::{Fate, Preset, Told};

/// About how long a body is that is worth a thread of its own to compress.
const LARGE: usize = 64 << 10;

/// The least bytes of a header's text that is taken for a secret by the header's name.
const LEAST_SECRET: usize = 8;

/// Makes the requests.
pub(super) struct Sender {
    client: HttpClient,
    authorizer: Authorizer,
    limit: Adaptive,
    method: Method,
    headers: Vec<(String, String)>,
    compression: Compression,
    frame: Frame,
    manners: Manners,
    key: Option<Key>,
    cx: SinkContext,
}

/// How requests are told apart.
struct Key {
    header: String,
    /// What is the same for all requests of this sink in a run.
    scope: String,
}

/// Records that go out together, and how often they have.
struct Load {
    records: Vec<Record>,
    tries: usize,
}

/// What became of a request.
enum Sent {
    Taken,
    /// All of its records are refused, or some, which halving finds.
    Refused {
        all: bool,
        why: String,
    },
    /// Of each record.
    Each(Vec<Fate>),
}

impl Sender {
    pub(super) fn new(config: &HttpSinkConfig, cx: &SinkContext) -> Result<Self> {
        let client = HttpClient::new(&cx.common)?;
        let mut authorizer = match &config.auth {
            None => Authorizer::nobody(),
            Some(auth) => Authorizer::new(auth, config.allow_http, &cx.common, &client)?,
        };
        let (body, alone) = (config.body(), config.rows() == 1);
        let mut headers = Vec::new();
        for (name, value) in &config.headers {
            match value {
                HeaderText::Text(text) => {
                    if names_a_secret(name) && text.len() >= LEAST_SECRET {
                        client.mask(text);
                    }
                    headers.push((name.clone(), text.clone()));
                }
                HeaderText::Secret(secret) => {
                    let (place, allow) = (Along::Header(name), config.allow_http);
                    authorizer.along(place, secret, allow, &cx.common, &client)?;
                }
            }
        }
        let mut add = |name: &str, value: &str| {
            if !headers
                .iter()
                .any(|(other, _)| other.eq_ignore_ascii_case(name))
            {
                headers.push((name.to_owned(), value.to_owned()));
            }
        };
        if let Some(content) = body.content_type() {
            add("content-type", content);
        }
        if body.is_preset() {
            add("accept", "application/json");
        }
        let scope = || {
            let common = &cx.common;
            format!("{}/{}/{}", common.pipeline, common.run, common.id)
        };
        Ok(Self {
            client: client.faithful()?,
            authorizer,
            limit: Adaptive::new(usize::try_from(config.concurrency).unwrap_or(1)),
            method: config.method(),
            headers,
            compression: config.compression,
            frame: Frame::of(body, alone),
            manners: Manners {
                alone,
                names_things: config.address()?.names_things(),
                dedupes: config.server_dedupes,
                preset: Preset::of(body, alone),
            },
            key: config.key_header().map(|header| Key {
                header: header.to_owned(),
                scope: scope(),
            }),
            cx: cx.clone(),
        })
    }

    /// Sends records of one address, until each is taken or rejected.
    ///
    /// Errors: what isn't about the rows, and what didn't pass in time.
    pub(super) async fn deliver(&self, records: Vec<Record>) -> Result<Written> {
        let mut rejected = Rejected::default();
        let mut answers = self.cx.answers.then(Answers::new);
        let mut left = vec![Load { records, tries: 0 }];
        while let Some(load) = left.pop() {
            let sent = self.send(&load.records, answers.as_mut()).await?;
            match sent {
                Sent::Taken => {}
                Sent::Refused { all, why } if all || load.records.len() == 1 => {
                    for record in &load.records {
                        record.reject(why.clone(), &mut rejected)?;
                    }
                }
                Sent::Refused { why, .. } => {
                    tracing::debug!(rows = load.records.len(), why, "a request is halved");
                    let mut first = load.records;
                    let second = first.split_off(first.len() / 2);
                    // The first half is next: rows stay in their order.
                    let halves = [second, first].map(|records| Load { records, tries: 0 });
                    left.extend(halves);
                }
                Sent::Each(fates) => {
                    let mut again = Vec::new();
                    let mut last = String::new();
                    for (record, fate) in load.records.into_iter().zip(fates) {
                        match fate {
                            Fate::Taken => {}
                            Fate::Refused(why) => {
                                let why = format!("the server refuses the record: {why}");
                                record.reject(why, &mut rejected)?;
                            }
                            Fate::Again(why) => {
                                again.push(record);
                                last = why;
                            }
                        }
                    }
                    if !again.is_empty() {
                        self.wait(again.len(), load.tries, &last).await?;
                        left.push(Load {
                            records: again,
                            tries: load.tries + 1,
                        });
                    }
                }
            }
        }
        let answers = answers.map(Answers::finish).transpose()?;
        Ok(Written {
            rejected,
            answers: answers.into_iter().collect(),
        })
    }

    /// Waits before records are sent again that the server couldn't take for now.
    async fn wait(&self, records: usize, tries: usize, why: &str) -> Result<()> {
        let Some(wait) = self.client.backoff().nth(tries) else {
            return Err(
                Error::transient("the server does not take all records for now")
                    .with("records", records)
                    .with("answer", why),
            );
        };
        let metrics = &self.cx.common.metrics;
        metrics.retries(1);
        metrics.waited_ms(u64::try_from(wait.as_millis()).unwrap_or(u64::MAX));
        tracing::warn!(
            records,
            why,
            wait = tidegate_core::Span(wait).rounded(),
            "retrying records"
        );
        tokio::time::sleep(wait).await;
        Ok(())
    }

    /// Makes one request of these records, again where that helps, and notes the answer.
    async fn send(&self, records: &[Record], answers: Option<&mut Answers>) -> Result<Sent> {
        let Some(first) = records.first() else {
            return Ok(Sent::Taken);
        };
        let body = self.packed(self.frame.body(records)).await?;
        let key = match &self.key {
            None => None,
            Some(key) => Some((key.header.as_str(), key.of(records)?)),
        };
        let length = u64::try_from(body.len()).unwrap_or(u64::MAX);
        let make = || {
            let mut request = self
                .client
                .request(self.method.clone(), first.url.as_ref().clone())
                // Rows may come again: that is what this sink says of itself.
                .idempotent(true)
                .within(&self.limit)
                .dialect(&self.manners);
            for (name, value) in &self.headers {
                request = request.header(name, value);
            }
            if let Some((name, value)) = &key {
                request = request.header(name, value);
            }
            if self.compression != Compression::None && !body.is_empty() {
                request = request.header("content-encoding", self.compression.name());
            }
            request.body(body.clone())
        };
        let answer = match self.authorizer.send(make).await {
            Ok(answer) => answer,
            Err(error) if self.manners.is_conflict(&error) => {
                return Ok(Sent::Refused {
                    all: true,
                    why: error.to_string(),
                });
            }
            Err(error) => return Err(self.advised(error)),
        };
        self.cx.common.metrics.bytes(length);
        if let Some(answers) = answers {
            answers.push(records, &answer)?;
        }
        self.sent(&answer, records.len())
    }

    /// What an answer says of the rows.
    fn sent(&self, answer: &Response, count: usize) -> Result<Sent> {
        let refused = |all| Sent::Refused {
            all,
            why: refusal(answer.status, &answer.excerpt(&answer.body)),
        };
        Ok(
            match (self.manners.meaning(answer.status), self.manners.preset) {
                (Meaning::All, _) => refused(true),
                (Meaning::Some, _) => refused(false),
                (_, None) => Sent::Taken,
                (_, Some(preset)) => match preset.read(answer, count)? {
                    Told::Each(fates) => Sent::Each(fates),
                    Told::Some(said) => Sent::Refused {
                        all: false,
                        why: format!("the server refuses the record: {said}"),
                    },
                },
            },
        )
    }

    async fn packed(&self, body: Vec<u8>) -> Result<Bytes> {
        if self.compression == Compression::None || body.is_empty() {
            return Ok(body.into());
        }
        let (compression, large) = (self.compression, body.len() > LARGE);
        let pack = move || {
            let mut packed = Vec::new();
            Compressor::new(compression).member(&body, &mut packed)?;
            Ok(Bytes::from(packed))
        };
        beside(large, pack).await
    }

    /// What the user can do about an error.
    fn advised(&self, error: Error) -> Error {
        match status_of(&error) {
            Some(status @ (StatusCode::UNAUTHORIZED | StatusCode::FORBIDDEN))
                if error.hint_text().is_none() =>
            {
                error.hint(self.authorizer.hint(status))
            }
            Some(StatusCode::NOT_FOUND | StatusCode::METHOD_NOT_ALLOWED | StatusCode::GONE)
                if error.hint_text().is_none() =>
            {
                error.hint("check `url` and `method`")
            }
            _ => error,
        }
    }
}

impl Key {
    /// The key of a request of these records: the same for the same records.
    ///
    /// Errors: `Internal` where nobody said where they come from.
    fn of(&self, records: &[Record]) -> Result<String> {
        let mut hash = Sha256::new();
        // Each with its length, so that no two lists make one text.
        let mut add = |text: &str| {
            hash.update(text.len().to_be_bytes());
            hash.update(text);
        };
        add(&self.scope);
        for record in records {
            let origin = record.origin();
            add(&origin.ok_or_else(|| Error::internal("a row came without its origin"))?);
        }
        Ok(hex::encode(hash.finalize()))
    }
}

/// Does work here, or, where it is large, on a thread where it keeps nobody waiting.
pub(super) async fn beside<T: Send + 'static>(
    large: bool,
    work: impl FnOnce() -> Result<T> + Send + 'static,
) -> Result<T> {
    if !large {
        return work();
    }
    let done = tokio::task::spawn_blocking(work).await;
    done.map_err(|error| Error::internal("rows could not be encoded").because(error))?
}

impl fmt::Debug for Sender {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Sender")
            .field("method", &self.method)
            .field("limit", &self.limit)
            .field("manners", &self.manners)
            .finish_non_exhaustive()
    }
}
