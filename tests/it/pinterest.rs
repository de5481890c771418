//! `examples/pinterest-emulator`: random posts, each with its place and its user, until it is
//! stopped; and `examples/pinterest`, from there over an API and streams to tables.

use std::collections::BTreeSet;
use std::process::Command;
use std::time::Duration;

use serde_json::Value;
use tidegate_testkit::servers::{MariaDb, kinesis, mariadb, seaweedfs};

use super::http_server::free_port;
use super::lake::{BUCKET, Environment};
use super::lake_kills::download;
use super::support::{Running, Site, rows_of, until, workspace};

fn server() -> MariaDb {
    let server = mariadb();
    let file = workspace().join("examples/pinterest-emulator/pinterest.sql");
    server.sql(&std::fs::read_to_string(file).expect("a file of the example"));
    server
}

fn command(server: &MariaDb, site: &Site, more: &[&str]) -> Command {
    let mut command = site.command(&[&["run", "pipeline.toml", "--quiet"], more].concat());
    command
        .env("PINTEREST_DATABASE_URL", server.url("pinterest"))
        .env("PINTEREST_DATABASE_PASSWORD", "");
    command
}

/// The posts, places and users of a run's output, each in the order in which they came.
fn lines(stdout: &str) -> [Vec<Value>; 3] {
    let mut kinds = [Vec::new(), Vec::new(), Vec::new()];
    for line in stdout.lines() {
        let row: Value = serde_json::from_str(line).unwrap_or_else(|_| panic!("{line}"));
        let kind = match () {
            () if row.get("unique_id").is_some() => 0,
            () if row.get("latitude").is_some() => 1,
            () => 2,
        };
        kinds[kind].push(row);
    }
    kinds
}

/// Runs so many rounds without waiting.
fn rounds(server: &MariaDb, number: u64) -> [Vec<Value>; 3] {
    let site = Site::of_example("pinterest-emulator");
    let rounds = format!("sources.pinterest.sample.rounds={number}");
    let every = "sources.pinterest.sample.every=0s";
    let command = command(server, &site, &["--set", &rounds, "--set", every]);
    lines(&site.spawn(command).wait().expect_done().stdout)
}

#[test]
fn each_post_comes_with_its_place_and_its_user() {
    let server = server();
    let [posts, places, users] = rounds(&server, 20);
    let ids = |rows: &[Value], key: &str| -> Vec<i64> {
        rows.iter()
            .map(|row| row[key].as_i64().expect("a number"))
            .collect()
    };
    let numbers = ids(&posts, "index");
    assert_eq!(numbers.len(), 20);
    assert_eq!(ids(&places, "ind"), numbers);
    assert_eq!(ids(&users, "ind"), numbers);
    for (place, user) in places.iter().zip(&users) {
        let id = &place["ind"];
        let at = server.sql(&format!(
            "SELECT timestamp, latitude, country FROM pinterest.geolocation_data WHERE ind = {id}"
        ));
        let text = |value: &Value| value.as_str().expect("a text").to_owned();
        let (time, country) = (text(&place["timestamp"]), text(&place["country"]));
        assert_eq!(at, format!("{time}\t{}\t{country}\n", place["latitude"]));
        let joined = server.sql(&format!(
            "SELECT date_joined, last_name FROM pinterest.user_data WHERE ind = {id}"
        ));
        let (time, name) = (text(&user["date_joined"]), text(&user["last_name"]));
        assert_eq!(joined, format!("{time}\t{name}\n"));
    }
    // The same seed gives the same posts, and then others.
    let [more, ..] = rounds(&server, 30);
    assert_eq!(more[..20], posts);
}

#[test]
fn the_emulator_runs_until_it_is_stopped() {
    let server = server();
    let site = Site::of_example("pinterest-emulator");
    let every = "sources.pinterest.sample.every=0s..20ms";
    let interval = "checkpoint.interval=100ms";
    let running = site.spawn(command(
        &server,
        &site,
        &["--set", every, "--set", interval],
    ));
    until("some checkpoints", || {
        site.state().filter(|state| state.epoch > 3)
    });
    running.signal("INT");
    let ended = running.wait().expect_code(4);
    let [posts, places, users] = lines(&ended.stdout);
    assert!(!posts.is_empty());
    assert_eq!((posts.len(), posts.len()), (places.len(), users.len()));
}

/// How many events are posted.
const EVENTS: usize = 60;

/// The columns in which posts, places and users are told apart.
fn keys(rows: &[Value], key: &str) -> BTreeSet<i64> {
    rows.iter()
        .map(|row| row[key].as_i64().expect("a number"))
        .collect()
}

