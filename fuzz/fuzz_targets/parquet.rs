//! Parquet by the source `files`: all columns, then some rows of each of the first columns by the
//! statistics. What a predicate leaves out is no row more than there is.

#![no_main]

use arrow_schema::{DataType, Schema};
use serde_json::json;
use tidegate_core::{Comparison, Literal, Predicate, Scan};
use tidegate_files as _;
use tidegate_fuzz::{context, open, put, read, wait};

libfuzzer_sys::fuzz_target!(|data: &[u8]| {
    tidegate_fuzz::case(data, |data| wait(run(data)));
});

async fn run(data: &[u8]) {
    put("a.parquet", data).await.expect("a file in memory");
    let cx = context(json!({}));
    let config = json!({"url": "memory://fuzz/a.parquet", "piece_size": "1 KiB"});
    let Ok(source) = open(&cx, "files", config).await else {
        return;
    };
    let Some(stream) = source.streams().into_iter().next() else {
        return;
    };
    let all = Scan {
        places: true,
        ..Scan::all(stream.name.clone())
    };
    let seen = read(&*source, &[all], |decoded| {
        for batch in &decoded.batches {
            assert_eq!(batch.schema().fields().len(), stream.schema.fields().len());
        }
    })
    .await;
    let rows: usize = seen.rows.iter().sum();
    for predicate in predicates(&stream.schema) {
        let scan = Scan {
            columns: Some(vec![predicate.0]),
            predicates: vec![predicate.1],
            places: true,
            ..Scan::all(stream.name.clone())
        };
        let some = read(&*source, &[scan], |_| {}).await;
        let fewer = some.rows.iter().sum::<usize>() <= rows;
        assert!(fewer || seen.error.is_some(), "a predicate gives more rows");
    }
}

fn predicates(schema: &Schema) -> Vec<(String, Predicate)> {
    let of = |field: &arrow_schema::FieldRef| {
        let value = match field.data_type() {
            DataType::Boolean => Literal::Bool(true),
            DataType::Utf8 | DataType::Utf8View | DataType::LargeUtf8 => Literal::Text("m".into()),
            DataType::Float32 | DataType::Float64 => Literal::Float(0.5),
            DataType::Date32 => Literal::Date(10_000),
            DataType::Timestamp(..) => Literal::Timestamp(1_000_000_000_000_000),
            kind if kind.is_integer() => Literal::Int(5),
            _ => return None,
        };
        let predicate = Predicate::Compare {
            column: field.name().clone(),
            op: Comparison::Gt,
            value,
        };
        Some((field.name().clone(), predicate))
    };
    schema.fields().iter().filter_map(of).take(3).collect()
}
