//! Reading of Parquet: the reader fetches a row group's bytes, workers decode parts of it.

use std::io::{Cursor, Read};
use std::ops::Range;
use std::sync::Arc;

use arrow_array::{RecordBatch, RecordBatchOptions};
use arrow_schema::SchemaRef;
use bytes::Bytes;
use futures::future::BoxFuture;
use futures::{FutureExt, StreamExt, TryStreamExt};
use parquet::arrow::ProjectionMask;
use parquet::arrow::arrow_reader::{
    ArrowReaderMetadata, ArrowReaderOptions, ParquetRecordBatchReaderBuilder, RowSelection,
    RowSelector,
};
use parquet::arrow::async_reader::MetadataFetch;
use parquet::errors::ParquetError;
use parquet::file::metadata::{PageIndexPolicy, ParquetMetaDataReader};
use parquet::file::reader::{ChunkReader, Length};
use serde::{Deserialize, Serialize};
use tidegate_core::{
    Decode, Decoded, Error, Event, EventStream, Metrics, Offset, Rejected, Result, Rows, Scan,
    StreamName,
};
use tidegate_storage::{FileMeta, Storage};

use super::plan::Part;

/// How many bytes, as they are in memory, a worker should decode at once.
const PART_BYTES: u64 = 8 << 20;

/// How much of a file's end is read first: most footers fit.
const FOOTER: usize = 64 << 10;

/// The position in a file: so many rows of this row group are done.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
struct Position {
    group: usize,
    rows: u64,
}

/// A Parquet file to read, or some of its row groups.
pub(super) struct ParquetFile {
    pub(super) storage: Storage,
    pub(super) file: FileMeta,
    pub(super) part: Part,
    pub(super) schema: SchemaRef,
    pub(super) stream: StreamName,
    pub(super) metrics: Arc<Metrics>,
}

struct Footer<'a>(&'a Storage, &'a FileMeta);

impl MetadataFetch for Footer<'_> {
    fn fetch(&mut self, range: Range<u64>) -> BoxFuture<'_, parquet::errors::Result<Bytes>> {
        let read = self.0.read(self.1, range);
        read.map(|bytes| bytes.map_err(|error| ParquetError::External(error.into())))
            .boxed()
    }
}

/// What a file's end says of it.
pub(super) async fn metadata(storage: &Storage, file: &FileMeta) -> Result<ArrowReaderMetadata> {
    let explain = |error| unreadable(error, &storage.show(&file.key));
    let metadata = ParquetMetaDataReader::new()
        .with_page_index_policy(PageIndexPolicy::Skip)
        .with_prefetch_hint(Some(FOOTER))
        .load_and_finish(Footer(storage, file), file.size)
        .await
        .map_err(explain)?;
    ArrowReaderMetadata::try_new(Arc::new(metadata), ArrowReaderOptions::new()).map_err(explain)
}

fn unreadable(error: ParquetError, path: &str) -> Error {
    match error {
        ParquetError::External(source) => match source.downcast::<Error>() {
            Ok(error) => *error,
            Err(source) => broken(path).because(source),
        },
        error => broken(path).because(error),
    }
}

fn broken(path: &str) -> Error {
    Error::data("the file can't be read as Parquet")
        .with("file", path)
        .hint("it may be cut off, or of another format")
}

