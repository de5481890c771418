//! What leads to no next page, to one that was there before, or to another place.

use axum::Json;
use axum::http::HeaderMap;
use axum::response::{AppendHeaders, IntoResponse};
use serde_json::{Value, json};
use tidegate_api::{Access, ApiSource, Endpoint, Make};
use tidegate_core::{Error, ErrorKind, Result, async_trait};
use tidegate_http::Response;

use crate::support::{Asked, Server, client, endpoint, paged, run, source};

async fn refused(server: &Server, path: &str, records: &str, pagination: Value) -> Error {
    let one = endpoint(server.at(path), paged(pagination), records);
    run(&source(one), None).await.unwrap_err()
}

/// A server that gives the same answer to everything.
fn stubborn(body: Value) -> Server {
    Server::new(move |_: &Asked| Json(body.clone()))
}

#[tokio::test]
async fn a_server_that_ignores_the_page_is_found_out_after_one_page_too_many() {
    let server = stubborn(json!([{ "id": 1 }, { "id": 2 }]));
    for (pagination, requests) in [
        // The second page is the first again, which is asked for once more to be sure.
        (json!({ "type": "page" }), 3),
        (json!({ "type": "offset" }), 3),
    ] {
        let error = refused(&server, "/", "", pagination).await;
        assert_eq!(error.kind(), ErrorKind::Data);
        assert!(error.message().contains("same records"), "{error:?}");
        assert!(error.hint_text().unwrap().contains("pagination.param"));
        assert_eq!(server.asked().len(), requests);
    }
}

#[tokio::test]
async fn side_by_side_pages_that_are_the_same_are_found_out_too() {
    let body = json!({ "items": [{ "id": 1 }, { "id": 2 }], "total": 6 });
    let server = stubborn(body);
    let pagination = json!({ "type": "page", "size": 2, "total": { "pointer": "/total" } });
    let error = refused(&server, "/", "/items", pagination).await;
    assert_eq!(error.kind(), ErrorKind::Data);
    assert!(
        error.message().contains("same records as page 1"),
        "{error:?}"
    );
}

#[tokio::test]
async fn a_server_that_begins_again_after_its_last_page_is_found_out() {
    for pages in [2, 3] {
        let server = Server::new(move |asked: &Asked| {
            let first = match asked.number("page") {
                Some(page) => (page - 1) % pages * 3,
                None => asked.number("offset").unwrap_or(0) % (pages * 3),
            };
            let ids = first..first + 3;
            Json(ids.map(|id| json!({ "id": id })).collect::<Vec<_>>())
        });
        for kind in ["page", "offset"] {
            let pagination = json!({ "type": kind, "size": 3 });
            let error = refused(&server, "/", "", pagination).await;
            assert_eq!(error.kind(), ErrorKind::Data);
            assert!(error.message().contains("same records"), "{error:?}");
        }
        // Each page of both, the first one again, and once more to be sure.
        assert_eq!(server.asked().len(), 2 * (pages + 2));
    }
}

#[tokio::test]
async fn records_that_are_added_meanwhile_may_make_pages_alike() {
    // Two records come in at the top between the first page and the second.
    let asked = std::sync::atomic::AtomicUsize::new(0);
    let asked = std::sync::Arc::new(asked);
    let server = Server::new(move |question: &Asked| {
        let added = asked.fetch_add(1, std::sync::atomic::Ordering::SeqCst) > 0;
        let all: Vec<i64> = (if added { -1 } else { 1 }..=5).collect();
        let start = (question.number("page").unwrap() - 1) * 2;
        let ids = all.iter().skip(start).take(2);
        Json(ids.map(|id| json!({ "id": id })).collect::<Vec<_>>())
    });
    let one = endpoint(server.at("/"), paged(json!({ "type": "page" })), "");
    let read = run(&source(one), None).await.unwrap();
    assert_eq!(read.ids(), [1, 2, 1, 2, 3, 4, 5]);
}

