//! An attempt's life: what it is made of, how it begins, and how everything in it ends.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::thread::JoinHandle as Thread;
use std::time::Duration;

use futures::future::BoxFuture;
use tidegate_core::{
    Acknowledged, Canceller, ComponentId, Epoch, Error, ErrorKind, Offset, PipelineOptions,
    Prepared, Result, STACK_SIZE, SchemaChange, SplitId,
};
use tokio::runtime::Runtime;
use tokio::sync::{mpsc, watch};
use tokio::task::JoinHandle;
use tokio::time::Instant;

use super::acknowledge::Acknowledgements;
use super::asking::Asking;
use super::coordinate::{Leaving, Made};
use super::finish::{Ended, abandon};
use super::queue::{Closed, Cut, SplitKey};
use super::requests::CutRequests;
use super::shared::{Shared, Signal};
use super::splits::SourceSplits;
use super::worker;
use crate::graph::{Graph, Surroundings};
use crate::state::{Change, PipelineState, SourceState};
use crate::stats::RunStats;

/// How an attempt ended without an error.
#[derive(Debug)]
pub(crate) enum Outcome {
    /// All input is committed.
    Completed,
    /// A stop was asked for, or a source is `exhausted`; what was read until then is committed, if
    /// `committed`.
    Stopped {
        committed: bool,
        exhausted: Option<Error>,
    },
    /// A stream's schema changed: what is committed stays, and the next attempt goes on. With the
    /// error that told it, if it was found too late to commit what came before.
    SchemaChanged(Option<Error>),
}

/// The least number of splits of a source that are read at once: most wait for the network.
const FEWEST_READERS: usize = 4;

/// The least time between two checkpoints that sources ask for.
const LEAST_INTERVAL: Duration = Duration::from_millis(100);

/// See the module; what it does is in `coordinate.rs`.
pub(crate) struct Attempt {
    pub(super) shared: Arc<Shared>,
    pub(super) signals: mpsc::UnboundedReceiver<Signal>,
    pub(super) options: PipelineOptions,
    pub(super) interval: Duration,
    pub(super) sources: Vec<SourceSplits>,
    /// Sources whose plans are forgotten before anything is read: the run starts over as a whole.
    forgotten: Vec<ComponentId>,
    pub(super) asking: Asking,
    pub(super) splits: usize,
    pub(super) epoch: Epoch,
    /// When it was decided last.
    pub(super) now: Instant,
    pub(super) cut_at: Instant,
    pub(super) requests: CutRequests,
    /// The cut that is being made.
    pub(super) cutting: Option<BoxFuture<'static, Result<Made, Closed>>>,
    /// A cut that is made, and waits for the end of the epoch before.
    pub(super) cut: Option<Cut>,
    pub(super) ending: Option<JoinHandle<Result<Ended>>>,
    pub(super) leaving: Option<Leaving>,
    /// The last cut is made.
    pub(super) left: bool,
    pub(super) stopped: bool,
    pub(super) kept: BTreeMap<ComponentId, Vec<Prepared>>,
    pub(super) unacknowledged: Acknowledgements,
    pub(super) remind_at: Option<Instant>,
    /// Splits that are committed as finished, of which their source couldn't be told yet.
    pub(super) unheard: Vec<(SplitKey, SplitId, Option<Offset>)>,
    workers: Vec<Thread<()>>,
    pub(super) cpu: Option<Runtime>,
    pub(super) bounded: bool,
    /// Why a source gives no more in this run.
    pub(super) exhausted: Option<Error>,
    canceller: Option<Canceller>,
}

