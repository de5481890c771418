//! What a CSV file's beginning says: names, and what stands between fields.

use std::collections::HashSet;

use tidegate_core::{Error, Result};

use super::csv::CsvScan;
use crate::CsvOptions;
use crate::csv_options::Dialect;
use crate::decode::csv_fields;

/// What may stand between fields where nothing says so, the likeliest first.
const DELIMITERS: [u8; 3] = [b';', b'\t', b'|'];

/// The column names that a CSV file's first record gives.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct CsvHeader {
    names: Vec<String>,
    delimiter: u8,
}

impl CsvHeader {
    /// The names, in the file's order, no two the same: a column without one is called by its
    /// number (`column3`), and the second of a name `name_2`.
    pub fn names(&self) -> &[String] {
        &self.names
    }

    /// What stands between two fields of this file.
    pub fn delimiter(&self) -> u8 {
        self.delimiter
    }

    /// What stands between the fields of a text that says so in a first line `sep=;`, which Excel
    /// writes and reads, and where that line ends: 0 without one.
    pub fn separator(text: &str) -> (Option<char>, usize) {
        let (said, end) = separator_line(text.as_bytes(), true).unwrap_or_default();
        (said.map(char::from), end)
    }

    /// Reads the header from a file's first bytes; `None` when they don't hold all of it.
    /// `complete` says that the file has no more. A splitter does this itself; it is needed where
    /// reading continues in the middle of a file.
    ///
    /// Errors: `Schema` for names that are not UTF-8.
    pub fn parse(bytes: &[u8], csv: &CsvOptions, complete: bool) -> Result<Option<Self>> {
        let bytes = bytes.strip_prefix(b"\xEF\xBB\xBF").unwrap_or(bytes);
        Ok(Self::read(bytes, &csv.dialect()?, complete)?.map(|(header, _)| header))
    }

    /// The header and where it ends.
    pub(crate) fn read(
        bytes: &[u8],
        dialect: &Dialect,
        complete: bool,
    ) -> Result<Option<(Self, usize)>> {
        let Some((said, mut start)) = separator_line(bytes, complete) else {
            return Ok(None);
        };
        // Empty lines before the header mean nothing.
        while let Some((blank, next)) = blank_line(&bytes[start..], dialect, complete) {
            if !blank {
                break;
            }
            start += next;
        }
        let record = &bytes[start..];
        let mut dialect = dialect.clone();
        if !dialect.delimited {
            dialect.delimiter = match said {
                Some(delimiter) => delimiter,
                None => match likeliest(record, &dialect, complete) {
                    Some(delimiter) => delimiter,
                    None => return Ok(None),
                },
            };
        }
        let end = match CsvScan::new(&dialect).record_end(record, 1) {
            Some(end) => end,
            None if complete && !record.is_empty() => record.len(),
            None => return Ok(None),
        };
        let fields = csv_fields(&record[..end], &dialect)
            .map_err(|reason| Error::schema(format!("the CSV header can't be read: {reason}")))?;
        let mut written = Vec::with_capacity(fields.len());
        for field in fields {
            let name = String::from_utf8(field.bytes.into_owned()).map_err(|_| {
                Error::schema("the CSV header is not UTF-8").hint(
                    "convert the file, as with `iconv -f WINDOWS-1252 -t UTF-8`, if that is what it is in",
                )
            })?;
            written.push(name);
        }
        let header = Self {
            names: unique(written),
            delimiter: dialect.delimiter,
        };
        Ok(Some((header, start + end)))
    }
}

/// What a first line `sep=;` says, and where it ends; `None` if more bytes are needed.
pub(crate) fn separator_line(bytes: &[u8], complete: bool) -> Option<(Option<u8>, usize)> {
    const NONE: Option<(Option<u8>, usize)> = Some((None, 0));
    let (quotes, line) = match bytes {
        [b'"', line @ ..] => (1, line),
        line => (0, line),
    };
    let prefix = line.len().min(4);
    if !line[..prefix].eq_ignore_ascii_case(&b"sep="[..prefix]) {
        return NONE;
    }
    let short = || if complete { NONE } else { None };
    let (Some(delimiter), Some(rest)) = (line.get(4), line.get(5..)) else {
        return short();
    };
    let Some(rest) = rest.strip_prefix(&b"\""[..quotes]) else {
        return if rest.is_empty() { short() } else { NONE };
    };
    let newline = match rest {
        [b'\r', b'\n', ..] => 2,
        [b'\r'] if !complete => return None,
        [b'\r' | b'\n', ..] => 1,
        [] => return short(),
        _ => return NONE,
    };
    let length = bytes.len() - rest.len() + newline;
    match delimiter.is_ascii_graphic() || *delimiter == b'\t' {
        true => Some((Some(*delimiter), length)),
        false => NONE,
    }
}

/// Whether the first line has nothing in it but blanks, and where it ends; `None` if its end isn't
/// there.
fn blank_line(bytes: &[u8], dialect: &Dialect, complete: bool) -> Option<(bool, usize)> {
    let blank = |byte: &u8| matches!(byte, b' ' | b'\t') && *byte != dialect.delimiter;
    let end = bytes.iter().take_while(|byte| blank(byte)).count();
    match bytes.get(end) {
        Some(b'\n' | b'\r') => Some((true, end + 1)),
        Some(_) => Some((false, 0)),
        None => (complete && end > 0).then_some((true, end)),
    }
}

/// The delimiter of a header: the comma, or where it has none, that of the others which it has most.
/// `None` if its end isn't there.
fn likeliest(record: &[u8], dialect: &Dialect, complete: bool) -> Option<u8> {
    let mut counts = [0u64; DELIMITERS.len()];
    let mut quoted = false;
    for byte in record {
        match byte {
            byte if *byte == dialect.quote => quoted = !quoted,
            _ if quoted => {}
            b'\n' | b'\r' => return Some(most(&counts).unwrap_or(dialect.delimiter)),
            byte if *byte == dialect.delimiter => return Some(*byte),
            byte => {
                if let Some(at) = DELIMITERS.iter().position(|other| other == byte) {
                    counts[at] += 1;
                }
            }
        }
    }
    complete.then(|| most(&counts).unwrap_or(dialect.delimiter))
}

fn most(counts: &[u64]) -> Option<u8> {
    let found = DELIMITERS.iter().zip(counts).rev();
    let found = found.filter(|(_, count)| **count > 0);
    found
        .max_by_key(|(_, count)| **count)
        .map(|(byte, _)| *byte)
}

/// Names that differ. Those that are written keep theirs; what is made differs from them all.
fn unique(written: Vec<String>) -> Vec<String> {
    let all: HashSet<String> = written.iter().cloned().collect();
    let mut taken: HashSet<String> = HashSet::new();
    let mut names = Vec::with_capacity(written.len());
    for (at, name) in written.into_iter().enumerate() {
        let unnamed = name.trim().is_empty();
        let base = match unnamed {
            true => format!("column{}", at + 1),
            false => name,
        };
        let free = |name: &String| !taken.contains(name) && !all.contains(name);
        let name = match unnamed {
            false if !taken.contains(&base) => base,
            true if free(&base) => base,
            _ => {
                let mut others = (2..).map(|number: u64| format!("{base}_{number}"));
                others.find(free).unwrap_or(base)
            }
        };
        taken.insert(name.clone());
        names.push(name);
    }
    names
}
