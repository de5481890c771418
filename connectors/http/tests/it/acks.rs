//! When a request is answered, and what comes of it after a crash.

use std::time::{Duration, Instant};

use serde_json::{Value, json};
use tidegate_core::{ErrorKind, Guarantee};

use crate::site::{Site, free_port, pipeline, texts};

#[tokio::test(flavor = "multi_thread")]
async fn what_is_on_disk_comes_once_after_a_crash() {
    let directory = tempfile::tempdir().unwrap();
    let mut site = Site::start(directory.path(), json!({})).await;
    assert_eq!(site.post("/", "1").await.0, 202);
    assert_eq!(site.payloads(1).await, ["1"]);
    // The program doesn't say that it has these, so they aren't committed.
    for body in ["2", "3"] {
        assert_eq!(site.post("/", body).await.0, 202);
    }
    let committed = site.taken.next().await.unwrap();
    site.crash().await;
    drop(committed);
    let mut site = Site::start(directory.path(), json!({})).await;
    assert_eq!(site.post("/", "4").await.0, 202);
    assert_eq!(site.payloads(3).await, ["2", "3", "4"]);
    site.stop().await;
    let mut site = Site::start(directory.path(), json!({})).await;
    assert_eq!(site.post("/", "5").await.0, 202);
    assert_eq!(site.payloads(1).await, ["5"]);
    site.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn another_log_is_refused_and_a_restart_takes_it() {
    let directory = tempfile::tempdir().unwrap();
    let mut site = Site::start(directory.path(), json!({ "log": "one" })).await;
    site.post("/", "1").await;
    site.payloads(1).await;
    site.crash().await;
    let (_taken, pipeline) = pipeline(
        directory.path(),
        &json!({ "log": "two", "listen": format!("127.0.0.1:{}", free_port()) }),
        &["in"],
    );
    let options = tidegate_runtime::RunOptions {
        state: directory.path().join("state").into(),
        ..tidegate_runtime::RunOptions::default()
    };
    let (_, result) = pipeline.run(options).await;
    let error = result.unwrap_err();
    assert!(
        [ErrorKind::Conflict, ErrorKind::Config].contains(&error.kind()),
        "{error:?}"
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn with_commit_the_answer_comes_after_the_commit() {
    let directory = tempfile::tempdir().unwrap();
    let keys = json!({ "ack": "commit", "max_wait": "10ms", "commit_timeout": "2s" });
    let mut site = Site::start(directory.path(), keys).await;
    let url = site.url.clone();
    let sending = tokio::spawn(async move {
        let answer = reqwest::Client::new()
            .post(url)
            .body("1")
            .send()
            .await
            .unwrap();
        answer.status().as_u16()
    });
    let committed = site.taken.next().await.unwrap();
    tokio::time::sleep(Duration::from_millis(100)).await;
    assert!(!sending.is_finished(), "answered before the commit");
    committed.done();
    assert_eq!(sending.await.unwrap(), 202);
    // Nobody takes it: it isn't known to be committed.
    let (status, answer) = site.post("/", "2").await;
    assert_eq!(
        (status, &answer["error"]),
        (503, &json!("The commit takes too long"))
    );
    site.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn many_who_wait_for_a_commit_are_answered_together() {
    let directory = tempfile::tempdir().unwrap();
    let mut site = Site::start(
        directory.path(),
        json!({ "ack": "commit", "max_wait": "20ms" }),
    )
    .await;
    let client = reqwest::Client::new();
    let sending = (0..200).map(|number| {
        let request = client.post(&site.url).body(number.to_string());
        tokio::spawn(async move { request.send().await.unwrap().status().as_u16() })
    });
    let sending: Vec<_> = sending.collect();
    let rows = site.payloads(200).await;
    for sent in sending {
        assert_eq!(sent.await.unwrap(), 202);
    }
    let mut numbers: Vec<u32> = rows.iter().map(|row| row.parse().unwrap()).collect();
    numbers.sort_unstable();
    assert!(numbers.into_iter().eq(0..200));
    site.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn the_guarantee_is_that_of_the_answer_and_a_check_doesn_t_listen() {
    let port = free_port();
    let taken = std::net::TcpListener::bind(("127.0.0.1", port)).unwrap();
    for (ack, guarantee) in [
        ("disk", Guarantee::AtLeastOnce),
        ("commit", Guarantee::AtLeastOnce),
        ("memory", Guarantee::None),
    ] {
        let directory = tempfile::tempdir().unwrap();
        let keys = json!({ "ack": ack, "listen": format!("127.0.0.1:{port}") });
        let (_taken, pipeline) = pipeline(directory.path(), &keys, &["in"]);
        let graph = pipeline.check().await.unwrap();
        let found = graph.describe().components[1].guarantee;
        assert!(
            !directory.path().join(".tidegate").exists(),
            "a check leaves nothing"
        );
        if ack != "disk" {
            assert_eq!(found, Some(guarantee.name()), "{ack}");
        }
    }
    drop(taken);
}

#[tokio::test(flavor = "multi_thread")]
async fn an_address_that_is_taken_and_a_log_that_is_open_are_told() {
    let directory = tempfile::tempdir().unwrap();
    let site = Site::start(directory.path(), json!({ "log": "log" })).await;
    let other = tempfile::tempdir().unwrap();
    for (keys, what) in [
        (
            json!({ "listen": site.url.trim_start_matches("http://") }),
            "listen",
        ),
        (
            json!({
                "listen": format!("127.0.0.1:{}", free_port()),
                "log": directory.path().join("log"),
            }),
            "another process",
        ),
    ] {
        let (_taken, pipeline) = pipeline(other.path(), &keys, &["in"]);
        let options = tidegate_runtime::RunOptions {
            state: other.path().join("state").into(),
            ..tidegate_runtime::RunOptions::default()
        };
        let (_, result) = pipeline.run(options).await;
        let error = format!("{:?}", result.unwrap_err());
        assert!(error.contains(what), "{error}");
    }
    site.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_full_log_answers_503_until_there_is_room() {
    let directory = tempfile::tempdir().unwrap();
    let keys = json!({ "max_log": "2 MiB", "max_body": "900 KB" });
    let mut site = Site::start(directory.path(), keys).await;
    let body = format!("\"{}\"", "x".repeat(800 << 10));
    let mut taken = 0;
    let answer: Value = loop {
        match site.post("/", body.clone()).await {
            (202, _) => taken += 1,
            (503, answer) => break answer,
            other => panic!("{other:?}"),
        }
    };
    assert_eq!(answer["error"], "Log full");
    assert_eq!(taken, 2);
    site.rows(taken).await;
    // Once they are committed, the log is trimmed.
    while site.post("/", body.clone()).await.0 != 202 {
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
    site.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_log_that_fills_is_committed_before_the_interval_is_over() {
    let directory = tempfile::tempdir().unwrap();
    let keys = json!({ "max_log": "2 MiB", "max_body": "600 KB" });
    let hour = Duration::from_secs(3600);
    let mut site = Site::start_every(hour, directory.path(), keys, &["in"]).await;
    let body = format!("\"{}\"", "x".repeat(200 << 10));
    let (mut refused, begun) = (0, Instant::now());
    for _ in 0..40 {
        while site.post("/", body.clone()).await.0 != 202 {
            refused += 1;
            let waited = begun.elapsed();
            assert!(waited < Duration::from_secs(60), "{refused} refused");
            // The program has to take what is to be committed.
            let next = tokio::time::timeout(Duration::from_millis(20), site.taken.next());
            if let Ok(Some(committed)) = next.await {
                committed.done();
            }
        }
    }
    site.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn health_says_that_the_log_is_full() {
    let directory = tempfile::tempdir().unwrap();
    let keys = json!({ "max_log": "2 MiB", "max_body": "900 KB" });
    let site = Site::start(directory.path(), keys).await;
    let health = async || {
        let request = reqwest::Client::new().get(format!("{}/health", site.url));
        site.send(request).await.0
    };
    assert_eq!(health().await, 200);
    // Nobody takes the rows, so nothing is committed.
    let body = format!("\"{}\"", "x".repeat(800 << 10));
    while site.post("/", body.clone()).await.0 == 202 {}
    assert_eq!(health().await, 503);
    site.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn requests_that_were_stored_are_answered_at_a_stop() {
    let directory = tempfile::tempdir().unwrap();
    let (mut stored, mut answered) = (Vec::new(), Vec::new());
    for round in 0..5 {
        let site = Site::start(directory.path(), json!({})).await;
        let clients: Vec<_> = (0..8)
            .map(|client| {
                let url = site.url.clone();
                tokio::spawn(async move {
                    let http = reqwest::Client::new();
                    let mut answered = Vec::new();
                    for number in 0.. {
                        let body = format!("\"{round}-{client}-{number}\"");
                        let sent = http.post(&url).body(body.clone()).send().await;
                        match sent {
                            Ok(answer) if answer.status() == 202 => answered.push(body),
                            Ok(answer) => panic!("{answer:?}"),
                            Err(_) => break,
                        }
                    }
                    answered
                })
            })
            .collect();
        tokio::time::sleep(Duration::from_millis(300)).await;
        let (_, rows) = site.end().await;
        stored.extend(rows.iter().flat_map(|batch| texts(batch, "payload")));
        for client in clients {
            answered.extend(client.await.unwrap());
        }
    }
    // What came after the last commit is in the log.
    let mut site = Site::start(directory.path(), json!({})).await;
    assert_eq!(site.post("/", "0").await.0, 202);
    while stored.last().is_none_or(|last| last != "0") {
        stored.extend(site.payloads(1).await);
        stored.sort_by_key(|payload| payload == "0");
    }
    stored.pop();
    site.stop().await;
    stored.sort();
    answered.sort();
    assert!(answered.len() > 100, "{}", answered.len());
    assert_eq!(stored, answered);
}
