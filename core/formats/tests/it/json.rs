use std::sync::Arc;

use arrow_array::Array;
use arrow_array::cast::AsArray;
use arrow_array::types::*;
use arrow_schema::{DataType, Field, Schema, TimeUnit};
use proptest::prelude::*;
use serde_json::{Map, Value, json};
use tidegate_core::Scan;
use tidegate_formats::{CsvOptions, Decoder, Format, json_elements, json_field};

use crate::{decode, only, rejected, schema};

#[test]
fn keys_in_any_order_missing_unknown_escaped_and_doubled() {
    let schema = schema([("a", DataType::Int64), ("b", DataType::Utf8)]);
    let text = r#"{"a":1,"b":"x"}
{"b":"y","a":2}
 { "b" : "z" , "c" : [1,{"a":9}] }

{"\u0061":4}
{"a":5,"a":6,"b":null}
{}"#;
    let decoded = decode(Format::Ndjson, &schema, text);
    let batch = only(&decoded);
    let a: Vec<_> = batch.column(0).as_primitive::<Int64Type>().iter().collect();
    let b: Vec<_> = batch.column(1).as_string::<i32>().iter().collect();
    assert_eq!(a, [Some(1), Some(2), None, Some(4), Some(6), None]);
    assert_eq!(b, [Some("x"), Some("y"), Some("z"), None, None, None]);
}

#[test]
fn a_row_that_does_not_fit_is_rejected_alone_with_its_place_and_reason() {
    let fields = [
        Field::new("id", DataType::Int8, false),
        Field::new(
            "geo",
            DataType::Struct(vec![Field::new("lat", DataType::Float64, true)].into()),
            true,
        ),
        Field::new(
            "tags",
            DataType::List(Field::new_list_field(DataType::Utf8, true).into()),
            true,
        ),
    ];
    let schema = Arc::new(Schema::new(fields.to_vec()));
    let text = "{\"id\":1,\"geo\":{\"lat\":1},\"tags\":[\"a\"]}\r\n\
        {\"id\":300}\n{\"id\":1.5}\n{\"geo\":null}\n{\"id\":2,\"geo\":{\"lat\":true}}\n\
        {\"id\":3,\"tags\":[\"b\",\"c\"}\n{\"id\":4} x\n[1]\n{\"id\":5\n{\"id\":null}\n{\"id\":07}\n\
        {\"id\":6,\"tags\":[\"d\\x\"]}\n{\"id\":7.0,\"tags\":[]}";
    let decoded = decode(Format::Ndjson, &schema, text);
    let batch = &decoded.batches[0];
    assert_eq!(batch.column(0).as_primitive::<Int8Type>().values(), &[1, 7]);
    assert_eq!(
        batch
            .column(2)
            .as_list::<i32>()
            .value(0)
            .as_string::<i32>()
            .value(0),
        "a"
    );
    assert_eq!(batch.column(2).as_list::<i32>().value(1).len(), 0);
    let rows = rejected(&decoded);
    let lines: Vec<_> = rows.iter().map(|(line, ..)| *line).collect();
    assert_eq!(lines, (2..=12).collect::<Vec<_>>());
    let reason = |line: u64| rows[line as usize - 2].2;
    assert_eq!(reason(2), "column `id`: `300` doesn't fit into int8");
    assert_eq!(reason(3), "column `id`: `1.5` doesn't fit into int8");
    assert_eq!(
        reason(4),
        "column `id`: missing, but the column must not be null"
    );
    assert_eq!(
        reason(5),
        "column `geo.lat`: `true` is not valid as float64"
    );
    assert!(reason(6).contains("column `tags`: malformed JSON"));
    assert!(reason(7).contains("expected the end of the line before `x`"));
    assert_eq!(reason(8), "`[1]` is not a JSON object");
    assert!(reason(9).contains("expected `,` or `}`, but it ends"));
    assert_eq!(
        reason(10),
        "column `id`: null, but the column must not be null"
    );
    assert_eq!(rows[0].1, "{\"id\":300}");
    let offset = decoded.rejected.rows[0].origin.offset.unwrap() as usize;
    assert!(text[offset..].starts_with("{\"id\":300}"));
}

