//! What a Parquet file's end says of it.

use std::ops::Range;
use std::sync::Arc;

use bytes::Bytes;
use futures::FutureExt;
use futures::future::BoxFuture;
use parquet::arrow::arrow_reader::{ArrowReaderMetadata, ArrowReaderOptions};
use parquet::arrow::async_reader::MetadataFetch;
use parquet::errors::ParquetError;
use parquet::file::metadata::{PageIndexPolicy, ParquetMetaDataReader};
use tidegate_core::{Error, Result};
use tidegate_storage::{FileMeta, Storage};

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
    let metadata = ParquetMetaDataReader::new()
        .with_page_index_policy(PageIndexPolicy::Skip)
        .with_prefetch_hint(Some(FOOTER))
        .load_and_finish(Fetch(storage, file), file.size)
        .await
        .map_err(explain)?;
    ArrowReaderMetadata::try_new(Arc::new(metadata), ArrowReaderOptions::new()).map_err(explain)
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

fn broken(path: &str) -> Error {
    Error::data("the file can't be read as Parquet")
        .with("file", path)
        .hint("it may be cut off, or of another format")
}
