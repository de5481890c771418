//! Writers that wait for others: on the I/O runtime, many at once, each with one write under way.
//!
//! Rows wait in groups. A group without an order is served by any writer; where an order is asked
//! for, each of its groups has one writer.

use std::collections::{HashMap, VecDeque};
use std::sync::atomic::{AtomicBool, AtomicU32, AtomicU64, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Instant;

use tidegate_core::{Error, InFlight, IoWriter, Result, SinkBatch, batch_bytes, guarded_async};
use tokio::sync::Notify;
use tokio::task::AbortHandle;

use super::exchange::Opening;
use super::flow::EpochSet;
use super::gate::Place;
use super::seal::carry;
use super::shared::Shared;
use crate::graph::NodeId;

/// The I/O writers of one epoch of a sink.
pub(crate) struct IoLane {
    sink: NodeId,
    limits: InFlight,
    groups: Vec<Mutex<Group>>,
    opened: AtomicU32,
    /// Writes that wait or are under way.
    pending: AtomicUsize,
    /// Tasks that serve groups.
    running: AtomicUsize,
    tasks: Mutex<HashMap<u64, AbortHandle>>,
    started: AtomicU64,
    /// Nothing is served any more: a writer failed, or the attempt is over.
    ended: AtomicBool,
    changed: Notify,
}

struct Group {
    waiting: VecDeque<(SinkBatch, u64)>,
    idle: Vec<Box<dyn IoWriter>>,
    busy: usize,
    most: usize,
}

/// Who serves a group, for as long as the task lives.
struct Seat {
    lane: Arc<IoLane>,
    task: u64,
}

impl Drop for Seat {
    fn drop(&mut self) {
        lock(&self.lane.tasks).remove(&self.task);
        self.lane.running.fetch_sub(1, Ordering::AcqRel);
        self.lane.changed.notify_waiters();
    }
}

impl IoLane {
    /// With the epoch's first writer. `groups` of so many writers each; more than one group only
    /// where rows have an order.
    pub(crate) fn new(
        sink: NodeId,
        limits: InFlight,
        first: Box<dyn IoWriter>,
        groups: usize,
        writers: usize,
    ) -> Self {
        let mut groups: Vec<_> = (0..groups.max(1))
            .map(|_| Group {
                waiting: VecDeque::new(),
                idle: Vec::new(),
                busy: 0,
                most: writers.max(1),
            })
            .collect();
        groups[0].idle.push(first);
        Self {
            sink,
            limits,
            groups: groups.into_iter().map(Mutex::new).collect(),
            opened: AtomicU32::new(1),
            pending: AtomicUsize::new(0),
            running: AtomicUsize::new(0),
            tasks: Mutex::default(),
            started: AtomicU64::new(0),
            ended: AtomicBool::new(false),
            changed: Notify::new(),
        }
    }

    pub(crate) fn groups(&self) -> usize {
        self.groups.len()
    }

    /// Takes a batch, and waits for nothing.
    pub(crate) fn push(
        self: &Arc<Self>,
        opening: &Opening<'_>,
        group: usize,
        batch: &SinkBatch,
    ) -> Result<()> {
        if self.ended.load(Ordering::Acquire) {
            return Err(Error::internal("the run has ended"));
        }
        let (all, most) = (batch.rows.num_rows(), self.limits.rows.max(1));
        let bytes = batch_bytes(&batch.rows) as u64;
        let mut from = 0;
        while from < all {
            let rows = most.min(all - from);
            // A slice isn't its whole buffer.
            let share = bytes * rows as u64 / all as u64;
            opening.shared.queue.enter(Place::Sink(self.sink), share);
            self.pending.fetch_add(1, Ordering::AcqRel);
            let mut waiting = self.group(group);
            waiting.waiting.push_back((batch.slice(from, rows), share));
            let opened = waiting.busy + waiting.idle.len();
            let more = !waiting.idle.is_empty()
                || (opened < waiting.most && (opened == 0 || opening.may_open(opened)));
            if more {
                waiting.busy += 1;
                let writer = waiting.idle.pop();
                drop(waiting);
                self.serve(opening.shared, opening.set, group, writer);
            }
            from += rows;
        }
        Ok(())
    }

    /// Starts a task that writes what waits in a group until nothing does.
    fn serve(
        self: &Arc<Self>,
        shared: &Arc<Shared>,
        set: &Arc<EpochSet>,
        group: usize,
        mut writer: Option<Box<dyn IoWriter>>,
    ) {
        self.running.fetch_add(1, Ordering::AcqRel);
        let task = self.started.fetch_add(1, Ordering::Relaxed);
        let seat = Seat {
            lane: Arc::clone(self),
            task,
        };
        let (shared, set) = (Arc::clone(shared), Arc::clone(set));
        let runtime = shared.runtime.clone();
        let served = runtime.spawn(async move {
            let lane = &seat.lane;
            while let Some((batch, bytes)) = lane.next(group, &mut writer) {
                let written = async {
                    let writer = match &mut writer {
                        Some(writer) => writer,
                        none => none.insert(lane.open(&shared, &set).await?),
                    };
                    let began = Instant::now();
                    let written = guarded_async("a writer", writer.write(batch)).await;
                    shared.graph.nodes[lane.sink].stats.add_busy(began);
                    carry(&shared, &set, lane.sink, written?).await
                };
                let written: Result<()> = written.await;
                shared.queue.leave(Place::Sink(lane.sink), bytes);
                if let Err(error) = written {
                    shared.fail(error.with("component", shared.id(lane.sink)));
                    lane.close();
                    return;
                }
                lane.pending.fetch_sub(1, Ordering::AcqRel);
            }
        });
        let mut tasks = lock(&self.tasks);
        // It may have ended already, and then it has looked for itself in vain.
        if !served.is_finished() {
            tasks.insert(task, served.abort_handle());
        }
    }

    /// The next batch of a group; without one, the writer goes back.
    fn next(
        &self,
        group: usize,
        writer: &mut Option<Box<dyn IoWriter>>,
    ) -> Option<(SinkBatch, u64)> {
        let mut group = self.group(group);
        let next = group.waiting.pop_front();
        if next.is_none() {
            group.busy -= 1;
            group.idle.extend(writer.take());
        }
        next
    }

    async fn open(&self, shared: &Shared, set: &EpochSet) -> Result<Box<dyn IoWriter>> {
        let index = self.opened.fetch_add(1, Ordering::Relaxed);
        let writers = set.writers.get(&self.sink);
        let writers = writers.ok_or_else(|| Error::internal("a sink has no writers"))?;
        writers.io_writer(shared.around.executor, index).await
    }

    fn group(&self, group: usize) -> MutexGuard<'_, Group> {
        lock(&self.groups[group])
    }

    /// Waits until all that was taken is written.
    pub(crate) async fn drained(&self) -> Result<()> {
        self.wait(|| {
            self.ended.load(Ordering::Acquire)
                || (self.pending.load(Ordering::Acquire) == 0
                    && self.running.load(Ordering::Acquire) == 0)
        })
        .await;
        match self.ended.load(Ordering::Acquire) {
            false => Ok(()),
            // The cause was told when it came.
            true => Err(Error::internal("the run has ended")),
        }
    }

    async fn wait(&self, condition: impl Fn() -> bool) {
        loop {
            let changed = self.changed.notified();
            tokio::pin!(changed);
            changed.as_mut().enable();
            if condition() {
                return;
            }
            changed.await;
        }
    }

    /// Ends what is under way.
    pub(crate) fn close(&self) {
        self.ended.store(true, Ordering::Release);
        for task in lock(&self.tasks).values() {
            task.abort();
        }
        self.changed.notify_waiters();
    }

    /// The same, and waits until nothing is.
    pub(crate) async fn closed(&self) {
        self.close();
        self.wait(|| self.running.load(Ordering::Acquire) == 0)
            .await;
    }

    /// Takes all writers, to finish or drop them. Nothing is served any more.
    pub(crate) fn take(&self) -> Vec<Box<dyn IoWriter>> {
        let groups = self.groups.iter();
        groups
            .flat_map(|group| std::mem::take(&mut lock(group).idle))
            .collect()
    }
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}
