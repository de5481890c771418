//! Parquet files whose columns have other types than their stream's: old time stamps, and files
//! that are read together.

use std::path::Path;
use std::sync::Arc;

use arrow_array::cast::AsArray;
use arrow_array::types::{
    Decimal128Type, Float64Type, Int64Type, TimestampMicrosecondType, TimestampNanosecondType,
};
use arrow_array::{
    Array, ArrayRef, Decimal128Array, Int8Array, Int32Array, Int64Array, LargeStringArray,
    NullArray, RecordBatch, StringArray, StructArray, TimestampMicrosecondArray,
    TimestampNanosecondArray, UInt64Array,
};
use arrow_schema::{DataType, Field, Fields, TimeUnit};
use parquet::arrow::ArrowWriter;
use parquet::data_type::{Int32Type as StoredInt32, Int96, Int96Type};
use parquet::file::properties::WriterProperties;
use parquet::file::writer::SerializedFileWriter;
use parquet::schema::parser::parse_message_type;
use serde_json::{Value, json};
use tidegate_core::{Comparison, ErrorKind, Literal, Predicate, Rejected, Scan};
use tidegate_files::crawl::{CrawlOptions, crawl};

use crate::support::{context, plan, read, read_all, source, write};

/// A time as Spark writes it: nanoseconds of the day, and the Julian day.
fn int96(micros: i64) -> Int96 {
    const DAY: i64 = 86_400_000_000;
    let nanos = micros.rem_euclid(DAY) * 1_000;
    let day = u32::try_from(micros.div_euclid(DAY) + 2_440_588).unwrap();
    let low = u32::try_from(nanos & 0xffff_ffff).unwrap();
    Int96::from(vec![low, u32::try_from(nanos >> 32).unwrap(), day])
}

/// 2024-05-01T12:00:00, 9999-12-31T23:59:59.999999 and 0001-01-01T00:00:00.
const TIMES: [i64; 3] = [
    1_714_564_800_000_000,
    253_402_300_799_999_999,
    -62_135_596_800_000_000,
];

/// Three rows of such times: alone, and in a struct, a list and a map. Nothing says their types.
fn spark() -> Vec<u8> {
    let message = "message spark {
        required int32 n;
        optional int96 ts;
        optional group s { optional int96 t; }
        optional group l (LIST) { repeated group list { optional int96 element; } }
        optional group m (MAP) {
            repeated group key_value { required int32 key; optional int96 value; }
        }
    }";
    let schema = Arc::new(parse_message_type(message).unwrap());
    let properties = Arc::new(WriterProperties::builder().build());
    let mut file = SerializedFileWriter::new(Vec::new(), schema, properties).unwrap();
    let mut group = file.next_row_group().unwrap();
    let times: Vec<_> = TIMES.iter().map(|micros| int96(*micros)).collect();
    let (ones, flat) = ([1_i16; 3], [0_i16; 3]);
    let mut ints = |def: Option<&[i16]>, rep: Option<&[i16]>| {
        let mut column = group.next_column().unwrap().unwrap();
        let writer = column.typed::<StoredInt32>();
        writer.write_batch(&[1, 2, 3], def, rep).unwrap();
        column.close().unwrap();
    };
    ints(None, None);
    for (def, rep) in [
        (&ones, None),
        (&[2_i16; 3], None),
        (&[3_i16; 3], Some(&flat)),
    ] {
        let mut column = group.next_column().unwrap().unwrap();
        let writer = column.typed::<Int96Type>();
        let rep = rep.map(|rep| rep.as_slice());
        writer
            .write_batch(&times, Some(def.as_slice()), rep)
            .unwrap();
        column.close().unwrap();
    }
    let mut column = group.next_column().unwrap().unwrap();
    let writer = column.typed::<StoredInt32>();
    let def = [2_i16; 3];
    writer
        .write_batch(&[1, 2, 3], Some(&def), Some(&flat))
        .unwrap();
    column.close().unwrap();
    let mut column = group.next_column().unwrap().unwrap();
    let writer = column.typed::<Int96Type>();
    let def = [3_i16; 3];
    writer.write_batch(&times, Some(&def), Some(&flat)).unwrap();
    column.close().unwrap();
    group.close().unwrap();
    file.into_inner().unwrap()
}

