//! Values of every type.

use std::sync::Arc;

use arrow_array::types::Int32Type;
use arrow_array::{
    Array, ArrayRef, BinaryArray, BinaryViewArray, BooleanArray, Date32Array, Date64Array,
    Decimal32Array, Decimal128Array, Decimal256Array, DictionaryArray, DurationMicrosecondArray,
    DurationMillisecondArray, DurationSecondArray, FixedSizeBinaryArray, Float32Array,
    Float64Array, Int8Array, Int16Array, Int32Array, Int64Array, LargeBinaryArray,
    LargeStringArray, ListArray, NullArray, RecordBatch, StringArray, StringViewArray, StructArray,
    Time32MillisecondArray, Time32SecondArray, Time64MicrosecondArray, Time64NanosecondArray,
    TimestampMicrosecondArray, TimestampMillisecondArray, TimestampNanosecondArray,
    TimestampSecondArray, UInt8Array, UInt16Array, UInt32Array, UInt64Array,
};
use arrow_buffer::i256;
use arrow_schema::{DataType, Field};
use arrow_select::filter::filter_record_batch;
use proptest::prelude::*;
use serde_json::json;

use super::{Site, batch, reasons};
use crate::support::cases;
use crate::witness::{agree, testimony};

/// A column of each type of Arrow: its type in a table that is made for it, a value as the server
/// prints it, and NULL.
fn columns() -> Vec<(&'static str, ArrayRef, &'static str)> {
    let decimal = Decimal128Array::from(vec![Some(-5), None]);
    let wide = i256::from_string(&"9".repeat(65));
    let list = ListArray::from_iter_primitive::<Int32Type, _, _>([Some(vec![Some(1), None]), None]);
    let inner: ArrayRef = Arc::new(StringArray::from(vec![Some("it's \"x\" \\"), None]));
    let field = Arc::new(Field::new("a", DataType::Utf8, true));
    let structs = StructArray::new(
        vec![field].into(),
        vec![inner],
        Some(vec![true, false].into()),
    );
    let keys: DictionaryArray<Int32Type> = [Some("word"), None].into_iter().collect();
    let fixed = [Some([0_u8, 39, 92, 255]), None].into_iter();
    let fixed = FixedSizeBinaryArray::try_from_sparse_iter_with_size(fixed, 4).unwrap();
    let bytes: Vec<Option<&[u8]>> = vec![Some(b"\0'\\\xff\xe4"), None];
    let moment = Some(1_709_210_096_000_001);
    vec![
        (
            "tinyint(1)",
            Arc::new(BooleanArray::from(vec![Some(true), None])),
            "1",
        ),
        (
            "tinyint(4)",
            Arc::new(Int8Array::from(vec![Some(i8::MIN), None])),
            "-128",
        ),
        (
            "smallint(6)",
            Arc::new(Int16Array::from(vec![Some(i16::MIN), None])),
            "-32768",
        ),
        (
            "int(11)",
            Arc::new(Int32Array::from(vec![Some(i32::MIN), None])),
            "-2147483648",
        ),
        (
            "bigint(20)",
            Arc::new(Int64Array::from(vec![Some(i64::MIN), None])),
            "-9223372036854775808",
        ),
        (
            "tinyint(3) unsigned",
            Arc::new(UInt8Array::from(vec![Some(u8::MAX), None])),
            "255",
        ),
        (
            "smallint(5) unsigned",
            Arc::new(UInt16Array::from(vec![Some(u16::MAX), None])),
            "65535",
        ),
        (
            "int(10) unsigned",
            Arc::new(UInt32Array::from(vec![Some(u32::MAX), None])),
            "4294967295",
        ),
        (
            "bigint(20) unsigned",
            Arc::new(UInt64Array::from(vec![Some(u64::MAX), None])),
            "18446744073709551615",
        ),
        (
            "float",
            Arc::new(Float32Array::from(vec![Some(-1.5), None])),
            "-1.5",
        ),
        (
            "double",
            Arc::new(Float64Array::from(vec![Some(0.1), None])),
            "0.1",
        ),
        (
            "decimal(5,3)",
            Arc::new(decimal.clone().with_precision_and_scale(5, 3).unwrap()),
            "-0.005",
        ),
        (
            "decimal(7,0)",
            Arc::new(decimal.with_precision_and_scale(5, -2).unwrap()),
            "-500",
        ),
        (
            "decimal(9,2)",
            Arc::new(
                Decimal32Array::from(vec![Some(123), None])
                    .with_precision_and_scale(9, 2)
                    .unwrap(),
            ),
            "1.23",
        ),
        (
            "decimal(65,0)",
            Arc::new(
                Decimal256Array::from(vec![wide, None])
                    .with_precision_and_scale(65, 0)
                    .unwrap(),
            ),
            "99999999999999999999999999999999999999999999999999999999999999999",
        ),
        (
            "longtext",
            Arc::new(StringArray::from(vec![Some("it's a \\ 🎈"), None])),
            "it's a \\\\ 🎈",
        ),
        (
            "longtext",
            Arc::new(LargeStringArray::from(vec![Some("%_\"`"), None])),
            "%_\"`",
        ),
        (
            "longtext",
            Arc::new(StringViewArray::from(vec![
                Some("a long text in a view"),
                None,
            ])),
            "a long text in a view",
        ),
        ("longtext", Arc::new(keys), "word"),
        (
            "longblob",
            Arc::new(BinaryArray::from(bytes.clone())),
            "00275CFFE4",
        ),
        (
            "longblob",
            Arc::new(LargeBinaryArray::from(bytes.clone())),
            "00275CFFE4",
        ),
        (
            "longblob",
            Arc::new(BinaryViewArray::from(bytes)),
            "00275CFFE4",
        ),
        ("varbinary(4)", Arc::new(fixed), "00275CFF"),
        (
            "date",
            Arc::new(Date32Array::from(vec![Some(19_782), None])),
            "2024-02-29",
        ),
        (
            "date",
            Arc::new(Date64Array::from(vec![Some(-86_400_000), None])),
            "1969-12-31",
        ),
        (
            "time",
            Arc::new(Time32SecondArray::from(vec![Some(86_399), None])),
            "23:59:59",
        ),
        (
            "time(3)",
            Arc::new(Time32MillisecondArray::from(vec![Some(1), None])),
            "00:00:00.001",
        ),
        (
            "time(6)",
            Arc::new(Time64MicrosecondArray::from(vec![Some(1), None])),
            "00:00:00.000001",
        ),
        (
            "time(6)",
            Arc::new(Time64NanosecondArray::from(vec![Some(5_000), None])),
            "00:00:00.000005",
        ),
        (
            "time(6)",
            Arc::new(DurationSecondArray::from(vec![Some(-3_020_399), None])),
            "-838:59:59.000000",
        ),
        (
            "time(6)",
            Arc::new(DurationMillisecondArray::from(vec![Some(-1), None])),
            "-00:00:00.001000",
        ),
        (
            "datetime(6)",
            Arc::new(TimestampSecondArray::from(vec![Some(-1), None])),
            "1969-12-31 23:59:59.000000",
        ),
        (
            "datetime(6)",
            Arc::new(TimestampMillisecondArray::from(vec![Some(1), None])),
            "1970-01-01 00:00:00.001000",
        ),
        (
            "datetime(6)",
            Arc::new(TimestampMicrosecondArray::from(vec![moment, None])),
            "2024-02-29 12:34:56.000001",
        ),
        (
            "datetime(6)",
            Arc::new(TimestampNanosecondArray::from(vec![Some(1_000), None])),
            "1970-01-01 00:00:00.000001",
        ),
        (
            "datetime(6)",
            Arc::new(TimestampMicrosecondArray::from(vec![moment, None]).with_timezone("+05:00")),
            "2024-02-29 12:34:56.000001",
        ),
        ("longtext", Arc::new(list), "[1,null]"),
        (
            "longtext",
            Arc::new(structs),
            "{\"a\":\"it's \\\\\"x\\\\\" \\\\\\\\\"}",
        ),
        ("longtext", Arc::new(NullArray::new(2)), "NULL"),
    ]
}

