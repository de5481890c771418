//! How credentials arrive, and where they don't go.

use std::io::Write;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};

use axum::extract::Request;
use axum::http::StatusCode;
use axum::response::IntoResponse;
use axum::routing::post;
use axum::{Json, Router};
use serde_json::{Value, json};
use tidegate_core::ErrorKind;
use tidegate_http::Url;
use tidegate_rest::RestConfig;

use crate::support::{
    Log, Pipeline, Seen, ask, authorized, impatient, open_to_all, schema, serve, things,
};

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
    assert!(logged.contains("retrying a request") && logged.contains("token was fetched"));
    // "sword" within the base 64 of "me:sword&fish" and "us:sword%26fish".
    for secret in ["sword", "c3dvcmQ"] {
        let line = logged.lines().find(|line| line.contains(secret));
        assert_eq!(line, None);
    }
}

/// A source that gives a secret in a header, a parameter and the body.
fn everywhere(url: &Url) -> Value {
    json!({ "url": url, "method": "POST", "schema": schema(),
        "headers": { "X-Tenant": { "file": "tenant" }, "X-Version": "2" },
        "params": { "appid": { "file": "app" }, "sort": ["id", "at"] },
        "body": { "who": [{ "file": "who" }], "like": { "literal": { "env": "prod" } } } })
}

const SECRETS: &[(&str, &str)] = &[
    ("tenant", "tenant-swordfish\n"),
    ("app", "app&swordfish"),
    ("who", "who\"swordfish\nand more"),
];

#[tokio::test]
async fn secrets_go_along_in_headers_parameters_and_bodies_and_with_every_page() {
    let log = Log::default();
    let seen = log.clone();
    let router = Router::new().fallback(move |request: Request| async move {
        let asked = Seen::of(request).await;
        let page: i64 = asked.param("page").map_or(1, |page| page.parse().unwrap());
        let host = asked.header("host").unwrap().to_owned();
        // What it was sent comes back in the next page's URL, by its name and by another.
        let mut next = Url::parse(&format!("http://{host}/?page={}", page + 1)).unwrap();
        let app = asked.param("appid").unwrap();
        let tenant = asked.header("x-tenant").unwrap().to_owned();
        next.query_pairs_mut()
            .append_pair("appid", &app)
            .append_pair("for", &format!("[{tenant}]"));
        let next = (page < 3).then_some(next);
        seen.add(asked);
        Json(json!({ "items": things(page..=page), "next": next }))
    });
    let url = serve(router).await;
    let mut config = everywhere(&url);
    config["raw"] = json!(true);
    config["records"] = json!("/items");
    config["pagination"] = json!({ "type": "next_url", "next": "/next" });
    let mut pipeline = Pipeline::with_secrets(config.clone(), SECRETS);
    let read = pipeline.run().await.unwrap();
    assert_eq!(read.ids(), [1, 2, 3]);
    for asked in log.all() {
        assert_eq!(asked.header("x-tenant"), Some("tenant-swordfish"));
        assert_eq!(asked.header("x-version"), Some("2"));
        assert_eq!(asked.param("appid").as_deref(), Some("app&swordfish"));
        assert_eq!(asked.param("for"), None);
        let body: Value = serde_json::from_str(&asked.body).unwrap();
        let sent = json!({ "who": ["who\"swordfish\nand more"], "like": { "env": "prod" } });
        assert_eq!(body, sent);
    }
    let urls = read.of("raw").iter().map(|row| row["url"].to_string());
    let cx = pipeline.cx.common();
    let stored = serde_json::to_string(&serde_json::from_value::<RestConfig>(config).unwrap());
    let rest = format!(
        "{:?} {:?} {:?} {} {}",
        read.positions,
        cx.store,
        cx.shared,
        stored.unwrap(),
        urls.collect::<String>()
    );
    assert!(!rest.contains("swordfish"), "{rest}");
    assert!(rest.contains("\"file\":\"tenant\""), "{rest}");
}

