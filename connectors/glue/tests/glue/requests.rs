use arrow_schema::DataType;
use axum::http::StatusCode;
use serde_json::json;
use tidegate_core::{Comparison, ErrorKind, Literal, Predicate, TablePartition};

use crate::strict::strict;
use crate::tables::table;

fn error(code: &str) -> serde_json::Value {
    json!({ "__type": code, "Message": "as Glue says" })
}

fn partitions(count: usize) -> Vec<TablePartition> {
    (0..count)
        .map(|number| TablePartition {
            values: vec![Some(format!("{number:04}"))],
            location: format!("s3://lake/sales/k={number:04}"),
        })
        .collect()
}

#[tokio::test]
async fn errors_within_a_good_answer_are_seen_and_a_replay_makes_them_good() {
    let strict = strict().await;
    let catalog = strict.open().await;
    let table = table(&[("a", DataType::Int64)], &["k"]);
    catalog.merge(&table).await.unwrap();
    let mut once = Some(());
    strict.meddle(move |operation, input| {
        let first = operation == "BatchCreatePartition" && once.take().is_some();
        first.then(|| {
            let detail = json!({ "ErrorCode": "InternalServiceException", "ErrorMessage": "busy" });
            let values = &input["PartitionInputList"][0]["Values"];
            let errors = json!([{ "PartitionValues": values, "ErrorDetail": detail }]);
            (StatusCode::OK, json!({ "Errors": errors }))
        })
    });
    let told = partitions(250);
    let failed = catalog
        .add_partitions(&table.name, &told)
        .await
        .expect_err("a failure");
    assert_eq!(failed.kind(), ErrorKind::Transient, "{failed:?}");
    assert!(failed.to_string().contains("shop.sales"), "{failed}");
    assert!(catalog.partitions(&table, &[]).await.unwrap().len() < 250);
    catalog.add_partitions(&table.name, &told).await.unwrap();
    assert_eq!(catalog.partitions(&table, &[]).await.unwrap(), told);
}

#[tokio::test]
async fn an_expression_that_glue_refuses_is_left_out() {
    let strict = strict().await;
    let catalog = strict.open().await;
    let table = table(&[("a", DataType::Int64)], &["k"]);
    catalog.merge(&table).await.unwrap();
    let told = partitions(3);
    catalog.add_partitions(&table.name, &told).await.unwrap();
    strict.meddle(|operation, input| {
        let refused = operation == "GetPartitions" && input["Expression"].is_string();
        refused.then(|| (StatusCode::BAD_REQUEST, error("InvalidInputException")))
    });
    let predicate = Predicate::Compare {
        column: "k".into(),
        op: Comparison::Eq,
        value: Literal::Text("0001".into()),
    };
    let found = catalog.partitions(&table, &[predicate]).await.unwrap();
    assert_eq!(found, told[1..2]);
    let asked = strict.seen("GetPartitions");
    assert_eq!(asked[0]["Expression"], "k = '0001'");
    assert_eq!(asked[0]["ExcludeColumnSchema"], true);
    assert!(asked[1]["Expression"].is_null());
}

#[tokio::test]
async fn what_glue_refuses_has_a_kind_and_the_tables_name() {
    let strict = strict().await;
    let catalog = strict.open().await;
    let table = table(&[("a", DataType::Int64)], &["k"]);
    for (code, kind) in [
        ("AccessDeniedException", ErrorKind::Auth),
        ("UnrecognizedClientException", ErrorKind::Auth),
        ("ExpiredTokenException", ErrorKind::Auth),
        ("ResourceNumberLimitExceededException", ErrorKind::Config),
    ] {
        strict.meddle(move |_, _| Some((StatusCode::BAD_REQUEST, error(code))));
        let failed = catalog.merge(&table).await.expect_err(code);
        assert_eq!(failed.kind(), kind, "{failed:?}");
        assert!(failed.hint_text().is_some(), "{failed:?}");
        assert!(failed.to_string().contains("shop.sales"), "{failed}");
    }
}

#[tokio::test]
async fn a_table_that_always_changes_is_given_up_for_now() {
    let strict = strict().await;
    let catalog = strict.open().await;
    catalog
        .merge(&table(&[("a", DataType::Int64)], &[]))
        .await
        .unwrap();
    strict.meddle(|operation, _| {
        let update = operation == "UpdateTable";
        update.then(|| {
            (
                StatusCode::BAD_REQUEST,
                error("ConcurrentModificationException"),
            )
        })
    });
    let wide = table(&[("b", DataType::Int64)], &[]);
    let failed = catalog.merge(&wide).await.expect_err("always changed");
    assert_eq!(failed.kind(), ErrorKind::Transient);
    // Each time what is there was read anew.
    assert_eq!(strict.seen("UpdateTable").len(), 12);
    assert!(strict.seen("GetTable").len() >= 12);
}

#[tokio::test]
async fn names_and_values_that_glue_does_not_take_are_refused() {
    let strict = strict().await;
    let catalog = strict.open().await;
    let mut odd = table(&[("a", DataType::Int64)], &["k"]);
    odd.name.table = "sales-2024".into();
    let failed = catalog.merge(&odd).await.expect_err("an odd name");
    assert_eq!(failed.kind(), ErrorKind::Config);
    assert_eq!(failed.hint_text(), Some("call it `sales_2024`"));
    let both = table(&[("k", DataType::Int64)], &["K"]);
    assert_eq!(
        catalog.merge(&both).await.expect_err("twice").kind(),
        ErrorKind::Schema
    );
    let table = table(&[("a", DataType::Int64)], &["k"]);
    catalog.merge(&table).await.unwrap();
    let mut long = partitions(1);
    long[0].values = vec![Some("x".repeat(1025))];
    let failed = catalog
        .add_partitions(&table.name, &long)
        .await
        .expect_err("too long");
    assert_eq!(failed.kind(), ErrorKind::Data);
    long[0].values = vec![Some("x".into()), Some("y".into())];
    let failed = catalog
        .add_partitions(&table.name, &long)
        .await
        .expect_err("too many");
    assert_eq!(failed.kind(), ErrorKind::Schema);
}
