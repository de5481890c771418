//! Errors of reading, which come from `object_store`.

use std::error::Error as StdError;

use aws_credential_types::provider::error::CredentialsError;
use object_store::Error as Store;
use object_store::client::HttpError;
use tidegate_aws::Refusal;
use tidegate_core::Error;

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
    let found = if let Some(cause) = find::<CredentialsError>(&error) {
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
