//! An attempt's life: what it is made of, how it begins, and how everything in it ends.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::time::Duration;

use tidegate_core::{
    Acknowledged, ByteSize, Canceller, ComponentId, Epoch, Error, ErrorKind, Limits, Offset,
    PipelineOptions, Prepared, Result, SchemaChange, SplitId, guarded_async,
};
use tokio::sync::{mpsc, oneshot, watch};
use tokio::task::JoinHandle;
use tokio::time::Instant;

use super::acknowledge::Acknowledgements;
use super::asking::Asking;
use super::common::Common;
use super::coordinate::Leaving;
use super::cutting::{Cutting, Joined};
use super::execution::{Beginning, Execution};
use super::executors::{Executors, Handle};
use super::finish::Ended;
use super::message::{Said, Sealed, Tell};
use super::queue::SplitKey;
use super::remote::{Executor, opening};
use super::requests::CutRequests;
use super::splits::SourceSplits;
use crate::graph::{Alone, Graph, NodeId};
use crate::state::{Change, PipelineState, SourceState};

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
    /// A stream's schema changed: what is committed stays, and the next attempt continues. With the
    /// error that told it, if it was found too late to commit what came before.
    SchemaChanged(Option<Error>),
}

/// The least time between two checkpoints that sources ask for.
const LEAST_INTERVAL: Duration = Duration::from_millis(100);

/// See the module; what it does is in `coordinate.rs`.
pub(crate) struct Attempt {
    pub(super) common: Arc<Common>,
    pub(super) executors: Executors,
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
    /// A stream has another schema from here on.
    pub(super) schema_changed: bool,
    /// Splits that nobody reads and that were taken back, with the position up to which they are
    /// committed; not yet in a cut.
    pub(super) taken_back: Vec<(SplitKey, Option<Offset>)>,
    /// The sources of which executors know that no more will be read.
    pub(super) complete: BTreeSet<NodeId>,
    /// The cut that is being made.
    pub(super) cutting: Option<Cutting>,
    /// A cut that is made, and waits for the end of the epoch before.
    pub(super) cut: Option<Joined>,
    pub(super) sealing: Option<Sealing>,
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
    pub(super) bounded: bool,
    /// Why a source gives no more in this run.
    pub(super) exhausted: Option<Error>,
    canceller: Option<Canceller>,
}

/// The executors that are sealing an epoch, and what the others have sealed.
pub(super) struct Sealing {
    pub(super) waiting: BTreeSet<usize>,
    pub(super) sealed: Vec<Sealed>,
    pub(super) done: oneshot::Sender<Vec<Sealed>>,
}

