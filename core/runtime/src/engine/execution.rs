//! An executor's part in an attempt: it reads the splits that it is given, decodes, maps, writes and
//! seals. What is read when, and what an epoch is, the coordinator decides.
//!
//! ```text
//! commands ─> executor ─> readers ─> queue ─> workers ─> exchange ─> writers ─> seal
//!     what it says <──────┴─────────────┴────────────────────────────────────────┘
//! ```

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::thread::JoinHandle as Thread;

use futures::FutureExt;
use futures::future::BoxFuture;
use tidegate_core::{Epoch, Error, Result, STACK_SIZE};
use tokio::runtime::Runtime;
use tokio::sync::mpsc;
use tokio::task::JoinHandle;

use super::flow::EpochSet;
use super::message::{Command, Said, Tell};
use super::queue::{Closed, Revoked, SplitKey, Wants};
use super::requests::Asked;
use super::seal::{abandon, seal_all};
use super::shared::Shared;
use super::{reader, some, stage, worker};
use crate::graph::{Graph, NodeId, OpenStream, Surroundings};
use crate::stats::RunStats;

/// See the module.
pub(crate) struct Execution {
    shared: Arc<Shared>,
    commands: mpsc::UnboundedReceiver<Command>,
    readers: BTreeMap<SplitKey, JoinHandle<()>>,
    /// Those of splits that were taken back, on their way to their end.
    aborted: Vec<JoinHandle<()>>,
    workers: Vec<Thread<()>>,
    /// Where stages run, if there are any.
    cpu: Option<Runtime>,
    /// The step of a cut that is being made.
    step: Option<BoxFuture<'static, Result<Said, Closed>>>,
    sealing: Option<JoinHandle<()>>,
    requests: Asked,
    /// The sources of which no more will be read.
    complete: BTreeSet<NodeId>,
    /// The coordinator wants to know when nothing is being done.
    rest: Option<u64>,
    told: Told,
}

/// What was said since the last cut, and is said once.
#[derive(Debug, Default)]
struct Told {
    moved: bool,
    full: bool,
    schema_changed: bool,
}

/// With what an executor begins.
pub(crate) struct Beginning {
    pub(crate) graph: Arc<Graph>,
    pub(crate) around: Surroundings,
    pub(crate) stats: Arc<RunStats>,
    pub(crate) epoch: Epoch,
    /// How many bytes an epoch may have here before it is to be cut.
    pub(crate) full: Option<u64>,
}

impl Execution {
    /// Begins with nothing to read.
    pub(crate) fn begin(
        beginning: Beginning,
        commands: mpsc::UnboundedReceiver<Command>,
        tell: Tell,
    ) -> Result<Self> {
        let Beginning {
            graph,
            around,
            stats,
            epoch,
            full,
        } = beginning;
        let threads = around.runtime.workers();
        let cpu = graph
            .has_gather()
            .then(|| {
                tokio::runtime::Builder::new_multi_thread()
                    .worker_threads(threads)
                    .thread_name("stage")
                    .thread_stack_size(STACK_SIZE)
                    .enable_all()
                    .build()
                    .map_err(|error| Error::io("the threads for SQL can't be started", error))
            })
            .transpose()?;
        let set = EpochSet::new(&graph, epoch, &around)?;
        let mut execution = Self {
            shared: Arc::new(Shared::new(graph, around, stats, set, full, tell)),
            commands,
            readers: BTreeMap::new(),
            aborted: Vec::new(),
            workers: Vec::new(),
            cpu,
            step: None,
            sealing: None,
            requests: Asked::default(),
            complete: BTreeSet::new(),
            rest: None,
            told: Told::default(),
        };
        execution.workers = worker::start(&execution.shared)?;
        Ok(execution)
    }

    /// Does what it is told, until nobody tells it any more. What it has begun and not sealed is
    /// given up then.
    pub(crate) async fn run(mut self) {
        loop {
            if let Err(error) = self.begin_stages() {
                self.shared.fail(error);
            }
            let shared = Arc::clone(&self.shared);
            tokio::select! {
                command = self.commands.recv() => match command {
                    Some(command) => {
                        if let Err(error) = self.take(command).await {
                            shared.fail(error);
                        }
                    }
                    None => break,
                },
                made = some(self.step.as_mut()) => {
                    self.step = None;
                    // Where everything is closed, the cause was told.
                    if let Ok(said) = made {
                        self.step_made(said);
                    }
                }
                () = shared.queue.news() => {}
                () = shared.around.cuts.notified() => self.requests.came(&shared.queue),
            }
            self.tell_news();
        }
        self.end().await;
    }

