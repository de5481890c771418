//! The client against real servers on this machine.

use std::net::Ipv4Addr;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};

use axum::Router;
use axum::body::{Body, Bytes};
use axum::extract::{RawQuery, Request};
use axum::http::{HeaderMap, StatusCode, header};
use axum::response::{IntoResponse as _, Redirect};
use axum::routing::get;
use tidegate_core::{ByteSize, Error, ErrorKind, Span};
use tidegate_http::{
    Adaptive, Dialect, HttpSettings, Method, Refusal, Response, Url, Validators, by_status,
};
use tokio::net::TcpListener;

use crate::servers::{client, gzipped, refused, serve, serve_each, settings};

#[tokio::test]
async fn a_server_that_failed_is_asked_again() {
    let (url, requests) = serve_each(|n| match n {
        0 | 1 => (StatusCode::INTERNAL_SERVER_ERROR, "no"),
        _ => (StatusCode::OK, "yes"),
    })
    .await;
    let (client, metrics) = client(settings());
    let answer = client.get(url.clone()).send().await.unwrap();
    assert_eq!(answer.body, "yes");
    assert_eq!(answer.url, url);
    assert_eq!(requests.load(Ordering::SeqCst), 3);
    assert_eq!(metrics.total_retries(), 2);
    assert_eq!(metrics.total_requests(), 3);
}

#[tokio::test]
async fn after_the_last_attempt_the_error_says_what_the_server_said() {
    let (url, requests) = serve_each(|_| (StatusCode::BAD_GATEWAY, "the\n  backend is away")).await;
    let (client, metrics) = client(settings());
    let error = refused(&client, url.clone()).await;
    assert_eq!(error.kind(), ErrorKind::Transient);
    assert_eq!(
        error.to_string(),
        format!("the server failed (url: {url}, status: 502, body: the backend is away)")
    );
    assert_eq!(requests.load(Ordering::SeqCst), 3);
    assert_eq!(metrics.total_retries(), 2);
}

#[tokio::test]
async fn each_status_has_its_kind_and_what_cannot_help_is_not_tried_again() {
    for (status, kind, attempts) in [
        (400, ErrorKind::Config, 1),
        (401, ErrorKind::Auth, 1),
        (403, ErrorKind::Auth, 1),
        (404, ErrorKind::NotFound, 1),
        (408, ErrorKind::Transient, 3),
        (409, ErrorKind::Conflict, 1),
        (413, ErrorKind::Data, 1),
        (422, ErrorKind::Config, 1),
        (429, ErrorKind::RateLimited { wait: None }, 3),
        (500, ErrorKind::Transient, 3),
        (501, ErrorKind::Unsupported, 1),
        (503, ErrorKind::Transient, 3),
        (304, ErrorKind::Data, 1),
    ] {
        let (url, requests) = serve_each(move |_| StatusCode::from_u16(status).unwrap()).await;
        let error = refused(&client(settings()).0, url).await;
        assert_eq!(error.kind(), kind, "{status}");
        assert_eq!(requests.load(Ordering::SeqCst), attempts, "{status}");
    }
}

#[tokio::test]
async fn the_wait_that_a_server_asks_for_is_kept() {
    let (url, _) = serve_each(|n| match n {
        0 => (StatusCode::TOO_MANY_REQUESTS, [(header::RETRY_AFTER, "1")]),
        _ => (StatusCode::OK, [(header::RETRY_AFTER, "")]),
    })
    .await;
    let begun = Instant::now();
    let (client, metrics) = client(settings());
    client.get(url).send().await.unwrap();
    assert!(begun.elapsed() >= Duration::from_secs(1));
    assert!(metrics.total_waited_ms() >= 1_000);
}

#[tokio::test]
async fn a_wait_that_is_too_long_is_told_instead_of_kept() {
    for status in [408, 429, 500, 503] {
        let (url, requests) = serve_each(move |_| {
            let wait = [(header::RETRY_AFTER, "3600")];
            (StatusCode::from_u16(status).unwrap(), wait)
        })
        .await;
        let error = refused(&client(settings()).0, url).await;
        let wait = Some(Duration::from_secs(3600));
        assert_eq!(error.kind(), ErrorKind::RateLimited { wait }, "{status}");
        assert_eq!(requests.load(Ordering::SeqCst), 1, "{status}");
    }
}

