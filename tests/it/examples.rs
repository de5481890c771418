//! The examples that are programs: they run, and their components keep the contract.

use std::collections::BTreeSet;
use std::path::Path;
use std::sync::Arc;

use arrow_array::RecordBatch;
use arrow_schema::{DataType, Field, Schema};
use tidegate::Status;
use tidegate::core::{Scan, SinkConfig, SourceConfig};
use tidegate_formats::{CsvOptions, Decoder, Format};
use tidegate_testkit::suites::{context, sink_suite, source_suite};
use tokio::sync::watch;

#[allow(dead_code, reason = "its `main` is the example's")]
#[path = "../../examples/custom_connector/main.rs"]
mod custom_connector;

#[allow(dead_code, reason = "its `main` is the example's")]
#[path = "../../examples/embedding.rs"]
mod embedding;

#[allow(dead_code, reason = "its `main` is the example's")]
#[path = "../../examples/service.rs"]
mod service;

/// The visible lines of a directory's files.
fn lines(directory: &Path) -> String {
    let entries = std::fs::read_dir(directory).into_iter().flatten().flatten();
    let visible = entries.filter(|entry| !entry.file_name().to_string_lossy().starts_with('.'));
    visible
        .map(|entry| std::fs::read_to_string(entry.path()).expect("a file"))
        .collect()
}

/// The same, as the rows that the sink suite writes.
fn rows(directory: &Path) -> tidegate::Result<Vec<RecordBatch>> {
    let schema = Arc::new(Schema::new(vec![
        Field::new("id", DataType::Int64, false),
        Field::new("name", DataType::Utf8, true),
        Field::new("amount", DataType::Float64, true),
    ]));
    let csv = CsvOptions::default();
    let decoder = Decoder::new(Format::Ndjson, &csv, schema, &Scan::all("rows"))?;
    let decoded = decoder.decode_all(lines(directory).into(), &"out".into())?;
    assert!(decoded.rejected.is_empty(), "{:?}", decoded.rejected);
    Ok(decoded.batches)
}

#[tokio::test(flavor = "multi_thread")]
async fn the_custom_source_keeps_the_contract() {
    let open = || async {
        custom_connector::PrimesConfig { below: 25_000 }
            .open(&context().source())
            .await
    };
    source_suite(open).rows("primes", 2762).check().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn the_custom_sink_keeps_the_contract() {
    let config = || custom_connector::sink::LinesConfig {
        url: "out".to_owned(),
    };
    sink_suite(
        move |cx| async move { config().open(&cx).await },
        |cx| async move { rows(&cx.base.join("out")) },
    )
    .check()
    .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn the_custom_connector_runs_in_a_pipeline() {
    let directory = tempfile::tempdir().expect("a temporary directory");
    let file =
        Path::new(env!("CARGO_MANIFEST_DIR")).join("examples/custom_connector/pipeline.toml");
    std::fs::copy(file, directory.path().join("pipeline.toml")).expect("the pipeline file");
    let report = custom_connector::run(directory.path())
        .await
        .expect("a run");
    assert_eq!(report.status, Status::Completed);
    assert_eq!(report.components[2].guarantee, Some("exactly_once"));
    let text = lines(&directory.path().join("out"));
    let primes: BTreeSet<_> = text.lines().collect();
    // 9592 primes are below 100000, and one of them is even.
    assert_eq!((text.lines().count(), primes.len()), (9591, 9591));
    assert!(
        primes.contains(r#"{"prime":99991,"last_digit":1}"#),
        "{text:.200}"
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn an_embedded_pipeline_is_stopped_with_a_last_commit() {
    let directory = tempfile::tempdir().expect("a temporary directory");
    let (hand, stop) = watch::channel(false);
    let out = directory.path().join("large");
    let stopping = tokio::spawn(async move {
        let deadline = tokio::time::Instant::now() + super::support::DEADLINE;
        while !std::fs::read_dir(&out)
            .into_iter()
            .flatten()
            .flatten()
            .any(|entry| {
                let name = entry.file_name();
                name.to_string_lossy().ends_with(".parquet")
                    && !name.to_string_lossy().starts_with('.')
            })
        {
            assert!(
                tokio::time::Instant::now() < deadline,
                "no epoch was committed"
            );
            tokio::time::sleep(std::time::Duration::from_millis(20)).await;
        }
        hand.send(true).expect("a running pipeline");
        hand
    });
    let report = embedding::run(directory.path(), stop).await.expect("a run");
    stopping.await.expect("a stop");
    assert_eq!(report.status, Status::Stopped);
    let [events, large, lake, seen] = &report.components[..] else {
        panic!("{report:?}")
    };
    assert!(report.epochs > 0 && events.rows_out > 0, "{report:?}");
    assert_eq!(large.rows_out, lake.rows_in);
    assert_eq!(large.rows_out, seen.rows_in);
}

/// The status that the service answers a body with.
fn posted(address: std::net::SocketAddr, body: &str) -> String {
    use std::io::{Read, Write};
    let mut connection = std::net::TcpStream::connect(address).expect("a connection");
    let request = format!(
        "POST /orders HTTP/1.1\r\nhost: x\r\ncontent-type: application/json\r\n\
         content-length: {}\r\nconnection: close\r\n\r\n{body}",
        body.len()
    );
    connection.write_all(request.as_bytes()).expect("a request");
    let mut answer = String::new();
    connection.read_to_string(&mut answer).expect("an answer");
    answer.lines().next().unwrap_or_default().to_owned()
}

#[tokio::test(flavor = "multi_thread")]
async fn a_service_answers_when_its_rows_are_in_the_lake() {
    let directory = tempfile::tempdir().expect("a temporary directory");
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0")
        .await
        .expect("a port");
    let address = listener.local_addr().expect("an address");
    let (hand, stop) = watch::channel(false);
    let path = directory.path().to_owned();
    let serving = tokio::spawn(async move {
        let report = service::run(&path, listener, stop).await;
        report.map_err(|error| error.to_string())
    });
    let lake = directory.path().join("lake");
    for id in 0..3 {
        let body = format!(r#"[{{"id":{id},"item":"bread","cents":250}}]"#);
        let answer = tokio::task::spawn_blocking(move || posted(address, &body));
        let answer = answer.await.expect("an answer");
        assert!(answer.contains("201"), "{answer}");
        let visible = std::fs::read_dir(&lake).expect("the lake").flatten();
        let visible = visible.filter(|file| {
            let name = file.file_name();
            name.to_string_lossy().ends_with(".parquet") && !name.to_string_lossy().starts_with('.')
        });
        assert_eq!(visible.count(), id + 1, "answered before the commit");
    }
    let answer = tokio::task::spawn_blocking(move || posted(address, r#"[{"id":"x"}]"#));
    assert!(answer.await.expect("an answer").contains("422"));
    hand.send(true).expect("somebody listens");
    let report = serving.await.expect("no panic").expect("a run");
    assert_eq!(report.status, Status::Completed);
    assert_eq!(report.components[1].rows_in, 3);
}
