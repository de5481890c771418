//! `examples/pinterest-emulator`: random posts, each with its place and its user, until it is
//! stopped.

use std::process::Command;

use serde_json::Value;
use tidegate_testkit::servers::{MariaDb, mariadb};

use super::support::{Site, until, workspace};

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
