//! The local catalog keeps the contract, and its file.

#![allow(clippy::unwrap_used, clippy::expect_used, reason = "a test may panic")]

use std::path::Path;
use std::process::Command;
use std::sync::Arc;

use arrow_schema::{DataType, Field, IntervalUnit, Schema, TimeUnit};
use tidegate_core::{
    Catalog, CatalogConfig, CatalogTable, ErrorKind, Result, TableFormat, TableName,
};
use tidegate_local_catalog::LocalConfig;
use tidegate_testkit::suites::{TestContext, catalog_suite, context};

fn at(path: impl AsRef<Path>) -> LocalConfig {
    LocalConfig {
        path: Some(path.as_ref().to_owned()),
    }
}

async fn open(cx: &TestContext) -> Result<Arc<dyn Catalog>> {
    at("lake/catalog.db").open(&cx.common()).await
}

fn table(columns: Vec<Field>) -> CatalogTable {
    CatalogTable {
        name: TableName::new("Shop", "Sales 2024"),
        location: "/lake/sales".into(),
        format: TableFormat::Parquet,
        columns: Arc::new(Schema::new(columns)),
        partition_keys: vec![Arc::new(Field::new("Day", DataType::Date32, true))],
        properties: [("comment".to_owned(), "all of them".to_owned())].into(),
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn it_keeps_the_contract() {
    catalog_suite(|cx| async move { at("catalog.db").open(&cx).await })
        .refuses("an empty path", ErrorKind::Config, || async {
            at("").validate()
        })
        .refuses(
            "a directory that can't be made",
            ErrorKind::Internal,
            || async {
                at("/dev/null/x/catalog.db")
                    .open(&context().common())
                    .await
                    .map(drop)
            },
        )
        .check()
        .await;
}

#[tokio::test]
async fn names_types_and_properties_stay_as_they_are() {
    let cx = context();
    let metadata = [("unit".to_owned(), "EUR".to_owned())].into();
    let told = table(vec![
        Field::new("Amount (€)", DataType::Decimal256(50, 4), true).with_metadata(metadata),
        Field::new(
            "at",
            DataType::Timestamp(TimeUnit::Nanosecond, Some("Asia/Tokyo".into())),
            true,
        ),
        Field::new("took", DataType::Interval(IntervalUnit::MonthDayNano), true),
        Field::new("n", DataType::UInt64, true),
        Field::new(
            "kind",
            DataType::Dictionary(Box::new(DataType::Int8), Box::new(DataType::Utf8)),
            true,
        ),
    ]);
    open(&cx).await.unwrap().merge(&told).await.unwrap();
    let found = open(&cx).await.unwrap().table(&told.name).await.unwrap();
    assert_eq!(found, Some(told));
}

#[tokio::test]
async fn a_relative_path_is_relative_to_the_pipeline_file() {
    let cx = context();
    open(&cx).await.unwrap();
    assert!(cx.path("lake/catalog.db").exists());
}

#[tokio::test]
async fn another_version_is_refused_and_left_alone() {
    let cx = context();
    open(&cx).await.unwrap();
    let file = cx.path("lake/catalog.db");
    let connection = rusqlite::Connection::open(&file).unwrap();
    connection.pragma_update(None, "user_version", 99).unwrap();
    let error = open(&cx).await.expect_err("another version");
    assert_eq!(error.kind(), ErrorKind::Conflict);
    assert!(error.to_string().contains("layout: 99"), "{error}");
    assert!(error.hint_text().is_some());
}

#[tokio::test]
async fn a_file_that_is_no_catalog_is_refused_and_left_alone() {
    let cx = context();
    let other = cx.path("state.db");
    let connection = rusqlite::Connection::open(&other).unwrap();
    connection
        .execute_batch("CREATE TABLE pipeline (name TEXT)")
        .unwrap();
    drop(connection);
    let text = cx.path("notes.txt");
    std::fs::write(
        &text,
        "these are notes, and no database at all. ".repeat(20),
    )
    .unwrap();
    for file in [other, text] {
        let before = std::fs::read(&file).unwrap();
        let error = at(&file).open(&cx.common()).await.expect_err("no catalog");
        assert_eq!(error.kind(), ErrorKind::Config, "{error:?}");
        assert!(error.hint_text().is_some());
        assert_eq!(std::fs::read(&file).unwrap(), before);
    }
}

#[tokio::test]
async fn a_damaged_entry_is_an_error() {
    let cx = context();
    let catalog = open(&cx).await.unwrap();
    let table = table(vec![Field::new("a", DataType::Utf8, true)]);
    catalog.merge(&table).await.unwrap();
    let connection = rusqlite::Connection::open(cx.path("lake/catalog.db")).unwrap();
    connection
        .execute("UPDATE catalog_table SET definition = '{}'", [])
        .unwrap();
    let error = catalog.table(&table.name).await.expect_err("damaged");
    assert_eq!(error.kind(), ErrorKind::Conflict);
    assert!(error.to_string().contains("catalog.db"), "{error}");
}

#[tokio::test(flavor = "multi_thread")]
async fn many_may_make_one_file_at_once() {
    for _ in 0..30 {
        let cx = context();
        let file = cx.path("new/catalog.db");
        let opened = (0..8).map(|_| {
            let (file, cx) = (file.clone(), cx.common().clone());
            tokio::spawn(async move { at(&file).open(&cx).await.map(drop) })
        });
        for opened in opened.collect::<Vec<_>>() {
            opened.await.unwrap().unwrap();
        }
    }
}

/// What the processes below do, when this test binary is run as one of them.
#[tokio::test]
async fn one_of_several_processes() {
    let Ok(writer) = std::env::var("TIDEGATE_TEST_WRITER") else {
        return;
    };
    let file = std::env::var("TIDEGATE_TEST_CATALOG").unwrap();
    for round in 0..20 {
        let catalog = at(&file).open(&context().common()).await.unwrap();
        let column = Field::new(format!("w{writer}_{round}"), DataType::Int64, true);
        catalog.merge(&table(vec![column])).await.unwrap();
    }
}

#[tokio::test]
async fn several_processes_lose_nothing_of_each_other() {
    let cx = context();
    let file = cx.path("catalog.db");
    let processes: Vec<_> = (0..4)
        .map(|writer| {
            Command::new(std::env::current_exe().unwrap())
                .args(["one_of_several_processes", "--exact"])
                .env("TIDEGATE_TEST_WRITER", writer.to_string())
                .env("TIDEGATE_TEST_CATALOG", &file)
                .spawn()
                .unwrap()
        })
        .collect();
    for mut process in processes {
        assert!(process.wait().unwrap().success());
    }
    let catalog = at(&file).open(&cx.common()).await.unwrap();
    let table = catalog.table(&table(vec![]).name).await.unwrap().unwrap();
    assert_eq!(table.columns.fields().len(), 80);
}