impl Attempt {
    /// Prepares an attempt that goes on from `state`. Nothing is read yet. `canceller` is the hand
    /// on what `around` has to say when to stop.
    pub(crate) fn new(
        graph: Graph,
        around: Surroundings,
        stats: Arc<RunStats>,
        mut state: PipelineState,
        options: &PipelineOptions,
        canceller: Canceller,
    ) -> Result<Self> {
        let bounded = graph.bounded();
        let workers = around.runtime.workers();
        let usual = (workers * 2).max(FEWEST_READERS);
        let starts_over = bounded
            && graph.has_gather()
            && state.run.as_ref().is_some_and(|run| !run.checkpointed);
        let mut forgotten = Vec::new();
        let mut sources = Vec::new();
        let mut unacknowledged = Acknowledgements::default();
        for (node, component, source, streams) in graph.sources() {
            let scans: Vec<_> = streams
                .iter()
                .filter_map(|stream| stream.scan.clone())
                .collect();
            if scans.is_empty() {
                continue;
            }
            let id = &component.spec.id;
            let mut state = state.sources.remove(id).unwrap_or_default();
            // What it planned may tell of splits as finished that are read again now.
            if starts_over && state.next.is_some() {
                forgotten.push(id.clone());
                state = SourceState {
                    plan: state.plan_before,
                    ..SourceState::default()
                };
            }
            for known in state.splits.iter() {
                if known.finished || known.offset.is_some() {
                    let committed = Acknowledged {
                        split: known.split.id.clone(),
                        offset: known.offset.clone(),
                        finished: known.finished,
                        rejected: 0,
                    };
                    unacknowledged.add(node, committed);
                }
            }
            sources.push(SourceSplits::new(
                node,
                Arc::clone(source),
                scans,
                state,
                usual,
            ));
        }
        let mut kept: BTreeMap<ComponentId, Vec<Prepared>> = BTreeMap::new();
        for (sink, value) in state.kept {
            kept.entry(sink).or_default().push(value);
        }
        let epoch = state.epoch.next();
        let default = Duration::from_secs(if bounded { 300 } else { 10 });
        let interval = options
            .checkpoint
            .interval
            .map_or(default, |interval| interval.0);
        let least = options.checkpoint.min_interval;
        let least = least.map_or(LEAST_INTERVAL, |least| least.0);
        let cpu = graph
            .has_gather()
            .then(|| {
                tokio::runtime::Builder::new_multi_thread()
                    .worker_threads(workers)
                    .thread_name("stage")
                    .thread_stack_size(STACK_SIZE)
                    .enable_all()
                    .build()
                    .map_err(|error| Error::io("the threads for SQL can't be started", error))
            })
            .transpose()?;
        let scratch = around.scratch.join("stages");
        let set =
            super::flow::EpochSet::new(&graph, epoch, workers, graph.shares.spools, &scratch)?;
        let full = options.checkpoint.bytes.map(|bytes| bytes.0);
        let (shared, signals) = Shared::new(Arc::new(graph), around, stats, set, full);
        Ok(Self {
            shared,
            signals,
            options: options.clone(),
            interval,
            sources,
            forgotten,
            asking: Asking::default(),
            splits: 0,
            epoch,
            now: Instant::now(),
            cut_at: Instant::now() + interval,
            requests: CutRequests::new(least),
            cutting: None,
            cut: None,
            ending: None,
            leaving: None,
            left: false,
            stopped: false,
            kept,
            unacknowledged,
            remind_at: None,
            unheard: Vec::new(),
            workers: Vec::new(),
            cpu,
            bounded,
            exhausted: None,
            canceller: Some(canceller),
        })
    }

    /// Runs to the end, a stop or an error. `stop` turns true when a stop is asked for.
    pub(crate) async fn run(mut self, mut stop: watch::Receiver<bool>) -> Result<Outcome> {
        let result = match self.begin().await {
            Ok(()) => self.coordinate(&mut stop).await,
            Err(error) => Err(error),
        };
        // The first error that a part reported is the cause; what the coordinator met may follow from it.
        let result = result.map_err(|error| self.shared.cause(error));
        let on_schema_change = self.options.on_schema_change;
        self.end().await;
        match result {
            Err(error) if error.kind() == ErrorKind::SchemaChanged => match on_schema_change {
                SchemaChange::Evolve => Ok(Outcome::SchemaChanged(Some(error))),
                SchemaChange::Fail => {
                    Err(error.hint("on_schema_change = \"evolve\" goes on with other columns"))
                }
            },
            Err(error) if error.kind() == ErrorKind::Exhausted => Ok(Outcome::Stopped {
                committed: false,
                exhausted: Some(error),
            }),
            result => result,
        }
    }

    async fn begin(&mut self) -> Result<()> {
        for source in std::mem::take(&mut self.forgotten) {
            self.shared.apply(Change::Replan { source }).await?;
        }
        self.workers = worker::start(&self.shared)?;
        if !self.unacknowledged.is_empty() {
            self.remind();
        }
        Ok(())
    }

    /// Ends every task and thread, and gives up what wasn't prepared. All are told before any is
    /// waited for.
    async fn end(mut self) {
        drop(self.canceller.take());
        self.shared.close();
        self.cutting = None;
        self.asking.abort();
        self.sources.iter().for_each(SourceSplits::abort);

        self.asking.ended().await;
        for source in &mut self.sources {
            source.ended().await;
        }
        if let Some(task) = self.ending.take() {
            // It may be in the middle of a commit, which must not be left to itself.
            let _ = task.await;
        }
        let workers = std::mem::take(&mut self.workers);
        let joined = tokio::task::spawn_blocking(move || {
            for worker in workers {
                // A worker's panic was reported by itself.
                let _ = worker.join();
            }
        });
        let _ = joined.await;
        if let Some(cpu) = self.cpu.take() {
            cpu.shutdown_background();
        }
        abandon(&self.shared.current()).await;
        self.shared.graph.release().await;
    }
}

impl Drop for Attempt {
    /// Where the run's future was dropped, nothing may linger.
    fn drop(&mut self) {
        self.shared.close();
        if let Some(cpu) = self.cpu.take() {
            cpu.shutdown_background();
        }
    }
}
