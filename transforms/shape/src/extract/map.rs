//! What is done to a batch.

use std::sync::Arc;

use arrow_array::{
    Array, ArrayRef, LargeStringArray, RecordBatch, RecordBatchOptions, UInt64Array,
};
use arrow_schema::{DataType, Field, FieldRef, Schema, SchemaRef};
use arrow_select::take::take;
use tidegate_core::{Error, Input, Map, Mapped, Rejected, Result, Scan, batch_bytes, batch_column};
use tidegate_formats::{JsonRows, bytes_of, holds_bytes, json_texts};

use super::config::ExtractConfig;
use super::search::{Finder, Keys, Record};

/// A batch ends when its texts have this many bytes, so that they always fit into its columns.
const BATCH_BYTES: usize = 64 << 20;

/// The transform, typed against its inputs.
#[derive(Debug)]
pub(super) struct ExtractMap {
    inputs: Vec<Arc<str>>,
    column: String,
    keep: Vec<String>,
    keys: Keys,
    /// The number of each found column's key.
    numbers: Vec<usize>,
    /// The found columns.
    found: SchemaRef,
    /// The kept columns, then the found ones.
    output: SchemaRef,
}

impl ExtractMap {
    pub(super) fn new(config: &ExtractConfig, inputs: &[Input]) -> Result<Self> {
        let mut kept: Option<(&Input, Vec<FieldRef>)> = None;
        for input in inputs {
            let field = input.column(&config.column)?;
            check_documents(field, input)?;
            let fields = config.keep.iter().map(|name| input.column(name).cloned());
            let fields = fields.collect::<Result<Vec<_>>>()?;
            match &kept {
                Some((first, others)) if *others != fields => {
                    return Err(Error::schema(format!(
                        "the columns to keep have other types in `{}` than in `{}`",
                        input.name, first.name
                    )));
                }
                Some(_) => {}
                None => kept = Some((input, fields)),
            }
        }
        let mut keys = Keys::new(config.ignore_case);
        let numbers = config.fields.iter().map(|field| keys.add(field.key()));
        let numbers = numbers.collect();
        let found = config.fields.iter().map(|field| match field.type_() {
            Some(type_) => Arc::new(type_.to_field(field.name(), true)),
            None => Arc::new(Field::new(field.name(), DataType::Utf8, true)),
        });
        let found: Vec<FieldRef> = found.collect();
        let mut output = kept.map_or_else(Vec::new, |(_, fields)| fields);
        output.extend(found.iter().cloned());
        let found = Arc::new(Schema::new(found));
        // Types that JSON can't hold are found now rather than at the first batch.
        JsonRows::new(Arc::clone(&found), 0, false)?;
        Ok(Self {
            inputs: inputs.iter().map(|input| Arc::clone(&input.name)).collect(),
            column: config.column.clone(),
            keep: config.keep.clone(),
            keys,
            numbers,
            found,
            output: Arc::new(Schema::new(output)),
        })
    }
}

/// Refuses a column that holds no documents.
fn check_documents(field: &Field, input: &Input) -> Result<()> {
    let data_type = field.data_type();
    if holds_bytes(data_type) {
        return Ok(());
    }
    if !data_type.is_nested() {
        return Err(Error::schema(format!(
            "column `{}` of `{}` is a {data_type}: neither text or bytes nor nested",
            field.name(),
            input.name
        )));
    }
    json_texts(field, &arrow_array::new_empty_array(data_type)).map(drop)
}

impl Map for ExtractMap {
    fn schema(&self) -> SchemaRef {
        Arc::clone(&self.output)
    }

    fn scan(&self, input: usize) -> Scan {
        let Some(stream) = self.inputs.get(input) else {
            return Scan::all("");
        };
        let mut columns = self.keep.clone();
        if !columns.contains(&self.column) {
            columns.push(self.column.clone());
        }
        Scan {
            columns: Some(columns),
            ..Scan::all(stream)
        }
    }

