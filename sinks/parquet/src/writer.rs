//! One open end of the sink.

use std::collections::HashMap;
use std::sync::Arc;

use arrow_array::RecordBatch;
use tidegate_core::{CpuWriter, Origin, Rejected, Result, SinkBatch};
use tidegate_formats::row_to_json;
use tidegate_staged::{Files, Outlet};

use crate::file::{ParquetFile, ParquetFiles};
use crate::partition::Partitioner;
use crate::row_group::RowGroup;

/// How many partitions a writer encodes at once.
const OPEN_PARTITIONS: usize = 100;

/// What bounds a writer's row groups.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Bounds {
    /// Rows of one.
    pub(crate) rows: usize,
    /// Bytes of one, encoded.
    pub(crate) bytes: usize,
    /// Bytes of all of a writer, in memory.
    pub(crate) memory: usize,
}

/// Encodes rows on its own thread, into files that it shares with the epoch's other writers.
#[derive(Debug)]
pub(crate) struct ParquetWriter {
    files: Arc<Files<ParquetFiles>>,
    partitioner: Partitioner,
    open: HashMap<Arc<str>, Open>,
    clock: u64,
}

#[derive(Debug)]
struct Open {
    group: RowGroup,
    used: u64,
}

impl ParquetWriter {
    pub(crate) fn new(files: Arc<Files<ParquetFiles>>, partitioner: Partitioner) -> Self {
        Self {
            files,
            partitioner,
            open: HashMap::new(),
            clock: 0,
        }
    }

    fn format(&self) -> &ParquetFiles {
        self.files.format()
    }

    /// Ends a directory's row group.
    fn close(&self, directory: &Arc<str>, open: Open) -> Result<()> {
        let group = open.group.close(&self.format().layout)?;
        let bytes = group.bytes as u64;
        let append = |file: &mut ParquetFile, out: &mut Outlet| file.append(group, out);
        self.files.append(directory, bytes, append)
    }

    fn append(&mut self, directory: &str, batch: &RecordBatch) -> Result<()> {
        let files = Arc::clone(&self.files);
        let ParquetFiles { layout, bounds, .. } = files.format();
        let mut from = 0;
        while from < batch.num_rows() {
            if !self.open.contains_key(directory) {
                if self.open.len() >= OPEN_PARTITIONS {
                    self.flush_by(|open| u64::MAX - open.used)?;
                }
                let group = RowGroup::new(layout)?;
                self.open.insert(directory.into(), Open { group, used: 0 });
            }
            let Some(open) = self.open.get_mut(directory) else {
                continue;
            };
            self.clock += 1;
            open.used = self.clock;
            let room = bounds.rows - open.group.rows();
            let rows = room.min(batch.num_rows() - from);
            open.group.write(layout, &batch.slice(from, rows))?;
            from += rows;
            let full =
                open.group.rows() >= bounds.rows || open.group.encoded_size() >= bounds.bytes;
            if full && let Some((directory, open)) = self.open.remove_entry(directory) {
                self.close(&directory, open)?;
            }
        }
        Ok(())
    }

    /// Ends the row group that scores highest.
    fn flush_by(&mut self, score: impl Fn(&Open) -> u64) -> Result<()> {
        let highest = self.open.iter().max_by_key(|(_, open)| score(open));
        let Some(directory) = highest.map(|(directory, _)| Arc::clone(directory)) else {
            return Ok(());
        };
        match self.open.remove(&directory) {
            Some(open) => self.close(&directory, open),
            None => Ok(()),
        }
    }

    fn memory(&self) -> usize {
        let open = self.open.values();
        open.map(|open| open.group.memory_size()).sum()
    }
}

impl CpuWriter for ParquetWriter {
    fn write(&mut self, batch: SinkBatch) -> Result<Rejected> {
        let batch = batch.rows;
        let mut rejected = Rejected::default();
        let fitted = self.format().fit.apply(&batch)?;
        for (row, reason) in fitted.rejected {
            rejected.push(row_to_json(&batch, row)?, reason, Origin::default());
        }
        let (parts, nameless) = self.partitioner.split(&fitted.batch, &fitted.original)?;
        rejected.extend(nameless);
        for part in parts {
            self.append(&part.directory, &part.batch)?;
        }
        while self.memory() > self.format().bounds.memory {
            self.flush_by(|open| open.group.memory_size() as u64)?;
        }
        Ok(rejected)
    }

    fn finish(mut self: Box<Self>) -> Result<Rejected> {
        let mut open: Vec<_> = std::mem::take(&mut self.open).into_iter().collect();
        open.sort_by(|a, b| a.0.cmp(&b.0));
        for (directory, open) in open {
            self.close(&directory, open)?;
        }
        Ok(Rejected::default())
    }
}
