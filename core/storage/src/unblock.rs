//! Keeping blocking calls off async threads.

use tidegate_core::{Error, Result};
use tokio::task::JoinError;

/// Runs `call` where it may block: on tokio's blocking pool, or right here on a thread that
/// belongs to no runtime (a CPU thread that waits for this anyway).
pub(crate) async fn unblock<T, F>(call: F) -> Result<T>
where
    T: Send + 'static,
    F: FnOnce() -> Result<T> + Send + 'static,
{
    let ended = aside(call).await;
    ended.map_err(|error| Error::internal("a file operation did not end").because(error))?
}

/// The same for a call that fails otherwise.
pub(crate) async fn aside<T, F>(call: F) -> std::result::Result<T, JoinError>
where
    T: Send + 'static,
    F: FnOnce() -> T + Send + 'static,
{
    match tokio::runtime::Handle::try_current() {
        Err(_) => Ok(call()),
        Ok(runtime) => runtime.spawn_blocking(call).await,
    }
}
