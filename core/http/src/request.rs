use std::fmt;
use std::time::Duration;

use backon::Retryable;
use bytes::Bytes;
use reqwest::Method;
use reqwest::header::{
    ACCEPT_ENCODING, CONTENT_TYPE, HeaderMap, HeaderName, HeaderValue, IF_MODIFIED_SINCE,
    IF_NONE_MATCH,
};
use serde::Serialize;
use tidegate_core::{Error, Result, Span};
use url::Url;

use crate::dialect::{Again, Dialect, Plain};
use crate::settings::is_rate;
use crate::{Adaptive, HttpClient, Ledger, Response, Validators};

/// A request that is being put together; [`Request::send`] makes it.
#[must_use = "a request does nothing until it is sent"]
pub struct Request<'a> {
    pub(crate) client: &'a HttpClient,
    pub(crate) method: Method,
    pub(crate) url: Url,
    pub(crate) headers: HeaderMap,
    pub(crate) body: Bytes,
    pub(crate) idempotent: bool,
    pub(crate) conditional: bool,
    pub(crate) dialect: &'a dyn Dialect,
    /// The ledger that it goes through, and the API's name for what it asks.
    pub(crate) ledger: Option<(&'a Ledger, &'a str)>,
    /// Names of rates, and how many requests a second each allows.
    pub(crate) paces: Vec<(&'a str, f64)>,
    /// How many may be under way at once.
    pub(crate) within: Option<&'a Adaptive>,
    /// The first thing that was wrong with it.
    refused: Option<Error>,
}

impl<'a> Request<'a> {
    pub(crate) fn new(client: &'a HttpClient, method: Method, url: Url) -> Self {
        Self {
            client,
            idempotent: method.is_idempotent(),
            method,
            url,
            // Set by hand: the library would unpack by the header alone.
            headers: [(ACCEPT_ENCODING, HeaderValue::from_static("gzip"))]
                .into_iter()
                .collect(),
            body: Bytes::new(),
            conditional: false,
            dialect: &Plain,
            ledger: None,
            paces: Vec::new(),
            within: None,
            refused: None,
        }
    }

    /// Where it goes.
    pub(crate) fn url(&self) -> &Url {
        &self.url
    }

    /// Adds a parameter to the URL's query.
    pub fn query(mut self, name: &str, value: impl fmt::Display) -> Self {
        self.url
            .query_pairs_mut()
            .append_pair(name, &value.to_string());
        self
    }

    /// Sets a header. Its value is never shown in logs and errors.
    pub fn header(mut self, name: &str, value: &str) -> Self {
        match (name.parse::<HeaderName>(), HeaderValue::from_str(value)) {
            (Ok(name), Ok(mut value)) => {
                value.set_sensitive(true);
                self.headers.insert(name, value);
            }
            _ => {
                let error = Error::config(format!("the header `{name}` can't be sent"))
                    .hint("headers hold one line of visible ASCII");
                self.refused.get_or_insert(error);
            }
        }
        self
    }

    /// Sets the body.
    pub fn body(mut self, body: impl Into<Bytes>) -> Self {
        self.body = body.into();
        self
    }

    /// Sets the body to a value as JSON, and the content type.
    pub fn json<T: Serialize + ?Sized>(mut self, value: &T) -> Self {
        match serde_json::to_vec(value) {
            Ok(body) => {
                self.headers.insert(
                    CONTENT_TYPE,
                    HeaderValue::from_static("application/json; charset=utf-8"),
                );
                self.body(body)
            }
            Err(error) => {
                let error =
                    Error::internal("a request's body can't be written as JSON").because(error);
                self.refused.get_or_insert(error);
                self
            }
        }
    }

    /// Says whether making the request twice has the same effect as once. By default its method
    /// tells: POST and PATCH have not. What has not is only retried where the server surely did
    /// not act on it (no connection, 429).
    pub fn idempotent(mut self, idempotent: bool) -> Self {
        self.idempotent = idempotent;
        self
    }

    /// Judges the answers by what this API means by them, not by their status alone.
    pub fn dialect(mut self, dialect: &'a dyn Dialect) -> Self {
        self.dialect = dialect;
        self
    }

    /// Makes every attempt through a ledger, which knows when the API takes it. `method` is the
    /// API's name for what is asked (`questions`): one request by a method is under way at a time, and a
    /// backoff that its answer asks for holds for the method.
    pub fn through(mut self, ledger: &'a Ledger, method: &'a str) -> Self {
        self.ledger = Some((ledger, method));
        self
    }

