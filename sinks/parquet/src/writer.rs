//! One open end of the sink.

use std::collections::HashMap;
use std::sync::Arc;

use arrow_array::RecordBatch;
use tidegate_catalog::{Fit, Registrar};
use tidegate_core::{Metrics, Origin, Rejected, Result, Sealed, SinkWriter, async_trait};
use tidegate_formats::row_to_json;

use crate::epoch::EpochFiles;
use crate::partition::Partitioner;
use crate::prepared::Values;
use crate::row_group::RowGroup;
use crate::sink::folder_of;

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
    files: Arc<EpochFiles>,
    fit: Arc<Fit>,
    partitioner: Partitioner,
    open: HashMap<Arc<str>, Open>,
    bounds: Bounds,
    registrar: Option<Arc<Registrar>>,
    clock: u64,
    metrics: Arc<Metrics>,
}

#[derive(Debug)]
struct Open {
    group: RowGroup,
    used: u64,
}

impl ParquetWriter {
    pub(crate) fn new(
        files: Arc<EpochFiles>,
        fit: Arc<Fit>,
        partitioner: Partitioner,
        bounds: Bounds,
        registrar: Option<Arc<Registrar>>,
        metrics: Arc<Metrics>,
    ) -> Self {
        files.enter();
        Self {
            files,
            fit,
            partitioner,
            open: HashMap::new(),
            bounds,
            registrar,
            clock: 0,
            metrics,
        }
    }

    async fn append(&mut self, folder: &str, batch: &RecordBatch) -> Result<()> {
        let mut from = 0;
        while from < batch.num_rows() {
            if !self.open.contains_key(folder) {
                if self.open.len() >= OPEN_PARTITIONS {
                    self.flush_by(|open| u64::MAX - open.used).await?;
                }
                let group = RowGroup::new(self.files.layout())?;
                self.open.insert(folder.into(), Open { group, used: 0 });
            }
            let Some(open) = self.open.get_mut(folder) else {
                continue;
            };
            self.clock += 1;
            open.used = self.clock;
            let room = self.bounds.rows - open.group.rows();
            let rows = room.min(batch.num_rows() - from);
            open.group
                .write(self.files.layout(), &batch.slice(from, rows))?;
            from += rows;
            let full = open.group.rows() >= self.bounds.rows
                || open.group.encoded_size() >= self.bounds.bytes;
            if full && let Some((folder, open)) = self.open.remove_entry(folder) {
                self.files
                    .append(&folder, open.group.close(self.files.layout())?)
                    .await?;
            }
        }
        Ok(())
    }

    /// Ends the row group that scores highest.
    async fn flush_by(&mut self, score: impl Fn(&Open) -> u64) -> Result<()> {
        let highest = self.open.iter().max_by_key(|(_, open)| score(open));
        let Some(folder) = highest.map(|(folder, _)| Arc::clone(folder)) else {
            return Ok(());
        };
        if let Some(open) = self.open.remove(&folder) {
            self.files
                .append(&folder, open.group.close(self.files.layout())?)
                .await?;
        }
        Ok(())
    }

    fn memory(&self) -> usize {
        let open = self.open.values();
        open.map(|open| open.group.memory_size()).sum()
    }
}

#[async_trait]
impl SinkWriter for ParquetWriter {
    async fn write(&mut self, _input: usize, batch: RecordBatch) -> Result<Rejected> {
        let mut rejected = Rejected::default();
        let fitted = self.fit.apply(&batch)?;
        for (row, reason) in fitted.rejected {
            rejected.push(row_to_json(&batch, row)?, reason, Origin::default());
        }
        let (parts, nameless) = self.partitioner.split(&fitted.batch, &fitted.original)?;
        rejected.extend(nameless);
        for part in parts {
            self.append(&part.folder, &part.batch).await?;
        }
        while self.memory() > self.bounds.memory {
            self.flush_by(|open| open.group.memory_size() as u64)
                .await?;
        }
        Ok(rejected)
    }

    async fn prepare(mut self: Box<Self>) -> Result<Sealed> {
        let mut open: Vec<_> = std::mem::take(&mut self.open).into_iter().collect();
        open.sort_by(|a, b| a.0.cmp(&b.0));
        for (folder, open) in open {
            self.files
                .append(&folder, open.group.close(self.files.layout())?)
                .await?;
        }
        let files = self.files.prepare().await?;
        if files.is_empty() {
            return Ok(Sealed::default());
        }
        let register = match self.registrar.as_deref() {
            None => Vec::new(),
            Some(registrar) => {
                let folders = files.iter().map(|file| folder_of(&file.token.key));
                vec![registrar.registration(folders)?]
            }
        };
        self.metrics
            .bytes(files.iter().map(|file| file.bytes).sum());
        self.metrics.files(files.len() as u64);
        Ok(Sealed {
            prepared: Some(
                Values {
                    files,
                    register,
                    ..Values::default()
                }
                .encode()?,
            ),
            rejected: Rejected::default(),
        })
    }

    async fn abandon(mut self: Box<Self>) {
        self.open.clear();
        self.files.abandon().await;
    }
}
