//! The source against both generations of json-server, and against servers that are broken.

#![allow(clippy::unwrap_used, reason = "helpers of tests")]

use std::collections::BTreeMap;
use std::num::NonZeroU32;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::{Duration, Instant};

use arrow_array::cast::AsArray;
use arrow_array::types::Int64Type;
use arrow_array::{Array, RecordBatch};
use arrow_json::LineDelimitedWriter;
use arrow_select::concat::concat_batches;
use axum::Router;
use axum::response::{AppendHeaders, IntoResponse};
use axum::routing::any;
use futures::StreamExt;
use serde_json::{Value, json};
use tidegate_core::{
    Ask, Error, ErrorKind, Event, Metrics, Result, Rows, Scan, Source, SourceConfig, Split,
    SplitData,
};
use tidegate_http::{HttpClient, HttpSettings, Url};
use tidegate_jsonplaceholder::{JsonPlaceholderConfig, Resource};
use tidegate_testkit::servers::{Server, json_server, jsonplaceholder, jsonplaceholder_data};
use tidegate_testkit::suites::{context, source_suite};

const COUNTS: [(&str, u64); 6] = [
    ("users", 10),
    ("posts", 100),
    ("comments", 500),
    ("albums", 100),
    ("photos", 5_000),
    ("todos", 200),
];

fn config(base_url: &str, streams: &[Resource], page_size: u32) -> JsonPlaceholderConfig {
    JsonPlaceholderConfig {
        base_url: base_url.to_owned(),
        streams: streams.to_vec(),
        page_size: NonZeroU32::new(page_size).unwrap(),
        raw: false,
    }
}

async fn open(config: &JsonPlaceholderConfig) -> Result<Arc<dyn Source>> {
    let impatient = json!({ "attempts": 2, "backoff": "1ms" });
    let cx = context().settings("http", impatient);
    config.validate()?;
    config.open(&cx.source()).await
}

async fn plan(source: &dyn Source, scans: &[Scan]) -> Result<Vec<Split>> {
    let ask = Ask {
        scans,
        state: None,
        finished: &[],
        first: true,
    };
    Ok(source.plan(&ask).await?.new)
}

/// All rows of a split, by stream; none may be rejected.
async fn read(
    source: &dyn Source,
    split: &Split,
    scans: &[Scan],
) -> Result<BTreeMap<String, Vec<RecordBatch>>> {
    let mut streams = BTreeMap::<String, Vec<RecordBatch>>::new();
    let mut events = source.read(split, scans, None).await?;
    while let Some(event) = events.next().await {
        let Event::Rows { stream, rows, .. } = event? else {
            // What comes after the last page is none.
            continue;
        };
        let batches = match rows {
            Rows::Batch(batch) => vec![batch],
            Rows::Encoded(encoded) => {
                let decoded = encoded.decode()?;
                assert!(decoded.rejected.is_empty(), "{:?}", decoded.rejected);
                decoded.batches
            }
        };
        streams
            .entry(stream.to_string())
            .or_default()
            .extend(batches);
    }
    Ok(streams)
}

/// All rows of all splits that `scans` lead to.
async fn read_all(source: &dyn Source, scans: &[Scan]) -> BTreeMap<String, RecordBatch> {
    let mut streams = BTreeMap::<String, Vec<RecordBatch>>::new();
    for split in plan(source, scans).await.unwrap() {
        for (stream, batches) in read(source, &split, scans).await.unwrap() {
            streams.entry(stream).or_default().extend(batches);
        }
    }
    let whole = |batches: Vec<RecordBatch>| concat_batches(&batches[0].schema(), &batches).unwrap();
    streams
        .into_iter()
        .map(|(stream, batches)| (stream, whole(batches)))
        .collect()
}

fn as_json(batch: &RecordBatch) -> Vec<Value> {
    let mut writer = LineDelimitedWriter::new(Vec::new());
    writer.write(batch).unwrap();
    let lines = writer.into_inner();
    let lines = lines
        .split(|byte| *byte == b'\n')
        .filter(|line| !line.is_empty());
    lines
        .map(|line| serde_json::from_slice(line).unwrap())
        .collect()
}

fn servers() -> [Server; 2] {
    [jsonplaceholder(), json_server()]
}

#[tokio::test]
async fn the_contract_is_kept_with_both_servers() {
    for server in servers() {
        let config = config(&server.url(), &Resource::ALL, 1_000);
        let mut suite = source_suite(move || {
            let config = config.clone();
            async move { open(&config).await }
        });
        for (stream, rows) in COUNTS {
            suite = suite.rows(stream, rows);
        }
        suite.check().await;
    }
}

