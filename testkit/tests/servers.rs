//! The servers start, answer, listen on 127.0.0.1 alone and end; the proxy does what it is told to.
#![allow(clippy::unwrap_used, reason = "a test that cannot go on fails")]

use std::process::Command;
use std::time::{Duration, Instant};

use serde_json::json;
use tidegate_testkit::servers::{
    AwsServer, Fault, Faults, Proxy, Reply, ministack, moto, seaweedfs,
};

/// The addresses on which the processes of a server's directory listen.
fn listening(server: &AwsServer) -> Vec<String> {
    let port = server.url().rsplit(':').next().unwrap().to_owned();
    let output = Command::new("ss").args(["-Hltnp"]).output().unwrap();
    let text = String::from_utf8(output.stdout).unwrap();
    let process = |line: &str| {
        let (_, after) = line.split_once("pid=")?;
        Some(after.split_once(',')?.0.to_owned())
    };
    let address = |line: &str| line.split_whitespace().nth(3).unwrap().to_owned();
    let own = text
        .lines()
        .find(|line| address(line).ends_with(&format!(":{port}")))
        .unwrap_or_else(|| panic!("nobody listens on {port}:\n{text}"));
    let own = process(own);
    text.lines()
        .filter(|line| process(line) == own)
        .map(address)
        .collect()
}

fn stores_objects(server: &AwsServer) {
    let bucket = server.bucket("lake");
    let odd = "a b/dt=2024-01-01/x+ä%2F&<y>.txt";
    server.put(&bucket, odd, "hello");
    server.put(&bucket, "other", "");
    assert_eq!(server.get(&bucket, odd), b"hello");
    let found = server.objects(&bucket, "a b/");
    assert_eq!(found.len(), 1);
    assert_eq!((found[0].key.as_str(), found[0].size), (odd, 5));
    assert_eq!(server.objects(&bucket, "").len(), 2);
    assert_eq!(server.uploads(&bucket), []);
    server.delete(&bucket, odd);
    assert_eq!(server.objects(&bucket, "a b/"), []);
}

fn listens_here_alone(server: &AwsServer) {
    for address in listening(server) {
        assert!(address.starts_with("127.0.0.1:"), "it listens on {address}");
    }
}

#[test]
fn seaweedfs_stores_objects_as_soon_as_it_has_started() {
    let server = seaweedfs();
    stores_objects(&server);
    listens_here_alone(&server);
    let url = server.url();
    drop(server);
    let address = url.strip_prefix("http://").unwrap();
    // It is killed by now, and its port is free as soon as the system has buried it.
    let deadline = std::time::Instant::now() + std::time::Duration::from_secs(20);
    while std::net::TcpStream::connect(address).is_ok() {
        assert!(std::time::Instant::now() < deadline, "it lives on");
        std::thread::sleep(std::time::Duration::from_millis(20));
    }
}

#[test]
fn moto_stores_objects_and_tables() {
    let server = moto();
    stores_objects(&server);
    assert_eq!(server.glue_table("retail", "sales"), None);
    server.glue(
        "CreateDatabase",
        &json!({ "DatabaseInput": { "Name": "retail" } }),
    );
    let table = json!({ "Name": "sales", "PartitionKeys": [{ "Name": "dt", "Type": "date" }] });
    server.glue(
        "CreateTable",
        &json!({ "DatabaseName": "retail", "TableInput": table }),
    );
    assert_eq!(
        server.glue_table("retail", "sales").unwrap()["Name"],
        "sales"
    );
    let partitions: Vec<_> = (0..150)
        .map(|number| {
            json!({
                "Values": [number.to_string()],
                "StorageDescriptor": { "Location": format!("s3://lake/sales/dt={number}") },
            })
        })
        .collect();
    for partitions in partitions.chunks(100) {
        server.glue(
            "BatchCreatePartition",
            &json!({
                "DatabaseName": "retail",
                "TableName": "sales",
                "PartitionInputList": partitions,
            }),
        );
    }
    let found = server.glue_partitions("retail", "sales");
    assert_eq!(found.len(), 150);
    assert_eq!(found[&vec!["7".to_owned()]], "s3://lake/sales/dt=7");
    listens_here_alone(&server);
}

#[test]
fn ministack_stores_objects() {
    let server = ministack();
    stores_objects(&server);
    listens_here_alone(&server);
}

/// Asks once, on its own, and reads the whole answer: its status and its body.
fn ask(request: reqwest::RequestBuilder) -> reqwest::Result<(u16, String)> {
    let runtime = tokio::runtime::Runtime::new().unwrap();
    runtime.block_on(async {
        let answer = request.send().await?;
        let status = answer.status().as_u16();
        Ok((status, answer.text().await?))
    })
}