#[tokio::test]
async fn a_table_is_made_for_every_type_of_arrow() {
    let site = Site::on(super::server());
    let columns = columns();
    let names: Vec<_> = (0..columns.len()).map(|n| format!("c{n}")).collect();
    let arrays: Vec<_> = names
        .iter()
        .zip(&columns)
        .map(|(name, (_, array, _))| (name.as_str(), array.clone()))
        .collect();
    let rows = batch(&arrays);
    let create = json!({ "create": true });
    let sink = site.open(create, &rows.schema()).await.unwrap();
    let rejected = site.write(sink.as_ref(), 1, &[rows]).await;
    assert!(rejected.is_empty(), "{rejected:?}");
    for (name, (declared, array, shown)) in names.iter().zip(&columns) {
        let type_of = format!(
            "SELECT column_type FROM information_schema.columns \
             WHERE table_schema = DATABASE() AND table_name = 't' AND column_name = '{name}'"
        );
        assert_eq!(
            site.sql(&type_of).trim_end(),
            *declared,
            "{}",
            array.data_type()
        );
        let bytes = ["blob", "varbinary"]
            .iter()
            .any(|word| declared.contains(word));
        let value = if bytes {
            format!("HEX({name})")
        } else {
            name.clone()
        };
        let values = site.sql(&format!("SELECT {value} FROM t ORDER BY c1 IS NULL"));
        assert_eq!(values, format!("{shown}\nNULL\n"), "{}", array.data_type());
    }
}

