//! How a running query's operators share its memory.

use std::fmt;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use datafusion::error::{DataFusionError, Result as DfResult};
use datafusion::execution::memory_pool::{MemoryLimit, MemoryPool, MemoryReservation};
use datafusion::physical_plan::ExecutionPlan;
use datafusion::physical_plan::aggregates::AggregateExec;
use datafusion::physical_plan::joins::NestedLoopJoinExec;
use datafusion::physical_plan::sorts::sort::SortExec;

/// A pool in which every operator that can go to disk has a share of its own from the start.
///
/// DataFusion's fair pool divides what is left among those that have begun, so that a late one (the
/// second side of a join by sorting) finds nothing. Here the number is known from the plan.
#[derive(Debug)]
pub(crate) struct Shares {
    limit: usize,
    /// The most that one operator that can go to disk may hold.
    share: AtomicUsize,
    used: AtomicUsize,
}

impl Shares {
    pub(crate) fn new(limit: usize) -> Self {
        Self {
            limit,
            share: AtomicUsize::new(limit),
            used: AtomicUsize::new(0),
        }
    }

    pub(crate) fn limit(&self) -> usize {
        self.limit
    }

    /// Divides five eighths of the memory among `spillers`. The rest is for those that can't go to
    /// disk, and for merging what did.
    pub(crate) fn divide(&self, spillers: usize) {
        let share = self.limit / 8 * 5 / spillers.max(1);
        self.share.store(share, Ordering::Relaxed);
    }

    fn refused(&self, reservation: &MemoryReservation, more: usize) -> DataFusionError {
        DataFusionError::ResourcesExhausted(format!(
            "{} holds {} bytes and needs {more} more; {} of {} bytes are in use",
            reservation.consumer().name(),
            reservation.size(),
            self.reserved(),
            self.limit,
        ))
    }
}

impl MemoryPool for Shares {
    fn name(&self) -> &'static str {
        "shares"
    }

    fn grow(&self, _: &MemoryReservation, more: usize) {
        self.used.fetch_add(more, Ordering::Relaxed);
    }

    fn shrink(&self, _: &MemoryReservation, less: usize) {
        self.used.fetch_sub(less, Ordering::Relaxed);
    }

    fn try_grow(&self, reservation: &MemoryReservation, more: usize) -> DfResult<()> {
        let own = reservation.size().saturating_add(more);
        if reservation.consumer().can_spill() && own > self.share.load(Ordering::Relaxed) {
            return Err(self.refused(reservation, more));
        }
        self.used
            .fetch_update(Ordering::Relaxed, Ordering::Relaxed, |used| {
                used.checked_add(more).filter(|sum| *sum <= self.limit)
            })
            .map(|_| ())
            .map_err(|_| self.refused(reservation, more))
    }

    fn reserved(&self) -> usize {
        self.used.load(Ordering::Relaxed)
    }

    fn memory_limit(&self) -> MemoryLimit {
        MemoryLimit::Finite(self.limit)
    }
}

impl fmt::Display for Shares {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "shares of {} bytes", self.limit)
    }
}

/// How many of a plan's operators, each partition for itself, fill memory until they go to disk.
pub(crate) fn spillers(plan: &Arc<dyn ExecutionPlan>) -> usize {
    let fills =
        plan.is::<SortExec>() || plan.is::<AggregateExec>() || plan.is::<NestedLoopJoinExec>();
    let own = match fills {
        true => plan.properties().partitioning.partition_count(),
        false => 0,
    };
    own + plan.children().into_iter().map(spillers).sum::<usize>()
}

#[cfg(test)]
mod tests {
    use datafusion::execution::memory_pool::MemoryConsumer;

    use super::*;

    #[test]
    fn a_late_operator_finds_its_share() {
        let shares = Arc::new(Shares::new(800));
        shares.divide(2);
        let pool = Arc::clone(&shares) as Arc<dyn MemoryPool>;
        let early = MemoryConsumer::new("early")
            .with_can_spill(true)
            .register(&pool);
        assert!(early.try_grow(250).is_ok());
        assert!(early.try_grow(1).is_err(), "more than its share");
        let late = MemoryConsumer::new("late")
            .with_can_spill(true)
            .register(&pool);
        assert!(late.try_grow(250).is_ok());
        // The rest is for one that can't go to disk.
        let join = MemoryConsumer::new("join").register(&pool);
        assert!(join.try_grow(300).is_ok());
        assert!(join.try_grow(1).is_err());
        drop(early);
        assert!(join.try_grow(250).is_ok());
        assert_eq!(shares.reserved(), 800);
    }
}
