//! The keys of a pipeline file by which faults of servers are met: ends, totals, odd bodies, bounds.

use std::sync::atomic::{AtomicUsize, Ordering};

use axum::Router;
use axum::extract::Request;
use axum::http::{StatusCode, header};
use axum::response::{IntoResponse, Response};
use serde_json::{Value, json};
use tidegate_http::Url;

use crate::support::{Log, Pipeline, Seen, params, schema, serve, things};

/// A server that answers by what was asked, and notes it.
async fn answering(log: &Log, answer: fn(&Seen) -> Response) -> Url {
    let log = log.clone();
    let router = Router::new().fallback(move |request: Request| async move {
        let seen = Seen::of(request).await;
        log.add(seen.clone());
        answer(&seen)
    });
    serve(router).await
}

fn number(seen: &Seen, name: &str) -> i64 {
    let params = params(&seen.uri);
    params.get(name).map_or(0, |text| text.parse().unwrap())
}

#[tokio::test]
async fn a14_seven_records_of_four_are_read() {
    // As it was reported: by offset, three a page, and each answer says four.
    let log = Log::default();
    let url = answering(&log, |seen| {
        let from = number(seen, "offset");
        let records = things(from + 1..=(from + number(seen, "n")).min(7));
        axum::Json(json!({ "d": records, "total": 4 })).into_response()
    })
    .await;
    let config = json!({ "url": url, "records": "/d", "pagination": { "type": "offset",
        "size_param": "n", "size": 3, "total": { "pointer": "/total" } } });
    let read = Pipeline::new(config).run().await.unwrap();
    assert_eq!(read.of("records"), things(1..=7));
}

#[tokio::test]
async fn c5_ends_are_written_beside_the_paging() {
    fn page(seen: &Seen, end: Response) -> Response {
        let page = number(seen, "page");
        match page {
            1 | 2 => axum::Json(json!({ "users": things(page..=page) })).into_response(),
            _ => end,
        }
    }
    type Answer = fn(&Seen) -> Response;
    let ends: [(Answer, Value); 6] = [
        (
            |seen| page(seen, StatusCode::NO_CONTENT.into_response()),
            json!({}),
        ),
        (
            |seen| page(seen, StatusCode::NOT_FOUND.into_response()),
            json!({ "ends_at": [404] }),
        ),
        (
            |seen| {
                page(
                    seen,
                    (StatusCode::BAD_REQUEST, "no such page").into_response(),
                )
            },
            json!({ "ends_at": [400, 416] }),
        ),
        (
            |seen| page(seen, "".into_response()),
            json!({ "records_optional": true }),
        ),
        (
            |seen| page(seen, "null".into_response()),
            json!({ "records_optional": true }),
        ),
        (
            |seen| page(seen, "{\"users\": null}".into_response()),
            json!({ "records_optional": true }),
        ),
    ];
    for (answer, keys) in ends {
        let url = answering(&Log::default(), answer).await;
        let mut config = json!({ "url": url, "schema": schema(), "records": "/users",
            "pagination": { "type": "page" } });
        let error = Pipeline::new(config.clone()).run().await;
        for (key, value) in keys.as_object().unwrap() {
            // Without it there is an error, which names it.
            let error = error.as_ref().unwrap_err();
            assert!(error.hint_text().unwrap().contains(key), "{key}: {error:?}");
            config[key] = value.clone();
        }
        let read = Pipeline::new(config).run().await;
        let read = read.unwrap_or_else(|error| panic!("{keys}: {error:?}"));
        assert_eq!(read.ids(), [1, 2], "{keys}");
    }
}

#[tokio::test]
async fn c5_what_is_missing_for_another_reason_is_no_end() {
    // A quota that is spent, and says so by a status that ends the reading elsewhere.
    let url = answering(&Log::default(), |seen| match number(seen, "page") {
        1 => axum::Json(json!(things(1..=1))).into_response(),
        _ => (StatusCode::FORBIDDEN, [("x-left", "0")]).into_response(),
    })
    .await;
    let config = json!({ "url": url, "schema": schema(), "pagination": { "type": "page" },
        "quota": { "left": "X-Left" }, "ends_at": [403] });
    Pipeline::new(config).run().await.unwrap_err();
}

