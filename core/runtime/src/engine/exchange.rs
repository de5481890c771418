//! Between workers and writers: which writer takes which rows, and how many writers there are.

use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, OnceLock, PoisonError};

use ahash::RandomState;
use arrow_array::{ArrayRef, UInt32Array};
use arrow_row::{RowConverter, SortField};
use arrow_select::take::take_record_batch;
use tidegate_core::{
    CpuWriter, Distribution, Epoch, Error, IoWriter, Rejected, Result, Sink, SinkBatch, SinkEpoch,
    Spread, Writer, WriterId, batch_bytes, guarded_async,
};

use super::cpu_lane::CpuLane;
use super::flow::EpochSet;
use super::io_lane::IoLane;
use super::shared::Shared;
use crate::graph::NodeId;
use crate::stats::ComponentStats;

/// One epoch's writers of one sink.
pub(crate) struct Writers {
    node: NodeId,
    sink: Arc<dyn Sink>,
    stats: Arc<ComponentStats>,
    epoch: Epoch,
    workers: usize,
    distributions: Vec<Distribution>,
    wants_origins: bool,
    bytes: AtomicU64,
    rows: AtomicU64,
    opening: Mutex<()>,
    open: OnceLock<Open>,
}

/// A sink's epoch, from its first rows on.
pub(crate) struct Open {
    pub(crate) epoch: Arc<dyn SinkEpoch>,
    pub(crate) lane: Lane,
}

/// Where an epoch's writers work.
pub(crate) enum Lane {
    Cpu(CpuLane),
    Io(Arc<IoLane>),
}

/// Who brings rows, for which more writers may be opened.
pub(crate) struct Opening<'a> {
    pub(crate) shared: &'a Arc<Shared>,
    pub(crate) set: &'a Arc<EpochSet>,
    pub(crate) stats: &'a ComponentStats,
    pub(crate) sink: NodeId,
    writers: &'a Writers,
}

impl Opening<'_> {
    /// Whether so many writers have enough to do that another is worth it.
    pub(crate) fn may_open(&self, opened: usize) -> bool {
        let filled = (opened as u64).saturating_mul(self.writers.sink.writer_bytes());
        self.writers.bytes.load(Ordering::Relaxed) >= filled
    }

    /// The next CPU writer.
    pub(crate) fn cpu_writer(&self, index: u32) -> Result<Box<dyn CpuWriter>> {
        let executor = self.shared.around.executor;
        let writer = self.writers.writer(executor, index);
        match self.shared.runtime.block_on(writer)? {
            Writer::Cpu(writer) => Ok(writer),
            Writer::Io(_) => Err(mixed()),
        }
    }
}

fn mixed() -> Error {
    Error::internal("a sink's epoch has writers of two kinds")
}

impl Writers {
    pub(crate) fn new(
        node: NodeId,
        sink: &Arc<dyn Sink>,
        distributions: Vec<Distribution>,
        stats: &Arc<ComponentStats>,
        epoch: Epoch,
        workers: usize,
    ) -> Self {
        Self {
            node,
            sink: Arc::clone(sink),
            stats: Arc::clone(stats),
            epoch,
            workers,
            distributions,
            wants_origins: sink.wants_origins(),
            bytes: AtomicU64::new(0),
            rows: AtomicU64::new(0),
            opening: Mutex::default(),
            open: OnceLock::new(),
        }
    }

    /// Rows that were given to the sink in this epoch.
    pub(crate) fn rows(&self) -> u64 {
        self.rows.load(Ordering::Relaxed)
    }

    /// Whether rows come with their origins.
    pub(crate) fn wants_origins(&self) -> bool {
        self.wants_origins
    }

    /// What is open of the epoch; `None` before its first rows.
    pub(crate) fn get(&self) -> Option<&Open> {
        self.open.get()
    }

    /// Writes a batch, on the calling thread, a worker's, or gives it to who will. What an I/O
    /// writer rejects goes its own way.
    pub(crate) fn write(
        &self,
        shared: &Arc<Shared>,
        set: &Arc<EpochSet>,
        worker: usize,
        batch: SinkBatch,
    ) -> Result<Rejected> {
        let rows = batch.rows.num_rows() as u64;
        self.rows.fetch_add(rows, Ordering::Relaxed);
        self.stats.add_rows_in(rows);
        self.stats.add_rows_out(rows);
        self.bytes
            .fetch_add(batch_bytes(&batch.rows) as u64, Ordering::Relaxed);
        let opening = Opening {
            shared,
            set,
            stats: &self.stats,
            sink: self.node,
            writers: self,
        };
        let open = self.open(&opening)?;
        let Distribution { spread, ordered } = &self.distributions[batch.input];
        let mut rejected = Rejected::default();
        match (&open.lane, spread) {
            (Lane::Cpu(lane), Spread::Any) => rejected = lane.write(&opening, batch)?,
            (Lane::Cpu(lane), Spread::Single) => rejected = lane.write_slot(&opening, 0, batch)?,
            (Lane::Cpu(lane), Spread::Hash(columns)) => {
                for (slot, part) in partition(&batch, columns, lane.slots())? {
                    rejected.extend(lane.write_slot(&opening, slot, part)?);
                }
            }
            (Lane::Io(lane), Spread::Hash(columns)) => {
                for (group, part) in partition(&batch, columns, lane.groups())? {
                    lane.push(&opening, group, &part)?;
                }
            }
            // A split's rows all come by one worker, where their order matters.
            (Lane::Io(lane), Spread::Any) if *ordered => {
                lane.push(&opening, worker % lane.groups(), &batch)?;
            }
            (Lane::Io(lane), Spread::Any | Spread::Single) => lane.push(&opening, 0, &batch)?,
        }
        if let Lane::Cpu(lane) = &open.lane {
            lane.look(&opening, &open.epoch);
        }
        Ok(rejected)
    }

