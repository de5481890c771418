//! `extract`.

use std::collections::BTreeMap;
use std::sync::Arc;

use arrow_array::cast::AsArray;
use arrow_array::{Array, ArrayRef, BinaryArray, Int32Array, RecordBatch, StringArray};
use arrow_schema::{DataType, Field};
use proptest::prelude::*;
use serde_json::{Map as Object, Value, json};
use tidegate_core::{ErrorKind, TransformConfig};
use tidegate_formats::JsonRows;
use tidegate_testkit::suites::{context, render};
use tidegate_transform_shape::ExtractConfig;

use super::support::{map, open, rows, suite, told};

fn documents(texts: Vec<Option<&str>>) -> RecordBatch {
    let numbers = Int32Array::from_iter_values(0..i32::try_from(texts.len()).unwrap());
    let texts: ArrayRef = Arc::new(StringArray::from(texts));
    let columns = [
        ("n", Arc::new(numbers) as ArrayRef, false),
        ("payload", texts, true),
    ];
    RecordBatch::try_from_iter_with_nullable(columns).unwrap()
}

/// What is found in one document, and why the rest was rejected.
async fn found(config: Value, text: &str) -> (Vec<String>, Vec<String>) {
    let batch = documents(vec![Some(text)]);
    let map = map::<ExtractConfig>(config, &batch).await.unwrap();
    rows(map.as_ref(), &batch)
}

async fn people(text: &str) -> Vec<String> {
    let fields = json!({ "fields": ["first_name", "zip_code"] });
    let (rows, rejected) = found(fields, text).await;
    assert_eq!(rejected, [""; 0]);
    rows.iter()
        .map(|row| row.replace("first_name=", "").replace("zip_code=", ""))
        .collect()
}