#[tokio::test]
async fn a_post_is_made_again_only_where_the_server_did_not_act_on_it() {
    for (status, idempotent, attempts) in [(500, false, 1), (500, true, 3), (429, false, 3)] {
        let (url, requests) = serve_each(move |_| StatusCode::from_u16(status).unwrap()).await;
        let (client, _) = client(settings());
        let request = client.request(Method::POST, url).idempotent(idempotent);
        request.json(&["x"]).send().await.unwrap_err();
        assert_eq!(requests.load(Ordering::SeqCst), attempts);
    }
    // It may have acted on it before it gave up, whatever it says of when to return.
    let (url, requests) = serve_each(|_| {
        let wait = [(header::RETRY_AFTER, "0")];
        (StatusCode::SERVICE_UNAVAILABLE, wait)
    })
    .await;
    let (client, _) = client(settings());
    let request = client.request(Method::POST, url);
    request.json(&["x"]).send().await.unwrap_err();
    assert_eq!(requests.load(Ordering::SeqCst), 1);
}

#[tokio::test]
async fn a_body_that_does_not_end_in_time_is_an_error() {
    let stalled = || async {
        let first = futures_once(Bytes::from_static(b"[1,"));
        Body::from_stream(first)
    };
    let url = serve(Router::new().route("/", get(stalled))).await;
    let (client, metrics) = client(HttpSettings {
        request_timeout: Span(Duration::from_millis(200)),
        attempts: 2,
        ..settings()
    });
    let error = refused(&client, url).await;
    assert_eq!(error.kind(), ErrorKind::Transient);
    assert_eq!(error.message(), "the server did not answer in time");
    assert_eq!(metrics.total_retries(), 1);
}

/// A stream that gives one piece and never ends.
fn futures_once(
    piece: Bytes,
) -> impl futures::Stream<Item = Result<Bytes, std::convert::Infallible>> {
    use futures::StreamExt as _;
    futures::stream::iter([Ok(piece)]).chain(futures::stream::pending())
}

#[tokio::test]
async fn a_body_over_the_limit_is_refused_whether_its_length_is_told_or_not() {
    let told = || async { "x".repeat(1_001) };
    let untold = || async {
        let pieces = (0..11).map(|_| Ok::<_, std::convert::Infallible>("x".repeat(100)));
        Body::from_stream(futures::stream::iter(pieces))
    };
    let fits = || async { "x".repeat(1_000) };
    let routes = Router::new()
        .route("/told", get(told))
        .route("/untold", get(untold))
        .route("/packed", get(|| async { gzipped(&[b'x'; 1_001]) }))
        .route("/fits", get(fits));
    let url = serve(routes).await;
    let (client, metrics) = client(HttpSettings {
        max_response: ByteSize(1_000),
        ..settings()
    });
    for path in ["told", "untold", "packed"] {
        let error = refused(&client, url.join(path).unwrap()).await;
        assert_eq!(error.kind(), ErrorKind::Data, "{path}");
        assert!(error.hint_text().unwrap().contains("max_response"));
    }
    assert_eq!(metrics.total_retries(), 0);
    let answer = client.get(url.join("fits").unwrap()).send().await.unwrap();
    assert_eq!(answer.body.len(), 1_000);
}

#[tokio::test]
async fn a_gzipped_body_is_unpacked() {
    let packed = || async { gzipped(b"[1, 2]") };
    let url = serve(Router::new().route("/", get(packed))).await;
    let answer = client(settings()).0.get(url).send().await.unwrap();
    assert_eq!(answer.json::<Vec<u8>>().unwrap(), [1, 2]);
}

/// Takes connections and resets each without an answer.
async fn serve_resets() -> (Url, Arc<AtomicU64>) {
    let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).await.unwrap();
    let url = format!("http://{}/", listener.local_addr().unwrap());
    let count = Arc::new(AtomicU64::new(0));
    let counted = Arc::clone(&count);
    tokio::spawn(async move {
        while let Ok((socket, _)) = listener.accept().await {
            counted.fetch_add(1, Ordering::SeqCst);
            // Closing with unread bytes is a reset.
            socket.readable().await.unwrap();
            drop(socket);
        }
    });
    (Url::parse(&url).unwrap(), count)
}

