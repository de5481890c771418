//! Which types the files have.

use std::fs::File;
use std::sync::Arc;

use arrow_array::builder::{Int64Builder, ListBuilder, MapBuilder, StringBuilder};
use arrow_array::cast::AsArray;
use arrow_array::types::Int32Type;
use arrow_array::{
    Array, ArrayRef, Date64Array, DictionaryArray, FixedSizeBinaryArray, NullArray, RecordBatch,
    StringViewArray, Time64NanosecondArray, TimestampNanosecondArray, TimestampSecondArray,
    UInt8Array, UInt32Array, UInt64Array,
};
use arrow_schema::{DataType, Field, Schema, SchemaRef};
use parquet::file::reader::{FileReader, SerializedFileReader};
use serde_json::{Value, json};
use tidegate_core::ErrorKind;
use tidegate_testkit::suites::sealed;

use crate::support::{Bench, prepare, read, visible};

/// One row of everything that isn't portable.
fn odd() -> RecordBatch {
    let mut lists = ListBuilder::new(UInt64Builder::new());
    lists.append_value([Some(u64::MAX)]);
    let mut maps = MapBuilder::new(None, StringBuilder::new(), Int64Builder::new());
    maps.keys().append_value("a");
    maps.values().append_value(1);
    maps.append(true).unwrap();
    let words: DictionaryArray<Int32Type> = ["word"].into_iter().collect();
    let bytes = FixedSizeBinaryArray::try_from_iter([b"abcd"].into_iter()).unwrap();
    let nanos = TimestampNanosecondArray::from(vec![5_000]).with_timezone("+02:00");
    let columns: Vec<(&str, ArrayRef)> = vec![
        ("U8", Arc::new(UInt8Array::from(vec![u8::MAX]))),
        ("u32", Arc::new(UInt32Array::from(vec![u32::MAX]))),
        ("u64", Arc::new(UInt64Array::from(vec![u64::MAX]))),
        ("seconds", Arc::new(TimestampSecondArray::from(vec![1]))),
        ("nanos", Arc::new(nanos)),
        ("time", Arc::new(Time64NanosecondArray::from(vec![7_000]))),
        ("date", Arc::new(Date64Array::from(vec![86_400_000]))),
        ("words", Arc::new(words)),
        (
            "views",
            Arc::new(StringViewArray::from(vec!["a text that is long"])),
        ),
        ("bytes", Arc::new(bytes)),
        ("nulls", Arc::new(NullArray::new(1))),
        ("lists", Arc::new(lists.finish())),
        ("maps", Arc::new(maps.finish())),
    ];
    RecordBatch::try_from_iter_with_nullable(columns.into_iter().map(|(n, c)| (n, c, true)))
        .unwrap()
}

type UInt64Builder = arrow_array::builder::UInt64Builder;

async fn written(config: Value, batch: RecordBatch) -> (Bench, std::path::PathBuf) {
    let bench = Bench::new(config, batch.schema());
    let sink = bench.open().await.unwrap();
    let prepared = prepare(&sink, 1, vec![vec![batch]]).await.unwrap();
    sink.commit(&bench.commit(1, &prepared)).await.unwrap();
    let path = bench.out().join(&visible(&bench.out())[0]);
    (bench, path)
}

/// `path: physical type, logical type` of each column.
fn columns(path: &std::path::Path) -> Vec<String> {
    let file = SerializedFileReader::new(File::open(path).unwrap()).unwrap();
    let schema = file.metadata().file_metadata().schema_descr_ptr();
    let columns = schema.columns().iter().map(|column| {
        let logical = column.logical_type_ref().map_or("-".into(), |logical| {
            format!("{logical:?}").replace([' ', '\n'], "")
        });
        format!("{}: {} {logical}", column.path(), column.physical_type())
    });
    columns.collect()
}

#[tokio::test]
async fn files_have_types_that_every_engine_reads() {
    let (_bench, path) = written(json!({"names": "lower"}), odd()).await;
    let columns = columns(&path);
    let starts = [
        "\"u8\": INT32 Integer",
        "\"u32\": INT64 -",
        "\"u64\": FIXED_LEN_BYTE_ARRAY Decimal",
        "\"seconds\": INT64 Timestamp",
        "\"nanos\": INT64 Timestamp",
        "\"time\": INT64 Time",
        "\"date\": INT32 Date",
        "\"words\": BYTE_ARRAY String",
        "\"views\": BYTE_ARRAY String",
        "\"bytes\": BYTE_ARRAY -",
        "\"nulls\": BYTE_ARRAY String",
        "\"lists.list.element\": FIXED_LEN_BYTE_ARRAY Decimal",
        "\"maps.key_value.key\": BYTE_ARRAY String",
        "\"maps.key_value.value\": INT64 -",
    ];
    assert_eq!(columns.len(), starts.len());
    for (column, start) in columns.iter().zip(starts) {
        assert!(column.starts_with(start), "{column} instead of {start}");
    }
    let has = |index: usize, part: &str| columns[index].to_lowercase().contains(part);
    assert!(
        has(3, "millis") && has(4, "micros") && has(5, "micros"),
        "{columns:?}"
    );
    assert!(has(4, "u_t_c:true"), "{columns:?}");

    // Readers that know Arrow are told the same.
    let batch = &read(&path)[0];
    let arrow = |name: &str| batch.column_by_name(name).unwrap().data_type().clone();
    assert_eq!(arrow("u8"), DataType::Int16);
    assert_eq!(arrow("u64"), DataType::Decimal128(20, 0));
    assert_eq!(arrow("words"), DataType::Utf8);
    assert_eq!(arrow("views"), DataType::Utf8);
    assert_eq!(arrow("nulls"), DataType::Utf8);
    assert_eq!(arrow("nanos").to_string(), "Timestamp(µs, \"UTC\")");
    assert_eq!(
        batch
            .column_by_name("views")
            .unwrap()
            .as_string::<i32>()
            .value(0),
        "a text that is long"
    );
}

