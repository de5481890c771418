//! Where reading ends: not before the last page, and never in silence.

use axum::Json;
use axum::http::StatusCode;
use axum::response::{AppendHeaders, IntoResponse, Response};
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
async fn an_empty_page_needs_not_say_which_is_before_it() {
    let server = Server::new(|asked: &Asked| match asked.number("page").unwrap() {
        1 => Json(json!({ "items": [{ "id": 1 }], "prev": null })),
        page @ 2 => Json(json!({ "items": [{ "id": page }], "prev": 1 })),
        _ => Json(json!({ "items": [] })),
    });
    let pagination = json!({ "type": "page", "previous": "/prev" });
    assert_eq!(read(&server, pagination).await.unwrap().ids(), [1, 2]);
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
        let pagination = json!({ "type": "page", "total": { "pages_pointer": "/pages" } });
        let mut one = endpoint(server.at("/"), paged(pagination), "/items");
        one.ends_at = vec![StatusCode::NOT_FOUND];
        match run(&source(one), None).await {
            Ok(read) => assert!(ends && read.ids() == [1, 2], "{later}"),
            Err(error) => {
                assert_eq!(error.kind(), ErrorKind::NotFound);
                assert!(!ends, "{later}: {error:?}");
            }
        }
    }
}

/// A server of three records, one a page, in every way; `after` is its answer after the third.
fn ending(after: fn() -> Response) -> Server {
    Server::new(move |asked: &Asked| {
        let number = ["page", "offset", "c"]
            .iter()
            .find_map(|name| asked.number(name));
        let at = number.unwrap_or(1);
        if at > 3 {
            return after();
        }
        let next = at + 1;
        let link = [("link", format!("<?c={next}>; rel=next"))];
        let body = json!({ "items": [{ "id": at }], "c": next, "next": format!("?c={next}"),
            "more": true });
        (AppendHeaders(link), Json(body)).into_response()
    })
}

fn open_ways() -> Vec<Value> {
    vec![
        json!({ "type": "page" }),
        json!({ "type": "page", "has_more": "/more" }),
        json!({ "type": "offset", "first": 1 }),
        json!({ "type": "cursor", "cursor": "/c", "param": "c" }),
        json!({ "type": "cursor", "cursor": "/c", "param": "c", "has_more": "/more" }),
        json!({ "type": "link" }),
        json!({ "type": "next_url", "next": "/next" }),
    ]
}

#[tokio::test]
async fn c5_a_status_is_an_end_where_that_is_said_and_else_an_error_that_says_how() {
    for status in [400, 403, 404, 410, 416, 422, 500] {
        let status = StatusCode::from_u16(status).unwrap();
        let server = match status.as_u16() {
            400 => ending(|| StatusCode::BAD_REQUEST.into_response()),
            403 => ending(|| StatusCode::FORBIDDEN.into_response()),
            404 => ending(|| StatusCode::NOT_FOUND.into_response()),
            410 => ending(|| StatusCode::GONE.into_response()),
            416 => ending(|| StatusCode::RANGE_NOT_SATISFIABLE.into_response()),
            422 => ending(|| StatusCode::UNPROCESSABLE_ENTITY.into_response()),
            _ => ending(|| StatusCode::INTERNAL_SERVER_ERROR.into_response()),
        };
        for way in open_ways() {
            let mut one = endpoint(server.at("/"), paged(way.clone()), "/items");
            let error = run(&source(one.clone()), None).await.unwrap_err();
            if !matches!(status.as_u16(), 403 | 500) {
                let says = format!("`ends_at = [{}]`", status.as_u16());
                assert!(
                    error.hint_text().unwrap().contains(&says),
                    "{way}: {error:?}"
                );
            }
            one.ends_at = vec![StatusCode::CONFLICT, status];
            let read = run(&source(one), None).await;
            let read = read.unwrap_or_else(|error| panic!("{status} {way}: {error:?}"));
            assert_eq!(read.ids(), [1, 2, 3], "{status} {way}");
        }
    }
}

