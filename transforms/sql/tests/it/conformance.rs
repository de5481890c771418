//! Queries of both kinds keep the contract.

use std::sync::Arc;

use arrow_array::{ArrayRef, Float64Array, Int64Array, RecordBatch, StringArray};
use serde_json::json;
use tidegate_core::{ErrorKind, Registry, Result, Transform, TransformContext};
use tidegate_testkit::suites::{TransformSuite, context, transform_suite};
use tidegate_transform_sql as _;

async fn open(query: &str, cx: TransformContext) -> Result<Transform> {
    let config = Registry::linked()?.transform("sql", json!({ "query": query }))?;
    config.validate()?;
    config.open(&cx).await
}

fn suite(query: &'static str) -> TransformSuite {
    transform_suite(move |cx| open(query, cx))
        .input(
            "shop.sales",
            vec![sales(0..40), sales(40..55), sales(55..55)],
        )
        .refuses("no such column", ErrorKind::Config, || async {
            let cx = context().transform(vec![tidegate_core::Input {
                name: "shop.sales".into(),
                schema: sales(0..1).schema(),
            }]);
            open("SELECT nothing FROM sales", cx).await.map(drop)
        })
}

fn sales(ids: std::ops::Range<i64>) -> RecordBatch {
    let stores: StringArray = ids
        .clone()
        .map(|id| (id % 5 != 0).then(|| format!("s{}", id % 3)))
        .collect();
    let amounts: Float64Array = ids
        .clone()
        .map(|id| f64::from(i32::try_from(id).unwrap()))
        .collect();
    let ids: ArrayRef = Arc::new(Int64Array::from_iter_values(ids));
    RecordBatch::try_from_iter_with_nullable([
        ("id", ids, false),
        ("store", Arc::new(stores) as _, true),
        ("amount", Arc::new(amounts) as _, true),
    ])
    .unwrap()
}

fn stores() -> RecordBatch {
    let names: ArrayRef = Arc::new(StringArray::from(vec!["s0", "s1", "s2"]));
    let cities: ArrayRef = Arc::new(StringArray::from(vec![Some("Oslo"), None, Some("Rome")]));
    RecordBatch::try_from_iter_with_nullable([("name", names, false), ("city", cities, true)])
        .unwrap()
}

#[tokio::test(flavor = "multi_thread")]
async fn a_filter_and_a_projection() {
    suite("SELECT id, upper(store) AS store, 100 / (id - 7) AS share FROM sales WHERE amount > 3")
        .check()
        .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn an_aggregate() {
    suite("SELECT store, count(*) AS n, sum(amount) AS amount FROM sales GROUP BY store")
        .check()
        .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_join() {
    suite("SELECT s.id, t.city FROM sales s LEFT JOIN stores t ON t.name = s.store WHERE s.id > 9")
        .input("stores", vec![stores()])
        .check()
        .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn the_first_rows() {
    suite("SELECT id, amount FROM sales ORDER BY id DESC LIMIT 5")
        .check()
        .await;
}
