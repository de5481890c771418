//! The decoder that a stream's readers share.

use std::collections::{HashMap, HashSet};
use std::fmt;
use std::sync::Arc;

use arrow_array::{ArrayRef, RecordBatch, RecordBatchOptions};
use arrow_schema::{DataType, Schema, SchemaRef};
use bytes::Bytes;
use tidegate_core::{
    Decode, Decoded, Error, IgnoredColumn, Origin, Rejected, Result, RowPlaces, Scan, suggest,
};

use super::column::Column;
use super::{Fault, Learnt, OnNewColumns, csv, json, raw};
use crate::csv_options::Dialect;
use crate::split::count_lines;
use crate::{Chunk, CsvHeader, CsvOptions, Format, Inference, Position, Splitter};

/// Decodes chunks into the columns that a scan asks for.
///
/// A row that doesn't fit is rejected with its text, the reason and its place, and the others go
/// on; no integer, decimal or time is rounded or cut. Only the columns asked for are checked. A
/// scan's predicates and limit are not looked at: they are applied again above.
///
/// - **JSON**: keys are matched exactly (but see [`Decoder::fold_names`]); unknown ones are ignored
///   (but see [`Decoder::on_new_columns`]), missing ones are NULL, and of a
///   key that comes twice the last value counts. A text column takes a value that is no string as
///   its JSON text.
/// - **CSV**: with a header, columns are matched by name and unknown ones are ignored; a row must
///   have as many fields as the header. The unquoted null text is NULL, and so is an empty field
///   of any column that isn't text or binary. Lines end with LF, CRLF or CR. Empty ones are skipped,
///   but in a file of one column, where they are rows.
/// - **Numbers** may be in strings. Integers may be written as floats where these are whole;
///   decimals are taken exactly.
/// - **Times**: dates are `YYYY-MM-DD`; timestamps are RFC 3339, or with a space for the `T`, and
///   without an offset in a UTC column they are taken as UTC.
/// - **Binary** is base64 in JSON and CSV. **Lists and structs** are JSON in a CSV field.
#[derive(Clone)]
pub struct Decoder {
    format: Format,
    csv: CsvOptions,
    dialect: Arc<Dialect>,
    full: SchemaRef,
    schema: SchemaRef,
    /// The positions of the columns asked for in the file's `width` (CSV).
    places: Arc<[usize]>,
    width: usize,
    fold_names: bool,
    learnt: Option<Learnt>,
    /// The file's (CSV), and the places and names of columns in it that are unknown.
    header: Option<Arc<CsvHeader>>,
    unknown: Arc<[(usize, String)]>,
    exact: bool,
    /// Whether it is kept where rows begin.
    keeps_places: bool,
}

impl fmt::Debug for Decoder {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(
            f,
            "Decoder({}, {} columns)",
            self.format,
            self.schema.fields().len()
        )
    }
}

impl Decoder {
    /// For a stream of this schema, decoding what `scan` asks for.
    ///
    /// Errors: `Config` for unusable CSV options, `Schema` for columns that aren't there or whose
    /// types the format can't hold, `Unsupported` for Parquet.
    pub fn new(format: Format, csv: &CsvOptions, schema: SchemaRef, scan: &Scan) -> Result<Self> {
        let dialect = csv.dialect()?;
        let places = scan.indices(&schema)?;
        let projected: SchemaRef = match scan.columns {
            None => Arc::clone(&schema),
            Some(_) => Arc::new(schema.project(&places)?),
        };
        match format {
            Format::Parquet => {
                return Err(Error::new(
                    tidegate_core::ErrorKind::Unsupported,
                    "Parquet isn't decoded record by record",
                ));
            }
            Format::Raw => check_raw(&schema)?,
            Format::Ndjson | Format::Json | Format::Csv => {
                for field in schema.fields() {
                    Column::new(field, 0, false)?;
                }
            }
        }
        Ok(Self {
            format,
            csv: csv.clone(),
            dialect: Arc::new(dialect),
            width: schema.fields().len(),
            places: places.into(),
            full: schema,
            schema: projected,
            fold_names: false,
            learnt: None,
            header: None,
            unknown: Arc::new([]),
            exact: false,
            keeps_places: scan.places,
        })
    }

    /// The same for a CSV file with this header: columns are found by their names.
    ///
    /// Errors: `Schema` if a column of the stream's schema isn't in the file.
    pub fn with_header(&self, header: &CsvHeader) -> Result<Self> {
        let names = header.names();
        let places = names.iter().enumerate();
        let places: HashMap<&String, usize> = places.map(|(at, name)| (name, at)).collect();
        for field in self.full.fields() {
            if !places.contains_key(field.name()) {
                return Err(no_column(field.name(), names));
            }
        }
        let place = |name: &String| places.get(name).copied();
        let places: Option<Arc<[usize]>> = self
            .schema
            .fields()
            .iter()
            .map(|field| place(field.name()))
            .collect();
        let unknown = names.iter().cloned().enumerate();
        let unknown = unknown.filter(|(_, name)| self.is_unknown(name));
        Ok(Self {
            places: places.ok_or_else(|| Error::internal("a column got lost"))?,
            width: names.len(),
            unknown: unknown.collect(),
            header: Some(Arc::new(header.clone())),
            dialect: Arc::new(self.dialect.of(header)),
            ..self.clone()
        })
    }

