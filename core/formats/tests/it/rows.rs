//! Rows that are written one by one are those of a file.

use std::sync::Arc;

use arrow_array::builder::{Int64Builder, ListBuilder};
use arrow_array::{
    ArrayRef, BinaryArray, Date32Array, Decimal128Array, Float64Array, RecordBatch, StringArray,
};
use arrow_schema::{DataType, Field, IntervalUnit, Schema};
use tidegate_core::ErrorKind;
use tidegate_formats::{CsvOptions, Encoder, Format, RowEncoder};

fn batch() -> RecordBatch {
    let mut list = ListBuilder::new(Int64Builder::new());
    list.append_value([Some(1), None]);
    list.append_null();
    let decimals = Decimal128Array::from(vec![Some(150), None]);
    let columns: [(&str, ArrayRef); 6] = [
        (
            "text",
            Arc::new(StringArray::from(vec![Some("a\"\n"), None])),
        ),
        (
            "float",
            Arc::new(Float64Array::from(vec![Some(1.5), Some(f64::NAN)])),
        ),
        (
            "bytes",
            Arc::new(BinaryArray::from(vec![&b"\xff"[..], b""])),
        ),
        ("day", Arc::new(Date32Array::from(vec![Some(1), None]))),
        (
            "price",
            Arc::new(decimals.with_precision_and_scale(10, 2).unwrap()),
        ),
        ("list", Arc::new(list.finish())),
    ];
    let columns = columns
        .into_iter()
        .map(|(name, column)| (name, column, true));
    RecordBatch::try_from_iter_with_nullable(columns).unwrap()
}

#[test]
fn rows_one_by_one_are_the_lines_of_a_file() {
    let batch = batch();
    let mut lines = Vec::new();
    let mut file = Encoder::new(Format::Ndjson, &CsvOptions::default(), &batch.schema()).unwrap();
    file.encode(&batch, &mut lines).unwrap();
    let encoder = RowEncoder::new(&batch.schema()).unwrap();
    let columns = encoder.columns(&batch).unwrap();
    let rows = encoder.rows(&columns).unwrap();
    let mut one_by_one = Vec::new();
    for row in 0..batch.num_rows() {
        rows.object(row, &mut one_by_one);
        one_by_one.push(b'\n');
    }
    assert_eq!(one_by_one, lines);
}

#[test]
fn a_value_is_text_or_json() {
    let batch = batch();
    let encoder = RowEncoder::new(&batch.schema()).unwrap();
    let columns = encoder.columns(&batch).unwrap();
    let rows = encoder.rows(&columns).unwrap();
    let text = |column, row| {
        let mut out = Vec::new();
        let there = rows.text(column, row, &mut out);
        there.then(|| String::from_utf8(out).unwrap())
    };
    let json = |column, row| {
        let mut out = Vec::new();
        rows.json(column, row, &mut out);
        String::from_utf8(out).unwrap()
    };
    assert_eq!(
        [0, 1, 2, 3, 4, 5].map(|column| text(column, 0).unwrap()),
        ["a\"\n", "1.5", "/w==", "1970-01-02", "1.50", "[1,null]"]
    );
    assert_eq!(
        [0, 1, 2, 3, 4, 5].map(|column| json(column, 0)),
        [
            "\"a\\\"\\n\"",
            "1.5",
            "\"/w==\"",
            "\"1970-01-02\"",
            "1.50",
            "[1,null]"
        ]
    );
    assert_eq!((text(0, 1), json(0, 1)), (None, "null".to_owned()));
    assert_eq!(
        (text(1, 1), json(1, 1)),
        (Some("NaN".into()), "\"NaN\"".into())
    );
    assert_eq!(
        (text(2, 1), json(2, 1)),
        (Some(String::new()), "\"\"".into())
    );
}

#[test]
fn what_text_cannot_hold_and_other_columns_are_refused() {
    let interval = DataType::Interval(IntervalUnit::YearMonth);
    let schema = Arc::new(Schema::new(vec![Field::new("i", interval, true)]));
    let error = RowEncoder::new(&schema).unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Schema);
    let batch = batch();
    let encoder = RowEncoder::new(&batch.schema()).unwrap();
    encoder.columns(&batch.project(&[0]).unwrap()).unwrap_err();
}