#[tokio::test]
async fn every_row_and_every_field_arrives_as_it_stands_in_the_servers_data() {
    let data = std::fs::read(jsonplaceholder_data()).unwrap();
    let data: BTreeMap<String, Vec<Value>> = serde_json::from_slice(&data).unwrap();
    for server in servers() {
        let source = open(&config(&server.url(), &Resource::ALL, 100))
            .await
            .unwrap();
        let scans: Vec<_> = COUNTS.iter().map(|(name, _)| Scan::all(name)).collect();
        let streams = read_all(&*source, &scans).await;
        assert_eq!(streams.len(), 6);
        for (name, rows) in COUNTS {
            let given = as_json(&streams[name]);
            assert_eq!(u64::try_from(given.len()).unwrap(), rows, "{name}");
            assert!(given == data[name], "{name} differs, from {}", server.url());
        }
    }
}

#[tokio::test]
async fn pages_of_any_size_make_the_same_whole() {
    for server in servers() {
        for (size, pages) in [(1, 10), (3, 4), (5, 2), (10, 1), (11, 1)] {
            let source = open(&config(&server.url(), &[Resource::Users], size))
                .await
                .unwrap();
            let scans = [Scan::all("users")];
            let splits = plan(&*source, &scans).await.unwrap();
            assert_eq!(splits.len(), pages);
            let told: u64 = splits.iter().filter_map(|split| split.estimate.rows).sum();
            assert_eq!(told, 10);
            let users = &read_all(&*source, &scans).await["users"];
            let ids = users["id"].as_primitive::<Int64Type>().values();
            assert_eq!(ids[..], (1..=10).collect::<Vec<_>>());
        }
    }
}

#[tokio::test]
async fn a_page_that_is_gone_by_now_has_no_rows() {
    for server in servers() {
        let source = open(&config(&server.url(), &[Resource::Users], 4))
            .await
            .unwrap();
        let scans = [Scan::all("users")];
        let mut split = plan(&*source, &scans).await.unwrap().remove(0);
        let mut data: Value = split.data.decode().unwrap();
        data["first"] = json!({ "page": 9 });
        split.data = SplitData::encode(&data).unwrap();
        let rows = read(&*source, &split, &scans).await.unwrap();
        let mut batches = rows.values().flatten();
        assert!(batches.all(|batch| batch.num_rows() == 0));
    }
}

#[tokio::test]
async fn raw_rows_hold_the_bytes_as_the_server_sent_them() {
    for server in servers() {
        let config = JsonPlaceholderConfig {
            raw: true,
            ..config(&server.url(), &[Resource::Users, Resource::Todos], 100)
        };
        let source = open(&config).await.unwrap();
        let raw = &read_all(&*source, &[Scan::all("raw")]).await["raw"];
        let streams: Vec<_> = raw["stream"].as_string::<i32>().iter().flatten().collect();
        assert_eq!(streams, ["users", "todos", "todos"]);
        let http = HttpClient::with_settings(HttpSettings::default(), Arc::new(Metrics::default()))
            .unwrap();
        for row in 0..raw.num_rows() {
            let url = Url::parse(raw["url"].as_string::<i32>().value(row)).unwrap();
            let sent = http.get(url).send().await.unwrap().body;
            assert_eq!(raw["body"].as_binary::<i32>().value(row), sent);
        }
        assert_eq!(raw["fetched_at"].null_count(), 0);
    }
}

#[tokio::test]
async fn a_page_is_fetched_once_for_all_its_streams_and_only_for_those_in_use() {
    let server = jsonplaceholder();
    let config = JsonPlaceholderConfig {
        raw: true,
        ..config(&server.url(), &[Resource::Users, Resource::Posts], 100)
    };
    let source = open(&config).await.unwrap();
    let typed = read_all(&*source, &[Scan::all("posts")]).await;
    assert_eq!(typed["posts"].num_rows(), 100);
    assert_eq!(requests(&server, "/posts?_page=1&_limit=100", 1).await, 1);
    assert!(!server.log().contains("/users?_page=1&_limit"));

    let both = read_all(&*source, &[Scan::all("raw"), Scan::all("users")]).await;
    assert_eq!((both["users"].num_rows(), both["raw"].num_rows()), (10, 2));
    assert_eq!(requests(&server, "/users?_page=1&_limit=100", 1).await, 1);
    assert_eq!(requests(&server, "/posts?_page=1&_limit=100", 2).await, 2);
}

