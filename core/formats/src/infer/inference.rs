//! A schema that is learnt chunk by chunk.

use std::sync::Arc;

use arrow_schema::{Field, Schema, SchemaRef};
use bytes::Bytes;
use memchr::memchr;
use tidegate_core::{Error, ErrorKind, Result};

use super::{csv, json};
use crate::csv_options::Dialect;
use crate::decode::csv_fields;
use crate::decode::json::Cursor;
use crate::split::csv::first_record_end;
use crate::split::json::value_end;
use crate::{Chunk, CsvHeader, CsvOptions, Format, Position, Splitter, raw_schema};

/// Learns the schema of a file's records. All columns may be NULL.
///
/// - **JSON**: objects are structs, arrays lists, integers `int64` (larger ones
///   `decimal(38,0)`), numbers with a point `float64`; a column that is only null is text, and so
///   is one of several types: it holds their JSON. Strings stay text, also those that look like
///   times: give a schema to read them as such.
/// - **CSV**: `int64`, `float64`, `bool` (true, false), `date`, `timestamp` and
///   `timestamp_naive` where all fields that aren't NULL are such; else text. Numbers with leading
///   zeros (`00123`) or a `+`, and integers too large, are text: they are codes.
/// - **Raw**: [`raw_schema`].
///
/// Records that can't be read are passed over: they will be rejected.
#[derive(Debug)]
pub struct Inference {
    format: Format,
    dialect: Dialect,
    columns: Vec<(String, csv::Kind)>,
    fields: Vec<(String, json::Kind)>,
    named: bool,
    rows: u64,
    bytes: u64,
}

impl Inference {
    /// Knowing nothing yet. Errors: `Config` for unusable CSV options, `Unsupported` for Parquet,
    /// which tells its schema itself.
    pub fn new(format: Format, csv: &CsvOptions) -> Result<Self> {
        if format == Format::Parquet {
            return Err(Error::new(
                ErrorKind::Unsupported,
                "a Parquet file tells its schema itself",
            ));
        }
        Ok(Self {
            format,
            dialect: csv.dialect()?,
            columns: Vec::new(),
            fields: Vec::new(),
            named: false,
            rows: 0,
            bytes: 0,
        })
    }

    /// The header of the CSV file whose chunks come. Errors: `Schema` if it isn't that of the
    /// files before.
    pub fn header(&mut self, header: &CsvHeader) -> Result<()> {
        let names = header.names();
        if !self.named {
            self.columns = names
                .iter()
                .map(|name| (name.clone(), csv::Kind::Unknown))
                .collect();
            self.named = true;
        } else if !self.columns.iter().map(|(name, _)| name).eq(names) {
            return Err(Error::schema("the files' headers differ")
                .hint("give a `schema`: columns are then found by name in each file"));
        }
        Ok(())
    }

    /// Takes note of a chunk's records.
    pub fn push(&mut self, chunk: &Chunk) -> Result<()> {
        let data = &chunk.bytes[..];
        self.bytes += data.len() as u64;
        match self.format {
            Format::Csv => self.csv(data),
            Format::Ndjson | Format::Json => self.json(data),
            Format::Raw | Format::Parquet => self.rows += 1,
        }
        Ok(())
    }

    /// How many records were seen.
    pub fn rows(&self) -> u64 {
        self.rows
    }

    /// How many bytes they had.
    pub fn bytes(&self) -> u64 {
        self.bytes
    }

    /// The schema. Errors: `Schema` where no record was seen that tells one.
    pub fn finish(self) -> Result<SchemaRef> {
        let fields: Vec<Field> = match self.format {
            Format::Raw | Format::Parquet => return Ok(raw_schema()),
            Format::Csv => {
                let field =
                    |(name, kind): &(String, csv::Kind)| Field::new(name, kind.data_type(), true);
                self.columns.iter().map(field).collect()
            }
            Format::Ndjson | Format::Json => self
                .fields
                .iter()
                .map(|(name, kind)| kind.field(name))
                .collect(),
        };
        if fields.is_empty() {
            return Err(
                Error::schema("there is no record to learn a schema from").hint(
                    "give a `schema`, or check that the file isn't empty and is of this format",
                ),
            );
        }
        Ok(Arc::new(Schema::new(fields)))
    }