#[tokio::test]
async fn a_cursor_that_looks_like_a_secrets_name_is_no_secret() {
    let log = Log::default();
    let seen = log.clone();
    let router = Router::new().fallback(move |request: Request| async move {
        let first = seen.count() == 0;
        seen.add(Seen::of(request).await);
        let next = first.then(|| json!({ "file": "who" }));
        let items = if first { things(1..=1) } else { Vec::new() };
        Json(json!({ "items": items, "next": next }))
    });
    let url = serve(router).await;
    let mut config = everywhere(&url);
    config["records"] = json!("/items");
    config["pagination"] =
        json!({ "type": "cursor", "cursor": "/next", "param": "after", "in": "body" });
    let read = Pipeline::with_secrets(config, SECRETS).run().await;
    assert_eq!(read.unwrap().ids(), [1]);
    let body: Value = serde_json::from_str(&log.all()[1].body).unwrap();
    assert_eq!(body["after"], json!({ "file": "who" }));
}

#[tokio::test]
async fn another_value_of_a_secret_makes_no_other_question() {
    let router = Router::new().fallback(|| async { Json(json!(things(1..=3))) });
    let url = serve(router).await;
    let mut config = everywhere(&url);
    config["incremental"] = json!({ "param": "since", "field": "/at", "start": 0 });
    config["schema"] = json!([]);
    let mut pipeline = Pipeline::with_secrets(config, SECRETS);
    assert_eq!(pipeline.run().await.unwrap().ids(), [1, 2, 3]);
    for (name, _) in SECRETS {
        std::fs::write(pipeline.cx.path(name), "another-one").unwrap();
    }
    // The server gives all of them whatever it is asked; the last one is known from before.
    assert_eq!(pipeline.run().await.unwrap().ids(), [1, 2]);
}

#[tokio::test]
async fn secrets_beside_auth_go_to_no_other_machine_over_plain_http() {
    let elsewhere = Url::parse("http://192.0.2.1/items").unwrap();
    for key in ["headers", "params", "body"] {
        let mut config = everywhere(&elsewhere);
        for other in ["headers", "params", "body"] {
            if other != key {
                config.as_object_mut().unwrap().remove(other);
            }
        }
        let pipeline = Pipeline::with_secrets(config.clone(), SECRETS);
        let error = pipeline.open().await.unwrap_err();
        assert_eq!(error.kind(), ErrorKind::Config);
        assert!(format!("{error:?}").contains("allow_http"), "{error:?}");
        config["allow_http"] = json!(true);
        Pipeline::with_secrets(config, SECRETS)
            .open()
            .await
            .unwrap();
    }
    let mut config = everywhere(&Url::parse("https://api.example.com/").unwrap());
    config["headers"] = json!({ "authorization": { "file": "who" } });
    config["auth"] = json!({ "type": "bearer", "token": { "file": "app" } });
    let error = Pipeline::with_secrets(config, SECRETS).open().await;
    let text = format!("{:?}", error.unwrap_err());
    assert!(text.contains("sent by `auth`"), "{text}");
}

#[tokio::test]
async fn a_text_under_a_secrets_name_is_not_shown() {
    let echo = Router::new().fallback(|request: Request| async {
        let seen = Seen::of(request).await;
        let key = seen.header("x-api-key");
        let told = format!("{} {key:?} {}", seen.uri, seen.body);
        (StatusCode::BAD_REQUEST, told)
    });
    let url = serve(echo).await;
    let config = json!({ "url": url, "schema": schema(), "method": "POST",
        "headers": { "X-Api-Key": "swordfish-1" }, "params": { "app_token": ["swordfish-2"] },
        "body": { "a": [{ "client_secret": "swordfish-3" }], "page_key": "short" } });
    let error = Pipeline::new(config).run().await.unwrap_err();
    let text = format!("{error:?}");
    assert!(
        text.contains("***") && text.contains("short") && !text.contains("swordfish"),
        "{text}"
    );
}

#[tokio::test]
async fn a_secrets_file_is_a_regular_one_of_at_most_64_kib() {
    let long = "x".repeat((64 << 10) + 1);
    let cx = impatient(&[("long", &long), ("most", &long[1..])]);
    std::fs::write(cx.path("bytes"), b"swordfish\xff").unwrap();
    let made = std::process::Command::new("mkfifo")
        .arg(cx.path("pipe"))
        .status();
    assert!(made.unwrap().success());
    let url = serve(open_to_all(&Log::default())).await;
    let bearer = |file: &str| json!({ "type": "bearer", "token": { "file": file } });
    for (file, words) in [
        ("long", "larger than 64 KiB"),
        ("bytes", "not UTF-8"),
        ("pipe", "<(…)"),
        ("/dev/zero", "{ env = "),
        (".", "regular"),
        ("nowhere", "can't be read"),
    ] {
        let error = ask(&cx, bearer(file), &url).await.unwrap_err();
        assert_eq!(error.kind(), ErrorKind::Auth, "{error:?}");
        let text = format!("{error:?}");
        assert!(
            text.contains(words) && !text.contains("swordfish"),
            "{text}"
        );
    }
    let (client, _) = authorized(&cx.source(), bearer("most")).unwrap();
    assert!(client.holds_hidden(&long));
}

