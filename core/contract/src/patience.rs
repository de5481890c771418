//! Retries while others hold a lock.

use std::thread::sleep;
use std::time::{Duration, Instant};

/// Retries `work` while `is_busy` says of its error that others hold a lock, up to `patience`.
///
/// For threads that may block. SQLite needs it beside its own `busy_timeout`: of two that turn a new
/// database to WAL, one is refused at once.
pub fn patiently<T, E>(
    patience: Duration,
    is_busy: impl Fn(&E) -> bool,
    mut work: impl FnMut() -> Result<T, E>,
) -> Result<T, E> {
    let deadline = Instant::now() + patience;
    loop {
        match work() {
            Err(error) if is_busy(&error) && Instant::now() < deadline => {
                sleep(Duration::from_millis(10));
            }
            result => return result,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_what_is_busy_is_retried() {
        let mut answers = [Err("busy"), Err("busy"), Ok(3)].into_iter();
        let busy = |error: &&str| *error == "busy";
        let long = Duration::from_secs(60);
        assert_eq!(patiently(long, busy, || answers.next().unwrap()), Ok(3));
        let mut answers = [Err("busy"), Err("broken"), Ok(3)].into_iter();
        assert_eq!(
            patiently(long, busy, || answers.next().unwrap()),
            Err("broken")
        );
        let mut answers = [Err("busy"), Ok(3)].into_iter();
        assert_eq!(
            patiently(Duration::ZERO, busy, || answers.next().unwrap()),
            Err("busy")
        );
    }
}