#[tokio::test]
async fn nothing_is_rounded() {
    let site = Site::on(super::server());
    site.sql(
        "CREATE TABLE t (n INT, at DATETIME(3), stamp TIMESTAMP, day DATE, clock TIME(1),
            digits DECIMAL(9,2), count BIGINT UNSIGNED, near FLOAT(7,3), year YEAR,
            pick ENUM('a','1'), many SET('a','b','7'), shape GEOMETRY, spot POINT,
            bytes BINARY(3), ends CHAR(3), code VARCHAR(3), seen DATETIME)",
    );
    let one = |name: &str, array: ArrayRef| {
        let n: ArrayRef = Arc::new(Int32Array::from_iter_values(
            0..i32::try_from(array.len()).unwrap(),
        ));
        batch(&[("n", n), (name, array)])
    };
    let micros = |values: &[i64]| Arc::new(TimestampMicrosecondArray::from(values.to_vec()));
    let decimals = |values: &[i128], p, s| {
        let values = Decimal128Array::from(values.to_vec());
        Arc::new(values.with_precision_and_scale(p, s).unwrap())
    };
    let text = |values: &[&str]| Arc::new(StringArray::from(values.to_vec()));
    let nanos = |values: &[i64]| Arc::new(TimestampNanosecondArray::from(values.to_vec()));
    let point = [&[1, 1, 0, 0, 0][..], &[0; 16]].concat();
    let line = [&[1, 2, 0, 0, 0, 2, 0, 0, 0][..], &[0; 24], &[0x3F; 8]].concat();
    let shapes: Vec<&[u8]> = vec![&point, &line, &point[..20], b"", b"xyz"];
    // Of each, how many of the first rows are taken.
    let cases: Vec<(&str, ArrayRef, usize)> = vec![
        ("at", micros(&[1_000, 1_001]), 1),
        ("at", nanos(&[1_000_000, 1_000_001]), 1),
        (
            "at",
            micros(&[0, i64::MAX, i64::MIN, 253_402_300_800_000_000]),
            1,
        ),
        // 2038-01-19 03:14:07 is the last second of a TIMESTAMP, 0 isn't the first.
        (
            "stamp",
            micros(&[2_147_483_647_000_000, 2_147_483_648_000_000, 0]),
            1,
        ),
        ("day", micros(&[86_400_000_000, 1]), 1),
        ("day", Arc::new(Date64Array::from(vec![86_400_000, 1])), 1),
        (
            "clock",
            Arc::new(Time64MicrosecondArray::from(vec![100_000, 110_000])),
            1,
        ),
        ("digits", decimals(&[1_230, 1_231], 9, 3), 1),
        ("digits", decimals(&[9_999_999, 10_000_000], 9, 0), 1),
        (
            "digits",
            Arc::new(Int64Array::from(vec![9_999_999, 10_000_000])),
            1,
        ),
        (
            "count",
            decimals(&[184_467_440_737_095_516_150, 5, -10], 38, 1),
            1,
        ),
        ("near", Arc::new(Float32Array::from(vec![0.125, 0.0625])), 1),
        (
            "year",
            Arc::new(Int32Array::from(vec![0, 2155, 1900, 24])),
            2,
        ),
        (
            "bytes",
            Arc::new(BinaryArray::from(vec![&b"abc"[..], b"ab", b"abcd"])),
            1,
        ),
        ("ends", text(&["äöü", "ab ", "abcd"]), 1),
        ("code", text(&["ab ", "abc "]), 1),
        ("pick", text(&["1", "A", "2", " 1", "+1", "", "0"]), 2),
        ("many", text(&["", "7", "b,a", "3", " 2", "c"]), 3),
        ("shape", Arc::new(BinaryArray::from(shapes.clone())), 2),
        ("spot", Arc::new(BinaryArray::from(shapes)), 1),
        (
            "seen",
            text(&[
                "2024-02-29 01:02:03",
                "2024-02-30 00:00:00",
                "2024-02-29 01:02:03.5",
            ]),
            1,
        ),
    ];
    for (epoch, (name, array, taken)) in (1..).zip(cases) {
        let rows = one(name, array);
        let what = format!("{name}, {}", rows.column(1).data_type());
        let sink = site.open(json!({}), &rows.schema()).await.unwrap();
        let many = rows.num_rows();
        let rejected = site.write(sink.as_ref(), epoch, &[rows]).await;
        assert_eq!(
            rejected.len(),
            many - taken,
            "{what}: {:?}",
            reasons(&rejected)
        );
        // Of geometries the server doesn't say in which column.
        let named = |why: &&str| why.contains(name) || why.contains("GEOMETRY");
        assert!(reasons(&rejected).iter().all(named), "{what}: {rejected:?}");
        let there = site.sql(&format!("SELECT COUNT({name}) FROM t; DELETE FROM t"));
        assert_eq!(there, format!("{taken}\n"), "{what}");
    }
}