impl ParquetFile {
    pub(super) async fn events(self, scan: &Scan, resume: Option<&Offset>) -> Result<EventStream> {
        let metadata = metadata(&self.storage, &self.file).await?;
        let reading = Arc::new(self.reading(metadata, scan)?);
        let groups = match self.part {
            Part::RowGroups(from, to) => from..to,
            _ => 0..reading.metadata.metadata().num_row_groups(),
        };
        let from = match resume {
            Some(resume) => resume.decode()?,
            None => Position {
                group: groups.start,
                rows: 0,
            },
        };
        let file = Arc::new(self);
        // Nobody needs more rows than the limit, so what follows it isn't fetched. Where rows are
        // dropped above, there is no telling how many it takes.
        let limit = scan.limit.filter(|_| scan.predicates.is_empty());
        let mut before = 0;
        let mut wanted = Vec::new();
        for group in groups {
            if group >= from.group && limit.is_none_or(|limit| before < limit) {
                wanted.push(group);
            }
            let rows = reading.metadata.metadata().row_group(group).num_rows();
            before += rows.unsigned_abs();
        }
        let groups = wanted.into_iter().map(move |group| {
            let (file, reading) = (Arc::clone(&file), Arc::clone(&reading));
            let done = if group == from.group { from.rows } else { 0 };
            async move { file.group(&reading, group, done).await }
        });
        // The next row group is fetched while this one is decoded.
        Ok(futures::stream::iter(groups)
            .buffered(2)
            .map_ok(|events| futures::stream::iter(events.into_iter().map(Ok)))
            .try_flatten()
            .boxed())
    }

    /// What of the file is read, checked against the stream's columns.
    fn reading(&self, metadata: ArrowReaderMetadata, scan: &Scan) -> Result<Reading> {
        let path = self.storage.show(&self.file.key);
        let found = metadata.schema();
        for field in self.schema.fields() {
            let column = match found.field_with_name(field.name()) {
                Ok(column) => column,
                Err(_) => {
                    return Err(Error::schema(format!(
                        "the file has no column `{}`",
                        field.name()
                    ))
                    .with("file", path)
                    .hint("read files of one kind together, or give the `schema` they share"));
                }
            };
            if column.data_type() != field.data_type() {
                return Err(Error::schema(format!(
                    "column `{}` is {} in the file, and {} in the stream",
                    field.name(),
                    column.data_type(),
                    field.data_type()
                ))
                .with("file", path)
                .hint("read files of one kind together"));
            }
        }
        let schema = scan.schema(&self.schema)?;
        let mut roots = Vec::with_capacity(schema.fields().len());
        for field in schema.fields() {
            roots.push(found.index_of(field.name())?);
        }
        let mask = ProjectionMask::roots(metadata.parquet_schema(), roots);
        Ok(Reading {
            metadata,
            mask,
            schema,
            path: path.into(),
        })
    }

    /// The events of one row group, after the rows that are done.
    async fn group(&self, reading: &Arc<Reading>, group: usize, done: u64) -> Result<Vec<Event>> {
        let metadata = reading.metadata.metadata().row_group(group);
        let rows = metadata.num_rows().unsigned_abs();
        let wanted = metadata.columns().iter().enumerate();
        let wanted = wanted.filter(|(leaf, _)| reading.mask.leaf_included(*leaf));
        let chunks: Vec<_> = wanted.map(|(_, column)| column.byte_range()).collect();
        let chunks: Vec<(u64, Bytes)> = futures::stream::iter(chunks)
            .map(|(start, length)| async move {
                let bytes = self.storage.read(&self.file, start..start + length).await?;
                self.metrics.bytes(length);
                Ok::<_, Error>((start, bytes))
            })
            .buffered(4)
            .try_collect()
            .await?;
        let memory = metadata.total_byte_size().unsigned_abs().max(1);
        let bytes = Fetched {
            length: self.file.size,
            chunks: chunks.into(),
        };
        // A part of a power of two of rows, so that it always begins at the same row.
        let part = (rows.saturating_mul(PART_BYTES) / memory).clamp(8192, 1 << 20);
        let part = part.next_power_of_two();
        let mut events = Vec::new();
        let mut from = done;
        while from < rows {
            let to = rows.min((from / part + 1) * part);
            let position = match to == rows {
                true => Position {
                    group: group + 1,
                    rows: 0,
                },
                false => Position { group, rows: to },
            };
            let part = EncodedRows {
                reading: Arc::clone(reading),
                bytes: bytes.clone(),
                group,
                rows: from..to,
                size: usize::try_from(memory * (to - from) / rows).unwrap_or(usize::MAX),
            };
            events.push(Event::Rows {
                stream: self.stream.clone(),
                rows: Rows::Encoded(Box::new(part)),
                rejected: None,
                resume: Some(Offset::encode(&position)?),
            });
            from = to;
        }
        Ok(events)
    }
}