    /// The epoch, opened with its first writer when its first rows come.
    fn open(&self, opening: &Opening<'_>) -> Result<&Open> {
        if let Some(open) = self.open.get() {
            return Ok(open);
        }
        let _one = self.opening.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(open) = self.open.get() {
            return Ok(open);
        }
        let id = WriterId {
            epoch: self.epoch,
            executor: opening.shared.around.executor,
            index: 0,
        };
        let runtime = &opening.shared.runtime;
        let (epoch, first) = runtime.block_on(guarded_async("opening an epoch", async {
            let epoch = self.sink.epoch(self.epoch).await?;
            let first = epoch.writer(id).await?;
            Ok((epoch, first))
        }))?;
        let lane = match first {
            Writer::Cpu(first) => Lane::Cpu(CpuLane::new(first, self.workers)),
            Writer::Io(first) => Lane::Io(Arc::new(self.io_lane(first))),
        };
        Ok(self.open.get_or_init(|| Open { epoch, lane }))
    }

    fn io_lane(&self, first: Box<dyn IoWriter>) -> IoLane {
        let limits = self.sink.in_flight();
        let most = limits.writers.max(1);
        let any = |wanted: fn(&Distribution) -> bool| self.distributions.iter().any(wanted);
        let (groups, writers) = match () {
            () if any(|input| input.spread == Spread::Single) => (1, 1),
            () if any(|input| matches!(input.spread, Spread::Hash(_))) => (most, 1),
            () if any(|input| input.ordered) => (self.workers.min(most), 1),
            () => (1, most),
        };
        IoLane::new(self.node, limits, first, groups, writers)
    }

    async fn writer(&self, executor: u32, index: u32) -> Result<Writer> {
        let open = self.open.get();
        let open = open.ok_or_else(|| Error::internal("an epoch isn't open"))?;
        let id = WriterId {
            epoch: self.epoch,
            executor,
            index,
        };
        guarded_async("opening a writer", open.epoch.writer(id)).await
    }

    /// The next I/O writer.
    pub(crate) async fn io_writer(&self, executor: u32, index: u32) -> Result<Box<dyn IoWriter>> {
        match self.writer(executor, index).await? {
            Writer::Io(writer) => Ok(writer),
            Writer::Cpu(_) => Err(mixed()),
        }
    }

    /// Lets nobody wait for a writer any more, and no writer for others.
    pub(crate) fn close(&self) {
        match self.open.get().map(|open| &open.lane) {
            None => {}
            Some(Lane::Cpu(lane)) => lane.close(),
            Some(Lane::Io(lane)) => lane.close(),
        }
    }

    /// Gives up what was begun.
    pub(crate) async fn abandon(&self) {
        let Some(open) = self.open.get() else { return };
        match &open.lane {
            Lane::Cpu(lane) => drop(lane.take()),
            Lane::Io(lane) => {
                lane.closed().await;
                drop(lane.take());
            }
        }
        let abandoned = async {
            open.epoch.abandon().await;
            Ok(())
        };
        if let Err(error) = guarded_async("giving up an epoch", abandoned).await {
            tracing::warn!(%error, "what an epoch had begun is left for the next run to discard");
        }
    }
}

/// The parts of a batch whose rows have equal values in `columns`, or values that share a slot.
fn partition(
    batch: &SinkBatch,
    columns: &[String],
    slots: usize,
) -> Result<Vec<(usize, SinkBatch)>> {
    let arrays = columns
        .iter()
        .map(|name| {
            batch.rows.column_by_name(name).cloned().ok_or_else(|| {
                Error::internal("a column to distribute rows by is missing").with("column", name)
            })
        })
        .collect::<Result<Vec<ArrayRef>>>()?;
    let fields = arrays
        .iter()
        .map(|array| SortField::new(array.data_type().clone()))
        .collect();
    let rows = RowConverter::new(fields)?.convert_columns(&arrays)?;
    // Fixed seeds: equal rows go to the same writer in every batch and every worker.
    let state = RandomState::with_seeds(1, 2, 3, 4);
    let mut indices: Vec<Vec<u32>> = vec![Vec::new(); slots];
    for (index, row) in (0..).zip(rows.iter()) {
        let slot = state.hash_one(row.as_ref()) % slots as u64;
        indices[usize::try_from(slot).unwrap_or_default()].push(index);
    }
    let mut parts = Vec::new();
    for (slot, indices) in indices.into_iter().enumerate() {
        match indices.len() {
            0 => {}
            all if all == batch.rows.num_rows() => return Ok(vec![(slot, batch.clone())]),
            _ => {
                let origins = batch.origins.as_ref();
                let part = SinkBatch {
                    input: batch.input,
                    origins: origins.map(|origins| origins.take(&indices)),
                    rows: take_record_batch(&batch.rows, &UInt32Array::from(indices))?,
                };
                parts.push((slot, part));
            }
        }
    }
    Ok(parts)
}
