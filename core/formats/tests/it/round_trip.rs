use std::sync::Arc;

use arrow_array::cast::AsArray;
use arrow_array::types::*;
use arrow_array::*;
use arrow_buffer::i256;
use arrow_schema::{DataType, Field, Fields, Schema};
use proptest::prelude::*;
use tidegate_formats::{CsvOptions, Encoder, Format, json_field, row_to_json};

use crate::{decode_with, only};

fn encode(format: Format, csv: &CsvOptions, batch: &RecordBatch) -> Vec<u8> {
    let mut encoder = Encoder::new(format, csv, &batch.schema()).unwrap();
    let mut out = Vec::new();
    encoder.start(&mut out);
    // In two batches, as writers do.
    let half = batch.num_rows() / 2;
    assert!(
        encoder
            .encode(&batch.slice(0, half), &mut out)
            .unwrap()
            .is_empty()
    );
    assert!(
        encoder
            .encode(&batch.slice(half, batch.num_rows() - half), &mut out)
            .unwrap()
            .is_empty()
    );
    encoder.finish(&mut out);
    out
}

fn column<T: Clone + std::fmt::Debug>(
    value: impl Strategy<Value = T>,
) -> impl Strategy<Value = Vec<Option<T>>> {
    prop::collection::vec(prop::option::weighted(0.8, value), ROWS)
}

const ROWS: usize = 6;

fn text() -> impl Strategy<Value = String> {
    prop_oneof![
        any::<String>(),
        "[\",\n\r;\\\\ é\u{1}0-9]{0,8}",
        Just(String::new())
    ]
}

fn micros() -> std::ops::Range<i64> {
    -62_000_000_000_000_000..250_000_000_000_000_000
}

prop_compose! {
    fn ints()(
        a in column(any::<i8>()), b in column(any::<i16>()), c in column(any::<i32>()),
        d in column(any::<i64>()), e in column(any::<u8>()), f in column(any::<u16>()),
        g in column(any::<u32>()), h in column(any::<u64>()), i in column(any::<bool>()),
    ) -> Vec<ArrayRef> {
        let columns: Vec<ArrayRef> = vec![
            Arc::new(Int8Array::from(a)), Arc::new(Int16Array::from(b)), Arc::new(Int32Array::from(c)),
            Arc::new(Int64Array::from(d)), Arc::new(UInt8Array::from(e)), Arc::new(UInt16Array::from(f)),
            Arc::new(UInt32Array::from(g)), Arc::new(UInt64Array::from(h)), Arc::new(BooleanArray::from(i)),
        ];
        columns
    }
}

prop_compose! {
    fn others()(
        a in column(any::<f32>().prop_map(|value| if value.is_nan() { f32::NAN } else { value })),
        b in column(any::<f64>().prop_map(|value| if value.is_nan() { f64::NAN } else { value })),
        c in column(text()), d in column(text()),
        e in column(prop::collection::vec(any::<u8>(), 0..9)),
        f in column((any::<i128>(), 0u32..38).prop_map(|(value, cut)| {
            value % 10i128.pow(38) / 10i128.pow(cut)
        })),
        g in column(any::<[u8; 31]>().prop_map(|bytes| {
            let mut all = [0; 32];
            all[..31].copy_from_slice(&bytes);
            i256::from_le_bytes(all) >> 2
        })),
    ) -> Vec<ArrayRef> {
        let decimals = Decimal128Array::from(f).with_precision_and_scale(38, 9).unwrap();
        let wide = Decimal256Array::from(g).with_precision_and_scale(76, 20).unwrap();
        let columns: Vec<ArrayRef> = vec![
            Arc::new(Float32Array::from(a)), Arc::new(Float64Array::from(b)),
            Arc::new(StringArray::from(c)), Arc::new(LargeStringArray::from(d)),
            Arc::new(e.iter().map(Option::as_deref).collect::<BinaryArray>()),
            Arc::new(decimals), Arc::new(wide),
        ];
        columns
    }
}

