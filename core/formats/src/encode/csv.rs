//! Rows as CSV.

use super::cells::{Cells, Shape};
use crate::csv_options::Dialect;

/// Appends a record of these texts.
pub(crate) fn header<'a>(
    names: impl Iterator<Item = &'a str>,
    dialect: &Dialect,
    out: &mut Vec<u8>,
) {
    for (at, name) in names.enumerate() {
        if at > 0 {
            out.push(dialect.delimiter);
        }
        let start = out.len();
        out.extend_from_slice(name.as_bytes());
        // Readers may take these for delimiters where there is no other.
        let likely = name.contains([';', '\t', '|']);
        enclose_if(likely, start, dialect, out);
    }
    out.push(b'\n');
}

/// Appends a row.
pub(crate) fn record(columns: &[Cells<'_>], row: usize, dialect: &Dialect, out: &mut Vec<u8>) {
    // What other separators there are stands in no number and no date.
    let usual = matches!(dialect.delimiter, b',' | b';' | b'\t' | b'|') && dialect.quote == b'"';
    for (at, cells) in columns.iter().enumerate() {
        if at > 0 {
            out.push(dialect.delimiter);
        }
        if cells.is_null(row) {
            out.extend_from_slice(&dialect.null);
            continue;
        }
        let start = out.len();
        cells.text(row, out);
        let shape = cells.shape();
        if shape == Shape::Bare && out.get(start) == Some(&b'"') {
            // The name of a float that is no number.
            unquote(start, out);
        }
        if !usual
            || !matches!(shape, Shape::Bare | Shape::Plain)
            || !dialect.null.is_empty()
            || out.len() == start
        {
            enclose(start, dialect, out);
        }
    }
    out.push(b'\n');
}

fn unquote(start: usize, out: &mut Vec<u8>) {
    out.remove(start);
    out.pop();
}

/// Encloses what was appended since `start` in quotes, if it needs them.
fn enclose(start: usize, dialect: &Dialect, out: &mut Vec<u8>) {
    enclose_if(false, start, dialect, out);
}

/// The same, and also where it must be.
fn enclose_if(must: bool, start: usize, dialect: &Dialect, out: &mut Vec<u8>) {
    let text = &out[start..];
    let special = |byte: &u8| {
        *byte == dialect.delimiter || *byte == dialect.quote || matches!(*byte, b'\n' | b'\r')
    };
    if !must && text != dialect.null.as_slice() && !text.iter().any(special) {
        return;
    }
    let text = out.split_off(start);
    out.push(dialect.quote);
    for byte in text {
        if byte == dialect.quote {
            out.push(byte);
        }
        out.push(byte);
    }
    out.push(dialect.quote);
}
