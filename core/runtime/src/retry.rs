//! What is done about an error, by its kind.

use std::time::Duration;

use backon::{BackoffBuilder, ExponentialBuilder};
use tidegate_core::{Cancel, Error, ErrorKind, Result};

/// What is done about an error.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Action {
    /// Try again, after this time if one was told, or else after the usual backoff.
    Retry(Option<Duration>),
    /// Give up.
    Fail,
}

/// The longest that is waited for a server that says when it may be asked again: quotas are given anew
/// each day at the latest.
pub const LONGEST_WAIT: Duration = Duration::from_secs(25 * 60 * 60);

/// The one place where an error's kind becomes an action.
pub fn action(error: &Error) -> Action {
    match error.kind() {
        ErrorKind::Transient => Action::Retry(None),
        // A server may say the year 9999: what is longer than a day's quota is no wait.
        ErrorKind::RateLimited { wait } if wait > Some(LONGEST_WAIT) => Action::Fail,
        ErrorKind::RateLimited { wait } => Action::Retry(wait),
        _ => Action::Fail,
    }
}

/// The usual backoff: 0.2 s, doubling to 30 s, with jitter.
pub(crate) fn backoff(tries: u32) -> impl Iterator<Item = Duration> + Send {
    ExponentialBuilder::default()
        .with_min_delay(Duration::from_millis(200))
        .with_max_delay(Duration::from_secs(30))
        .with_factor(2.0)
        .with_jitter()
        .with_max_times(usize::try_from(tries).unwrap_or(usize::MAX))
        .build()
}

/// Does something again while its error is a passing one.
pub(crate) async fn passing<T, F: Future<Output = Result<T>>>(
    tries: u32,
    what: &str,
    work: impl FnMut() -> F,
) -> Result<T> {
    passing_until(&Cancel::never(), tries, what, work).await
}

/// The same, but not after `cancel`: then the wait for the next try ends with the last error.
pub(crate) async fn passing_until<T, F: Future<Output = Result<T>>>(
    cancel: &Cancel,
    tries: u32,
    what: &str,
    mut work: impl FnMut() -> F,
) -> Result<T> {
    let mut delays = backoff(tries);
    loop {
        let error = match work().await {
            Ok(value) => return Ok(value),
            Err(error) => error,
        };
        let (Action::Retry(told), Some(delay)) = (action(&error), delays.next()) else {
            return Err(error);
        };
        let wait = told.unwrap_or(delay);
        tracing::warn!(component = what, %error, wait = tidegate_core::Span(wait).rounded(), "trying again");
        tokio::select! {
            biased;
            () = cancel.cancelled() => return Err(error),
            () = tokio::time::sleep(wait) => {}
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_wait_of_years_is_no_wait() {
        let limited = |wait| {
            let kind = ErrorKind::RateLimited { wait };
            action(&Error::new(kind, "too many requests"))
        };
        let day = Duration::from_secs(24 * 60 * 60);
        assert_eq!(limited(Some(day)), Action::Retry(Some(day)));
        assert_eq!(
            limited(Some(Duration::from_secs(251_606_171_765))),
            Action::Fail
        );
        assert_eq!(limited(None), Action::Retry(None));
    }
}
