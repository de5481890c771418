//! What requests the `http` sink makes of rows, and what it does about answers.

use std::sync::Arc;
use std::time::{Duration, Instant};

use arrow_array::{BooleanArray, Float64Array, Int64Array, StringArray};
use serde_json::{Value, json};
use tidegate_connector_http::HttpSinkConfig;
use tidegate_core::{ErrorKind, Rejected, SinkConfig as _};

use crate::sink_far::{
    Answer, Far, answer, columns, cx, deliver, keys, named, open, rows, send, with_origins,
};

fn reasons(rejected: &Rejected) -> Vec<&str> {
    let rows = rejected.rows.iter();
    rows.map(|row| row.reason.as_str()).collect()
}

#[tokio::test]
async fn a_row_is_a_json_object() {
    let far = Far::start(|_, _| answer(201, "")).await;
    let headers = json!({ "headers": { "X-Version": "2" }, "method": "PATCH" });
    let rejected = send(
        keys(&format!("{}/v1/{{id}}?n={{name}}", far.url), headers),
        rows(1, 2),
    )
    .await;
    assert!(rejected.unwrap().is_empty());
    let mut seen = far.seen();
    seen.sort_by_key(|seen| seen.path.clone());
    assert_eq!(seen.len(), 2);
    assert_eq!(seen[0].method, "PATCH");
    assert_eq!(seen[0].path, "/v1/1?n=n%221%22");
    assert_eq!(seen[0].json(), json!({ "id": 1, "name": "n\"1\"" }));
    assert_eq!(seen[0].header("content-type"), Some("application/json"));
    assert_eq!(seen[0].header("x-version"), Some("2"));
    assert_eq!(seen[0].key().len(), 64);
    assert_ne!(seen[0].key(), seen[1].key());
}

#[tokio::test]
async fn a_header_may_be_a_secret_which_is_neither_shown_nor_stored() {
    let secret = tempfile::NamedTempFile::new().unwrap();
    std::fs::write(secret.path(), "swordfish\n").unwrap();
    let far = Far::start(|seen, _| answer(403, seen.header("x-api-key").unwrap())).await;
    let headers = json!({ "X-Api-Key": { "file": secret.path() }, "X-Version": "2" });
    let keys = keys(&far.url, json!({ "headers": headers }));
    let error = send(keys.clone(), rows(1, 2)).await.unwrap_err();
    let text = format!("{error:?}");
    assert!(
        text.contains("***") && !text.contains("swordfish"),
        "{text}"
    );
    assert!(text.contains("`X-Api-Key` of `headers`"), "{text}");
    let seen = &far.seen()[0];
    assert_eq!(seen.header("x-api-key"), Some("swordfish"));
    assert_eq!(seen.header("x-version"), Some("2"));
    let config: HttpSinkConfig = serde_json::from_value(keys).unwrap();
    let stored = serde_json::to_value(config).unwrap();
    assert_eq!(stored["headers"], headers);
}

#[tokio::test]
async fn many_rows_are_one_request_up_to_the_rows_and_the_bytes() {
    let far = Far::start(|_, _| answer(200, "")).await;
    let of = |body: &str, more: Value| {
        let mut all = keys(&far.url, json!({ "body": body, "ordered": true }));
        all.as_object_mut()
            .unwrap()
            .extend(more.as_object().unwrap().clone());
        all
    };
    send(
        of("array", json!({ "batch_rows": 4, "compression": "gzip" })),
        rows(0, 10),
    )
    .await
    .unwrap();
    let sizes: Vec<_> = far
        .seen()
        .iter()
        .map(|seen| seen.json().as_array().unwrap().len())
        .collect();
    assert_eq!(sizes, [4, 4, 2]);
    assert!(
        far.seen()
            .iter()
            .all(|seen| seen.header("content-encoding") == Some("gzip"))
    );
    let before = far.seen().len();
    // Each row takes about 30 bytes.
    send(of("ndjson", json!({ "batch_bytes": 1000 })), rows(0, 100))
        .await
        .unwrap();
    let seen = &far.seen()[before..];
    assert!((2..6).contains(&seen.len()), "{}", seen.len());
    assert!(seen.iter().all(|seen| seen.body.len() < 1100));
    assert_eq!(seen[0].header("content-type"), Some("application/x-ndjson"));
    let lines: Vec<Value> = seen
        .iter()
        .flat_map(|seen| seen.text().lines())
        .map(|line| serde_json::from_str(line).unwrap())
        .collect();
    let ids: Vec<_> = lines
        .iter()
        .map(|row| row["id"].as_i64().unwrap())
        .collect();
    assert_eq!(ids, (0..100).collect::<Vec<_>>());
}

