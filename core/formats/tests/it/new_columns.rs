//! Columns that come up after the sample from which a schema was learnt.

use std::sync::Arc;

use arrow_schema::{DataType, Field, Fields, SchemaRef};
use tidegate_core::{Decoded, ErrorKind, NewColumns, Result, Scan};
use tidegate_formats::{CsvOptions, Decoder, Format, JsonRows, OnNewColumns};

use super::{rejected, schema};

fn decode(
    format: Format,
    schema: &SchemaRef,
    wanted: Option<&[&str]>,
    on_new: &Arc<OnNewColumns>,
    text: &str,
) -> Result<Decoded> {
    let scan = Scan {
        columns: wanted.map(|names| names.iter().map(ToString::to_string).collect()),
        ..Scan::all("s")
    };
    let mut decoder = Decoder::new(format, &CsvOptions::default(), schema.clone(), &scan)?;
    decoder.on_new_columns(on_new, ["part"]);
    decoder.decode_all(text.to_owned().into(), &"file".into())
}

fn policy(policy: NewColumns) -> Arc<OnNewColumns> {
    Arc::new(OnNewColumns::new(policy))
}

/// Each ignored column's name, values and first line.
fn ignored(decoded: &Decoded) -> Vec<(&str, u64, Option<u64>)> {
    let columns = decoded.ignored.iter();
    columns
        .map(|column| (&*column.name, column.values, column.first.line))
        .collect()
}

fn nested() -> SchemaRef {
    let street = Fields::from(vec![Field::new("street", DataType::Utf8, true)]);
    let sku = Fields::from(vec![Field::new("sku", DataType::Int64, true)]);
    let item = Field::new("item", DataType::Struct(sku), true);
    schema([
        ("id", DataType::Int64),
        ("address", DataType::Struct(street)),
        ("items", DataType::List(Arc::new(item))),
    ])
}

#[test]
fn a6_keys_that_no_column_has_are_counted_with_their_first_line() {
    let lines = r#"{"id":1,"part":7}
{"id":2,"address":{"street":"a","floor":3,"zip":null},"tip":null}

{"tip":7,"id":3,"items":[{"sku":1,"n":1},{"n":2},{"n":null}]}
{"id":"no","tip":8,"address":{"floor":1}}
{"id":4,"tip":9,"\u0074ip2":[]}
"#;
    let decoded = decode(
        Format::Ndjson,
        &nested(),
        None,
        &policy(NewColumns::Ignore),
        lines,
    )
    .unwrap();
    assert_eq!(decoded.batches[0].num_rows(), 4);
    assert_eq!(decoded.rejected.rows.len(), 1);
    // NULLs are no values, and the row that was rejected is told whole elsewhere.
    let wanted = [
        ("address.floor", 1, Some(2)),
        ("items.n", 2, Some(4)),
        ("tip", 2, Some(4)),
        ("tip2", 1, Some(6)),
    ];
    assert_eq!(ignored(&decoded), wanted);
}

#[test]
fn a6_a_column_that_is_not_asked_for_is_not_new() {
    let lines = "{\"id\":1,\"address\":{\"street\":\"a\"},\"items\":[]}\n{\"id\":2,\"x\":1}\n";
    let on_new = policy(NewColumns::Ignore);
    let decoded = decode(Format::Ndjson, &nested(), Some(&["id"]), &on_new, lines).unwrap();
    assert_eq!(ignored(&decoded), [("x", 1, Some(2))]);
    let csv = "id,note,name\n1,a,b\n2,,c\n";
    let columns = schema([("id", DataType::Int64), ("name", DataType::Utf8)]);
    let decoded = decode(Format::Csv, &columns, Some(&["id"]), &on_new, csv).unwrap();
    assert_eq!(ignored(&decoded), [("note", 1, Some(2))]);
}

#[test]
fn a6_of_keys_that_are_data_not_every_one_is_told_apart() {
    let object: Vec<_> = (0..2000).map(|id| format!("\"k{id}\":1")).collect();
    let line = format!("{{\"id\":1,{}}}\n", object.join(","));
    let on_new = policy(NewColumns::Ignore);
    let decoded = decode(Format::Ndjson, &nested(), None, &on_new, &line.repeat(3)).unwrap();
    let values: u64 = decoded.ignored.iter().map(|column| column.values).sum();
    assert_eq!(values, 6000);
    assert!(decoded.ignored.len() < 300);
    assert!(decoded.ignored.iter().any(|column| column.name == "*"));
}