    async fn take(&mut self, command: Command) -> Result<()> {
        let queue = &self.shared.queue;
        match command {
            Command::Assign(assignment) => {
                self.readers.retain(|_, reader| !reader.is_finished());
                let key = assignment.key;
                let reader = reader::start(&self.shared, *assignment)?;
                self.readers.insert(key, reader);
            }
            Command::Revoke(key) => {
                let became = queue.revoke(key);
                if became == Revoked::AtPosition {
                    if let Some(reader) = self.readers.remove(&key) {
                        reader.abort();
                        self.aborted.retain(|reader| !reader.is_finished());
                        self.aborted.push(reader);
                    }
                    let stats = &self.shared.graph.nodes[key.source].stats;
                    stats.add_splits_done(1);
                    self.requests.came(queue);
                }
                self.shared.tell(Said::Revoked(key, became));
            }
            Command::Complete(source) => {
                self.complete.insert(source);
            }
            Command::Rest(number) => self.rest = Some(number),
            Command::Settle | Command::Drain | Command::Cut => {
                self.step = Some(step(&self.shared, command));
            }
            Command::End { next, stages } => {
                let set = self.shared.turn(self.shared.new_set(next)?);
                let cpu = self.cpu.as_ref().filter(|_| stages);
                let cpu = cpu.map(|cpu| cpu.handle().clone());
                let shared = Arc::clone(&self.shared);
                // The one before has said that it is sealed.
                if let Some(before) = self.sealing.take() {
                    let _ = before.await;
                }
                self.sealing = Some(tokio::spawn(async move {
                    match seal_all(&shared, &set, cpu.as_ref()).await {
                        Ok(sealed) => shared.tell(Said::Sealed(sealed)),
                        Err(error) => {
                            abandon(&set).await;
                            shared.fail(error);
                        }
                    }
                }));
            }
            Command::Reopen => queue.reopen(),
        }
        Ok(())
    }

    /// Begins the stages whose rows are there, or come, before the run's only epoch ends.
    fn begin_stages(&self) -> Result<()> {
        let shared = &self.shared;
        let Some(cpu) = self.cpu.as_ref().filter(|_| shared.stages.any()) else {
            return Ok(());
        };
        let is_read = |streams: &[OpenStream]| streams.iter().any(|open| open.scan.is_some());
        let read = shared.graph.sources().filter_map(|(node, _, _, streams)| {
            let over = self.complete.contains(&node) && shared.queue.is_through(node);
            (is_read(streams) && !over).then_some(node)
        });
        stage::begin(shared, &shared.current(), cpu.handle(), &read.collect())
    }

    fn step_made(&mut self, said: Said) {
        if matches!(said, Said::Cut { .. }) {
            self.told = Told::default();
            self.requests.was_cut(&self.shared.queue);
        }
        self.shared.tell(said);
    }

    /// Says what has come about and isn't said yet.
    fn tell_news(&mut self) {
        let shared = &self.shared;
        let look = shared.queue.look(Wants {
            rest: self.rest.is_some(),
            movement: !self.told.moved,
            past: self.requests.wait_for(&shared.queue),
        });
        let once = |told: &mut bool, is_so: bool, said: Said| {
            if is_so && !std::mem::replace(told, true) {
                shared.tell(said);
            }
        };
        let is_full = shared.full.is_some_and(|full| look.epoch_bytes >= full);
        once(
            &mut self.told.schema_changed,
            look.schema_changed,
            Said::SchemaChanged,
        );
        once(&mut self.told.moved, look.moved, Said::Moved);
        once(&mut self.told.full, is_full, Said::Full);
        if self.requests.is_news(&shared.queue, look) {
            shared.tell(Said::Requested);
        }
        if look.empty
            && let Some(number) = self.rest.take()
        {
            shared.tell(Said::AtRest(number));
        }
    }

    /// Ends every task and thread, and gives up what wasn't sealed. All are told before any is
    /// waited for.
    async fn end(mut self) {
        self.shared.close();
        self.step = None;
        self.abort();
        let readers = std::mem::take(&mut self.readers).into_values();
        for reader in readers.chain(std::mem::take(&mut self.aborted)) {
            // Cancelled, or ended by itself: both are an end.
            let _ = reader.await;
        }
        if let Some(task) = self.sealing.take() {
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
        self.end_stages();
        abandon(&self.shared.current()).await;
    }

    /// Ends the threads of stages, without waiting for what they compute: a thread of its own joins them.
    /// `shutdown_background` would detach threads that are just ending, whose stacks, as large as ours are,
    /// the C library unmaps at once, and `pthread_detach` may look at one after that (seen with glibc 2.36).
    fn end_stages(&mut self) {
        if let Some(cpu) = self.cpu.take() {
            std::thread::spawn(move || drop(cpu));
        }
    }

    /// Ends all reading, without waiting for it: dropping a reader's task drops the source's stream.
    fn abort(&self) {
        self.readers.values().for_each(JoinHandle::abort);
    }
}

impl Drop for Execution {
    /// Where the run's future was dropped, nothing may linger.
    fn drop(&mut self) {
        self.shared.close();
        self.abort();
        self.end_stages();
    }
}

/// A step of a cut, and what is said when it is made.
fn step(shared: &Arc<Shared>, command: Command) -> BoxFuture<'static, Result<Said, Closed>> {
    let shared = Arc::clone(shared);
    let made = async move {
        match command {
            Command::Settle => shared.queue.settle().await.map(|()| Said::Settled),
            Command::Drain => {
                let schema_changed = shared.queue.drain().await?;
                Ok(Said::Drained { schema_changed })
            }
            _ => {
                let cut = shared.queue.cut().await?;
                let has_rows = shared.current().has_rows();
                Ok(Said::Cut { cut, has_rows })
            }
        }
    };
    made.boxed()
}