prop_compose! {
    fn times()(
        a in column(-700_000i32..10_000_000), b in column(0..86_400_000_000i64), c in column(0..86_400_000_000_000i64),
        d in column(micros()), e in column(micros()), f in column(any::<i64>()),
        g in column(micros().prop_map(|value| value / 1000)), h in column(0..86_400),
    ) -> Vec<ArrayRef> {
        let columns: Vec<ArrayRef> = vec![
            Arc::new(Date32Array::from(a)), Arc::new(Time64MicrosecondArray::from(b)),
            Arc::new(Time64NanosecondArray::from(c)),
            Arc::new(TimestampMicrosecondArray::from(d).with_timezone("UTC")),
            Arc::new(TimestampMicrosecondArray::from(e)),
            Arc::new(TimestampNanosecondArray::from(f).with_timezone("Europe/Berlin")),
            Arc::new(TimestampMillisecondArray::from(g)), Arc::new(Time32SecondArray::from(h)),
        ];
        columns
    }
}

prop_compose! {
    fn nested()(
        texts in column(text()), ints in column(any::<i64>()),
        lengths in prop::collection::vec(0usize..3, ROWS), valid in prop::collection::vec(any::<bool>(), ROWS),
    ) -> Vec<ArrayRef> {
        let fields: Fields = vec![
            Field::new("the \"text\"", DataType::Utf8, true), Field::new("n", DataType::Int64, true),
        ].into();
        // A null struct's fields are null.
        let masked = |at: usize| valid[at];
        let texts: StringArray = texts.iter().enumerate().map(|(at, text)| text.clone().filter(|_| masked(at))).collect();
        let ints: Int64Array = ints.iter().enumerate().map(|(at, int)| int.filter(|_| masked(at))).collect();
        let structs = StructArray::new(fields, vec![Arc::new(texts), Arc::new(ints)], Some(valid.clone().into()));
        let mut at = 0i64;
        let lists = ListArray::from_iter_primitive::<Int64Type, _, _>(lengths.iter().zip(&valid).map(|(length, valid)| {
            valid.then(|| (0..*length).map(|_| { at += 1; (at % 3 != 0).then_some(at) }).collect::<Vec<_>>())
        }));
        let columns: Vec<ArrayRef> = vec![Arc::new(structs), Arc::new(lists)];
        columns
    }
}

fn batch(columns: Vec<ArrayRef>) -> RecordBatch {
    let field = |(at, column): (usize, &ArrayRef)| {
        Field::new(format!("c{at}"), column.data_type().clone(), true)
    };
    let fields: Vec<_> = columns.iter().enumerate().map(field).collect();
    RecordBatch::try_new(Arc::new(Schema::new(fields)), columns).unwrap()
}

fn comes_back(batch: &RecordBatch, csv: &CsvOptions) -> Result<(), TestCaseError> {
    for format in [Format::Ndjson, Format::Json, Format::Csv] {
        let bytes = encode(format, csv, batch);
        let decoded = decode_with(format, csv, &batch.schema(), bytes.clone());
        prop_assert!(
            decoded.rejected.is_empty(),
            "{:?}\n{}",
            decoded.rejected,
            String::from_utf8_lossy(&bytes)
        );
        // Equal as text: NaN is not equal to itself, and is NaN all the same.
        prop_assert_eq!(format!("{:?}", only(&decoded)), format!("{batch:?}"));
    }
    Ok(())
}

