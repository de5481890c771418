//! A panic as an error that says what panicked, where, and with which words.

use std::any::Any;
use std::future::Future;
use std::panic::{AssertUnwindSafe, PanicHookInfo};
use std::sync::{Mutex, PoisonError};

use futures::{FutureExt, Stream, StreamExt};

use crate::{Error, Result};

/// What panicked last and where, newest at the end: a panic often reaches us from another thread.
static PLACES: Mutex<Vec<(String, String)>> = Mutex::new(Vec::new());

/// Runs a component's code, or a library's; `what` it is, if it panics: "a writer".
///
/// Errors: `Internal` for a panic.
pub fn guarded<T>(what: &str, call: impl FnOnce() -> Result<T>) -> Result<T> {
    std::panic::catch_unwind(AssertUnwindSafe(call))
        .unwrap_or_else(|panic| Err(panicked(what, panic.as_ref())))
}

/// The same for what waits.
pub async fn guarded_async<T>(what: &str, call: impl Future<Output = Result<T>>) -> Result<T> {
    let ended = AssertUnwindSafe(call).catch_unwind().await;
    ended.unwrap_or_else(|panic| Err(panicked(what, panic.as_ref())))
}

/// The same for what gives one thing after another: its panic is an error, and its end.
pub fn guarded_stream<T>(
    what: &'static str,
    stream: impl Stream<Item = Result<T>>,
) -> impl Stream<Item = Result<T>> {
    let items = AssertUnwindSafe(stream).catch_unwind();
    items.map(move |item| item.unwrap_or_else(|panic| Err(panicked(what, panic.as_ref()))))
}

/// The error of a panic that was caught by other means: of a task that was joined.
pub fn panicked(what: &str, panic: &(dyn Any + Send)) -> Error {
    let error = Error::internal(format!("{what} panicked"));
    let Some(said) = said(panic) else {
        return error.hint(HINT);
    };
    let place = {
        let places = PLACES.lock().unwrap_or_else(PoisonError::into_inner);
        let found = places.iter().rev().find(|(text, _)| *text == said);
        found.map(|(_, place)| place.clone())
    };
    let error = error.with("panic", said);
    match place {
        Some(place) => error.with("place", place),
        None => error,
    }
    .hint(HINT)
}

const HINT: &str = "this is a bug, of the component or of a library that it uses; RUST_BACKTRACE=1 shows where it came from";

/// Keeps where a panic was, for the error that is made of it; to be called in a program's panic hook.
pub fn remember_panic(info: &PanicHookInfo<'_>) {
    let (Some(said), Some(place)) = (said(info.payload()), info.location()) else {
        return;
    };
    let mut places = PLACES.lock().unwrap_or_else(PoisonError::into_inner);
    if places.len() == 16 {
        places.remove(0);
    }
    places.push((said.to_owned(), place.to_string()));
}

fn said(panic: &(dyn Any + Send)) -> Option<&str> {
    panic
        .downcast_ref::<&str>()
        .copied()
        .or_else(|| panic.downcast_ref::<String>().map(String::as_str))
}