#[tokio::test]
async fn a_lost_connection_is_made_again() {
    let (url, connections) = serve_resets().await;
    let error = refused(&client(settings()).0, url).await;
    assert_eq!(error.kind(), ErrorKind::Transient);
    assert_eq!(error.message(), "the connection to the server was lost");
    assert_eq!(connections.load(Ordering::SeqCst), 3);
}

/// Sends headers for as long as somebody takes them, and counts the bytes.
async fn serve_endless_headers() -> (Url, Arc<AtomicU64>) {
    use tokio::io::AsyncWriteExt as _;
    let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).await.unwrap();
    let url = format!("http://{}/", listener.local_addr().unwrap());
    let count = Arc::new(AtomicU64::new(0));
    let counted = Arc::clone(&count);
    tokio::spawn(async move {
        while let Ok((mut socket, _)) = listener.accept().await {
            let mut piece = b"HTTP/1.1 200 OK\r\n".to_vec();
            while socket.write_all(&piece).await.is_ok() {
                counted.fetch_add(piece.len() as u64, Ordering::SeqCst);
                piece = [&b"x: "[..], &[b'y'; 1000], b"\r\n"].concat();
            }
        }
    });
    (Url::parse(&url).unwrap(), count)
}

#[tokio::test]
async fn headers_without_an_end_are_refused() {
    let (url, bytes) = serve_endless_headers().await;
    let error = refused(&client(settings()).0, url).await;
    assert_eq!(error.kind(), ErrorKind::Transient, "{error:?}");
    // Three attempts, with what the system takes ahead.
    let bytes = bytes.load(Ordering::SeqCst);
    assert!(bytes < 64 << 20, "{bytes}");
}

#[tokio::test]
async fn a_server_that_is_not_there_is_said_to_be_so() {
    let url = {
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).await.unwrap();
        format!("http://{}/", listener.local_addr().unwrap())
    };
    let (client, metrics) = client(settings());
    let error = refused(&client, Url::parse(&url).unwrap()).await;
    assert_eq!(error.kind(), ErrorKind::Transient);
    assert_eq!(
        error.to_string(),
        format!("the server can't be reached (url: {url})")
    );
    assert!(format!("{error:?}").contains("refused"), "{error:?}");
    assert_eq!(metrics.total_retries(), 2);
}

#[tokio::test]
async fn secrets_are_sent_but_never_shown() {
    let echo = |RawQuery(query): RawQuery, headers: HeaderMap| async move {
        let asked = query.as_deref() == Some("key=hunter2&page=1")
            && headers.contains_key(header::AUTHORIZATION)
            && headers
                .get("x-secret")
                .is_some_and(|value| value == "hunter2");
        if asked {
            StatusCode::FORBIDDEN
        } else {
            StatusCode::OK
        }
    };
    let mut url = serve(Router::new().route("/", get(echo))).await;
    url.set_username("me").unwrap();
    url.set_password(Some("hunter2")).unwrap();
    let (client, _) = client(settings());
    let request = || {
        let request = client.get(url.clone());
        request.query("key", "hunter2").query("page", 1)
    };
    let request_with_header = request().header("x-secret", "hunter2");
    assert!(!format!("{request_with_header:?}").contains("hunter2"));
    let error = request_with_header.send().await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Auth);
    assert!(error.to_string().contains("key=***&page=1"), "{error}");
    assert!(!format!("{error:?}").contains("hunter2"), "{error:?}");

    let answer = request().send().await.unwrap();
    assert!(!format!("{answer:?}").contains("hunter2"), "{answer:?}");
}

#[tokio::test]
async fn secrets_are_not_shown_where_there_is_no_server() {
    let url = {
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).await.unwrap();
        format!("http://{}/?token=hunter2", listener.local_addr().unwrap())
    };
    let error = refused(&client(settings()).0, Url::parse(&url).unwrap()).await;
    assert!(!format!("{error:?}").contains("hunter2"), "{error:?}");
    assert!(error.to_string().contains("token=***"));
}

