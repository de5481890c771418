//! Queries that go batch by batch: what they give, and which rows they reject.

use std::sync::Arc;

use arrow_array::types::Int32Type;
use arrow_array::{
    ArrayRef, DictionaryArray, Int64Array, RecordBatch, StringArray, StringViewArray, StructArray,
};
use arrow_buffer::NullBuffer;
use arrow_schema::{DataType, Field};
use tidegate_core::{Mapped, Transform};

use crate::support::{Memory, batch, lines, open, ordered_lines, orders, run, users};

async fn map(query: &str, table: &Memory) -> Mapped {
    match open(query, std::slice::from_ref(table)).await.unwrap() {
        Transform::Map(map) => map.map(0, &table.batch()).unwrap(),
        other => panic!("{other:?}"),
    }
}

#[tokio::test]
async fn rows_keep_their_order_and_decimals_stay_exact() {
    let rows = run(
        "SELECT id, amount * 1.1 AS more FROM orders WHERE amount > 4.00 OR id = 4",
        &[orders()],
    )
    .await
    .unwrap();
    assert_eq!(
        ordered_lines(&rows),
        ["1,11.550", "2,22.000", "4,4.389", "5,135.795", "6,7.700"]
    );
}

#[tokio::test]
async fn a_row_that_cannot_be_computed_is_rejected_and_the_others_go_on() {
    let query = "SELECT id, CAST(qty AS INT) AS qty, 6 / CAST(qty AS INT) AS share FROM orders";
    let mapped = map(query, &orders()).await;
    assert_eq!(
        ordered_lines(&mapped.batches),
        ["1,1,6", "2,2,3", "4,3,2", "6,1,6"]
    );
    assert_eq!(mapped.batches.len(), 1, "the pieces are joined again");
    let rejected: Vec<_> = mapped
        .rejected
        .rows
        .iter()
        .map(|row| (row.row.as_str(), row.reason.as_str()))
        .collect();
    assert_eq!(
        rejected,
        [
            (
                r#"{"id":3,"userId":1,"amount":0.00,"qty":"0","day":"1970-01-02"}"#,
                "division by zero"
            ),
            (
                r#"{"id":5,"userId":2,"amount":123.45,"qty":"x","day":"1970-01-04"}"#,
                "cannot cast string 'x' to value of Int32 type"
            ),
        ]
    );
}

#[tokio::test]
async fn the_reason_names_the_type_that_was_asked_for() {
    let query = "SELECT CAST(qty AS DECIMAL(10,1)) AS qty FROM orders";
    let mapped = map(query, &orders()).await;
    assert_eq!(
        mapped.rejected.rows[0].reason,
        "cannot cast string 'x' to value of DECIMAL(10,1) type"
    );
}

#[tokio::test]
async fn overflowing_integers_are_rejected() {
    let table = Memory::new(
        "t",
        batch(vec![(
            "n",
            Arc::new(Int64Array::from(vec![1, i64::MAX, 3])) as _,
        )]),
    );
    let mapped = map("SELECT n + 1 AS next, n FROM t WHERE n * 2 > 0", &table).await;
    assert_eq!(ordered_lines(&mapped.batches), ["2,1", "4,3"]);
    assert_eq!(mapped.rejected.len(), 1);
    assert!(
        mapped.rejected.rows[0].reason.contains("verflow"),
        "{:?}",
        mapped.rejected
    );
}

