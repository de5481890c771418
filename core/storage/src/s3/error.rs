//! Errors: of reading, which come from `object_store`, and of all else, which come from the SDK.

use std::error::Error as StdError;

use aws_credential_types::provider::error::CredentialsError;
use aws_sdk_s3::config::http::HttpResponse;
use aws_sdk_s3::error::{ProvideErrorMetadata, SdkError};
use object_store::Error as Store;
use object_store::client::HttpError;
use tidegate_aws::Refusal;
use tidegate_core::Error;

use super::answers::TooLong;
use super::http::Misbehaved;

/// The error of a request of the SDK's that was made while `doing` something.
pub(super) fn asking<E>(doing: &str, error: SdkError<E, HttpResponse>) -> Error
where
    E: ProvideErrorMetadata + StdError + Send + Sync + 'static,
{
    if let Some(cause) = find::<TooLong>(&error) {
        return misbehaved(format!("can't {doing}: {cause}"));
    }
    match &error {
        SdkError::DispatchFailure(failure) if failure.is_timeout() && is_unanswered(&error) => {
            Error::transient(format!("can't {doing}: the server gives no answer"))
                .hint("check the network and, if there is one, the server at `endpoint_url`")
                .because(error)
        }
        _ => tidegate_aws::error(doing, error),
    }
}

/// Whether a connection was there. The SDK's error for it has no public name.
fn is_unanswered(error: &(dyn StdError + 'static)) -> bool {
    let mut causes = std::iter::successors(Some(error), |&error| error.source());
    causes.any(|error| error.to_string().starts_with("HTTP read timeout"))
}

/// The error of a server that does what none of S3 does.
pub(super) fn misbehaved(message: impl Into<String>) -> Error {
    Error::data(message).hint(
        "no server of S3 does this: see what stands at `endpoint_url`, or between it and this \
         machine",
    )
}

/// The error of `doing` something to `what` by `object_store`.
pub(crate) fn reading(doing: &str, what: &str, error: Store) -> Error {
    let text = error.to_string();
    let status = match &error {
        Store::Precondition { .. } => {
            return Error::conflict("the file changed while it was being read")
                .hint("files must not be changed once they are there; write a new one")
                .with("path", what)
                .because(error);
        }
        Store::NotFound { .. } => Some(404),
        Store::PermissionDenied { .. } => Some(403),
        Store::Unauthenticated { .. } => Some(401),
        Store::AlreadyExists { .. } => Some(409),
        _ if text.contains("redirect without LOCATION") => Some(301),
        _ => status(&text),
    };
    let found = if let Some(cause) = find::<Misbehaved>(&error) {
        misbehaved(format!("can't {doing}: {cause}"))
    } else if let Some(300..=303 | 307 | 308) = status
        && !text.contains("redirect without LOCATION")
    {
        Error::config(format!(
            "can't {doing}: the server redirects to another address, which isn't followed"
        ))
        .hint(
            "set the bucket's region as `region` under [aws] in tidegate.toml, in the component's \
             `aws`, or AWS_REGION; with `endpoint_url`, write the address of the server itself",
        )
        .because(error)
    } else if let Some(cause) = find::<CredentialsError>(&error) {
        tidegate_aws::credentials_error(doing, cause)
    } else if status.is_none() && find::<HttpError>(&error).is_some() {
        Error::transient(format!("can't {doing}: the server can't be reached"))
            .hint("check the network and, if there is one, `endpoint_url`")
            .because(error)
    } else {
        let refusal = Refusal::from_xml(status, &text);
        if refusal.code.is_none() && status.is_none() {
            Error::internal(format!("can't {doing}")).because(error)
        } else {
            refusal.into_error(doing)
        }
    };
    found.with("path", what)
}

/// The HTTP status of `object_store`'s sentence "… status code: 503 Service Unavailable …".
fn status(text: &str) -> Option<u16> {
    let (_, rest) = text.split_once("status code: ")?;
    rest.get(..3)?.parse().ok()
}

/// The first cause of this type.
pub(super) fn find<'a, T: StdError + 'static>(
    error: &'a (dyn StdError + 'static),
) -> Option<&'a T> {
    let mut cause = Some(error);
    while let Some(error) = cause {
        if let Some(found) = error.downcast_ref() {
            return Some(found);
        }
        cause = error.source();
    }
    None
}
