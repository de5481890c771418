//! What a query took.

use std::time::Duration;

use aws_sdk_athena::types::QueryExecutionStatistics;

/// A query that reads anything is charged for at least so many bytes, and for whole megabytes
/// (<https://aws.amazon.com/athena/pricing/>).
const LEAST_BILLED: u64 = 10 * MEGABYTE;

const MEGABYTE: u64 = 1 << 20;
const TERABYTE: f64 = (1_u64 << 40) as f64;

/// What a query took, as Athena tells it.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Statistics {
    /// Bytes that were read from the tables: what Athena charges for.
    pub bytes_scanned: u64,
    /// How long it waited for resources.
    pub queued: Duration,
    /// How long it was planned, a part of `executing`.
    pub planning: Duration,
    /// How long the engine worked.
    pub executing: Duration,
    /// All of it, with what Athena does before and after.
    pub total: Duration,
    /// Whether an earlier result was given again.
    pub reused: bool,
}

impl Statistics {
    pub(crate) fn of(told: &QueryExecutionStatistics) -> Self {
        let count = |told: Option<i64>| told.and_then(|n| u64::try_from(n).ok()).unwrap_or(0);
        let time = |told| Duration::from_millis(count(told));
        Self {
            bytes_scanned: count(told.data_scanned_in_bytes()),
            queued: time(told.query_queue_time_in_millis()),
            planning: time(told.query_planning_time_in_millis()),
            executing: time(told.engine_execution_time_in_millis()),
            total: time(told.total_execution_time_in_millis()),
            reused: told
                .result_reuse_information()
                .is_some_and(|reuse| reuse.reused_previous_result()),
        }
    }

    /// The bytes that are charged for: rounded up to a megabyte, at least 10 MB; nothing if nothing
    /// was scanned. An estimate: a workgroup with reserved capacity is charged by time.
    pub fn billed_bytes(&self) -> u64 {
        match self.bytes_scanned {
            0 => 0,
            bytes => (bytes.div_ceil(MEGABYTE) * MEGABYTE).max(LEAST_BILLED),
        }
    }

    /// An estimate of the cost, in the currency of the price for a terabyte (2⁴⁰ bytes).
    pub fn cost(&self, price_per_tb: f64) -> f64 {
        // Exact up to 8 PiB.
        self.billed_bytes() as f64 / TERABYTE * price_per_tb
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn scanned(bytes_scanned: u64) -> Statistics {
        Statistics {
            bytes_scanned,
            ..Statistics::default()
        }
    }

    #[test]
    fn bytes_are_billed_in_megabytes_and_at_least_ten() {
        assert_eq!(scanned(0).billed_bytes(), 0);
        assert_eq!(scanned(1).billed_bytes(), 10 << 20);
        assert_eq!(scanned(10 << 20).billed_bytes(), 10 << 20);
        assert_eq!(scanned((10 << 20) + 1).billed_bytes(), 11 << 20);
        let cost = scanned(1 << 39).cost(5.0);
        assert!((cost - 2.5).abs() < 1e-9, "{cost}");
    }
}
