//! The readers of text files for others who have found the files: for queries.

use std::sync::Arc;

use arrow_array::ArrayRef;
use arrow_schema::SchemaRef;
use bytes::Bytes;
use futures::{StreamExt, TryStreamExt};
use tidegate_catalog::{is_guessed, naive_times};
use tidegate_core::{CatalogTable, Context, Error, EventStream, Metrics, Result, Scan, StreamName};
use tidegate_formats::{
    Chunk, Compression, CsvHeader, CsvOptions, Format, Inference, Position, Splitter,
};
use tidegate_storage::{FileMeta, Storage, spread};

use super::columns::Columns;
use super::piece::Part;
use super::reader::{Found, Reader};
use super::text::sample;

/// How many files are looked at for their columns, from all over.
pub(crate) const FILES: usize = 64;

/// How many plain bytes of each are.
pub(crate) const BYTES: usize = 2 << 20;

/// And how many of all together, where each still has enough.
pub(crate) const ALL_BYTES: usize = 32 << 20;

/// Samples are cut into chunks of so many bytes. What is behind the last one isn't learnt from, and a
/// sample without a chunk is read again, larger.
const CHUNK: usize = 16 << 10;

/// Files that are looked at together.
const AT_ONCE: usize = 4;

/// A text file that is read as a part of a table, exactly as the `table` source reads it: columns
/// by name whatever its case (in CSV without a header by position), NULL where they are missing.
#[derive(Debug, Clone)]
pub struct TextPart {
    /// Where it lies.
    pub storage: Storage,
    /// Which file it is there; its name tells its compression.
    pub file: FileMeta,
    /// What its bytes mean; not Parquet.
    pub format: Format,
    /// How its fields are delimited, if it is CSV.
    pub csv: CsvOptions,
    /// The table's columns: those of the files, then the partition keys.
    pub schema: SchemaRef,
    /// The catalog's table that it is of; `None` if its columns were found out by [`text_columns`].
    pub table: Option<Arc<CatalogTable>>,
    /// The values of the partition keys: arrays of one row each.
    pub keys: Vec<ArrayRef>,
    /// The names of the columns that are wanted; they come in the table's order.
    pub columns: Vec<String>,
    /// Where bytes and files are counted.
    pub metrics: Arc<Metrics>,
}

impl TextPart {
    /// The file's rows, still to be decoded. Errors: `Config` for a format that can't have such
    /// columns, `Conflict` if the file has changed since it was found; those of the place.
    pub async fn events(self, cx: &Context) -> Result<EventStream> {
        let path = self.storage.show(&self.file.key);
        if self.format == Format::Parquet {
            return Err(Error::internal("Parquet is no text").with("path", path));
        }
        let cx = Context {
            metrics: self.metrics,
            ..cx.clone()
        };
        let stream = StreamName::from("rows");
        let scan = Scan {
            columns: Some(self.columns),
            ..Scan::all(stream.clone())
        };
        let columns = Columns {
            schema: self.schema,
            // Columns that were found in the files are told apart as the files do.
            lenient: self.table.is_some(),
            learnt: self.table.as_deref().is_none_or(is_guessed),
            naive: self
                .table
                .as_deref()
                .map(naive_times)
                .unwrap_or_default()
                .into(),
            constants: self.keys.into(),
            shadowed: Arc::default(),
            on_new: Some(Arc::default()),
        };
        let found = Found {
            name: self.file.key.clone(),
            compression: Compression::from_path(&path),
            storage: self.storage,
            file: self.file,
            format: self.format,
            partition: None,
        };
        let reader = Reader::new(&cx, stream, &self.csv, u64::MAX);
        reader
            .events(found, Part::Whole, columns, &scan, None)
            .await
    }
}

/// The columns that text files have together, guessed from the first records of 64 of them at most.
/// `compression` stands for what their names tell. Errors: `Data`, `Schema`, with `file`; those of the
/// place.
pub async fn text_columns(
    files: &[(Storage, FileMeta)],
    format: Format,
    csv: &CsvOptions,
    compression: Option<Compression>,
) -> Result<SchemaRef> {
    let name = |(storage, file): &(Storage, FileMeta)| storage.show(&file.key);
    let named = |path: &str| csv.named(path);
    let first = files.first().map(name).unwrap_or_default();
    let mut inference = Inference::new(format, &named(&first))?;
    let files = spread(files, FILES);
    let bytes = (ALL_BYTES / files.len().max(1)).min(BYTES);
    let samples = files.into_iter().map(|(storage, file)| async move {
        let path = storage.show(&file.key);
        let compression = compression.unwrap_or_else(|| Compression::from_path(&path));
        let sampled = sample(&storage, &file, compression, bytes).await?;
        let csv = named(&path);
        let records = records((&storage, &file), compression, format, &csv, sampled).await?;
        Ok::<_, Error>((path, records))
    });
    let samples: Vec<_> = samples.collect();
    let mut samples = futures::stream::iter(samples).buffered(AT_ONCE);
    let mut first = None;
    while let Some((path, (chunks, header))) = samples.try_next().await? {
        let explain = |error: Error| error.with("file", &path);
        if let Some(header) = header {
            inference.header(&header).map_err(explain)?;
        }
        for chunk in chunks {
            inference.push(&chunk).map_err(explain)?;
        }
        first.get_or_insert(path);
    }
    inference.finish().map_err(|error| match first {
        Some(path) => error.with("file", path),
        None => error,
    })
}

/// Whole records, and the header of their file.
pub(crate) type Records = (Vec<Chunk>, Option<CsvHeader>);

/// The whole records of a file's beginning, of which a sample is there, and whether it is all. Of a
/// larger one if that sample has none. Errors: `Data`, `Schema`, with `file`; those of the place.
pub(crate) async fn records(
    (storage, file): (&Storage, &FileMeta),
    compression: Compression,
    format: Format,
    csv: &CsvOptions,
    mut sampled: (Bytes, bool),
) -> Result<Records> {
    loop {
        let (bytes, complete) = sampled;
        let wanted = bytes.len().saturating_mul(8);
        let (chunks, header) = pieces(format, csv, bytes, complete)
            .map_err(|error| error.with("file", storage.show(&file.key)))?;
        if complete || !chunks.is_empty() {
            return Ok((chunks, header));
        }
        sampled = sample(storage, file, compression, wanted).await?;
    }
}

/// The whole records at a file's beginning, and its header.
fn pieces(format: Format, csv: &CsvOptions, bytes: Bytes, complete: bool) -> Result<Records> {
    let mut splitter = Splitter::new(format, csv, Position::start())?.chunk_size(CHUNK);
    splitter.push(bytes);
    if complete {
        splitter.finish();
    }
    let mut chunks = Vec::new();
    while let Some(chunk) = splitter.next()? {
        chunks.push(chunk);
    }
    Ok((chunks, splitter.header().cloned()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_smallest_sample_of_many_files_is_enough() {
        let least = ALL_BYTES / FILES;
        let text = "{\"id\":1}\n".repeat(least / 9 + 1);
        let sample = Bytes::from(text).slice(..least);
        let (chunks, _) = pieces(Format::Ndjson, &CsvOptions::default(), sample, false).unwrap();
        let seen: usize = chunks.iter().map(|chunk| chunk.bytes.len()).sum();
        assert!(seen + 2 * CHUNK > least, "{seen} of {least}");
    }
}