/// How often the server says that it was asked for something. It says so a little after it has
/// answered: waits until it has said so as often as is `expected`.
async fn requests(server: &Server, what: &str, expected: usize) -> usize {
    let deadline = Instant::now() + Duration::from_secs(20);
    loop {
        let count = server.log().matches(what).count();
        if count >= expected || Instant::now() > deadline {
            return count;
        }
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
}

/// A server that gives the same answer to everything.
async fn broken(answer: impl IntoResponse + Clone + Send + Sync + 'static) -> String {
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
    let url = format!("http://{}", listener.local_addr().unwrap());
    let router = Router::new().fallback(any(move || std::future::ready(answer)));
    tokio::spawn(axum::serve(listener, router).into_future());
    url
}

async fn refused(url: &str) -> Error {
    open(&config(url, &Resource::ALL, 100)).await.unwrap_err()
}

#[tokio::test]
async fn a_server_that_is_not_the_one_is_refused_at_once() {
    use axum::http::StatusCode;
    let html = broken("<html>hello</html>").await;
    let object = broken(r#"{"error": "no"}"#).await;
    let array = broken("[]").await;
    let missing = broken(StatusCode::NOT_FOUND).await;
    let locked = broken(StatusCode::UNAUTHORIZED).await;
    let failing = broken(StatusCode::SERVICE_UNAVAILABLE).await;
    for (url, kind) in [
        (&html, ErrorKind::Data),
        (&object, ErrorKind::Data),
        (&array, ErrorKind::Data),
        (&missing, ErrorKind::NotFound),
        (&locked, ErrorKind::Auth),
        (&failing, ErrorKind::Transient),
        (&"http://127.0.0.1:1".to_owned(), ErrorKind::Transient),
    ] {
        let error = refused(url).await;
        assert_eq!(error.kind(), kind, "{error:?}");
        assert!(
            error.to_string().contains(&format!("{url}/users?_page=1")),
            "{error}"
        );
    }
}

#[tokio::test]
async fn a_page_of_another_shape_is_an_error_that_shows_it() {
    for (wrapped, body) in [
        (false, "{}"),
        (false, "[1,"),
        (true, "[]"),
        (true, r#"{"prev":null,"items":1,"data":{}}"#),
    ] {
        // Counts as one of its generation to begin with.
        let url = turning(wrapped, body).await;
        let source = open(&config(&url, &[Resource::Users], 100)).await.unwrap();
        let error = plan(&*source, &[Scan::all("users")]).await.unwrap_err();
        assert_eq!(error.kind(), ErrorKind::Data);
        assert!(error.to_string().contains(body), "{error}");
    }
}

/// A server that gives one good answer, of the generation asked for, and then another.
async fn turning(wrapped: bool, then: &'static str) -> String {
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
    let url = format!("http://{}", listener.local_addr().unwrap());
    let asked = Arc::new(AtomicUsize::new(0));
    let answer = move || {
        let good = if wrapped { r#"{"data": []}"# } else { "[]" };
        let first = asked.fetch_add(1, Ordering::SeqCst) == 0;
        let body = if first { good } else { then };
        let count = (!wrapped).then_some([("x-total-count", "1")]);
        std::future::ready((count.map(AppendHeaders), body).into_response())
    };
    let router = Router::new().fallback(any(answer));
    tokio::spawn(axum::serve(listener, router).into_future());
    url
}

#[test]
fn what_cannot_work_is_refused_without_asking_the_server() {
    let good = JsonPlaceholderConfig::default();
    good.validate().unwrap();
    for (part, bad) in [
        (
            "base_url",
            JsonPlaceholderConfig {
                base_url: "example.com".into(),
                ..good.clone()
            },
        ),
        (
            "base_url",
            JsonPlaceholderConfig {
                base_url: "ftp://example.com".into(),
                ..good.clone()
            },
        ),
        (
            "empty",
            JsonPlaceholderConfig {
                streams: vec![],
                ..good.clone()
            },
        ),
        (
            "twice",
            JsonPlaceholderConfig {
                streams: [Resource::Users; 2].into(),
                ..good.clone()
            },
        ),
    ] {
        let error = bad.validate().unwrap_err();
        assert_eq!(error.kind(), ErrorKind::Config);
        assert!(error.message().contains(part), "{error}");
    }
    for bad in [
        json!({ "page_size": 0 }),
        json!({ "streams": ["user"] }),
        json!({ "stream": [] }),
    ] {
        serde_json::from_value::<JsonPlaceholderConfig>(bad).unwrap_err();
    }
}

#[test]
fn it_is_registered_with_its_documentation() {
    let registry = tidegate_core::Registry::linked().unwrap();
    let entry = registry
        .get(tidegate_core::Kind::Source, "jsonplaceholder")
        .unwrap();
    assert!(entry.summary().starts_with("Reads JSONPlaceholder"));
    let keys = entry.schema()["properties"].as_object().unwrap().len();
    assert_eq!(keys, 4);
    registry
        .source("jsonplaceholder", json!({ "raw": true }))
        .unwrap();
}
