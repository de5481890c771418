//! Makes the encoders of row groups, and learns from finished ones which columns have too many
//! different values for a dictionary.

use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, PoisonError};

use arrow_schema::SchemaRef;
use parquet::arrow::arrow_writer::{
    ArrowColumnChunk, ArrowColumnWriter, ArrowRowGroupWriterFactory,
};
use parquet::basic::{Encoding, PageType};
use parquet::errors::ParquetError;
use parquet::file::metadata::ColumnChunkMetaData;
use parquet::file::properties::WriterPropertiesPtr;
use parquet::file::writer::SerializedFileWriter;
use parquet::schema::types::{ColumnPath, TypePtr};
use tidegate_core::Result;

use crate::properties::broken;

/// Each so manieth row group tries all dictionaries again: data change.
const TRY_AGAIN: usize = 16;

/// Where a dictionary grows too large, hashing its values was for nothing: a column where that
/// happened goes without one for a while.
#[derive(Debug)]
pub(crate) struct Encoders {
    schema: SchemaRef,
    root: TypePtr,
    properties: WriterPropertiesPtr,
    /// Tries a dictionary for every column.
    all: Arc<ArrowRowGroupWriterFactory>,
    learned: Mutex<Learned>,
    begun: AtomicUsize,
}

#[derive(Debug)]
struct Learned {
    /// Columns that go without.
    without: Vec<ColumnPath>,
    factory: Arc<ArrowRowGroupWriterFactory>,
}

impl Encoders {
    pub(crate) fn new(
        schema: SchemaRef,
        root: TypePtr,
        properties: WriterPropertiesPtr,
    ) -> Result<Self, ParquetError> {
        let all = factory(&schema, &root, Arc::clone(&properties))?;
        Ok(Self {
            learned: Mutex::new(Learned {
                without: Vec::new(),
                factory: Arc::clone(&all),
            }),
            schema,
            root,
            properties,
            all,
            begun: AtomicUsize::new(0),
        })
    }

    /// The encoders of one row group's columns, of any file.
    pub(crate) fn row_group(&self) -> Result<Vec<ArrowColumnWriter>> {
        let number = self.begun.fetch_add(1, Ordering::Relaxed);
        let factory = match number % TRY_AGAIN {
            0 => Arc::clone(&self.all),
            _ => Arc::clone(&self.learned().factory),
        };
        factory.create_column_writers(0).map_err(broken)
    }

    /// Looks at what became of a row group's columns.
    pub(crate) fn learn(&self, columns: &[ArrowColumnChunk]) -> Result<()> {
        let mut learned = self.learned();
        let known = learned.without.len();
        for column in columns {
            let column = &column.close().metadata;
            let path = column.column_path();
            match verdict(column) {
                Some(false) if !learned.without.contains(path) => {
                    learned.without.push(path.clone())
                }
                Some(true) => learned.without.retain(|other| other != path),
                _ => {}
            }
        }
        if learned.without.len() == known {
            return Ok(());
        }
        let mut properties = self.properties.as_ref().clone().into_builder();
        for path in &learned.without {
            properties = properties.set_column_dictionary_enabled(path.clone(), false);
        }
        learned.factory =
            factory(&self.schema, &self.root, properties.build().into()).map_err(broken)?;
        Ok(())
    }

    fn learned(&self) -> std::sync::MutexGuard<'_, Learned> {
        self.learned.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

fn factory(
    schema: &SchemaRef,
    root: &TypePtr,
    properties: WriterPropertiesPtr,
) -> Result<Arc<ArrowRowGroupWriterFactory>, ParquetError> {
    let file = SerializedFileWriter::new(Vec::new(), Arc::clone(root), properties)?;
    let factory = ArrowRowGroupWriterFactory::new(&file, Arc::clone(schema));
    Ok(Arc::new(factory))
}

/// Whether the column's dictionary was of use; nothing, if it had none.
fn verdict(column: &ColumnChunkMetaData) -> Option<bool> {
    column.dictionary_page_offset()?;
    let (mut with, mut without) = (0, 0);
    for pages in column.page_encoding_stats()? {
        match (pages.page_type, pages.encoding) {
            (PageType::DICTIONARY_PAGE, _) => {}
            (_, Encoding::RLE_DICTIONARY | Encoding::PLAIN_DICTIONARY) => with += pages.count,
            _ => without += pages.count,
        }
    }
    // What overflowed late in a row group of skewed values was worth it all the same.
    Some(with >= 3 * without)
}

#[cfg(test)]
mod tests {
    use arrow_array::{ArrayRef, Int64Array, RecordBatch};
    use parquet::arrow::ArrowSchemaConverter;
    use parquet::arrow::arrow_writer::compute_leaves;
    use parquet::file::properties::WriterProperties;

    use super::*;

    const ROWS: i64 = 400_000;

    /// Encodes a row group of many different values and of few; tells which had a dictionary.
    fn dictionaries(encoders: &Encoders, batch: &RecordBatch) -> Vec<bool> {
        let writers = encoders.row_group().unwrap();
        let mut chunks = Vec::new();
        for ((mut writer, field), values) in writers
            .into_iter()
            .zip(batch.schema().fields())
            .zip(batch.columns())
        {
            for leaf in compute_leaves(field, values).unwrap() {
                writer.write(&leaf).unwrap();
            }
            chunks.push(writer.close().unwrap());
        }
        encoders.learn(&chunks).unwrap();
        chunks
            .iter()
            .map(|chunk| chunk.close().metadata.dictionary_page_offset().is_some())
            .collect()
    }

    fn batch(value: impl Fn(i64) -> i64) -> RecordBatch {
        let column = |values: Vec<i64>| Arc::new(Int64Array::from(values)) as ArrayRef;
        RecordBatch::try_from_iter([
            ("changing", column((0..ROWS).map(value).collect())),
            ("few", column((0..ROWS).map(|n| n % 7).collect())),
        ])
        .unwrap()
    }

    #[test]
    fn a_dictionary_that_grew_too_large_is_tried_again_only_now_and_then() {
        let (many, few) = (batch(|n| n), batch(|n| n % 5));
        let root = ArrowSchemaConverter::new()
            .convert(&many.schema())
            .unwrap()
            .root_schema_ptr();
        let properties = Arc::new(WriterProperties::default());
        let encoders = Encoders::new(many.schema(), root, properties).unwrap();

        assert_eq!(dictionaries(&encoders, &many), [true, true]);
        for _ in 1..TRY_AGAIN {
            assert_eq!(dictionaries(&encoders, &many), [false, true]);
        }
        // The try succeeds, and the column has its dictionary from then on.
        assert_eq!(dictionaries(&encoders, &few), [true, true]);
        assert_eq!(dictionaries(&encoders, &few), [true, true]);
    }
}
