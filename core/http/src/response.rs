use std::fmt;

use bytes::Bytes;
use chrono::{DateTime, Utc};
use reqwest::StatusCode;
use reqwest::header::HeaderMap;
use serde::de::DeserializeOwned;
use tidegate_core::{Error, ErrorKind, Result, printable};
use url::Url;

use crate::hidden::Hidden;
use crate::validators::Validators;

/// An answer, with its whole body.
#[derive(Clone)]
pub struct Response {
    /// The status: one that the dialect takes for success, or 304 where the request was conditional.
    pub status: StatusCode,
    /// The headers. `Content-Encoding` and `Content-Length` are left out where the body was unpacked.
    pub headers: HeaderMap,
    /// Where it came from in the end, after redirections. May hold secrets: show it by
    /// [`Response::shown_url`].
    pub url: Url,
    /// The body, unpacked.
    pub body: Bytes,
    /// When the last byte had arrived.
    pub fetched_at: DateTime<Utc>,
    pub(crate) hidden: Hidden,
}

impl Response {
    /// A header's value, where it is there and is text.
    pub fn header(&self, name: &str) -> Option<&str> {
        self.headers.get(name)?.to_str().ok()
    }

    /// What tells this version of the answer from another, where the server says so.
    pub fn validators(&self) -> Option<Validators> {
        Validators::of(&self.headers)
    }

    /// Whether the answer is the one that the request's validators belong to; it has no body then.
    /// Never true where the request was not conditional.
    pub fn not_modified(&self) -> bool {
        self.status == StatusCode::NOT_MODIFIED
    }

    /// The server's clock when it answered: the header `Date`, in whole seconds.
    pub fn server_time(&self) -> Option<DateTime<Utc>> {
        let date = httpdate::parse_http_date(self.header("date")?).ok()?;
        Some(date.into())
    }

    /// The body, parsed as JSON.
    ///
    /// Errors: `Data` where it isn't JSON, or doesn't have the shape of `T`.
    pub fn json<T: DeserializeOwned>(&self) -> Result<T> {
        serde_json::from_slice(&self.body).map_err(|error| {
            let what = if error.is_data() {
                "the server's answer has another shape than expected"
            } else {
                "the server's answer is not JSON"
            };
            // It may quote the body.
            let cause = self.shown(&error.to_string());
            self.error(ErrorKind::Data, what).because(cause)
        })
    }

    /// The URL, without its secrets and without what was hidden by
    /// [`HttpClient::hide`](crate::HttpClient::hide).
    pub fn shown_url(&self) -> String {
        self.hidden.url(&self.url)
    }

    /// A text about this answer, such as an error that may quote it, without what was hidden by
    /// [`HttpClient::hide`](crate::HttpClient::hide).
    pub fn shown(&self, text: &str) -> String {
        self.hidden.text(text).into_owned()
    }

    /// How a piece of the body begins, as [`Response::error`] shows it of the whole: on one line,
    /// and without what was hidden.
    pub fn excerpt(&self, piece: &[u8]) -> String {
        excerpt(piece, &self.hidden)
    }

    /// Whether a text is one that was hidden, or has one within it: see
    /// [`HttpClient::holds_hidden`](crate::HttpClient::holds_hidden). What a server gives to be sent
    /// back is only stored if it isn't.
    pub fn holds_hidden(&self, text: &str) -> bool {
        self.hidden.is_in(text)
    }

    /// An error about this answer, which says where it came from and how it begins.
    pub fn error(&self, kind: ErrorKind, message: impl Into<String>) -> Error {
        let error = Error::new(kind, message)
            .with("url", self.shown_url())
            .with(STATUS, self.status.as_u16());
        match self.excerpt(&self.body) {
            text if text.is_empty() => error,
            text => error.with("body", text),
        }
    }
}

/// The status of the answer that an error is about, if it is about one: of what
/// [`Response::error`] made.
pub fn status_of(error: &Error) -> Option<StatusCode> {
    let mut context = error.context().iter();
    let (_, status) = context.find(|(key, _)| *key == STATUS)?;
    status.parse().ok()
}

/// What the status is called in an error's context.
const STATUS: &str = "status";

impl fmt::Debug for Response {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Response")
            .field("status", &self.status)
            .field("url", &self.shown_url())
            .field("bytes", &self.body.len())
            .field("fetched_at", &self.fetched_at)
            .finish_non_exhaustive()
    }
}

/// How a body begins, on one line.
fn excerpt(body: &[u8], hidden: &Hidden) -> String {
    const CHARS: usize = 200;
    // Much more than is shown, so that a secret is not cut in two before it is hidden.
    let text = String::from_utf8_lossy(&body[..body.len().min(40 * CHARS)]);
    let text = hidden.text(text);
    let folded = text.split_whitespace().collect::<Vec<_>>().join(" ");
    match folded.char_indices().nth(CHARS) {
        None => printable::line(&folded).into_owned(),
        Some((end, _)) => printable::line(&folded[..end]).into_owned() + "…",
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_excerpt_is_short_and_on_one_line() {
        let excerpt = |body: &[u8]| excerpt(body, &Hidden::default());
        assert_eq!(excerpt(b""), "");
        assert_eq!(excerpt(b"{\n  \"a\": 1\r\n}\n"), "{ \"a\": 1 }");
        assert_eq!(excerpt(&b"x".repeat(1_000)).chars().count(), 201);
        assert_eq!(excerpt(b"\xff\xfe"), "\u{fffd}\u{fffd}");
        assert_eq!(excerpt(b"\x1b[2Ja\0"), r"\u{1b}[2Ja\u{0}");
    }
}
