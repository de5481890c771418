//! Every kind of pagination reads every record once, and keeps the contract.

use std::sync::Arc;

use axum::response::IntoResponse;
use serde_json::{Value, json};
use tidegate_api::{ApiSource, Endpoint};
use tidegate_core::{ErrorKind, Source};
use tidegate_http::Method;
use tidegate_testkit::suites::source_suite;

use crate::support::{Server, client, endpoint, paged, pager, run, source};

/// Every way to page: the path, where the records are, the pagination.
pub(crate) fn ways() -> Vec<(&'static str, &'static str, Value)> {
    vec![
        ("/all", "", json!({ "type": "none" })),
        ("/page", "", json!({ "type": "page" })),
        (
            "/page",
            "",
            json!({ "type": "page", "size_param": "size", "size": 3, "total": { "header": "X-Total-Count" } }),
        ),
        (
            "/pages",
            "/items",
            json!({ "type": "page", "has_more": "/paging/more" }),
        ),
        (
            "/pages",
            "/items",
            json!({ "type": "page", "total": { "pages_pointer": "/paging/pages" } }),
        ),
        ("/offset", "/items", json!({ "type": "offset" })),
        (
            "/offset",
            "/items",
            json!({ "type": "offset", "size_param": "size", "size": 2, "total": { "pointer": "/total" } }),
        ),
        (
            "/offset",
            "/items",
            json!({ "type": "offset", "size_param": "size", "size": 3, "short_page_ends": true }),
        ),
        (
            "/cursor",
            "/items",
            json!({ "type": "cursor", "cursor": "/next/after", "param": "after" }),
        ),
        (
            "/last",
            "/items",
            json!({ "type": "cursor", "cursor": "/id", "from": "last_record", "param": "after" }),
        ),
        (
            "/last",
            "/items",
            json!({ "type": "cursor", "cursor": "/id", "from": "last_record", "param": "after", "has_more": "/more" }),
        ),
        ("/link", "", json!({ "type": "link" })),
        (
            "/next",
            "/items",
            json!({ "type": "next_url", "next": "/next" }),
        ),
        (
            "/search",
            "/items",
            json!({ "type": "offset", "param": "/paging/from", "in": "body" }),
        ),
    ]
}

/// An endpoint that pages in one of the `ways`.
pub(crate) fn way(server: &Server, way: &(&str, &str, Value)) -> Endpoint {
    let (path, records, pagination) = way;
    let mut endpoint_ = Endpoint {
        method: if *path == "/search" {
            Method::POST
        } else {
            Method::GET
        },
        ..endpoint_unchecked(server, path, records, pagination)
    };
    if *path == "/search" {
        endpoint_.body = Some(json!({ "text": "all" }));
    }
    endpoint_.validate().unwrap();
    endpoint_
}

fn endpoint_unchecked(server: &Server, path: &str, records: &str, pagination: &Value) -> Endpoint {
    let none = endpoint(server.at(path), paged(json!({ "type": "none" })), records);
    none.pagination(paged(pagination.clone()))
}

#[tokio::test]
async fn all_records_come_once_in_order_however_they_are_paged() {
    for count in [0, 1, 2, 3, 4, 6, 7, 10] {
        let server = pager(count, 3);
        for one in ways() {
            let read = run(&source(way(&server, &one)), None).await;
            let read = read.unwrap_or_else(|error| panic!("{one:?} of {count}: {error:?}"));
            let expected: Vec<_> = (1..=i64::try_from(count).unwrap()).collect();
            assert_eq!(read.ids(), expected, "{one:?} of {count}");
        }
    }
}

#[tokio::test]
async fn no_page_is_asked_for_twice_and_none_in_vain() {
    // 7 records in pages of 3, or of the size that is asked for.
    let expected = [1, 4, 3, 3, 3, 4, 4, 3, 3, 4, 3, 3, 3, 4];
    for (one, expected) in ways().iter().zip(expected) {
        let server = pager(7, 3);
        run(&source(way(&server, one)), None).await.unwrap();
        let asked = server.asked();
        assert_eq!(asked.len(), expected, "{one:?}: {asked:#?}");
    }
}

#[tokio::test]
async fn the_contract_is_kept_however_pages_are_found() {
    for one in ways() {
        let server = pager(7, 3);
        let suite = source_suite(move || {
            let source = source(way(&server, &one));
            async move { Ok(Arc::new(source) as Arc<dyn Source>) }
        });
        suite.rows("records", 7).check().await;
    }
}

#[tokio::test]
async fn a_page_is_also_a_raw_row_as_it_came() {
    let server = pager(5, 3);
    let one = endpoint(
        server.at("/link?key=hunter2"),
        paged(json!({ "type": "link" })),
        "",
    );
    let read = run(&source(one).raw(true), None).await.unwrap();
    let raw = &read.rows["raw"];
    assert_eq!(raw.len(), 2);
    let shown = raw[0]["url"].as_str().unwrap();
    assert!(shown.ends_with("/link?key=***"), "{shown}");
    assert_eq!(raw[1]["stream"], "records");
    assert_eq!(raw[1]["status"], 200);
    assert_eq!(read.ids(), [1, 2, 3, 4, 5]);
}