    fn csv(&mut self, data: &[u8]) {
        let mut at = 0;
        while at < data.len() {
            let record = &data[at..];
            let record = &record[..first_record_end(record, &self.dialect)];
            at += record.len();
            let blank = record.iter().all(|byte| matches!(byte, b'\n' | b'\r'));
            let Ok(fields) = csv_fields(record, &self.dialect) else {
                continue;
            };
            if blank || std::str::from_utf8(record).is_err() {
                continue;
            }
            if !self.named {
                let name = |at: usize| (format!("column_{at}"), csv::Kind::Unknown);
                self.columns = (1..=fields.len()).map(name).collect();
                self.named = true;
            }
            if fields.len() != self.columns.len() {
                continue;
            }
            self.rows += 1;
            for (field, (_, kind)) in fields.iter().zip(&mut self.columns) {
                let null = !field.quoted && *field.bytes == *self.dialect.null;
                if !null && !field.bytes.is_empty() && *kind != csv::Kind::Text {
                    kind.widen(csv::Kind::of(&field.bytes));
                }
            }
        }
    }

    fn json(&mut self, data: &[u8]) {
        let lines = self.format == Format::Ndjson;
        let mut at = 0;
        loop {
            let space = |byte: &u8| {
                matches!(byte, b'\n' | b' ' | b'\t' | b'\r') || (*byte == b',' && !lines)
            };
            at += data[at..].iter().take_while(|byte| space(byte)).count();
            if at == data.len() {
                return;
            }
            let rest = &data[at..];
            let length = match lines {
                true => memchr(b'\n', rest).unwrap_or(rest.len()),
                false => value_end(rest),
            };
            let record = &rest[..length];
            at += length;
            if record.first() != Some(&b'{') || simdutf8::basic::from_utf8(record).is_err() {
                continue;
            }
            // A record that turns out to be malformed must leave no trace: look before noting.
            let mut look = Cursor::new(record);
            if look.raw().and_then(|_| look.end()).is_err() {
                continue;
            }
            self.rows += 1;
            // It was read once already, so it can be read again.
            let _ = json::learn_fields(&mut self.fields, &mut Cursor::new(record));
        }
    }
}

/// Learns a schema from the beginning of a file. `complete` says that the sample is the whole
/// file; if it isn't, the record that it cuts off is left out.
///
/// ```
/// use tidegate_formats::{CsvOptions, Format, SchemaSpec, infer};
///
/// # fn main() -> tidegate_core::Result<()> {
/// let sample = "id,zip,born\n1,01234,1990-05-01\n2,99999,";
/// let schema = infer(Format::Csv, &CsvOptions::default(), sample.into(), true)?;
/// let types = SchemaSpec::from_arrow(&schema).0.iter().map(|f| f.type_.to_string()).collect::<Vec<_>>();
/// assert_eq!(types, ["int64", "string", "date"]);
/// # Ok(())
/// # }
/// ```
pub fn infer(format: Format, csv: &CsvOptions, sample: Bytes, complete: bool) -> Result<SchemaRef> {
    let mut inference = Inference::new(format, csv)?;
    // Whole records as they come, so that those before a cut are given too.
    let mut splitter = Splitter::new(format, csv, Position::start())?.chunk_size(1);
    splitter.push(sample);
    if complete || format == Format::Raw {
        splitter.finish();
    }
    let mut named = false;
    while let Some(chunk) = splitter.next()? {
        if let (false, Some(header)) = (named, splitter.header()) {
            inference.header(header)?;
            named = true;
        }
        inference.push(&chunk)?;
    }
    if let (false, Some(header)) = (named, splitter.header()) {
        inference.header(header)?;
    }
    inference.finish()
}
