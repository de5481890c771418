//! Several routes of one server, and who may send to them.

use base64::Engine;
use hmac::{Hmac, KeyInit, Mac};
use reqwest::Client;
use serde_json::{Value, json};
use sha2::{Sha256, Sha512};
use tidegate_core::SourceConfig;

use crate::site::Site;

fn config(keys: Value) -> Result<(), tidegate_core::Error> {
    let mut keys = keys;
    keys["listen"] = "127.0.0.1:0".into();
    let config: tidegate_connector_http::HttpServerConfig = serde_json::from_value(keys).unwrap();
    config.validate()
}

#[tokio::test(flavor = "multi_thread")]
async fn each_route_has_a_stream_and_what_nobody_reads_isn_t_taken() {
    let directory = tempfile::tempdir().unwrap();
    let keys = json!({
        "headers": ["X-Kind"],
        "routes": {
            "orders": { "paths": ["/orders", "/orders/{id}"] },
            "raw": { "paths": ["/{*rest}"], "accept": "any", "headers": [] },
            "unread": { "paths": ["/unread"] },
        },
    });
    let mut site = Site::start_with(directory.path(), keys, &["in.orders", "in.raw"]).await;
    assert_eq!(site.post("/unread", "1").await.0, 404);
    for (path, body) in [
        ("/orders", "{\"a\":1}"),
        ("/orders/7", "2"),
        ("/other", "no JSON"),
    ] {
        assert_eq!(site.post(path, body).await.0, 202, "{path}");
    }
    assert_eq!(site.post("/orders/7", "no JSON").await.0, 400);
    let rows = site.rows(3).await;
    let wide = rows.iter().filter(|rows| rows.num_columns() == 8);
    assert_eq!(wide.map(|rows| rows.num_rows()).sum::<usize>(), 2);
    site.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn only_who_has_a_key_may_send() {
    let directory = tempfile::tempdir().unwrap();
    for (name, key) in [("one", "first key"), ("two", "second key")] {
        std::fs::write(directory.path().join(name), format!("{key}\n")).unwrap();
    }
    let both = json!([{ "file": "one" }, { "file": "two" }]);
    let keys = json!({
        "routes": {
            "bearer": { "paths": ["/b"], "auth": { "type": "bearer", "tokens": both } },
            "header": { "paths": ["/h"], "auth": { "type": "header", "name": "X-Api-Key", "values": both } },
        },
    });
    let site = Site::start_with(directory.path(), keys, &["in.bearer", "in.header"]).await;
    for (path, header, value, status) in [
        ("/b", "authorization", "Bearer first key", 202),
        ("/b", "authorization", "bearer second key", 202),
        ("/b", "authorization", "Bearer second", 401),
        ("/b", "authorization", "Basic first key", 401),
        ("/b", "authorization", "", 401),
        ("/b", "x-api-key", "first key", 401),
        ("/h", "x-api-key", "first key", 202),
        ("/h", "x-api-key", "first key2", 401),
        ("/h", "authorization", "Bearer first key", 401),
    ] {
        let request = Client::new()
            .post(format!("{}{path}", site.url))
            .header(header, value);
        assert_eq!(
            site.send(request.body("1")).await.0,
            status,
            "{path} {header}: {value}"
        );
    }
    site.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn only_what_is_signed_is_taken() {
    let directory = tempfile::tempdir().unwrap();
    std::fs::write(
        directory.path().join("secret"),
        "It's a Secret to Everybody",
    )
    .unwrap();
    let secret = json!({ "file": "secret" });
    let keys = json!({
        "accept": "any",
        "routes": {
            "github": { "paths": ["/g"], "signature": { "type": "github", "secret": secret } },
            "stripe": { "paths": ["/s"], "signature": { "type": "stripe", "secret": secret } },
            "other": { "paths": ["/o"], "signature": {
                "type": "hmac", "header": "X-Sign", "secret": secret,
                "algorithm": "sha512", "encoding": "base64", "prefix": "v0=",
            } },
        },
    });
    let site = Site::start_with(
        directory.path(),
        keys,
        &["in.github", "in.stripe", "in.other"],
    )
    .await;
    let key = b"It's a Secret to Everybody";
    let sha256 = |text: &str| {
        let mut mac = Hmac::<Sha256>::new_from_slice(key).unwrap();
        mac.update(text.as_bytes());
        hex::encode(mac.finalize().into_bytes())
    };
    let mut mac = Hmac::<Sha512>::new_from_slice(key).unwrap();
    mac.update(b"Hello, World!");
    let sha512 = base64::engine::general_purpose::STANDARD.encode(mac.finalize().into_bytes());
    // The example of GitHub's documentation.
    let github = "sha256=757107ea0eb2509fc211221cce984b8a37570b6d7586c22c46f4379c8b043e17";
    let now = chrono::Utc::now().timestamp();
    let stripe = |time: i64, signed: &str| format!("t={time},v0=00,v1=00,v1={}", sha256(signed));
    let right = stripe(now, &format!("{now}.Hello, World!"));
    let old = now - 600;
    let old = stripe(old, &format!("{old}.Hello, World!"));
    let elsewhen = stripe(now - 1, &format!("{now}.Hello, World!"));
    let other = format!("v0={sha512}");
    for (path, header, value, body, status) in [
        ("/g", "x-hub-signature-256", github, "Hello, World!", 202),
        ("/g", "x-hub-signature-256", github, "Hello, World?", 401),
        ("/g", "x-hub-signature-256", "sha256=", "Hello, World!", 401),
        ("/g", "x-hub-signature", github, "Hello, World!", 401),
        ("/s", "stripe-signature", &right, "Hello, World!", 202),
        ("/s", "stripe-signature", &right, "Hello", 401),
        ("/s", "stripe-signature", &old, "Hello, World!", 401),
        ("/s", "stripe-signature", &elsewhen, "Hello, World!", 401),
        ("/o", "x-sign", &other, "Hello, World!", 202),
        ("/o", "x-sign", &sha512, "Hello, World!", 401),
    ] {
        let request = Client::new()
            .post(format!("{}{path}", site.url))
            .header(header, value);
        assert_eq!(
            site.send(request.body(body)).await.0,
            status,
            "{path} {value}: {body}"
        );
    }
    site.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn pages_of_allowed_origins_may_send_and_no_others() {
    let directory = tempfile::tempdir().unwrap();
    let site = Site::start(
        directory.path(),
        json!({ "cors": ["https://shop.example"] }),
    )
    .await;
    for (origin, allowed) in [
        ("https://shop.example", true),
        ("https://evil.example", false),
    ] {
        for method in [reqwest::Method::OPTIONS, reqwest::Method::POST] {
            let request = Client::new()
                .request(method, &site.url)
                .header("origin", origin)
                .body("1");
            let answer = request.send().await.unwrap();
            let found = answer.headers().get("access-control-allow-origin");
            assert_eq!(found.is_some(), allowed, "{origin}");
        }
    }
    site.stop().await;
}

#[test]
fn what_can_t_work_is_refused_in_the_file() {
    for (keys, what) in [
        (json!({ "paths": [] }), "names no path"),
        (json!({ "paths": ["a"] }), "doesn't begin with"),
        (json!({ "paths": ["/a", "/a"] }), "there twice"),
        (
            json!({ "paths": ["/"], "routes": { "a": { "paths": ["/a"] } } }),
            "stands in each route",
        ),
        (
            json!({ "routes": { "a": { "paths": ["/a"] }, "b": { "paths": ["/a"] } } }),
            "there twice",
        ),
        (
            json!({ "routes": { "rejected": { "paths": ["/a"] } } }),
            "`rejected`",
        ),
        (json!({ "headers": ["X-A", "x-a"] }), "named `x_a`"),
        (json!({ "headers": ["Path"] }), "named `path`"),
        (json!({ "headers": ["a b"] }), "header's name"),
        (
            json!({ "auth": { "type": "bearer", "tokens": [] } }),
            "nobody could send",
        ),
        (json!({ "max_body": 0 }), "max_body"),
        (
            json!({ "paths": ["/a/{x}", "/a/{y}"] }),
            "`/a/{x}` and `/a/{y}` are the same",
        ),
        (json!({ "max_log": "1 MB" }), "2 MiB"),
        (json!({ "max_log": "2 MiB", "max_body": "2 MB" }), "no room"),
        (json!({ "max_in_flight": 0 }), "max_in_flight"),
        (json!({ "body_timeout": "0s" }), "body_timeout"),
    ] {
        let error = config(keys.clone()).expect_err(&keys.to_string());
        assert!(error.to_string().contains(what), "{keys}: {error}");
    }
    config(json!({})).unwrap();
}
