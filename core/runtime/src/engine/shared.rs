//! What the parts of an executor share.

use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, PoisonError, RwLock, Weak};

use tidegate_core::{ByteSize, ComponentId, Error, Result};
use tokio::runtime::Handle;

use super::exchange::Writers;
use super::flow::EpochSet;
use super::gate::Gates;
use super::message::{Said, Tell};
use super::queue::{Closed, Queue};
use crate::graph::{Graph, Streaming, Surroundings};
use crate::stats::RunStats;

/// What an executor's readers, workers and writers share in an attempt.
pub(crate) struct Shared {
    pub(crate) graph: Arc<Graph>,
    pub(crate) around: Surroundings,
    pub(crate) queue: Queue,
    pub(crate) stats: Arc<RunStats>,
    pub(crate) runtime: Handle,
    current: RwLock<Arc<EpochSet>>,
    /// The epoch that ends, whose stages may still have rows written.
    before: Mutex<Weak<EpochSet>>,
    /// How many bytes an epoch may have here before it is to be cut.
    pub(crate) full: Option<u64>,
    /// Which stages may begin before the run's only epoch ends.
    pub(crate) stages: Streaming,
    tell: Tell,
    /// The first error was told.
    failed: AtomicBool,
}

impl Shared {
    pub(crate) fn new(
        graph: Arc<Graph>,
        around: Surroundings,
        stats: Arc<RunStats>,
        first: EpochSet,
        full: Option<u64>,
        tell: Tell,
    ) -> Self {
        let workers = around.runtime.workers();
        let origins = graph.sinks().any(|(_, _, sink)| sink.wants_origins());
        let capacity = ByteSize(graph.shares.queue).as_usize();
        let stages = Streaming::of(&graph);
        let queue = Queue::new(capacity, full, workers, graph.ordered())
            .with_sinks(Gates::new(&graph, stages.inputs()), origins);
        Self {
            stages,
            graph,
            around,
            queue,
            stats,
            runtime: Handle::current(),
            current: RwLock::new(Arc::new(first)),
            before: Mutex::default(),
            full,
            tell,
            failed: AtomicBool::new(false),
        }
    }

    pub(crate) fn id(&self, node: usize) -> &ComponentId {
        &self.graph.nodes[node].spec.id
    }

    /// The epoch that is being filled.
    pub(crate) fn current(&self) -> Arc<EpochSet> {
        Arc::clone(&self.current.read().unwrap_or_else(PoisonError::into_inner))
    }

    /// Begins the next epoch; returns the one that ends. The queue must be quiet.
    pub(crate) fn turn(&self, next: EpochSet) -> Arc<EpochSet> {
        let mut current = self.current.write().unwrap_or_else(PoisonError::into_inner);
        let before = std::mem::replace(&mut *current, Arc::new(next));
        *self.before.lock().unwrap_or_else(PoisonError::into_inner) = Arc::downgrade(&before);
        before
    }

    pub(crate) fn new_set(&self, epoch: tidegate_core::Epoch) -> Result<EpochSet> {
        EpochSet::new(&self.graph, epoch, &self.around)
    }

    pub(crate) fn tell(&self, said: Said) {
        (self.tell)(said);
    }

    /// Ends the attempt. What fails after the first error mostly fails because of it, and isn't told.
    pub(crate) fn fail(&self, error: Error) {
        if !self.failed.swap(true, Ordering::AcqRel) {
            self.tell(Said::Failed(error));
        }
        self.close();
    }

    /// Lets nobody wait for anything any more.
    pub(crate) fn close(&self) {
        self.queue.close();
        let before = self.before.lock().unwrap_or_else(PoisonError::into_inner);
        for set in before.upgrade().into_iter().chain([self.current()]) {
            set.writers.values().for_each(Writers::close);
        }
    }
}

/// What a part says that finds everything closed: it isn't the cause.
pub(crate) fn closed(_: Closed) -> Error {
    Error::internal("the run has ended")
}
