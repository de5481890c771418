//! Where reading ends: not before the last page, and never in silence.

use axum::Json;
use axum::http::StatusCode;
use axum::response::IntoResponse;
use serde_json::{Value, json};
use tidegate_core::{Error, ErrorKind, Result};

use crate::support::{Asked, Run, Server, endpoint, paged, run, source};

async fn read(server: &Server, pagination: Value) -> Result<Run> {
    let one = endpoint(server.at("/"), paged(pagination), "/items");
    run(&source(one), None).await
}

fn is_data(error: &Error, about: &str, hint: &str) {
    assert_eq!(error.kind(), ErrorKind::Data);
    assert!(error.message().contains(about), "{error:?}");
    assert!(error.hint_text().unwrap().contains(hint), "{error:?}");
}

/// Pages of one record with the number of the page before, from page `first` up to `last`, which is
/// also given to who asks for one after it.
fn clamping(first: usize, last: usize) -> Server {
    Server::new(move |asked: &Asked| {
        let page = asked.number("page").unwrap_or(first).min(last);
        let mut body = json!({ "items": [{ "id": page }], "always": null });
        if page > first {
            body["prev"] = json!(page - 1);
        }
        Json(body)
    })
}

#[tokio::test]
async fn a_server_that_gives_its_last_page_again_is_at_its_end() {
    for last in 1..=3 {
        let server = clamping(1, last);
        let read = read(&server, json!({ "type": "page", "previous": "/prev" })).await;
        assert_eq!(read.unwrap().ids().len(), last);
    }
}

#[tokio::test]
async fn a_misspelt_previous_is_not_the_end() {
    let pagination = json!({ "type": "page", "previous": "/previous" });
    let error = read(&clamping(1, 3), pagination).await.unwrap_err();
    is_data(&error, "which page is before it", "`pagination.previous`");

    let counted = json!({ "type": "page", "previous": "/previous", "size": 1,
        "total": { "pages_pointer": "/pages" } });
    let server = Server::new(|asked: &Asked| {
        let page = asked.number("page").unwrap();
        Json(json!({ "items": [{ "id": page }], "pages": 3 }))
    });
    is_data(
        &read(&server, counted).await.unwrap_err(),
        "no more than 1 of the 3 pages",
        "",
    );
}

#[tokio::test]
async fn a_first_page_with_one_before_it_is_not_the_first() {
    for (prev, first) in [(0, "`first = 0`"), (7, "`first = 7`")] {
        let server = Server::new(move |asked: &Asked| {
            Json(json!({ "items": [{ "id": asked.number("page") }], "prev": prev }))
        });
        let pagination = json!({ "type": "page", "previous": "/prev" });
        let error = read(&server, pagination).await.unwrap_err();
        is_data(&error, "the first page, 1, says", first);
    }
    // A server that counts from 0, read from 0.
    let pagination = json!({ "type": "page", "first": 0, "previous": "/prev" });
    assert_eq!(
        read(&clamping(0, 2), pagination).await.unwrap().ids(),
        [0, 1, 2]
    );
}

/// A server that says that there are `told` of them, and gives `count` records, two a page.
fn limited(told: usize, count: usize) -> Server {
    Server::new(move |asked: &Asked| {
        let page = asked.number("page").map(|page| (page - 1) * 2);
        let start = page.or(asked.number("offset")).unwrap_or(0);
        let items = (start..count).take(2).map(|id| json!({ "id": id }));
        let items: Vec<_> = items.collect();
        Json(json!({ "items": items, "total": told, "pages": told.div_ceil(2) }))
    })
}

#[tokio::test]
async fn a_server_that_gives_less_than_it_says_is_not_read_to_the_end() {
    let of_records = json!({ "pointer": "/total" });
    for (pagination, about) in [
        (
            json!({ "type": "offset", "total": of_records }),
            "no more than 4 of the 10 records",
        ),
        (
            json!({ "type": "page", "size": 2, "total": of_records }),
            "no more than 4 of the 10 records",
        ),
        (
            json!({ "type": "page", "total": { "pages_pointer": "/pages" } }),
            "no more than 3 of the 5 pages",
        ),
    ] {
        let error = read(&limited(10, 4), pagination.clone()).await.unwrap_err();
        is_data(&error, about, "`pagination.total`");
        assert_eq!(
            read(&limited(4, 4), pagination.clone())
                .await
                .unwrap()
                .ids()
                .len(),
            4
        );
        assert!(
            read(&limited(0, 0), pagination)
                .await
                .unwrap()
                .ids()
                .is_empty()
        );
    }
}

#[tokio::test]
async fn an_empty_page_may_be_counted_as_one() {
    let server = Server::new(|_: &Asked| Json(json!({ "items": [], "pages": 1 })));
    let pagination = json!({ "type": "page", "total": { "pages_pointer": "/pages" } });
    assert!(read(&server, pagination).await.unwrap().ids().is_empty());
}

#[tokio::test]
async fn a_counted_page_that_has_gone_is_the_end_only_if_it_is_counted_no_more() {
    for (later, ends) in [(2, true), (3, false)] {
        let asked = std::sync::Arc::new(std::sync::atomic::AtomicU64::new(0));
        let server = Server::new(move |question: &Asked| {
            let again = asked.fetch_add(1, std::sync::atomic::Ordering::SeqCst) > 0;
            let pages = if again { later } else { 3 };
            match question.number("page").unwrap() {
                page @ 1..=2 => {
                    Json(json!({ "items": [{ "id": page }], "pages": pages })).into_response()
                }
                _ => StatusCode::NOT_FOUND.into_response(),
            }
        });
        let pagination = json!({ "type": "page", "missing_page_ends": true,
            "total": { "pages_pointer": "/pages" } });
        match read(&server, pagination).await {
            Ok(read) => assert!(ends && read.ids() == [1, 2], "{later}"),
            Err(error) => {
                assert_eq!(error.kind(), ErrorKind::NotFound);
                assert!(!ends, "{later}: {error:?}");
            }
        }
    }
}
