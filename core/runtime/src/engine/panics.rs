//! A component's panic as an error that says what it said.

use std::any::Any;
use std::panic::AssertUnwindSafe;

use futures::FutureExt;
use tidegate_core::{Error, Result};

/// Runs a component's code; `what` it is, if it panics: "a writer".
pub(crate) fn guarded<T>(what: &str, call: impl FnOnce() -> Result<T>) -> Result<T> {
    std::panic::catch_unwind(AssertUnwindSafe(call))
        .unwrap_or_else(|panic| Err(panicked(what, panic.as_ref())))
}

/// The same for what waits.
pub(crate) async fn guarded_async<T>(
    what: &str,
    call: impl Future<Output = Result<T>>,
) -> Result<T> {
    let ended = AssertUnwindSafe(call).catch_unwind().await;
    ended.unwrap_or_else(|panic| Err(panicked(what, panic.as_ref())))
}

fn panicked(what: &str, panic: &(dyn Any + Send)) -> Error {
    let told = panic
        .downcast_ref::<&str>()
        .copied()
        .or_else(|| panic.downcast_ref::<String>().map(String::as_str));
    let error = Error::internal(format!("{what} panicked"));
    match told {
        Some(told) => error.with("panic", told),
        None => error,
    }
    .hint("this is a bug of the component")
}
