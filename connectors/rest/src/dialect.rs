//! What an API's answers mean.

use tidegate_core::{Error, ErrorKind};
use tidegate_http::{Authorizer, Dialect, Refusal, Response, StatusCode, Told, by_status};

use crate::quota::Quota;

/// Answers mean what their status says; where a quota is known, a refusal without any request left
/// is about the quota.
#[derive(Debug)]
pub(crate) struct RestDialect {
    pub(crate) quota: Option<Quota>,
    /// What to do about 401 and about 403.
    pub(crate) unknown: String,
    pub(crate) forbidden: String,
}

impl RestDialect {
    pub(crate) fn new(quota: Option<Quota>, authorizer: &Authorizer) -> Self {
        Self {
            quota,
            unknown: authorizer.hint(StatusCode::UNAUTHORIZED),
            forbidden: authorizer.hint(StatusCode::FORBIDDEN),
        }
    }

    fn hint(&self, status: StatusCode) -> Option<&str> {
        Some(match status {
            StatusCode::UNAUTHORIZED => &self.unknown,
            StatusCode::FORBIDDEN => &self.forbidden,
            StatusCode::NOT_FOUND | StatusCode::GONE => {
                "check `url`; some APIs also answer so where the credentials don't suffice"
            }
            StatusCode::METHOD_NOT_ALLOWED => "check `method`",
            StatusCode::UNSUPPORTED_MEDIA_TYPE => "check the header `Content-Type` in `headers`",
            StatusCode::URI_TOO_LONG => "send fewer `params`, or `method = \"POST\"` and a `body`",
            StatusCode::PAYLOAD_TOO_LARGE => "check `body`",
            StatusCode::NOT_ACCEPTABLE => "check the header `Accept` in `headers`",
            StatusCode::BAD_REQUEST | StatusCode::UNPROCESSABLE_ENTITY => {
                "check `params`, `body`, `pagination` and `incremental` against the API's documentation"
            }
            status if status.is_server_error() => {
                "run it again later; some servers also answer so to `params` or a `body` that they \
                 can't take"
            }
            _ => return None,
        })
    }
}

impl Dialect for RestDialect {
    fn judge(&self, answer: &Response) -> Result<(), Refusal> {
        let Err(refusal) = by_status(answer) else {
            return Ok(());
        };
        // GitHub refuses by 403, others by 429.
        let spent = matches!(
            answer.status,
            StatusCode::FORBIDDEN | StatusCode::TOO_MANY_REQUESTS
        ) && self
            .quota
            .as_ref()
            .is_some_and(|quota| quota.is_spent(answer));
        if spent {
            let kind = ErrorKind::RateLimited { wait: None };
            let error = answer.error(kind, "no requests are left of the quota");
            return Err(Refusal::always(error));
        }
        // GitHub again, for who asks too fast: what says how long to wait isn't about credentials.
        if answer.status == StatusCode::FORBIDDEN && refusal.wait.is_some() {
            let wait = refusal.wait;
            let kind = ErrorKind::RateLimited { wait };
            let error = answer.error(kind, "the server's rate limit is reached");
            return Err(Refusal::always(error).after(wait));
        }
        Err(match self.hint(answer.status) {
            Some(hint) => hinted(refusal, hint),
            None => refusal,
        })
    }

    fn told(&self, answer: &Response) -> Told {
        match &self.quota {
            Some(quota) => quota.told(answer),
            None => Told::default(),
        }
    }
}

fn hinted(refusal: Refusal, hint: &str) -> Refusal {
    let Refusal { error, again, wait } = refusal;
    let error: Error = match error.hint_text() {
        Some(_) => error,
        None => error.hint(hint),
    };
    Refusal { error, again, wait }
}
