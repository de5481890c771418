//! What a Parquet file's end says of it.

use std::ops::Range;
use std::sync::Arc;

use arrow_schema::Schema;
use bytes::Bytes;
use futures::FutureExt;
use futures::future::BoxFuture;
use parquet::arrow::ARROW_SCHEMA_META_KEY;
use parquet::arrow::arrow_reader::{ArrowReaderMetadata, ArrowReaderOptions};
use parquet::arrow::async_reader::MetadataFetch;
use parquet::basic::Type;
use parquet::errors::ParquetError;
use parquet::file::metadata::{PageIndexPolicy, ParquetMetaData, ParquetMetaDataReader};
use tidegate_catalog::{Physical, as_read};
use tidegate_core::{DEEPEST, Error, Result, check_depth, guarded, guarded_async, too_deep};
use tidegate_storage::{FileMeta, Storage};

/// What panics over some files that are damaged.
pub(super) const DECODER: &str = "the Parquet decoder";

/// How much of a file's end is read first: most footers fit, so that it takes one request.
const FOOTER: usize = 64 << 10;

struct Fetch<'a>(&'a Storage, &'a FileMeta);

impl MetadataFetch for Fetch<'_> {
    fn fetch(&mut self, range: Range<u64>) -> BoxFuture<'_, parquet::errors::Result<Bytes>> {
        let read = self.0.read(self.1, range);
        read.map(|bytes| bytes.map_err(|error| ParquetError::External(error.into())))
            .boxed()
    }
}

/// A file's schema and row groups.
pub(crate) async fn footer(storage: &Storage, file: &FileMeta) -> Result<ArrowReaderMetadata> {
    let explain = |error| unreadable(error, &storage.show(&file.key));
    let reader = ParquetMetaDataReader::new()
        .with_page_index_policy(PageIndexPolicy::Skip)
        .with_prefetch_hint(Some(FOOTER));
    let loaded = reader.load_and_finish(Fetch(storage, file), file.size);
    let metadata = Arc::new(loading(&storage.show(&file.key), loaded).await?);
    let leaves = metadata.file_metadata().schema_descr().columns();
    let path = || storage.show(&file.key);
    // A list has two names there: what is deeper than this isn't even looked at.
    if leaves
        .iter()
        .any(|leaf| leaf.path().parts().len() > 2 * DEEPEST + 1)
    {
        return Err(too_deep(DEEPEST).with("file", path()));
    }
    if !lies_within(&metadata, file.size) {
        return Err(broken(&path()).because("a column lies outside of the file"));
    }
    if !counts_rows(&metadata) {
        return Err(broken(&path()).because("its row groups can't have so many rows"));
    }
    let columns = columns(metadata).map_err(explain)?;
    check_depth(columns.schema(), DEEPEST).map_err(|error| error.with("file", path()))?;
    Ok(columns)
}

/// Whether the rows of all groups can be counted: none has fewer than none, and together they have
/// a number.
fn counts_rows(metadata: &ParquetMetaData) -> bool {
    let mut rows = metadata.row_groups().iter().map(|group| group.num_rows());
    let all = rows.try_fold(0_i64, |all, rows| match rows >= 0 {
        true => all.checked_add(rows),
        false => None,
    });
    all.is_some()
}

/// Whether all columns lie where the file is; the library panics over those that don't.
fn lies_within(metadata: &ParquetMetaData, size: u64) -> bool {
    let groups = metadata.row_groups().iter();
    let mut columns = groups.flat_map(|group| group.columns());
    columns.all(|column| {
        let start = column.dictionary_page_offset();
        let start = start.unwrap_or_else(|| column.data_page_offset());
        let end = start.checked_add(column.compressed_size());
        let end = end.and_then(|end| u64::try_from(end).ok());
        start >= 0 && column.compressed_size() >= 0 && end.is_some_and(|end| end <= size)
    })
}

/// With what the file says of its pages, where it does.
pub(crate) async fn with_pages(
    storage: &Storage,
    file: &FileMeta,
    footer: &ArrowReaderMetadata,
) -> Result<ArrowReaderMetadata> {
    let explain = |error| unreadable(error, &storage.show(&file.key));
    let metadata = footer.metadata().as_ref().clone();
    let mut reader = ParquetMetaDataReader::new_with_metadata(metadata)
        .with_page_index_policy(PageIndexPolicy::Optional);
    let loaded = reader.load_page_index(Fetch(storage, file));
    loading(&storage.show(&file.key), loaded).await?;
    let metadata = reader.finish().map_err(explain)?;
    columns(Arc::new(metadata)).map_err(explain)
}

/// With the columns as they are read ([`tidegate_catalog::as_read`]).
fn columns(metadata: Arc<ParquetMetaData>) -> Result<ArrowReaderMetadata, ParquetError> {
    let noted = metadata.file_metadata().key_value_metadata();
    let mut noted = noted.is_some_and(|notes| {
        let mut keys = notes.iter().map(|note| note.key.as_str());
        keys.any(|key| key == ARROW_SCHEMA_META_KEY)
    });
    let mut options = ArrowReaderOptions::new();
    // The library panics over some notes that are damaged.
    let mut found = guarded("the note's decoder", || {
        Ok(ArrowReaderMetadata::try_new(
            Arc::clone(&metadata),
            options.clone(),
        ))
    })
    .unwrap_or_else(|panic| Err(ParquetError::General(panic.to_string())));
    if noted && found.is_err() {
        // Notes that can't be read, as those of deep types, are none.
        noted = false;
        options = options.with_skip_arrow_metadata(true);
        found = ArrowReaderMetadata::try_new(Arc::clone(&metadata), options.clone());
    }
    let found = found?;
    let leaves = found.parquet_schema();
    let stored = |leaf: usize| match leaves.columns().get(leaf).map(|leaf| leaf.physical_type()) {
        Some(Type::INT32) => Physical::Int32,
        Some(Type::INT96) if !noted => Physical::Int96,
        _ => Physical::Other,
    };
    let Some(fields) = as_read(found.schema().fields(), &stored) else {
        return Ok(found);
    };
    let schema = Schema::new_with_metadata(fields, found.schema().metadata().clone());
    ArrowReaderMetadata::try_new(metadata, options.with_schema(Arc::new(schema)))
}

pub(super) fn unreadable(error: ParquetError, path: &str) -> Error {
    match error {
        ParquetError::External(source) => match source.downcast::<Error>() {
            Ok(error) => *error,
            Err(source) => broken(path).because(source),
        },
        error => broken(path).because(error),
    }
}

/// Lets the library decode, which panics over some files that are damaged.
pub(super) fn decoded<T>(
    path: &str,
    decode: impl FnOnce() -> Result<T, ParquetError>,
) -> Result<T> {
    decoded_as(path, guarded(DECODER, || Ok(decode())))
}

/// The same for what it also reads.
async fn loading<T>(path: &str, load: impl Future<Output = Result<T, ParquetError>>) -> Result<T> {
    let loaded = guarded_async(DECODER, async { Ok(load.await) }).await;
    decoded_as(path, loaded)
}

fn decoded_as<T>(path: &str, decoded: Result<Result<T, ParquetError>>) -> Result<T> {
    match decoded {
        Ok(decoded) => decoded.map_err(|error| unreadable(error, path)),
        Err(panic) => Err(broken(path).because(panic)),
    }
}

fn broken(path: &str) -> Error {
    Error::data("the file can't be read as Parquet")
        .with("file", path)
        .hint("it may be cut off, or of another format")
}
