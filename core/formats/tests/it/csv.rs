use std::sync::Arc;

use arrow_array::Array;
use arrow_array::cast::AsArray;
use arrow_array::types::*;
use arrow_schema::{DataType, Field, Schema};
use proptest::prelude::*;
use tidegate_core::{ErrorKind, Scan};
use tidegate_formats::{CsvHeader, CsvOptions, Decoder, Format};

use crate::{decode, decode_with, only, rejected, schema};

#[test]
fn columns_are_found_by_name_and_unknown_ones_ignored() {
    let schema = schema([("b", DataType::Utf8), ("a", DataType::Int32)]);
    let decoded = decode(
        Format::Csv,
        &schema,
        "\u{feff}a,x,b\r\n1,,one\r\n\r\n2,\"\"\"\n,\",\"two, or \"\"2\"\"\"\r\n3,,",
    );
    let batch = only(&decoded);
    let texts: Vec<_> = batch.column(0).as_string::<i32>().iter().collect();
    assert_eq!(texts, [Some("one"), Some("two, or \"2\""), None]);
    assert_eq!(
        batch.column(1).as_primitive::<Int32Type>().values(),
        &[1, 2, 3]
    );
}

#[test]
fn a_missing_column_is_an_error_that_names_it() {
    let schema = schema([("user_id", DataType::Int64)]);
    let decoder =
        Decoder::new(Format::Csv, &CsvOptions::default(), schema, &Scan::all("s")).unwrap();
    let header = |text: &str| {
        CsvHeader::parse(text.as_bytes(), &CsvOptions::default(), true)
            .unwrap()
            .unwrap()
    };
    let error = decoder.with_header(&header("User_ID,b\n")).unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Schema);
    assert!(error.to_string().contains("`user_id`"));
    assert!(
        error
            .hint_text()
            .unwrap()
            .contains("did you mean `User_ID`")
    );
}

#[test]
fn rows_that_do_not_fit_are_rejected_alone() {
    let schema = Arc::new(Schema::new(vec![
        Field::new("a", DataType::Int64, false),
        Field::new("b", DataType::Utf8, false),
    ]));
    let text = b"a,b\n1,x\n2\n3,y,z\nfour,x\n,x\n5,\"multi\nline\"\n6,\xFF\n7,\"a\"b\n8,\n9,ok\n10,\"never closed\n11,x\n";
    let decoded = decode(Format::Csv, &schema, *text);
    let batch = &decoded.batches[0];
    assert_eq!(
        batch.column(0).as_primitive::<Int64Type>().values(),
        &[1, 5, 8, 9]
    );
    assert_eq!(batch.column(1).as_string::<i32>().value(1), "multi\nline");
    let rows = rejected(&decoded);
    assert_eq!(
        rows[..4],
        [
            (3, "2", "1 field, but the file has 2 columns"),
            (4, "3,y,z", "3 fields, but the file has 2 columns"),
            (5, "four,x", "column `a`: `four` is not valid as int64"),
            (6, ",x", "column `a`: null, but the column must not be null"),
        ]
    );
    assert_eq!(
        (
            rows[4].0,
            rows[4].2.contains("column `b`") && rows[4].2.contains("UTF-8")
        ),
        (9, true)
    );
    assert_eq!(
        (rows[5].0, rows[5].2),
        (10, "text follows the closing quote of `a`")
    );
    assert_eq!((rows[6].0, rows[6].2), (13, "a quoted field isn't closed"));
    assert_eq!(rows.len(), 7);
}

#[test]
fn null_is_what_the_options_say_and_quoted_it_is_text() {
    let schema = schema([("a", DataType::Utf8), ("b", DataType::Int64)]);
    let csv = CsvOptions {
        null: "\\N".into(),
        header: false,
        delimiter: Some('\t'),
        ..CsvOptions::default()
    };
    let decoded = decode_with(Format::Csv, &csv, &schema, "\\N\t\\N\n\"\\N\"\t1\n\t\n");
    let batch = only(&decoded);
    let texts: Vec<_> = batch.column(0).as_string::<i32>().iter().collect();
    assert_eq!(texts, [None, Some("\\N"), Some("")]);
    let ints: Vec<_> = batch.column(1).as_primitive::<Int64Type>().iter().collect();
    assert_eq!(ints, [None, Some(1), None]);
}