/// Any value, as an independent reader sees it.
#[test]
fn any_value_arrives_as_it_was() {
    let runtime = tokio::runtime::Runtime::new().unwrap();
    let site = Site::on(super::server());
    site.sql(
        "CREATE TABLE t (n INT, text LONGTEXT, bytes LONGBLOB, double_ DOUBLE, float_ FLOAT, \
         long_ BIGINT, decimal_ DECIMAL(38,19), wide DECIMAL(65,2), day DATE, span TIME(6), \
         at DATETIME(6)) COLLATE utf8mb4_bin",
    );
    let moments = -62_167_219_200_000_000_i64..253_402_300_800_000_000;
    let spans = -3_020_399_999_999_i64..=3_020_399_999_999;
    let row = (
        any::<String>(),
        any::<Vec<u8>>(),
        any::<f64>().prop_filter("a number", |value| value.is_finite()),
        any::<f32>().prop_filter("a number", |value| value.is_finite()),
        any::<i64>(),
        any::<i64>(),
        moments,
        spans,
    );
    let epochs = std::cell::Cell::new(0);
    let mut runner = proptest::test_runner::TestRunner::new(cases(8));
    runner
        .run(&proptest::collection::vec(row, 1..200), |rows| {
            epochs.set(epochs.get() + 1);
            let n = 0..i32::try_from(rows.len()).unwrap();
            let products: Vec<_> = rows
                .iter()
                .map(|row| i128::from(row.4) * i128::from(row.5))
                .collect();
            let wide = products
                .iter()
                .map(|product| i256::from_i128(*product) * i256::from_i128(10_i128.pow(25)));
            let texts = rows.iter().map(|row| Some(row.0.as_str()));
            let bytes = rows.iter().map(|row| row.1.as_slice());
            let columns: Vec<(&str, ArrayRef)> = vec![
                ("n", Arc::new(Int32Array::from_iter_values(n))),
                ("text", Arc::new(texts.collect::<StringArray>())),
                ("bytes", Arc::new(BinaryArray::from_iter_values(bytes))),
                (
                    "double_",
                    Arc::new(Float64Array::from_iter_values(rows.iter().map(|r| r.2))),
                ),
                (
                    "float_",
                    Arc::new(Float32Array::from_iter_values(rows.iter().map(|r| r.3))),
                ),
                (
                    "long_",
                    Arc::new(Int64Array::from_iter_values(rows.iter().map(|r| r.4))),
                ),
                (
                    "decimal_",
                    Arc::new(
                        Decimal128Array::from_iter_values(products.iter().copied())
                            .with_precision_and_scale(38, 19)
                            .unwrap(),
                    ),
                ),
                (
                    "wide",
                    Arc::new(
                        Decimal256Array::from_iter_values(wide)
                            .with_precision_and_scale(65, 2)
                            .unwrap(),
                    ),
                ),
                (
                    "day",
                    Arc::new(Date32Array::from_iter_values(
                        rows.iter()
                            .map(|r| i32::try_from(r.6.div_euclid(86_400_000_000)).unwrap()),
                    )),
                ),
                (
                    "span",
                    Arc::new(DurationMicrosecondArray::from_iter_values(
                        rows.iter().map(|r| r.7),
                    )),
                ),
                (
                    "at",
                    Arc::new(TimestampMicrosecondArray::from_iter_values(
                        rows.iter().map(|r| r.6),
                    )),
                ),
            ];
            let batch: RecordBatch = batch(&columns);
            // MariaDB has no -0.
            let taken = rows.iter().map(|row| {
                let negative_zero = |value: f64| value == 0.0 && value.is_sign_negative();
                Some(!negative_zero(row.2) && !negative_zero(row.3.into()))
            });
            let taken: BooleanArray = taken.collect();
            let all = filter_record_batch(&batch, &taken).unwrap();
            runtime.block_on(async {
                let small = json!({ "statement_bytes": 2_000 });
                let sink = site.open(small, &batch.schema()).await.unwrap();
                let rejected = site.write(sink.as_ref(), epochs.get(), &[batch]).await;
                let many = taken.len() - taken.true_count();
                assert_eq!(rejected.len(), many, "{:?}", reasons(&rejected));
                let url = site.server.url(&site.database);
                let there = testimony(&url, "SELECT * FROM t ORDER BY n").await;
                agree(&[all], &there, "t");
            });
            site.sql("DELETE FROM t");
            Ok(())
        })
        .unwrap();
}

