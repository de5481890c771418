//! Checkpoints that sources ask for: an executor says when what a request covers is handed out, the
//! coordinator joins what is asked for within the least interval.

use std::time::Duration;

use tokio::time::Instant;

use super::queue::{Look, Queue};

/// What was asked for in an executor and isn't in a cut. A request covers what was on the queue when
/// it came.
#[derive(Debug, Default)]
pub(crate) struct Asked {
    /// How far the queue has to be handed out for the first request, and for the last one.
    first: Option<u64>,
    last: Option<u64>,
    told: bool,
}

impl Asked {
    pub(crate) fn came(&mut self, queue: &Queue) {
        let tail = queue.tail();
        self.first.get_or_insert(tail);
        self.last = Some(tail);
    }

    /// How far the queue is still to be handed out.
    pub(crate) fn wait_for(&self, queue: &Queue) -> Option<u64> {
        let first = self.first.filter(|_| !self.told);
        first.filter(|number| !queue.is_past(*number))
    }

    /// Whether the coordinator is to be told now, once for each cut.
    pub(crate) fn is_news(&mut self, queue: &Queue, look: Look) -> bool {
        let is_past = self.first.is_some_and(|number| queue.is_past(number));
        if self.told || !is_past {
            return false;
        }
        if !look.moved && !look.in_the_middle {
            // There is nothing to cut: all is committed or on its way.
            self.go_on(queue);
        }
        self.told = look.moved;
        self.told
    }

    /// A cut was made.
    pub(crate) fn was_cut(&mut self, queue: &Queue) {
        self.told = false;
        self.go_on(queue);
    }

    fn go_on(&mut self, queue: &Queue) {
        self.first = self.last.take().filter(|number| !queue.is_past(*number));
        self.last = self.first;
    }
}

/// What was asked for in any executor and isn't cut yet.
#[derive(Debug)]
pub(crate) struct CutRequests {
    min_interval: Duration,
    last_cut: Option<Instant>,
    wanted: bool,
}

impl CutRequests {
    pub(crate) fn new(min_interval: Duration) -> Self {
        Self {
            min_interval,
            last_cut: None,
            wanted: false,
        }
    }

    pub(crate) fn came(&mut self) {
        self.wanted = true;
    }

    /// When the next cut may be made, if one is asked for.
    pub(crate) fn at(&self) -> Option<Instant> {
        let last = self.last_cut.filter(|_| self.wanted);
        last.map(|last| last + self.min_interval)
    }

    /// Whether a cut is to be made now.
    pub(crate) fn are_due(&self, now: Instant) -> bool {
        self.wanted && self.at().is_none_or(|at| at <= now)
    }

    /// A cut was made: it covers what was asked for.
    pub(crate) fn were_met(&mut self) {
        self.wanted = false;
    }

    /// An epoch ends with it.
    pub(crate) fn was_cut(&mut self) {
        self.last_cut = Some(Instant::now());
    }
}