#[tokio::test]
async fn a_circle_of_cursors_or_urls_is_refused_before_its_page_is_taken() {
    let circle = Server::new(|asked: &Asked| {
        let next = match asked.query.get("c").map_or("", String::as_str) {
            "" => "a",
            "a" => "b",
            _ => "a",
        };
        let link = [("link", format!("<?c={next}>; rel=next"))];
        let id = match asked.query.get("c").map_or("", String::as_str) {
            "" => 1,
            "a" => 2,
            _ => 3,
        };
        let body = json!({ "items": [{ "id": id }], "c": next, "next": format!("?c={next}") });
        (AppendHeaders(link), Json(body))
    });
    for pagination in [
        json!({ "type": "cursor", "cursor": "/c", "param": "c" }),
        json!({ "type": "link" }),
        json!({ "type": "next_url", "next": "/next" }),
        // The parameter is one that the server doesn't know.
        json!({ "type": "cursor", "cursor": "/c", "param": "cursor" }),
    ] {
        let error = refused(&circle, "/", "/items", pagination).await;
        assert_eq!(error.kind(), ErrorKind::Data);
        assert!(error.message().contains("read already"), "{error:?}");
        assert!(circle.asked().len() <= 3);
    }
}

#[tokio::test]
async fn a_page_that_comes_again_under_another_name_is_refused() {
    // Each answer has a cursor and a URL of its own, but the page is always the first.
    let count = std::sync::atomic::AtomicUsize::new(0);
    let count = std::sync::Arc::new(count);
    let server = Server::new(move |_: &Asked| {
        let fresh = count.fetch_add(1, std::sync::atomic::Ordering::SeqCst) + 1;
        let link = [("link", format!("<?c={fresh}>; rel=next"))];
        let body = json!({ "items": [{ "id": 1 }], "c": fresh, "next": format!("?c={fresh}") });
        (AppendHeaders(link), Json(body))
    });
    for (pagination, hint) in [
        (
            json!({ "type": "cursor", "cursor": "/c", "param": "cursr" }),
            "pagination.param",
        ),
        (json!({ "type": "link" }), "operator"),
        (json!({ "type": "next_url", "next": "/next" }), "operator"),
    ] {
        let error = refused(&server, "/", "/items", pagination).await;
        assert_eq!(error.kind(), ErrorKind::Data);
        assert!(error.message().contains("same records"), "{error:?}");
        assert!(error.hint_text().unwrap().contains(hint), "{error:?}");
        assert_eq!(server.asked().len(), 3);
    }
}

#[tokio::test]
async fn pages_of_nothing_without_end_are_refused() {
    let server = Server::new(|asked: &Asked| {
        let next = asked.number("c").unwrap_or(0) + 1;
        Json(json!({ "items": [], "c": next }))
    });
    let cursor = json!({ "type": "cursor", "cursor": "/c", "param": "c" });
    let error = refused(&server, "/", "/items", cursor).await;
    assert!(error.message().contains("100 pages"), "{error:?}");
}

#[tokio::test]
async fn a_last_page_of_nothing_may_lead_to_itself() {
    let server = Server::new(|asked: &Asked| {
        let items = match asked.query.contains_key("c") {
            true => json!([]),
            false => json!([{ "id": 1 }]),
        };
        Json(json!({ "items": items, "c": "end" }))
    });
    let cursor = json!({ "type": "cursor", "cursor": "/c", "param": "c" });
    let one = endpoint(server.at("/"), paged(cursor), "/items");
    assert_eq!(run(&source(one), None).await.unwrap().ids(), [1]);
}