    /// Makes every attempt so that there are no more than `per_second` of this name to this host,
    /// evenly spaced, counting all clients of this process.
    pub fn paced(mut self, name: &'a str, per_second: f64) -> Self {
        if is_rate(per_second) {
            self.paces.push((name, per_second));
        } else {
            let error = Error::config(format!("{per_second} is not a rate of requests"))
                .hint("it is the number of requests a second, such as 5 or 0.5");
            self.refused.get_or_insert(error);
        }
        self
    }

    /// Makes every attempt when so few others are under way that this one is within the limit, which
    /// follows how the server takes them. An attempt that waits to be retried isn't under way.
    pub fn within(mut self, limit: &'a Adaptive) -> Self {
        self.within = Some(limit);
        self
    }

    /// Asks for the answer only if it isn't the one that these belong to; see
    /// [`Response::not_modified`].
    pub fn conditional(mut self, known: &Validators) -> Self {
        for (name, value) in [
            (IF_NONE_MATCH, &known.etag),
            (IF_MODIFIED_SINCE, &known.last_modified),
        ] {
            let Some(value) = value.as_deref() else {
                continue;
            };
            // They came as a header, so they can be sent as one; if not, the answer comes whole.
            if let Ok(value) = HeaderValue::from_str(value) {
                self.headers.insert(name, value);
                self.conditional = true;
            }
        }
        self
    }

    /// Makes the request, again where that can help, and gives the answer with its whole body.
    ///
    /// Cancellation: dropping the future ends the connection.
    ///
    /// Errors: what the dialect says of the last answer (by default [`by_status`](crate::by_status));
    /// lost connections and time-outs `Transient`; bodies over the limit, and ones that can't be
    /// unpacked, `Data`; `Exhausted` where the ledger's quota is spent. All with the URL without its
    /// secrets.
    pub async fn send(mut self) -> Result<Response> {
        if let Some(error) = self.refused.take() {
            return Err(error);
        }
        let settings = &self.client.settings;
        let backoff = settings.retries();
        let longest = settings.max_retry_after.0;
        (|| self.attempt())
            .retry(backoff)
            .when(|failure| match failure.again {
                Again::Always => true,
                Again::Idempotent => self.idempotent,
                Again::Never => false,
            })
            .adjust(|failure, wait| patience(failure.wait, wait, longest))
            .notify(|failure, wait| {
                self.client.metrics.retries(1);
                if failure.wait.is_some() {
                    self.client.metrics.waited_ms(millis(wait));
                }
                let wait = Span(wait).rounded();
                // A server that is down fails every request that is under way.
                match self.client.retried.may_warn() {
                    Some(unsaid) => tracing::warn!(
                        error = %failure.error, wait, unsaid, "retrying a request"
                    ),
                    None => tracing::debug!(error = %failure.error, wait, "retrying a request"),
                }
            })
            .await
            .map_err(|failure| failure.error)
    }
}

/// How long to wait before the next attempt; `None` to give up. What the server asks for is kept,
/// but no longer wait than `longest` is granted.
fn patience(
    asked: Option<Duration>,
    backoff: Option<Duration>,
    longest: Duration,
) -> Option<Duration> {
    match asked {
        Some(asked) if asked > longest => None,
        // What is random in the backoff keeps clients that were told the same time apart.
        Some(asked) => backoff.map(|backoff| backoff.max(asked)),
        None => backoff,
    }
}

/// Whole milliseconds, as they are counted.
pub(crate) fn millis(span: Duration) -> u64 {
    u64::try_from(span.as_millis()).unwrap_or(u64::MAX)
}

impl fmt::Debug for Request<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} {}", self.method, self.client.hidden.url(&self.url))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_server_sets_the_shortest_wait_and_the_settings_the_longest() {
        let seconds = |n| Some(Duration::from_secs(n));
        let longest = Duration::from_secs(60);
        assert_eq!(patience(None, seconds(2), longest), seconds(2));
        assert_eq!(patience(seconds(10), seconds(2), longest), seconds(10));
        assert_eq!(patience(seconds(1), seconds(2), longest), seconds(2));
        assert_eq!(patience(seconds(61), seconds(2), longest), None);
        assert_eq!(patience(seconds(1), None, longest), None, "no attempt left");
    }
}