    /// Whether a CSV column of this name is one that is to be told of.
    fn is_unknown(&self, name: &String) -> bool {
        let has = |names: &HashSet<String>| match self.fold_names {
            true => names.contains(&name.to_lowercase()),
            false => names.contains(name),
        };
        let learnt = self.learnt.as_ref();
        learnt.is_some_and(|learnt| !has(&learnt.others))
            && self.schema.fields().find(name).is_none()
    }

    /// Takes JSON keys that are no column's name for the column whose name they are in another case,
    /// unless a row has that column's own key too, or they are the name of another column of the
    /// stream: catalogs keep names in lower case.
    pub fn fold_names(&mut self) {
        self.fold_names = true;
    }

    /// Does this about columns that the stream doesn't have, because its schema was learnt from a
    /// sample; `others` are the names of those that it is known not to have. Without it they are
    /// ignored without a word. It comes after [`fold_names`](Self::fold_names), and before
    /// [`with_header`](Self::with_header).
    pub fn on_new_columns<'a>(
        &mut self,
        on_new: &Arc<OnNewColumns>,
        others: impl IntoIterator<Item = &'a str>,
    ) {
        let name = |name: &str| match self.fold_names {
            true => name.to_lowercase(),
            false => name.to_owned(),
        };
        let stream = self.full.fields().iter().map(|field| name(field.name()));
        let names = stream.chain(others.into_iter().map(name)).collect();
        self.learnt = Some(Learnt {
            on_new: Arc::clone(on_new),
            others: Arc::new(names),
        });
    }

    /// Whether a row is rejected too for a value that would not come back from its column as it was
    /// written: `007` from integers, `1e400` from floats. So where the schema was learnt
    /// ([`Inference`](crate::Inference)) and not given.
    pub fn exact(&mut self, exact: bool) {
        self.exact = exact;
    }

    /// The schema of what is decoded: the columns asked for, in the stream's order.
    pub fn schema(&self) -> &SchemaRef {
        &self.schema
    }

    /// Decodes a chunk of `file`, which names the rejected rows' origin.
    pub fn decode(&self, chunk: &Chunk, file: &Arc<str>) -> Result<Decoded> {
        let rejects = Rejects::new(chunk, file, self.keeps_places);
        let learnt = self.learnt.as_ref();
        let decoded = match self.format {
            Format::Ndjson | Format::Json => {
                let lines = self.format == Format::Ndjson && !chunk.start.free;
                let stream = self.fold_names.then(|| self.full.fields());
                json::decode(&self.schema, stream, self.exact, lines, learnt, rejects)
            }
            Format::Csv => csv::decode(
                &self.schema,
                &self.dialect,
                &self.places,
                self.width,
                learnt.map(|learnt| (learnt, &*self.unknown)),
                self.exact,
                rejects,
            ),
            Format::Raw => raw::decode(&self.schema, chunk, rejects),
            Format::Parquet => Err(Error::internal("Parquet reached the decoder of records")),
        }?;
        if let Some(learnt) = learnt {
            let found = || self.learn(chunk);
            learnt.on_new.allow(&self.full, &decoded.ignored, found)?;
        }
        Ok(decoded)
    }

    /// The schema that the chunk has by itself.
    #[cold]
    fn learn(&self, chunk: &Chunk) -> Result<SchemaRef> {
        let mut inference = Inference::new(self.format, &self.csv)?;
        if let Some(header) = &self.header {
            inference.header(header)?;
        }
        inference.push(chunk)?;
        inference.finish()
    }

    /// Decodes a whole document: an API's body, a small file.
    pub fn decode_all(&self, bytes: Bytes, file: &Arc<str>) -> Result<Decoded> {
        let mut splitter = Splitter::new(self.format, &self.csv, Position::start())?;
        splitter.push(bytes);
        splitter.finish();
        let mut all = Decoded::default();
        let mut bound = None;
        while let Some(chunk) = splitter.next()? {
            let decoder = match (&mut bound, splitter.header()) {
                (Some(decoder), _) => decoder,
                (none, Some(header)) => none.insert(self.with_header(header)?),
                (none, None) => none.insert(self.clone()),
            };
            let decoded = decoder.decode(&chunk, file)?;
            all.batches.extend(decoded.batches);
            all.rejected.extend(decoded.rejected);
            IgnoredColumn::merge(&mut all.ignored, decoded.ignored);
        }
        Ok(all)
    }
}

fn check_raw(schema: &Schema) -> Result<()> {
    let fits = |data_type: &DataType| {
        matches!(
            data_type,
            DataType::Binary | DataType::LargeBinary | DataType::Utf8 | DataType::LargeUtf8
        )
    };
    match &schema.fields()[..] {
        [field] if fits(field.data_type()) => Ok(()),
        _ => Err(Error::schema(
            "a raw file is one column of binary or string",
        )),
    }
}

