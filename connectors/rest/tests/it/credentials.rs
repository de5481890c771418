//! How credentials arrive, and where they don't go.

use std::io::Write;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};

use axum::extract::Request;
use axum::http::StatusCode;
use axum::response::IntoResponse;
use axum::routing::post;
use axum::{Json, Router};
use serde_json::json;
use tidegate_core::ErrorKind;
use tidegate_http::Url;

use crate::support::{Log, Pipeline, Seen, ask, authorized, impatient, open_to_all, serve, things};

#[tokio::test]
async fn each_kind_arrives_as_its_standard_has_it() {
    let cx = impatient(&[("secret", "s3cr&t=/ +ü\n"), ("plain", "tok-1")]);
    let plain = json!({ "file": "plain" });

    let log = Log::default();
    let url = serve(open_to_all(&log)).await;
    ask(&cx, json!({ "type": "bearer", "token": plain }), &url)
        .await
        .unwrap();
    assert_eq!(log.only().header("authorization"), Some("Bearer tok-1"));

    let log = Log::default();
    let url = serve(open_to_all(&log)).await;
    // RFC 7617, 2: the user Aladdin with the password "open sesame".
    std::fs::write(cx.path("sesame"), "open sesame").unwrap();
    let auth = json!({ "type": "basic", "user": "Aladdin", "password": { "file": "sesame" } });
    ask(&cx, auth, &url).await.unwrap();
    assert_eq!(
        log.only().header("authorization"),
        Some("Basic QWxhZGRpbjpvcGVuIHNlc2FtZQ==")
    );

    let log = Log::default();
    let url = serve(open_to_all(&log)).await;
    let auth = json!({ "type": "header", "name": "X-Api-Key", "value": plain });
    ask(&cx, auth, &url).await.unwrap();
    let auth =
        json!({ "type": "header", "name": "Authorization", "value": plain, "prefix": "Token" });
    ask(&cx, auth, &url).await.unwrap();
    let seen = log.all();
    assert_eq!(seen[0].header("x-api-key"), Some("tok-1"));
    assert_eq!(seen[1].header("authorization"), Some("Token tok-1"));

    let log = Log::default();
    let url = serve(open_to_all(&log)).await.join("?page=2").unwrap();
    let auth = json!({ "type": "query", "name": "api_key", "value": { "file": "secret" } });

    let error = ask(&cx, auth, &url).await.err();
    assert!(error.is_none(), "{error:?}");
    let seen = log.only();
    assert_eq!(seen.param("page").as_deref(), Some("2"));
    assert_eq!(seen.param("api_key").as_deref(), Some("s3cr&t=/ +ü"));
}

#[tokio::test]
async fn an_empty_secret_is_refused_before_anything_is_sent() {
    let cx = impatient(&[("nothing", "\n"), ("lines", "a\nb")]);
    let url = Url::parse("http://127.0.0.1:9/").unwrap();
    for file in ["nothing", "lines", "missing"] {
        let auth = json!({ "type": "bearer", "token": { "file": file } });
        let error = ask(&cx, auth, &url).await.unwrap_err();
        assert_eq!(error.kind(), ErrorKind::Auth, "{error:?}");
        assert!(format!("{error:?}").contains(file), "{error:?}");
    }
}

#[tokio::test]
async fn credentials_do_not_go_over_plain_http_to_another_machine() {
    let cx = impatient(&[("token", "swordfish")]);
    let auth = json!({ "type": "bearer", "token": { "file": "token" } });
    let elsewhere = Url::parse("http://192.0.2.1/items").unwrap();
    let error = ask(&cx, auth, &elsewhere).await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Config);
    let text = format!("{error:?}");
    assert!(
        text.contains("allow_http") && text.contains("192.0.2.1"),
        "{text}"
    );
}

#[tokio::test]
async fn a_secret_that_the_server_echoes_is_not_shown() {
    let echo = Router::new().fallback(|request: Request| async {
        let seen = Seen::of(request).await;
        // Of the header only the last word.
        let told = seen.header("authorization").unwrap_or_default();
        let told = told.rsplit(' ').next().map(str::to_owned);
        (
            StatusCode::FORBIDDEN,
            format!("{told:?} {} {:?}", seen.uri, seen.headers),
        )
    });
    let url = serve(echo).await;
    let cx = impatient(&[("secret", "sword&fish 1")]);
    let secret = json!({ "file": "secret" });
    for auth in [
        json!({ "type": "bearer", "token": secret }),
        json!({ "type": "basic", "user": "me", "password": secret }),
        json!({ "type": "header", "name": "X-K", "value": secret }),
        json!({ "type": "query", "name": "k", "value": secret }),
    ] {
        let error = ask(&cx, auth.clone(), &url).await.unwrap_err();
        assert_eq!(error.kind(), ErrorKind::Auth);
        let (client, authorizer) = authorized(&cx.source(), auth).unwrap();
        let text = format!("{error} {error:?} {client:?} {authorizer:?}");
        // "me:sword&fish 1" in base 64, and the others.
        for secret in ["sword", "fish", "bWU6c3dvcmQmZmlzaCAx"] {
            assert!(!text.contains(secret), "{text}");
        }
        assert!(text.contains("***"), "{text}");
    }
}

