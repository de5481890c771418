//! Whether what failed is tried again, and when.
//!
//! What an error of the server means is said by [`crate::wire`], and by whoever knows more because
//! of what was being done; what may pass by itself is then `Transient`.

use std::time::Duration;

use tidegate_core::{Error, ErrorKind, Metrics};

/// How often it may fail with nothing gained in between.
const ATTEMPTS: u32 = 6;
const FIRST_WAIT: Duration = Duration::from_millis(200);
const LONGEST_WAIT: Duration = Duration::from_secs(10);

/// Whether an error may pass by itself.
pub(crate) fn passes(error: &Error) -> bool {
    error.kind() == ErrorKind::Transient
}

/// How often something failed since it last gained anything.
#[derive(Debug, Default)]
pub(crate) struct Retries(u32);

impl Retries {
    /// Counts a failure. Gives how long to wait before it is tried again; none if it isn't.
    pub(crate) fn after(&mut self, error: &Error, metrics: &Metrics) -> Option<Duration> {
        if !passes(error) || self.0 >= ATTEMPTS {
            return None;
        }
        let wait = FIRST_WAIT.saturating_mul(1 << self.0).min(LONGEST_WAIT);
        self.0 += 1;
        metrics.retries(1);
        Some(wait)
    }

    pub(crate) fn gained(&mut self) {
        self.0 = 0;
    }

    /// Whether this is not the first try.
    pub(crate) fn is_retry(&self) -> bool {
        self.0 > 0
    }
}