#[test]
fn a_proxy_fails_the_share_that_it_was_told_in_the_ways_that_it_was_told() {
    let body = "x".repeat(1000);
    let own = body.clone();
    let server = Proxy::that_answers(move |_| Reply {
        status: 200,
        headers: Vec::new(),
        body: own.clone(),
    });
    let proxy = Proxy::before(&server.url());
    let url = format!("{}/some/key?part=1", proxy.url());
    let ask = || ask(reqwest::Client::new().put(&url).body("hello"));

    assert_eq!(ask().unwrap(), (200, body.clone()));
    proxy.fail(Faults::some(1.0, 1).of(&[Fault::SlowDown]));
    let (status, text) = ask().unwrap();
    assert_eq!(status, 503);
    assert!(text.contains("<Code>SlowDown</Code>"), "{text}");
    proxy.fail(Faults::some(1.0, 1).of(&[Fault::InternalError]));
    assert_eq!(ask().unwrap().0, 500);
    assert_eq!(server.seen().len(), 1, "the others didn't reach the server");

    proxy.fail(Faults::some(1.0, 1).of(&[Fault::ResetBefore]));
    ask().unwrap_err();
    assert_eq!(server.seen().len(), 1);
    proxy.fail(Faults::some(1.0, 1).of(&[Fault::ResetAfter]));
    ask().unwrap_err();
    assert_eq!(
        server.seen().len(),
        2,
        "it was done, and nobody heard of it"
    );
    proxy.fail(Faults::some(1.0, 1).of(&[Fault::Cut]));
    ask().unwrap_err();
    assert_eq!(server.seen().len(), 3);
    let late = Duration::from_millis(50);
    proxy.fail(Faults::some(1.0, 1).of(&[Fault::Late(late)]));
    let began = Instant::now();
    assert_eq!(ask().unwrap(), (200, body.clone()));
    assert!(began.elapsed() >= late);

    proxy.fail(Faults::some(1.0, 1).only(|request| request.method == "GET"));
    assert_eq!(ask().unwrap().0, 200);
    proxy.calm();
    assert_eq!(ask().unwrap(), (200, body));
    assert_eq!(proxy.failures(), 5);
    let seen = proxy.seen();
    assert_eq!(seen[0].request.path, "/some/key?part=1");
    assert_eq!((seen[0].request.bytes, seen[0].fault), (5, None));

    proxy.fail(Faults::some(0.1, 7).of(&[Fault::SlowDown]));
    let failed = (0..500).filter(|_| ask().unwrap().0 == 503).count();
    assert!((30..=75).contains(&failed), "{failed} of 500");
}

#[test]
fn a_proxy_holds_requests_until_they_are_let_go() {
    let server = Proxy::that_answers(|request| Reply {
        status: 200,
        headers: Vec::new(),
        body: request.target().to_owned(),
    });
    let proxy = Proxy::before(&server.url());
    let url = proxy.url();
    let ask = move |target: &str, time: u64| {
        let request = reqwest::Client::new()
            .post(&url)
            .header("X-Amz-Target", target)
            .timeout(Duration::from_millis(time));
        ask(request).map(|(_, text)| text)
    };
    let hold = proxy.hold(|request| request.target().starts_with("AWSGlue."));
    assert_eq!(ask("Other.Call", 10_000).unwrap(), "Other.Call");
    ask("AWSGlue.CreateTable", 200).unwrap_err();
    let asking = std::thread::spawn({
        let ask = ask.clone();
        move || ask("AWSGlue.GetTable", 60_000)
    });
    assert!(hold.wait_for(2, Duration::from_secs(60)));
    assert!(!hold.wait_for(3, Duration::from_millis(20)));
    assert_eq!(hold.waiting(), 2);
    assert_eq!(server.seen().len(), 1);
    hold.release();
    assert_eq!(asking.join().unwrap().unwrap(), "AWSGlue.GetTable");
    assert_eq!(ask("AWSGlue.GetTable", 10_000).unwrap(), "AWSGlue.GetTable");
    let reached: Vec<_> = server.seen().into_iter().map(|seen| seen.request).collect();
    assert!(
        reached
            .iter()
            .all(|request| request.target() != "AWSGlue.CreateTable"),
        "whose client had gone"
    );
}

#[test]
fn signatures_hold_through_a_proxy() {
    let server = seaweedfs();
    server.bucket("lake");
    let proxy = Proxy::before(&server.url());
    // boto3 signs for the address that it talks to.
    let script = "import sys, boto3\n\
                  s3 = boto3.client('s3')\n\
                  s3.put_object(Bucket='lake', Key='a/b', Body=b'x' * 1000)\n\
                  print(len(s3.get_object(Bucket='lake', Key='a/b')['Body'].read()))";
    let python = tidegate_testkit::servers::python("moto");
    let mut command = Command::new(python);
    command.args(["-c", script]).envs(server.environment());
    command.env("AWS_ENDPOINT_URL", proxy.url());
    let output = command.output().unwrap();
    assert_eq!(
        String::from_utf8_lossy(&output.stdout).trim(),
        "1000",
        "{}",
        String::from_utf8_lossy(&output.stderr)
    );
    assert_eq!(server.objects("lake", "a/").len(), 1);
    assert!(proxy.seen().len() >= 2);
}
