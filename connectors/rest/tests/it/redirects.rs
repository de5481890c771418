//! Redirections take no credentials to another server.

use axum::Router;
use axum::extract::Request;
use axum::http::StatusCode;
use axum::response::{IntoResponse, Redirect};
use axum::routing::any;
use serde_json::{Value, json};
use tidegate_core::ErrorKind;
use tidegate_http::Url;

use crate::support::{Log, Pipeline, Seen, ask, impatient, open_to_all, schema, serve};

fn kinds() -> [Value; 4] {
    let secret = json!({ "file": "secret" });
    [
        json!({ "type": "bearer", "token": secret }),
        json!({ "type": "basic", "user": "me", "password": secret }),
        json!({ "type": "header", "name": "X-Api-Key", "value": secret }),
        json!({ "type": "query", "name": "key", "value": secret }),
    ]
}

/// Redirects `/here` within itself, and everything else to another server.
async fn redirecting(to: &Url, log: &Log) -> Url {
    let to = to.join("stolen").unwrap();
    let log = log.clone();
    let there = move |request: Request| async move {
        log.add(Seen::of(request).await);
        axum::Json(json!([]))
    };
    let router = Router::new()
        .route("/here", any(|| async { Redirect::temporary("/there") }))
        .route("/there", any(there))
        .fallback(move || async move { Redirect::temporary(to.as_str()).into_response() });
    serve(router).await
}

#[tokio::test]
async fn credentials_stay_with_the_host() {
    let cx = impatient(&[("secret", "swordfish")]);
    for auth in kinds() {
        let (stolen, kept) = (Log::default(), Log::default());
        let other = serve(open_to_all(&stolen)).await;
        let url = redirecting(&other, &kept).await;

        let error = ask(&cx, auth.clone(), &url).await.unwrap_err();
        assert_eq!(stolen.count(), 0, "{auth}");
        assert_eq!(error.kind(), ErrorKind::Config);
        let text = format!("{error:?}");
        assert!(
            text.contains("/stolen") && !text.contains("swordfish"),
            "{text}"
        );

        let here = url.join("here").unwrap();
        ask(&cx, auth.clone(), &here).await.unwrap();
        let seen = kept.only();
        let by_query = auth["type"] == "query";
        let has = seen.header("authorization").is_some() || seen.header("x-api-key").is_some();
        // What stands in a URL is not carried on: the new URL is the server's.
        assert_eq!(has, !by_query, "{auth}");
        assert_eq!(seen.header("referer"), None);
    }
}

#[tokio::test]
async fn the_source_keeps_them_there_too_and_follows_if_there_are_none() {
    for auth in kinds() {
        let elsewhere = Log::default();
        let other = serve(open_to_all(&elsewhere)).await;
        let url = redirecting(&other, &Log::default()).await;
        let open = json!({ "url": url, "schema": schema() });
        let mut closed = open.clone();
        closed["auth"] = auth.clone();
        let secret = &[("secret", "swordfish")];
        let error = Pipeline::with_secrets(closed, secret)
            .run()
            .await
            .unwrap_err();
        assert!(error.to_string().contains("redirects"), "{error:?}");
        assert_eq!(elsewhere.count(), 0, "{auth}");
        Pipeline::new(open).run().await.unwrap();
        assert_eq!(elsewhere.count(), 1);
    }
}

#[tokio::test]
async fn secrets_in_headers_parameters_and_bodies_stay_with_the_host() {
    let secret = json!({ "file": "secret" });
    for keys in [
        json!({ "headers": { "X-Api-Key": secret } }),
        json!({ "params": { "key": secret } }),
        json!({ "body": { "deep": [{ "key": secret }] } }),
        // A text, but of a name that says what it is.
        json!({ "headers": { "X-Api-Key": "swordfish" } }),
        json!({ "body": { "token": "swordfish" } }),
    ] {
        let stolen = Log::default();
        let other = serve(open_to_all(&stolen)).await;
        let url = redirecting(&other, &Log::default()).await;
        let mut config = json!({ "url": url, "schema": schema(), "method": "POST" });
        let more = keys.as_object().unwrap().clone();
        config.as_object_mut().unwrap().extend(more);
        let error = Pipeline::with_secrets(config, &[("secret", "swordfish")])
            .run()
            .await
            .unwrap_err();
        assert!(error.to_string().contains("redirects"), "{error:?}");
        assert!(!format!("{error:?}").contains("swordfish"), "{error:?}");
        assert_eq!(stolen.count(), 0, "{keys}");
    }
}

#[tokio::test]
async fn what_a_token_endpoint_is_told_stays_there() {
    let stolen = Log::default();
    let other = serve(open_to_all(&stolen)).await;
    let url = redirecting(&other, &Log::default()).await;
    let cx = impatient(&[("secret", "swordfish")]);
    for style in ["basic", "body"] {
        let auth = json!({ "type": "oauth2_client_credentials", "token_url": url, "client_id": "us",
            "client_secret": { "file": "secret" }, "auth_style": style });
        let error = ask(&cx, auth, &url).await.unwrap_err();
        assert_eq!(error.kind(), ErrorKind::Auth, "{error:?}");
        assert_eq!(stolen.count(), 0);
    }
}

#[tokio::test]
async fn redirections_without_an_end_are_an_error() {
    let circle = Router::new().fallback(|| async { Redirect::to("/") });
    let url = serve(circle).await;
    let cx = impatient(&[("secret", "swordfish")]);
    let error = ask(&cx, kinds()[0].clone(), &url).await.unwrap_err();
    assert!(error.to_string().contains("without end"), "{error:?}");
    let nowhere = Router::new().fallback(|| async { StatusCode::FOUND });
    let url = serve(nowhere).await;
    let error = ask(&cx, kinds()[0].clone(), &url).await.unwrap_err();
    assert!(format!("{error:?}").contains("where to"), "{error:?}");
}
