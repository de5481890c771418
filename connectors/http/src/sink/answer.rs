//! What answers mean for the rows that were sent.

use tidegate_core::{Error, ErrorKind};
use tidegate_http::{Dialect, Refusal, Response, StatusCode, by_status, status_of};

use super::preset::Preset;

/// How the server's answers are judged.
#[derive(Debug, Clone, Copy)]
pub(super) struct Manners {
    /// Requests have one row each.
    pub(super) alone: bool,
    /// What a request asks for depends on its rows.
    pub(super) names_things: bool,
    /// The server tells requests that come again by their keys.
    pub(super) dedupes: bool,
    pub(super) preset: Option<Preset>,
}

/// What a status says of a request's rows.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Meaning {
    /// The request was taken.
    Taken,
    /// One of its rows, or some, can't be taken.
    Some,
    /// None of its rows can be taken.
    All,
    /// It isn't about the rows.
    Other,
}

impl Manners {
    pub(super) fn meaning(&self, status: StatusCode) -> Meaning {
        match status {
            _ if status.is_success() => Meaning::Taken,
            StatusCode::NOT_FOUND | StatusCode::METHOD_NOT_ALLOWED | StatusCode::GONE => {
                match self.names_things {
                    true => Meaning::All,
                    // Nothing is at this address, for whatever row.
                    false => Meaning::Other,
                }
            }
            StatusCode::BAD_REQUEST
            | StatusCode::CONFLICT
            | StatusCode::PAYLOAD_TOO_LARGE
            | StatusCode::UNPROCESSABLE_ENTITY => Meaning::Some,
            StatusCode::UNAUTHORIZED
            | StatusCode::FORBIDDEN
            | StatusCode::PROXY_AUTHENTICATION_REQUIRED
            | StatusCode::REQUEST_TIMEOUT
            | StatusCode::TOO_MANY_REQUESTS => Meaning::Other,
            _ if status.is_client_error() && self.alone => Meaning::All,
            _ => Meaning::Other,
        }
    }

    /// Whether an error is a conflict about a row, of a server that still worked on it whenever it
    /// was asked.
    pub(super) fn is_conflict(&self, error: &Error) -> bool {
        self.dedupes
            && error.kind() == ErrorKind::Conflict
            && status_of(error) == Some(StatusCode::CONFLICT)
    }
}

impl Dialect for Manners {
    fn judge(&self, answer: &Response) -> Result<(), Refusal> {
        let again = match answer.status {
            // A request with this key may be under way still, because its connection was lost.
            StatusCode::CONFLICT => self.dedupes,
            StatusCode::BAD_REQUEST => self.preset.is_some_and(|preset| preset.is_busy(answer)),
            _ => false,
        };
        match self.meaning(answer.status) {
            _ if again => Err(match by_status(answer) {
                Err(refusal) if answer.status == StatusCode::CONFLICT => {
                    Refusal::always(refusal.error).after(refusal.wait)
                }
                _ => Refusal::always(
                    answer.error(ErrorKind::Transient, "the server takes no more for now"),
                ),
            }),
            // Whose rows those are is told to the caller, not that the request failed.
            Meaning::Some | Meaning::All => Ok(()),
            Meaning::Taken | Meaning::Other => by_status(answer),
        }
    }
}

/// Why rows are refused: the status, and how the answer begins.
pub(super) fn refusal(status: StatusCode, said: &str) -> String {
    match said {
        "" => format!("the server answered {status}"),
        said => format!("the server answered {status}: {said}"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn meaning(alone: bool, names_things: bool, status: u16) -> Meaning {
        let manners = Manners {
            alone,
            names_things,
            dedupes: false,
            preset: None,
        };
        manners.meaning(StatusCode::from_u16(status).unwrap())
    }

    #[test]
    fn a_status_is_about_rows_or_about_the_request() {
        for status in [200, 201, 202, 204, 207] {
            assert_eq!(meaning(true, true, status), Meaning::Taken);
        }
        for status in [400, 409, 413, 422] {
            assert_eq!(meaning(false, false, status), Meaning::Some, "{status}");
        }
        for status in [404, 405, 410] {
            assert_eq!(meaning(true, false, status), Meaning::Other, "{status}");
            assert_eq!(meaning(true, true, status), Meaning::All, "{status}");
            assert_eq!(meaning(false, true, status), Meaning::All, "{status}");
        }
        for status in [301, 401, 403, 407, 408, 429, 500, 501, 503] {
            assert_eq!(meaning(true, true, status), Meaning::Other, "{status}");
        }
        for status in [402, 412, 414, 415, 451] {
            assert_eq!(meaning(true, false, status), Meaning::All, "{status}");
            assert_eq!(meaning(false, false, status), Meaning::Other, "{status}");
        }
    }
}
