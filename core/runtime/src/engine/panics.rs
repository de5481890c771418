//! What a task that didn't come to its end is as an error.

use tidegate_core::{Error, panicked};
use tokio::task::JoinError;

/// Of a task that panicked, or was ended with its runtime; `what` it did: "a stage".
pub(super) fn broken(what: &str, error: JoinError) -> Error {
    match error.try_into_panic() {
        Ok(panic) => panicked(what, panic.as_ref()),
        Err(error) => Error::internal(format!("{what} didn't come to its end")).because(error),
    }
}
