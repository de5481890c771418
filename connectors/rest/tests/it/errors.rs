//! What goes wrong at the server, and what the user is told.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use axum::Router;
use axum::extract::Request;
use axum::http::{StatusCode, header};
use axum::response::{IntoResponse, Response};
use serde_json::{Value, json};
use tidegate_core::{Error, ErrorKind};
use tidegate_http::Url;
use tidegate_testkit::servers::{Fault, Faults, Proxy};

use crate::support::{Pipeline, params, schema, serve, things};

/// A server that answers the first requests so, and then as the last.
async fn answering(answers: Vec<fn() -> Response>) -> Url {
    let count = Arc::new(AtomicUsize::new(0));
    let router = Router::new().fallback(move || {
        let at = count.fetch_add(1, Ordering::SeqCst).min(answers.len() - 1);
        let answer = answers[at];
        async move { answer() }
    });
    serve(router).await
}

fn good() -> Response {
    axum::Json(json!(things(1..=3))).into_response()
}

async fn fails(config: Value) -> Error {
    let mut pipeline = Pipeline::new(config);
    pipeline.run().await.unwrap_err()
}

#[tokio::test]
async fn each_refusal_has_its_kind_and_says_what_to_check() {
    let secret = &[("token", "swordfish")];
    for (answer, kind, words) in [
        (
            (|| StatusCode::UNAUTHORIZED.into_response()) as fn() -> Response,
            ErrorKind::Auth,
            "`token` of `auth` (the file token): it may be wrong or expired",
        ),
        (
            || (StatusCode::FORBIDDEN, "swordfish may not").into_response(),
            ErrorKind::Auth,
            "what it may do",
        ),
        (
            || StatusCode::NOT_FOUND.into_response(),
            ErrorKind::NotFound,
            "check `url`",
        ),
        (
            || (StatusCode::BAD_REQUEST, "{\"message\": \"bad sort\"}").into_response(),
            ErrorKind::Config,
            "bad sort",
        ),
        (
            || StatusCode::UNPROCESSABLE_ENTITY.into_response(),
            ErrorKind::Config,
            "`params`",
        ),
        (
            || StatusCode::METHOD_NOT_ALLOWED.into_response(),
            ErrorKind::Config,
            "`method`",
        ),
        (
            || StatusCode::SERVICE_UNAVAILABLE.into_response(),
            ErrorKind::Transient,
            "503",
        ),
        (
            || {
                (
                    StatusCode::TOO_MANY_REQUESTS,
                    [(header::RETRY_AFTER, "3600")],
                )
                    .into_response()
            },
            ErrorKind::RateLimited {
                wait: Some(std::time::Duration::from_secs(3_600)),
            },
            "rate limit",
        ),
        (
            || (StatusCode::FORBIDDEN, [(header::RETRY_AFTER, "3600")]).into_response(),
            ErrorKind::RateLimited {
                wait: Some(std::time::Duration::from_secs(3_600)),
            },
            "rate limit",
        ),
        (
            || "<html>Please sign in</html>".into_response(),
            ErrorKind::Data,
            "Please sign in",
        ),
        (
            || axum::Json(json!({ "message": "down" })).into_response(),
            ErrorKind::Data,
            "down",
        ),
        (|| "[{\"id\": 1}".into_response(), ErrorKind::Data, "JSON"),
        (|| "".into_response(), ErrorKind::Data, "empty"),
    ] {
        let url = answering(vec![answer]).await;
        let config = json!({ "url": url, "schema": schema(),
            "auth": { "type": "bearer", "token": { "file": "token" } } });
        let error = Pipeline::with_secrets(config, secret)
            .run()
            .await
            .unwrap_err();
        let text = format!("{error:?}");
        assert_eq!(error.kind(), kind, "{text}");
        assert!(
            text.contains(words) && text.contains(url.as_str()),
            "{words}: {text}"
        );
        assert!(!text.contains("swordfish"), "{text}");
    }
}

#[tokio::test]
async fn who_asks_without_credentials_is_told_of_them() {
    let url = answering(vec![|| StatusCode::UNAUTHORIZED.into_response()]).await;
    let error = fails(json!({ "url": url, "schema": schema() })).await;
    assert!(format!("{error:?}").contains("`auth`"), "{error:?}");
}

