//! Cuts a file that arrives in pieces into chunks of whole records.

use std::fmt;

use bytes::Bytes;
use memchr::memchr;
use tidegate_core::{Error, Result};

use super::buffer::{Buffers, Unread};
use super::csv::CsvScan;
use super::header::separator_line;
use super::json::{FirstRecord, JsonScan};
use super::{Chunk, CsvHeader, Position};
use crate::csv_options::Dialect;
use crate::{CsvOptions, Format};

const CHUNK: usize = 1 << 20;
const MAX_RECORD: usize = 64 << 20;
const MAX_RAW: usize = 1 << 30;
const BOM: &[u8] = b"\xEF\xBB\xBF";

/// Cuts the (decompressed) bytes of one file into chunks of whole records.
///
/// A chunk is the fewest records that make the chunk size, so its bounds depend only on where
/// reading began: reading again from a chunk's `end` gives exactly the chunks that followed it,
/// whatever pieces the bytes arrive in. A byte order mark at the beginning is skipped. An NDJSON
/// file whose first object isn't alone in its line is read as JSON is.
///
/// ```
/// use tidegate_formats::{CsvOptions, Format, Position, Splitter};
///
/// # fn main() -> tidegate_core::Result<()> {
/// let mut splitter = Splitter::new(Format::Ndjson, &CsvOptions::default(), Position::start())?
///     .chunk_size(8);
/// splitter.push("{\"a\":1}\n{\"a\"".into());
/// let first = splitter.next()?.expect("a whole record");
/// assert_eq!((&first.bytes[..], first.end.line), (&b"{\"a\":1}\n"[..], Some(2)));
/// assert_eq!(splitter.next()?, None);
/// splitter.push(":2}".into());
/// splitter.finish();
/// assert_eq!(splitter.next()?.expect("the last record").bytes, "{\"a\":2}");
/// assert_eq!(splitter.next()?, None);
/// # Ok(())
/// # }
/// ```
pub struct Splitter {
    scan: Scan,
    /// What is not given out yet; it begins at `position`.
    buffer: Unread,
    position: Position,
    header: Option<CsvHeader>,
    dialect: Dialect,
    /// What must still be done before the first chunk.
    prelude: Prelude,
    chunk_size: usize,
    max_record: usize,
    finished: bool,
    /// Records that begin here or later belong to another range.
    until: u64,
    /// Whether it gives a range, so that there is a record a line.
    ranged: bool,
    done: bool,
}

enum Scan {
    Lines,
    Csv(CsvScan),
    Json(JsonScan),
    Raw,
}

enum Prelude {
    /// Skip a byte order mark.
    Bom,
    /// Read the header.
    Header,
    /// Without one: skip a line that says what stands between fields.
    Separator,
    /// Tell by the first record whether there is one a line.
    Lines(FirstRecord),
    /// Skip the rest of a record that another range has.
    Partial,
    Over,
}

impl fmt::Debug for Splitter {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Splitter")
            .field("position", &self.position)
            .field("buffered", &self.buffer.all())
            .finish_non_exhaustive()
    }
}

impl Splitter {
    /// From a position on: give it the file's bytes from `position.offset`.
    ///
    /// Errors: `Config` for unusable CSV options, `Unsupported` for Parquet, whose bytes are not
    /// read from front to back.
    pub fn new(format: Format, csv: &CsvOptions, position: Position) -> Result<Self> {
        let dialect = csv.dialect()?;
        let scan = match format {
            Format::Ndjson if position.free => Scan::Json(JsonScan::new(position.in_array)),
            Format::Ndjson => Scan::Lines,
            Format::Csv => Scan::Csv(CsvScan::new(&dialect)),
            Format::Json => Scan::Json(JsonScan::new(position.in_array)),
            Format::Raw => Scan::Raw,
            Format::Parquet => {
                return Err(Error::new(
                    tidegate_core::ErrorKind::Unsupported,
                    "Parquet can't be read from front to back",
                ));
            }
        };
        let prelude = match format {
            Format::Raw => Prelude::Over,
            _ if position.offset == 0 => Prelude::Bom,
            _ => Prelude::Over,
        };
        Ok(Self {
            max_record: if format == Format::Raw {
                MAX_RAW
            } else {
                MAX_RECORD
            },
            scan,
            buffer: Unread::default(),
            position,
            header: None,
            dialect,
            prelude,
            chunk_size: CHUNK,
            finished: false,
            until: u64::MAX,
            ranged: false,
            // Behind a raw file's only record there is nothing, also of an empty file.
            done: format == Format::Raw && position != Position::start(),
        })
    }

