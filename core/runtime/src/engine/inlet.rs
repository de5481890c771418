//! One input of a stage in one epoch: collected until the stage begins, then streamed if the stage
//! begins before its end.
//!
//! ```text
//! workers ── push ──> spool ─────────┐            the stage begins when all is there
//!                └──> what passes ───┴──> stage   or, where only this input still comes, sooner
//! ```
//!
//! No worker waits for a stage: while too much passes, the input's gate is shut.

use std::collections::VecDeque;
use std::fmt;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, RwLock};
use std::time::{Duration, Instant};

use arrow_array::RecordBatch;
use arrow_schema::SchemaRef;
use async_trait::async_trait;
use futures::StreamExt;
use tidegate_core::{BatchStream, Gathered, Result, StageInput, Streamed, batch_bytes};
use tokio::sync::Notify;

use super::gate::Place;
use super::shared::Shared;
use super::spool::Spool;
use crate::graph::NodeId;

/// How many bytes are collected of an input before it may be held back.
const MUCH: u64 = 16 << 20;

/// See the module.
#[derive(Debug)]
pub(crate) struct Inlet {
    place: Place,
    /// Positions in the batches that are pushed; `None` for all.
    columns: Option<Vec<usize>>,
    spool: Arc<Spool>,
    rows: AtomicU64,
    bytes: AtomicU64,
    /// It is decided whether the gate is shut until the stage begins.
    weighed: AtomicBool,
    held: AtomicBool,
    /// Written only when no worker pushes.
    mode: RwLock<Mode>,
    passing: Mutex<Passing>,
    news: Notify,
    /// How long the stage has waited, all its partitions together.
    waited_nanos: AtomicU64,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Mode {
    /// Rows go to the spool.
    Collecting,
    /// Rows go to the stage.
    Streaming,
}

/// What is on its way to the stage.
#[derive(Debug, Default)]
struct Passing {
    batches: VecDeque<(RecordBatch, u64)>,
    /// No more will come.
    ended: bool,
    /// The stage takes no more.
    dropped: bool,
}

impl Inlet {
    pub(crate) fn new(
        stage: NodeId,
        input: usize,
        columns: Option<Vec<usize>>,
        spool: Spool,
    ) -> Self {
        Self {
            place: Place::Stage(stage, input),
            columns,
            spool: Arc::new(spool),
            rows: AtomicU64::new(0),
            bytes: AtomicU64::new(0),
            weighed: AtomicBool::new(false),
            held: AtomicBool::new(false),
            mode: RwLock::new(Mode::Collecting),
            passing: Mutex::default(),
            news: Notify::new(),
            waited_nanos: AtomicU64::new(0),
        }
    }

    /// How many rows have come.
    pub(crate) fn rows(&self) -> u64 {
        self.rows.load(Ordering::Acquire)
    }

    /// How many bytes of rows have come.
    pub(crate) fn bytes(&self) -> u64 {
        self.bytes.load(Ordering::Relaxed)
    }

    /// Takes a batch of a worker. Blocks at most for the disk.
    pub(crate) fn push(&self, shared: &Shared, worker: usize, batch: &RecordBatch) -> Result<()> {
        let batch = match &self.columns {
            Some(columns) => batch.project(columns)?,
            None => batch.clone(),
        };
        let size = batch_bytes(&batch) as u64;
        let rows = batch.num_rows() as u64;
        self.bytes.fetch_add(size, Ordering::Relaxed);
        // Who sees rows sees their bytes.
        self.rows.fetch_add(rows, Ordering::Release);
        let mode = self.mode.read().unwrap_or_else(PoisonError::into_inner);
        if *mode == Mode::Collecting {
            return self.spool.push(worker, &batch, size);
        }
        let mut passing = self.passing();
        if passing.dropped {
            return Ok(());
        }
        passing.batches.push_back((batch, size));
        shared.queue.enter(self.place, size);
        drop(passing);
        self.news.notify_one();
        Ok(())
    }

    /// Whether so much has come that it matters where it waits; says so once.
    pub(crate) fn is_to_be_weighed(&self) -> bool {
        self.bytes() >= MUCH && !self.weighed.swap(true, Ordering::Relaxed)
    }

    /// Lets the queue hand out nothing that comes here, until the stage begins.
    pub(crate) fn hold(&self, shared: &Shared) {
        if !self.held.swap(true, Ordering::Relaxed) {
            shared.queue.shut(self.place);
        }
    }

