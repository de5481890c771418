//! The first record of a CSV file.

use serde::{Deserialize, Serialize};
use tidegate_core::{Error, Result};

use super::csv::CsvScan;
use crate::CsvOptions;
use crate::csv_options::Dialect;
use crate::decode::csv_fields;

/// The column names that a CSV file's first record gives.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(transparent)]
pub struct CsvHeader {
    names: Vec<String>,
}

impl CsvHeader {
    /// The names, in the file's order.
    pub fn names(&self) -> &[String] {
        &self.names
    }

    /// Reads the header from a file's first bytes; `None` when they don't hold all of it.
    /// `complete` says that the file has no more. A splitter does this itself; it is needed where
    /// reading goes on in the middle of a file.
    ///
    /// Errors: `Schema` for names that are empty, double, or not UTF-8.
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
        // Empty lines before the header mean nothing.
        let blank = bytes
            .iter()
            .take_while(|byte| matches!(byte, b'\n' | b'\r'))
            .count();
        let record = &bytes[blank..];
        let end = match CsvScan::new(dialect).record_end(record, 1) {
            Some(end) => end,
            None if complete && !record.is_empty() => record.len(),
            None => return Ok(None),
        };
        let fields = csv_fields(&record[..end], dialect)
            .map_err(|reason| Error::schema(format!("the CSV header can't be read: {reason}")))?;
        let mut names: Vec<String> = Vec::with_capacity(fields.len());
        for field in fields {
            let name = String::from_utf8(field.bytes.into_owned())
                .map_err(|_| Error::schema("the CSV header is not UTF-8"))?;
            if names.contains(&name) {
                return Err(Error::schema(format!("the CSV header has `{name}` twice"))
                    .hint("if the file has no header, set `header = false`"));
            }
            names.push(name);
        }
        if names.iter().any(String::is_empty) {
            return Err(Error::schema("the CSV header has a column without a name")
                .hint("if the file has no header, set `header = false`"));
        }
        Ok(Some((Self { names }, blank + end)))
    }
}
