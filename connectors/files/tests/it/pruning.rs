//! Row groups and pages that are left out had no row that matters.

use std::sync::Arc;

use arrow_array::cast::AsArray;
use arrow_array::types::{Date32Type, Decimal128Type, Float64Type, Int64Type};
use arrow_array::{
    Array, ArrayRef, BooleanArray, Date32Array, Decimal128Array, Float64Array, Int64Array,
    RecordBatch, StringArray, TimestampNanosecondArray,
};
use parquet::arrow::ArrowWriter;
use parquet::file::properties::WriterProperties;
use proptest::prelude::*;
use serde_json::json;
use tidegate_core::{Comparison, Literal, Predicate, Scan};

use crate::support::{batch, plan, read, source, write};

#[derive(Debug, Clone)]
struct Row {
    int: Option<i64>,
    float: Option<f64>,
    text: Option<String>,
    truth: Option<bool>,
    date: Option<i32>,
    time: Option<i64>,
    decimal: Option<i128>,
}

fn rows() -> impl Strategy<Value = Vec<Row>> {
    let float = prop_oneof![
        (-3..3_i32).prop_map(f64::from),
        Just(f64::NAN),
        Just(-f64::NAN),
        Just(-0.0)
    ];
    let text = prop_oneof!["[a-c]{0,2}", Just("z".repeat(100)), "[ä-ü]{1,2}"];
    let row = (
        prop::option::of(-4..4_i64),
        prop::option::of(float),
        prop::option::of(text),
        prop::option::of(any::<bool>()),
        prop::option::of(-3..3_i32),
        prop::option::of(-3_000..3_000_i64),
        prop::option::of(-300..300_i128),
    );
    let row = row.prop_map(|(int, float, text, truth, date, time, decimal)| Row {
        int,
        float,
        text,
        truth,
        date,
        time,
        decimal,
    });
    prop::collection::vec(row, 0..40)
}

fn table(rows: &[Row]) -> RecordBatch {
    let decimals: Decimal128Array = rows.iter().map(|row| row.decimal).collect();
    let texts: StringArray = rows.iter().map(|row| row.text.clone()).collect();
    let times: TimestampNanosecondArray = rows.iter().map(|row| row.time).collect();
    let columns: Vec<(&str, ArrayRef)> = vec![
        (
            "int",
            Arc::new(rows.iter().map(|row| row.int).collect::<Int64Array>()),
        ),
        (
            "float",
            Arc::new(rows.iter().map(|row| row.float).collect::<Float64Array>()),
        ),
        ("text", Arc::new(texts)),
        (
            "truth",
            Arc::new(rows.iter().map(|row| row.truth).collect::<BooleanArray>()),
        ),
        (
            "date",
            Arc::new(rows.iter().map(|row| row.date).collect::<Date32Array>()),
        ),
        ("time", Arc::new(times)),
        (
            "decimal",
            Arc::new(decimals.with_precision_and_scale(9, 2).unwrap()),
        ),
    ];
    RecordBatch::try_from_iter_with_nullable(columns.into_iter().map(|(n, c)| (n, c, true)))
        .unwrap()
}

fn predicates() -> impl Strategy<Value = Vec<Predicate>> {
    let literal = prop_oneof![
        (-5..5_i64).prop_map(|v| ("int", Literal::Int(v))),
        (-4..4_i32).prop_map(|v| ("float", Literal::Float(v.into()))),
        "[a-cä]{0,2}".prop_map(|v| ("text", Literal::Text(v))),
        Just(("text", Literal::Text("z".repeat(100)))),
        any::<bool>().prop_map(|v| ("truth", Literal::Bool(v))),
        (-4..4_i32).prop_map(|v| ("date", Literal::Date(v))),
        (-4..4_i64).prop_map(|v| ("time", Literal::Timestamp(v))),
        (-4..4_i64).prop_map(|v| ("decimal", Literal::Int(v))),
        // Of another kind than the column: nothing can be told.
        (-4..4_i64).prop_map(|v| ("text", Literal::Int(v))),
    ];
    let op = prop::sample::select(vec![
        Comparison::Eq,
        Comparison::NotEq,
        Comparison::Lt,
        Comparison::LtEq,
        Comparison::Gt,
        Comparison::GtEq,
    ]);
    let names = prop::sample::select(vec![
        "int", "float", "text", "truth", "date", "time", "decimal", "nowhere",
    ]);
    let one = prop_oneof![
        4 => (literal.clone(), op).prop_map(|((column, value), op)| Predicate::Compare {
            column: column.to_owned(), op, value,
        }),
        1 => prop::collection::vec(literal, 0..3).prop_map(|values| Predicate::In {
            column: values.first().map_or("int", |(column, _)| *column).to_owned(),
            values: values.into_iter().map(|(_, value)| value).collect(),
        }),
        1 => names.clone().prop_map(|name| Predicate::IsNull(name.to_owned())),
        1 => names.prop_map(|name| Predicate::IsNotNull(name.to_owned())),
    ];
    prop::collection::vec(one, 0..3)
}