#[tokio::test]
async fn small_batches_wait_for_others_until_the_epoch_ends() {
    for ordered in [false, true] {
        let far = Far::start(|_, _| answer(200, "")).await;
        let cx = cx();
        let keys = keys(
            &far.url,
            json!({ "body": "array", "batch_rows": 10, "ordered": ordered }),
        );
        let sink = open(&cx, keys, &rows(0, 0)).await.unwrap();
        let batches = (0..25_u32).map(|i| with_origins(rows(i.into(), 1), "s", i.into()));
        deliver(&sink, batches.collect()).await.unwrap();
        let sizes: Vec<_> = far
            .seen()
            .iter()
            .map(|seen| seen.json().as_array().unwrap().len())
            .collect();
        assert_eq!(sizes, [10, 10, 5]);
    }
}

#[tokio::test]
async fn a_request_has_one_address() {
    let far = Far::start(|_, _| answer(200, "")).await;
    let url = format!("{}/{{name}}", far.url);
    let keys = keys(&url, json!({ "body": "ndjson", "ordered": true }));
    send(
        keys,
        named(&[Some("a"), Some("a"), Some("b"), None, Some("a")]),
    )
    .await
    .map(|rejected| assert_eq!(rejected.len(), 1))
    .unwrap();
    let seen = far.seen();
    let shown: Vec<_> = seen
        .iter()
        .map(|seen| (seen.path.as_str(), seen.text().lines().count()))
        .collect();
    assert_eq!(shown, [("/a", 2), ("/b", 1), ("/a", 1)]);
}

#[tokio::test]
async fn a_template_is_json_whatever_is_in_the_rows() {
    let far = Far::start(|_, _| answer(200, "")).await;
    let template =
        r#"{"text": "Hi {name}, {n}", "name": {name}, "n": {n}, "ok": [{ok}], "x": "{x}"}"#;
    let batch = columns(&[
        (
            "name",
            Arc::new(StringArray::from(vec![Some("\"},{\\\n"), None])),
        ),
        ("n", Arc::new(Float64Array::from(vec![Some(1.5), None]))),
        ("ok", Arc::new(BooleanArray::from(vec![Some(true), None]))),
        ("x", Arc::new(Int64Array::from(vec![Some(7), None]))),
    ]);
    let keys = keys(
        &far.url,
        json!({ "body": "template", "template": template, "ordered": true }),
    );
    send(keys, batch).await.unwrap();
    let bodies: Vec<_> = far.seen().iter().map(|seen| seen.json()).collect();
    assert_eq!(
        bodies,
        [
            json!({ "text": "Hi \"},{\\\n, 1.5", "name": "\"},{\\\n", "n": 1.5, "ok": [true], "x": "7" }),
            json!({ "text": "Hi , ", "name": null, "n": null, "ok": [null], "x": "" }),
        ]
    );
}

#[tokio::test]
async fn a_delete_has_no_body() {
    let far = Far::start(|_, _| answer(204, "")).await;
    let keys = keys(
        &format!("{}/{{id}}", far.url),
        json!({ "method": "DELETE", "compression": "gzip" }),
    );
    send(keys, rows(5, 1)).await.unwrap();
    let seen = &far.seen()[0];
    assert_eq!(
        (seen.method.as_str(), seen.path.as_str(), seen.body.len()),
        ("DELETE", "/5", 0)
    );
    assert_eq!(seen.header("content-encoding"), None);
}

