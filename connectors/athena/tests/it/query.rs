//! Running SQL, as `tidegate query --engine athena` does.

use std::time::Duration;

use arrow_array::RecordBatch;
use arrow_array::cast::AsArray;
use arrow_array::types::{
    Decimal128Type, Int32Type, Time64MicrosecondType, TimestampMicrosecondType,
};
use arrow_cast::pretty::pretty_format_batches;
use futures::TryStreamExt;
use serde_json::json;
use tidegate_athena::{Athena, AthenaResult, AthenaSettings};
use tidegate_core::{Cancel, ErrorKind};
use tidegate_testkit::suites::context;

use crate::fake::Server;

/// Keys for a server that doesn't look at them.
pub(crate) fn aws(server: &Server) -> serde_json::Value {
    // The key may be anything, and this file is always there.
    let secret = json!({ "file": concat!(env!("CARGO_MANIFEST_DIR"), "/Cargo.toml") });
    json!({
        "region": "us-east-1",
        "endpoint_url": server.url,
        "credentials": { "access_key_id": "test", "secret_access_key": secret },
    })
}

async fn open(server: &Server, settings: AthenaSettings) -> Athena {
    let cx = context().settings("aws", aws(server));
    let cx = cx.settings("athena", json!({ "output": "s3://results/athena" }));
    let settings = AthenaSettings::of(&cx.common(), settings).unwrap();
    Athena::open(&cx.common(), settings).await.unwrap()
}

async fn run(athena: &Athena, sql: &str) -> AthenaResult {
    athena.run(sql, &Cancel::never()).await.unwrap().unwrap()
}

async fn batches(result: AthenaResult) -> Vec<RecordBatch> {
    result.batches.try_collect().await.unwrap()
}

#[tokio::test]
async fn every_type_comes_as_its_arrow_type() {
    let server = Server::start(
        &[
            ("b", "boolean"),
            ("i", "integer"),
            ("l", "bigint"),
            ("f", "float"),
            ("d", "double"),
            ("dec", "decimal"),
            ("v", "varchar"),
            ("day", "date"),
            ("t", "time"),
            ("ts", "timestamp"),
            ("tz", "timestamp with time zone"),
            ("bin", "varbinary"),
            ("j", "json"),
            ("a", "array"),
        ],
        &[
            &[
                Some("true"),
                Some("-7"),
                Some("9223372036854775807"),
                Some("1.5"),
                Some("1.0E10"),
                Some("12.30"),
                Some("Ünïcode, \"quoted\"\nline"),
                Some("2024-02-29"),
                Some("01:02:03.456"),
                Some("2024-02-29 12:34:56.789"),
                Some("2001-08-22 03:04:05.321 America/Los_Angeles"),
                Some("00 ff 1a"),
                Some("{\"a\":1}"),
                Some("[1, 2]"),
            ],
            &[None; 14],
        ],
    )
    .await;
    let athena = open(&server, AthenaSettings::default()).await;
    let result = run(&athena, "SELECT * FROM everything").await;
    let batches = batches(result).await;
    let [batch] = batches.as_slice() else {
        panic!("one page");
    };
    assert_eq!(batch.num_rows(), 2);
    assert!(
        batch
            .columns()
            .iter()
            .all(|column| column.null_count() == 1)
    );
    assert!(batch.column(0).as_boolean().value(0));
    assert_eq!(batch.column(1).as_primitive::<Int32Type>().value(0), -7);
    assert_eq!(
        batch
            .column(5)
            .as_primitive::<Decimal128Type>()
            .value_as_string(0),
        "12.30"
    );
    let time = batch.column(8).as_primitive::<Time64MicrosecondType>();
    assert_eq!(time.value(0), 3_723_456_000);
    let zoned = batch.column(10).as_primitive::<TimestampMicrosecondType>();
    let utc = zoned.value_as_datetime(0).unwrap().to_string();
    assert_eq!(utc, "2001-08-22 10:04:05.321");
    assert_eq!(batch.column(11).as_binary::<i32>().value(0), [0, 255, 26]);
    let text = pretty_format_batches(&batches).unwrap().to_string();
    for part in ["Ünïcode", "2024-02-29T12:34:56.789", "{\"a\":1}", "[1, 2]"] {
        assert!(text.contains(part), "{text}");
    }
}

