//! What the formats promise, from bytes to Arrow and back.

#![allow(clippy::cast_possible_truncation, clippy::unwrap_used)]

mod compression;
mod csv;
mod exact;
mod fold;
mod infer;
mod json;
mod new_columns;
mod plain;
mod round_trip;
mod rows;
mod split;

use std::sync::Arc;

use arrow_array::RecordBatch;
use arrow_schema::DataType;
use arrow_schema::{Field, Schema, SchemaRef};
use tidegate_core::{Decoded, Scan};
use tidegate_formats::{CsvOptions, Decoder, Format};

fn schema(fields: impl IntoIterator<Item = (&'static str, DataType)>) -> SchemaRef {
    let field = |(name, data_type)| Field::new(name, data_type, true);
    Arc::new(Schema::new(
        fields.into_iter().map(field).collect::<Vec<_>>(),
    ))
}

fn decode(format: Format, schema: &SchemaRef, bytes: impl Into<Vec<u8>>) -> Decoded {
    decode_with(format, &CsvOptions::default(), schema, bytes)
}

fn decode_with(
    format: Format,
    csv: &CsvOptions,
    schema: &SchemaRef,
    bytes: impl Into<Vec<u8>>,
) -> Decoded {
    let decoder = Decoder::new(format, csv, schema.clone(), &Scan::all("s")).unwrap();
    decoder
        .decode_all(bytes.into().into(), &"file".into())
        .unwrap()
}

fn only(decoded: &Decoded) -> &RecordBatch {
    assert!(decoded.rejected.is_empty(), "{:?}", decoded.rejected);
    assert_eq!(decoded.batches.len(), 1);
    &decoded.batches[0]
}

/// Each rejected row's line, text and reason.
fn rejected(decoded: &Decoded) -> Vec<(u64, &str, &str)> {
    let rows = decoded.rejected.rows.iter();
    rows.map(|row| {
        (
            row.origin.line.unwrap(),
            row.row.as_str(),
            row.reason.as_str(),
        )
    })
    .collect()
}