#[tokio::test]
async fn no_value_leaves_its_place_in_the_address() {
    let far = Far::start(|_, _| answer(200, "")).await;
    let values = [
        "../../x",
        "//evil.example",
        "a?b#c",
        "%2f",
        "%2e%2e",
        "..",
        ".",
        "",
        "@h",
        "a/../b",
    ];
    let names: Vec<_> = values
        .iter()
        .map(|value| Some(*value))
        .chain([None])
        .collect();
    let keys = keys(
        &format!("{}/v1/{{name}}/x?q={{name}}", far.url),
        json!({ "ordered": true }),
    );
    let rejected = send(keys, named(&names)).await.unwrap();
    assert_eq!(rejected.len(), 4, "{rejected:?}");
    assert!(reasons(&rejected)[0].contains("`..`"), "{rejected:?}");
    assert!(reasons(&rejected)[3].contains("NULL"), "{rejected:?}");
    let paths: Vec<_> = far.seen().into_iter().map(|seen| seen.path).collect();
    let escaped = [
        "..%2F..%2Fx",
        "%2F%2Fevil.example",
        "a%3Fb%23c",
        "%252f",
        "%252e%252e",
        "%40h",
        "a%2F..%2Fb",
    ];
    let wanted: Vec<_> = escaped
        .iter()
        .map(|value| format!("/v1/{value}/x?q={value}"))
        .collect();
    assert_eq!(paths, wanted);
}

#[tokio::test]
async fn a_refused_row_is_rejected_with_what_was_answered() {
    let far = Far::start(|seen, _| match seen.json()["id"].as_i64().unwrap() % 3 {
        0 => answer(422, "{\"error\": \"no\n  thirds\"}"),
        _ => answer(200, ""),
    })
    .await;
    let rejected = send(keys(&far.url, json!({})), rows(1, 6)).await.unwrap();
    assert_eq!(
        reasons(&rejected),
        ["the server answered 422 Unprocessable Entity: {\"error\": \"no thirds\"}"; 2]
    );
    assert_eq!(rejected.rows[0].row, "{\"id\":3,\"name\":\"n\\\"3\\\"\"}");
    assert_eq!(
        rejected.rows[0].origin.split.as_ref().unwrap().as_str(),
        "s"
    );
}

#[tokio::test]
async fn a_refused_batch_is_halved_until_the_bad_rows_are_alone() {
    let bad = |id: i64| id % 40 == 7;
    for ordered in [false, true] {
        let taken: Arc<std::sync::Mutex<Vec<i64>>> = Arc::default();
        let kept = Arc::clone(&taken);
        let far = Far::start(move |seen, _| {
            let ids: Vec<_> = seen
                .json()
                .as_array()
                .unwrap()
                .iter()
                .map(|row| row["id"].as_i64().unwrap())
                .collect();
            if ids.iter().any(|id| bad(*id)) {
                return answer(400, "there is a bad one");
            }
            kept.lock().unwrap().extend(ids);
            answer(200, "")
        })
        .await;
        let keys = keys(
            &far.url,
            json!({ "body": "array", "batch_rows": 64, "ordered": ordered }),
        );
        let rejected = send(keys, rows(0, 200)).await.unwrap();
        assert_eq!(rejected.len(), 5, "{rejected:?}");
        assert_eq!(
            reasons(&rejected)[0],
            "the server answered 400 Bad Request: there is a bad one"
        );
        let mut taken = taken.lock().unwrap().clone();
        if !ordered {
            taken.sort_unstable();
        }
        assert_eq!(taken, (0..200).filter(|id| !bad(*id)).collect::<Vec<_>>());
        // 4 loads, and at most two requests a level for each bad row.
        assert!(far.seen().len() < 4 + 5 * 2 * 7, "{}", far.seen().len());
    }
}

#[tokio::test]
async fn what_is_not_there_is_the_row_s_fault_only_if_the_row_said_where() {
    let far = Far::start(|_, _| answer(404, "nobody")).await;
    let error = send(keys(&far.url, json!({})), rows(0, 3))
        .await
        .unwrap_err();
    assert_eq!(error.kind(), ErrorKind::NotFound);
    assert!(error.hint_text().unwrap().contains("`url`"), "{error:?}");
    let there = keys(&format!("{}/{{id}}", far.url), json!({}));
    assert_eq!(send(there, rows(0, 3)).await.unwrap().len(), 3);
    let there = keys(&format!("{}/{{name}}", far.url), json!({ "body": "array" }));
    assert_eq!(send(there, named(&[Some("a"); 3])).await.unwrap().len(), 3);
}