#[tokio::test]
async fn c5_204_is_always_an_end_and_nothing_at_all_where_that_is_said() {
    let empty: [(fn() -> Response, bool); 6] = [
        (|| StatusCode::NO_CONTENT.into_response(), true),
        (|| StatusCode::OK.into_response(), false),
        (|| " \r\n".into_response(), false),
        (|| "\u{feff}".into_response(), false),
        (|| Json(json!(null)).into_response(), false),
        (|| Json(json!({ "items": null })).into_response(), false),
    ];
    for (after, always) in empty {
        for way in open_ways() {
            let mut one = endpoint(ending(after).at("/"), paged(way.clone()), "/items");
            match run(&source(one.clone()), None).await {
                Ok(read) => assert!(always && read.ids() == [1, 2, 3], "{way}"),
                Err(error) => {
                    let hint = error.hint_text().unwrap();
                    assert!(
                        !always && hint.contains("`records_optional = true`"),
                        "{error:?}"
                    );
                }
            }
            one.records.optional = true;
            let read = run(&source(one), None).await;
            let read = read.unwrap_or_else(|error| panic!("{way}: {error:?}"));
            assert_eq!(read.ids(), [1, 2, 3], "{way}");
        }
    }
}

#[tokio::test]
async fn c5_a_first_page_may_be_missing_only_where_no_records_are_expected() {
    let missing = || Server::new(|_: &Asked| StatusCode::NOT_FOUND);
    let counted = json!({ "type": "page", "size": 2, "total": { "pointer": "/total" } });
    let mut ways = open_ways();
    ways.extend([json!({ "type": "none" }), counted.clone()]);
    for way in ways {
        let mut one = endpoint(missing().at("/"), paged(way.clone()), "/items");
        one.ends_at = vec![StatusCode::NOT_FOUND];
        let error = run(&source(one.clone()), None).await.unwrap_err();
        assert_eq!(error.kind(), ErrorKind::NotFound, "{way}");
        one.records.optional = true;
        assert!(
            run(&source(one), None).await.unwrap().ids().is_empty(),
            "{way}"
        );

        let nothing = Server::new(|_: &Asked| StatusCode::NO_CONTENT);
        let one = endpoint(nothing.at("/"), paged(way.clone()), "/items");
        assert!(
            run(&source(one), None).await.unwrap().ids().is_empty(),
            "{way}"
        );
    }
    // A run that reads what is new is told of both keys.
    let mut one = endpoint(
        missing().at("/"),
        paged(json!({ "type": "page" })),
        "/items",
    );
    let growing = json!({ "param": "since", "field": "/id" });
    one.incremental = Some(serde_json::from_value(growing).unwrap());
    let error = run(&source(one), None).await.unwrap_err();
    let hint = error.hint_text().unwrap();
    assert!(
        hint.contains("`ends_at = [404]`") && hint.contains("`records_optional"),
        "{hint}"
    );
}

#[tokio::test]
async fn c5_an_end_in_the_middle_of_what_is_counted_is_none() {
    for empty in [StatusCode::NO_CONTENT, StatusCode::NOT_FOUND] {
        for (way, about) in [
            (
                json!({ "type": "offset", "total": { "pointer": "/total" } }),
                "10",
            ),
            (
                json!({ "type": "page", "size": 2, "total": { "pointer": "/total" } }),
                "10",
            ),
            (
                json!({ "type": "page", "total": { "pages_pointer": "/pages" } }),
                "5",
            ),
        ] {
            let server = Server::new(move |asked: &Asked| {
                let page = asked.number("page").map(|page| (page - 1) * 2);
                let start = page.or(asked.number("offset")).unwrap();
                if start >= 4 {
                    return empty.into_response();
                }
                let items = [json!({ "id": start }), json!({ "id": start + 1 })];
                Json(json!({ "items": items, "total": 10, "pages": 5 })).into_response()
            });
            let mut one = endpoint(server.at("/"), paged(way.clone()), "/items");
            one.ends_at = vec![StatusCode::NOT_FOUND];
            let error = run(&source(one), None).await.unwrap_err();
            let text = format!("{error:?}");
            assert!(
                text.contains(about) && text.contains("`pagination.total`"),
                "{text}"
            );
        }
    }
}
