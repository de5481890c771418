//! One row group being encoded, by one writer, on its CPU thread.

use arrow_array::RecordBatch;
use parquet::arrow::arrow_writer::{ArrowColumnChunk, ArrowColumnWriter, compute_leaves};
use tidegate_core::Result;

use crate::properties::{Layout, broken};

/// The rows of a page, as the library's defaults have it.
const PAGE_ROWS: usize = 20_000;

/// What a column's compressor holds once it has compressed a page: not in the library's count.
const CODEC_BYTES: usize = 256 << 10;

/// Columns encoded and compressed page by page, held in memory.
#[derive(Debug)]
pub(crate) struct RowGroup {
    columns: Vec<ArrowColumnWriter>,
    rows: usize,
}

/// A row group that is whole.
#[derive(Debug)]
pub(crate) struct Encoded {
    pub(crate) chunks: Vec<ArrowColumnChunk>,
    pub(crate) bytes: usize,
}

impl RowGroup {
    pub(crate) fn new(layout: &Layout) -> Result<Self> {
        let columns = layout.encoders.row_group()?;
        Ok(Self { columns, rows: 0 })
    }

    pub(crate) fn write(&mut self, layout: &Layout, batch: &RecordBatch) -> Result<()> {
        let mut columns = self.columns.iter_mut();
        for (field, values) in layout.schema.fields().iter().zip(batch.columns()) {
            let leaves = compute_leaves(field, values).map_err(broken)?;
            for (leaf, column) in leaves.iter().zip(columns.by_ref()) {
                column.write(leaf).map_err(broken)?;
            }
        }
        self.rows += batch.num_rows();
        Ok(())
    }

    pub(crate) fn rows(&self) -> usize {
        self.rows
    }

    /// About the bytes that it takes in the file.
    pub(crate) fn encoded_size(&self) -> usize {
        let sizes = self.columns.iter();
        sizes
            .map(ArrowColumnWriter::get_estimated_total_bytes)
            .sum()
    }

    /// The bytes that it takes in memory.
    pub(crate) fn memory_size(&self) -> usize {
        let codecs = match self.rows > PAGE_ROWS {
            true => self.columns.len() * CODEC_BYTES,
            false => 0,
        };
        let columns = self.columns.iter();
        codecs + columns.map(ArrowColumnWriter::memory_size).sum::<usize>()
    }

    pub(crate) fn close(self, layout: &Layout) -> Result<Encoded> {
        let chunks = self
            .columns
            .into_iter()
            .map(ArrowColumnWriter::close)
            .collect::<Result<Vec<_>, _>>()
            .map_err(broken)?;
        layout.encoders.learn(&chunks)?;
        let bytes = chunks.iter().map(|chunk| chunk.close().bytes_written);
        let bytes = bytes
            .map(|n| usize::try_from(n).unwrap_or(usize::MAX))
            .sum();
        Ok(Encoded { chunks, bytes })
    }
}