/// How a value compares, as Arrow's kernels do; `None` for NULL and for what can't be compared.
fn ordering(column: &ArrayRef, row: usize, literal: &Literal) -> Option<std::cmp::Ordering> {
    use arrow_schema::DataType as T;
    if column.is_null(row) {
        return None;
    }
    Some(match (column.data_type(), literal) {
        (T::Int64, Literal::Int(v)) => column.as_primitive::<Int64Type>().value(row).cmp(v),
        (T::Float64, Literal::Float(v)) => {
            column.as_primitive::<Float64Type>().value(row).total_cmp(v)
        }
        (T::Utf8, Literal::Text(v)) => column.as_string::<i32>().value(row).cmp(v),
        (T::Boolean, Literal::Bool(v)) => column.as_boolean().value(row).cmp(v),
        (T::Date32, Literal::Date(v)) => column.as_primitive::<Date32Type>().value(row).cmp(v),
        (T::Timestamp(..), Literal::Timestamp(v)) => {
            let times = column.as_any().downcast_ref::<TimestampNanosecondArray>();
            times.unwrap().value(row).cmp(&(v * 1000))
        }
        (T::Decimal128(..), Literal::Int(v)) => {
            let value = column.as_primitive::<Decimal128Type>().value(row);
            value.cmp(&(i128::from(*v) * 100))
        }
        _ => return None,
    })
}

fn fulfils(batch: &RecordBatch, row: usize, predicate: &Predicate) -> bool {
    use std::cmp::Ordering as O;
    let of = |name: &str| batch.column_by_name(name);
    match predicate {
        Predicate::IsNull(name) => of(name).is_none_or(|column| column.is_null(row)),
        Predicate::IsNotNull(name) => of(name).is_some_and(|column| column.is_valid(row)),
        Predicate::In { column, values } => values
            .iter()
            .any(|value| ordering(of(column).unwrap(), row, value) == Some(O::Equal)),
        Predicate::Compare { column, op, value } => {
            let Some(ordering) = ordering(of(column).unwrap(), row, value) else {
                return false;
            };
            match op {
                Comparison::Eq => ordering == O::Equal,
                Comparison::NotEq => ordering != O::Equal,
                Comparison::Lt => ordering == O::Less,
                Comparison::LtEq => ordering != O::Greater,
                Comparison::Gt => ordering == O::Greater,
                Comparison::GtEq => ordering != O::Less,
            }
        }
        _ => true,
    }
}

fn matching(batches: &[RecordBatch], predicates: &[Predicate]) -> Vec<String> {
    let mut rows = Vec::new();
    for batch in batches {
        for row in 0..batch.num_rows() {
            if predicates
                .iter()
                .all(|predicate| fulfils(batch, row, predicate))
            {
                rows.push(format!("{:?}", batch.slice(row, 1).columns()));
            }
        }
    }
    rows
}

async fn scanned(bytes: Vec<u8>, predicates: &[Predicate]) -> Vec<RecordBatch> {
    let dir = tempfile::tempdir().unwrap();
    write(dir.path(), "a.parquet", bytes);
    let source = source(dir.path(), json!({ "url": "a.parquet" }))
        .await
        .unwrap();
    let scan = Scan {
        predicates: predicates.to_vec(),
        ..Scan::all("rows")
    };
    let mut batches = Vec::new();
    for split in plan(&source, None, true).await.unwrap().new {
        for (decoded, _) in read(&source, &split, &scan, None).await.unwrap() {
            batches.extend(decoded.batches);
        }
    }
    batches
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(256))]
    #[test]
    fn rows_that_match_are_the_same_with_pruning(
        rows in rows(),
        group in 1..30_usize,
        page in 1..8_usize,
        predicates in predicates(),
    ) {
        let whole = table(&rows);
        let properties = WriterProperties::builder()
            .set_max_row_group_row_count(Some(group))
            .set_statistics_truncate_length(Some(4))
            .set_column_index_truncate_length(Some(4))
            .set_data_page_row_count_limit(page)
            .set_write_batch_size(1)
            .build();
        let mut writer =
            ArrowWriter::try_new(Vec::new(), whole.schema(), Some(properties)).unwrap();
        writer.write(&whole).unwrap();
        let bytes = writer.into_inner().unwrap();
        let runtime = tokio::runtime::Builder::new_current_thread().build().unwrap();
        let pruned = runtime.block_on(scanned(bytes, &predicates));
        prop_assert_eq!(matching(&pruned, &predicates), matching(&[whole], &predicates));
    }
}

