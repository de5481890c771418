//! A chunk of JSON values to a batch.

use arrow_array::RecordBatch;
use arrow_schema::{Fields, SchemaRef};
use memchr::memchr;
use tidegate_core::{Decoded, Result};

use super::super::decoder::{Rejects, batch};
use super::super::{Fault, Learnt, fault::excerpt};
use super::{Cursor, Object};
use crate::split::json::value_end;

/// Decodes the values of a chunk: one a line, or with white space and commas between them.
pub(crate) fn decode(
    schema: &SchemaRef,
    fold_names: Option<&Fields>,
    exact: bool,
    lines: bool,
    learnt: Option<&Learnt>,
    mut rejects: Rejects<'_>,
) -> Result<Decoded> {
    let chunk = rejects.chunk();
    let data = &chunk.bytes[..];
    let valid = simdutf8::basic::from_utf8(data).is_ok();
    let mut object = Object::new(schema.fields(), chunk.rows_guess(), exact)?;
    if let Some(stream) = fold_names {
        object.fold_names(stream);
    }
    let mut cursor = if lines {
        Cursor::lines(data)
    } else {
        Cursor::new(data)
    };
    if let Some(learnt) = learnt {
        object.know(&learnt.others);
        cursor.unknown = Some(learnt.unknown());
    }
    loop {
        while let Some(byte) = cursor.peek()
            && (matches!(byte, b'\n' | b' ' | b'\t' | b'\r') || (byte == b',' && !lines))
        {
            cursor.at += 1;
        }
        let start = cursor.at;
        if start == data.len() {
            break;
        }
        let end = || match lines {
            true => memchr(b'\n', &data[start..]).map_or(data.len(), |end| start + end),
            false => start + value_end(&data[start..]),
        };
        let rows = object.len();
        let result = if !valid && simdutf8::basic::from_utf8(&data[start..end()]).is_err() {
            Err(Fault::new(format!(
                "{} is not valid UTF-8",
                excerpt(&data[start..end()])
            )))
        } else {
            object
                .append(&mut cursor)
                .and_then(|()| row_ends(&mut cursor, lines))
        };
        if let Some(unknown) = &mut cursor.unknown {
            match &result {
                Ok(()) => unknown.taken(start),
                Err(_) => unknown.rejected(),
            }
        }
        match result {
            Ok(()) => rejects.taken(start),
            Err(fault) => {
                object.truncate(rows);
                cursor.at = end();
                rejects.push(start, &data[start..cursor.at], &fault);
            }
        }
    }
    let ignored = cursor.unknown.take().map(|unknown| {
        unknown.ignored(Some(rejects.places()), |name| object.name_unknown("", name))
    });
    let rows = object.len();
    let batch: Option<RecordBatch> = batch(schema, object.finish()?, rows)?;
    Ok(rejects.decoded(batch, ignored))
}

#[inline]
fn row_ends(cursor: &mut Cursor<'_>, lines: bool) -> Result<(), Fault> {
    if !lines {
        return Ok(());
    }
    cursor.space();
    match cursor.peek() {
        None | Some(b'\n') => Ok(()),
        Some(_) => Err(cursor.unexpected("the end of the line")),
    }
}
