//! One file: row groups that writers have encoded, one after the other.

use std::io::{self, Write};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use parquet::file::writer::SerializedFileWriter;
use tidegate_catalog::Fit;
use tidegate_core::{CpuWriter, Result};
use tidegate_staged::{Files, Format, Outlet};

use crate::partition::{Partitioner, Partitioning};
use crate::properties::{Layout, broken};
use crate::row_group::Encoded;
use crate::writer::{Bounds, ParquetWriter};

/// How many bytes leave for the file at once.
const WRITE_BYTES: usize = 1 << 20;

/// How rows become files: one open file for each directory.
#[derive(Debug, Clone)]
pub(crate) struct ParquetFiles {
    pub(crate) fit: Arc<Fit>,
    pub(crate) partitioning: Arc<Partitioning>,
    pub(crate) layout: Arc<Layout>,
    pub(crate) bounds: Bounds,
}

/// What a file is called in its directory.
pub(crate) fn file_name(unique: &str) -> String {
    format!("part-{unique}.parquet")
}

impl Format for ParquetFiles {
    type Key = Arc<str>;
    type Encoder = ParquetFile;
    type About = ();

    fn name(&self, directory: &Arc<str>, unique: &str) -> String {
        match &**directory {
            "" => file_name(unique),
            directory => format!("{directory}/{}", file_name(unique)),
        }
    }

    fn about(&self, _folder: &Arc<str>) {}

    fn begin(&self, _folder: &Arc<str>, _out: &mut Outlet) -> Result<ParquetFile> {
        let buffer = Buffer::default();
        Ok(ParquetFile {
            parquet: self.layout.file(buffer.clone())?,
            buffer,
        })
    }

    fn end(&self, file: ParquetFile, out: &mut Outlet) -> Result<()> {
        file.parquet.into_inner().map_err(broken)?;
        file.buffer.send(out);
        Ok(())
    }

    fn writer(files: &Arc<Files<Self>>) -> Result<Box<dyn CpuWriter>> {
        let format = files.format();
        let partitioning = Arc::clone(&format.partitioning);
        let partitioner = Partitioner::new(partitioning, format.fit.schema())?;
        Ok(Box::new(ParquetWriter::new(Arc::clone(files), partitioner)))
    }
}

/// An open file.
pub(crate) struct ParquetFile {
    parquet: SerializedFileWriter<Buffer>,
    buffer: Buffer,
}

impl ParquetFile {
    /// Column by column, so that a row group isn't in memory twice.
    pub(crate) fn append(&mut self, group: Encoded, out: &mut Outlet) -> Result<()> {
        let mut row_group = self.parquet.next_row_group().map_err(broken)?;
        for chunk in group.chunks {
            chunk.append_to_row_group(&mut row_group).map_err(broken)?;
            self.buffer.send_full(out);
        }
        row_group.close().map_err(broken)?;
        self.buffer.send(out);
        Ok(())
    }
}

/// What the library has given and the file doesn't have yet, in pieces of [`WRITE_BYTES`]: one that grew
/// to the size of a column would be copied at each step.
#[derive(Debug, Clone, Default)]
struct Buffer(Arc<Mutex<Vec<Vec<u8>>>>);

impl Buffer {
    fn pieces(&self) -> MutexGuard<'_, Vec<Vec<u8>>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Sends the pieces to which nothing is added any more.
    fn send_full(&self, out: &mut Outlet) {
        let mut pieces = self.pieces();
        let full = pieces.len().saturating_sub(1);
        pieces.drain(..full).for_each(|piece| out.send(piece));
    }

    fn send(&self, out: &mut Outlet) {
        let pieces = std::mem::take(&mut *self.pieces());
        pieces.into_iter().for_each(|piece| out.send(piece));
    }
}

impl Write for Buffer {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        let mut pieces = self.pieces();
        match pieces.last_mut() {
            Some(last) if last.len() + bytes.len() <= WRITE_BYTES => last.extend_from_slice(bytes),
            _ => pieces.push(bytes.to_vec()),
        }
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}