/// What a server echoes, in the place where a run would keep it.
struct Echo {
    /// What is asked, besides the address and the credentials.
    config: Value,
    /// The answer to the first page, with the echo in it.
    answer: fn(&str) -> Value,
    /// What the run says, if it doesn't just go on without it.
    says: Option<&'static str>,
}

#[tokio::test]
async fn what_a_server_echoes_never_reaches_the_state() {
    let cases = [
        Echo {
            config: json!({ "records": "/items",
                "pagination": { "type": "cursor", "cursor": "/next", "param": "after" } }),
            answer: |echo| json!({ "items": things(1..=1), "next": format!("page-{echo}-2") }),
            says: Some("the cursor at `/next` holds a secret"),
        },
        Echo {
            config: json!({ "records": "/items",
                "pagination": { "type": "cursor", "cursor": "/next", "param": "after" } }),
            answer: |echo| json!({ "items": things(1..=1), "next": { "a": [echo] } }),
            says: Some("the cursor at `/next` holds a secret"),
        },
        Echo {
            config: json!({ "records": "/items",
                "pagination": { "type": "next_url", "next": "/next" } }),
            answer: |echo| json!({ "items": things(1..=1), "next": format!("/of/{echo}x/2") }),
            says: Some("the next page's URL holds a secret"),
        },
        Echo {
            config: json!({ "incremental": { "param": "since", "field": "/name" } }),
            answer: |echo| json!([{ "id": 1, "name": format!("x{echo}") }]),
            says: Some("a record's `/name` holds a secret"),
        },
        Echo {
            config: json!({ "schema": [] }),
            answer: |echo| json!([{ "id": 1, format!("x{echo}"): 1, "a": {} }]),
            says: Some("a column's name holds a secret"),
        },
        Echo {
            config: json!({ "conditional": true }),
            answer: |_| json!(things(1..=1)),
            says: None,
        },
    ];
    let secret = "swordfish&more";
    let auth = json!({ "type": "bearer", "token": { "file": "secret" } });
    for echo in [
        secret,
        // In base 64, in hexadecimal digits, percent-encoded twice.
        "c3dvcmRmaXNoJm1vcmU",
        "73776F726466697368266D6F7265",
        "swordfish%2526more",
    ] {
        for case in &cases {
            let body = (case.answer)(echo);
            let tag = format!("\"x-{echo}\"");
            let router = Router::new().fallback(move |request: Request| async move {
                // One page, however it is asked for.
                let first = request.uri().path() == "/" && request.uri().query().is_none();
                let body = if first { body } else { json!({ "items": [] }) };
                ([("etag", tag)], Json(body))
            });
            let url = serve(router).await;
            let mut config = json!({ "url": url, "schema": schema(), "auth": auth });
            let more = case.config.as_object().unwrap().clone();
            config.as_object_mut().unwrap().extend(more);
            let mut pipeline = Pipeline::with_secrets(config, &[("secret", secret)]);
            let read = pipeline.run().await;
            let mut text = match (read, case.says) {
                (Ok(read), None) => {
                    assert_eq!(read.ids(), [1]);
                    format!("{:?} {:?}", read.positions, pipeline.state())
                }
                (Err(error), Some(words)) => {
                    assert_eq!(error.kind(), ErrorKind::Data, "{error:?}");
                    assert!(error.to_string().contains(words), "{error:?}");
                    format!("{error:?}")
                }
                (read, says) => panic!("{echo}: {says:?}, but {read:?}"),
            };
            text.push_str(&format!("{:?}", pipeline.cx.common().store));
            assert!(
                !text.contains(echo) && !text.contains("swordfish"),
                "{text}"
            );
        }
    }
}
