use std::fmt::Debug;
use std::time::Duration;

use chrono::Utc;
use reqwest::StatusCode;
use tidegate_core::{Error, ErrorKind};

use crate::response::Response;
use crate::retry_after::retry_after;

/// What an API means by its answers.
///
/// Both methods are called with every answer whose body has arrived whole, good or bad, of every
/// attempt; but for `304 Not Modified` to a conditional request, which only `told` sees. They
/// must not block.
///
/// ```
/// use tidegate_core::Error;
/// use tidegate_http::{Dialect, Refusal, Response, by_status};
///
/// /// An API that says `200 OK` and means an error.
/// #[derive(Debug)]
/// struct Polite;
///
/// impl Dialect for Polite {
///     fn judge(&self, answer: &Response) -> Result<(), Refusal> {
///         by_status(answer)?;
///         match answer.header("x-busy") {
///             Some(_) => Err(Refusal::always(Error::transient("the server is busy"))),
///             None => Ok(()),
///         }
///     }
/// }
/// ```
pub trait Dialect: Debug + Send + Sync {
    /// Whether the answer is a good one. By default its status tells: see [`by_status`].
    fn judge(&self, answer: &Response) -> Result<(), Refusal> {
        by_status(answer)
    }

    /// What the answer tells about further requests. It goes to the ledger that the request goes
    /// through; without one it is not asked for.
    fn told(&self, answer: &Response) -> Told {
        let _ = answer;
        Told::default()
    }
}

/// The dialect of requests that name none: answers are judged by their status.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Plain;

impl Dialect for Plain {}

/// An answer that is no good.
#[derive(Debug)]
pub struct Refusal {
    /// What the caller is told if no further attempt is made.
    pub error: Error,
    /// Which requests may be retried.
    pub again: Again,
    /// How long the server asks to wait before the next attempt.
    pub wait: Option<Duration>,
}

/// Which requests may be retried after a failure.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Again {
    /// None: it would fail again.
    Never,
    /// Those that have the same effect twice as once: the server may have acted on this one.
    Idempotent,
    /// All: the server did not act on it. A spent quota belongs here, where requests go through a
    /// ledger: it stops or waits before the next attempt.
    Always,
}

impl Refusal {
    /// One after which no further attempt helps.
    pub fn never(error: Error) -> Self {
        Self {
            error,
            again: Again::Never,
            wait: None,
        }
    }

    /// One that may go away, after which the server may have acted on the request.
    pub fn idempotent(error: Error) -> Self {
        Self {
            again: Again::Idempotent,
            ..Self::never(error)
        }
    }

    /// One that may go away, after which the server surely did not act on the request.
    pub fn always(error: Error) -> Self {
        Self {
            again: Again::Always,
            ..Self::never(error)
        }
    }

    /// The same, with how long the server asks to wait.
    #[must_use]
    pub fn after(mut self, wait: Option<Duration>) -> Self {
        self.wait = wait;
        self
    }
}

/// What an answer tells about further requests.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Told {
    /// How many requests a whole quota has.
    pub quota_max: Option<u64>,
    /// How many requests are left of it.
    pub quota_left: Option<u64>,
    /// In what time there is a whole quota again.
    pub resets_in: Option<Duration>,
    /// How long to wait before the next request by the same method.
    pub backoff: Option<Duration>,
}

/// The meaning of an answer by its status alone, as HTTP has it (RFC 9110 §15).
///
/// 2xx is good. 401, 403, 407 are `Auth`; 404, 410 `NotFound`; 409, 412 `Conflict`; 429
/// `RateLimited`; 413 `Data`; other 4xx `Config`; 501, 505 `Unsupported`; other 5xx and 408
/// `Transient`, or `RateLimited` where they have a `Retry-After`, so that also who gives up here
/// knows how long to wait; a redirection that isn't followed `Config`; anything else `Data`. 408,
/// 429 and 5xx are tried again, after what `Retry-After` says.
pub fn by_status(answer: &Response) -> Result<(), Refusal> {
    let status = answer.status;
    if status.is_success() {
        return Ok(());
    }
    if status.is_redirection() && status != StatusCode::NOT_MODIFIED {
        return Err(Refusal::never(redirected(answer)));
    }
    let wait = retry_after(&answer.headers, Utc::now());
    let passing = match wait {
        Some(_) => ErrorKind::RateLimited { wait },
        None => ErrorKind::Transient,
    };
    let (kind, again, message) = match status {
        StatusCode::UNAUTHORIZED | StatusCode::PROXY_AUTHENTICATION_REQUIRED => {
            (ErrorKind::Auth, Again::Never, "authentication failed")
        }
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
            "the server's rate limit is reached",
        ),
        StatusCode::REQUEST_TIMEOUT => (
            passing,
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
        _ if status.is_server_error() => (passing, Again::Idempotent, "the server failed"),
        _ => (
            ErrorKind::Data,
            Again::Never,
            "the server's answer was not expected",
        ),
    };
    Err(Refusal {
        error: answer.error(kind, message),
        again,
        wait,
    })
}

/// A redirection that wasn't followed, because it leads to another host or nowhere.
fn redirected(answer: &Response) -> Error {
    let error = answer.error(ErrorKind::Config, "the server redirects to another address");
    let to = answer.header("location").map(|to| answer.url.join(to));
    match to {
        Some(Ok(to)) => error
            .with("location", answer.hidden.url(&to))
            .hint("if that server is to have the credentials, write its address instead"),
        _ => error.hint("it doesn't say where to: check the address"),
    }
}
