//! Tokens of the grant "client credentials", from a server that keeps to RFC 6749.

use std::collections::BTreeSet;
use std::sync::{Arc, Mutex};

use axum::extract::Request;
use axum::http::{StatusCode, header};
use axum::response::{IntoResponse, Response};
use axum::routing::{get, post};
use axum::{Json, Router};
use futures::future::join_all;
use serde_json::{Value, json};
use tidegate_core::ErrorKind;
use tidegate_http::Url;

use crate::support::{Log, Pipeline, Seen, ask, authorized, impatient, schema, serve, things};

/// A token endpoint at `/token` and what it protects at `/api`.
#[derive(Clone, Default)]
struct Login {
    tokens: Log,
    asked: Log,
    /// The tokens that the API takes.
    good: Arc<Mutex<BTreeSet<String>>>,
    /// What the endpoint adds to its answer.
    more: Arc<Mutex<Value>>,
    /// Whether a token is good for three requests only, without saying so.
    short_lived: bool,
}

impl Login {
    fn saying(more: Value) -> Self {
        let login = Self::default();
        *login.more.lock().unwrap() = more;
        login
    }

    async fn serve(&self) -> Url {
        let (login, api) = (self.clone(), self.clone());
        let router = Router::new()
            .route(
                "/token",
                post(move |request| async move { login.token(request).await }),
            )
            .route(
                "/api",
                get(move |request| async move { api.api(request).await }),
            );
        serve(router).await
    }

    async fn token(&self, request: Request) -> Response {
        let seen = Seen::of(request).await;
        self.tokens.add(seen.clone());
        let form: BTreeSet<_> = seen.body.split('&').map(str::to_owned).collect();
        let has = |pair: &str| form.contains(pair);
        let told = |code| (StatusCode::BAD_REQUEST, Json(json!({ "error": code }))).into_response();
        if seen.header("content-type") != Some("application/x-www-form-urlencoded")
            || !has("grant_type=client_credentials")
        {
            return told("invalid_request");
        }
        // "us:s3cr%26t" in base 64: both are encoded before.
        let basic = seen.header("authorization") == Some("Basic dXM6czNjciUyNnQ=");
        let body = has("client_id=us") && has("client_secret=s3cr%26t");
        if basic == body {
            let error = json!({ "error": "invalid_client", "error_description": seen.body });
            return (StatusCode::UNAUTHORIZED, Json(error)).into_response();
        }
        let token = format!("token-{}", self.tokens.count());
        self.good.lock().unwrap().insert(token.clone());
        let mut answer = json!({ "access_token": token, "token_type": "Bearer" });
        if let Some(more) = self.more.lock().unwrap().as_object() {
            answer.as_object_mut().unwrap().extend(more.clone());
        }
        Json(answer).into_response()
    }

    /// A page of two things, of ten in all.
    async fn api(&self, request: Request) -> Response {
        let seen = Seen::of(request).await;
        let page: i64 = seen.param("page").map_or(1, |page| page.parse().unwrap());
        let token = seen
            .header("authorization")
            .and_then(|v| v.strip_prefix("Bearer "));
        let good = token.is_some_and(|token| self.good.lock().unwrap().contains(token));
        self.asked.add(seen);
        match good {
            true => {
                if self.asked.count().is_multiple_of(3) && self.short_lived {
                    self.revoke();
                }
                Json(json!(things(2 * page - 1..=(2 * page).min(10)))).into_response()
            }
            false => {
                let challenge = [(header::WWW_AUTHENTICATE, "Bearer error=\"invalid_token\"")];
                (StatusCode::UNAUTHORIZED, challenge).into_response()
            }
        }
    }

    /// No token is good any more.
    fn revoke(&self) {
        self.good.lock().unwrap().clear();
    }
}

fn auth(url: &Url, more: &Value) -> Value {
    let mut auth = json!({ "type": "oauth2_client_credentials", "client_id": "us",
        "token_url": url.join("token").unwrap(), "client_secret": { "file": "secret" } });
    for (key, value) in more.as_object().unwrap() {
        auth[key] = value.clone();
    }
    auth
}

const SECRET: &[(&str, &str)] = &[("secret", "s3cr&t\n")];

#[tokio::test]
async fn the_endpoint_is_told_what_the_standard_asks_for() {
    for style in ["basic", "body"] {
        let login = Login::default();
        let url = login.serve().await;
        let more =
            json!({ "auth_style": style, "scopes": ["read", "list all"], "audience": "https://a" });
        let cx = impatient(SECRET);
        // One of them is no scope.
        let error = ask(&cx, auth(&url, &more), &url).await.unwrap_err();
        assert!(error.to_string().contains("list all"), "{error:?}");
        let more =
            json!({ "auth_style": style, "scopes": ["read", "list"], "audience": "https://a" });
        ask(&cx, auth(&url, &more), &url.join("api").unwrap())
            .await
            .unwrap();
        let body = login.tokens.only().body;
        assert!(
            body.contains("scope=read+list") && body.contains("audience=https%3A%2F%2Fa"),
            "{body}"
        );
    }
}