#[test]
fn invalid_utf8_in_the_middle_costs_one_row() {
    let schema = schema([("a", DataType::Utf8)]);
    let text = b"{\"a\":\"1\"}\n{\"a\":\"\xFF\"}\n{\"a\":\"3\"}\n";
    for format in [Format::Ndjson, Format::Json] {
        let decoded = decode(format, &schema, *text);
        assert_eq!(decoded.batches[0].num_rows(), 2);
        let rows = rejected(&decoded);
        assert!(
            rows.len() == 1 && rows[0].0 == 2 && rows[0].2.contains("UTF-8"),
            "{rows:?}"
        );
    }
}

#[test]
fn numbers_are_exact_or_refused() {
    let schema = schema([
        ("i", DataType::Int64),
        ("u", DataType::UInt64),
        ("f", DataType::Float64),
        ("d", DataType::Decimal128(38, 2)),
        ("e", DataType::Decimal256(76, 10)),
    ]);
    let good = r#"{"i":-9223372036854775808,"u":18446744073709551615,"f":1e-7,"d":12345678901234567890123456789012345.67,"e":-0.0000000001}
{"i":"42","u":1e3,"f":"-Infinity","d":"1.50","e":123456789012345678901234567890123456789012345678901234567890123456}
{"i":100e-1,"u":20.0,"f":123456789012345678901234567890,"d":1.2300,"e":1E+2}"#;
    let decoded = decode(Format::Ndjson, &schema, good);
    let batch = only(&decoded);
    assert_eq!(
        batch.column(0).as_primitive::<Int64Type>().values(),
        &[i64::MIN, 42, 10]
    );
    assert_eq!(
        batch.column(1).as_primitive::<UInt64Type>().values(),
        &[u64::MAX, 1000, 20]
    );
    assert_eq!(
        batch.column(2).as_primitive::<Float64Type>().values(),
        &[
            1e-7,
            f64::NEG_INFINITY,
            123_456_789_012_345_678_901_234_567_890.0
        ]
    );
    let decimals = batch.column(3).as_primitive::<Decimal128Type>();
    assert_eq!(
        decimals.value_as_string(0),
        "12345678901234567890123456789012345.67"
    );
    assert_eq!((decimals.value(1), decimals.value(2)), (150, 123));
    let wide = batch.column(4).as_primitive::<Decimal256Type>();
    assert_eq!(wide.value_as_string(0), "-0.0000000001");
    assert_eq!(
        wide.value_as_string(1),
        "123456789012345678901234567890123456789012345678901234567890123456.0000000000"
    );
    for bad in [
        r#"{"i":9223372036854775808}"#,
        r#"{"i":1e30}"#,
        r#"{"i":""}"#,
        r#"{"u":-1}"#,
        r#"{"f":1e999}"#,
        r#"{"d":1.234}"#,
        r#"{"d":1e36}"#,
        r#"{"e":1e-11}"#,
        r#"{"i":true}"#,
        r#"{"i":1.}"#,
        r#"{"i":.5}"#,
        r#"{"i":+1}"#,
        r#"{"f":01}"#,
        r#"{"f":NaN}"#,
        r#"{"i":[1]}"#,
    ] {
        assert_eq!(
            decode(Format::Ndjson, &schema, bad).rejected.len(),
            1,
            "{bad}"
        );
    }
}

#[test]
fn text_takes_what_is_no_string_as_its_json() {
    let schema = Arc::new(Schema::new(vec![
        Field::new("t", DataType::Utf8, true),
        json_field("j", true),
    ]));
    let text = r#"{"t":1.50,"j":"a"} {"t":{"a": [1]},"j":[1,  2]} {"t":"\ud83d\ude00","j":null}"#;
    let decoded = decode(Format::Json, &schema, text);
    let batch = only(&decoded);
    let column = |at: usize| {
        batch
            .column(at)
            .as_string::<i32>()
            .iter()
            .collect::<Vec<_>>()
    };
    assert_eq!(column(0), [Some("1.50"), Some("{\"a\": [1]}"), Some("😀")]);
    assert_eq!(column(1), [Some("\"a\""), Some("[1,  2]"), None]);
}