/// Everything that is logged.
#[derive(Clone, Default)]
struct Logged(Arc<Mutex<Vec<u8>>>);

impl Write for Logged {
    fn write(&mut self, bytes: &[u8]) -> std::io::Result<usize> {
        self.0.lock().unwrap().extend_from_slice(bytes);
        Ok(bytes.len())
    }

    fn flush(&mut self) -> std::io::Result<()> {
        Ok(())
    }
}

/// Pages of which each tells the next one's URL with the key in it, and a token endpoint; once in a
/// while it refuses, and says what it was told.
fn telltale() -> Router {
    let count = Arc::new(AtomicUsize::new(0));
    Router::new()
        .route(
            "/token",
            post(|| async { Json(json!({ "access_token": "t0ken-swordfish" })) }),
        )
        .fallback(move |request: Request| {
            let count = count.fetch_add(1, Ordering::SeqCst);
            async move {
                let seen = Seen::of(request).await;
                if count % 2 == 1 {
                    let told = format!("{} {:?}", seen.uri, seen.headers);
                    return (StatusCode::SERVICE_UNAVAILABLE, told).into_response();
                }
                let page: i64 = seen.param("page").map_or(1, |page| page.parse().unwrap());
                let key = seen.param("api_token2").unwrap_or_default();
                let host = seen.header("host").unwrap();
                let next = format!("http://{host}/?page={}&api_token2={key}", page + 1);
                let next = (page < 4).then_some(next);
                Json(json!({ "items": things(page..=page), "next": next })).into_response()
            }
        })
}

#[tokio::test]
async fn secrets_are_in_no_log_no_row_no_position_and_no_store() {
    let logged = Logged::default();
    let writer = logged.clone();
    let subscriber = tracing_subscriber::fmt()
        .with_max_level(tracing::Level::TRACE)
        .with_writer(move || writer.clone())
        .finish();
    // For the whole process, because one for this thread alone misses what another thread was the
    // first to log. What the other tests log has no secrets either.
    tracing::subscriber::set_global_default(subscriber).unwrap();
    let url = serve(telltale()).await;
    let secret = json!({ "file": "secret" });
    for auth in [
        json!({ "type": "bearer", "token": secret }),
        json!({ "type": "basic", "user": "me", "password": secret }),
        json!({ "type": "header", "name": "X-K", "value": secret }),
        json!({ "type": "query", "name": "api_token2", "value": secret }),
        json!({ "type": "oauth2_client_credentials", "client_id": "us", "client_secret": secret,
            "token_url": url.join("token").unwrap() }),
    ] {
        let config = json!({ "url": url, "raw": true, "records": "/items", "auth": auth,
            "pagination": { "type": "next_url", "next": "/next" }, "quota": { "left": "X-Left" } });
        let mut pipeline = Pipeline::with_secrets(config, &[("secret", "sword&fish")]);
        let read = pipeline.run().await.unwrap();
        assert_eq!(read.ids(), [1, 2, 3, 4]);
        for row in read.of("raw") {
            // The body is as the server sent it.
            assert!(!row["url"].as_str().unwrap().contains("sword"), "{row}");
        }
        assert_eq!(read.positions.len(), 4);
        let cx = pipeline.cx.common();
        let rest = format!("{:?} {:?} {:?}", read.positions, cx.store, cx.shared);
        assert!(!rest.contains("sword"), "{rest}");
    }
    let logged = String::from_utf8(logged.0.lock().unwrap().clone()).unwrap();
    assert!(logged.contains("a request is made again") && logged.contains("token was fetched"));
    // "sword" within the base 64 of "me:sword&fish" and "us:sword%26fish".
    for secret in ["sword", "c3dvcmQ"] {
        let line = logged.lines().find(|line| line.contains(secret));
        assert_eq!(line, None);
    }
}
