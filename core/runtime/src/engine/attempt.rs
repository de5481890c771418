//! The coordinator: plans, starts readers, cuts epochs, and ends the attempt.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::thread::JoinHandle as Thread;
use std::time::Duration;

use tidegate_core::{
    Ask, ComponentId, Epoch, Error, ErrorKind, Next, PipelineOptions, Prepared, Result, STACK_SIZE,
    SchemaChange, SplitId,
};
use tokio::runtime::Runtime;
use tokio::sync::{mpsc, watch};
use tokio::task::JoinHandle;
use tokio::time::Instant;

use super::finish::{Ended, Ending, abandon, finish};
use super::queue::SplitKey;
use super::shared::{Shared, Signal};
use super::splits::SourceSplits;
use super::{reader, stage, worker};
use crate::graph::{Graph, NodeId, Surroundings};
use crate::retry;
use crate::state::{Change, PipelineState};
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

/// What follows the end of an epoch.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Then {
    /// The next epoch, which begins beside it.
    GoOn,
    /// Nothing in this attempt: rows handed out now would be counted and then given up.
    Stop,
    /// Nothing in this run: all input was read.
    Complete,
}

/// How often the coordinator looks at the queue when nothing else wakes it.
const TICK: Duration = Duration::from_millis(50);
/// The least number of splits of a source that are read at once: most wait for the network.
const FEWEST_READERS: usize = 4;
/// And the number for a source that never ends: each of its splits must be listened to.
const LISTENERS: usize = 4096;

/// See the module.
pub(crate) struct Attempt {
    shared: Arc<Shared>,
    signals: mpsc::UnboundedReceiver<Signal>,
    options: PipelineOptions,
    interval: Duration,
    sources: Vec<SourceSplits>,
    splits: usize,
    epoch: Epoch,
    cut_at: Instant,
    ending: Option<JoinHandle<Result<Ended>>>,
    kept: BTreeMap<ComponentId, Vec<Prepared>>,
    workers: Vec<Thread<()>>,
    cpu: Option<Runtime>,
    bounded: bool,
    /// Why a source gives no more in this run.
    exhausted: Option<Error>,
}

impl Attempt {
    /// Prepares an attempt that goes on from `state`. Nothing is read yet.
    pub(crate) fn new(
        graph: Graph,
        around: Surroundings,
        stats: Arc<RunStats>,
        mut state: PipelineState,
        options: &PipelineOptions,
    ) -> Result<Self> {
        let bounded = graph.bounded();
        let workers = around.runtime.workers();
        let most = if bounded {
            (workers * 2).max(FEWEST_READERS)
        } else {
            LISTENERS
        };
        let sources = graph
            .sources()
            .filter(|(_, _, _, streams)| streams.iter().any(|stream| stream.scan.is_some()))
            .map(|(id, node, source, streams)| {
                let scans: Vec<_> = streams
                    .iter()
                    .filter_map(|stream| stream.scan.clone())
                    .collect();
                let state = state.sources.remove(&node.spec.id).unwrap_or_default();
                SourceSplits::new(id, Arc::clone(source), scans, state, most)
            })
            .collect();
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
            super::flow::EpochSet::new(&graph, epoch, workers, around.runtime.memory.0, &scratch)?;
        let (shared, signals) = Shared::new(Arc::new(graph), around, stats, set);
        Ok(Self {
            shared,
            signals,
            options: options.clone(),
            interval,
            sources,
            splits: 0,
            epoch,
            cut_at: Instant::now() + interval,
            ending: None,
            kept,
            workers: Vec::new(),
            cpu,
            bounded,
            exhausted: None,
        })
    }