#[test]
fn times_are_read_or_refused_by_zone() {
    let utc = DataType::Timestamp(TimeUnit::Millisecond, Some("UTC".into()));
    let schema = schema([
        ("u", utc),
        ("n", DataType::Timestamp(TimeUnit::Second, None)),
        ("d", DataType::Date32),
        ("t", DataType::Time64(TimeUnit::Nanosecond)),
    ]);
    let text = r#"{"u":"2024-05-06T07:08:09.123+02:00","n":"2024-05-06 07:08:09","d":"2024-05-06","t":"23:59:59.000000001"}"#;
    let decoded = decode(Format::Ndjson, &schema, text);
    let batch = only(&decoded);
    assert_eq!(
        batch
            .column(0)
            .as_primitive::<TimestampMillisecondType>()
            .value(0),
        1_714_972_089_123
    );
    assert_eq!(
        batch
            .column(1)
            .as_primitive::<TimestampSecondType>()
            .value(0),
        1_714_979_289
    );
    for bad in [
        r#"{"n":"2024-05-06T07:08:09Z"}"#,
        r#"{"u":"2024-05-06T07:08:09.1234Z"}"#,
        r#"{"u":1714972089}"#,
        r#"{"d":"2024-02-30"}"#,
    ] {
        assert_eq!(
            decode(Format::Ndjson, &schema, bad).rejected.len(),
            1,
            "{bad}"
        );
    }
}

#[test]
fn a_projection_gives_the_columns_asked_for_and_checks_only_them() {
    let schema = schema([
        ("a", DataType::Int64),
        ("b", DataType::Int64),
        ("c", DataType::Int64),
    ]);
    let scan = |columns: &[&str]| Scan {
        columns: Some(columns.iter().map(ToString::to_string).collect()),
        ..Scan::all("s")
    };
    let text = "{\"a\":1,\"b\":\"no number\",\"c\":3}\n";
    for (columns, names) in [(&["c", "a"][..], "ac"), (&[], "")] {
        let decoder = Decoder::new(
            Format::Ndjson,
            &CsvOptions::default(),
            schema.clone(),
            &scan(columns),
        )
        .unwrap();
        let decoded = decoder.decode_all(text.into(), &"f".into()).unwrap();
        let batch = only(&decoded);
        let got: String = batch
            .schema()
            .fields()
            .iter()
            .map(|field| field.name().as_str())
            .collect();
        assert_eq!((got.as_str(), batch.num_rows()), (names, 1));
        assert_eq!(&batch.schema(), decoder.schema());
    }
}

#[test]
fn pointers_lead_to_elements() {
    let text = br#"{"a/b":{"~":[1,{"x":[2]}]},"n":null,"o":{}}"#;
    let found = |pointer: &str| {
        let elements = json_elements(text, pointer).unwrap();
        elements
            .iter()
            .map(|text| String::from_utf8_lossy(text).into_owned())
            .collect::<Vec<_>>()
    };
    assert_eq!(found("/a~1b/~0"), ["1", "{\"x\":[2]}"]);
    assert_eq!(found("/a~1b/~0/1/x"), ["2"]);
    assert_eq!(found("/n"), [""; 0]);
    assert_eq!(found("/nowhere/at/all"), [""; 0]);
    assert_eq!(found("/o"), ["{}"]);
    assert!(json_elements(b"{", "").is_err());
}

#[test]
fn what_is_nested_too_deep_is_rejected_and_does_not_overflow() {
    let schema = schema([("a", DataType::Utf8)]);
    for deep in [
        format!("{{\"a\":{}", "[".repeat(100_000)),
        "{\"x\":".repeat(100_000),
    ] {
        let decoded = decode(Format::Ndjson, &schema, format!("{deep}\n{{}}"));
        assert_eq!(
            (decoded.rejected.len(), decoded.batches[0].num_rows()),
            (1, 1)
        );
    }
}

/// A value that may stand in column `t`, `i`, `f` or `l`.
fn document() -> impl Strategy<Value = Map<String, Value>> {
    let text = prop_oneof![any::<String>(), "[\"\\\\\u{0}-\u{1f}a]{0,20}"];
    let member = prop_oneof![
        text.clone().prop_map(|text| ("t", json!(text))),
        any::<i64>().prop_map(|int| ("i", json!(int))),
        any::<f64>()
            .prop_filter("finite", |float| float.is_finite())
            .prop_map(|float| ("f", json!(float))),
        prop::collection::vec(any::<Option<bool>>(), 0..4).prop_map(|list| ("l", json!(list))),
        Just(("i", Value::Null)),
        (text, any::<u64>()).prop_map(|(key, value)| {
            // Any key that is not one of ours.
            (
                Box::leak(format!("_{key}").into_boxed_str()) as &str,
                json!([value, {"": "}"}]),
            )
        }),
    ];
    prop::collection::vec(member, 0..6).prop_map(|members| {
        members
            .into_iter()
            .map(|(key, value)| (key.to_owned(), value))
            .collect()
    })
}

