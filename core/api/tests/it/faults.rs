//! Answers that are no pages, and connections that break.

use std::io::Write;
use std::sync::Arc;

use axum::http::StatusCode;
use axum::response::IntoResponse;
use flate2::Compression;
use flate2::write::GzEncoder;
use serde_json::json;
use tidegate_api::{RecordsAt, records};
use tidegate_core::{ErrorKind, Source};
use tidegate_testkit::servers::{Fault, Faults, Proxy};
use tidegate_testkit::suites::source_suite;

use crate::support::{Asked, Server, client, endpoint, paged, pager, pointer, run, source};

#[tokio::test]
async fn what_is_no_page_is_an_error_that_says_what_was_found() {
    for (path, body, about) in [
        ("", "<html>Sign in</html>", "not JSON"),
        ("", "", "answer is empty"),
        ("", "[1, 2", "ends too early"),
        ("", "{}", "no array as a whole, but an object"),
        ("/items", "[]", "no array at `/items`, but nothing"),
        ("/items", r#"{"error": "no such user"}"#, "but nothing"),
        ("/items", r#"{"items": null}"#, "but null"),
        ("/items", r#"{"items": {"id": 1}}"#, "but an object"),
        ("/items", r#"{"items": "x"}"#, "but a text"),
    ] {
        let server = Server::new(move |_: &Asked| body);
        let one = endpoint(server.at("/list"), paged(json!({ "type": "none" })), path);
        let error = run(&source(one), None).await.unwrap_err();
        assert_eq!(error.kind(), ErrorKind::Data, "{error:?}");
        assert!(error.message().contains(about), "{error:?}");
        assert!(error.to_string().contains("/list"), "{error:?}");
        assert!(error.to_string().contains(body), "{error:?}");
        assert!(error.hint_text().is_some(), "{error:?}");
    }
}

#[tokio::test]
async fn an_endpoint_may_say_that_nothing_and_one_are_records_too() {
    for (body, count) in [
        (r#"{"items": null}"#, 0),
        ("{}", 0),
        (r#"{"items": {"id": 1}}"#, 1),
        (r#"{"items": [{"id": 1}, {"id": 2}]}"#, 2),
    ] {
        let server = Server::new(move |_: &Asked| body);
        let answer = client().get(server.at("/")).send().await.unwrap();
        let at = RecordsAt {
            pointer: pointer("/items"),
            optional: true,
            object: true,
        };
        let found = records(&answer, &at).unwrap();
        assert_eq!(found.count, count);
        let elements: Vec<serde_json::Value> = serde_json::from_slice(&found.json).unwrap();
        assert_eq!(u64::try_from(elements.len()).unwrap(), count);
        let mut one = endpoint(server.at("/"), paged(json!({ "type": "none" })), "");
        one.records = at;
        let read = run(&source(one), None).await.unwrap();
        assert_eq!(u64::try_from(read.ids().len()).unwrap(), count);
    }
    let nothing = Server::new(|_: &Asked| StatusCode::NO_CONTENT);
    let mut one = endpoint(nothing.at("/"), paged(json!({ "type": "page" })), "");
    one.records.optional = true;
    assert_eq!(run(&source(one), None).await.unwrap().ids(), [0_i64; 0]);
}

#[tokio::test]
async fn a_record_that_does_not_fit_is_rejected_with_its_page() {
    let body = "{\n\"items\": [{\"id\": 1},\n{\"id\": \"x\"}, {\"id\": 3}]}";
    let server = Server::new(move |_: &Asked| body);
    let one = endpoint(
        server.at("/list?key=hunter2"),
        paged(json!({ "type": "none" })),
        "/items",
    );
    let source = source(one);
    let scans = crate::support::scans(&source);
    let split = run_plan(&source, &scans).await;
    let mut events = source.read(&split, &scans, None).await.unwrap();
    let event = futures::StreamExt::next(&mut events)
        .await
        .unwrap()
        .unwrap();
    let tidegate_core::Event::Rows { rows, .. } = event else {
        panic!("rows are expected");
    };
    let tidegate_core::Rows::Encoded(encoded) = rows else {
        panic!("encoded rows are expected");
    };
    let decoded = encoded.decode().unwrap();
    let [rejected] = &decoded.rejected.rows[..] else {
        panic!("one row is rejected: {:?}", decoded.rejected);
    };
    assert_eq!(rejected.row, r#"{"id": "x"}"#);
    assert_eq!(rejected.origin.line, Some(3));
    let offset = usize::try_from(rejected.origin.offset.unwrap()).unwrap();
    assert!(body[offset..].starts_with(&rejected.row));
    let file = rejected.origin.file.as_deref().unwrap();
    assert!(file.ends_with("/list?key=***"), "{file}");
}

async fn run_plan(source: &dyn Source, scans: &[tidegate_core::Scan]) -> tidegate_core::Split {
    let ask = tidegate_core::Ask {
        scans,
        state: None,
        finished: &[],
        first: true,
    };
    source.plan(&ask).await.unwrap().new.remove(0)
}

#[tokio::test]
async fn gzip_without_its_header_is_understood() {
    let server = Server::new(|_: &Asked| {
        let mut gzip = GzEncoder::new(Vec::new(), Compression::fast());
        gzip.write_all(br#"[{"id": 1}]"#).unwrap();
        gzip.finish().unwrap().into_response()
    });
    let one = endpoint(server.at("/"), paged(json!({ "type": "none" })), "");
    assert_eq!(run(&source(one), None).await.unwrap().ids(), [1]);
}

#[tokio::test]
async fn broken_connections_and_failures_cost_no_row_and_double_none() {
    let server = pager(20, 1);
    let proxy = Proxy::before(&server.url);
    proxy.fail(Faults::some(0.15, 5).of(&[
        Fault::InternalError,
        Fault::SlowDown,
        Fault::ResetBefore,
        Fault::ResetAfter,
        Fault::Cut,
    ]));
    for (path, records, pagination) in [
        ("/link", "", json!({ "type": "link" })),
        (
            "/cursor",
            "/items",
            json!({ "type": "cursor", "cursor": "/next/after", "param": "after" }),
        ),
        ("/page", "", json!({ "type": "page" })),
    ] {
        let url = tidegate_http::Url::parse(&format!("{}{path}", proxy.url())).unwrap();
        let one = endpoint(url, paged(pagination), records);
        let cx = tidegate_testkit::suites::context()
            .settings("http", json!({ "attempts": 10, "backoff": "1ms" }));
        let client = tidegate_http::HttpClient::new(&cx.source()).unwrap();
        let read = run(&tidegate_api::ApiSource::new(client, vec![one]), None).await;
        assert_eq!(read.unwrap().ids(), (1..=20).collect::<Vec<_>>());
    }
    assert!(proxy.failures() > 0);
}

#[tokio::test]
async fn the_suite_sees_errors_with_their_kinds() {
    let server = pager(3, 3);
    let lost = server.clone();
    let suite = source_suite(move || {
        let one = endpoint(server.at("/all"), paged(json!({ "type": "none" })), "");
        async move { Ok(Arc::new(source(one)) as Arc<dyn Source>) }
    });
    let suite = suite.refuses(
        "an address that isn't there",
        ErrorKind::NotFound,
        move || {
            let one = endpoint(lost.at("/nowhere"), paged(json!({ "type": "none" })), "");
            async move { run(&source(one), None).await.map(|_| ()) }
        },
    );
    suite.check().await;
}