/// What pyarrow and DuckDB say of the file's columns: a line for each.
fn told_by_readers(path: &std::path::Path) -> Vec<String> {
    let script = "
import sys, duckdb, pyarrow.parquet as pq
table = pq.read_table(sys.argv[1])
duck = duckdb.sql(f\"SELECT * FROM '{sys.argv[1]}'\")
assert len(table) == len(duck) == 1
for field, name, kind in zip(table.schema, duck.columns, duck.types):
    assert field.name == name
    print(name, field.type, kind, sep='; ')
";
    let output = std::process::Command::new(tidegate_testkit::servers::python("readers"))
        .args(["-c", script])
        .arg(path)
        .output()
        .unwrap();
    let error = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "{error}");
    let text = String::from_utf8(output.stdout).unwrap();
    text.lines().map(str::to_owned).collect()
}

#[tokio::test]
async fn pyarrow_and_duckdb_read_the_same_types() {
    let (_bench, path) = written(json!({"names": "lower"}), odd()).await;
    let told = told_by_readers(&path);
    let expected = [
        "u8; int16; SMALLINT",
        "u32; int64; BIGINT",
        "u64; decimal128(20, 0); DECIMAL(20,0)",
        "seconds; timestamp[ms]; TIMESTAMP",
        "nanos; timestamp[us, tz=UTC]; TIMESTAMP WITH TIME ZONE",
        "time; time64[us]; TIME",
        "date; date32[day]; DATE",
        "words; string; VARCHAR",
        "views; string; VARCHAR",
        "bytes; binary; BLOB",
        "nulls; string; VARCHAR",
        "lists; list<element: decimal128(20, 0)>; DECIMAL(20,0)[]",
        "maps; map<string, int64 ('maps')>; MAP(VARCHAR, BIGINT)",
    ];
    assert_eq!(told, expected);
}

#[tokio::test]
async fn exact_types_are_read_back_by_arrow_as_they_were() {
    let batch = odd();
    let exact = ["U8", "u32", "u64", "nanos", "time", "words", "bytes"];
    let indices: Vec<_> = exact
        .iter()
        .map(|name| batch.schema().index_of(name).unwrap())
        .collect();
    let batch = batch.project(&indices).unwrap();
    let (_bench, path) = written(json!({"types": "exact"}), batch.clone()).await;
    assert_eq!(read(&path)[0], batch);
}

#[tokio::test]
async fn nanoseconds_that_would_be_lost_reject_their_row() {
    let times: ArrayRef = Arc::new(TimestampNanosecondArray::from(vec![1_000, 1_001]));
    let batch = RecordBatch::try_from_iter([("at", times)]).unwrap();
    let bench = Bench::new(json!({}), batch.schema());
    let sink = bench.open().await.unwrap();
    let sealed = sealed(sink.as_ref(), 1, vec![vec![batch]]).await.unwrap();
    let rejected = sealed.rejected;
    assert_eq!(rejected.len(), 1);
    assert!(rejected.rows[0].reason.contains("`at`"), "{rejected:?}");
}

#[tokio::test]
async fn what_no_engine_holds_and_names_that_differ_by_case_are_refused() {
    let of = |fields: Vec<Field>| -> SchemaRef { Arc::new(Schema::new(fields)) };
    let wide = Field::new("big", DataType::Decimal256(60, 0), true);
    let bench = Bench::new(json!({}), of(vec![wide]));
    let error = bench.open().await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Schema);
    assert!(
        error.message().contains("`big`") && error.hint_text().is_some(),
        "{error}"
    );
    let twins = ["A", "a"].map(|name| Field::new(name, DataType::Int64, true));
    let bench = Bench::new(json!({"names": "lower"}), of(twins.into()));
    let error = bench.open().await.unwrap_err();
    assert!(error.message().contains("`A` and `a`"), "{error}");
}
