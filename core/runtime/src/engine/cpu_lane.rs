//! Writers that encode: on the threads that bring the rows.

use std::sync::atomic::{AtomicBool, AtomicU32, Ordering};
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::time::Instant;

use futures::FutureExt;
use tidegate_core::{CpuWriter, Error, Rejected, Result, SinkBatch, SinkEpoch, guarded};
use tokio::task::AbortHandle;

use super::exchange::Opening;
use super::gate::Place;

/// The CPU writers of one epoch of a sink.
pub(crate) struct CpuLane {
    most: usize,
    opened: AtomicU32,
    /// Writers that any row may go to and that no worker is using.
    idle: Mutex<Vec<Box<dyn CpuWriter>>>,
    freed: Condvar,
    closed: AtomicBool,
    /// Waits until writers may continue, with the gate shut.
    waiting: Arc<Mutex<Option<AbortHandle>>>,
    /// Writers by hash of a row's columns; the first of them where there may be only one.
    slots: Vec<Mutex<Option<Box<dyn CpuWriter>>>>,
}

impl CpuLane {
    /// With the epoch's first writer, and at most so many.
    pub(crate) fn new(first: Box<dyn CpuWriter>, most: usize) -> Self {
        Self {
            most,
            opened: AtomicU32::new(1),
            idle: Mutex::new(vec![first]),
            freed: Condvar::new(),
            closed: AtomicBool::new(false),
            waiting: Arc::default(),
            slots: (0..most).map(|_| Mutex::default()).collect(),
        }
    }

    /// How many slots rows are to be spread over.
    pub(crate) fn slots(&self) -> usize {
        self.most
    }

    /// Gives the batch to a writer that nobody uses.
    pub(crate) fn write(&self, opening: &Opening<'_>, batch: SinkBatch) -> Result<Rejected> {
        let mut writer = self.take_idle(opening)?;
        let result = run(opening, writer.as_mut(), batch);
        // A writer that failed goes back too: it is dropped with the others.
        self.idle().push(writer);
        self.freed.notify_one();
        result
    }

    /// Gives the batch to the one writer of a slot.
    pub(crate) fn write_slot(
        &self,
        opening: &Opening<'_>,
        slot: usize,
        batch: SinkBatch,
    ) -> Result<Rejected> {
        let mut place = self.slots[slot]
            .lock()
            .unwrap_or_else(PoisonError::into_inner);
        let writer = match &mut *place {
            Some(writer) => writer,
            empty => {
                let first = self.idle().pop();
                let writer = match first {
                    Some(first) => first,
                    None => self.open(opening)?,
                };
                empty.insert(writer)
            }
        };
        run(opening, writer.as_mut(), batch)
    }

    fn idle(&self) -> MutexGuard<'_, Vec<Box<dyn CpuWriter>>> {
        self.idle.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn open(&self, opening: &Opening<'_>) -> Result<Box<dyn CpuWriter>> {
        opening.cpu_writer(self.opened.fetch_add(1, Ordering::Relaxed))
    }

    /// A writer that nobody uses; a new one only if the others have enough to do.
    fn take_idle(&self, opening: &Opening<'_>) -> Result<Box<dyn CpuWriter>> {
        let mut idle = self.idle();
        loop {
            if self.closed.load(Ordering::Relaxed) {
                return Err(Error::internal("the run has ended"));
            }
            if let Some(writer) = idle.pop() {
                return Ok(writer);
            }
            let opened = self.opened.load(Ordering::Relaxed) as usize;
            if opened < self.most && opening.may_open(opened) {
                let index = self.opened.fetch_add(1, Ordering::Relaxed);
                drop(idle);
                return opening.cpu_writer(index);
            }
            idle = self
                .freed
                .wait(idle)
                .unwrap_or_else(PoisonError::into_inner);
        }
    }

    /// Shuts the sink's gate while much of what writers gave away is still under way.
    pub(crate) fn look(&self, opening: &Opening<'_>, epoch: &Arc<dyn SinkEpoch>) {
        // It may have timers.
        let inside = opening.shared.runtime.enter();
        if epoch.ready().now_or_never().is_some() {
            return;
        }
        drop(inside);
        let mut waiting = self.waiting.lock().unwrap_or_else(PoisonError::into_inner);
        if waiting.is_some() {
            return;
        }
        let (shared, sink) = (Arc::clone(opening.shared), opening.sink);
        let (epoch, slot) = (Arc::clone(epoch), Arc::clone(&self.waiting));
        shared.queue.shut(Place::Sink(sink));
        let task = opening.shared.runtime.spawn(async move {
            epoch.ready().await;
            *slot.lock().unwrap_or_else(PoisonError::into_inner) = None;
            shared.queue.open(Place::Sink(sink));
        });
        *waiting = Some(task.abort_handle());
    }

    /// Lets nobody wait for a writer any more.
    pub(crate) fn close(&self) {
        self.closed.store(true, Ordering::Relaxed);
        let waiting = self.waiting.lock();
        if let Some(task) = &*waiting.unwrap_or_else(PoisonError::into_inner) {
            task.abort();
        }
        let _idle = self.idle();
        self.freed.notify_all();
    }

    /// Takes all writers, to finish or drop them. Nobody writes any more.
    pub(crate) fn take(&self) -> Vec<Box<dyn CpuWriter>> {
        let mut writers = std::mem::take(&mut *self.idle());
        for slot in &self.slots {
            writers.extend(slot.lock().unwrap_or_else(PoisonError::into_inner).take());
        }
        writers
    }
}

fn run(opening: &Opening<'_>, writer: &mut dyn CpuWriter, batch: SinkBatch) -> Result<Rejected> {
    let began = Instant::now();
    let result = guarded("a writer", || writer.write(batch));
    opening.stats.add_busy(began);
    result
}