fn no_column(name: &str, names: &[String]) -> Error {
    let error = Error::schema(format!("the file has no column `{name}`"));
    match suggest::nearest(name, names.iter().map(String::as_str)) {
        Some(other) => error.hint(format!(
            "did you mean `{other}`? names are compared exactly"
        )),
        None => error.hint(format!("its header has: {}", names.join(", "))),
    }
}

/// A batch of the columns, or none of no rows.
pub(crate) fn batch(
    schema: &SchemaRef,
    columns: Vec<ArrayRef>,
    rows: usize,
) -> Result<Option<RecordBatch>> {
    if rows == 0 {
        return Ok(None);
    }
    let options = RecordBatchOptions::new().with_row_count(Some(rows));
    Ok(Some(RecordBatch::try_new_with_options(
        Arc::clone(schema),
        columns,
        &options,
    )?))
}

/// The rows of a chunk that can't be taken, and where the others begin.
pub(crate) struct Rejects<'a> {
    rejected: Rejected,
    places: Places<'a>,
    /// Where the rows begin that were taken, if that is asked for.
    starts: Option<Vec<usize>>,
}

impl<'a> Rejects<'a> {
    fn new(chunk: &'a Chunk, file: &'a Arc<str>, keeps_places: bool) -> Self {
        Self {
            starts: keeps_places.then(Vec::new),
            rejected: Rejected::default(),
            places: Places {
                chunk,
                file,
                counted: (0, 0),
            },
        }
    }

    /// Adds the row that begins at `start` within the chunk. Rows come in order.
    pub(crate) fn push(&mut self, start: usize, row: &[u8], fault: &Fault) {
        let origin = self.places.origin(start);
        self.rejected
            .push(String::from_utf8_lossy(row), fault.to_string(), origin);
    }

    /// Takes note of a row that was taken.
    #[inline]
    pub(crate) fn taken(&mut self, start: usize) {
        if let Some(starts) = &mut self.starts {
            starts.push(start);
        }
    }

    /// What came of the chunk.
    pub(crate) fn decoded(
        self,
        batch: Option<RecordBatch>,
        ignored: Option<Vec<IgnoredColumn>>,
    ) -> Decoded {
        let chunk = self.places.chunk;
        let places = self.starts.map(|starts| {
            Box::new(ChunkPlaces {
                chunk: chunk.clone(),
                file: Arc::clone(self.places.file),
                starts,
                counted: (0, 0),
            }) as Box<dyn RowPlaces>
        });
        Decoded {
            batches: batch.into_iter().collect(),
            rejected: self.rejected,
            ignored: ignored.unwrap_or_default(),
            places,
        }
    }

    pub(crate) fn chunk(&self) -> &'a Chunk {
        self.places.chunk
    }

    /// The chunk's places, from its beginning.
    pub(crate) fn places(&self) -> Places<'a> {
        Places {
            counted: (0, 0),
            ..self.places
        }
    }
}

/// Tells where rows of a chunk stand in its file.
#[derive(Clone, Copy)]
pub(crate) struct Places<'a> {
    chunk: &'a Chunk,
    file: &'a Arc<str>,
    /// Up to where lines were counted.
    counted: (usize, u64),
}

impl Places<'_> {
    /// Of the row that begins at `start` within the chunk. Rows come in order.
    pub(crate) fn origin(&mut self, start: usize) -> Origin {
        let (at, lines) = self.counted;
        let lines = lines + count_lines(&self.chunk.bytes[at..start]);
        self.counted = (start, lines);
        Origin {
            file: Some(Arc::clone(self.file)),
            line: self.chunk.start.line.map(|line| line + lines),
            offset: Some(self.chunk.start.offset + start as u64),
            ..Origin::default()
        }
    }
}

/// The same for rows that were taken, after the chunk was decoded.
#[derive(Debug)]
struct ChunkPlaces {
    chunk: Chunk,
    file: Arc<str>,
    starts: Vec<usize>,
    counted: (usize, u64),
}

impl RowPlaces for ChunkPlaces {
    fn origin(&mut self, row: usize) -> Result<Origin> {
        let start = self.starts.get(row).copied();
        let start = start.ok_or_else(|| Error::internal("a row was not decoded"))?;
        if start < self.counted.0 {
            self.counted = (0, 0);
        }
        let mut places = Places {
            chunk: &self.chunk,
            file: &self.file,
            counted: self.counted,
        };
        let origin = places.origin(start);
        self.counted = places.counted;
        Ok(origin)
    }
}

/// A chunk with what is needed to decode it: the `Rows::Encoded` of every source of files.
#[derive(Debug, Clone)]
pub struct EncodedChunk {
    /// The records.
    pub chunk: Chunk,
    /// The decoder, bound to the file's header if it has one.
    pub decoder: Arc<Decoder>,
    /// The file's name, for rejected rows.
    pub file: Arc<str>,
}

impl Decode for EncodedChunk {
    fn size(&self) -> usize {
        self.chunk.bytes.len()
    }

    fn decode(self: Box<Self>) -> Result<Decoded> {
        self.decoder.decode(&self.chunk, &self.file)
    }
}
