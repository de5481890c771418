//! `examples/user-details`, from POSTs over two buckets to a query; killed in between.

use std::collections::{BTreeMap, BTreeSet};
use std::net::TcpStream;
use std::time::Duration;

use rand::rngs::StdRng;
use rand::{Rng as _, SeedableRng as _};
use serde_json::{Value, json};
use tidegate_testkit::servers::AwsServer;

use super::http_server::{Fate, ask, free_port, start};
use super::lake::Lake;
use super::support::{Site, until};

const RAW: &str = "tidegate-user-details-raw";
const INTEREST: &str = "tidegate-user-details";

/// The lines of all objects under a prefix, and that each ends with a newline.
fn lines(s3: &AwsServer, bucket: &str, prefix: &str) -> Vec<Value> {
    let mut lines = Vec::new();
    for object in s3.objects(bucket, prefix) {
        let bytes = s3.get(bucket, &object.key);
        let text = String::from_utf8(bytes.to_vec()).expect("UTF-8");
        assert!(text.ends_with('\n'), "{}: {text:?}", object.key);
        // raw_details/2024/02/29/07/30/details-….json
        assert_eq!(object.key.split('/').count(), 7, "{}", object.key);
        lines.extend(
            text.lines()
                .map(|line| serde_json::from_str::<Value>(line).expect("JSON")),
        );
    }
    lines
}

/// A body with so many people, and what becomes of them.
fn body(number: usize) -> (String, Vec<Value>) {
    let zip = format!("{number:05}");
    let person = |first: Value, middle: Value, last: Value| json!({"first_name": first, "middle_name": middle, "last_name": last, "zip_code": zip});
    match number % 4 {
        0 => (
            json!({"user": {"first_name": "Ada", "last_name": "L"}, "at": {"zip_code": zip}})
                .to_string(),
            vec![person(json!("Ada"), Value::Null, json!("L"))],
        ),
        1 => (
            format!(
                "{{\n  \"zip_code\": \"{zip}\",\n  \"people\": [{{\"first_name\": \"A\"}}, {{\"x\": {{\"middle_name\": \"B\"}}}}]\n}}"
            ),
            vec![
                person(json!("A"), Value::Null, Value::Null),
                person(Value::Null, json!("B"), Value::Null),
            ],
        ),
        2 => (
            json!({"number": number, "nothing": ["of interest"]}).to_string(),
            Vec::new(),
        ),
        _ => (
            json!([{"zip": "1", "deep": [{"zip_code": zip, "last_name": "ö\u{1f600}"}]}])
                .to_string(),
            vec![person(Value::Null, Value::Null, json!("ö\u{1f600}"))],
        ),
    }
}

#[test]
fn what_is_posted_comes_once_into_both_buckets_and_can_be_asked_for() {
    let lake = Lake::new();
    lake.s3.bucket(RAW);
    lake.s3.bucket(INTEREST);
    let port = free_port();
    let aws = lake
        .environment()
        .with("RAW_BUCKET", RAW)
        .with("INTEREST_BUCKET", INTEREST)
        .with("LISTEN", &format!("127.0.0.1:{port}"));
    let site = Site::of_example("user-details");
    // The same minute, so that nothing is told apart by it.
    let text = site.read("pipeline.toml").replace("\"60s\"", "\"200ms\"");
    site.write("pipeline.toml", text);
    let mut random = StdRng::seed_from_u64(5);
    let mut running = start(&site, &aws, port);
    let mut taken = BTreeMap::new();
    let mut number = 0;
    for kill in 0..6 {
        let mut stream = TcpStream::connect(("127.0.0.1", port)).expect("a connection");
        for _ in 0..random.random_range(5..60) {
            let (body, people) = body(number);
            number += 1;
            assert_eq!(ask(&mut stream, &body), Fate::Taken, "{body}");
            taken.insert(body, people);
        }
        for wrong in [" ", "{"] {
            assert_eq!(ask(&mut stream, wrong), Fate::Refused);
        }
        if kill < 5 {
            std::thread::sleep(Duration::from_millis(random.random_range(0..600)));
            assert!(running.kill().is_some(), "it ended before kill {kill}");
            running = start(&site, &aws, port);
        }
    }
    let raw = until("all that was answered", || {
        let raw = lines(&lake.s3, RAW, "raw_details/");
        (raw.len() >= taken.len()).then_some(raw)
    });
    running.signal("TERM");
    running.wait().expect_code(4);

    assert_eq!(raw.len(), taken.len());
    let stored: BTreeSet<String> = raw.iter().map(Value::to_string).collect();
    let posted = taken
        .keys()
        .map(|body| serde_json::from_str::<Value>(body).expect("JSON"));
    assert_eq!(stored, posted.map(|body| body.to_string()).collect());
    let sorted = |mut rows: Vec<String>| {
        rows.sort();
        rows
    };
    let found = lines(&lake.s3, INTEREST, "user_details/");
    let people = taken.values().flatten();
    let people = sorted(people.map(Value::to_string).collect());
    let found = sorted(found.iter().map(Value::to_string).collect());
    assert!(
        found == people,
        "{} people of {}",
        found.len(),
        people.len()
    );

    let url = format!("s3://{INTEREST}/");
    let crawl = ["catalog", "crawl", &url, "--database", "user_database"];
    aws.tidegate(&site, &crawl).expect_done();
    let query = site.read("query.sql").replace("LIMIT 10", "");
    let rows = aws.query(&site, &query);
    let counted = rows
        .iter()
        .map(|row| row["people"].as_u64().expect("a count"));
    assert_eq!(counted.sum::<u64>(), people.len() as u64);
}
