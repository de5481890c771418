//! The encoder of a file.

use std::sync::Arc;

use arrow_array::{ArrayRef, RecordBatch};
use arrow_schema::{DataType, Schema, SchemaRef};
use tidegate_core::{Error, ErrorKind, Rejected, Result};

use super::cells::{Cells, key, written_type};
use super::{csv, raw};
use crate::csv_options::Dialect;
use crate::{CsvOptions, Format};

/// Encodes batches of one schema into records.
///
/// [`start`](Self::start) what precedes a file's records, [`encode`](Self::encode) batches,
/// [`finish`](Self::finish) the file; then the next may be started.
///
/// - **NDJSON, JSON**: one object a line, ended by a newline; NULL is written as `null`, decimals as
///   exact numbers, times as RFC 3339 (in UTC, if the column has a zone), binary as base64, floats
///   that are no numbers as `"NaN"`, `"Infinity"`, `"-Infinity"`, columns of JSON as what they are.
/// - **CSV**: the same as text, quoted where needed; lists and structs as JSON.
/// - **Raw**: the payload of each row byte for byte, nothing between them: the only column of
///   binary or text, or the one named `payload`, `body` or `data`.
///
/// ```
/// # use std::sync::Arc;
/// # use arrow_array::{Int64Array, RecordBatch};
/// use tidegate_formats::{CsvOptions, Encoder, Format};
///
/// # fn main() -> tidegate_core::Result<()> {
/// let batch = RecordBatch::try_from_iter([("id", Arc::new(Int64Array::from(vec![1, 2])) as _)])?;
/// let mut encoder = Encoder::new(Format::Ndjson, &CsvOptions::default(), &batch.schema())?;
/// let mut file = Vec::new();
/// encoder.start(&mut file);
/// encoder.encode(&batch, &mut file)?;
/// encoder.finish(&mut file);
/// assert_eq!(file, b"{\"id\":1}\n{\"id\":2}\n");
/// # Ok(())
/// # }
/// ```
#[derive(Debug)]
pub struct Encoder {
    format: Format,
    dialect: Dialect,
    schema: SchemaRef,
    /// What is written of columns whose own type can't be.
    casts: Vec<Option<DataType>>,
    keys: Vec<Vec<u8>>,
    payload: usize,
    /// Whether each payload is a line.
    lines: bool,
    first: bool,
}

impl Encoder {
    /// For batches of this schema. Errors: `Config` for unusable CSV options, `Schema` for types
    /// that the format can't hold, `Unsupported` for Parquet, which has a writer of its own.
    pub fn new(format: Format, csv: &CsvOptions, schema: &SchemaRef) -> Result<Self> {
        let dialect = csv.dialect()?;
        let (mut casts, mut payload) = (Vec::new(), 0);
        match format {
            Format::Parquet => {
                return Err(Error::new(
                    ErrorKind::Unsupported,
                    "Parquet isn't encoded record by record",
                ));
            }
            Format::Raw => payload = raw::payload(schema)?,
            Format::Ndjson | Format::Json | Format::Csv => {
                for field in schema.fields() {
                    casts.push(written_type(field)?);
                }
            }
        }
        Ok(Self {
            format,
            dialect,
            casts,
            keys: keys(schema),
            schema: Arc::clone(schema),
            payload,
            lines: false,
            first: true,
        })
    }

    /// The same with each payload of a raw file ended by a newline. Newlines within a payload that is
    /// JSON become spaces; another one that holds any is rejected.
    #[must_use]
    pub fn lines(self, lines: bool) -> Self {
        Self { lines, ..self }
    }

    /// Appends what precedes the first record: a CSV header, the bracket of a JSON array.
    pub fn start(&mut self, out: &mut Vec<u8>) {
        self.first = true;
        match self.format {
            Format::Csv if self.dialect.header => {
                let names = self
                    .schema
                    .fields()
                    .iter()
                    .map(|field| field.name().as_str());
                csv::header(names, &self.dialect, out);
            }
            Format::Json => out.push(b'['),
            _ => {}
        }
    }

    /// Appends a batch's rows, which have the encoder's columns.
    pub fn encode(&mut self, batch: &RecordBatch, out: &mut Vec<u8>) -> Result<Rejected> {
        if self.format == Format::Raw {
            return raw::encode(batch, self.payload, self.lines, out);
        }
        let columns = cast(batch, &self.casts)?;
        let cells = cells(&self.schema, &columns)?;
        for row in 0..batch.num_rows() {
            if self.format == Format::Csv {
                match std::mem::take(&mut self.first) && !self.dialect.header {
                    true => csv::first_record(&cells, row, &self.dialect, out),
                    false => csv::record(&cells, row, &self.dialect, out),
                }
                continue;
            }
            if self.format == Format::Json {
                out.extend_from_slice(if self.first { b"\n" } else { b",\n" });
                self.first = false;
            }
            object(&self.keys, &cells, row, out);
            if self.format == Format::Ndjson {
                out.push(b'\n');
            }
        }
        Ok(Rejected::default())
    }

    /// Appends what follows the last record.
    pub fn finish(&mut self, out: &mut Vec<u8>) {
        if self.format == Format::Json {
            out.extend_from_slice(if self.first { b"]\n" } else { b"\n]\n" });
        }
    }
}

