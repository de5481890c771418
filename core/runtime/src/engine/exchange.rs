//! Between workers and writers: which writer takes which rows, and how many writers there are.

use std::sync::atomic::{AtomicBool, AtomicU32, AtomicU64, Ordering};
use std::sync::{Arc, Condvar, Mutex, PoisonError};
use std::time::Instant;

use ahash::RandomState;
use arrow_array::{ArrayRef, RecordBatch, UInt32Array};
use arrow_row::{RowConverter, SortField};
use arrow_select::take::take_record_batch;
use tidegate_core::{Epoch, Error, Rejected, Result, Sink, SinkWriter, Spread, WriterId};
use tokio::runtime::Handle;

use crate::stats::ComponentStats;

/// One epoch's writers of one sink.
pub(crate) struct Writers {
    sink: Arc<dyn Sink>,
    stats: Arc<ComponentStats>,
    epoch: Epoch,
    most: usize,
    spreads: Vec<Spread>,
    opened: AtomicU32,
    bytes: AtomicU64,
    rows: AtomicU64,
    /// Writers that any row may go to and that no worker is using.
    idle: Mutex<Vec<Box<dyn SinkWriter>>>,
    freed: Condvar,
    closed: AtomicBool,
    /// Writers by hash of a row's columns; the first of them where there may be only one.
    slots: Vec<Mutex<Option<Box<dyn SinkWriter>>>>,
}

impl Writers {
    pub(crate) fn new(
        sink: &Arc<dyn Sink>,
        inputs: usize,
        stats: &Arc<ComponentStats>,
        epoch: Epoch,
        most: usize,
    ) -> Self {
        Self {
            sink: Arc::clone(sink),
            stats: Arc::clone(stats),
            epoch,
            most,
            spreads: (0..inputs)
                .map(|input| sink.distribution(input).spread)
                .collect(),
            opened: AtomicU32::new(0),
            bytes: AtomicU64::new(0),
            rows: AtomicU64::new(0),
            idle: Mutex::default(),
            freed: Condvar::new(),
            closed: AtomicBool::new(false),
            slots: (0..most).map(|_| Mutex::default()).collect(),
        }
    }

    /// Rows that were given to the sink in this epoch.
    pub(crate) fn rows(&self) -> u64 {
        self.rows.load(Ordering::Relaxed)
    }

    /// Writes a batch, on the calling thread, which may block.
    pub(crate) fn write(
        &self,
        runtime: &Handle,
        input: usize,
        batch: RecordBatch,
    ) -> Result<Rejected> {
        let rows = batch.num_rows() as u64;
        self.rows.fetch_add(rows, Ordering::Relaxed);
        self.stats.add_rows_in(rows);
        self.bytes
            .fetch_add(batch.get_array_memory_size() as u64, Ordering::Relaxed);
        let rejected = match &self.spreads[input] {
            Spread::Any => self.write_any(runtime, input, batch),
            Spread::Single => self.write_slot(runtime, 0, input, batch),
            Spread::Hash(columns) => {
                let mut rejected = Rejected::default();
                for (slot, part) in partition(&batch, columns, self.most)? {
                    rejected.extend(self.write_slot(runtime, slot, input, part)?);
                }
                Ok(rejected)
            }
        }?;
        self.stats.add_rows_out(rows - rejected.len() as u64);
        Ok(rejected)
    }

    fn open(&self, runtime: &Handle, index: u32) -> Result<Box<dyn SinkWriter>> {
        runtime.block_on(self.sink.writer(WriterId {
            epoch: self.epoch,
            index,
        }))
    }

    fn use_writer(
        &self,
        runtime: &Handle,
        writer: &mut Box<dyn SinkWriter>,
        input: usize,
        batch: RecordBatch,
    ) -> Result<Rejected> {
        let began = Instant::now();
        let result = runtime.block_on(writer.write(input, batch));
        self.stats.add_busy(began);
        result
    }

    fn write_any(&self, runtime: &Handle, input: usize, batch: RecordBatch) -> Result<Rejected> {
        let mut writer = self.take_idle(runtime)?;
        let result = self.use_writer(runtime, &mut writer, input, batch);
        // A writer that failed goes back too: it is abandoned with the others.
        self.idle
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .push(writer);
        self.freed.notify_one();
        result
    }

    /// A writer that nobody uses; a new one only if the others have enough to do.
    fn take_idle(&self, runtime: &Handle) -> Result<Box<dyn SinkWriter>> {
        let mut idle = self.idle.lock().unwrap_or_else(PoisonError::into_inner);
        loop {
            if self.closed.load(Ordering::Relaxed) {
                return Err(Error::internal("the run has ended"));
            }
            if let Some(writer) = idle.pop() {
                return Ok(writer);
            }
            let opened = self.opened.load(Ordering::Relaxed);
            let filled = u64::from(opened).saturating_mul(self.sink.writer_bytes());
            if opened == 0
                || ((opened as usize) < self.most && self.bytes.load(Ordering::Relaxed) >= filled)
            {
                self.opened.store(opened + 1, Ordering::Relaxed);
                drop(idle);
                return self.open(runtime, opened);
            }
            idle = self
                .freed
                .wait(idle)
                .unwrap_or_else(PoisonError::into_inner);
        }
    }

    fn write_slot(
        &self,
        runtime: &Handle,
        slot: usize,
        input: usize,
        batch: RecordBatch,
    ) -> Result<Rejected> {
        let mut place = self.slots[slot]
            .lock()
            .unwrap_or_else(PoisonError::into_inner);
        let writer = match &mut *place {
            Some(writer) => writer,
            empty => {
                let index = self.opened.fetch_add(1, Ordering::Relaxed);
                empty.insert(self.open(runtime, index)?)
            }
        };
        self.use_writer(runtime, writer, input, batch)
    }

    /// Lets nobody wait for a writer any more: one may be gone with a worker that panicked.
    pub(crate) fn close(&self) {
        self.closed.store(true, Ordering::Relaxed);
        let _idle = self.idle.lock().unwrap_or_else(PoisonError::into_inner);
        self.freed.notify_all();
    }

    /// Takes all writers, to prepare or abandon them. Nobody writes any more.
    pub(crate) fn take(&self) -> Vec<Box<dyn SinkWriter>> {
        let mut writers =
            std::mem::take(&mut *self.idle.lock().unwrap_or_else(PoisonError::into_inner));
        for slot in &self.slots {
            writers.extend(slot.lock().unwrap_or_else(PoisonError::into_inner).take());
        }
        writers
    }
}

/// The parts of a batch whose rows have equal values in `columns`, or values that share a slot.
fn partition(
    batch: &RecordBatch,
    columns: &[String],
    slots: usize,
) -> Result<Vec<(usize, RecordBatch)>> {
    let arrays = columns
        .iter()
        .map(|name| {
            batch.column_by_name(name).cloned().ok_or_else(|| {
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
            all if all == batch.num_rows() => return Ok(vec![(slot, batch.clone())]),
            _ => parts.push((slot, take_record_batch(batch, &UInt32Array::from(indices))?)),
        }
    }
    Ok(parts)
}