proptest! {
    #[test]
    fn all_types_come_back_from_all_formats(
        columns in prop_oneof![ints(), others(), times(), nested()],
        null in prop::sample::select(vec!["", "NULL", "0"]),
        delimiter in prop::sample::select(vec![',', '\t', ';', '.']),
        header: bool,
    ) {
        // Where the null text is empty an empty text must be told from it, by its quotes.
        let csv = CsvOptions { null: null.into(), delimiter: Some(delimiter), header, ..CsvOptions::default() };
        comes_back(&batch(columns), &csv)?;
    }

    #[test]
    fn a_single_column_comes_back_too(texts in column(text()), ints in column(any::<i64>())) {
        let csv = CsvOptions::default();
        comes_back(&batch(vec![Arc::new(StringArray::from(texts))]), &csv)?;
        comes_back(&batch(vec![Arc::new(Int64Array::from(ints))]), &csv)?;
    }

    #[test]
    fn the_json_is_what_serde_reads(texts in column(text()), ints in column(any::<i64>())) {
        let batch = batch(vec![Arc::new(StringArray::from(texts.clone())), Arc::new(Int64Array::from(ints.clone()))]);
        let bytes = encode(Format::Json, &CsvOptions::default(), &batch);
        let read: Vec<serde_json::Value> = serde_json::from_slice(&bytes).unwrap();
        for (at, value) in read.iter().enumerate() {
            prop_assert_eq!(value, &serde_json::json!({"c0": texts[at], "c1": ints[at]}));
            prop_assert_eq!(value, &serde_json::from_str::<serde_json::Value>(&row_to_json(&batch, at).unwrap()).unwrap());
        }
    }
}

#[test]
fn the_text_is_as_promised() {
    let schema = Arc::new(Schema::new(vec![
        Field::new("d", DataType::Decimal128(5, 2), true),
        Field::new(
            "t",
            DataType::Timestamp(arrow_schema::TimeUnit::Microsecond, Some("UTC".into())),
            true,
        ),
        Field::new("s", DataType::Utf8, true),
        json_field("j", true),
        Field::new("b", DataType::Binary, true),
    ]));
    let columns: Vec<ArrayRef> = vec![
        Arc::new(
            Decimal128Array::from(vec![Some(-5), None])
                .with_precision_and_scale(5, 2)
                .unwrap(),
        ),
        Arc::new(TimestampMicrosecondArray::from(vec![Some(1_500_000), None]).with_timezone("UTC")),
        Arc::new(StringArray::from(vec![Some("a \"b\"\n"), Some("")])),
        Arc::new(StringArray::from(vec![
            Some("{\n\"x\": 1}"),
            Some("no json"),
        ])),
        Arc::new(BinaryArray::from_opt_vec(vec![Some(b"hi"), None])),
    ];
    let batch = RecordBatch::try_new(schema, columns).unwrap();
    let text = |format| String::from_utf8(encode(format, &CsvOptions::default(), &batch)).unwrap();
    let lines = [
        r#"{"d":-0.05,"t":"1970-01-01T00:00:01.500Z","s":"a \"b\"\n","j":{ "x": 1},"b":"aGk="}"#,
        r#"{"d":null,"t":null,"s":"","j":"no json","b":null}"#,
    ];
    assert_eq!(
        text(Format::Ndjson),
        format!("{}\n{}\n", lines[0], lines[1])
    );
    assert_eq!(
        text(Format::Json),
        format!("[\n{},\n{}\n]\n", lines[0], lines[1])
    );
    assert_eq!(
        text(Format::Csv),
        "d,t,s,j,b\n-0.05,1970-01-01T00:00:01.500Z,\"a \"\"b\"\"\n\",\"{ \"\"x\"\": 1}\",aGk=\n,,\"\",\"\"\"no json\"\"\",\n"
    );
    let empty = text_of_empty(&batch);
    assert_eq!(empty, "[]\n");
}

fn text_of_empty(batch: &RecordBatch) -> String {
    String::from_utf8(encode(
        Format::Json,
        &CsvOptions::default(),
        &batch.slice(0, 0),
    ))
    .unwrap()
}

