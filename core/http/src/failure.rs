use std::time::Duration;

use chrono::Utc;
use reqwest::StatusCode;
use tidegate_core::{Error, ErrorKind};
use url::Url;

use crate::redact;
use crate::response::Response;
use crate::retry_after::retry_after;

/// An attempt that failed: what the caller is told if it was the last one, and what says whether
/// there is another.
#[derive(Debug)]
pub(crate) struct Failure {
    pub(crate) error: Error,
    pub(crate) again: Again,
    /// How long the server asked to wait.
    pub(crate) wait: Option<Duration>,
}

/// Which requests may be made again after a failure.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Again {
    /// None: it would fail again.
    Never,
    /// Those that have the same effect twice as once: the server may have acted on this one.
    Idempotent,
    /// All: the server did not act on it.
    Always,
}

impl Failure {
    /// No answer, or not all of it.
    pub(crate) fn transport(url: &Url, error: reqwest::Error) -> Self {
        let (message, again) = if error.is_connect() {
            ("the server can't be reached", Again::Always)
        } else if error.is_timeout() {
            ("the server did not answer in time", Again::Idempotent)
        } else {
            ("the connection to the server was lost", Again::Idempotent)
        };
        let (kind, message, again) = if error.is_builder() {
            (ErrorKind::Config, "the request can't be made", Again::Never)
        } else if error.is_redirect() {
            (
                ErrorKind::Config,
                "the server redirects without end",
                Again::Never,
            )
        } else {
            (ErrorKind::Transient, message, again)
        };
        let mut shown = Error::new(kind, message).with("url", redact(url));
        if error.is_connect() {
            shown = shown.hint("check the address, and that the server is running");
        } else if error.is_timeout() {
            shown = shown.hint("`request_timeout` of `[http]` sets the time for one request");
        }
        Self {
            // The library's own text would show the URL with its secrets.
            error: shown.because(error.without_url()),
            again,
            wait: None,
        }
    }

    /// An answer that is larger than what is accepted.
    pub(crate) fn too_large(url: &Url, limit: tidegate_core::ByteSize) -> Self {
        Self {
            error: Error::data(format!("the server's answer is larger than {limit}"))
                .with("url", redact(url))
                .hint("ask for smaller pages, or raise `max_response` of `[http]`"),
            again: Again::Never,
            wait: None,
        }
    }

    /// An answer whose status is not one of success.
    pub(crate) fn status(response: &Response) -> Self {
        let wait = retry_after(&response.headers, Utc::now());
        let status = response.status;
        let (kind, again, message) = match status {
            StatusCode::UNAUTHORIZED | StatusCode::PROXY_AUTHENTICATION_REQUIRED => (
                ErrorKind::Auth,
                Again::Never,
                "the server does not know who is asking",
            ),
            StatusCode::FORBIDDEN => (
                ErrorKind::Auth,
                Again::Never,
                "the server does not allow this",
            ),
            StatusCode::NOT_FOUND | StatusCode::GONE => (
                ErrorKind::NotFound,
                Again::Never,
                "the server has nothing at this address",
            ),
            StatusCode::TOO_MANY_REQUESTS => (
                ErrorKind::RateLimited { wait },
                Again::Always,
                "the server takes no more requests for now",
            ),
            StatusCode::REQUEST_TIMEOUT => (
                ErrorKind::Transient,
                Again::Idempotent,
                "the server gave up waiting for the request",
            ),
            StatusCode::CONFLICT | StatusCode::PRECONDITION_FAILED => (
                ErrorKind::Conflict,
                Again::Never,
                "the server has another version",
            ),
            StatusCode::PAYLOAD_TOO_LARGE => (
                ErrorKind::Data,
                Again::Never,
                "the request is too large for the server",
            ),
            StatusCode::NOT_IMPLEMENTED | StatusCode::HTTP_VERSION_NOT_SUPPORTED => (
                ErrorKind::Unsupported,
                Again::Never,
                "the server can't do this",
            ),
            _ if status.is_client_error() => (
                ErrorKind::Config,
                Again::Never,
                "the server refuses the request",
            ),
            _ if status.is_server_error() => {
                (ErrorKind::Transient, Again::Idempotent, "the server failed")
            }
            _ => (
                ErrorKind::Data,
                Again::Never,
                "the server's answer was not expected",
            ),
        };
        Self {
            error: response.error(kind, message),
            again,
            wait,
        }
    }
}
