//! Payloads byte for byte.

use arrow_array::cast::AsArray;
use arrow_array::{Array, ArrayRef, RecordBatch};
use arrow_schema::{DataType, Schema};
use tidegate_core::{Error, Origin, Rejected, Result};

use super::encoder::row_to_json;

/// The names that tell the payload where several columns could be it.
const NAMES: [&str; 3] = ["payload", "body", "data"];

/// The position of the column that holds the payload.
pub(crate) fn payload(schema: &Schema) -> Result<usize> {
    let fits = |at: &usize| {
        matches!(
            schema.field(*at).data_type(),
            DataType::Binary
                | DataType::LargeBinary
                | DataType::BinaryView
                | DataType::Utf8
                | DataType::LargeUtf8
                | DataType::Utf8View
        )
    };
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

/// Appends the payloads one after the other. A row without one is rejected.
pub(crate) fn encode(batch: &RecordBatch, column: usize, out: &mut Vec<u8>) -> Result<Rejected> {
    let array = batch.column(column);
    let mut rejected = Rejected::default();
    for row in 0..batch.num_rows() {
        if array.is_null(row) {
            let name = batch.schema_ref().field(column).name().clone();
            let reason = format!("column `{name}`: null, but a raw file is made of it");
            rejected.push(row_to_json(batch, row)?, reason, Origin::default());
        } else {
            out.extend_from_slice(value(array, row));
        }
    }
    Ok(rejected)
}

fn value(array: &ArrayRef, row: usize) -> &[u8] {
    match array.data_type() {
        DataType::Binary => array.as_binary::<i32>().value(row),
        DataType::LargeBinary => array.as_binary::<i64>().value(row),
        DataType::BinaryView => array.as_binary_view().value(row),
        DataType::Utf8 => array.as_string::<i32>().value(row).as_bytes(),
        DataType::LargeUtf8 => array.as_string::<i64>().value(row).as_bytes(),
        DataType::Utf8View => array.as_string_view().value(row).as_bytes(),
        _ => &[],
    }
}