#[test]
fn raw_is_byte_for_byte_and_a_null_payload_is_rejected() {
    let bodies = BinaryArray::from_opt_vec(vec![Some(&b"\x00one"[..]), None, Some(b"two\n")]);
    let urls = StringArray::from(vec!["a", "b", "c"]);
    let batch = RecordBatch::try_from_iter([
        ("url", Arc::new(urls) as ArrayRef),
        ("body", Arc::new(bodies) as ArrayRef),
    ])
    .unwrap();
    let mut encoder = Encoder::new(Format::Raw, &CsvOptions::default(), &batch.schema()).unwrap();
    let mut out = Vec::new();
    encoder.start(&mut out);
    let rejected = encoder.encode(&batch, &mut out).unwrap();
    encoder.finish(&mut out);
    assert_eq!(out, b"\x00onetwo\n");
    assert_eq!(rejected.rows[0].row, r#"{"url":"b","body":null}"#);
    let unclear = Schema::new(vec![
        Field::new("x", DataType::Utf8, true),
        Field::new("y", DataType::Utf8, true),
    ]);
    assert!(Encoder::new(Format::Raw, &CsvOptions::default(), &Arc::new(unclear)).is_err());
}

#[test]
fn raw_lines_are_one_a_row_and_read_back_as_the_rows() {
    let bodies = StringArray::from(vec![
        "{}",
        "{\r\n \"a\": \"x\\n\"\n}",
        "no\nJSON",
        "no JSON",
        "",
    ]);
    let batch = RecordBatch::try_from_iter([("payload", Arc::new(bodies) as ArrayRef)]).unwrap();
    let encoder = Encoder::new(Format::Raw, &CsvOptions::default(), &batch.schema()).unwrap();
    let mut out = Vec::new();
    let rejected = encoder.lines(true).encode(&batch, &mut out).unwrap();
    let text = String::from_utf8(out).unwrap();
    assert_eq!(text, "{}\n{   \"a\": \"x\\n\" }\nno JSON\n\n");
    assert_eq!(rejected.rows.len(), 1);
    let reason = &rejected.rows[0].reason;
    assert!(reason.contains("holds a newline"), "{reason}");
}

#[test]
fn types_of_other_engines_are_written_too() {
    let views = StringViewArray::from(vec!["a,b", "a long text that is not inlined"]);
    let dictionary: DictionaryArray<Int32Type> = vec!["x", "y"].into_iter().collect();
    let batch = RecordBatch::try_from_iter([
        ("v", Arc::new(views) as ArrayRef),
        ("d", Arc::new(dictionary) as ArrayRef),
    ])
    .unwrap();
    let text = encode(Format::Csv, &CsvOptions::default(), &batch);
    assert_eq!(text, b"v,d\n\"a,b\",x\na long text that is not inlined,y\n");
    assert_eq!(batch.column(1).as_any_dictionary().keys().len(), 2);
}

#[test]
fn what_looks_like_something_else_at_the_beginning_of_a_file_comes_back() {
    let texts = ["sep=;", "SEP=,", "\u{feff}x", "sep=", "sep=;,y", "\u{feff}"];
    for text in texts {
        for more in [None, Some(""), Some("y")] {
            let column = |text: &str| Arc::new(StringArray::from(vec![text, "z"])) as ArrayRef;
            let mut columns = vec![(text, column(text))];
            columns.extend(more.map(|more| ("b", column(more))));
            let batch = RecordBatch::try_from_iter(columns).unwrap();
            for header in [true, false] {
                let csv = CsvOptions {
                    header,
                    ..CsvOptions::default()
                };
                let bytes = encode(Format::Csv, &csv, &batch);
                let found = tidegate_formats::infer(Format::Csv, &csv, bytes.clone().into(), true);
                let found = found.unwrap();
                if header {
                    assert_eq!(found.field(0).name(), text, "{bytes:?}");
                }
                let decoded = decode_with(Format::Csv, &csv, &batch.schema(), bytes.clone());
                assert_eq!(
                    only(&decoded),
                    &batch,
                    "{}",
                    String::from_utf8_lossy(&bytes)
                );
            }
        }
    }
}