fn micros(column: &ArrayRef) -> Vec<i64> {
    let times = column.as_primitive::<TimestampMicrosecondType>();
    assert_eq!(times.null_count(), 0);
    times.values().to_vec()
}

#[tokio::test]
async fn a4_int96_is_read_as_microseconds_also_within_others() {
    let dir = tempfile::tempdir().unwrap();
    write(dir.path(), "s.parquet", spark());
    let source = source(dir.path(), json!({"url": "s.parquet"}))
        .await
        .unwrap();
    let (batches, rejected) = read_all(&source).await.unwrap();
    assert!(rejected.is_empty());
    let [batch] = &batches[..] else {
        panic!("{} batches", batches.len());
    };
    let column = |name: &str| batch.column_by_name(name).unwrap();
    assert_eq!(micros(column("ts")), TIMES);
    assert_eq!(micros(column("s").as_struct().column(0)), TIMES);
    assert_eq!(micros(column("l").as_list::<i32>().values()), TIMES);
    assert_eq!(micros(column("m").as_map().values()), TIMES);
}

#[tokio::test]
async fn a4_int96_is_read_as_what_a_schema_says_and_never_wraps() {
    let dir = tempfile::tempdir().unwrap();
    write(dir.path(), "s.parquet", spark());
    let config = json!({
        "url": "s.parquet",
        "schema": [{"name": "ts", "type": "timestamp_naive_ns"}],
    });
    let source = source(dir.path(), config).await.unwrap();
    let (batches, rejected) = read_all(&source).await.unwrap();
    let times = batches[0]
        .column(0)
        .as_primitive::<TimestampNanosecondType>();
    assert_eq!(times.values(), &[TIMES[0] * 1_000]);
    let rows: Vec<_> = rejected.rows.iter().map(|row| row.origin.offset).collect();
    assert_eq!(rows, [Some(1), Some(2)]);
}

#[tokio::test]
async fn a4_a_crawl_registers_int96_as_microseconds() {
    let dir = tempfile::tempdir().unwrap();
    write(dir.path(), "t/s.parquet", spark());
    let cx = context(dir.path());
    let report = crawl("t", &cx, &CrawlOptions::new("d")).await.unwrap();
    let table = &report.tables[0].table;
    let micros = DataType::Timestamp(TimeUnit::Microsecond, None);
    assert_eq!(
        table.columns.field_with_name("ts").unwrap().data_type(),
        &micros
    );
}

fn parquet(columns: Vec<(&str, ArrayRef)>) -> Vec<u8> {
    let columns = columns
        .into_iter()
        .map(|(name, column)| (name, column, true));
    let batch = RecordBatch::try_from_iter_with_nullable(columns).unwrap();
    let mut writer = ArrowWriter::try_new(Vec::new(), batch.schema(), None).unwrap();
    writer.write(&batch).unwrap();
    writer.into_inner().unwrap()
}

/// A directory `in` of files with one column, `x`.
fn directory(columns: Vec<ArrayRef>) -> tempfile::TempDir {
    let dir = tempfile::tempdir().unwrap();
    for (number, column) in columns.into_iter().enumerate() {
        let name = format!("in/{number}.parquet");
        write(dir.path(), &name, parquet(vec![("x", column)]));
    }
    dir
}

/// The column `x` of all files of `in`, and what was rejected.
async fn column(dir: &Path, more: Value) -> (ArrayRef, Rejected) {
    let mut config = json!({"url": "in"});
    let more = more.as_object().cloned().unwrap_or_default();
    config.as_object_mut().unwrap().extend(more);
    let source = source(dir, config).await.unwrap();
    let (batches, rejected) = read_all(&source).await.unwrap();
    let columns: Vec<_> = batches
        .iter()
        .map(|batch| batch.column(0).as_ref())
        .collect();
    (arrow_select::concat::concat(&columns).unwrap(), rejected)
}

fn decimals(values: Vec<i128>, precision: u8, scale: i8) -> ArrayRef {
    let values = Decimal128Array::from(values);
    Arc::new(values.with_precision_and_scale(precision, scale).unwrap())
}