    /// The records of an NDJSON file that begin within `start..end`: give it the file's bytes from
    /// [`offset`](Self::offset) on, until it [is done](Self::is_done). Ranges that cover a file
    /// once give each record once. The lines' numbers are known only from `start == 0`.
    ///
    /// Errors: `Unsupported` for other formats, where a range may begin inside a record unseen.
    pub fn range(format: Format, start: u64, end: u64) -> Result<Self> {
        if format != Format::Ndjson {
            return Err(Error::new(
                tidegate_core::ErrorKind::Unsupported,
                format!("a {format} file can't be cut at any byte"),
            ));
        }
        let position = match start.checked_sub(1) {
            None => Position::start(),
            // Whether a record begins at `start` is told by the byte before it.
            Some(before) => Position {
                offset: before,
                line: None,
                in_array: false,
                free: false,
            },
        };
        let mut splitter = Self::new(format, &CsvOptions::default(), position)?;
        splitter.ranged = true;
        if start > 0 {
            splitter.prelude = Prelude::Partial;
        }
        splitter.until = end;
        splitter.done = start >= end;
        Ok(splitter)
    }

    /// The records of a range from one of its chunks' `end` on.
    pub fn resume_range(format: Format, from: Position, end: u64) -> Result<Self> {
        let mut splitter = Self::range(format, 0, end)?;
        splitter.position = from;
        if from.offset > 0 {
            splitter.prelude = Prelude::Over;
        }
        splitter.done = from.offset >= end;
        Ok(splitter)
    }

    /// Sets how many bytes a chunk has at least, but for the last. Default: 1 MiB.
    #[must_use]
    pub fn chunk_size(mut self, bytes: usize) -> Self {
        self.chunk_size = bytes.max(1);
        self
    }

    /// Sets how many bytes a record may have. Default: 64 MiB; of a raw file, 1 GiB.
    #[must_use]
    pub fn max_record(mut self, bytes: usize) -> Self {
        self.max_record = bytes;
        self
    }

    /// Takes the memory of its chunks from there, and gives it back when they are dropped.
    #[must_use]
    pub fn buffers(mut self, buffers: &Buffers) -> Self {
        self.buffer.buffers = buffers.clone();
        self
    }

    /// The file's offset of the next byte to push.
    pub fn offset(&self) -> u64 {
        self.position.offset + self.buffer.all() as u64
    }

    /// Whether there will be no more chunks: the input has ended and all of it was given, or the
    /// range has.
    pub fn is_done(&self) -> bool {
        self.done
    }

    /// Whether an NDJSON file that begins with `head` may be read in ranges: whether it has a record
    /// a line. `None` if the head is too short to tell; `complete` says that it is the whole file.
    pub fn can_range(head: &[u8], complete: bool) -> Option<bool> {
        let head = head.strip_prefix(BOM).unwrap_or(head);
        let free = FirstRecord::new().is_free(head, complete)?;
        Some(!free)
    }

    /// Says what header the CSV file has that is read from its middle.
    pub fn set_header(&mut self, header: CsvHeader) {
        self.dialect = self.dialect.of(&header);
        self.scan = Scan::Csv(CsvScan::new(&self.dialect));
        self.header = Some(header);
    }

    /// The CSV file's header, once it was read; it precedes the first chunk. `None` for files
    /// without one, and where reading began after it.
    pub fn header(&self) -> Option<&CsvHeader> {
        self.header.as_ref()
    }

    /// Adds the file's next bytes.
    pub fn push(&mut self, bytes: Bytes) {
        if self.done {
            return;
        }
        self.buffer.push(bytes);
    }

