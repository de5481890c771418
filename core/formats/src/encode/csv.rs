//! Rows as CSV.

use super::cells::{Cells, Shape};
use crate::csv_options::Dialect;
use crate::split::header::separator_line;

/// Appends a record of these texts, the first one of a file.
pub(crate) fn header<'a>(
    names: impl Iterator<Item = &'a str>,
    dialect: &Dialect,
    out: &mut Vec<u8>,
) {
    let line = out.len();
    for (at, name) in names.enumerate() {
        if at > 0 {
            out.push(dialect.delimiter);
        }
        let start = out.len();
        out.extend_from_slice(name.as_bytes());
        // Readers may take these for delimiters where there is no other.
        let likely = name.contains([';', '\t', '|']);
        let must = likely || (at == 0 && begins_oddly(&out[start..]));
        enclose_if(must, start, dialect, out);
    }
    out.push(b'\n');
    if says_separator(&out[line..]) {
        // Readers pass over an empty line before the header, and look for separators no more.
        out.insert(line, b'\n');
    }
}

/// Whether readers would take the first bytes of a file for something else than its first field: a
/// byte order mark, a line that says what stands between fields.
fn begins_oddly(text: &[u8]) -> bool {
    text.starts_with(b"\xEF\xBB\xBF")
        || text
            .get(..4)
            .is_some_and(|text| text.eq_ignore_ascii_case(b"sep="))
}

fn says_separator(line: &[u8]) -> bool {
    matches!(separator_line(line, true), Some((Some(_), _)))
}

/// Appends the first row of a file that has no header.
pub(crate) fn first_record(
    columns: &[Cells<'_>],
    row: usize,
    dialect: &Dialect,
    out: &mut Vec<u8>,
) {
    let line = out.len();
    record(columns, row, dialect, out);
    if begins_oddly(&out[line..]) {
        let rest = out.split_off(line);
        let end = match columns {
            [_] => rest.len() - 1,
            _ => memchr::memchr(dialect.delimiter, &rest).unwrap_or(rest.len() - 1),
        };
        out.extend_from_slice(&rest[..end]);
        enclose_if(true, line, dialect, out);
        out.extend_from_slice(&rest[end..]);
    }
    if says_separator(&out[line..]) {
        // An empty line would be a row: only the line that this one looks like can stand before it.
        let said = [b's', b'e', b'p', b'=', dialect.delimiter, b'\n'];
        out.splice(line..line, said);
    }
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
        cells.alone(row, out);
        let shape = cells.shape();
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