#[tokio::test]
async fn a_header_that_cannot_be_sent_is_refused_without_showing_it() {
    let (client, _) = client(settings());
    let url = Url::parse("http://127.0.0.1:1/").unwrap();
    let request = client.get(url).header("x-secret", "hunter2\n");
    let error = request.send().await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Config);
    assert!(!format!("{error:?}").contains("hunter2"), "{error:?}");
}

#[tokio::test]
async fn the_client_says_who_it_is_and_follows_redirections() {
    let agent = |request: Request| async move {
        request.headers()[header::USER_AGENT]
            .to_str()
            .unwrap()
            .to_owned()
    };
    let routes = Router::new()
        .route("/old", get(|| async { Redirect::permanent("/new") }))
        .route("/new", get(agent));
    let url = serve(routes).await;
    let request = client(settings()).0;
    let answer = request.get(url.join("old").unwrap()).send().await.unwrap();
    assert_eq!(answer.url, url.join("new").unwrap());
    assert_eq!(
        answer.body,
        concat!("tidegate/", env!("CARGO_PKG_VERSION")).as_bytes()
    );
}

#[tokio::test]
async fn a_body_that_is_not_the_json_asked_for_is_an_error_with_its_beginning() {
    let (url, _) = serve_each(|n| if n == 0 { "<html>" } else { "{\"a\": 1}" }).await;
    let (client, _) = client(settings());
    for (message, beginning) in [
        ("the server's answer is not JSON", "body: <html>"),
        (
            "the server's answer has another shape than expected",
            "body: {\"a\": 1}",
        ),
    ] {
        let answer = client.get(url.clone()).send().await.unwrap();
        let error = answer.json::<Vec<u8>>().unwrap_err();
        assert_eq!(error.kind(), ErrorKind::Data);
        assert_eq!(error.message(), message);
        assert!(error.to_string().contains(beginning), "{error}");
        assert!(error.to_string().contains(url.as_str()), "{error}");
    }
}

#[tokio::test]
async fn a_proxy_gets_all_requests() {
    let (proxy, requests) = serve_each(|_| "by proxy").await;
    let (client, _) = client(HttpSettings {
        proxy: Some(proxy.to_string()),
        ..settings()
    });
    for server in ["http://tidegate.invalid/", "http://127.0.0.1:1/"] {
        let url = Url::parse(server).unwrap();
        let answer = client.get(url).send().await.unwrap();
        assert_eq!(answer.body, "by proxy");
    }
    assert_eq!(requests.load(Ordering::SeqCst), 2);
}

#[tokio::test]
async fn a_setting_keeps_all_requests_to_a_host_apart() {
    let (url, _) = serve_each(|_| "").await;
    let settings = HttpSettings {
        rate_limit: Some(20.0),
        ..settings()
    };
    let ((one, metrics), (other, _)) = (client(settings.clone()), client(settings));
    let begun = Instant::now();
    let requests = (0..6).map(|n| if n % 2 == 0 { &one } else { &other });
    let answers = requests.map(|client| client.get(url.clone()).send());
    futures::future::try_join_all(answers).await.unwrap();
    assert!(begun.elapsed() >= Duration::from_millis(250));
    assert!(metrics.total_waited_ms() > 0);
}

#[tokio::test]
async fn a_pace_holds_for_its_name() {
    let (url, _) = serve_each(|_| "").await;
    let (client, metrics) = client(settings());
    let begun = Instant::now();
    for name in ["slow", "other", "slow"] {
        let request = client.get(url.clone()).paced(name, 5.0);
        request.send().await.unwrap();
    }
    assert!(begun.elapsed() >= Duration::from_millis(200));
    assert!(
        metrics.total_waited_ms() <= 200,
        "the other one had no wait"
    );
    let error = client.get(url).paced("none", 0.0).send().await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Config);
}

#[test]
fn a_rate_that_is_none_is_refused() {
    for rate in [0.0, -1.0, f64::NAN, f64::INFINITY] {
        let settings = HttpSettings {
            rate_limit: Some(rate),
            ..settings()
        };
        let error = tidegate_http::HttpClient::with_settings(settings, Arc::default()).unwrap_err();
        assert_eq!(error.kind(), ErrorKind::Config);
        assert!(error.message().contains("rate_limit"), "{error}");
    }
}

