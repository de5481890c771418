//! One mapping from the SDKs' errors to Tidegate's.

use std::error::Error as StdError;
use std::time::Duration;

use aws_credential_types::provider::error::CredentialsError;
use aws_smithy_runtime_api::client::orchestrator::HttpResponse;
use aws_smithy_runtime_api::client::result::SdkError;
use aws_smithy_types::error::metadata::ProvideErrorMetadata;
use tidegate_core::{Error, Result};

use crate::Refusal;

/// The error of a request that was made while `doing` something ("read a table").
///
/// Kinds: `Auth` for credentials that are missing, expired, unknown or without the right;
/// `NotFound`; `Config` for a wrong region, a missing one or a request that the service finds
/// wrong; `RateLimited`; `Transient` for what the service or the network did; `Conflict` for a
/// condition that didn't hold. Where a user can do something, there is a hint.
pub fn error<E>(doing: &str, error: SdkError<E, HttpResponse>) -> Error
where
    E: ProvideErrorMetadata + StdError + Send + Sync + 'static,
{
    match &error {
        SdkError::ServiceError(answer) => {
            let (raw, meta) = (answer.raw(), answer.err().meta());
            refused(raw, meta.code(), meta.message()).into_error(doing)
        }
        SdkError::ResponseError(answer) => {
            let status = answer.raw().status().as_u16();
            if (200..300).contains(&status) || status >= 500 {
                Error::transient(format!("can't {doing}: the answer broke off"))
                    .because(chain(&error))
            } else {
                refused(answer.raw(), None, None).into_error(doing)
            }
        }
        SdkError::TimeoutError(_) => {
            Error::transient(format!("can't {doing}: no answer in time")).because(chain(&error))
        }
        _ => unsent(doing, &error),
    }
}

/// Comforts for results of the SDKs.
pub trait SdkResultExt<T> {
    /// The same with Tidegate's [`error`](error()).
    fn doing(self, what: &str) -> Result<T>;
}

impl<T, E> SdkResultExt<T> for Result<T, SdkError<E, HttpResponse>>
where
    E: ProvideErrorMetadata + StdError + Send + Sync + 'static,
{
    fn doing(self, what: &str) -> Result<T> {
        self.map_err(|failed| error(what, failed))
    }
}

fn refused(answer: &HttpResponse, code: Option<&str>, message: Option<&str>) -> Refusal {
    let header = |name| answer.headers().get(name).map(str::to_owned);
    let seconds = header("retry-after").and_then(|text| text.trim().parse().ok());
    Refusal {
        code: code.map(str::to_owned),
        status: Some(answer.status().as_u16()),
        message: message.map(str::to_owned),
        region: header("x-amz-bucket-region"),
        wait: seconds.map(Duration::from_secs),
    }
}

/// A request that got no answer: it could not be made, or the connection failed.
fn unsent<E>(doing: &str, error: &SdkError<E, HttpResponse>) -> Error
where
    E: StdError + Send + Sync + 'static,
{
    let because = chain(error);
    if let Some(cause) = find::<CredentialsError>(error) {
        return credentials_error(doing, cause);
    }
    if because.to_lowercase().contains("missing region") || because.contains("A region must be set")
    {
        return Error::config(format!("can't {doing}: no AWS region is known"))
            .hint("set `region` under [aws] in tidegate.toml, or AWS_REGION")
            .because(because);
    }
    let connection = match error {
        SdkError::DispatchFailure(failure) => failure.is_io() || failure.is_timeout(),
        _ => false,
    };
    // A connection that breaks while its answer is awaited has no class of its own.
    if connection || matches!(error, SdkError::DispatchFailure(failure) if !failure.is_user()) {
        return Error::transient(format!("can't {doing}: the server can't be reached"))
            .hint("check the network and, if there is one, `endpoint_url`")
            .because(because);
    }
    Error::config(format!("can't {doing}: the request can't be made")).because(because)
}

/// The error of credentials that were needed while `doing` something.
pub fn credentials_error(doing: &str, error: &CredentialsError) -> Error {
    let ways = "set AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY, or AWS_PROFILE, or `credentials` \
                under [aws] in tidegate.toml; on AWS, give the machine or the task a role";
    let found = match error {
        CredentialsError::ProviderTimedOut(_) => Error::transient(format!(
            "can't {doing}: the AWS credentials didn't come in time"
        )),
        CredentialsError::InvalidConfiguration(_) => Error::config(format!(
            "can't {doing}: the AWS credentials' configuration is wrong"
        ))
        .hint("see ~/.aws/config and ~/.aws/credentials, and AWS_PROFILE"),
        CredentialsError::ProviderError(_) => Error::auth(format!(
            "can't {doing}: the AWS credentials could not be got"
        ))
        .hint("with SSO, run `aws sso login`; with a role, see whether it may be assumed"),
        _ => Error::auth(format!("can't {doing}: there are no AWS credentials")).hint(ways),
    };
    found.because(chain(error))
}

/// The first cause of this type.
fn find<'a, T: StdError + 'static>(error: &'a (dyn StdError + 'static)) -> Option<&'a T> {
    let mut cause = Some(error);
    while let Some(error) = cause {
        if let Some(found) = error.downcast_ref() {
            return Some(found);
        }
        cause = error.source();
    }
    None
}

/// An error and its causes in one line: the SDK's own text is only the outermost layer's name.
fn chain(error: &dyn StdError) -> String {
    let mut text = error.to_string();
    let mut cause = error.source();
    while let Some(error) = cause {
        let more = error.to_string();
        if !text.ends_with(&more) {
            text = format!("{text}: {more}");
        }
        cause = error.source();
    }
    text
}