#[tokio::test]
async fn what_is_set_is_sent_and_what_it_took_is_told() {
    let server = Server::start(&[("a", "integer")], &[&[Some("1")]]).await;
    let settings = AthenaSettings {
        workgroup: Some("analysts".to_owned()),
        database: Some("shop".to_owned()),
        catalog: Some("AwsDataCatalog".to_owned()),
        reuse: Some("60m".parse().unwrap()),
        ..AthenaSettings::default()
    };
    let athena = open(&server, settings).await;
    let result = run(&athena, "SELECT 1 AS a; -- done").await;
    let [start] = <[_; 1]>::try_from(server.starts()).unwrap();
    assert_eq!(start["QueryString"], "SELECT 1 AS a");
    assert_eq!(start["WorkGroup"], "analysts");
    let place = json!({ "Database": "shop", "Catalog": "AwsDataCatalog" });
    assert_eq!(start["QueryExecutionContext"], place);
    assert_eq!(
        start["ResultConfiguration"]["OutputLocation"],
        "s3://results/athena/"
    );
    let reuse =
        json!({ "ResultReuseByAgeConfiguration": { "Enabled": true, "MaxAgeInMinutes": 60 } });
    assert_eq!(start["ResultReuseConfiguration"], reuse);
    let took = result.statistics;
    assert_eq!(took.bytes_scanned, 12_345_678);
    assert_eq!(took.billed_bytes(), 12 << 20);
    assert_eq!(took.queued, Duration::from_millis(50));
    assert_eq!(took.executing, Duration::from_millis(900));
    assert!(took.reused);
    assert_eq!(result.execution_id, "execution-0");
}

#[tokio::test]
async fn without_reuse_none_is_asked_for() {
    let server = Server::start(&[("a", "integer")], &[&[Some("1")]]).await;
    let athena = open(&server, AthenaSettings::default()).await;
    for _ in 0..2 {
        run(&athena, "SELECT 1 AS a").await;
    }
    let starts = server.starts();
    assert!(starts[0].get("ResultReuseConfiguration").is_none());
    assert_ne!(
        starts[0]["ClientRequestToken"],
        starts[1]["ClientRequestToken"]
    );
}

#[tokio::test]
async fn pages_are_read_to_the_last_and_only_the_first_has_names() {
    // A row that looks like the names stands where a page begins.
    let rows: Vec<Vec<Option<&str>>> = (0..2_500).map(|_| vec![Some("a")]).collect();
    let rows: Vec<&[Option<&str>]> = rows.iter().map(Vec::as_slice).collect();
    let server = Server::start(&[("a", "varchar")], &rows).await;
    let athena = open(&server, AthenaSettings::default()).await;
    let batches = batches(run(&athena, "SELECT a FROM t").await).await;
    let sizes: Vec<_> = batches.iter().map(RecordBatch::num_rows).collect();
    assert_eq!(sizes, [999, 1_000, 501]);
}

#[tokio::test]
async fn show_and_describe_have_no_names_to_leave_away() {
    let server = Server::start(&[("tab_name", "string")], &[&[Some("tab_name")]]).await;
    server.now().statement_type = "UTILITY";
    let athena = open(&server, AthenaSettings::default()).await;
    let batches = batches(run(&athena, "SHOW TABLES").await).await;
    assert_eq!(batches[0].num_rows(), 1, "a table of that name");
}