#[tokio::test]
async fn all_objects_of_a_document_are_one_record_and_the_last_value_counts() {
    let text = r#"{"id": 1, "zip_code": "1", "user": {"name": {"first_name": "Ada"},
        "address": {"zip_code": "2", "geo": {"lat": 1.5}}}}"#;
    assert_eq!(people(text).await, ["Ada, 2"]);
    assert_eq!(
        people(r#"{"zip_code": "1", "a": {"zip_code": null}}"#).await,
        ["∅, ∅"]
    );
    assert_eq!(
        people(r#"{"zip_code": "1", "zip_code": "2"}"#).await,
        ["∅, 2"]
    );
    assert_eq!(people(r#"{"zip_code": {"zip_code": "2"}}"#).await, ["∅, 2"]);
    assert_eq!(
        people(r#"{"zip_code": {"is": [1, "x"]}}"#).await,
        [r#"∅, {"is": [1, "x"]}"#]
    );
}

#[tokio::test]
async fn what_has_none_of_the_fields_gives_no_row() {
    for text in [
        "{}",
        "[]",
        "null",
        "7",
        r#""first_name""#,
        r#"{"a": [{"b": 1}, [2]]}"#,
    ] {
        assert_eq!(people(text).await, [""; 0], "{text}");
    }
    let batch = documents(vec![None, Some(r#"{"zip_code": "1"}"#)]);
    let map = map::<ExtractConfig>(json!({ "fields": ["zip_code"] }), &batch)
        .await
        .unwrap();
    assert_eq!(
        rows(map.as_ref(), &batch),
        (vec!["zip_code=1".to_owned()], Vec::new())
    );
}

#[tokio::test]
async fn each_element_of_a_list_is_a_record_with_what_stands_around_the_list() {
    // Also what stands after it.
    let text = r#"{"people": [{"first_name": "Ada"}, {"x": {"first_name": "Bob"}}, {"age": 3}, 4],
        "home": {"zip_code": "1"}}"#;
    assert_eq!(people(text).await, ["Ada, 1", "Bob, 1"]);
    // Elements have nothing of each other, and their own before what is around.
    let text = r#"{"zip_code": "1", "people": [{"first_name": "Ada", "zip_code": "2"}, {"first_name": "Bob"}]}"#;
    assert_eq!(people(text).await, ["Ada, 2", "Bob, 1"]);
    // Two lists, and a document that is one.
    let text =
        r#"[{"first_name": "Ada"}, {"a": [{"first_name": "Bob"}], "b": [{"first_name": "Cyd"}]}]"#;
    assert_eq!(people(text).await, ["Ada, ∅", "Bob, ∅", "Cyd, ∅"]);
    // A list without any of the fields makes nothing.
    assert_eq!(
        people(r#"{"first_name": "Ada", "tags": ["x", {"y": 1}]}"#).await,
        ["Ada, ∅"]
    );
}

#[tokio::test]
async fn lists_in_lists_follow_the_same_rule() {
    let text = r#"{"zip_code": "0", "houses": [
        {"zip_code": "1", "floors": [[{"first_name": "Ada"}], [{"first_name": "Bob", "zip_code": "9"}]]},
        {"floors": [[], [{"first_name": "Cyd"}]]}]}"#;
    assert_eq!(people(text).await, ["Ada, 1", "Bob, 9", "Cyd, 0"]);
}

#[tokio::test]
async fn what_stands_around_a_list_is_a_row_only_if_it_would_be_lost_else() {
    let text = r#"{"first_name": "Ada", "zip_code": "1", "children": [{"first_name": "Bob"}, {"first_name": "Cyd"}]}"#;
    assert_eq!(people(text).await, ["Ada, 1", "Bob, 1", "Cyd, 1"]);
    let text = r#"{"first_name": "Ada", "orders": [{"zip_code": "1"}, {"first_name": "Bob"}]}"#;
    assert_eq!(people(text).await, ["Ada, 1", "Bob, ∅"]);
    let text = r#"{"first_name": null, "children": [{"first_name": "Bob"}]}"#;
    assert_eq!(people(text).await, ["Bob, ∅"], "null is no loss");
    let text =
        r#"{"first_name": "Ada", "a": [{"first_name": "Bob", "b": [{"first_name": "Cyd"}]}]}"#;
    assert_eq!(people(text).await, ["Ada, ∅", "Bob, ∅", "Cyd, ∅"]);
}

#[tokio::test]
async fn values_are_what_stands_there() {
    let text = r#"{"a": 123456789012345678901234567890.10, "b": true, "c": "caf\u00e9 \ud83d\ude00 \"x\"",
        "d": [1, {"e": null}], "f": null, "k\u0065y": "escaped"}"#;
    let fields = json!({ "fields": ["a", "b", "c", "d", "f", "key"] });
    let (rows, _) = found(fields, text).await;
    assert_eq!(
        rows,
        [
            r#"a=123456789012345678901234567890.10, b=true, c=café 😀 "x", d=[1, {"e": null}], f=∅, key=escaped"#
        ]
    );
}

#[tokio::test]
async fn columns_have_names_types_and_company() {
    let config = json!({
        "keep": ["n"],
        "fields": [
            "zip",
            { "name": "zip_number", "from": "zip", "type": "int64" },
            { "name": "raw", "from": "zip", "type": "json" },
        ],
    });
    let batch = documents(vec![
        Some(r#"[{"zip": "10115"}, {"zip": "x"}, {"zip": 7}]"#),
        Some(r#"{"zip": null}"#),
    ]);
    let map = map::<ExtractConfig>(config, &batch).await.unwrap();
    let names: Vec<_> = map
        .schema()
        .fields()
        .iter()
        .map(|field| field.name().clone())
        .collect();
    assert_eq!(names, ["n", "zip", "zip_number", "raw"]);
    assert_eq!(
        map.scan(0).columns,
        Some(vec!["n".to_owned(), "payload".to_owned()])
    );
    let (rows, rejected) = rows(map.as_ref(), &batch);
    assert_eq!(
        rows,
        [
            r#"n=0, raw="10115", zip=10115, zip_number=10115"#,
            "n=0, raw=7, zip=7, zip_number=7",
            "n=1, raw=∅, zip=∅, zip_number=∅",
        ]
    );
    assert_eq!(rejected, ["column `zip_number`: `x` is not valid as int64"]);
    let rejected = map.map(0, &batch).unwrap().rejected.rows;
    assert_eq!(rejected[0].row, r#"{"zip": "x"}"#, "the record alone");
}

#[tokio::test]
async fn keys_are_exact_unless_case_is_ignored() {
    let text = r#"{"ZipCode": "1", "straße": "2", "a": {"zipcode": "3"}}"#;
    let fields = json!({ "fields": ["ZIPCODE", "STRASSE", "Straße"] });
    assert_eq!(found(fields.clone(), text).await.0, [""; 0]);
    let mut folded = fields;
    folded["ignore_case"] = json!(true);
    assert_eq!(
        found(folded, text).await.0,
        ["STRASSE=∅, Straße=2, ZIPCODE=3"]
    );
}

#[tokio::test]
async fn what_is_no_json_is_rejected_with_its_place() {
    let config = json!({ "fields": ["a"] });
    for (text, reason) in [
        (
            r#"{"a": 1,}"#,
            "malformed JSON: expected a key before `}` (at byte 8)",
        ),
        (
            r#"{"a": [1 2]}"#,
            "malformed JSON: expected `,` or `]` before `2]}` (at byte 9)",
        ),
        (
            r#"{"a": 01}"#,
            "malformed JSON: expected a number before `01}` (at byte 6)",
        ),
        (
            "",
            "malformed JSON: expected a value, but it ends (at byte 0)",
        ),
        (
            r#"{"a": 1} x"#,
            "malformed JSON: expected the end before `x` (at byte 9)",
        ),
        (
            r#"{"b": "\ud83d"}"#,
            "a string has half of a surrogate pair, which is no character (at byte 6)",
        ),
    ] {
        let (rows, rejected) = found(config.clone(), text).await;
        assert_eq!(
            (rows.len(), rejected),
            (0, vec![format!("column `payload`: {reason}")])
        );
    }
    let bytes: ArrayRef = Arc::new(BinaryArray::from_vec(vec![
        b"{\"a\": \"\xFF\"}",
        b"{\"a\": 1}",
    ]));
    let batch = RecordBatch::try_from_iter([("payload", bytes)]).unwrap();
    let map = map::<ExtractConfig>(config, &batch).await.unwrap();
    let (rows, rejected) = rows(map.as_ref(), &batch);
    assert_eq!(rows, ["a=1"]);
    assert_eq!(
        rejected,
        ["column `payload`: it is not valid UTF-8 (at byte 7)"]
    );
}

#[test]
fn the_deepest_documents_are_taken_and_deeper_ones_rejected() {
    let test = || {
        let runtime = tokio::runtime::Builder::new_current_thread()
            .build()
            .unwrap();
        runtime.block_on(async {
            let nested = |levels: usize| {
                let (open, close) = (r#"{"x":["#.repeat(levels / 2), "]}".repeat(levels / 2));
                format!("{open}{{\"a\": 1}}{close}")
            };
            let config = json!({ "fields": ["a"] });
            // The object with the field is a level too.
            assert_eq!(found(config.clone(), &nested(510)).await.0, ["a=1"]);
            let (rows, rejected) = found(config, &nested(512)).await;
            assert_eq!(rows.len(), 0);
            assert!(
                rejected[0].contains("more than 512 levels deep"),
                "{rejected:?}"
            );
        });
    };
    let thread = std::thread::Builder::new().stack_size(tidegate_core::STACK_SIZE);
    thread.spawn(test).unwrap().join().unwrap();
}

#[tokio::test]
async fn a_document_that_becomes_much_larger_is_rejected() {
    let elements = vec![r#"{"zip_code":"1"}"#; 3000].join(",");
    let text = format!(
        r#"{{"first_name":"{}","people":[{elements}]}}"#,
        "x".repeat(100_000)
    );
    let fields = json!({ "fields": ["first_name", "zip_code"] });
    let (rows, rejected) = found(fields, &text).await;
    assert_eq!(rows.len(), 0);
    assert!(
        rejected[0].contains("more than 256 MiB together"),
        "{rejected:?}"
    );
}

#[tokio::test]
async fn rows_that_become_large_are_several_batches() {
    let elements = vec![r#"{"zip_code":"1"}"#; 1500].join(",");
    let text = format!(
        r#"{{"first_name":"{}","people":[{elements}]}}"#,
        "x".repeat(100_000)
    );
    let batch = documents(vec![Some(&text)]);
    let config = json!({ "fields": ["first_name", "zip_code"], "keep": ["n"] });
    let map = map::<ExtractConfig>(config, &batch).await.unwrap();
    let batches = map.map(0, &batch).unwrap().batches;
    let counts: Vec<_> = batches.iter().map(RecordBatch::num_rows).collect();
    assert_eq!((counts.len(), counts.iter().sum::<usize>()), (3, 1500));
}

#[tokio::test]
async fn nested_columns_are_looked_through_like_their_json() {
    let text = r#"{"zip": 1, "people": [{"name": {"first": "Ada"}}, {"name": null}, {"name": {"first": "B\"b"}}]}"#;
    let types: tidegate_formats::TypeSpec =
        "struct<zip:int64,people:list<struct<name:struct<first:string>>>>"
            .parse()
            .unwrap();
    let field = types.to_field("payload", true);
    let schema = Arc::new(arrow_schema::Schema::new(vec![field]));
    let mut nested = JsonRows::new(schema, 1, false).unwrap();
    nested.push_values(&[Some(text)]).unwrap();
    nested.push_values(&[None]).unwrap();
    let batch = nested.finish().unwrap();
    let config = json!({ "fields": ["first", "zip"] });
    let map = map::<ExtractConfig>(config.clone(), &batch).await.unwrap();
    let want = ["first=Ada, zip=1", "first=B\"b, zip=1"];
    assert_eq!(rows(map.as_ref(), &batch).0, want);
    assert_eq!(found(config, text).await.0, want);
    // A column has each field in each row, which says nothing where it is NULL.
    let types: tidegate_formats::TypeSpec = "struct<home:struct<zip:int64>,work:struct<zip:int64>>"
        .parse()
        .unwrap();
    let schema = Arc::new(arrow_schema::Schema::new(vec![
        types.to_field("payload", true),
    ]));
    let mut nested = JsonRows::new(schema, 1, false).unwrap();
    nested
        .push_values(&[Some(r#"{"home": {"zip": 1}, "work": {}}"#)])
        .unwrap();
    nested
        .push_values(&[Some(r#"{"home": {}, "work": {}}"#)])
        .unwrap();
    let batch = nested.finish().unwrap();
    let zip = super::support::map::<ExtractConfig>(json!({ "fields": ["zip"] }), &batch);
    assert_eq!(rows(zip.await.unwrap().as_ref(), &batch).0, ["zip=1"]);
}

#[tokio::test]
async fn mistakes_are_refused_before_anything_is_read() {
    let batch = documents(vec![]);
    for (config, text) in [
        (json!({ "fields": [] }), "no fields to look for"),
        (
            json!({ "fields": ["a", { "name": "a", "from": "b" }] }),
            "two fields are called `a`",
        ),
        (json!({ "fields": [""] }), "field 1 has no name"),
        (
            json!({ "fields": ["n"], "keep": ["n"] }),
            "name = \"found_n\", from = \"n\"",
        ),
        (json!({ "fields": ["a"], "keep": ["n", "n"] }), "`n` twice"),
        (json!({ "fields": ["a"], "keep": ["m"] }), "no column `m`"),
        (
            json!({ "fields": ["a"], "column": "paylaod" }),
            "did you mean `payload`",
        ),
        (
            json!({ "fields": ["a"], "column": "n" }),
            "neither text or bytes nor nested",
        ),
    ] {
        let told = told(map::<ExtractConfig>(config, &batch).await);
        assert!(told.contains(text), "{told}");
    }
}

#[tokio::test]
async fn it_keeps_the_contract() {
    let batch = documents(vec![
        Some(r#"{"zip": "1", "people": [{"first": "Ada"}, {"first": "Bob"}]}"#),
        None,
        Some("{"),
        Some(r#"{"zip": 7}"#),
        Some(r#"[{"first": {"a": 1}}]"#),
    ]);
    for config in [
        json!({ "fields": ["first", "zip"] }),
        json!({ "fields": ["first", { "name": "zip", "type": "int16" }], "keep": ["n"], "ignore_case": true }),
    ] {
        suite::<ExtractConfig>(config, vec![batch.clone(), batch.slice(1, 3)])
            .refuses("no fields", ErrorKind::Config, || async {
                let cx = context().transform(Vec::new());
                open::<ExtractConfig>(json!({ "fields": [] }), cx)
                    .await
                    .map(drop)
            })
            .check()
            .await;
    }
    let config: ExtractConfig =
        serde_json::from_value(json!({ "fields": ["a", { "name": "b" }] })).unwrap();
    let stored = serde_json::to_value(Box::new(config) as Box<dyn TransformConfig>).unwrap();
    assert_eq!(
        stored,
        json!({ "type": "extract", "fields": ["a", { "name": "b" }] })
    );
}

/// A record, as the slow way finds it: of each field which part of the document it is of, and its value.
type Record = BTreeMap<String, (usize, Value)>;

const FIELDS: [&str; 3] = ["a", "b", "c"];

/// The fields outside of lists, and the elements of all lists.
fn own<'a>(value: &'a Value, fields: &mut BTreeMap<String, Value>, elements: &mut Vec<&'a Value>) {
    match value {
        Value::Array(all) => elements.extend(all),
        Value::Object(members) => {
            for (key, value) in members {
                if FIELDS.contains(&key.as_str()) {
                    fields.insert(key.clone(), value.clone());
                }
                own(value, fields, elements);
            }
        }
        _ => {}
    }
}

fn records(value: &Value, around: &Record, parts: &mut usize) -> Vec<Record> {
    *parts += 1;
    let part = *parts;
    let (mut fields, mut elements) = (BTreeMap::new(), Vec::new());
    own(value, &mut fields, &mut elements);
    let mut all = around.clone();
    all.extend(
        fields
            .iter()
            .map(|(key, value)| (key.clone(), (part, value.clone()))),
    );
    let within: Vec<Record> = elements
        .into_iter()
        .flat_map(|element| records(element, &all, parts))
        .collect();
    let lost = |key: &String| within.iter().all(|record| record[key].0 != part);
    let record = match within.is_empty() {
        true => !fields.is_empty(),
        false => fields
            .iter()
            .any(|(key, value)| !value.is_null() && lost(key)),
    };
    let mut found: Vec<Record> = record.then_some(all).into_iter().collect();
    found.extend(within);
    found
}

fn slowly(document: &Value) -> Vec<Vec<Option<String>>> {
    let records = records(document, &Record::new(), &mut 0);
    let text = |value: &Value| match value {
        Value::Null => None,
        Value::String(text) => Some(text.clone()),
        other => Some(other.to_string()),
    };
    let row = |record: &Record| {
        let fields = FIELDS.iter();
        fields
            .map(|key| record.get(*key).and_then(|(_, value)| text(value)))
            .collect()
    };
    records.iter().map(row).collect()
}

fn document() -> impl Strategy<Value = Value> {
    let leaf = prop_oneof![
        Just(Value::Null),
        any::<bool>().prop_map(Value::from),
        any::<i64>().prop_map(Value::from),
        any::<f64>().prop_map(Value::from),
        "\\PC{0,4}|[\"\\\\\n\u{1}é😀]{0,3}".prop_map(Value::from),
    ];
    leaf.prop_recursive(6, 60, 5, |inner| {
        let member = (
            prop::sample::select(vec!["a", "b", "c", "x", "y", "z\"\\"]),
            inner.clone(),
        );
        prop_oneof![
            prop::collection::vec(inner, 0..4).prop_map(Value::from),
            prop::collection::vec(member, 0..5).prop_map(|members| {
                let members = members
                    .into_iter()
                    .map(|(key, value)| (key.to_owned(), value));
                Value::Object(members.collect::<Object<String, Value>>())
            }),
        ]
    })
}

proptest! {
    #[test]
    fn it_finds_what_the_slow_way_finds(values in prop::collection::vec(document(), 1..4)) {
        let texts: Vec<String> = values.iter().map(Value::to_string).collect();
        let batch = documents(texts.iter().map(|text| Some(text.as_str())).collect());
        let runtime = tokio::runtime::Builder::new_current_thread().build().unwrap();
        let map = runtime.block_on(map::<ExtractConfig>(json!({ "fields": FIELDS }), &batch)).unwrap();
        let mapped = map.map(0, &batch).unwrap();
        prop_assert!(mapped.rejected.is_empty(), "{:?}", mapped.rejected);
        let mut found: Vec<Vec<Option<String>>> = Vec::new();
        for batch in &mapped.batches {
            for row in 0..batch.num_rows() {
                let columns = batch.columns().iter().map(|column| {
                    let column = column.as_string::<i32>();
                    column.is_valid(row).then(|| column.value(row).to_owned())
                });
                found.push(columns.collect());
            }
        }
        let slow: Vec<_> = values.iter().flat_map(slowly).collect();
        prop_assert_eq!(found, slow);
    }
}

#[tokio::test]
async fn user_details_lose_nobody() {
    let text = r#"{"users": [
        {"id": 1, "name": {"first_name": "Ada", "middle_name": null, "last_name": "Lovelace"},
         "address": {"city": "London", "zip_code": "W1"}},
        {"id": 2, "profile": {"first_name": "Alan", "contact": {"last_name": "Turing", "zip_code": 12345}}}
    ], "count": 2}"#;
    let fields = json!({ "fields": ["first_name", "middle_name", "last_name", "zip_code"] });
    let batch = documents(vec![Some(text)]);
    let map = map::<ExtractConfig>(fields, &batch).await.unwrap();
    let strings = Field::new("first_name", DataType::Utf8, true);
    assert_eq!(map.schema().field(0), &strings);
    let mapped = map.map(0, &batch).unwrap();
    assert_eq!(
        render(&mapped.batches[0]).unwrap(),
        [
            "first_name=Ada, last_name=Lovelace, middle_name=∅, zip_code=W1",
            "first_name=Alan, last_name=Turing, middle_name=∅, zip_code=12345",
        ]
    );
}
