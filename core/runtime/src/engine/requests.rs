//! Checkpoints that sources ask for.

use std::time::Duration;

use tokio::time::Instant;

use super::queue::Queue;

/// What was asked for and not yet made. A request covers what was on the queue when it came.
#[derive(Debug)]
pub(crate) struct CutRequests {
    min_interval: Duration,
    last_cut: Option<Instant>,
    /// How far the queue has to be handed out for the first request, and for the last one.
    first: Option<u64>,
    last: Option<u64>,
}

impl CutRequests {
    pub(crate) fn new(min_interval: Duration) -> Self {
        Self {
            min_interval,
            last_cut: None,
            first: None,
            last: None,
        }
    }

    pub(crate) fn came(&mut self, queue: &Queue) {
        let tail = queue.tail();
        self.first.get_or_insert(tail);
        self.last = Some(tail);
    }

    /// How far the queue is still to be handed out.
    pub(crate) fn wait_for(&self, queue: &Queue) -> Option<u64> {
        self.first.filter(|number| !queue.is_past(*number))
    }

    /// When the next cut may be made, if one is asked for.
    pub(crate) fn at(&self) -> Option<Instant> {
        self.first?;
        Some(self.last_cut? + self.min_interval)
    }

    /// Whether a cut is to be made now.
    pub(crate) fn are_due(&self, queue: &Queue, now: Instant) -> bool {
        let may = self.at().is_none_or(|at| at <= now);
        may && self.first.is_some_and(|number| queue.is_past(number))
    }

    /// An epoch was cut; or there was nothing to cut, because all is committed or on its way.
    pub(crate) fn was_cut(&mut self, queue: &Queue, made: bool) {
        if made {
            self.last_cut = Some(Instant::now());
        }
        self.first = self.last.take().filter(|number| !queue.is_past(*number));
        self.last = self.first;
    }
}