#[tokio::test]
async fn c2_files_are_read_in_the_type_that_holds_all() {
    let ints: Vec<ArrayRef> = vec![
        Arc::new(Int32Array::from(vec![1])),
        Arc::new(Int64Array::from(vec![1 << 40])),
        Arc::new(NullArray::new(1)),
        Arc::new(Int8Array::from(vec![-3])),
    ];
    let (all, rejected) = column(directory(ints).path(), json!({})).await;
    let ints = all.as_primitive::<Int64Type>();
    assert_eq!(
        ints.iter().collect::<Vec<_>>(),
        [Some(1), Some(1 << 40), None, Some(-3)]
    );
    assert!(rejected.is_empty());

    let floats: Vec<ArrayRef> = vec![
        Arc::new(Int32Array::from(vec![7])),
        Arc::new(arrow_array::Float64Array::from(vec![0.1])),
        Arc::new(arrow_array::Float32Array::from(vec![1.5])),
    ];
    let (all, _) = column(directory(floats).path(), json!({})).await;
    assert_eq!(all.as_primitive::<Float64Type>().values(), &[7.0, 0.1, 1.5]);

    let mixed: Vec<ArrayRef> = vec![
        decimals(vec![125], 5, 2),
        decimals(vec![123_456_781_234], 12, 4),
        Arc::new(Int32Array::from(vec![7])),
        Arc::new(UInt64Array::from(vec![u64::MAX])),
    ];
    let (all, _) = column(directory(mixed).path(), json!({})).await;
    let all = all.as_primitive::<Decimal128Type>();
    assert_eq!(all.scale(), 4);
    let wanted = [
        12_500,
        123_456_781_234,
        70_000,
        i128::from(u64::MAX) * 10_000,
    ];
    assert_eq!(all.values(), &wanted);

    let words: arrow_array::DictionaryArray<arrow_array::types::Int8Type> =
        ["d"].into_iter().collect();
    let texts: Vec<ArrayRef> = vec![
        Arc::new(StringArray::from(vec!["a"])),
        Arc::new(LargeStringArray::from(vec!["b"])),
        Arc::new(arrow_array::StringViewArray::from(vec!["c"])),
        Arc::new(words),
    ];
    let (all, _) = column(directory(texts).path(), json!({})).await;
    let texts: Vec<_> = all.as_string::<i64>().iter().flatten().collect();
    assert_eq!(texts, ["a", "b", "c", "d"]);
}

#[tokio::test]
async fn c2_many_small_dictionaries_are_read_together() {
    let words = |from: usize| -> ArrayRef {
        let words: Vec<_> = (from..from + 100).map(|n| n.to_string()).collect();
        let words = words.iter().map(String::as_str);
        let words: arrow_array::DictionaryArray<arrow_array::types::Int8Type> = words.collect();
        Arc::new(words)
    };
    let (all, _) = column(directory(vec![words(0), words(100)]).path(), json!({})).await;
    let texts: Vec<_> = all
        .as_string::<i32>()
        .iter()
        .flatten()
        .map(str::to_owned)
        .collect();
    assert_eq!(texts, (0..200).map(|n| n.to_string()).collect::<Vec<_>>());
}

#[tokio::test]
async fn c2_times_lose_no_digit_and_none_wraps() {
    let micros = |zone: Option<&str>, value: i64| -> ArrayRef {
        Arc::new(TimestampMicrosecondArray::from(vec![value]).with_timezone_opt(zone))
    };
    let zones = vec![
        micros(Some("UTC"), 1),
        micros(Some("+00:00"), 2),
        micros(Some("Europe/Berlin"), 3),
    ];
    let (all, _) = column(directory(zones).path(), json!({})).await;
    assert_eq!(
        all.data_type(),
        &DataType::Timestamp(TimeUnit::Microsecond, Some("UTC".into()))
    );
    assert_eq!(
        all.as_primitive::<TimestampMicrosecondType>().values(),
        &[1, 2, 3]
    );

    let nanos: ArrayRef = Arc::new(TimestampNanosecondArray::from(vec![1_000_000_001]));
    let units = vec![micros(None, 5), nanos, micros(None, TIMES[1])];
    let dir = directory(units);
    let (all, rejected) = column(dir.path(), json!({})).await;
    let nanos = all.as_primitive::<TimestampNanosecondType>();
    assert_eq!(nanos.values(), &[5_000, 1_000_000_001]);
    assert_eq!(rejected.rows.len(), 1);
    assert!(
        rejected.rows[0].reason.contains("9999-12-31"),
        "{}",
        rejected.rows[0].reason
    );
    // Who wants the year 9999 says so, and hears of the digits that microseconds don't hold.
    let schema = json!({"schema": [{"name": "x", "type": "timestamp_naive"}]});
    let (all, rejected) = column(dir.path(), schema).await;
    let micros = all.as_primitive::<TimestampMicrosecondType>();
    assert_eq!(micros.values(), &[5, TIMES[1]]);
    assert_eq!(rejected.rows.len(), 1);
}

