//! Payloads byte for byte.

use arrow_array::{Array, RecordBatch};
use arrow_schema::Schema;
use tidegate_core::{Error, Origin, Rejected, Result};

use super::encoder::row_to_json;
use crate::decode::json_check;
use crate::payload::{bytes_of, holds_bytes};

/// The names that tell the payload where several columns could be it.
const NAMES: [&str; 3] = ["payload", "body", "data"];

/// The position of the column that holds the payload.
pub(crate) fn payload(schema: &Schema) -> Result<usize> {
    let fits = |at: &usize| holds_bytes(schema.field(*at).data_type());
    let columns: Vec<usize> = (0..schema.fields().len()).filter(fits).collect();
    let named = || {
        NAMES
            .iter()
            .find_map(|name| columns.iter().find(|at| schema.field(**at).name() == name))
    };
    match columns.as_slice() {
        [only] => Ok(*only),
        _ => named().copied().ok_or_else(|| {
            Error::schema("no column is known to be the payload that a raw file is made of").hint(
                "give it one column of binary or string, or name one `payload`, `body` or `data`",
            )
        }),
    }
}

/// Appends the payloads one after the other; as `lines`, each ended by a newline. A row without one is
/// rejected, and one that would be several lines.
pub(crate) fn encode(
    batch: &RecordBatch,
    column: usize,
    lines: bool,
    out: &mut Vec<u8>,
) -> Result<Rejected> {
    let array = batch.column(column);
    let mut rejected = Rejected::default();
    for row in 0..batch.num_rows() {
        let wrong = if array.is_null(row) {
            "null, but it is what is to be written"
        } else if !lines {
            out.extend_from_slice(bytes_of(array, row));
            continue;
        } else if line(bytes_of(array, row), out) {
            continue;
        } else {
            "it holds a newline, and isn't JSON, where newlines are only white space"
        };
        let name = batch.schema_ref().field(column).name();
        let reason = format!("column `{name}`: {wrong}");
        rejected.push(row_to_json(batch, row)?, reason, Origin::default());
    }
    Ok(rejected)
}

/// Appends a payload as one line, if it can be one.
fn line(payload: &[u8], out: &mut Vec<u8>) -> bool {
    let breaks = |byte: &u8| matches!(byte, b'\n' | b'\r');
    if !payload.iter().any(breaks) {
        out.extend_from_slice(payload);
    } else if json_check(payload).is_ok() {
        // A string has none in it, so they stand between values.
        out.extend(
            payload
                .iter()
                .map(|byte| if breaks(byte) { b' ' } else { *byte }),
        );
    } else {
        return false;
    }
    out.push(b'\n');
    true
}