#[tokio::test]
async fn one_bad_row_of_many_is_found() {
    let texts = (0..10_000).map(|i| {
        if i == 7_777 {
            "?".into()
        } else {
            i.to_string()
        }
    });
    let table = Memory::new(
        "t",
        batch(vec![(
            "n",
            Arc::new(StringArray::from_iter_values(texts)) as _,
        )]),
    );
    let mapped = map("SELECT CAST(n AS BIGINT) AS n FROM t", &table).await;
    assert_eq!(mapped.batches[0].num_rows(), 9_999);
    assert_eq!(mapped.rejected.rows[0].row, r#"{"n":"?"}"#);
}

#[tokio::test]
async fn columns_are_found_by_name_among_more_and_in_another_order() {
    let Transform::Map(map) = open("SELECT id, day FROM orders", &[orders()])
        .await
        .unwrap()
    else {
        panic!("not a map");
    };
    let shuffled = orders().batch().project(&[4, 2, 0]).unwrap();
    let mapped = map.map(0, &shuffled).unwrap();
    assert_eq!(ordered_lines(&mapped.batches)[0], "1,1970-01-01");
    let lacking = orders().batch().project(&[0]).unwrap();
    let error = map.map(0, &lacking).unwrap_err();
    assert_eq!(error.kind(), tidegate_core::ErrorKind::Schema);
}

#[tokio::test]
async fn the_time_is_that_of_the_batch() {
    let Transform::Map(map) = open("SELECT now() AS at FROM orders LIMIT ALL", &[orders()])
        .await
        .unwrap()
    else {
        panic!("not a map");
    };
    let first = map.map(0, &orders().batch()).unwrap();
    let second = map.map(0, &orders().batch()).unwrap();
    assert_ne!(first.batches, second.batches);
}

#[tokio::test]
async fn views_dictionaries_and_nulls_come_out_plain() {
    let dictionary: DictionaryArray<Int32Type> = ["a", "b"].into_iter().collect();
    let table = Memory::new(
        "t",
        batch(vec![
            (
                "view",
                Arc::new(StringViewArray::from(vec!["x", "y"])) as ArrayRef,
            ),
            ("code", Arc::new(dictionary) as ArrayRef),
        ]),
    );
    let rows = run(
        "SELECT view, code, NULL AS nothing, [view] AS list FROM t",
        &[table],
    )
    .await
    .unwrap();
    let types: Vec<_> = rows[0]
        .schema()
        .fields()
        .iter()
        .map(|field| field.data_type().clone())
        .collect();
    assert_eq!(types[..3], [DataType::Utf8, DataType::Utf8, DataType::Utf8]);
    assert!(matches!(&types[3], DataType::List(item) if *item.data_type() == DataType::Utf8));
    assert_eq!(lines(&rows), ["x,a,,[x]", "y,b,,[y]"]);
}

fn people() -> Memory {
    let city: ArrayRef = Arc::new(StringArray::from(vec!["Rome", "Oslo"]));
    let lat: ArrayRef = Arc::new(StringArray::from(vec!["41.9", "59.9"]));
    let geo =
        StructArray::from(RecordBatch::try_from_iter_with_nullable([("lat", lat, true)]).unwrap());
    let address = StructArray::from(
        RecordBatch::try_from_iter_with_nullable([
            ("city", city, true),
            ("geo", Arc::new(geo) as ArrayRef, true),
        ])
        .unwrap(),
    );
    Memory::new("people", batch(vec![("address", Arc::new(address) as _)]))
}

#[tokio::test]
async fn nested_fields_are_reached_by_brackets_and_dots() {
    let rows = run(
        "SELECT address['city'] AS city, address.geo.lat AS lat, p.address.city AS again \
         FROM people p",
        &[people()],
    )
    .await
    .unwrap();
    assert_eq!(ordered_lines(&rows), ["Rome,41.9,Rome", "Oslo,59.9,Oslo"]);
}

#[tokio::test]
async fn names_are_as_written_and_another_case_is_understood() {
    let rows = run(
        r#"SELECT userId, O.USERID + 1 AS Next, "userId" AS quoted FROM SHOP.Orders o WHERE ID = 1"#,
        &[orders()],
    )
    .await
    .unwrap();
    let names: Vec<_> = rows[0]
        .schema()
        .fields()
        .iter()
        .map(|f| f.name().clone())
        .collect();
    assert_eq!(names, ["userId", "Next", "quoted"]);
    assert_eq!(ordered_lines(&rows), ["1,2,1"]);
}

#[tokio::test]
async fn functions_of_all_kinds_are_there() {
    let rows = run(
        "SELECT round(sqrt(16.0), 1) AS math, date_trunc('month', day) AS month, \
         regexp_replace('a1', '[0-9]', '') AS regex, md5('x') AS hash, encode('x', 'hex') AS hex, \
         array_length([1, 2]) AS len, date_part('year', day) AS year, upper(qty) AS up, \
         initcap('ab') AS cap, to_timestamp('2020-01-01T00:00:00') AS at \
         FROM orders WHERE id = 5",
        &[orders()],
    )
    .await
    .unwrap();
    assert_eq!(
        ordered_lines(&rows),
        [
            "4.0,1970-01-01T00:00:00,a,9dd4e461268c8034f5c8564e155c67a6,78,2,1970,X,Ab,2020-01-01T00:00:00"
        ]
    );
}

#[tokio::test]
async fn constants_need_rows_but_no_columns() {
    let rows = run("SELECT 1 AS one FROM users", &[users()]).await.unwrap();
    assert_eq!(lines(&rows), ["1", "1"]);
}

#[tokio::test]
async fn a_field_of_nothing_is_null_even_if_it_must_be_there() {
    let inner: ArrayRef = Arc::new(Int64Array::from(vec![1, 2]));
    let field = Arc::new(Field::new("x", DataType::Int64, false));
    let nulls = NullBuffer::from(vec![true, false]);
    let outer = StructArray::new(vec![field].into(), vec![inner], Some(nulls));
    let table = Memory::new("t", batch(vec![("s", Arc::new(outer) as _)]));
    let rows = run("SELECT s.x AS x, s['x'] + 1 AS y FROM t", &[table])
        .await
        .unwrap();
    assert_eq!(ordered_lines(&rows), ["1,2", ","]);
}

#[tokio::test]
async fn numbers_with_a_point_are_decimals_until_they_meet_a_float() {
    let rows = run(
        "SELECT arrow_typeof(1.5) AS a, arrow_typeof(1.5e0) AS b, \
         arrow_typeof(CAST(id AS DOUBLE) * 1.5) AS c, arrow_typeof(id * 1.5) AS d FROM users WHERE id = 1",
        &[users()],
    )
    .await
    .unwrap();
    assert_eq!(
        ordered_lines(&rows),
        ["Decimal128(2, 1),Decimal128(2, 1),Float64,Decimal128(23, 1)"]
    );
}