#[tokio::test]
async fn a_server_that_says_there_is_more_must_say_where() {
    let server = stubborn(json!({ "items": [{ "id": 1 }], "more": true, "total": "many" }));
    for (pagination, about) in [
        (
            json!({ "type": "cursor", "cursor": "/c", "param": "c", "has_more": "/more" }),
            "nothing at `/c`",
        ),
        (
            json!({ "type": "cursor", "cursor": "/c", "param": "c", "from": "last_record" }),
            "nothing at `/c`",
        ),
        (
            json!({ "type": "page", "has_more": "/has_more" }),
            "nothing at `/has_more`",
        ),
        (
            json!({ "type": "page", "has_more": "/total" }),
            "at `/total` is of another type",
        ),
        (
            json!({ "type": "offset", "total": { "pointer": "/total" } }),
            "at `/total` is of another type",
        ),
        (
            json!({ "type": "offset", "total": { "header": "x-total" } }),
            "no header `x-total`",
        ),
        (
            json!({ "type": "next_url", "next": "/more" }),
            "at `/more` is of another type",
        ),
    ] {
        let error = refused(&server, "/", "/items", pagination).await;
        assert_eq!(error.kind(), ErrorKind::Data);
        assert!(error.message().contains(about), "{error:?}");
        assert!(error.hint_text().is_some(), "{error:?}");
    }
}

#[tokio::test]
async fn a_link_that_can_not_be_understood_is_not_the_end() {
    let server = Server::new(|_: &Asked| {
        (
            AppendHeaders([("link", "/?page=2; rel=next")]),
            Json(json!([{ "id": 1 }])),
        )
    });
    let error = refused(&server, "/", "", json!({ "type": "link" })).await;
    assert_eq!(error.kind(), ErrorKind::Data);
    assert!(error.message().contains("`Link`"), "{error:?}");
}

#[tokio::test]
async fn a_next_page_elsewhere_is_not_asked_for_unless_it_is_allowed() {
    let other = stubborn(json!({ "items": [{ "id": 2 }] }));
    let elsewhere = format!("{}/?token=hunter2", other.url);
    let server = stubborn(json!({ "items": [{ "id": 1 }], "next": elsewhere }));
    let next =
        |allow: &[&str]| json!({ "type": "next_url", "next": "/next", "allow_hosts": allow });
    let error = refused(&server, "/", "/items", next(&[])).await;
    assert_eq!(error.kind(), ErrorKind::Data);
    assert!(error.message().contains("another host"), "{error:?}");
    assert!(
        error.hint_text().unwrap().contains("allow_hosts"),
        "{error:?}"
    );
    assert!(error.to_string().contains("/?token=***"), "{error:?}");
    assert!(other.asked().is_empty());

    let host = other.url.trim_start_matches("http://");
    for allowed in [host, "127.0.0.1"] {
        let one = endpoint(server.at("/"), paged(next(&[allowed])), "/items");
        assert_eq!(run(&source(one), None).await.unwrap().ids(), [1, 2]);
    }
    for scheme in ["ftp", "file", "javascript"] {
        let server = stubborn(json!({ "items": [], "next": format!("{scheme}://127.0.0.1/") }));
        let error = refused(&server, "/", "/items", next(&["127.0.0.1"])).await;
        assert!(error.message().contains("not as safe"), "{error:?}");
    }
}

#[derive(Debug)]
struct Keyed;

#[async_trait]
impl Access for Keyed {
    async fn send(&self, _: &Endpoint, make: &Make<'_>) -> Result<Response> {
        make().query("api_key", "hunter2").send().await
    }

    fn adds(&self, param: &str) -> bool {
        param == "api_key"
    }
}

#[tokio::test]
async fn a_key_that_the_server_echoes_is_neither_doubled_nor_stored() {
    let server = Server::new(|asked: &Asked| {
        let page = asked.number("page").unwrap_or(1);
        let next = format!("<?{}&page={}>; rel=next", asked.raw_query, page + 1);
        let link = (page == 1).then_some([("link", next)]);
        (link.map(AppendHeaders), Json(json!([{ "id": page }]))).into_response()
    });
    let one = endpoint(server.at("/?q=1"), paged(json!({ "type": "link" })), "");
    let source = ApiSource::new(client(), vec![one]).access(std::sync::Arc::new(Keyed));
    let split = run(&source, None).await.unwrap().splits.remove(0);
    let queries = server.asked();
    let queries: Vec<_> = queries.iter().map(|asked| &asked.raw_query[..]).collect();
    assert_eq!(
        queries,
        ["q=1&api_key=hunter2", "q=1&page=2&api_key=hunter2"]
    );
    let offsets = crate::support::read(&source, &split, None)
        .await
        .unwrap()
        .offsets;
    let shown = serde_json::to_string(&offsets).unwrap();
    assert!(
        shown.contains("page=2") && !shown.contains("hunter2"),
        "{shown}"
    );
}

