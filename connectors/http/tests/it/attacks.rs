//! Clients that mean harm or know no better: others are still served, in bounded memory.

use std::io::Write as _;
use std::time::{Duration, Instant};

use serde_json::json;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;

use crate::site::Site;

async fn connect(site: &Site) -> TcpStream {
    TcpStream::connect(site.url.trim_start_matches("http://"))
        .await
        .unwrap()
}

/// What comes until the server closes the connection.
async fn rest(stream: &mut TcpStream) -> String {
    let mut all = Vec::new();
    // A server that has said its last word may reset what is still sent.
    let _ = stream.read_to_end(&mut all).await;
    String::from_utf8_lossy(&all).into_owned()
}

#[tokio::test(flavor = "multi_thread")]
async fn slow_heads_and_bodies_are_given_up_while_others_are_served() {
    let directory = tempfile::tempdir().unwrap();
    let keys = json!({ "header_timeout": "1s", "body_timeout": "1s" });
    let mut site = Site::start(directory.path(), keys).await;
    let mut slow = Vec::new();
    for sent in [
        "",
        "POST / HT",
        "POST / HTTP/1.1\r\nhost: a\r\ncontent-length: 9\r\n\r\n1",
    ] {
        let mut stream = connect(&site).await;
        stream.write_all(sent.as_bytes()).await.unwrap();
        slow.push(stream);
    }
    // A body that comes byte by byte is slow as well.
    let mut dripping = connect(&site).await;
    dripping
        .write_all(b"POST / HTTP/1.1\r\nhost: a\r\ncontent-length: 999\r\n\r\n")
        .await
        .unwrap();
    let begun = Instant::now();
    while begun.elapsed() < Duration::from_secs(5) && dripping.write_all(b"1").await.is_ok() {
        assert_eq!(site.post("/", "1").await.0, 202);
        tokio::time::sleep(Duration::from_millis(100)).await;
    }
    let answers = [rest(&mut dripping).await, rest(&mut slow[2]).await];
    assert!(answers[1].starts_with("HTTP/1.1 408"), "{answers:?}");
    assert!(begun.elapsed() < Duration::from_secs(5));
    for stream in &mut slow[..2] {
        rest(stream).await;
    }
    assert_eq!(site.post("/", "2").await.0, 202);
    site.rows(2).await;
    site.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn bodies_without_end_and_bombs_are_refused_early() {
    let directory = tempfile::tempdir().unwrap();
    let site = Site::start(directory.path(), json!({ "max_body": "1 MB" })).await;
    // Half a GB, unpacked.
    let mut bomb = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::best());
    let spaces = vec![b' '; 1 << 20];
    for _ in 0..500 {
        bomb.write_all(&spaces).unwrap();
    }
    let bomb = bomb.finish().unwrap();
    assert!(bomb.len() < 1_000_000);
    let request = reqwest::Client::new()
        .post(&site.url)
        .header("content-encoding", "gzip");
    assert_eq!(site.send(request.body(bomb)).await.0, 413);
    // A length of 1 GB is refused before any of it is read.
    let mut stream = connect(&site).await;
    let head = "POST / HTTP/1.1\r\nhost: a\r\ncontent-length: 1000000000\r\n\r\n";
    stream.write_all(head.as_bytes()).await.unwrap();
    assert!(rest(&mut stream).await.starts_with("HTTP/1.1 413"));
    // Without a length, once it is too long.
    let mut stream = connect(&site).await;
    let head = "POST / HTTP/1.1\r\nhost: a\r\ntransfer-encoding: chunked\r\n\r\n";
    stream.write_all(head.as_bytes()).await.unwrap();
    let chunk = [b"10000\r\n".to_vec(), vec![b' '; 0x10000], b"\r\n".to_vec()].concat();
    let mut sent = 0;
    while sent < 1 << 30 && stream.write_all(&chunk).await.is_ok() {
        sent += chunk.len();
    }
    assert!(sent < 64 << 20, "{sent} bytes were taken");
    // A head without end.
    let mut stream = connect(&site).await;
    stream.write_all(b"POST / HTTP/1.1\r\n").await.unwrap();
    let mut sent = 0;
    while sent < 64 << 20 && stream.write_all(b"x-more: 0123456789\r\n").await.is_ok() {
        sent += 20;
    }
    assert!(sent < 16 << 20, "{sent} bytes of headers were taken");
    site.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn garbage_ends_its_own_connection() {
    let directory = tempfile::tempdir().unwrap();
    let mut site = Site::start(directory.path(), json!({})).await;
    for garbage in [
        &b"\x16\x03\x01\x02\x00\x01"[..],
        b"GET\r\n\r\n",
        &[0xff; 1000],
    ] {
        let mut stream = connect(&site).await;
        stream.write_all(garbage).await.unwrap();
        stream.shutdown().await.unwrap();
        rest(&mut stream).await;
    }
    // What comes before it in the same packet counts.
    let mut stream = connect(&site).await;
    let first = "POST / HTTP/1.1\r\nhost: a\r\ncontent-length: 1\r\n\r\n1";
    let piped = [first.as_bytes(), b"POST /a b c\r\n\xff\r\n\r\n"].concat();
    stream.write_all(&piped).await.unwrap();
    let answers = rest(&mut stream).await;
    assert!(answers.starts_with("HTTP/1.1 202"), "{answers}");
    assert!(answers.contains("HTTP/1.1 400"), "{answers}");
    assert_eq!(site.payloads(1).await, ["1"]);
    site.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn many_idle_connections_leave_room_for_those_that_speak() {
    let directory = tempfile::tempdir().unwrap();
    let mut site = Site::start(directory.path(), json!({})).await;
    let before = resident();
    let mut idle = Vec::new();
    for _ in 0..1000 {
        idle.push(connect(&site).await);
    }
    let mut answers = 0;
    for number in 0..100 {
        answers += usize::from(site.post("/", number.to_string()).await.0 == 202);
    }
    assert_eq!(answers, 100);
    // Both ends are in this process.
    let grown = resident().saturating_sub(before);
    assert!(grown < 100 << 20, "1,000 connections took {grown} bytes");
    site.rows(100).await;
    site.stop().await;
}

/// The process's memory, in bytes.
fn resident() -> usize {
    let status = std::fs::read_to_string("/proc/self/statm").unwrap();
    let pages: usize = status.split(' ').nth(1).unwrap().parse().unwrap();
    pages * 4096
}

#[tokio::test(flavor = "multi_thread")]
async fn more_at_once_than_is_allowed_is_told_to_come_again() {
    let directory = tempfile::tempdir().unwrap();
    let keys = json!({ "ack": "commit", "max_in_flight": 2, "max_wait": "1ms" });
    let mut site = Site::start(directory.path(), keys).await;
    let waiting = (0..2).map(|_| {
        let request = reqwest::Client::new().post(&site.url).body("1");
        tokio::spawn(async move { request.send().await.unwrap().status().as_u16() })
    });
    let waiting: Vec<_> = waiting.collect();
    let first = site.taken.next().await.unwrap();
    let answer = loop {
        let answer = reqwest::Client::new().post(&site.url).body("2").send();
        match tokio::time::timeout(Duration::from_millis(500), answer).await {
            Ok(answer) => break answer.unwrap(),
            // The second wasn't there yet, so this one waits.
            Err(_) => tokio::task::yield_now().await,
        }
    };
    assert_eq!(answer.status().as_u16(), 429);
    assert_eq!(answer.headers()["retry-after"], "1");
    first.done();
    let mut rows = 0;
    while rows == 0 || waiting.iter().any(|waiting| !waiting.is_finished()) {
        match tokio::time::timeout(Duration::from_millis(200), site.taken.next()).await {
            Ok(Some(committed)) => committed.done(),
            Ok(None) => break,
            Err(_) => {}
        }
        rows += 1;
    }
    for sent in waiting {
        assert_eq!(sent.await.unwrap(), 202);
    }
    site.stop().await;
}
