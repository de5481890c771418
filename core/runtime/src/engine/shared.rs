//! What the parts of an attempt share.

use std::sync::{Arc, Mutex, PoisonError, RwLock, Weak};

use tidegate_core::{ComponentId, Error, Offset, Result};
use tokio::runtime::Handle;
use tokio::sync::mpsc;

use super::exchange::Writers;
use super::flow::EpochSet;
use super::gate::Gates;
use super::queue::{Closed, Queue, SplitKey};
use crate::graph::{Graph, Streaming, Surroundings};
use crate::state::Change;
use crate::stats::RunStats;

/// What the coordinator is told.
#[derive(Debug)]
pub(crate) enum Signal {
    /// A split's last event is on the queue; with the last position.
    Read(SplitKey, Option<Offset>),
    /// A source gives no more in this run: the rest is the next one's.
    Exhausted(Error),
    /// Something failed: [`Shared::cause`] tells what.
    Failed,
}

/// What the coordinator, readers, workers and finishers of one attempt share.
pub(crate) struct Shared {
    pub(crate) graph: Arc<Graph>,
    pub(crate) around: Surroundings,
    pub(crate) queue: Queue,
    pub(crate) stats: Arc<RunStats>,
    pub(crate) runtime: Handle,
    current: RwLock<Arc<EpochSet>>,
    /// The epoch that ends, whose stages may still have rows written.
    before: Mutex<Weak<EpochSet>>,
    signals: mpsc::UnboundedSender<Signal>,
    failure: Failure,
    /// Which stages may begin before the run's only epoch ends.
    pub(crate) stages: Streaming,
}

impl Shared {
    pub(crate) fn new(
        graph: Arc<Graph>,
        around: Surroundings,
        stats: Arc<RunStats>,
        first: EpochSet,
        full: Option<u64>,
    ) -> (Arc<Self>, mpsc::UnboundedReceiver<Signal>) {
        let (signals, receiver) = mpsc::unbounded_channel();
        let workers = around.runtime.workers();
        let origins = graph.sinks().any(|(_, _, sink)| sink.wants_origins());
        let capacity = around.runtime.queue.as_usize();
        let stages = Streaming::of(&graph);
        let queue = Queue::new(capacity, full, workers, graph.ordered())
            .with_sinks(Gates::new(&graph, stages.inputs()), origins);
        let shared = Self {
            stages,
            graph,
            around,
            queue,
            stats,
            runtime: Handle::current(),
            current: RwLock::new(Arc::new(first)),
            before: Mutex::default(),
            signals,
            failure: Failure::default(),
        };
        (Arc::new(shared), receiver)
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
        EpochSet::new(
            &self.graph,
            epoch,
            self.around.runtime.workers(),
            self.around.runtime.memory.0,
            &self.around.scratch.join("stages"),
        )
    }

    /// Changes the pipeline's state, if this process still may.
    pub(crate) async fn apply(&self, change: Change) -> Result<()> {
        let Some((state, fence)) = &self.around.state else {
            return Err(Error::internal("a run has no state"));
        };
        state.apply(&self.around.pipeline, *fence, change).await
    }

    pub(crate) fn tell(&self, signal: Signal) {
        // The coordinator is gone only when the attempt is over.
        let _ = self.signals.send(signal);
    }

    /// Ends the attempt; the first error is the one that counts.
    pub(crate) fn fail(&self, error: Error) {
        self.failure.tell(error);
        self.close();
        self.tell(Signal::Failed);
    }

    /// Lets nobody wait for anything any more.
    pub(crate) fn close(&self) {
        self.queue.close();
        let before = self.before.lock().unwrap_or_else(PoisonError::into_inner);
        for set in before.upgrade().into_iter().chain([self.current()]) {
            set.writers.values().for_each(Writers::close);
        }
    }

    /// Why the attempt ended, if it didn't by `error` alone.
    pub(crate) fn cause(&self, error: Error) -> Error {
        self.failure.take().unwrap_or(error)
    }
}

/// What a part says that finds everything closed: it isn't the cause.
pub(crate) fn closed(_: Closed) -> Error {
    Error::internal("the run has ended")
}

/// The first error of an attempt. What fails after it mostly fails because of it: once it is taken,
/// nothing comes in its place.
#[derive(Debug, Default)]
struct Failure(Mutex<Told>);

#[derive(Debug, Default)]
enum Told {
    #[default]
    Nothing,
    Error(Error),
    Taken,
}

impl Failure {
    fn tell(&self, error: Error) {
        let mut told = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        if matches!(*told, Told::Nothing) {
            *told = Told::Error(error);
        }
    }

    fn take(&self) -> Option<Error> {
        let mut told = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        match std::mem::replace(&mut *told, Told::Taken) {
            Told::Error(error) => Some(error),
            Told::Nothing => {
                *told = Told::Nothing;
                None
            }
            Told::Taken => None,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_follows_from_the_first_error_never_takes_its_place() {
        let failure = Failure::default();
        assert!(failure.take().is_none());
        failure.tell(Error::transient("the server doesn't answer"));
        failure.tell(Error::internal("the run has ended"));
        let first = failure.take().expect("the first");
        assert_eq!(first.message(), "the server doesn't answer");
        failure.tell(Error::internal("the run has ended"));
        assert!(failure.take().is_none());
    }
}