#[tokio::test]
async fn an_endpoint_may_have_raw_rows_only() {
    let server = pager(5, 3);
    let mut one = endpoint(server.at("/link"), paged(json!({ "type": "link" })), "");
    one.schema = None;
    one.key.clear();
    let read = run(&source(one).raw(true), None).await.unwrap();
    assert_eq!(read.rows["raw"].len(), 2);
    assert!(!read.rows.contains_key("records"));
}

#[tokio::test]
async fn parameters_and_headers_go_with_every_page_and_replace_those_of_the_address() {
    let server = pager(4, 2);
    let url = server.at("/page?page=9&q=a%20b&x=1&size=7");
    let pagination = json!({ "type": "page", "size_param": "size", "size": 2 });
    let mut one = endpoint(url, paged(pagination), "");
    one.params = vec![("tag".into(), "a&b".into()), ("tag".into(), "ü".into())];
    one.headers = vec![("x-version".into(), "2".into())];
    run(&source(one), None).await.unwrap();
    let queries: Vec<_> = server
        .asked()
        .iter()
        .map(|asked| {
            assert_eq!(asked.headers["x-version"], "2");
            asked.raw_query.clone()
        })
        .collect();
    let query = |page| format!("q=a%20b&x=1&tag=a%26b&tag=%C3%BC&page={page}&size=2");
    assert_eq!(queries, [query(1), query(2), query(3)]);
}

#[tokio::test]
async fn a_cursor_may_be_anything_and_stand_anywhere_in_the_body() {
    let server = Server::new(|asked: &crate::support::Asked| {
        let next = match &asked.body["page"]["after"] {
            Value::Null => json!([1, "a"]),
            after if *after == json!([1, "a"]) => json!({ "x": 2 }),
            _ => Value::Null,
        };
        let id = match &next {
            Value::Array(_) => 1,
            Value::Object(_) => 2,
            _ => 3,
        };
        axum::Json(json!({ "items": [{ "id": id }], "sort": next }))
    });
    let pagination =
        json!({ "type": "cursor", "cursor": "/sort", "param": "/page/after", "in": "body" });
    let mut one = endpoint(server.at("/"), paged(json!({ "type": "none" })), "/items");
    one.method = Method::POST;
    one.pagination = paged(pagination);
    one.validate().unwrap();
    run(&source(one), None).await.unwrap();
    let cursors: Vec<_> = server
        .asked()
        .iter()
        .map(|asked| asked.body.clone())
        .collect();
    assert_eq!(
        cursors,
        [
            Value::Null,
            json!({ "page": { "after": [1, "a"] } }),
            json!({ "page": { "after": { "x": 2 } } })
        ]
    );
}

#[tokio::test]
async fn pages_that_are_counted_but_have_another_size_are_refused() {
    let server = pager(10, 3);
    let pagination = json!({ "type": "page", "size_param": "size", "size": 5, "total": { "header": "x-total-count" } });
    let one = endpoint(server.at("/page"), paged(pagination), "");
    let error = run(&source(one), None).await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Config);
    assert!(error.message().contains("3 records"), "{error:?}");
}

#[tokio::test]
async fn the_pages_of_several_endpoints_are_told_apart() {
    let server = pager(5, 2);
    let link = endpoint(server.at("/link"), paged(json!({ "type": "link" })), "");
    let counted = json!({ "type": "page", "size_param": "size", "size": 2, "total": { "header": "x-total-count" } });
    let mut page = endpoint(server.at("/page"), paged(counted), "");
    page.name = "others".into();
    let source = ApiSource::new(client(), vec![link, page]).raw(true);
    let read = run(&source, None).await.unwrap();
    assert_eq!(read.rows["records"], read.rows["others"]);
    assert_eq!(read.rows["raw"].len(), 6);
    assert_eq!(server.asked().len(), 6);
}

#[tokio::test]
async fn a_page_is_read_with_the_size_it_was_planned_with() {
    let server = pager(10, 100);
    let sized = |size: u32| {
        let pagination = json!({ "type": "page", "size_param": "size", "size": size, "total": { "header": "x-total-count" } });
        source(endpoint(server.at("/page"), paged(pagination), ""))
    };
    let splits = run(&sized(3), None).await.unwrap().splits;
    let read = crate::support::read(&sized(5), &splits[1], None)
        .await
        .unwrap();
    let ids = read.rows["records"].iter().map(|row| row["id"].as_i64());
    assert_eq!(ids.collect::<Vec<_>>(), [Some(4), Some(5), Some(6)]);
}

#[tokio::test]
async fn a_page_that_is_missing_may_be_the_end() {
    let server = Server::new(|asked: &crate::support::Asked| match asked.number("page") {
        Some(1 | 2) => axum::Json(json!([{ "id": asked.number("page") }])).into_response(),
        _ => axum::http::StatusCode::NOT_FOUND.into_response(),
    });
    let ending = |pagination| {
        let mut one = endpoint(server.at("/"), paged(pagination), "");
        one.ends_at = vec![axum::http::StatusCode::NOT_FOUND];
        async move { run(&source(one), None).await }
    };
    let read = ending(json!({ "type": "page" })).await;
    assert_eq!(read.unwrap().ids(), [1, 2]);
    let read = ending(json!({ "type": "page", "first": 5 })).await;
    assert_eq!(read.unwrap_err().kind(), ErrorKind::NotFound);
}