#[tokio::test]
async fn a_token_is_fetched_once_for_all_who_need_it_and_once_more_when_it_is_refused() {
    let login = Login::saying(json!({ "expires_in": 3600 }));
    let url = login.serve().await;
    let cx = impatient(SECRET);
    let (client, authorizer) = authorized(&cx.source(), auth(&url, &json!({}))).unwrap();
    let api = url.join("api").unwrap();
    let ask_twenty = || join_all((0..20).map(|_| authorizer.send(|| client.get(api.clone()))));
    for answer in ask_twenty().await {
        answer.unwrap();
    }
    assert_eq!(login.tokens.count(), 1);
    login.revoke();
    for answer in ask_twenty().await {
        answer.unwrap();
    }
    assert_eq!(login.tokens.count(), 2);
}

#[tokio::test]
async fn a_token_is_used_until_it_expires() {
    for (more, fetched) in [
        (json!({}), 1),
        (json!({ "expires_in": 3600 }), 1),
        (json!({ "expires_in": "3600" }), 1),
        (json!({ "expires_in": 0 }), 3),
    ] {
        let login = Login::saying(more);
        let url = login.serve().await;
        let cx = impatient(SECRET);
        let (client, authorizer) = authorized(&cx.source(), auth(&url, &json!({}))).unwrap();
        for _ in 0..3 {
            let api = url.join("api").unwrap();
            authorizer.send(|| client.get(api.clone())).await.unwrap();
        }
        assert_eq!(login.tokens.count(), fetched);
    }
}

#[tokio::test]
async fn tokens_that_end_in_the_middle_of_a_run_lose_no_page() {
    let login = Login {
        short_lived: true,
        ..Login::default()
    };
    let url = login.serve().await;
    let config = json!({ "url": url.join("api").unwrap(), "schema": schema(),
        "auth": auth(&url, &json!({})), "pagination": { "type": "page" } });
    let read = Pipeline::with_secrets(config, SECRET).run().await.unwrap();
    assert_eq!(read.ids(), (1..=10).collect::<Vec<_>>());
    assert!(login.tokens.count() > 1);
}

#[tokio::test]
async fn a_server_that_takes_no_token_is_not_asked_for_ever() {
    let login = Login::default();
    let url = login.serve().await;
    let cx = impatient(SECRET);
    let (client, authorizer) = authorized(&cx.source(), auth(&url, &json!({}))).unwrap();
    let elsewhere = login.clone();
    *elsewhere.more.lock().unwrap() = json!({ "access_token": "of another API" });
    let api = url.join("api").unwrap();
    let error = authorizer
        .send(|| client.get(api.clone()))
        .await
        .unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Auth);
    assert_eq!((login.tokens.count(), login.asked.count()), (2, 2));
}

#[tokio::test]
async fn what_the_endpoint_refuses_is_explained_without_secrets() {
    let login = Login::default();
    let url = login.serve().await;
    let api = url.join("api").unwrap();
    let cx = impatient(&[("secret", "swordfish")]);
    for style in ["basic", "body"] {
        let error = ask(&cx, auth(&url, &json!({ "auth_style": style })), &api)
            .await
            .unwrap_err();
        assert_eq!(error.kind(), ErrorKind::Auth);
        let text = format!("{error:?}");
        for words in [
            "token endpoint",
            "invalid_client",
            "`client_secret`",
            "the file secret",
        ] {
            assert!(text.contains(words), "{words}: {text}");
        }
        assert!(!text.contains("swordfish"), "{text}");
    }
    assert_eq!(login.asked.count(), 0);
    let nowhere = json!({ "token_url": url.join("nothing").unwrap() });
    let error = ask(&cx, auth(&url, &nowhere), &api).await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::NotFound);
    assert!(format!("{error:?}").contains("`token_url`"), "{error:?}");
}

#[tokio::test]
async fn an_answer_that_holds_no_token_is_not_quoted() {
    for (answer, words) in [
        ("<html>Sign in</html>", "holds no token"),
        ("{\"token\": \"swordfish\"}", "holds no token"),
        ("{\"access_token\": \"\"}", "empty"),
        (
            "{\"access_token\": \"swordfish\", \"token_type\": \"mac\"}",
            "`mac`",
        ),
        // The client's secret, as it is and as it may be encoded.
        (
            "{\"access_token\": \"swordfish\", \"token_type\": \"<s3cr&t, s3cr%26t, czNjciZ0>\"}",
            "`<***, ***, ***>`",
        ),
        (
            "{\"access_token\": \"swordfish\", \"expires_in\": {}}",
            "holds no token",
        ),
    ] {
        let router = Router::new().fallback(move || async move { answer });
        let url = serve(router).await;
        let error = ask(&impatient(SECRET), auth(&url, &json!({})), &url)
            .await
            .unwrap_err();
        let text = format!("{error:?}");
        assert!(
            text.contains(words) && !text.contains("swordfish") && !text.contains("s3cr"),
            "{text}"
        );
    }
}
