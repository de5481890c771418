//! Bytes as they are.

use std::sync::{Arc, LazyLock};

use arrow_array::{ArrayRef, BinaryArray, LargeBinaryArray, LargeStringArray, StringArray};
use arrow_schema::{DataType, Field, Schema, SchemaRef};
use tidegate_core::{Decoded, Error, Result};

use super::Fault;
use super::decoder::{Rejects, batch};
use crate::Chunk;

static SCHEMA: LazyLock<SchemaRef> = LazyLock::new(|| {
    Arc::new(Schema::new(vec![Field::new(
        "payload",
        DataType::Binary,
        false,
    )]))
});

/// The schema of raw files: `payload`, the file's bytes.
pub fn raw_schema() -> SchemaRef {
    Arc::clone(&SCHEMA)
}

/// One row of the chunk's bytes. Text columns take them if they are UTF-8.
pub(crate) fn decode(
    schema: &SchemaRef,
    chunk: &Chunk,
    mut rejects: Rejects<'_>,
) -> Result<Decoded> {
    let bytes = &chunk.bytes[..];
    let column: Option<ArrayRef> = match schema.fields().first().map(|field| field.data_type()) {
        None => None,
        Some(DataType::Binary) => Some(Arc::new(BinaryArray::from_vec(vec![bytes]))),
        Some(DataType::LargeBinary) => Some(Arc::new(LargeBinaryArray::from_vec(vec![bytes]))),
        Some(text @ (DataType::Utf8 | DataType::LargeUtf8)) => {
            match simdutf8::basic::from_utf8(bytes) {
                Ok(value) if *text == DataType::Utf8 => {
                    Some(Arc::new(StringArray::from(vec![value])))
                }
                Ok(value) => Some(Arc::new(LargeStringArray::from(vec![value]))),
                Err(_) => {
                    rejects.push(0, bytes, &Fault::new("the file is not valid UTF-8"));
                    return Ok(rejects.decoded(None, None));
                }
            }
        }
        Some(other) => {
            return Err(Error::schema(format!(
                "a raw file can't be read as {other}"
            )));
        }
    };
    let batch = batch(schema, column.into_iter().collect(), 1)?;
    rejects.taken(0);
    Ok(rejects.decoded(batch, None))
}
