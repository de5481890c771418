//! Names in other cases.

use std::sync::Arc;

use arrow_array::cast::AsArray;
use arrow_array::types::Int64Type;
use arrow_schema::{DataType, Field, Fields, Schema};
use tidegate_core::Scan;
use tidegate_formats::{CsvOptions, Decoder, Format};

fn decoder() -> Decoder {
    let place = Fields::from(vec![Field::new("zipcode", DataType::Int64, true)]);
    let schema = Arc::new(Schema::new(vec![
        Field::new("postid", DataType::Int64, true),
        Field::new("place", DataType::Struct(place), true),
    ]));
    Decoder::new(
        Format::Ndjson,
        &CsvOptions::default(),
        schema,
        &Scan::all("x"),
    )
    .unwrap()
}

const LINES: &str = concat!(
    "{\"postId\":1,\"Place\":{\"zipCode\":7}}\n",
    "{\"postid\":2,\"postId\":20}\n",
    "{\"postId\":30,\"postid\":3}\n",
    "{\"POSTID\":4,\"postId\":5}\n",
    "{\"post\\u0049d\":6,\"place\":{\"ZIPCODE\":8}}\n",
);

#[test]
fn keys_of_another_case_count_where_names_are_folded() {
    let mut decoder = decoder();
    decoder.fold_names();
    let decoded = decoder.decode_all(LINES.into(), &"x".into()).unwrap();
    assert!(decoded.rejected.is_empty(), "{:?}", decoded.rejected);
    let batch = &decoded.batches[0];
    let ids: Vec<_> = batch.column(0).as_primitive::<Int64Type>().iter().collect();
    assert_eq!(ids, [Some(1), Some(2), Some(3), Some(5), Some(6)]);
    let places = batch.column(1).as_struct().column(0).clone();
    let codes: Vec<_> = places.as_primitive::<Int64Type>().iter().collect();
    assert_eq!(codes, [Some(7), None, None, None, Some(8)]);
}

#[test]
fn otherwise_they_are_other_keys() {
    let decoded = decoder().decode_all(LINES.into(), &"x".into()).unwrap();
    let ids = decoded.batches[0].column(0).as_primitive::<Int64Type>();
    let ids: Vec<_> = ids.iter().collect();
    assert_eq!(ids, [None, Some(2), Some(3), None, None]);
}