#[test]
fn a6_rows_with_new_columns_can_be_rejected() {
    let on_new = policy(NewColumns::Reject);
    let lines = "{\"id\":1,\"tip\":null}\n{\"id\":2,\"address\":{\"floor\":3}}\n{\"id\":3}\n";
    let decoded = decode(Format::Ndjson, &nested(), None, &on_new, lines).unwrap();
    assert_eq!(decoded.batches[0].num_rows(), 2);
    let reason = "column `address.floor`: the stream has no such column";
    let row = "{\"id\":2,\"address\":{\"floor\":3}}";
    assert_eq!(rejected(&decoded), [(2, row, reason)]);
    assert!(decoded.ignored.is_empty());
    let columns = schema([("id", DataType::Int64)]);
    let decoded = decode(
        Format::Csv,
        &columns,
        None,
        &on_new,
        "id,tip\n1,\n2,\"\"\n3,7\n",
    )
    .unwrap();
    assert_eq!(decoded.batches[0].num_rows(), 2);
    let reason = "column `tip`: the stream has no such column";
    assert_eq!(rejected(&decoded), [(4, "3,7", reason)]);
}

#[test]
fn a6_new_columns_can_be_an_error_that_names_column_and_place() {
    let on_new = policy(NewColumns::Fail);
    let lines = "{\"id\":1}\n{\"id\":2,\"tip\":3}\n";
    let error = decode(Format::Ndjson, &nested(), None, &on_new, lines).unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Schema);
    let text = format!("{error} {:?} {:?}", error.context(), error.hint_text());
    for part in ["`tip`", "\"file\"", "\"2\"", "on_new_columns"] {
        assert!(text.contains(part), "{part}: {text}");
    }
}

#[test]
fn a6_new_columns_are_learnt_to_be_added() {
    let on_new = policy(NewColumns::Add);
    let lines =
        "{\"id\":1}\n{\"id\":2,\"tip\":3.5,\"address\":{\"floor\":3},\"items\":[{\"n\":true}]}\n";
    let error = decode(Format::Ndjson, &nested(), None, &on_new, lines).unwrap_err();
    assert_eq!(error.kind(), ErrorKind::SchemaChanged);
    let wider = on_new.wider().unwrap();
    assert_eq!(*wider.field(3), Field::new("tip", DataType::Float64, true));
    let decoded = decode(Format::Ndjson, &wider, None, &on_new, lines).unwrap();
    assert_eq!(decoded.batches[0].num_rows(), 2);
    assert!(decoded.ignored.is_empty());
    let members = format!("{:?}", wider.fields());
    assert!(members.contains("floor") && members.contains("\"n\""));
    let on_new = policy(NewColumns::Add);
    let columns = schema([("id", DataType::Int64)]);
    let csv = "id,on\n1,2024-02-29\n";
    decode(Format::Csv, &columns, None, &on_new, csv).unwrap_err();
    let wider = on_new.wider().unwrap();
    assert_eq!(*wider.field(1), Field::new("on", DataType::Date32, true));
}

#[test]
fn a6_documents_tell_what_no_column_has() {
    let mut rows = JsonRows::new(nested(), 4, false).unwrap();
    rows.on_new_columns(&policy(NewColumns::Ignore));
    assert!(rows.push(br#"{"id":1,"tip":2}"#).is_ok());
    assert!(rows.push(br#"{"id":"x","tip":2}"#).is_err());
    assert!(
        rows.push(br#"{"id":2,"tip":2,"address":{"floor":1}}"#)
            .is_ok()
    );
    let ignored: Vec<_> = rows
        .ignored()
        .into_iter()
        .map(|c| (c.name, c.values))
        .collect();
    assert_eq!(
        ignored,
        [("address.floor".into(), 1), ("tip".to_owned(), 2)]
    );
    assert_eq!(rows.finish().unwrap().num_rows(), 2);
}

#[test]
fn where_nothing_can_be_added_no_hint_says_so() {
    for (on_new, add) in [
        (OnNewColumns::new(NewColumns::Fail), true),
        (OnNewColumns::fixed(NewColumns::Fail), false),
    ] {
        let error = decode(
            Format::Ndjson,
            &nested(),
            None,
            &Arc::new(on_new),
            "{\"tip\":1}",
        );
        let error = error.unwrap_err();
        assert_eq!(
            error.hint_text().unwrap().contains("\"add\""),
            add,
            "{error:?}"
        );
    }
}