#[tokio::test]
async fn what_goes_away_by_itself_is_not_seen() {
    for passing in [
        (|| StatusCode::BAD_GATEWAY.into_response()) as fn() -> Response,
        || (StatusCode::TOO_MANY_REQUESTS, [(header::RETRY_AFTER, "0")]).into_response(),
        || (StatusCode::FORBIDDEN, [(header::RETRY_AFTER, "0")]).into_response(),
    ] {
        let url = answering(vec![passing, good]).await;
        let mut pipeline = Pipeline::new(json!({ "url": url, "schema": schema() }));
        assert_eq!(pipeline.run().await.unwrap().ids(), [1, 2, 3]);
        assert_eq!(pipeline.cx.common().metrics.total_requests(), 2);
    }
}

#[tokio::test]
async fn a_post_is_made_again_too_because_it_only_reads() {
    let url = answering(vec![|| StatusCode::BAD_GATEWAY.into_response(), good]).await;
    let config = json!({ "url": url, "method": "POST", "body": {}, "schema": schema() });
    assert_eq!(Pipeline::new(config).run().await.unwrap().ids(), [1, 2, 3]);
}

#[tokio::test(flavor = "multi_thread")]
async fn connections_that_are_cut_lose_no_record() {
    let router = Router::new().fallback(|request: Request| async move {
        let page: i64 = params(request.uri())["page"].parse().unwrap();
        let first = (page - 1) * 10 + 1;
        axum::Json(json!(things(first..=(first + 9).min(95))))
    });
    let url = serve(router).await;
    let proxy = Proxy::before(url.as_str().trim_end_matches('/'));
    proxy.fail(Faults::some(0.3, 7).of(&[Fault::Cut, Fault::ResetBefore, Fault::ResetAfter]));
    let config = json!({ "url": proxy.url(), "schema": schema(),
        "pagination": { "type": "page" } });
    let mut pipeline = Pipeline::new(config);
    pipeline.cx = pipeline.cx.settings(
        "http",
        json!({ "attempts": 20, "backoff": "1ms", "max_backoff": "1ms" }),
    );
    let read = pipeline.run().await.unwrap();
    assert_eq!(read.ids(), (1..=95).collect::<Vec<_>>());
    assert!(proxy.failures() > 0, "none was cut");
}

#[tokio::test]
async fn a_server_that_ignores_the_page_is_found_out() {
    let url = answering(vec![good]).await;
    for pagination in [
        json!({ "type": "page", "param": "p" }),
        json!({ "type": "offset", "param": "from" }),
    ] {
        let config = json!({ "url": url, "schema": schema(), "pagination": pagination });
        let error = fails(config).await;
        assert_eq!(error.kind(), ErrorKind::Data);
        assert!(
            format!("{error:?}").contains("`pagination.param`"),
            "{error:?}"
        );
    }
}

#[tokio::test]
async fn a_record_that_does_not_fit_is_rejected_alone() {
    fn answer() -> Response {
        let mut records = things(1..=3);
        records[1]["id"] = json!("two");
        axum::Json(json!(records)).into_response()
    }
    let url = answering(vec![answer]).await;
    let read = Pipeline::new(json!({ "url": url, "schema": schema() }))
        .run()
        .await
        .unwrap();
    assert_eq!(read.ids(), [1, 3]);
    let [rejected] = read.rejected.as_slice() else {
        panic!("{:?}", read.rejected);
    };
    assert!(
        rejected.row.contains("n2") && rejected.reason.contains("id"),
        "{rejected:?}"
    );
    assert_eq!(rejected.origin.file.as_deref(), Some(url.as_str()));
}

#[tokio::test]
async fn next_pages_on_another_host_are_not_followed() {
    fn elsewhere() -> Response {
        axum::Json(json!({ "items": things(1..=3), "next": "https://evil.example.com/" }))
            .into_response()
    }
    let url = answering(vec![elsewhere]).await;
    let config = json!({ "url": url, "schema": schema(), "records": "/items",
        "pagination": { "type": "next_url", "next": "/next" } });
    let error = fails(config).await;
    assert!(format!("{error:?}").contains("allow_hosts"), "{error:?}");
}