#[tokio::test]
async fn row_groups_without_wanted_rows_are_not_fetched() {
    let properties = WriterProperties::builder().set_max_row_group_row_count(Some(10));
    tens_are_left_out(properties.build()).await;
}

#[tokio::test]
async fn pages_without_wanted_rows_are_not_decoded() {
    let properties = WriterProperties::builder()
        .set_data_page_row_count_limit(10)
        .set_write_batch_size(10);
    tens_are_left_out(properties.build()).await;
}

#[tokio::test]
async fn a_row_that_is_rejected_is_told_by_its_number_also_behind_pages_that_are_left_out() {
    let ids: ArrayRef = Arc::new((0..100).collect::<Int64Array>());
    let large = (0..100).map(|n| if n == 47 { 1 << 40 } else { n });
    let large: ArrayRef = Arc::new(large.collect::<Int64Array>());
    let whole = RecordBatch::try_from_iter([("id", ids), ("n", large)]).unwrap();
    let properties = WriterProperties::builder()
        .set_data_page_row_count_limit(10)
        .set_write_batch_size(10)
        .build();
    let mut writer = ArrowWriter::try_new(Vec::new(), whole.schema(), Some(properties)).unwrap();
    writer.write(&whole).unwrap();
    let dir = tempfile::tempdir().unwrap();
    write(dir.path(), "a.parquet", writer.into_inner().unwrap());
    let schema = json!([{"name": "id", "type": "int64"}, {"name": "n", "type": "int32"}]);
    let config = json!({ "url": "a.parquet", "schema": schema });
    let source = source(dir.path(), config).await.unwrap();
    let among = |value| Literal::Int(value);
    let scan = Scan {
        predicates: vec![Predicate::In {
            column: "id".into(),
            values: vec![among(3), among(43), among(44)],
        }],
        ..Scan::all("rows")
    };
    let split = plan(&source, None, true).await.unwrap().new.remove(0);
    let (mut rows, mut rejected) = (0, Vec::new());
    for (decoded, _) in read(&source, &split, &scan, None).await.unwrap() {
        rows += decoded
            .batches
            .iter()
            .map(RecordBatch::num_rows)
            .sum::<usize>();
        rejected.extend(
            decoded
                .rejected
                .rows
                .into_iter()
                .map(|row| row.origin.offset),
        );
    }
    assert_eq!((rows, rejected), (19, vec![Some(47)]));
}

/// Of a hundred rows that come in tens.
async fn tens_are_left_out(properties: WriterProperties) {
    let whole = batch(0..100);
    let mut writer = ArrowWriter::try_new(Vec::new(), whole.schema(), Some(properties)).unwrap();
    writer.write(&whole).unwrap();
    let bytes = writer.into_inner().unwrap();
    let rows = |predicate| {
        let bytes = bytes.clone();
        async move {
            let batches = scanned(bytes, &[predicate]).await;
            batches.iter().map(RecordBatch::num_rows).sum::<usize>()
        }
    };
    let compare = |op, value| Predicate::Compare {
        column: "id".into(),
        op,
        value: Literal::Int(value),
    };
    assert_eq!(rows(compare(Comparison::Eq, 42)).await, 10);
    assert_eq!(rows(compare(Comparison::Lt, 20)).await, 20);
    assert_eq!(rows(compare(Comparison::GtEq, 95)).await, 10);
    assert_eq!(rows(compare(Comparison::Gt, 99)).await, 0);
    assert_eq!(rows(Predicate::IsNull("id".into())).await, 0);
    let values = vec![Literal::Int(5), Literal::Int(95)];
    let column = "id".to_owned();
    assert_eq!(rows(Predicate::In { column, values }).await, 20);
}