    fn map(&self, _: usize, batch: &RecordBatch) -> Result<Mapped> {
        let documents = Documents::new(batch, &self.column)?;
        let mut finder = Finder::new(&self.keys, documents.are_nested());
        let mut rows = Rows::new(self, batch)?;
        let mut rejected = Rejected::default();
        for row in 0..batch.num_rows() {
            let Some(bytes) = documents.get(row) else {
                continue;
            };
            let found = match simdutf8::compat::from_utf8(bytes) {
                Ok(document) => finder.find(document).map(|()| document),
                Err(error) => {
                    let at = error.valid_up_to();
                    Err(format!("it is not valid UTF-8 (at byte {at})"))
                }
            };
            let document = match found {
                Ok(document) => document,
                Err(reason) => {
                    let text = String::from_utf8_lossy(bytes);
                    let reason = format!("column `{}`: {reason}", self.column);
                    rejected.push_of_batch(row, text, reason);
                    continue;
                }
            };
            for record in finder.records() {
                if let Err(reason) = rows.push(row, document, &record)? {
                    rejected.push_of_batch(row, record.span.of(document), reason);
                }
            }
        }
        Ok(Mapped {
            batches: rows.finish()?,
            rejected,
            ..Mapped::default()
        })
    }
}

/// The documents of a batch.
enum Documents<'a> {
    Bytes(&'a ArrayRef),
    Nested(LargeStringArray),
}

impl<'a> Documents<'a> {
    fn new(batch: &'a RecordBatch, name: &str) -> Result<Self> {
        let column = batch_column(batch, name)?;
        if holds_bytes(column.data_type()) {
            return Ok(Self::Bytes(column));
        }
        let field = batch.schema_ref().field_with_name(name)?;
        Ok(Self::Nested(json_texts(field, column)?))
    }

    /// Whether they were columns, which have a value for each field, if only NULL.
    fn are_nested(&self) -> bool {
        matches!(self, Self::Nested(_))
    }

    /// The document of a row, if there is one.
    fn get(&self, row: usize) -> Option<&[u8]> {
        match self {
            Self::Bytes(array) => array.is_valid(row).then(|| bytes_of(array, row)),
            Self::Nested(texts) => texts.is_valid(row).then(|| texts.value(row).as_bytes()),
        }
    }
}

/// What comes out of a batch.
struct Rows<'a> {
    map: &'a ExtractMap,
    kept: RecordBatch,
    found: JsonRows,
    /// The row of the input that each row of `found` comes from.
    origins: Vec<u64>,
    /// How many bytes these rows' texts have, at least.
    bytes: usize,
    batches: Vec<RecordBatch>,
}

impl<'a> Rows<'a> {
    fn new(map: &'a ExtractMap, batch: &RecordBatch) -> Result<Self> {
        let kept = map
            .keep
            .iter()
            .map(|name| batch.schema_ref().index_of(name));
        let kept = kept.collect::<Result<Vec<_>, _>>()?;
        Ok(Self {
            map,
            kept: batch.project(&kept)?,
            found: JsonRows::new(Arc::clone(&map.found), batch.num_rows(), false)?,
            origins: Vec::with_capacity(batch.num_rows()),
            bytes: 0,
            batches: Vec::new(),
        })
    }

    /// Adds a row; if it can't be taken, says why.
    fn push(
        &mut self,
        row: usize,
        document: &str,
        record: &Record<'_>,
    ) -> Result<Result<(), String>> {
        let numbers = self.map.numbers.iter();
        let values = numbers.map(|&number| record.values[number].map(|span| span.of(document)));
        let values: Vec<Option<&str>> = values.collect();
        if let Err(reason) = self.found.push_values(&values) {
            return Ok(Err(reason));
        }
        // What a row carries along is counted when it is repeated: once, it came with the batch.
        let again = self.origins.last() == Some(&(row as u64));
        if again && self.kept.num_columns() > 0 {
            self.bytes += batch_bytes(&self.kept.slice(row, 1));
        }
        self.bytes += values
            .iter()
            .flatten()
            .map(|text| text.len())
            .sum::<usize>();
        self.origins.push(row as u64);
        if self.bytes >= BATCH_BYTES {
            self.cut()?;
        }
        Ok(Ok(()))
    }

    /// Ends the batch that is being made.
    fn cut(&mut self) -> Result<()> {
        if self.origins.is_empty() {
            return Ok(());
        }
        let options = RecordBatchOptions::new().with_row_count(Some(self.origins.len()));
        let origins = UInt64Array::from(std::mem::take(&mut self.origins));
        let kept = self.kept.columns().iter();
        let mut columns = kept
            .map(|column| take(column, &origins, None))
            .collect::<Result<Vec<_>, _>>()?;
        columns.extend(self.found.finish()?.columns().iter().cloned());
        let schema = Arc::clone(&self.map.output);
        let batch = RecordBatch::try_new_with_options(schema, columns, &options)?;
        self.batches.push(batch);
        self.bytes = 0;
        Ok(())
    }

    fn finish(mut self) -> Result<Vec<RecordBatch>> {
        self.cut()?;
        Ok(self.batches)
    }
}
