//! The example `jsonplaceholder`, run against both generations of the server.

use std::collections::BTreeMap;
use std::io::{Read as _, Write as _};
use std::net::TcpStream;
use std::path::PathBuf;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use serde_json::Value;
use tidegate_testkit::servers::{Server, json_server, jsonplaceholder, kinesis, seaweedfs};

use super::lake::{BUCKET, Environment};
use super::support::{Ended, Site, batches_of, files_under, hidden_files, lines_of};

const COUNTS: [(&str, usize); 6] = [
    ("albums", 100),
    ("comments", 500),
    ("photos", 5_000),
    ("posts", 100),
    ("todos", 200),
    ("users", 10),
];

fn run(site: &Site, base_url: &str) -> Ended {
    site.run(&["--set", &format!("sources.api.base_url={base_url}")])
}

/// The body that the server sends.
fn get(server: &Server, url: &str) -> Vec<u8> {
    let host = server.url().replace("http://", "");
    let path = url
        .strip_prefix(&server.url())
        .expect("an url of this server");
    let mut socket = TcpStream::connect(&host).expect("the server");
    // HTTP/1.0: neither chunks nor a connection that is kept.
    write!(
        socket,
        "GET {path} HTTP/1.0\r\nHost: {host}\r\nConnection: close\r\n\r\n"
    )
    .expect("sent");
    let mut answer = Vec::new();
    socket.read_to_end(&mut answer).expect("an answer");
    let head = answer
        .windows(4)
        .position(|end| end == b"\r\n\r\n")
        .expect("a head");
    answer.split_off(head + 4)
}

fn counts(site: &Site) -> Vec<(&'static str, usize)> {
    let rows = |table| {
        batches_of(&site.path(format!("out/tables/{table}")))
            .iter()
            .map(|b| b.num_rows())
            .sum()
    };
    COUNTS
        .iter()
        .map(|(table, _)| (*table, rows(table)))
        .collect()
}

fn arrives_whole(server: &Server) {
    let site = Site::of_example("jsonplaceholder");
    run(&site, &server.url()).expect_done();
    assert_eq!(counts(&site), COUNTS);

    let users = lines_of(&site.path("out/processed/users"));
    let mut ids: Vec<_> = users
        .iter()
        .map(|user| user["id"].as_i64().expect("an id"))
        .collect();
    ids.sort_unstable();
    assert_eq!(ids, [1, 2, 3, 4]);
    for user in &users {
        let columns: Vec<_> = user.as_object().expect("an object").keys().collect();
        assert_eq!(
            columns,
            [
                "id",
                "name",
                "username",
                "email",
                "address_street",
                "address_suite",
                "address_city",
                "address_zipcode",
                "address_geo_lat",
                "address_geo_lng",
                "phone",
                "website",
                "company_name",
                "company_catchPhrase",
                "company_bs",
            ]
        );
        assert!(user["address_geo_lat"].is_string() && user["address_geo_lng"].is_string());
    }

    let raw = lines_of(&site.path("out/raw"));
    let mut streams = BTreeMap::<&str, usize>::new();
    for page in &raw {
        assert_eq!(page["status"], 200);
        let url = page["url"].as_str().expect("an url");
        let sent = get(server, url);
        let body = page["body"]
            .as_str()
            .and_then(|text| STANDARD.decode(text).ok());
        assert!(body.as_ref() == Some(&sent), "{url}: {}", page["body"]);
        *streams
            .entry(page["stream"].as_str().expect("a stream"))
            .or_default() += 1;
    }
    assert!(
        streams
            .keys()
            .copied()
            .eq(COUNTS.iter().map(|(table, _)| *table)),
        "{streams:?}"
    );

    // Once more: what overwrites is as it was.
    run(&site, &server.url()).expect_done();
    assert_eq!(counts(&site), COUNTS);
    assert_eq!(lines_of(&site.path("out/processed/users")).len(), 4);
    assert_eq!(hidden_files(&site.path("out")), [] as [PathBuf; 0]);
}

#[test]
fn everything_arrives_from_its_own_server() {
    arrives_whole(&jsonplaceholder());
}

#[test]
fn everything_arrives_from_json_server_1() {
    arrives_whole(&json_server());
}

#[test]
fn a_server_that_is_down_is_a_clear_error_and_leaves_nothing() {
    let site = Site::of_example("jsonplaceholder");
    site.write(
        "tidegate.toml",
        "[http]\nattempts = 2\nbackoff = \"10ms\"\n[runtime]\nattempts = 1\n",
    );
    let url = jsonplaceholder().url();
    let ended = run(&site, &url).expect_code(1);
    let at = ended.stderr.find("error:").expect("an error");
    let error = ended.stderr[at..].replace(&url, "SERVER");
    assert!(
        error.starts_with("error: the server can't be reached\n"),
        "{error}"
    );
    assert!(error.contains("url: SERVER/users?"), "{error}");
    assert!(error.contains("component: api\n"), "{error}");
    assert!(
        error.ends_with("hint: check the address, and that the server is running\n"),
        "{error}"
    );
    assert_eq!(files_under(&site.path("out")), [] as [PathBuf; 0]);
    // Whoever starts it again needs no flag.
    let server = jsonplaceholder();
    run(&site, &server.url()).expect_done();
    assert_eq!(counts(&site), COUNTS);
}

#[test]
fn users_go_record_by_record_into_a_stream_and_from_there_to_s3_once() {
    let (server, streams, s3) = (jsonplaceholder(), kinesis(), seaweedfs());
    streams.stream("jsonplaceholder-users", 2);
    s3.bucket(BUCKET);
    let mut aws = Environment::of(&s3);
    aws.set("AWS_ENDPOINT_URL_S3", &s3.url());
    aws.set("AWS_ENDPOINT_URL_KINESIS", &streams.url());
    aws.set("BUCKET", BUCKET);
    let site = Site::of_example("jsonplaceholder");
    let base = format!("sources.api.base_url={}", server.url());
    // Users of a second run are others to the stream, and the delivery takes only those.
    for run in 1..=2 {
        aws.tidegate(&site, &["run", "stream.toml", "--set", &base])
            .expect_done();
        aws.tidegate(&site, &["run", "delivery.toml"]).expect_done();
        let mut users: Vec<i64> = Vec::new();
        for object in s3.objects(BUCKET, "raw/users/") {
            let text = String::from_utf8(s3.get(BUCKET, &object.key).to_vec()).expect("UTF-8");
            users.extend(text.lines().map(|line| {
                let user: Value = serde_json::from_str(line).expect("JSON");
                assert!(user["address"]["geo"]["lat"].is_string(), "{line}");
                user["id"].as_i64().expect("an id")
            }));
        }
        users.sort_unstable();
        let wanted: Vec<i64> = (1..=10)
            .flat_map(|id| std::iter::repeat_n(id, run))
            .collect();
        assert_eq!(users, wanted);
    }
}