fn keys(schema: &Schema) -> Vec<Vec<u8>> {
    let names = schema.fields().iter().enumerate();
    names
        .map(|(at, field)| key(field.name(), at == 0))
        .collect()
}

fn object(keys: &[Vec<u8>], cells: &[Cells<'_>], row: usize, out: &mut Vec<u8>) {
    if keys.is_empty() {
        out.push(b'{');
    }
    for (key, cells) in keys.iter().zip(cells) {
        out.extend_from_slice(key);
        cells.json(row, out);
    }
    out.push(b'}');
}

fn cells<'a>(schema: &Schema, columns: &'a [ArrayRef]) -> Result<Vec<Cells<'a>>> {
    let columns = schema.fields().iter().zip(columns);
    columns
        .map(|(field, column)| Cells::new(field, column))
        .collect()
}

fn cast(batch: &RecordBatch, casts: &[Option<DataType>]) -> Result<Vec<ArrayRef>> {
    if batch.num_columns() != casts.len() {
        return Err(Error::internal(format!(
            "a batch of {} columns came to an encoder of {}",
            batch.num_columns(),
            casts.len()
        )));
    }
    let column = |(column, cast): (&ArrayRef, &Option<DataType>)| match cast {
        None => Ok(Arc::clone(column)),
        Some(data_type) => Ok(arrow_cast::cast(column, data_type)?),
    };
    batch.columns().iter().zip(casts).map(column).collect()
}

/// Writes single rows of batches of one schema, whole or value by value: where each goes its own way,
/// as into a request. Values are written as [`Encoder`] writes them.
///
/// ```
/// # use std::sync::Arc;
/// # use arrow_array::{Int64Array, RecordBatch};
/// use tidegate_formats::RowEncoder;
///
/// # fn main() -> tidegate_core::Result<()> {
/// let batch = RecordBatch::try_from_iter([("id", Arc::new(Int64Array::from(vec![1, 2])) as _)])?;
/// let encoder = RowEncoder::new(&batch.schema())?;
/// let columns = encoder.columns(&batch)?;
/// let rows = encoder.rows(&columns)?;
/// let mut out = Vec::new();
/// rows.object(1, &mut out);
/// assert_eq!(out, b"{\"id\":2}");
/// # Ok(())
/// # }
/// ```
#[derive(Debug, Clone)]
pub struct RowEncoder {
    schema: SchemaRef,
    casts: Vec<Option<DataType>>,
    keys: Vec<Vec<u8>>,
}

/// A batch's rows, ready to be written one by one.
pub struct Rows<'a> {
    keys: &'a [Vec<u8>],
    cells: Vec<Cells<'a>>,
}

impl RowEncoder {
    /// For batches of this schema. Errors: `Schema` for types that text can't hold.
    pub fn new(schema: &SchemaRef) -> Result<Self> {
        let casts = schema.fields().iter().map(|field| written_type(field));
        Ok(Self {
            casts: casts.collect::<Result<_>>()?,
            keys: keys(schema),
            schema: Arc::clone(schema),
        })
    }

    /// A batch's columns, in types that can be written.
    pub fn columns(&self, batch: &RecordBatch) -> Result<Vec<ArrayRef>> {
        cast(batch, &self.casts)
    }

    /// The rows of [`RowEncoder::columns`].
    pub fn rows<'a>(&'a self, columns: &'a [ArrayRef]) -> Result<Rows<'a>> {
        Ok(Rows {
            keys: &self.keys,
            cells: cells(&self.schema, columns)?,
        })
    }
}

impl Rows<'_> {
    /// Appends a row as a JSON object.
    pub fn object(&self, row: usize, out: &mut Vec<u8>) {
        object(self.keys, &self.cells, row, out);
    }

    /// Appends a column's value as JSON; NULL as `null`.
    pub fn json(&self, column: usize, row: usize, out: &mut Vec<u8>) {
        self.cells[column].json(row, out);
    }

    /// Appends a column's value as text, of nested types as JSON. NULL appends nothing, and says so
    /// by `false`.
    pub fn text(&self, column: usize, row: usize, out: &mut Vec<u8>) -> bool {
        let cells = &self.cells[column];
        if cells.is_null(row) {
            return false;
        }
        cells.alone(row, out);
        true
    }
}

impl std::fmt::Debug for Rows<'_> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "Rows of {} columns", self.cells.len())
    }
}

/// A row of a batch as a JSON object: what a component that rejects it says it was. Columns that
/// JSON can't hold are left out.
pub fn row_to_json(batch: &RecordBatch, row: usize) -> Result<String> {
    let one = batch.slice(row, 1);
    let mut out = Vec::new();
    for (field, column) in one.schema_ref().fields().iter().zip(one.columns()) {
        let Ok(cast) = written_type(field) else {
            continue;
        };
        let column = match cast {
            None => Arc::clone(column),
            Some(data_type) => arrow_cast::cast(column, &data_type)?,
        };
        out.extend_from_slice(&key(field.name(), out.is_empty()));
        Cells::new(field, &column)?.json(0, &mut out);
    }
    if out.is_empty() {
        out.push(b'{');
    }
    out.push(b'}');
    String::from_utf8(out).map_err(|_| Error::internal("a row was written as invalid UTF-8"))
}
