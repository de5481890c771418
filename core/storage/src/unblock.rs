//! Keeping blocking calls off async threads.

use tidegate_core::{Error, Result};

/// Runs `call` where it may block: on tokio's blocking pool, or right here on a thread that
/// belongs to no runtime (a CPU thread that waits for this anyway).
pub(crate) async fn unblock<T, F>(call: F) -> Result<T>
where
    T: Send + 'static,
    F: FnOnce() -> Result<T> + Send + 'static,
{
    match tokio::runtime::Handle::try_current() {
        Err(_) => call(),
        Ok(runtime) => runtime
            .spawn_blocking(call)
            .await
            .map_err(|error| Error::internal("a file operation did not end").because(error))?,
    }
}