    /// Runs to the end, a stop or an error. `stop` turns true when a stop is asked for.
    pub(crate) async fn run(mut self, mut stop: watch::Receiver<bool>) -> Result<Outcome> {
        let result = match worker::start(&self.shared) {
            Ok(workers) => {
                self.workers = workers;
                self.coordinate(&mut stop).await
            }
            Err(error) => Err(error),
        };
        // The first error that a part reported is the cause; what the coordinator met may follow from it.
        let result = match result {
            Ok(outcome) => Ok(outcome),
            Err(error) => Err(self.shared.error().unwrap_or(error)),
        };
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

    async fn coordinate(&mut self, stop: &mut watch::Receiver<bool>) -> Result<Outcome> {
        loop {
            if *stop.borrow() || self.exhausted.is_some() {
                self.shared.stats.set_stopping();
                return self.stop().await;
            }
            match self.plan(stop).await {
                Err(error) if error.kind() == ErrorKind::Exhausted => {
                    self.exhausted.get_or_insert(error);
                    continue;
                }
                planned => planned?,
            }
            if *stop.borrow() {
                continue;
            }
            self.start_readers();
            if self.sources.iter().all(SourceSplits::is_complete) {
                if self
                    .shared
                    .queue
                    .drain()
                    .await
                    .map_err(|_| self.shared.closed_error())?
                {
                    return self.change_schema().await;
                }
                self.end_epoch(Then::Complete).await?;
                self.join_ending().await?;
                return Ok(Outcome::Completed);
            }
            let look = self.shared.queue.look();
            if look.schema_changed {
                return self.change_schema().await;
            }
            if self.wants_cut(look) {
                self.end_epoch(Then::GoOn).await?;
                continue;
            }
            if look.empty && self.release_read() {
                continue;
            }
            if let Some(stuck) = self.sources.iter().find(|source| source.is_stuck()) {
                return Err(Error::internal(
                    "a source's splits wait for splits that it doesn't have",
                )
                .with("component", self.shared.id(stuck.node)));
            }
            self.wait(stop).await?;
        }
    }

    /// Asks the sources that want to be asked, unless a stop is asked for meanwhile: a source may
    /// have to wait for its upstream.
    async fn plan(&mut self, stop: &mut watch::Receiver<bool>) -> Result<()> {
        let now = Instant::now();
        let restarts_whole = !self.can_cut();
        for index in 0..self.sources.len() {
            let source = &mut self.sources[index];
            let (ask, first) = match source.next {
                None => (true, true),
                Some(Next::Complete) => (false, false),
                Some(Next::WhenFinished) => (
                    source.has_news()
                        || (restarts_whole && source.is_idle() && source.waits_for_commit()),
                    false,
                ),
                Some(Next::AskAgain(_)) => (
                    source.has_news() || source.ask_at.is_none_or(|at| at <= now),
                    false,
                ),
            };
            if !ask {
                continue;
            }
            let told = source.take_news(restarts_whole);
            let (node, source_of) = (source.node, Arc::clone(&source.source));
            let (scans, state) = (Arc::clone(&source.scans), source.plan.clone());
            let id = self.shared.id(node).clone();
            // A first ask that fails leaves nothing to lose: the attempt is retried, not both.
            let tries = match first {
                true => 0,
                false => self.shared.around.runtime.attempts,
            };
            let planned = retry::passing(tries, id.as_str(), || {
                let ask = Ask {
                    scans: &scans,
                    state: state.as_ref(),
                    finished: &told,
                    first,
                };
                let source = &source_of;
                async move { source.plan(&ask).await }
            });
            let plan = tokio::select! {
                biased;
                // Nothing is stored, so the next run asks the same, and tells the same as finished.
                Ok(_) = stop.wait_for(|stop| *stop) => return Ok(()),
                plan = planned => plan.map_err(|error| error.with("component", &id))?,
            };
            if let Some(twice) = self.sources[index].duplicate(&plan.new) {
                return Err(Error::internal("a source planned two splits with one id")
                    .with("component", &id)
                    .with("split", twice)
                    .hint("an id is used once, for as long as the pipeline's state lives"));
            }
            self.store_plan(
                &id,
                &plan,
                told.iter().map(|told| told.split.id.clone()).collect(),
            )
            .await?;
            let stats = &self.shared.graph.nodes[node].stats;
            stats.add_splits(plan.new.len() as u64);
            stats.add_expected_rows(
                plan.new
                    .iter()
                    .filter_map(|split| split.estimate.rows)
                    .sum(),
            );
            let source = &mut self.sources[index];
            if plan.new.is_empty()
                && plan.next == Next::WhenFinished
                && source.is_idle()
                && !source.waits_for_commit()
                && !source.has_news()
            {
                return Err(
                    Error::internal("a source waits for splits to finish, and has none")
                        .with("component", &id),
                );
            }
            source.ask_at = match plan.next {
                Next::AskAgain(after) => Some(Instant::now() + after),
                _ => None,
            };
            source.plan = Some(plan.state);
            source.next = Some(plan.next);
            source.add(plan.new);
        }
        Ok(())
    }

    async fn store_plan(
        &self,
        id: &ComponentId,
        plan: &tidegate_core::Plan,
        told: Vec<SplitId>,
    ) -> Result<()> {
        let change = Change::Planned {
            source: id.clone(),
            plan: plan.state.clone(),
            next: plan.next,
            new: plan.new.clone(),
            told,
        };
        self.shared.apply(change).await
    }

    fn start_readers(&mut self) {
        for source in &mut self.sources {
            while let Some((split, offset)) = source.startable() {
                let key = SplitKey {
                    source: source.node,
                    number: self.splits,
                };
                self.splits += 1;
                let scans = Arc::clone(&source.scans);
                let task = reader::start(
                    &self.shared,
                    &source.source,
                    key,
                    split.clone(),
                    scans,
                    offset,
                );
                source.started(key, split, task);
            }
        }
    }

    /// Whether a prefix of the run can be committed by itself.
    fn can_cut(&self) -> bool {
        let one_stage = self.bounded && self.shared.graph.has_gather();
        !(one_stage || self.shared.graph.has_session())
    }

    /// In a run that is one epoch, no commit tells that what comes after a split may start where
    /// order matters: all of its rows have been written, as nothing waits on the queue. Says whether
    /// some may.
    fn release_read(&mut self) -> bool {
        let one_epoch = !self.can_cut();
        let mut sources = self.sources.iter_mut();
        one_epoch && sources.any(SourceSplits::release_read)
    }

    fn wants_cut(&self, look: super::queue::Look) -> bool {
        if !self.can_cut() || !look.moved {
            return false;
        }
        let full = self
            .options
            .checkpoint
            .bytes
            .is_some_and(|most| look.epoch_bytes >= most.0);
        // Nothing moves until what was read is committed.
        let waits = look.empty
            && self.sources.iter().all(|s| s.is_idle() || s.is_complete())
            && self.sources.iter().any(SourceSplits::waits_for_commit)
            && self.ending.is_none();
        full || waits || self.cut_at <= Instant::now()
    }

    /// Waits for whatever comes first.
    async fn wait(&mut self, stop: &mut watch::Receiver<bool>) -> Result<()> {
        let ending = self.ending.as_mut();
        let ended = async {
            match ending {
                Some(task) => task.await,
                None => std::future::pending().await,
            }
        };
        tokio::select! {
            signal = self.signals.recv() => self.take(signal)?,
            result = ended => {
                self.ending = None;
                self.take_ended(joined(result)?);
            }
            () = stop_changed(stop) => {}
            () = tokio::time::sleep(TICK) => {}
        }
        while let Ok(signal) = self.signals.try_recv() {
            self.take(Some(signal))?;
        }
        Ok(())
    }

    fn take(&mut self, signal: Option<Signal>) -> Result<()> {
        match signal {
            Some(Signal::Read(key, offset)) => {
                let ordered = self.shared.graph.ordered();
                if let Some(source) = self.source_of(key.source) {
                    source.was_read(key, offset, ordered);
                }
                Ok(())
            }
            Some(Signal::Exhausted(error)) => {
                self.exhausted.get_or_insert(error);
                Ok(())
            }
            Some(Signal::Failed) | None => Err(self.shared.closed_error()),
        }
    }

    fn source_of(&mut self, node: NodeId) -> Option<&mut SourceSplits> {
        self.sources.iter_mut().find(|source| source.node == node)
    }

    /// Cuts the epoch and lets it end beside the next one; first waits for the one before.
    async fn end_epoch(&mut self, then: Then) -> Result<()> {
        let last = then == Then::Complete;
        self.join_ending().await?;
        let closed = |_| self.shared.closed_error();
        let cut = self.shared.queue.cut().await.map_err(closed)?;
        while let Ok(signal) = self.signals.try_recv() {
            self.take(Some(signal))?;
        }
        let set = self.shared.current();
        // A stage of a bounded run speaks even about no rows at all: a count of zero is a row.
        if let Some(cpu) = &self.cpu
            && (set.has_rows() || (last && self.bounded))
        {
            stage::run_all(&self.shared, &set, cpu).await?;
        }
        self.cut_at = Instant::now() + self.interval;
        if cut.is_empty() && !set.has_rows() && !last {
            if then == Then::GoOn {
                self.shared.queue.reopen();
            }
            return Ok(());
        }
        drop(set);
        self.epoch = self.epoch.next();
        let set = self.shared.turn(self.shared.new_set(self.epoch)?);
        tracing::debug!(epoch = %set.epoch, bytes = cut.bytes, last, "epoch cut");
        let mut offsets = Vec::new();
        for (key, offset) in cut.offsets {
            offsets.push((key.source, self.split_id(key)?, offset));
        }
        let mut finished = Vec::new();
        for (key, offset) in cut.finished {
            finished.push((key.source, self.split_id(key)?, offset));
        }
        let ending = Ending {
            set,
            last,
            offsets,
            finished,
            schemas: cut.schemas,
            kept: std::mem::take(&mut self.kept),
        };
        if then == Then::GoOn {
            self.shared.queue.reopen();
        }
        self.ending = Some(tokio::spawn(finish(Arc::clone(&self.shared), ending)));
        Ok(())
    }

    fn split_id(&mut self, key: SplitKey) -> Result<SplitId> {
        self.source_of(key.source)
            .and_then(|source| source.id(key).cloned())
            .ok_or_else(|| Error::internal("a position belongs to no split"))
    }

    async fn join_ending(&mut self) -> Result<()> {
        if let Some(task) = self.ending.take() {
            self.take_ended(joined(task.await)?);
        }
        Ok(())
    }

    fn take_ended(&mut self, ended: Ended) {
        self.kept = ended.kept;
        for (node, split, offset) in ended.finished {
            if let Some(source) = self.source_of(node) {
                source.was_committed(&split, offset);
            }
        }
    }

    async fn change_schema(&mut self) -> Result<Outcome> {
        if !self.can_cut() {
            return Err(Error::schema(
                "a stream's schema changed in the middle of a run that is one epoch",
            )
            .hint("run it again: the new schema then holds from the beginning"));
        }
        self.end_epoch(Then::Stop).await?;
        self.join_ending().await?;
        match self.options.on_schema_change {
            SchemaChange::Evolve => Ok(Outcome::SchemaChanged(None)),
            SchemaChange::Fail => Err(Error::schema("a stream's schema changed")
                .hint("what was read before is committed; on_schema_change = \"evolve\" goes on")),
        }
    }

    /// Ends the epoch, where a part of a run can be kept. What a sink shows only at the run's end
    /// stays prepared, and the next run goes on from there.
    async fn stop(&mut self) -> Result<Outcome> {
        if !self.can_cut() {
            self.join_ending().await?;
            return Ok(Outcome::Stopped {
                committed: false,
                exhausted: self.exhausted.take(),
            });
        }
        self.end_epoch(Then::Stop).await?;
        self.join_ending().await?;
        Ok(Outcome::Stopped {
            committed: true,
            exhausted: self.exhausted.take(),
        })
    }

    /// Ends every task and thread, and gives up what wasn't prepared.
    async fn end(mut self) {
        for source in &mut self.sources {
            source.abort().await;
        }
        self.shared.close();
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

/// Waits until the wish to stop changes; for ever, once nobody can have one.
async fn stop_changed(stop: &mut watch::Receiver<bool>) {
    if stop.changed().await.is_err() {
        std::future::pending().await
    }
}

fn joined(result: Result<Result<Ended>, tokio::task::JoinError>) -> Result<Ended> {
    result.map_err(|error| Error::internal("the end of an epoch panicked").because(error))?
}