    /// Says that the file has no more bytes; `next` then gives what is left.
    pub fn finish(&mut self) {
        self.finished = true;
    }

    /// The next chunk; `None` when more bytes are needed, or at the end.
    ///
    /// Errors: `Data` where no record's end can be found: a record larger than allowed, a JSON
    /// file that ends in the middle or has no values where they must be; `Schema` for an unusable
    /// CSV header.
    #[expect(
        clippy::should_implement_trait,
        reason = "fallible, and resumes after None"
    )]
    pub fn next(&mut self) -> Result<Option<Chunk>> {
        loop {
            if self.prelude()? {
                let chunk = match &mut self.scan {
                    Scan::Lines => self.lines()?,
                    Scan::Csv(scan) => {
                        let end = scan.record_end(&self.buffer, self.chunk_size);
                        self.whole_records(end)?
                    }
                    Scan::Json(_) => self.json()?,
                    Scan::Raw => return self.raw(),
                };
                if chunk.is_some() {
                    return Ok(chunk);
                }
            }
            if self.done || !self.buffer.fill(self.chunk_size) {
                self.done |= self.finished;
                return Ok(None);
            }
        }
    }

    /// Whether all of the file's bytes are in the buffer.
    fn at_end(&self) -> bool {
        self.finished && self.buffer.all() == self.buffer.len()
    }

    /// Does what precedes the first chunk; says whether it is done.
    fn prelude(&mut self) -> Result<bool> {
        let at_end = self.at_end();
        loop {
            let next = match &mut self.prelude {
                Prelude::Over => return Ok(!self.done),
                Prelude::Bom => self.bom(),
                Prelude::Header => self.first_header()?,
                Prelude::Separator => self.separator()?,
                Prelude::Lines(first) => match first.is_free(&self.buffer, at_end) {
                    None => None,
                    Some(free) => {
                        if free {
                            self.position.free = true;
                            self.scan = Scan::Json(JsonScan::new(false));
                        }
                        Some(Prelude::Over)
                    }
                },
                Prelude::Partial => self.partial(),
            };
            match next {
                Some(next) => self.prelude = next,
                None if self.buffer.len() > self.max_record => return Err(self.too_long()),
                None => {
                    self.done |= at_end;
                    return Ok(false);
                }
            }
        }
    }

    fn bom(&mut self) -> Option<Prelude> {
        if !self.at_end() && self.buffer.len() < BOM.len() && BOM.starts_with(&self.buffer) {
            return None;
        }
        if self.buffer.starts_with(BOM) {
            self.skip(BOM.len());
        }
        Some(match self.scan {
            Scan::Csv(_) if self.dialect.header => Prelude::Header,
            Scan::Csv(_) => Prelude::Separator,
            Scan::Lines if !self.ranged => Prelude::Lines(FirstRecord::new()),
            _ => Prelude::Over,
        })
    }

    fn first_header(&mut self) -> Result<Option<Prelude>> {
        let found = CsvHeader::read(&self.buffer, &self.dialect, self.at_end())?;
        Ok(found.map(|(header, end)| {
            self.skip(end);
            self.set_header(header);
            Prelude::Over
        }))
    }

    fn separator(&mut self) -> Result<Option<Prelude>> {
        let Some((said, end)) = separator_line(&self.buffer, self.at_end()) else {
            return Ok(None);
        };
        match said.map(char::from) {
            Some(said) if said != char::from(self.dialect.delimiter) => {
                return Err(Error::schema(format!(
                    "the file's first line says that {said:?} stands between its fields"
                ))
                .hint(format!("set `csv = {{ delimiter = {said:?} }}`")));
            }
            _ => self.skip(end),
        }
        Ok(Some(Prelude::Over))
    }

    /// Skips the rest of a record that another range has.
    fn partial(&mut self) -> Option<Prelude> {
        let end = memchr(b'\n', &self.buffer);
        self.skip(end.map_or(self.buffer.len(), |at| at + 1));
        self.position.line = None;
        self.done |= self.position.offset >= self.until;
        end.map(|_| Prelude::Over)
    }

    /// The first `length` bytes, and the position moved behind them.
    fn take(&mut self, length: usize) -> Bytes {
        let bytes = self.buffer.take(length);
        self.position = self.position.after(&bytes);
        bytes
    }

    /// Moves the position over bytes that nobody wants.
    fn skip(&mut self, length: usize) {
        self.position = self.position.after(&self.buffer[..length]);
        self.buffer.skip(length);
    }

    fn give(&mut self, length: usize) -> Option<Chunk> {
        if length == 0 {
            return None;
        }
        let start = self.position;
        let bytes = self.take(length);
        if let Scan::Csv(scan) = &mut self.scan {
            scan.restart();
        }
        Some(Chunk {
            bytes,
            start,
            end: self.position,
        })
    }

    fn lines(&mut self) -> Result<Option<Chunk>> {
        // A byte order mark may reach over the range's end; the record behind it is the range's own.
        let left = self.until.saturating_sub(self.position.offset).max(1);
        let left = usize::try_from(left).unwrap_or(usize::MAX);
        // The range's last record may end after it.
        let size = self.chunk_size.min(left);
        let end = (self.buffer.len() >= size)
            .then(|| memchr(b'\n', &self.buffer[size - 1..]).map(|at| size + at))
            .flatten();
        let chunk = self.whole_records(end)?;
        // Before it was given, what stands behind the range's end is the record after the mark.
        self.done |= chunk.is_some() && self.position.offset >= self.until;
        Ok(chunk)
    }

    /// A chunk up to the record's `end` at or after the chunk size, as far as it was found.
    fn whole_records(&mut self, end: Option<usize>) -> Result<Option<Chunk>> {
        let reach = end.unwrap_or(self.buffer.len());
        if reach.saturating_sub(self.chunk_size) > self.max_record {
            return Err(self.too_long());
        }
        Ok(match end {
            Some(end) => self.give(end),
            None if self.at_end() => self.give(self.buffer.len()),
            None => None,
        })
    }

    fn json(&mut self) -> Result<Option<Chunk>> {
        let at_end = self.at_end();
        let Scan::Json(scan) = &mut self.scan else {
            return Ok(None);
        };
        let found = scan
            .advance(&self.buffer, self.chunk_size, at_end)
            .map_err(|(at, message)| {
                let place = self
                    .position
                    .after(&self.buffer[..at.min(self.buffer.len())]);
                let error = Error::data(message).with("offset", place.offset);
                match place.line {
                    Some(line) => error.with("line", line),
                    None => error,
                }
            })?;
        if found.is_none() && self.buffer.len() > self.chunk_size.saturating_add(self.max_record) {
            return Err(self.too_long());
        }
        let Some(cut) = found else {
            return Ok(None);
        };
        self.skip(cut.skip);
        self.position.in_array = cut.from_array;
        let mut chunk = self.give(cut.end - cut.skip);
        self.position.in_array = cut.to_array;
        if let Some(chunk) = &mut chunk {
            chunk.end.in_array = cut.to_array;
        }
        Ok(chunk)
    }

    fn raw(&mut self) -> Result<Option<Chunk>> {
        let all = self.buffer.all();
        if all > self.max_record {
            return Err(self.too_long());
        }
        if self.done || !self.finished {
            return Ok(None);
        }
        self.buffer.fill(all);
        // An empty file is a payload too.
        self.done = true;
        let start = self.position;
        let bytes = self.take(self.buffer.len());
        // An empty file's end must differ from its beginning.
        self.position.line = Some(2);
        Ok(Some(Chunk {
            bytes,
            start,
            end: self.position,
        }))
    }

    fn too_long(&self) -> Error {
        let error = Error::data(format!(
            "no end of a record within {} bytes",
            self.max_record
        ))
        .with("offset", self.position.offset);
        let error = match self.position.line {
            Some(line) => error.with("line", line),
            None => error,
        };
        error.hint(match self.scan {
            Scan::Csv(_) => "a quote that isn't closed makes one record of all that follows: check `quote` and the file",
            Scan::Raw => "a raw file is held in memory whole; this one is too large",
            _ => "is it a file of this format, and of this compression?",
        })
    }
}
