//! A schema that is learnt chunk by chunk.

use std::fmt;
use std::sync::Arc;

use arrow_schema::{Field, Schema, SchemaRef};
use bytes::Bytes;
use memchr::memchr;
use tidegate_core::{Error, ErrorKind, Result};

use super::{csv, json};
use crate::csv_options::Dialect;
use crate::decode::json::Cursor;
use crate::decode::{csv_fields, excerpt};
use crate::limit::check_columns;
use crate::split::csv::first_record_end;
use crate::split::json::value_end;
use crate::{Chunk, CsvHeader, CsvOptions, Format, Position, Splitter, raw_schema};

/// Learns the schema of a file's records. All columns may be NULL.
///
/// No value is changed by it: a column has a type only if each of its values comes back from that
/// as it was written. A decoder of such a schema must be [`exact`](crate::Decoder::exact): it then
/// holds the records that follow to the same.
///
/// - **JSON**: objects are structs, arrays lists, integers `int64` (larger ones
///   `decimal(38,0)`), other numbers `float64` where it holds all their digits; a column that is
///   only null is text, and so is one of several types, or of numbers that no type holds: it has
///   their JSON. Strings stay text, also those that look like times: give a schema to read them as
///   such.
/// - **CSV**: where all fields that aren't NULL are written as the type's values are. `int64`;
///   `float64` (`0.5`, `1.0`, `1.5e-7`, and integers among them that it holds); `decimal(38,s)` for
///   numbers with the same number of digits after the point, some of which end in 0 (`1.10`,
///   `2.50`) or have too many digits for a float; `bool` (`true`, `false`); `date`
///   (`2024-02-29`); `timestamp_naive` (`2024-02-29T10:00:00`, or with a space), and `timestamp`
///   where they end in `Z` or `+00:00`. All else is text: `00123`, `+49`, `7e3` and `1.10` beside
///   `1.9` are codes, and another offset from UTC would be lost.
/// - **Raw**: [`raw_schema`].
///
/// Records that can't be read are passed over: they will be rejected.
#[derive(Debug, Clone)]
pub struct Inference {
    format: Format,
    dialect: Dialect,
    columns: Vec<(String, csv::Kind)>,
    /// Which of the columns the fields of the present CSV file are.
    places: Vec<usize>,
    fields: Vec<(String, json::Kind)>,
    named: bool,
    rows: u64,
    bytes: u64,
    /// Why the first record that can't be read can't be.
    refused: Option<String>,
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
            places: Vec::new(),
            fields: Vec::new(),
            named: false,
            rows: 0,
            bytes: 0,
            refused: None,
        })
    }

    /// The header of the CSV file whose chunks come. Columns that the files before didn't have are
    /// added to theirs. Errors: `Schema` for more than [`MOST_COLUMNS`](crate::MOST_COLUMNS).
    pub fn header(&mut self, header: &CsvHeader) -> Result<()> {
        check_columns(header.names().len())?;
        self.dialect = self.dialect.of(header);
        self.named = true;
        self.places.clear();
        for (at, name) in header.names().iter().enumerate() {
            let known = match self.columns.get(at) {
                Some((same, _)) if same == name => Some(at),
                _ => self.columns.iter().position(|(other, _)| other == name),
            };
            self.places.push(known.unwrap_or_else(|| {
                self.columns.push((name.clone(), csv::Kind::Unknown));
                self.columns.len() - 1
            }));
        }
        self.check()
    }

    fn check(&self) -> Result<()> {
        check_columns(self.columns.len().max(json::leaves(&self.fields)))
    }

    /// Takes note of a chunk's records. Errors: `Schema` for more columns than [`MOST_COLUMNS`](crate::MOST_COLUMNS).
    pub fn push(&mut self, chunk: &Chunk) -> Result<()> {
        let data = &chunk.bytes[..];
        self.bytes += data.len() as u64;
        match self.format {
            Format::Csv => self.csv(data),
            Format::Ndjson => self.json(data, !chunk.start.free),
            Format::Json => self.json(data, false),
            Format::Raw | Format::Parquet => self.rows += 1,
        }
        self.check()
    }

    /// Adds what another one has learnt of other files of the same table: the schema is then one
    /// that no value of either is changed by. Names that differ in nothing but case are one.
    pub fn merge(&mut self, other: &Self) {
        for (name, kind) in &other.columns {
            match json::place(&self.columns, name) {
                Some(at) => self.columns[at].1.widen(*kind),
                None => self.columns.push((name.clone(), *kind)),
            }
        }
        json::merge_fields(&mut self.fields, &other.fields);
        self.rows += other.rows;
        self.bytes += other.bytes;
    }

    /// The columns of which no value was seen. Nothing is known of their types: they are text for now.
    pub fn unseen(&self) -> Vec<&str> {
        let of_csv = self.columns.iter();
        let of_csv = of_csv.filter(|(_, kind)| *kind == csv::Kind::Unknown);
        let of_json = self.fields.iter();
        let of_json = of_json.filter(|(_, kind)| matches!(kind, json::Kind::Unknown));
        let names = of_csv.map(|(name, _)| name.as_str());
        names
            .chain(of_json.map(|(name, _)| name.as_str()))
            .collect()
    }

    /// How many records were seen.
    pub fn rows(&self) -> u64 {
        self.rows
    }

    /// How many bytes they had.
    pub fn bytes(&self) -> u64 {
        self.bytes
    }

    /// The schema. Errors: `Schema` where no record was seen that tells one, and for more columns than
    /// [`MOST_COLUMNS`](crate::MOST_COLUMNS).
    pub fn finish(&self) -> Result<SchemaRef> {
        self.check()?;
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
            return Err(self.nothing());
        }
        Ok(Arc::new(Schema::new(fields)))
    }

    fn nothing(&self) -> Error {
        let why = match &self.refused {
            Some(reason) => format!("the first record can't be read: {reason}"),
            None if self.rows > 0 => "the records have no keys".to_owned(),
            None => "there is no record".to_owned(),
        };
        Error::schema(format!("the columns can't be found out: {why}"))
            .hint("give a `schema`, or check that the file is whole and of this format")
    }

    fn refuse(&mut self, reason: impl fmt::Display) {
        self.refused.get_or_insert_with(|| reason.to_string());
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
                self.places = (0..fields.len()).collect();
                self.named = true;
            }
            if fields.len() != self.places.len() {
                continue;
            }
            self.rows += 1;
            for (field, place) in fields.iter().zip(&self.places) {
                let (_, kind) = &mut self.columns[*place];
                let null = !field.quoted && *field.bytes == *self.dialect.null;
                if !null && !field.bytes.is_empty() && *kind != csv::Kind::Text {
                    kind.widen(csv::Kind::of(&field.bytes));
                }
            }
        }
    }

    fn json(&mut self, data: &[u8], lines: bool) {
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
            if simdutf8::basic::from_utf8(record).is_err() {
                self.refuse("it is not valid UTF-8");
                continue;
            }
            if record.first() != Some(&b'{') {
                self.refuse(format_args!("{} is not a JSON object", excerpt(record)));
                continue;
            }
            // A record that turns out to be malformed must leave no trace: look before noting.
            let mut look = Cursor::new(record);
            if let Err(fault) = look.raw().and_then(|_| look.end()) {
                self.refuse(fault);
                continue;
            }
            self.rows += 1;
            // It was read once already, so it can be read again: it fails only where there are too
            // many keys, which is told at the chunk's end.
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
