//! Where CSV records end.
//!
//! A quote means something only where a field begins; inside a quoted field, two are one. A newline
//! outside is LF, CRLF or CR. That is all there is to know: the search jumps from quote to quote,
//! and files without quotes are searched for newlines alone.

use memchr::{memchr, memchr2};

use crate::csv_options::Dialect;

/// The search for a record's end, resuming where it stopped when more bytes have come.
#[derive(Debug)]
pub(crate) struct CsvScan {
    delimiter: u8,
    quote: u8,
    /// Everything before this was looked at.
    at: usize,
    quoted: bool,
}

impl CsvScan {
    pub(crate) fn new(dialect: &Dialect) -> Self {
        Self {
            delimiter: dialect.delimiter,
            quote: dialect.quote,
            at: 0,
            quoted: false,
        }
    }

    /// Begins again: the bytes given next start with a record.
    pub(crate) fn restart(&mut self) {
        (self.at, self.quoted) = (0, false);
    }

    /// The end (behind its newline) of the first record that ends at `least` or later. `bytes`
    /// start where the scan was made or restarted, and only grow. Once found, restart.
    pub(crate) fn record_end(&mut self, bytes: &[u8], least: usize) -> Option<usize> {
        loop {
            if self.quoted {
                let close = self.at
                    + memchr(self.quote, &bytes[self.at..]).or_else(|| self.wait(bytes.len()))?;
                match bytes.get(close + 1) {
                    // Whether the quote is doubled is told by the next byte.
                    None => return self.wait(close).and(None),
                    Some(next) if *next == self.quote => self.at = close + 2,
                    Some(_) => (self.at, self.quoted) = (close + 1, false),
                }
                continue;
            }
            let quote = memchr(self.quote, &bytes[self.at..]).map(|at| self.at + at);
            let outside = quote.unwrap_or(bytes.len());
            let from = self.at.max(least.saturating_sub(1));
            if from < outside
                && let Some(found) = memchr2(b'\n', b'\r', &bytes[from..outside])
            {
                let end = from + found;
                return match (bytes[end], bytes.get(end + 1)) {
                    (b'\r', Some(b'\n')) => Some(end + 2),
                    // Whether that is a CRLF is told by the next byte.
                    (b'\r', None) => self.wait(end),
                    _ => Some(end + 1),
                };
            }
            let Some(quote) = quote else {
                return self.wait(bytes.len()).and(None);
            };
            self.at = quote + 1;
            self.quoted = quote == 0 || [self.delimiter, b'\n', b'\r'].contains(&bytes[quote - 1]);
        }
    }

    fn wait(&mut self, at: usize) -> Option<usize> {
        self.at = at;
        None
    }
}

/// The end of the record at the beginning of `bytes`, behind its newline, or of the bytes.
pub(crate) fn first_record_end(bytes: &[u8], dialect: &Dialect) -> usize {
    CsvScan::new(dialect)
        .record_end(bytes, 1)
        .unwrap_or(bytes.len())
}