impl Attempt {
    /// Prepares an attempt that resumes from `state`. Nothing is read yet. `canceller` is the hand
    /// on what the components' surroundings have to say when to stop.
    pub(crate) fn new(
        common: &Arc<Common>,
        mut state: PipelineState,
        executors: &[Executor],
        canceller: Canceller,
    ) -> Result<Self> {
        let options = common.spec.options.clone();
        let crew = crew(&common.graph, executors)?;
        let graph = &common.graph;
        let bounded = graph.bounded();
        let workers = common.around.runtime.workers();
        let usual = Limits::usual(workers) * crew.len();
        let starts_over = bounded
            && graph.has_gather()
            && state.run.as_ref().is_some_and(|run| !run.checkpointed);
        let mut forgotten = Vec::new();
        let mut sources = Vec::new();
        let mut unacknowledged = Acknowledgements::default();
        for (node, component, source, _) in graph.sources() {
            let scans = graph.scans(node);
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
        // Each has its share, so that all together have no more.
        let share = |bytes: ByteSize| bytes.0.div_ceil(crew.len() as u64);
        let full = options.checkpoint.bytes.map(share);
        let (say, heard) = mpsc::unbounded_channel();
        let handles = crew
            .into_iter()
            .enumerate()
            .map(|(at, (number, executor))| {
                let say = say.clone();
                let tell: Tell = Arc::new(move |said| {
                    // The coordinator is gone only when the attempt is over.
                    let _ = say.send((at, said));
                });
                match executor.as_remote() {
                    None => start(common, epoch, full, tell),
                    Some((remote, silent)) => {
                        let (commands, told) = mpsc::unbounded_channel();
                        let opening = opening(common, number, epoch, full)?;
                        let (remote, common) = (Arc::clone(remote), Arc::clone(common));
                        let relay = remote.relay(silent, opening, told, tell, common);
                        Ok(Handle::new(commands, tokio::spawn(relay)))
                    }
                }
            });
        let executors = Executors::new(handles.collect::<Result<_>>()?, heard);
        Ok(Self {
            common: Arc::clone(common),
            executors,
            options,
            interval,
            sources,
            forgotten,
            asking: Asking::default(),
            splits: 0,
            epoch,
            now: Instant::now(),
            cut_at: Instant::now() + interval,
            requests: CutRequests::new(least),
            schema_changed: false,
            taken_back: Vec::new(),
            complete: BTreeSet::new(),
            cutting: None,
            cut: None,
            sealing: None,
            ending: None,
            leaving: None,
            left: false,
            stopped: false,
            kept,
            unacknowledged,
            remind_at: None,
            unheard: Vec::new(),
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
        // The first error that an executor told is the cause; what the coordinator met may follow from it.
        let result = result.map_err(|error| self.executors.failure().unwrap_or(error));
        let on_schema_change = self.options.on_schema_change;
        self.end().await;
        match result {
            Err(error) if error.kind() == ErrorKind::SchemaChanged => match on_schema_change {
                SchemaChange::Evolve => Ok(Outcome::SchemaChanged(Some(error))),
                SchemaChange::Fail => {
                    Err(error.hint("on_schema_change = \"evolve\" continues with other columns"))
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
            self.common.apply(Change::Replan { source }).await?;
        }
        if !self.unacknowledged.is_empty() {
            self.remind();
        }
        Ok(())
    }

    /// Ends every task and thread, and gives up what wasn't prepared. All are told before any is
    /// waited for.
    async fn end(mut self) {
        drop(self.canceller.take());
        self.executors.close();
        self.sealing = None;
        self.asking.abort();

        self.asking.ended().await;
        if let Some(task) = self.ending.take() {
            // It may be in the middle of a commit, which must not be left to itself.
            let _ = task.await;
        }
        self.executors.ended().await;
        self.common.graph.release().await;
    }
}

/// The executors that can work on a pipeline, each with its number in the run.
fn crew<'a>(graph: &Graph, executors: &'a [Executor]) -> Result<Vec<(u32, &'a Executor)>> {
    let left = (0..).zip(executors);
    let mut left: Vec<_> = left.filter(|(_, executor)| !executor.is_lost()).collect();
    if left.is_empty() {
        return Err(Error::not_found("there is no executor left")
            .hint("the next run resumes from the last checkpoint"));
    }
    let Some(Alone { why, here }) = graph.alone() else {
        return Ok(left);
    };
    if here {
        left.retain(|(_, executor)| executor.is_local());
        if left.is_empty() {
            return Err(Error::unsupported(format!(
                "the pipeline needs an executor in the run's own process: {why}"
            ))
            .hint("give the run `Executor::local()` too"));
        }
    }
    left.truncate(1);
    if executors.len() > 1 {
        tracing::info!(executor = left[0].0, why, "one executor works alone");
    }
    Ok(left)
}

/// Starts the executor of this process, which works with the coordinator's own components.
fn start(common: &Common, epoch: Epoch, full: Option<u64>, tell: Tell) -> Result<Handle> {
    let (commands, told) = mpsc::unbounded_channel();
    let beginning = Beginning {
        graph: Arc::clone(&common.graph),
        around: common.around.clone(),
        stats: Arc::clone(&common.stats),
        epoch,
        full,
    };
    let execution = Execution::begin(beginning, told, Arc::clone(&tell))?;
    let task = tokio::spawn(async move {
        let ran = guarded_async("an executor", async {
            execution.run().await;
            Ok(())
        });
        if let Err(error) = ran.await {
            tell(Said::Failed(error));
        }
    });
    Ok(Handle::new(commands, task))
}