/// MariaDB makes 0 of it, however it is written.
#[tokio::test]
async fn a_negative_zero_is_rejected_where_the_server_has_none() {
    let site = Site::on(super::server());
    site.sql("CREATE TABLE t (n INT, d DOUBLE, f FLOAT, places DOUBLE(9,2), d32 DOUBLE)");
    let (doubles, floats) = ([-0.0, 0.0, 1.5, -0.0], [0.0_f32, 0.0, -0.0, -0.0]);
    let rows = batch(&[
        ("n", Arc::new(Int32Array::from_iter_values(0..6))),
        (
            "d",
            Arc::new(Float64Array::from_iter_values(
                doubles.into_iter().chain([0.0, 0.0]),
            )),
        ),
        (
            "f",
            Arc::new(Float32Array::from_iter_values(
                floats.into_iter().chain([0.0, 0.0]),
            )),
        ),
        (
            "places",
            Arc::new(Float64Array::from_iter_values([
                1.0, 1.0, 1.0, 1.0, -0.0, 1.0,
            ])),
        ),
        (
            "d32",
            Arc::new(Float32Array::from_iter_values([
                1.0, 1.0, 1.0, 1.0, 1.0, -0.0,
            ])),
        ),
    ]);
    let sink = site.open(json!({}), &rows.schema()).await.unwrap();
    let rejected = site.write(sink.as_ref(), 1, &[rows]).await;
    assert_eq!(rejected.len(), 5);
    let reasons = reasons(&rejected);
    assert!(
        reasons.iter().all(|why| why.contains("is -0")),
        "{reasons:?}"
    );
    assert_eq!(site.sql("SELECT n FROM t"), "1\n");
}