#[test]
fn posts_come_by_the_api_into_batches_and_by_streams_into_clean_tables() {
    let (database, s3, streams) = (server(), seaweedfs(), kinesis());
    s3.bucket(BUCKET);
    for topic in ["pin", "geo", "user"] {
        streams.stream(&format!("streaming-{topic}"), 2);
    }
    let port = free_port();
    let mut aws = Environment::of(&s3);
    for (name, value) in [
        ("AWS_ENDPOINT_URL_S3", s3.url()),
        ("AWS_ENDPOINT_URL_KINESIS", streams.url()),
        ("BUCKET", BUCKET.to_owned()),
        ("LISTEN", format!("127.0.0.1:{port}")),
        ("API_URL", format!("http://127.0.0.1:{port}")),
        ("PINTEREST_DATABASE_URL", database.url("pinterest")),
        ("PINTEREST_DATABASE_PASSWORD", String::new()),
    ] {
        aws.set(name, &value);
    }
    let site = Site::of_example("pinterest");
    let interval = "checkpoint.interval=300ms";
    let start = |file: &str| -> Running {
        site.spawn(aws.command(&site, &["run", file, "--set", interval]))
    };
    let (mut api, mut stream) = (start("api.toml"), start("stream.toml"));
    let rounds = format!("sources.pinterest.sample.rounds={EVENTS}");
    let every = "sources.pinterest.sample.every=0s..20ms";
    let post = ["run", "post.toml", "--set", &rounds, "--set", every];
    let post = site.spawn(aws.command(&site, &post));
    // Both are killed while posts come. While the API is away, posts are retried.
    for _ in 0..2 {
        std::thread::sleep(Duration::from_millis(700));
        assert!(stream.kill().is_some(), "the stream has ended");
        assert!(api.kill().is_some(), "the API has ended");
        (api, stream) = (start("api.toml"), start("stream.toml"));
    }
    post.wait().expect_done();

    let lines = |topic: &str| -> Vec<Value> {
        let objects = s3.objects(BUCKET, &format!("topics/{topic}/partition=0/"));
        let texts = objects.iter().map(|object| s3.get(BUCKET, &object.key));
        let texts: Vec<_> = texts
            .map(|bytes| String::from_utf8(bytes.to_vec()).expect("UTF-8"))
            .collect();
        texts
            .iter()
            .flat_map(|text| text.lines())
            .map(|line| serde_json::from_str(line).expect("JSON"))
            .collect()
    };
    let table = |name: &str| -> Vec<Value> {
        let copy = site.path("copy").join(name);
        let _ = std::fs::remove_dir_all(&copy);
        download(&s3, &format!("tables/{name}/"), &copy);
        rows_of(&copy)
    };
    // The same posts as the emulator's, with the same seed.
    let [posts, places, users] = self::rounds(&database, EVENTS as u64);
    for (topic, name, key, wanted) in [
        ("pin", "pin", "index", &posts),
        ("geo", "geo", "ind", &places),
        ("user", "user", "ind", &users),
    ] {
        let wanted = keys(wanted, key);
        until("all batches", || {
            (keys(&lines(topic), key) == wanted).then_some(())
        });
        until("all rows of the tables", || {
            (keys(&table(name), "ind") == wanted).then_some(())
        });
    }
    let pins = table("pin");
    for pin in &pins {
        let raw = posts
            .iter()
            .find(|post| post["index"] == pin["ind"])
            .expect("a post");
        let followers = raw["follower_count"].as_str().expect("a text");
        let number = |text: &str| text.parse::<i64>().ok();
        let wanted = match followers.strip_suffix('k') {
            Some(thousands) => number(thousands).map(|number| number * 1000),
            None => match followers.strip_suffix('M') {
                Some(millions) => number(millions).map(|number| number * 1_000_000),
                None => number(followers),
            },
        };
        assert_eq!(pin["follower_count"].as_i64(), wanted, "{followers}");
        for value in [
            "title",
            "description",
            "poster_name",
            "tag_list",
            "image_src",
        ] {
            let text = pin[value].as_str().unwrap_or_default();
            for filler in [
                "No Title",
                "No description available",
                "User Info Error",
                "Image src error",
                "N,o, ,T",
            ] {
                assert!(!text.starts_with(filler), "{value}: {text}");
            }
        }
    }
    for running in [api, stream] {
        running.signal("TERM");
        running.wait().expect_code(4);
    }
}