/// What all parts of a file share.
#[derive(Debug)]
struct Reading {
    metadata: ArrowReaderMetadata,
    mask: ProjectionMask,
    schema: SchemaRef,
    path: Arc<str>,
}

/// Some rows of a row group, still encoded.
#[derive(Debug)]
struct EncodedRows {
    reading: Arc<Reading>,
    bytes: Fetched,
    group: usize,
    rows: Range<u64>,
    size: usize,
}

impl EncodedRows {
    fn batches(&self) -> Result<Vec<RecordBatch>, ParquetError> {
        let length =
            |rows: u64| usize::try_from(rows).map_err(|error| ParquetError::External(error.into()));
        let selection = RowSelection::from(vec![
            RowSelector::skip(length(self.rows.start)?),
            RowSelector::select(length(self.rows.end - self.rows.start)?),
        ]);
        let metadata = self.reading.metadata.clone();
        ParquetRecordBatchReaderBuilder::new_with_metadata(self.bytes.clone(), metadata)
            .with_row_groups(vec![self.group])
            .with_projection(self.reading.mask.clone())
            .with_row_selection(selection)
            .with_batch_size(8192)
            .build()?
            .map(|batch| batch.map_err(ParquetError::from))
            .collect()
    }

    /// The columns in the stream's order.
    fn arrange(&self, batch: &RecordBatch) -> Result<RecordBatch> {
        let schema = &self.reading.schema;
        let mut columns = Vec::with_capacity(schema.fields().len());
        for field in schema.fields() {
            columns.push(Arc::clone(
                batch.column(batch.schema().index_of(field.name())?),
            ));
        }
        let rows = RecordBatchOptions::new().with_row_count(Some(batch.num_rows()));
        Ok(RecordBatch::try_new_with_options(
            Arc::clone(schema),
            columns,
            &rows,
        )?)
    }
}

impl Decode for EncodedRows {
    fn size(&self) -> usize {
        self.size
    }

    fn decode(self: Box<Self>) -> Result<Decoded> {
        let batches = self
            .batches()
            .map_err(|error| unreadable(error, &self.reading.path))?;
        let arranged = batches.iter().map(|batch| self.arrange(batch));
        let batches = arranged.collect::<Result<Vec<_>>>();
        Ok(Decoded {
            batches: batches.map_err(|error| error.with("file", &self.reading.path))?,
            rejected: Rejected::default(),
        })
    }
}

/// The bytes of a row group's columns, where they lie in the file.
#[derive(Debug, Clone)]
struct Fetched {
    length: u64,
    chunks: Arc<[(u64, Bytes)]>,
}

impl Fetched {
    fn from(&self, start: u64) -> Result<Bytes, ParquetError> {
        let inside = |(at, bytes): &&(u64, Bytes)| (*at..*at + bytes.len() as u64).contains(&start);
        let chunk = self.chunks.iter().find(inside);
        let chunk =
            chunk.and_then(|(at, bytes)| Some(bytes.slice(usize::try_from(start - at).ok()?..)));
        chunk.ok_or_else(|| ParquetError::EOF(format!("nothing was read at byte {start}")))
    }
}

impl Length for Fetched {
    fn len(&self) -> u64 {
        self.length
    }
}

impl ChunkReader for Fetched {
    type T = Box<dyn Read + Send>;

    fn get_read(&self, start: u64) -> Result<Self::T, ParquetError> {
        Ok(Box::new(Cursor::new(self.from(start)?)))
    }

    fn get_bytes(&self, start: u64, length: usize) -> Result<Bytes, ParquetError> {
        let bytes = self.from(start)?;
        if bytes.len() < length {
            return Err(ParquetError::EOF(format!(
                "a page at byte {start} goes beyond its column"
            )));
        }
        Ok(bytes.slice(..length))
    }
}