/// It is sent as a header, and comes back as a parameter.
#[tokio::test]
async fn a_token_that_the_server_echoes_under_another_name_is_not_stored() {
    for way in ["link", "next_url"] {
        let server = Server::new(|asked: &Asked| {
            let page = asked.number("page").unwrap_or(1);
            let token = asked.headers["authorization"].to_str().unwrap();
            let token = token.strip_prefix("Bearer ").unwrap().replace('/', "%2F");
            let next = format!("/?access_token={token}&q=a%20b&page={}", page + 1);
            let link = (page == 1).then(|| [("link", format!("<{next}>; rel=next"))]);
            let next = (page == 1).then_some(next);
            let body = json!({ "items": [{ "id": page }], "next": next });
            (link.map(AppendHeaders), Json(body)).into_response()
        });
        let pagination = match way {
            "link" => json!({ "type": "link" }),
            _ => json!({ "type": "next_url", "next": "/next" }),
        };
        let mut one = endpoint(server.at("/?q=a%20b"), paged(pagination), "/items");
        one.headers
            .push(("authorization".into(), "Bearer hunter/2".into()));
        let client = client();
        client.hide("hunter/2");
        let source = ApiSource::new(client, vec![one]);
        let all = run(&source, None).await.unwrap();
        assert_eq!(all.ids(), [1, 2]);
        let queries = server.asked();
        let queries: Vec<_> = queries.iter().map(|asked| &asked.raw_query[..]).collect();
        assert_eq!(queries, ["q=a%20b", "q=a%20b&page=2"], "{way}");
        let read = crate::support::read(&source, &all.splits[0], None).await;
        let shown = serde_json::to_string(&read.unwrap().offsets).unwrap();
        assert!(
            shown.contains("page=2") && !shown.contains("hunter"),
            "{shown}"
        );
    }
}

#[tokio::test]
async fn what_is_hidden_is_in_no_error_about_an_answer() {
    let next = "ftp://127.0.0.1/hunter2";
    let server = stubborn(json!({ "items": [{ "id": 1 }], "more": "hunter2", "next": next }));
    for (pagination, about) in [
        (
            json!({ "type": "page", "has_more": "/more" }),
            "another type",
        ),
        (
            json!({ "type": "next_url", "next": "/next" }),
            "not as safe",
        ),
    ] {
        let client = client();
        client.hide("hunter2");
        let one = endpoint(server.at("/"), paged(pagination), "/items");
        let source = ApiSource::new(client, vec![one]);
        let error = run(&source, None).await.unwrap_err();
        let text = format!("{error:?}");
        assert!(text.contains(about) && text.contains("***"), "{text}");
        assert!(!text.contains("hunter2"), "{text}");
    }
}

#[tokio::test]
async fn an_address_with_a_password_keeps_it_for_all_pages_and_out_of_the_state() {
    let server = Server::new(|asked: &Asked| {
        let page = asked.number("page").unwrap_or(1);
        let link = (page == 1).then_some([("link", "</?page=2>; rel=next")]);
        (link.map(AppendHeaders), Json(json!([{ "id": page }]))).into_response()
    });
    let mut url = server.at("/");
    url.set_username("me").unwrap();
    url.set_password(Some("hunter2")).unwrap();
    let source = source(endpoint(url, paged(json!({ "type": "link" })), ""));
    let all = run(&source, None).await.unwrap();
    assert_eq!(all.ids(), [1, 2]);
    let lets_in = |headers: &HeaderMap| headers.contains_key("authorization");
    assert!(server.asked().iter().all(|asked| lets_in(&asked.headers)));
    let read = crate::support::read(&source, &all.splits[0], None)
        .await
        .unwrap();
    let stored = format!("{:?}{:?}{:?}", read.offsets, all.splits, all.state);
    assert!(!stored.contains("hunter2"), "{stored}");
}