#[tokio::test]
async fn who_is_not_known_ends_the_run_and_no_secret_is_shown() {
    let secret = tempfile::NamedTempFile::new().unwrap();
    std::fs::write(secret.path(), "hunter2hunter2").unwrap();
    for status in [401, 403] {
        let far = Far::start(move |seen, _| {
            let told = seen.header("authorization").unwrap();
            assert_eq!(told, "Bearer hunter2hunter2");
            answer(status, format!("not with {told}"))
        })
        .await;
        let auth = json!({ "auth": { "type": "bearer", "token": { "file": secret.path() } } });
        let error = send(keys(&far.url, auth), rows(0, 1)).await.unwrap_err();
        assert_eq!(error.kind(), ErrorKind::Auth);
        let text = format!("{error:?}");
        assert!(
            !text.contains("hunter2") && text.contains("`token` of `auth`"),
            "{text}"
        );
        assert_eq!(far.seen().len(), 1, "it isn't asked again");
    }
}

#[tokio::test]
async fn a_redirection_to_another_host_is_not_followed() {
    let other = Far::start(|_, _| answer(200, "")).await;
    let to = other.url.clone();
    for status in [301, 302, 303, 307, 308] {
        let to = to.clone();
        let far = Far::start(move |_, _| Answer {
            headers: vec![("location", format!("{to}/x"))],
            ..answer(status, "")
        })
        .await;
        let error = send(keys(&far.url, json!({})), rows(0, 1))
            .await
            .unwrap_err();
        assert_eq!(error.kind(), ErrorKind::Config, "{error:?}");
    }
    assert!(other.seen().is_empty());
}

#[tokio::test]
async fn retry_after_is_kept() {
    for status in [429, 503] {
        let far = Far::start(move |_, number| match number {
            0 => Answer {
                headers: vec![("retry-after", "1".to_owned())],
                ..answer(status, "")
            },
            _ => answer(200, ""),
        })
        .await;
        let begun = Instant::now();
        send(keys(&far.url, json!({})), rows(0, 1)).await.unwrap();
        assert!(begun.elapsed() >= Duration::from_secs(1));
        let seen = far.seen();
        assert_eq!(seen.len(), 2);
        assert_eq!(seen[0].key(), seen[1].key());
    }
}

#[tokio::test]
async fn a_server_that_stays_away_is_a_passing_error() {
    let far = Far::start(|_, _| answer(503, "")).await;
    let error = send(keys(&far.url, json!({})), rows(0, 1))
        .await
        .unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Transient);
    assert_eq!(far.seen().len(), 30, "`attempts` of `[http]`");
}

#[tokio::test]
async fn a_key_is_the_same_for_the_same_rows_in_a_run_and_no_other() {
    let far = Far::start(|_, _| answer(200, "")).await;
    let cx = cx();
    let sent = async |keys: &Value, split: &str, after: u64| {
        let sink = open(&cx, keys.clone(), &rows(0, 0)).await.unwrap();
        deliver(&sink, vec![with_origins(rows(0, 1), split, after)])
            .await
            .unwrap();
        far.seen().last().unwrap().clone()
    };
    let usual = keys(&far.url, json!({}));
    let first = sent(&usual, "a", 0).await.key();
    assert_eq!(sent(&usual, "a", 0).await.key(), first);
    assert_ne!(sent(&usual, "a", 1).await.key(), first);
    assert_ne!(sent(&usual, "b", 0).await.key(), first);
    send(usual.clone(), rows(0, 1)).await.unwrap();
    assert_ne!(far.seen().last().unwrap().key(), first, "another run");
    let named = keys(&far.url, json!({ "idempotency_key": "X-Id" }));
    assert_eq!(
        sent(&named, "a", 0).await.header("x-id"),
        Some(first.as_str())
    );
    let none = keys(&far.url, json!({ "idempotency_key": false }));
    assert_eq!(sent(&none, "a", 0).await.header("idempotency-key"), None);
    assert!(!open(&cx, none, &rows(0, 0)).await.unwrap().wants_origins());
}

