//! Parquet files as DataFusion gets them: with footers that it can go by.

use std::ops::Range;
use std::sync::Arc;

use arrow_schema::Schema;
use bytes::Bytes;
use datafusion::datasource::listing::PartitionedFile;
use datafusion::datasource::physical_plan::parquet::{
    CachedParquetFileReaderFactory, ParquetFileReaderFactory,
};
use datafusion::error::Result as DfResult;
use datafusion::execution::cache::cache_manager::FileMetadataCache;
use datafusion::parquet::arrow::arrow_reader::ArrowReaderOptions;
use datafusion::parquet::arrow::async_reader::AsyncFileReader;
use datafusion::parquet::arrow::{
    ARROW_SCHEMA_META_KEY, encode_arrow_schema, parquet_to_arrow_schema,
};
use datafusion::parquet::basic::Type;
use datafusion::parquet::errors::{ParquetError, Result};
use datafusion::parquet::file::metadata::{
    FileMetaData, KeyValue, ParquetMetaData, ParquetMetaDataBuilder,
};
use datafusion::physical_plan::metrics::ExecutionPlanMetricsSet;
use futures::FutureExt;
use futures::future::BoxFuture;
use object_store::{ObjectMeta, ObjectStore};
use tidegate_catalog::as_read;
use tidegate_core::{DEEPEST_NOTED, guarded};

use super::footers::{self, stored};

/// Gives out DataFusion's readers, with footers that can be believed.
#[derive(Debug)]
pub(crate) struct TrustedReaders {
    readers: CachedParquetFileReaderFactory,
    store: Arc<dyn ObjectStore>,
    footers: Arc<FileMetadataCache>,
}

impl TrustedReaders {
    pub(crate) fn new(store: Arc<dyn ObjectStore>, footers: Arc<FileMetadataCache>) -> Self {
        Self {
            readers: CachedParquetFileReaderFactory::new(Arc::clone(&store), Arc::clone(&footers)),
            store,
            footers,
        }
    }
}

impl ParquetFileReaderFactory for TrustedReaders {
    fn create_reader(
        &self,
        partition: usize,
        file: PartitionedFile,
        size_hint: Option<usize>,
        metrics: &ExecutionPlanMetricsSet,
    ) -> DfResult<Box<dyn AsyncFileReader + Send>> {
        let object = file.object_meta.clone();
        let bytes = self
            .readers
            .create_reader(partition, file, size_hint, metrics)?;
        Ok(Box::new(TrustedReader {
            bytes,
            object,
            store: Arc::clone(&self.store),
            footers: Arc::clone(&self.footers),
        }))
    }
}

struct TrustedReader {
    bytes: Box<dyn AsyncFileReader + Send>,
    object: ObjectMeta,
    store: Arc<dyn ObjectStore>,
    footers: Arc<FileMetadataCache>,
}

impl AsyncFileReader for TrustedReader {
    fn get_bytes(&mut self, range: Range<u64>) -> BoxFuture<'_, Result<Bytes>> {
        self.bytes.get_bytes(range)
    }

    fn get_byte_ranges(&mut self, ranges: Vec<Range<u64>>) -> BoxFuture<'_, Result<Vec<Bytes>>> {
        self.bytes.get_byte_ranges(ranges)
    }

    fn get_metadata<'a>(
        &'a mut self,
        _: Option<&'a ArrowReaderOptions>,
    ) -> BoxFuture<'a, Result<Arc<ParquetMetaData>>> {
        async {
            footers::read(self.footers.as_ref(), self.store.as_ref(), &self.object)
                .await
                .map_err(|error| ParquetError::External(Box::new(error)))
        }
        .boxed()
    }
}

/// A footer whose note of the columns' Arrow types says how they are read ([`as_read`]), where
/// there is none and DataFusion would take `INT96` for nanoseconds. A note that can't be read, as
/// that of deep types, is taken out.
pub(super) fn corrected(metadata: Arc<ParquetMetaData>) -> Result<Arc<ParquetMetaData>> {
    let file = metadata.file_metadata();
    let leaves = file.schema_descr();
    let mut columns = leaves.columns().iter();
    let deep = columns.any(|leaf| leaf.path().parts().len() > DEEPEST_NOTED);
    let mut columns = leaves.columns().iter();
    let old = columns.any(|leaf| leaf.physical_type() == Type::INT96);
    let notes = file.key_value_metadata();
    let is_note = |note: &KeyValue| note.key == ARROW_SCHEMA_META_KEY;
    let noted = notes.is_some_and(|notes| notes.iter().any(is_note));
    // Without a note, there is nothing to put right but INT96.
    let right = match noted {
        // The library's decoder panics over some notes that are damaged.
        true => {
            let readable = || Ok(parquet_to_arrow_schema(leaves, notes).is_ok());
            guarded("the note's decoder", readable).unwrap_or(false)
        }
        false => !old,
    };
    if right {
        return Ok(metadata);
    }
    let others = notes.into_iter().flatten().filter(|note| !is_note(note));
    let mut kept: Vec<KeyValue> = others.cloned().collect();
    if old && !deep {
        let schema = parquet_to_arrow_schema(leaves, None)?;
        let fields = as_read(schema.fields(), &|leaf| stored(leaves, leaf, false));
        let schema = fields.map_or(schema, Schema::new);
        let note = encode_arrow_schema(&schema);
        kept.push(KeyValue::new(ARROW_SCHEMA_META_KEY.to_owned(), note));
    }
    let file = FileMetaData::new(
        file.version(),
        file.num_rows(),
        file.created_by().map(str::to_owned),
        Some(kept),
        file.schema_descr_ptr(),
        file.column_orders().cloned(),
    );
    let metadata = ParquetMetaDataBuilder::new(file)
        .set_row_groups(metadata.row_groups().to_vec())
        .set_column_index(metadata.column_index().cloned())
        .set_offset_index(metadata.offset_index().cloned())
        .build();
    Ok(Arc::new(metadata))
}