/// Answers with 304 to whoever has the version.
async fn serve_version() -> Url {
    let handler = |headers: HeaderMap| async move {
        let known = |name, value: &str| headers.get(name).is_some_and(|sent| sent == value);
        let version = [
            (header::ETAG, "W/\"7\""),
            (header::LAST_MODIFIED, "Sun, 06 Nov 1994 08:49:37 GMT"),
            (header::DATE, "Sun, 06 Nov 1994 09:00:00 GMT"),
        ];
        if known(header::IF_NONE_MATCH, "W/\"7\"")
            && known(header::IF_MODIFIED_SINCE, "Sun, 06 Nov 1994 08:49:37 GMT")
        {
            (StatusCode::NOT_MODIFIED, version, "").into_response()
        } else {
            (StatusCode::OK, version, "[1]").into_response()
        }
    };
    serve(Router::new().route("/", get(handler))).await
}

#[tokio::test]
async fn an_answer_that_has_not_changed_is_not_sent_again() {
    let url = serve_version().await;
    let (client, _) = client(settings());
    let first = client.get(url.clone()).send().await.unwrap();
    assert!(!first.not_modified());
    let time = first.server_time().unwrap();
    assert_eq!(time.to_rfc3339(), "1994-11-06T09:00:00+00:00");
    let known = first.validators().unwrap();
    // As they are kept between runs.
    let known: Validators = serde_json::from_str(&serde_json::to_string(&known).unwrap()).unwrap();
    let again = client.get(url.clone()).conditional(&known).send();
    let again = again.await.unwrap();
    assert!(again.not_modified());
    assert!(again.body.is_empty());
    assert_eq!(again.validators(), Some(known));

    let old = Validators {
        etag: Some("\"6\"".into()),
        last_modified: None,
    };
    let answer = client.get(url).conditional(&old).send().await.unwrap();
    assert!(!answer.not_modified());
    assert_eq!(answer.body, "[1]");
}

#[tokio::test]
async fn not_modified_without_a_condition_is_not_expected() {
    let (url, _) = serve_each(|_| StatusCode::NOT_MODIFIED).await;
    let (client, _) = client(settings());
    let nothing = Validators {
        etag: None,
        last_modified: None,
    };
    let request = client.get(url).conditional(&nothing);
    assert_eq!(request.send().await.unwrap_err().kind(), ErrorKind::Data);
}

/// An API that answers 400 to everything and tells by its body what it means.
#[derive(Debug)]
struct Contrary;

impl Dialect for Contrary {
    fn judge(&self, answer: &Response) -> Result<(), Refusal> {
        match &*answer.body {
            b"good" => Ok(()),
            b"later" => {
                Err(Refusal::always(Error::transient("later"))
                    .after(Some(Duration::from_millis(1))))
            }
            b"perhaps" => Err(Refusal::idempotent(Error::transient("perhaps"))),
            b"spent" => Err(Refusal::never(Error::exhausted("spent"))),
            _ => by_status(answer),
        }
    }
}

#[tokio::test]
async fn a_dialect_says_what_an_answer_means() {
    for (bodies, method, expected) in [
        (&["good"][..], Method::GET, Ok(1)),
        (&["later", "later", "good"], Method::GET, Ok(3)),
        (&["later", "later", "good"], Method::POST, Ok(3)),
        (&["perhaps", "good"], Method::GET, Ok(2)),
        (
            &["perhaps", "good"],
            Method::POST,
            Err(ErrorKind::Transient),
        ),
        (&["spent", "good"], Method::GET, Err(ErrorKind::Exhausted)),
        (&["else", "good"], Method::GET, Err(ErrorKind::Config)),
    ] {
        let (url, requests) = serve_each(move |n| {
            let n = usize::try_from(n).unwrap();
            (StatusCode::BAD_REQUEST, bodies[n])
        })
        .await;
        let (client, _) = client(settings());
        let request = client.request(method, url).dialect(&Contrary);
        let got = request
            .send()
            .await
            .map(|_| requests.load(Ordering::SeqCst));
        assert_eq!(got.map_err(|error| error.kind()), expected, "{bodies:?}");
    }
}