#[tokio::test]
async fn with_a_server_that_dedupes_a_conflict_is_asked_again() {
    let far = Far::start(|seen, number| match (seen.json()["id"].as_i64(), number) {
        (Some(0), 0..3) => answer(409, "being worked on"),
        (Some(0), _) => answer(200, ""),
        _ => answer(409, "forever"),
    })
    .await;
    let dedupes = keys(&far.url, json!({ "server_dedupes": true, "ordered": true }));
    let rejected = send(dedupes, rows(0, 2)).await.unwrap();
    assert_eq!(rejected.len(), 1);
    assert!(reasons(&rejected)[0].contains("forever"), "{rejected:?}");
    let before = far.seen().len();
    let rejected = send(keys(&far.url, json!({})), rows(1, 1)).await.unwrap();
    assert_eq!(
        reasons(&rejected),
        ["the server answered 409 Conflict: forever"]
    );
    assert_eq!(far.seen().len(), before + 1);
}

#[tokio::test]
async fn what_cannot_work_is_refused_when_it_is_opened() {
    let cx = cx();
    for (more, word) in [
        (json!({ "url": "http://h/{nobody}" }), "`nobody`"),
        (
            json!({ "body": "template", "template": "{nobody}" }),
            "`nobody`",
        ),
        (
            json!({ "body": "kafka_rest", "topic": "t", "key": "nobody" }),
            "`nobody`",
        ),
        (json!({ "url": "http://{name}/x" }), "before its path"),
        (json!({ "url": "http://me:pw@h/" }), "password"),
        (json!({ "body": "template" }), "`template`"),
        (json!({ "template": "1" }), "`template`"),
        (json!({ "body": "kafka_rest" }), "`topic`"),
        (json!({ "body": "kafka_rest", "topic": "../x" }), "`topic`"),
        (
            json!({ "body": "kinesis_gateway", "stream": "s" }),
            "partition key",
        ),
        (
            json!({ "body": "kinesis_gateway", "stream": "s", "key": "id", "batch_rows": 501 }),
            "batch_rows",
        ),
        (
            json!({ "body": "kafka_rest", "topic": "t", "method": "PUT" }),
            "method",
        ),
        (
            json!({ "body": "kafka_rest", "topic": "t", "ordered": true }),
            "ordered",
        ),
        (json!({ "batch_rows": 2 }), "batch_rows"),
        (json!({ "batch_bytes": 1 }), "batch_bytes"),
        (json!({ "concurrency": 0 }), "concurrency"),
        (json!({ "body": "none" }), "nothing of the rows"),
        (json!({ "headers": { "Authorization": "x" } }), "secret"),
        (
            json!({ "headers": { "idempotency-key": "x" } }),
            "idempotency_key",
        ),
        (
            json!({ "headers": { "Content-Length": "1" } }),
            "follows from the body",
        ),
        (
            json!({ "url": "https://h/?k=1", "auth": { "type": "query", "name": "k", "value": { "env": "X" } } }),
            "sent by `auth`",
        ),
        (json!({ "idempotency_key": "a b" }), "header's name"),
        (
            json!({ "server_dedupes": true, "idempotency_key": false }),
            "can't tell",
        ),
        (
            json!({ "server_dedupes": true, "body": "array" }),
            "may differ",
        ),
        (json!({ "allow_http": true }), "allow_http"),
        (
            json!({ "auth": { "type": "bearer", "token": { "env": "X" } } }),
            "plain http",
        ),
    ] {
        let keys = keys("http://far.example/", more.clone());
        let error = open(&cx, keys, &rows(0, 0)).await.unwrap_err();
        assert_eq!(error.kind(), ErrorKind::Config, "{more}: {error:?}");
        assert!(format!("{error:?}").contains(word), "{more}: {error:?}");
    }
    let config: HttpSinkConfig = serde_json::from_value(keys("https://h/{a}", json!({}))).unwrap();
    config.validate().unwrap();
}