#[tokio::test]
async fn c2_members_are_found_by_name_and_added() {
    let object = |members: Vec<(&str, ArrayRef)>| -> ArrayRef {
        let fields = members
            .iter()
            .map(|(name, column)| Field::new(*name, column.data_type().clone(), true));
        let fields: Fields = fields.collect();
        let columns = members.into_iter().map(|(_, column)| column).collect();
        Arc::new(StructArray::try_new(fields, columns, None).unwrap())
    };
    let text = |text: &str| -> ArrayRef { Arc::new(StringArray::from(vec![text])) };
    let first = object(vec![
        ("a", Arc::new(Int8Array::from(vec![1]))),
        ("b", text("x")),
    ]);
    let second = object(vec![
        ("c", text("new")),
        ("b", text("y")),
        ("a", Arc::new(Int32Array::from(vec![300]))),
    ]);
    let (all, _) = column(directory(vec![first, second]).path(), json!({})).await;
    let all = all.as_struct();
    let a = all.column_by_name("a").unwrap();
    assert_eq!(
        a.as_primitive::<arrow_array::types::Int32Type>().values(),
        &[1, 300]
    );
    let c = all.column_by_name("c").unwrap().as_string::<i32>();
    assert_eq!(c.iter().collect::<Vec<_>>(), [None, Some("new")]);
}

#[tokio::test]
async fn c2_columns_are_added_and_found_whatever_their_case() {
    let dir = tempfile::tempdir().unwrap();
    let ints = |value: i64| -> ArrayRef { Arc::new(Int64Array::from(vec![value])) };
    write(
        dir.path(),
        "in/a.parquet",
        parquet(vec![("Id", ints(1)), ("a", ints(10))]),
    );
    write(
        dir.path(),
        "in/b.parquet",
        parquet(vec![("b", ints(20)), ("id", ints(2))]),
    );
    let source = source(dir.path(), json!({"url": "in"})).await.unwrap();
    let schema = Arc::clone(&source.streams()[0].schema);
    let names: Vec<_> = schema
        .fields()
        .iter()
        .map(|field| field.name().clone())
        .collect();
    assert_eq!(names, ["Id", "a", "b"]);
    let (batches, _) = read_all(&source).await.unwrap();
    let rows: Vec<Vec<Option<i64>>> = batches
        .iter()
        .map(|batch| {
            let columns = batch.columns().iter();
            let value = |column: &ArrayRef| column.as_primitive::<Int64Type>().iter().next();
            columns.filter_map(value).collect()
        })
        .collect();
    assert_eq!(rows, [[Some(1), Some(10), None], [Some(2), None, Some(20)]]);
}

#[tokio::test]
async fn c2_a_schema_reads_what_it_can_say() {
    let dir = directory(vec![
        Arc::new(Int32Array::from(vec![1])),
        Arc::new(Int64Array::from(vec![1 << 40])),
    ]);
    let of_type = |name: &str| json!({"schema": [{"name": "x", "type": name}]});
    let (all, rejected) = column(dir.path(), of_type("int64")).await;
    assert_eq!(all.as_primitive::<Int64Type>().values(), &[1, 1 << 40]);
    assert!(rejected.is_empty());
    let (all, rejected) = column(dir.path(), of_type("int32")).await;
    assert_eq!((all.len(), rejected.rows.len()), (1, 1));

    let dir = directory(vec![Arc::new(LargeStringArray::from(vec!["polars"]))]);
    let (all, _) = column(dir.path(), of_type("string")).await;
    assert_eq!(all.as_string::<i32>().value(0), "polars");

    let dir = directory(vec![decimals(vec![125], 5, 2)]);
    let (all, _) = column(dir.path(), of_type("decimal(10,2)")).await;
    assert_eq!(all.data_type(), &DataType::Decimal128(10, 2));

    let item = Arc::new(Field::new("array", DataType::Int32, true));
    let offsets = arrow_buffer::OffsetBuffer::from_lengths([2]);
    let items = Arc::new(Int32Array::from(vec![1, 2]));
    let list = arrow_array::ListArray::try_new(item, offsets, items, None).unwrap();
    let dir = directory(vec![Arc::new(list)]);
    let (all, _) = column(dir.path(), of_type("list<int64>")).await;
    assert_eq!(
        all.as_list::<i32>()
            .values()
            .as_primitive::<Int64Type>()
            .values(),
        &[1, 2]
    );
}