#[tokio::test]
async fn c6_columns_are_learnt_from_lines_and_other_encodings_too() {
    let answers: [fn(&Seen) -> Response; 3] = [
        |_| {
            let lines = "{\"id\":1,\"name\":\"Zoë\"}\n{\"id\":2,\"name\":\"b\"}\n";
            ([(header::CONTENT_TYPE, "application/x-ndjson")], lines).into_response()
        },
        |_| {
            let body = b"[{\"id\":1,\"name\":\"Zo\xeb\"},{\"id\":2,\"name\":\"b\"}]";
            let media = "application/json; charset=iso-8859-1";
            ([(header::CONTENT_TYPE, media)], &body[..]).into_response()
        },
        |_| "\u{feff}[{\"id\":1,\"name\":\"Zoë\"},{\"id\":2,\"name\":\"b\"}]".into_response(),
    ];
    for answer in answers {
        let url = answering(&Log::default(), answer).await;
        let read = Pipeline::new(json!({ "url": url })).run().await.unwrap();
        let expected = [
            json!({ "id": 1, "name": "Zoë" }),
            json!({ "id": 2, "name": "b" }),
        ];
        assert_eq!(read.of("records"), expected);
    }
}

#[tokio::test]
async fn c6_records_that_are_no_objects_are_told_with_a_way_out() {
    let answers: [fn(&Seen) -> Response; 3] = [
        |_| "[1, 2, 3]".into_response(),
        |_| "[\"a\", \"b\"]".into_response(),
        |_| "[[1, \"a\"], [2, \"b\"]]".into_response(),
    ];
    for answer in answers {
        let url = answering(&Log::default(), answer).await;
        let error = Pipeline::new(json!({ "url": url }))
            .run()
            .await
            .unwrap_err();
        let hint = error.hint_text().unwrap_or_default();
        assert!(hint.contains("`raw"), "{error:?}");
        // With columns, each is rejected by itself.
        let read = Pipeline::new(json!({ "url": url, "schema": schema() }))
            .run()
            .await;
        let read = read.unwrap();
        assert!(read.ids().is_empty() && read.rejected.len() >= 2);
        let reason = &read.rejected[0].reason;
        assert!(reason.contains("object"), "{reason}");
    }
}

#[tokio::test]
async fn c6_a_bound_in_a_body_is_of_one_type_in_all_runs() {
    let log = Log::default();
    let url = answering(&log, |_| axum::Json(json!(things(1..=3))).into_response()).await;
    for (start, sent) in [
        (json!(1002), [json!(1002), json!(1003)]),
        (json!("1002"), [json!("1002"), json!("1003")]),
    ] {
        let mut pipeline = Pipeline::new(json!({ "url": url, "schema": schema(),
            "method": "POST", "body": { "filter": {} },
            "incremental": { "param": "/filter/since", "field": "/at", "start": start,
                "in": "body" } }));
        let before = log.count();
        pipeline.run().await.unwrap();
        pipeline.run().await.unwrap();
        let bodies = log.all().split_off(before).into_iter();
        let sinces = bodies.map(|seen| {
            let body: Value = serde_json::from_str(&seen.body).unwrap();
            body["filter"]["since"].clone()
        });
        assert_eq!(sinces.collect::<Vec<_>>(), sent);
    }
}

#[tokio::test]
async fn c6_a_server_that_fails_once_in_the_middle_is_no_end() {
    static COUNT: AtomicUsize = AtomicUsize::new(0);
    let url = answering(&Log::default(), |seen| {
        let page = number(seen, "page");
        if page == 2 && COUNT.fetch_add(1, Ordering::SeqCst) == 0 {
            return StatusCode::INTERNAL_SERVER_ERROR.into_response();
        }
        axum::Json(json!(things(page..=page.min(3)))).into_response()
    })
    .await;
    let config = json!({ "url": url, "schema": schema(), "pagination": { "type": "page" },
        "ends_at": [500] });
    assert_eq!(Pipeline::new(config).run().await.unwrap().ids(), [1, 2, 3]);
}