#[tokio::test]
async fn requests_within_a_limit_are_fewer_where_the_server_has_too_much_to_do() {
    // A server that takes four at once and refuses more.
    let at_once = Arc::new(AtomicU64::new(0));
    let most = Arc::new(AtomicU64::new(0));
    let (counted, seen) = (Arc::clone(&at_once), Arc::clone(&most));
    let handler = move || {
        let (counted, seen) = (Arc::clone(&counted), Arc::clone(&seen));
        async move {
            let now = counted.fetch_add(1, Ordering::SeqCst) + 1;
            seen.fetch_max(now, Ordering::SeqCst);
            tokio::time::sleep(Duration::from_millis(5)).await;
            counted.fetch_sub(1, Ordering::SeqCst);
            match now {
                1..=4 => StatusCode::OK,
                _ => StatusCode::TOO_MANY_REQUESTS,
            }
        }
    };
    let url = serve(Router::new().fallback(get(handler))).await;
    let settings = HttpSettings {
        attempts: 50,
        ..settings()
    };
    let (client, _) = client(settings);
    let limit = Adaptive::new(16);
    let requests = (0..300).map(|_| client.get(url.clone()).within(&limit).send());
    let answers = futures::future::join_all(requests).await;
    assert!(answers.iter().all(Result::is_ok), "{answers:?}");
    assert!(most.load(Ordering::SeqCst) <= 16);
    assert!(limit.limit() < 10, "{limit:?}");
}

#[tokio::test]
async fn what_was_told_to_wait_holds_up_the_others_within_the_limit() {
    let (url, _) = serve_each(|n| match n {
        0 => (
            StatusCode::SERVICE_UNAVAILABLE,
            [(header::RETRY_AFTER, "1")],
            "",
        ),
        _ => (StatusCode::OK, [(header::RETRY_AFTER, "0")], ""),
    })
    .await;
    let (client, _) = client(settings());
    let limit = Adaptive::new(1);
    let begun = Instant::now();
    let one = || client.get(url.clone()).within(&limit).send();
    let (first, second) = tokio::join!(one(), one());
    assert!(first.is_ok() && second.is_ok());
    assert!(begun.elapsed() >= Duration::from_secs(1));
}

#[tokio::test]
async fn a_faithful_client_follows_only_what_leaves_the_request_as_it_is() {
    let handler = |request: Request| async move {
        let body = axum::body::to_bytes(request.into_body(), 100).await;
        (StatusCode::OK, body.unwrap())
    };
    let moved = |status: u16| {
        let status = StatusCode::from_u16(status).unwrap();
        move || async move { (status, [(header::LOCATION, "/here")]) }
    };
    let mut router = Router::new().route("/here", axum::routing::any(handler));
    for status in [301, 302, 303, 307, 308] {
        router = router.route(&format!("/{status}"), axum::routing::any(moved(status)));
    }
    let base = serve(router).await;
    let (client, _) = client(settings());
    let client = client.faithful().unwrap();
    for status in [301, 302, 303, 307, 308] {
        let url = base.join(&status.to_string()).unwrap();
        let sent = client.request(Method::POST, url).body("rows").send().await;
        match status {
            307 | 308 => assert_eq!(sent.unwrap().body, "rows", "{status}"),
            _ => assert_eq!(sent.unwrap_err().kind(), ErrorKind::Config, "{status}"),
        }
    }
}

#[tokio::test]
async fn a_host_that_has_no_name_is_told_at_once_or_after_the_attempts_as_what_it_is() {
    let (client, metrics) = client(settings());
    let url: Url = "http://no-such-host.invalid/x".parse().unwrap();
    let error = refused(&client, url).await;
    assert!(
        error
            .message()
            .starts_with("the server's name can't be resolved"),
        "{error}"
    );
    assert!(error.hint_text().unwrap().contains("DNS"), "{error}");
    // A name server that isn't there may come back; a name that isn't known doesn't.
    match error.kind() {
        ErrorKind::NotFound => assert_eq!(metrics.total_requests(), 1),
        kind => assert_eq!((kind, metrics.total_requests()), (ErrorKind::Transient, 3)),
    }
}
