//! How credentials arrive, and where they don't go.

use axum::Router;
use axum::extract::Request;
use axum::http::StatusCode;
use serde_json::json;
use tidegate_core::ErrorKind;
use tidegate_http::Url;

use crate::support::{Log, Seen, ask, authorized, impatient, open_to_all, serve};

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
        (
            StatusCode::FORBIDDEN,
            format!("{} {:?}", seen.uri, seen.headers),
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