proptest! {
    #[test]
    fn documents_are_what_serde_says(documents in prop::collection::vec(document(), 1..20), pretty: bool) {
        let schema = schema([
            ("t", DataType::Utf8), ("i", DataType::Int64), ("f", DataType::Float64),
            ("l", DataType::List(Field::new_list_field(DataType::Boolean, true).into())),
        ]);
        let text: Vec<String> = documents.iter().map(|document| match pretty {
            true => serde_json::to_string_pretty(document).unwrap(),
            false => serde_json::to_string(document).unwrap(),
        }).collect();
        let format = if pretty { Format::Json } else { Format::Ndjson };
        let decoded = decode(format, &schema, text.join("\n"));
        let batch = only(&decoded);
        prop_assert_eq!(batch.num_rows(), documents.len());
        for (row, document) in documents.iter().enumerate() {
            let get = |key: &str| document.get(key).filter(|value| !value.is_null());
            let text = batch.column(0).as_string::<i32>();
            prop_assert_eq!(text.is_valid(row).then(|| text.value(row)), get("t").and_then(Value::as_str));
            let int = batch.column(1).as_primitive::<Int64Type>();
            prop_assert_eq!(int.is_valid(row).then(|| int.value(row)), get("i").and_then(Value::as_i64));
            let float = batch.column(2).as_primitive::<Float64Type>();
            let float = float.is_valid(row).then(|| float.value(row).to_bits());
            prop_assert_eq!(float, get("f").and_then(Value::as_f64).map(f64::to_bits));
            let list = batch.column(3).as_list::<i32>();
            let list = list.is_valid(row).then(|| list.value(row).as_boolean().iter().collect::<Vec<_>>());
            let expected = get("l").map(|list| list.as_array().unwrap().iter().map(Value::as_bool).collect::<Vec<_>>());
            prop_assert_eq!(list, expected);
        }
    }

    /// Of any bytes, each line is a row, rejected or blank: nothing is lost, nothing panics; and
    /// what is taken is what serde takes too.
    #[test]
    fn no_line_is_lost(lines in prop::collection::vec(
        prop_oneof![
            prop::sample::select(vec![
                "{\"t\":\"a\"}", "{\"t\":\"\\ud800\"}", "{\"t\":\"\\u00e9\\n\"}", "{\"t\":1e5,}", "{\"t\":[1,2]}",
                "{\"t\":\"\t\"}", "{\"t\":tru}", "{\"x\":-}", "{\"x\":{\"y\":[}]}", "{} {}", "\"", "{\"t\"}", "{\"t\":1}}",
            ]).prop_map(|line| line.as_bytes().to_vec()),
            "[{}\\[\\]\":,0-9eE.+tnrue\\\\-]{1,12}".prop_map(String::into_bytes),
            prop::collection::vec(any::<u8>().prop_filter("in a line", |byte| *byte != b'\n'), 1..12),
        ], 1..12,
    )) {
        // The first record tells that there is one a line.
        let lines = [vec![b"{}".to_vec()], lines].concat();
        let schema = schema([("t", DataType::Utf8)]);
        let decoded = decode(Format::Ndjson, &schema, lines.join(&b'\n'));
        let taken: usize = decoded.batches.iter().map(|batch| batch.num_rows()).sum();
        let filled: Vec<_> = lines.iter().filter(|line| !line.trim_ascii().is_empty()).collect();
        if lines.iter().all(|line| !line.contains(&0x0c)) {
            prop_assert_eq!(taken + decoded.rejected.len(), filled.len());
            let right = filled.iter().filter(|line| {
                serde_json::from_slice::<Map<String, Value>>(line).is_ok()
            }).count();
            prop_assert_eq!(taken, right);
        }
    }
}
