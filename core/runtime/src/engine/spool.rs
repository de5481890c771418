//! Where a stage's input waits until all of it is there: in memory, then on disk.

use std::fmt;
use std::fs::File;
use std::io::{self, BufReader, BufWriter, Write};
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};

use arrow_array::RecordBatch;
use arrow_ipc::CompressionType;
use arrow_ipc::reader::StreamReader;
use arrow_ipc::writer::{IpcWriteOptions, StreamWriter};
use arrow_schema::SchemaRef;
use futures::StreamExt;
use tidegate_core::{BatchStream, Error, Gathered, Result};

/// What the spools of one epoch may hold together: in memory, and on disk.
#[derive(Debug)]
pub(crate) struct Budget {
    left: AtomicU64,
    disk: AtomicU64,
}

impl Budget {
    pub(crate) fn new(memory: u64, disk: u64) -> Arc<Self> {
        Arc::new(Self {
            left: AtomicU64::new(memory),
            disk: AtomicU64::new(disk),
        })
    }

    fn take(&self, bytes: u64) -> bool {
        take(&self.left, bytes)
    }
}

fn take(left: &AtomicU64, bytes: u64) -> bool {
    left.fetch_update(Ordering::Relaxed, Ordering::Relaxed, |left| {
        left.checked_sub(bytes)
    })
    .is_ok()
}

/// A file that takes as many bytes as the budget has for the disk.
struct Spilled {
    file: File,
    budget: Arc<Budget>,
    bytes: u64,
}

impl Write for Spilled {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        if !take(&self.budget.disk, bytes.len() as u64) {
            return Err(io::Error::new(
                io::ErrorKind::QuotaExceeded,
                "`spill` in `[runtime]`, or what was free on the disk, is used up",
            ));
        }
        self.bytes += bytes.len() as u64;
        self.file.write_all(bytes)?;
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        self.file.flush()
    }
}

impl Drop for Spilled {
    fn drop(&mut self) {
        self.budget.disk.fetch_add(self.bytes, Ordering::Relaxed);
    }
}

/// The rows of one input of a stage in one epoch. Workers push, then the stage reads.
pub(crate) struct Spool {
    schema: SchemaRef,
    budget: Arc<Budget>,
    directory: PathBuf,
    name: String,
    rows: AtomicU64,
    bytes: AtomicU64,
    taken: AtomicU64,
    partitions: Vec<Mutex<Partition>>,
}

#[derive(Default)]
struct Partition {
    batches: Vec<RecordBatch>,
    spilled: Option<(PathBuf, StreamWriter<BufWriter<Spilled>>)>,
}

impl fmt::Debug for Spool {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Spool")
            .field("name", &self.name)
            .field("rows", &self.rows)
            .finish_non_exhaustive()
    }
}

impl Spool {
    /// A spool of batches of `schema`.
    pub(crate) fn new(
        schema: SchemaRef,
        partitions: usize,
        budget: &Arc<Budget>,
        directory: &Path,
        name: String,
    ) -> Self {
        Self {
            schema,
            budget: Arc::clone(budget),
            directory: directory.to_owned(),
            name,
            rows: AtomicU64::new(0),
            bytes: AtomicU64::new(0),
            taken: AtomicU64::new(0),
            partitions: (0..partitions).map(|_| Mutex::default()).collect(),
        }
    }

    /// Takes a batch of `size` bytes into a partition; on disk if the budget is spent. May block.
    pub(crate) fn push(&self, partition: usize, batch: &RecordBatch, size: u64) -> Result<()> {
        self.rows
            .fetch_add(batch.num_rows() as u64, Ordering::Relaxed);
        self.bytes.fetch_add(size, Ordering::Relaxed);
        let mut part = self.partitions[partition]
            .lock()
            .unwrap_or_else(PoisonError::into_inner);
        if part.spilled.is_none() && self.budget.take(size) {
            self.taken.fetch_add(size, Ordering::Relaxed);
            part.batches.push(batch.clone());
            return Ok(());
        }
        let (_, writer) = match &mut part.spilled {
            Some(spilled) => spilled,
            empty => empty.insert(self.spill(partition)?),
        };
        writer.write(batch).map_err(|error| self.disk(error))
    }

    fn spill(&self, partition: usize) -> Result<(PathBuf, StreamWriter<BufWriter<Spilled>>)> {
        std::fs::create_dir_all(&self.directory).map_err(|error| self.disk(error.into()))?;
        let path = self
            .directory
            .join(format!("{}-{partition}.arrow", self.name));
        let file = File::create(&path).map_err(|error| self.disk(error.into()))?;
        let options =
            IpcWriteOptions::default().try_with_compression(Some(CompressionType::LZ4_FRAME))?;
        let file = Spilled {
            file,
            budget: Arc::clone(&self.budget),
            bytes: 0,
        };
        let file = BufWriter::with_capacity(1 << 20, file);
        let writer = StreamWriter::try_new_with_options(file, &self.schema, options)
            .map_err(|error| self.disk(error))?;
        Ok((path, writer))
    }

    fn disk(&self, error: arrow_schema::ArrowError) -> Error {
        let error = match error {
            arrow_schema::ArrowError::IoError(_, source) => Error::io(
                "what doesn't fit in memory could not be kept on disk",
                source,
            ),
            other => other.into(),
        };
        error.with("directory", self.directory.display()).hint(
            "rows that wait for a join or a sort go there; raise `spill` or `memory` in `[runtime]`, or set TMPDIR to a disk with more room",
        )
    }

    /// Ends the pushing: from here on it can be read.
    pub(crate) fn finish(&self) -> Result<()> {
        for partition in &self.partitions {
            let mut partition = partition.lock().unwrap_or_else(PoisonError::into_inner);
            if let Some((_, writer)) = &mut partition.spilled {
                writer.finish().map_err(|error| self.disk(error))?;
            }
        }
        Ok(())
    }
}

impl Gathered for Spool {
    fn schema(&self) -> SchemaRef {
        self.schema.clone()
    }

    fn rows(&self) -> u64 {
        self.rows.load(Ordering::Relaxed)
    }

    fn bytes(&self) -> u64 {
        self.bytes.load(Ordering::Relaxed)
    }

    fn partitions(&self) -> usize {
        self.partitions.len()
    }

    fn open(&self, partition: usize) -> Result<BatchStream> {
        let part = self.partitions[partition]
            .lock()
            .unwrap_or_else(PoisonError::into_inner);
        let in_memory = futures::stream::iter(part.batches.clone().into_iter().map(Ok));
        let Some((path, _)) = &part.spilled else {
            return Ok(in_memory.boxed());
        };
        let file = File::open(path).map_err(|error| self.disk(error.into()))?;
        let reader = StreamReader::try_new(BufReader::with_capacity(1 << 20, file), None)?;
        let on_disk = futures::stream::iter(reader.map(|batch| batch.map_err(Error::from)));
        Ok(in_memory.chain(on_disk).boxed())
    }
}

impl Drop for Spool {
    fn drop(&mut self) {
        self.budget
            .left
            .fetch_add(self.taken.load(Ordering::Relaxed), Ordering::Relaxed);
        for partition in &mut self.partitions {
            let partition = partition.get_mut().unwrap_or_else(PoisonError::into_inner);
            if let Some((path, writer)) = partition.spilled.take() {
                drop(writer);
                // The whole scratch directory goes with the run; this only frees the disk sooner.
                let _ = std::fs::remove_file(path);
            }
        }
    }
}