    fn release(&self, shared: &Shared) {
        if self.held.swap(false, Ordering::Relaxed) {
            shared.queue.open(self.place);
            shared.stages.release();
        }
    }

    /// All rows, of which no more come.
    pub(crate) fn collected(&self, shared: &Shared) -> Result<StageInput> {
        self.release(shared);
        self.spool.finish()?;
        Ok(StageInput::Collected(Arc::clone(&self.spool) as _))
    }

    /// The rows that have come and those that will.
    pub(crate) fn streamed(self: &Arc<Self>, shared: &Arc<Shared>) -> Result<StageInput> {
        let mut mode = self.mode.write().unwrap_or_else(PoisonError::into_inner);
        self.spool.finish()?;
        *mode = Mode::Streaming;
        drop(mode);
        self.release(shared);
        let tap = Tap {
            inlet: Arc::clone(self),
            shared: Arc::clone(shared),
        };
        Ok(StageInput::Streamed(Arc::new(Open(Arc::new(tap)))))
    }

    /// Tells the stage that no more rows come.
    pub(crate) fn end(&self) {
        self.passing().ended = true;
        self.news.notify_waiters();
    }

    /// How long the stage has waited for rows, one partition like the other.
    pub(crate) fn waited(&self) -> Duration {
        let partitions = self.spool.partitions().max(1) as u64;
        Duration::from_nanos(self.waited_nanos.load(Ordering::Relaxed) / partitions)
    }

    fn passing(&self) -> MutexGuard<'_, Passing> {
        self.passing.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Waits until some rows have come, or none will.
    async fn begun(&self) {
        let is_known = || (self.rows() > 0 || self.passing().ended).then_some(());
        self.wait(self.spool.partitions() as u64, is_known).await;
    }

    /// The next batch that passes, for whichever partition asks first; `None` at the end.
    async fn next(&self, shared: &Shared) -> Option<RecordBatch> {
        let next = || {
            let mut passing = self.passing();
            let ended = passing.ended;
            match passing.batches.pop_front() {
                Some(next) => Some(Some(next)),
                None => ended.then_some(None),
            }
        };
        let (batch, size) = self.wait(1, next).await?;
        shared.queue.leave(self.place, size);
        Some(batch)
    }

    /// Waits for what `look` finds, for so many partitions.
    async fn wait<T>(&self, partitions: u64, mut look: impl FnMut() -> Option<T>) -> T {
        loop {
            let news = self.news.notified();
            tokio::pin!(news);
            news.as_mut().enable();
            if let Some(found) = look() {
                return found;
            }
            let began = Instant::now();
            news.await;
            let nanos = u64::try_from(began.elapsed().as_nanos()).unwrap_or(u64::MAX);
            self.waited_nanos
                .fetch_add(nanos.saturating_mul(partitions), Ordering::Relaxed);
        }
    }
}

/// What a stage holds of an input that is streamed.
#[derive(Debug)]
struct Open(Arc<Tap>);

/// Goes with the last that could take a row.
struct Tap {
    inlet: Arc<Inlet>,
    shared: Arc<Shared>,
}

impl Drop for Tap {
    fn drop(&mut self) {
        let mut passing = self.inlet.passing();
        passing.dropped = true;
        let left = std::mem::take(&mut passing.batches);
        drop(passing);
        for (_, size) in left {
            self.shared.queue.leave(self.inlet.place, size);
        }
    }
}

impl fmt::Debug for Tap {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("Tap").field(&self.inlet).finish()
    }
}

#[async_trait]
impl Streamed for Open {
    fn schema(&self) -> SchemaRef {
        self.0.inlet.spool.schema()
    }

    fn rows(&self) -> u64 {
        self.0.inlet.rows()
    }

    fn bytes(&self) -> u64 {
        self.0.inlet.bytes()
    }

    async fn begun(&self) {
        self.0.inlet.begun().await;
    }

    fn partitions(&self) -> usize {
        self.0.inlet.spool.partitions()
    }

    fn open(&self, partition: usize) -> Result<BatchStream> {
        let collected = self.0.inlet.spool.open(partition)?;
        let passing = futures::stream::unfold(Arc::clone(&self.0), |tap| async move {
            let batch = tap.inlet.next(&tap.shared).await?;
            Some((Ok(batch), tap))
        });
        Ok(collected.chain(passing).boxed())
    }
}