#[test]
fn nested_columns_are_json_and_bools_have_several_spellings() {
    let list = DataType::List(Field::new_list_field(DataType::Int64, true).into());
    let schema = schema([("l", list), ("b", DataType::Boolean)]);
    let decoded = decode(
        Format::Csv,
        &schema,
        "l,b\n\"[1,null]\",TRUE\n[],0\n[x],t\n",
    );
    assert_eq!(
        decoded.batches[0].column(0).as_list::<i32>().value(0).len(),
        2
    );
    assert_eq!(
        decoded.batches[0]
            .column(1)
            .as_boolean()
            .iter()
            .collect::<Vec<_>>(),
        [Some(true), Some(false)]
    );
    assert!(rejected(&decoded)[0].2.starts_with("column `l`"));
}

proptest! {
    /// Any text is cut into rows as csv-core cuts it, where that has no opinion of its own.
    #[test]
    fn fields_are_what_the_csv_crate_says(rows in prop::collection::vec(
        prop::collection::vec("[a\",\n\r é;]{0,6}", 3), 1..12,
    )) {
        let mut writer = ::csv::WriterBuilder::new().from_writer(Vec::new());
        for row in &rows {
            writer.write_record(row).unwrap();
        }
        let text = writer.into_inner().unwrap();
        let csv = CsvOptions { header: false, null: "NULL".into(), ..CsvOptions::default() };
        let schema = schema([("a", DataType::Utf8), ("b", DataType::Utf8), ("c", DataType::Utf8)]);
        let decoded = decode_with(Format::Csv, &csv, &schema, text);
        let batch = only(&decoded);
        prop_assert_eq!(batch.num_rows(), rows.len());
        for (at, row) in rows.iter().enumerate() {
            for (column, text) in row.iter().enumerate() {
                prop_assert_eq!(batch.column(column).as_string::<i32>().value(at), text);
            }
        }
    }

    #[test]
    fn nothing_panics(bytes in prop::collection::vec(prop_oneof![any::<u8>(), prop::sample::select(b"\",\n\r1-e.".to_vec())], 0..80)) {
        let schema = schema([("a", DataType::Utf8), ("b", DataType::Float64)]);
        let csv = CsvOptions { header: false, ..CsvOptions::default() };
        decode_with(Format::Csv, &csv, &schema, bytes);
    }
}

#[test]
fn a7_lone_cr_ends_a_record_and_counts_as_a_line() {
    let schema = schema([("id", DataType::Int64), ("city", DataType::Utf8)]);
    let decoded = decode(
        Format::Csv,
        &schema,
        "id,city\r1,Oslo\rx,Bergen\r2,\"a\rb\"\r\n3,\n\n4,Moss\r",
    );
    let batch = &decoded.batches[0];
    assert_eq!(
        batch.column(0).as_primitive::<Int64Type>().values(),
        &[1, 2, 3, 4]
    );
    let cities: Vec<_> = batch.column(1).as_string::<i32>().iter().collect();
    assert_eq!(cities, [Some("Oslo"), Some("a\rb"), None, Some("Moss")]);
    assert_eq!(
        rejected(&decoded),
        [(3, "x,Bergen", "column `id`: `x` is not valid as int64")]
    );
    // Tabs and the like, which are near, end nothing.
    let decoded = decode(
        Format::Csv,
        &schema,
        "id,city\n1,a\tb\u{8}c\u{b}\u{c}d and more\te\n",
    );
    assert_eq!(
        only(&decoded).column(1).as_string::<i32>().value(0),
        "a\tb\u{8}c\u{b}\u{c}d and more\te"
    );
}

#[test]
fn c9_a_line_of_blanks_is_called_so() {
    let schema = schema([("a", DataType::Int64), ("b", DataType::Utf8)]);
    let decoded = decode(Format::Csv, &schema, "a,b\n   \n1,x\n");
    assert_eq!(
        rejected(&decoded),
        [(2, "   ", "a line of blanks, but the file has 2 columns")]
    );
    let schema = crate::schema([("a", DataType::Int64)]);
    let decoded = decode(Format::Csv, &schema, "a\n  \n");
    assert_eq!(
        rejected(&decoded)[0].2,
        "column `a`: `  ` is not valid as int64"
    );
}
