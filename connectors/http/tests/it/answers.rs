//! What is answered, and what becomes a row.

use arrow_array::cast::AsArray;
use arrow_array::types::TimestampMicrosecondType;
use reqwest::{Client, Method};
use serde_json::{Value, json};

use crate::site::{Site, texts};

#[tokio::test(flavor = "multi_thread")]
async fn each_request_gets_the_answer_that_the_reference_promises() {
    let directory = tempfile::tempdir().unwrap();
    let keys = json!({ "paths": ["/{anything}"], "max_body": 1000 });
    let site = Site::start(directory.path(), keys).await;
    let http = Client::new();
    let at = |path: &str| format!("{}{path}", site.url);
    let long = format!("\"{}\"", "x".repeat(1000));
    let chunked = reqwest::Body::wrap_stream(futures::stream::iter(vec![Ok::<_, std::io::Error>(
        long.clone(),
    )]));
    let cases = [
        (http.post(at("/a")).body("{\"a\":1}"), 202, Value::Null),
        (http.put(at("/b")).body(" [1, 2] "), 202, Value::Null),
        // curl's -d tells of a form.
        (
            http.post(at("/a"))
                .header("content-type", "application/x-www-form-urlencoded")
                .body("1"),
            202,
            Value::Null,
        ),
        (http.post(at("/a")), 400, json!("Empty request")),
        (http.post(at("/a")).body(" \n"), 400, json!("Empty request")),
        (
            http.post(at("/a")).body("{\"a\":1"),
            400,
            json!("Malformed JSON"),
        ),
        (
            http.post(at("/a")).body("{} {}"),
            400,
            json!("Malformed JSON"),
        ),
        (
            http.post(at("/a")).body(b"\"\xff\"".to_vec()),
            400,
            json!("Malformed JSON"),
        ),
        (http.post(at("/a")).body(long), 413, json!("Body too large")),
        (
            http.post(at("/a")).body(chunked),
            413,
            json!("Body too large"),
        ),
        (http.post(at("/")).body("1"), 404, json!("Not found")),
        (http.post(at("/a/b")).body("1"), 404, json!("Not found")),
        (http.get(at("/a")), 405, json!("Method not allowed")),
        (
            http.request(Method::DELETE, at("/a")),
            405,
            json!("Method not allowed"),
        ),
        (
            http.post(at("/a"))
                .header("content-encoding", "br")
                .body("1"),
            415,
            json!("Unsupported Content-Encoding"),
        ),
        (
            http.post(at("/a"))
                .header("content-type", "text/html; charset=utf-8")
                .body("1"),
            415,
            json!("Unsupported Content-Type"),
        ),
        (
            http.post(at("/a"))
                .header("content-encoding", "gzip")
                .body("1"),
            400,
            json!("Malformed Content-Encoding"),
        ),
        (http.get(at("/health")), 200, Value::Null),
    ];
    for (request, status, error) in cases {
        let told = format!("{request:?}");
        let (found, answer) = site.send(request).await;
        assert_eq!(
            (found, &answer["error"]),
            (status, &error),
            "{told}: {answer}"
        );
        assert!(answer["request_id"].is_string(), "{told}: {answer}");
    }
    let (_, answer) = site.post("/a", "{\"a\": 01}").await;
    assert_eq!(answer["position"], 6, "{answer}");
    site.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_row_has_what_was_sent() {
    let directory = tempfile::tempdir().unwrap();
    let keys = json!({ "headers": ["X-Kind", "User-Agent"] });
    let mut site = Site::start(directory.path(), keys).await;
    let before = chrono::Utc::now().timestamp_micros();
    let body = "{ \"n\" : 1.50,\n \"größe\": \"\\u00df\" }";
    let request = Client::new()
        .post(format!("{}/a%20b/c?x=1&y=%20", site.url))
        .header("X-Kind", "one")
        .header("X-Kind", "two")
        .header("X-Request-Id", "mine-1")
        .body(body);
    let answer = request.send().await.unwrap();
    assert_eq!(answer.headers()["x-request-id"], "mine-1");
    let bad = Client::new()
        .post(&site.url)
        .header("X-Request-Id", "\"a\"")
        .body("1");
    let (_, answer) = site.send(bad).await;
    assert_ne!(
        answer["request_id"], "\"a\"",
        "what JSON would escape is no id"
    );
    let rows = site.rows(2).await;
    let row = &rows[0];
    let first = |column: &str| texts(row, column)[0].clone();
    assert_eq!(first("payload"), body);
    assert_eq!(first("method"), "POST");
    assert_eq!(first("path"), "/a%20b/c");
    assert_eq!(first("query"), "x=1&y=%20");
    assert_eq!(first("remote_addr"), "127.0.0.1");
    assert_eq!(first("request_id"), "mine-1");
    assert_eq!(first("x_kind"), "one, two");
    assert_eq!(first("user_agent"), "NULL");
    let received = row.column_by_name("received_at").unwrap();
    let received = received.as_primitive::<TimestampMicrosecondType>().value(0);
    assert!((before..=chrono::Utc::now().timestamp_micros()).contains(&received));
    site.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn bodies_of_several_rows_give_them_all() {
    let gzip = |text: &str| {
        let mut packed = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::fast());
        std::io::Write::write_all(&mut packed, text.as_bytes()).unwrap();
        packed.finish().unwrap()
    };
    for (accept, body, rows) in [
        ("ndjson", "{\"a\":1}\r\n\n[2]\n3".to_owned(), &["3", "[2]", "{\"a\":1}"][..]),
        ("array", "[ {\"a\":[1]}, \"x,]\" , null]".to_owned(), &["\"x,]\"", "null", "{\"a\":[1]}"]),
        ("array", "{\"a\":1}".to_owned(), &["{\"a\":1}"]),
        ("any", "no JSON".to_owned(), &["no JSON"]),
        (
            "firehose",
            "{\"requestId\":\"r\",\"timestamp\":1,\"records\":[{\"data\":\"YQ==\"},{\"data\":\"Yg==\"}]}".to_owned(),
            &["a", "b"],
        ),
    ] {
        let directory = tempfile::tempdir().unwrap();
        let mut site = Site::start(directory.path(), json!({ "accept": accept })).await;
        let request = Client::new()
            .post(&site.url)
            .header("content-encoding", "gzip")
            .header("X-Amz-Firehose-Request-Id", "r")
            .body(gzip(&body));
        let (status, answer) = site.send(request).await;
        if accept == "firehose" {
            assert_eq!((status, &answer["requestId"]), (200, &json!("r")));
            assert!(answer["timestamp"].is_i64());
            let (status, answer) = site.post("/", "{\"records\":[{\"data\":\"*\"}]}").await;
            assert_eq!(status, 400);
            assert!(answer["errorMessage"].as_str().unwrap().contains("Firehose"), "{answer}");
        } else {
            assert_eq!(status, 202, "{answer}");
        }
        assert_eq!(site.payloads(rows.len()).await, rows, "{accept}");
        site.stop().await;
    }
    let directory = tempfile::tempdir().unwrap();
    let site = Site::start(directory.path(), json!({ "accept": "ndjson" })).await;
    let (status, answer) = site.post("/", "{}\n{\n").await;
    assert_eq!((status, &answer["position"]), (400, &json!(4)), "{answer}");
    site.stop().await;
}