#[tokio::test]
async fn c2_a_schema_is_held_to_the_files() {
    let dir = directory(vec![
        Arc::new(Int64Array::from(vec![1])),
        Arc::new(NullArray::new(1)),
    ]);
    let config = json!({"url": "in", "schema": [{"name": "y", "type": "int64"}]});
    let error = source(dir.path(), config).await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Schema);
    assert!(
        error.message().contains("no file has a column `y`"),
        "{error}"
    );
    let schema = json!({"schema": [{"name": "x", "type": "int64", "nullable": false}]});
    let (all, rejected) = column(dir.path(), schema).await;
    assert_eq!((all.len(), rejected.rows.len()), (1, 1));
    assert!(rejected.rows[0].reason.contains("must not be null"));
}

#[tokio::test]
async fn c2_a_file_that_comes_later_is_held_to_the_streams_types() {
    let dir = directory(vec![Arc::new(Int32Array::from(vec![1]))]);
    let source = source(dir.path(), json!({"url": "in"})).await.unwrap();
    let wide: ArrayRef = Arc::new(Int64Array::from(vec![2]));
    write(dir.path(), "in/1.parquet", parquet(vec![("x", wide)]));
    let error = read_all(&source).await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Schema);
    let text = error.to_string();
    let says = ["1.parquet", "`x`", "Int64", "Int32"];
    assert!(says.iter().all(|says| text.contains(says)), "{text}");
    assert!(error.hint_text().unwrap().contains("`schema`"));
    let narrow: ArrayRef = Arc::new(Int8Array::from(vec![2]));
    write(dir.path(), "in/1.parquet", parquet(vec![("x", narrow)]));
    assert_eq!(read_all(&source).await.unwrap().0.len(), 2);
}

#[tokio::test]
async fn c2_row_groups_of_narrower_files_are_left_out_rightly() {
    let dir = directory(vec![
        Arc::new(Int32Array::from(vec![1, 2])),
        Arc::new(Int64Array::from(vec![1 << 40])),
        decimals(vec![150], 5, 2),
        Arc::new(NullArray::new(1)),
    ]);
    let source = source(dir.path(), json!({"url": "in"})).await.unwrap();
    let counted = async |op: Comparison, value: i64| {
        let scan = Scan {
            predicates: vec![Predicate::Compare {
                column: "x".into(),
                op,
                value: Literal::Int(value),
            }],
            ..Scan::all("rows")
        };
        let mut rows: Vec<usize> = Vec::new();
        for split in plan(&source, None, true).await.unwrap().new {
            let all = read(&source, &split, &scan, None).await.unwrap();
            rows.push(
                all.iter()
                    .flat_map(|(all, _)| &all.batches)
                    .map(RecordBatch::num_rows)
                    .sum(),
            );
        }
        rows
    };
    assert_eq!(counted(Comparison::Eq, 2).await, [2, 0, 0, 0]);
    assert_eq!(counted(Comparison::Gt, 2).await, [0, 1, 0, 0]);
    assert_eq!(counted(Comparison::Lt, 2).await, [2, 0, 1, 0]);
}

#[tokio::test]
async fn two_columns_of_one_name_are_refused() {
    let dir = tempfile::tempdir().unwrap();
    let ints: ArrayRef = Arc::new(Int64Array::from(vec![1]));
    write(
        dir.path(),
        "a.parquet",
        parquet(vec![("x", Arc::clone(&ints)), ("x", ints)]),
    );
    let error = source(dir.path(), json!({"url": "a.parquet"}))
        .await
        .unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Schema);
}