#[tokio::test]
async fn a_value_that_cant_be_held_ends_the_rows() {
    let server = Server::start(&[("a", "tinyint")], &[&[Some("1")], &[Some("1000")]]).await;
    let athena = open(&server, AthenaSettings::default()).await;
    let result = run(&athena, "SELECT a FROM t").await;
    let error = result.batches.try_collect::<Vec<_>>().await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Data);
    let text = error.to_string();
    assert!(
        text.contains("`1000` is not a tinyint") && text.contains("row: 2"),
        "{text}"
    );
}

#[tokio::test]
async fn a_failure_is_told_with_athenas_words() {
    let server = Server::start(&[("a", "integer")], &[]).await;
    server.now().failure = Some(json!({
        "State": "FAILED",
        "StateChangeReason": "SYNTAX_ERROR: line 2:8: Column 'x' cannot be resolved",
        "AthenaError": { "ErrorCategory": 2, "ErrorType": 1006, "Retryable": false },
    }));
    let athena = open(&server, AthenaSettings::default()).await;
    let error = athena
        .run("SELECT 1,\n       x", &Cancel::never())
        .await
        .unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Config);
    let text = error.to_string();
    for part in [
        "Column 'x' cannot be resolved",
        "execution-0",
        "line: 2",
        "column: 8",
    ] {
        assert!(text.contains(part), "{text}");
    }
    server.now().failure = Some(json!({
        "State": "FAILED",
        "StateChangeReason": "GENERIC_INTERNAL_ERROR: out of luck",
        "AthenaError": { "ErrorCategory": 1, "ErrorType": 200, "Retryable": true },
    }));
    let error = athena.run("SELECT 1", &Cancel::never()).await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Transient);
    server.now().refusal = Some("No output location provided. An output location is required");
    let error = athena.run("SELECT 1", &Cancel::never()).await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Config);
    assert!(error.hint_text().unwrap().contains("output ="), "{error:?}");
}

#[tokio::test]
async fn a_cancelled_query_is_stopped_before_run_returns() {
    let server = Server::start(&[("a", "integer")], &[]).await;
    server.now().patience = u32::MAX;
    let athena = open(&server, AthenaSettings::default()).await;
    let (canceller, cancel) = Cancel::new();
    let waiting = athena.run("SELECT 1", &cancel);
    let cancelling = async {
        while server.asked("GetQueryExecution").is_empty() {
            tokio::task::yield_now().await;
        }
        drop(canceller);
    };
    let both = async { tokio::join!(waiting, cancelling) };
    let (result, ()) = tokio::time::timeout(Duration::from_secs(30), both)
        .await
        .unwrap();
    assert!(result.unwrap().is_none());
    assert_eq!(server.asked("StopQueryExecution").len(), 1);
}

#[tokio::test]
async fn a_query_that_nobody_waits_for_is_stopped() {
    let server = Server::start(&[("a", "integer")], &[]).await;
    server.now().patience = u32::MAX;
    let athena = open(&server, AthenaSettings::default()).await;
    let never = Cancel::never();
    // Dropped while it runs, and while its start is still under way.
    for started in [true, false] {
        let before = server.asked("StopQueryExecution").len();
        {
            let mut waiting = Box::pin(athena.run("SELECT 1", &never));
            let until = async {
                let polls = server.asked("GetQueryExecution").len();
                while started && server.asked("GetQueryExecution").len() == polls {
                    tokio::task::yield_now().await;
                }
            };
            tokio::select! {
                biased;
                result = &mut waiting => panic!("it has ended: {result:?}"),
                () = until => {}
            }
        }
        athena.close().await;
        assert_eq!(server.asked("StopQueryExecution").len(), before + 1);
    }
}

#[tokio::test]
async fn a_query_that_someone_else_stops_is_a_conflict() {
    let server = Server::start(&[("a", "integer")], &[]).await;
    server.now().failure = Some(json!({ "State": "CANCELLED" }));
    let athena = open(&server, AthenaSettings::default()).await;
    let error = athena.run("SELECT 1", &Cancel::never()).await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Conflict);
    athena.close().await;
    assert!(server.asked("StopQueryExecution").is_empty());
}
