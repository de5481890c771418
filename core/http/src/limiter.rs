//! Rates of requests, common to all clients of this process.

use std::collections::HashMap;
use std::sync::{LazyLock, Mutex, PoisonError};
use std::time::{Duration, Instant};

/// When the next request of a name to a host may be made.
static NEXT: LazyLock<Mutex<HashMap<(String, String), Instant>>> = LazyLock::new(Mutex::default);

/// Books the next time for a request of this name to this host: at most `per_second` of them, evenly
/// spaced, in the order in which they ask (a bucket that holds one token). A rate that is none is no
/// limit. The time is used up even if the request isn't made.
pub(crate) fn book(host: &str, name: &str, per_second: f64, now: Instant) -> Instant {
    let space = if per_second > 0.0 {
        1.0 / per_second
    } else {
        0.0
    };
    let Ok(space) = Duration::try_from_secs_f64(space) else {
        return now;
    };
    let mut next = NEXT.lock().unwrap_or_else(PoisonError::into_inner);
    // What is past holds nobody back.
    if next.len() > 1_000 {
        next.retain(|_, next| *next > now);
    }
    let booked = next
        .entry((host.to_owned(), name.to_owned()))
        .or_insert(now);
    let mine = (*booked).max(now);
    *booked = mine.checked_add(space).unwrap_or(mine);
    mine
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn requests_are_evenly_spaced_per_host_and_name() {
        let now = Instant::now();
        let waits = |host, name, rate| {
            (0..3)
                .map(|_| (book(host, name, rate, now) - now).as_millis())
                .collect::<Vec<_>>()
        };
        assert_eq!(waits("spaced.test", "a", 10.0), [0, 100, 200]);
        assert_eq!(waits("spaced.test", "b", 10.0), [0, 100, 200]);
        assert_eq!(waits("spaced.test", "a", 20.0), [300, 350, 400]);
        assert_eq!(waits("other.test", "a", 0.1), [0, 10_000, 20_000]);
    }

    #[test]
    fn a_time_that_was_not_used_is_not_saved() {
        let now = Instant::now();
        let later = now + Duration::from_secs(60);
        book("idle.test", "", 1.0, now);
        assert_eq!(book("idle.test", "", 1.0, later), later);
        assert_eq!(
            book("idle.test", "", 1.0, later) - later,
            Duration::from_secs(1)
        );
    }

    #[test]
    fn what_is_no_rate_is_no_limit() {
        let now = Instant::now();
        for rate in [0.0, -1.0, f64::NAN, f64::INFINITY, f64::MIN_POSITIVE] {
            book("unlimited.test", "", rate, now);
            assert_eq!(book("unlimited.test", "", rate, now), now, "{rate}");
        }
    }
}
