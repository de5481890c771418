use std::fmt;
use std::time::Duration;

use backon::{ExponentialBuilder, Retryable};
use bytes::{Bytes, BytesMut};
use chrono::Utc;
use reqwest::Method;
use reqwest::header::{CONTENT_TYPE, HeaderMap, HeaderName, HeaderValue};
use serde::Serialize;
use tidegate_core::{Error, Result};
use url::Url;

use crate::failure::{Again, Failure};
use crate::{HttpClient, Response, redact};

/// A request that is being put together; [`Request::send`] makes it.
#[must_use = "a request does nothing until it is sent"]
pub struct Request<'a> {
    client: &'a HttpClient,
    method: Method,
    url: Url,
    headers: HeaderMap,
    body: Bytes,
    idempotent: bool,
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
            headers: HeaderMap::new(),
            body: Bytes::new(),
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
    /// tells: POST and PATCH have not. What has not is only made again where the server surely did
    /// not act on it (no connection, 429).
    pub fn idempotent(mut self, idempotent: bool) -> Self {
        self.idempotent = idempotent;
        self
    }

    /// Makes the request, again where that can help, and gives the answer with its whole body.
    ///
    /// Cancellation: dropping the future ends the connection.
    ///
    /// Errors: 401, 403, 407 `Auth`; 404, 410 `NotFound`; 409, 412 `Conflict`; 429 `RateLimited`;
    /// 413 and bodies over the limit `Data`; other 4xx `Config`; 501, 505 `Unsupported`; other 5xx,
    /// 408, lost connections and time-outs `Transient`. All with the URL without its secrets.
    pub async fn send(mut self) -> Result<Response> {
        if let Some(error) = self.refused.take() {
            return Err(error);
        }
        let settings = &self.client.settings;
        let backoff = ExponentialBuilder::new()
            .with_min_delay(settings.backoff.0)
            .with_max_delay(settings.max_backoff.0)
            .with_max_times(
                usize::try_from(settings.attempts.saturating_sub(1)).unwrap_or(usize::MAX),
            )
            .with_jitter();
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
                tracing::warn!(error = %failure.error, ?wait, "a request is made again");
            })
            .await
            .map_err(|failure| failure.error)
    }

    async fn attempt(&self) -> Result<Response, Failure> {
        let lost = |error| Failure::transport(&self.url, error);
        let mut answer = self
            .client
            .inner
            .request(self.method.clone(), self.url.clone())
            .headers(self.headers.clone())
            .body(self.body.clone())
            .send()
            .await
            .map_err(lost)?;
        let limit = self.client.settings.max_response;
        // An error's body is only for the message: it may be cut, a good one may not.
        let good = answer.status().is_success();
        let mut body = BytesMut::new();
        if good && answer.content_length().is_some_and(|told| told > limit.0) {
            return Err(Failure::too_large(&self.url, limit));
        }
        while let Some(piece) = answer.chunk().await.map_err(lost)? {
            if body.len() + piece.len() > limit.as_usize() {
                if good {
                    return Err(Failure::too_large(&self.url, limit));
                }
                break;
            }
            body.extend_from_slice(&piece);
        }
        let response = Response {
            status: answer.status(),
            url: answer.url().clone(),
            headers: std::mem::take(answer.headers_mut()),
            body: body.freeze(),
            fetched_at: Utc::now(),
        };
        self.client
            .metrics
            .bytes(u64::try_from(response.body.len()).unwrap_or(u64::MAX));
        tracing::debug!(method = %self.method, ?response, "answered");
        if good {
            Ok(response)
        } else {
            Err(Failure::status(&response))
        }
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

impl fmt::Debug for Request<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} {}", self.method, redact(&self.url))
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
