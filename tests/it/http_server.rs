//! Clients that post while the server is killed: what was answered is there, once.

use std::collections::{BTreeMap, BTreeSet};
use std::io::{Read as _, Write as _};
use std::net::{TcpListener, TcpStream};
use std::process::Command;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use arrow_array::cast::AsArray;
use rand::rngs::StdRng;
use rand::{Rng as _, SeedableRng as _};

use super::lake::{BUCKET, Environment};
use super::lake_kills::download;
use super::support::{Running, Site, batches_of, until};

/// How many clients post at once.
const CLIENTS: usize = 200;

/// How often the process is killed while they do.
const KILLS: usize = 10;

/// What became of a body, as its client knows it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Fate {
    Taken,
    Refused,
    Unknown,
}

/// Posts bodies over one connection for as long as it lives, then over the next, until told to stop.
fn post(port: u16, client: usize, stop: &AtomicBool) -> BTreeMap<String, Fate> {
    let mut fates = BTreeMap::new();
    let mut number = 0;
    while !stop.load(Ordering::Relaxed) {
        let Ok(mut stream) = TcpStream::connect(("127.0.0.1", port)) else {
            std::thread::sleep(Duration::from_millis(20));
            continue;
        };
        let patience = Some(Duration::from_secs(20));
        stream.set_read_timeout(patience).expect("a socket");
        while !stop.load(Ordering::Relaxed) {
            let body = format!("{{\"client\":{client},\"number\":{number}}}");
            number += 1;
            let fate = ask(&mut stream, &body);
            fates.insert(body, fate);
            if fate == Fate::Unknown {
                break;
            }
        }
    }
    fates
}

pub(crate) fn ask(stream: &mut TcpStream, body: &str) -> Fate {
    let request = format!(
        "POST /events HTTP/1.1\r\nhost: localhost\r\ncontent-length: {}\r\n\r\n{body}",
        body.len()
    );
    if stream.write_all(request.as_bytes()).is_err() {
        return Fate::Unknown;
    }
    let mut answer = Vec::new();
    let mut piece = [0; 1024];
    // Answers are short, and end with the JSON object that is their body.
    while !answer.ends_with(b"}") {
        match stream.read(&mut piece) {
            Ok(0) | Err(_) => return Fate::Unknown,
            Ok(length) => answer.extend_from_slice(&piece[..length]),
        }
    }
    match answer.starts_with(b"HTTP/1.1 202") {
        true => Fate::Taken,
        false => Fate::Refused,
    }
}

pub(crate) fn free_port() -> u16 {
    let listener = TcpListener::bind("127.0.0.1:0").expect("a port");
    listener.local_addr().expect("an address").port()
}

/// Starts the pipeline, and waits until it listens.
pub(crate) fn start(site: &Site, aws: &Environment, port: u16) -> Running {
    listening(site, aws.command(site, &["run", "pipeline.toml"]), port)
}

/// Starts a command, and waits until it listens.
fn listening(site: &Site, command: Command, port: u16) -> Running {
    let mut running = site.spawn(command);
    until("the server", || {
        let listens = TcpStream::connect(("127.0.0.1", port)).is_ok();
        (listens || running.has_ended()).then_some(())
    });
    if running.has_ended() {
        running.wait().expect_code(4);
        unreachable!("a run that nobody stopped has stopped");
    }
    running
}

#[test]
fn what_was_answered_is_in_s3_once_however_often_the_server_is_killed() {
    let s3 = tidegate_testkit::servers::seaweedfs();
    s3.bucket(BUCKET);
    let aws = Environment::of(&s3);
    let port = free_port();
    let site = Site::with(&format!(
        r#"
        name = "posted"
        guarantee = "exactly_once"

        [checkpoint]
        interval = "500ms"

        [sources.events]
        type = "http_server"
        listen = "127.0.0.1:{port}"
        paths = ["/events"]
        max_log = "64 MiB"

        [sinks.lake]
        type = "parquet"
        inputs = ["events"]
        url = "s3://{BUCKET}/posted"
        "#
    ));
    let stop = AtomicBool::new(false);
    let running = start(&site, &aws, port);
    let (fates, running) = std::thread::scope(|scope| {
        let clients: Vec<_> = (0..CLIENTS)
            .map(|client| {
                let stop = &stop;
                scope.spawn(move || post(port, client, stop))
            })
            .collect();
        let mut random = StdRng::seed_from_u64(12);
        let mut running = running;
        for kill in 0..KILLS {
            std::thread::sleep(Duration::from_millis(random.random_range(2000..9000)));
            assert!(running.kill().is_some(), "it ended before kill {kill}");
            running = start(&site, &aws, port);
        }
        std::thread::sleep(Duration::from_secs(1));
        stop.store(true, Ordering::Relaxed);
        let fates = clients
            .into_iter()
            .flat_map(|client| client.join().expect("a client"));
        (fates.collect::<BTreeMap<_, _>>(), running)
    });
    running.signal("TERM");
    running.wait().expect_code(4);
    // What came after the last commit is in the log, and the next run commits it.
    let again = start(&site, &aws, port);
    let copy = site.path("copy");
    let stored = until("all that was answered", || {
        let _ = std::fs::remove_dir_all(&copy);
        download(&s3, "posted/", &copy);
        let stored = payloads(&copy);
        let all: BTreeSet<&String> = stored.iter().collect();
        let taken = fates.iter().filter(|(_, fate)| **fate == Fate::Taken);
        taken
            .map(|(body, _)| body)
            .all(|body| all.contains(body))
            .then_some(stored)
    });
    again.signal("TERM");
    again.wait().expect_code(4);
    let count = |fate| fates.values().filter(|of| **of == fate).count();
    assert!(
        count(Fate::Taken) > 1000,
        "{} were answered",
        count(Fate::Taken)
    );
    assert_eq!(count(Fate::Refused), 0);
    assert!(
        count(Fate::Unknown) > 0,
        "no kill came between a body and its answer"
    );
    let mut seen = BTreeSet::new();
    for body in &stored {
        assert!(seen.insert(body), "{body} is there twice");
        let fate = fates.get(body);
        assert!(
            matches!(fate, Some(Fate::Taken | Fate::Unknown)),
            "{body}: {fate:?}"
        );
    }
}

/// How many connections do nothing.
const IDLE: u64 = 10_000;

#[test]
fn those_that_speak_are_heard_beside_ten_thousand_that_do_not() {
    allow_files(IDLE + 2000);
    let port = free_port();
    let site = Site::with(&format!(
        r#"
        name = "posted"

        [checkpoint]
        interval = "500ms"

        [sources.events]
        type = "http_server"
        listen = "127.0.0.1:{port}"
        header_timeout = "10m"

        [sinks.files]
        type = "files"
        inputs = ["events"]
        format = "ndjson"
        url = "out"
        "#
    ));
    let running = listening(&site, site.command(&["run", "pipeline.toml"]), port);
    let before = resident(&running);
    let idle: Vec<_> = (0..IDLE)
        .map(|number| {
            let mut stream = TcpStream::connect(("127.0.0.1", port)).expect("a connection");
            // Some are in the middle of a head.
            if number % 2 == 0 {
                stream
                    .write_all(b"POST /events HTTP/1.1\r\n")
                    .expect("it is taken");
            }
            stream
        })
        .collect();
    for client in 0..10 {
        let mut stream = TcpStream::connect(("127.0.0.1", port)).expect("a connection");
        stream
            .set_read_timeout(Some(Duration::from_secs(20)))
            .expect("a socket");
        for number in 0..10 {
            let body = format!("{{\"client\":{client},\"number\":{number}}}");
            assert_eq!(ask(&mut stream, &body), Fate::Taken, "{body}");
        }
    }
    let each = resident(&running).saturating_sub(before) / IDLE;
    assert!(each < 32 << 10, "a connection takes {each} bytes");
    drop(idle);
    running.signal("TERM");
    running.wait().expect_code(4);
}

/// Lets this process have so many files open.
fn allow_files(number: u64) {
    use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};
    let limit = getrlimit(Resource::Nofile);
    if limit.current.is_some_and(|current| current < number) {
        let raised = Rlimit {
            current: Some(number),
            ..limit
        };
        setrlimit(Resource::Nofile, raised).expect("the system allows 12,000 open files");
    }
}

/// The process's memory, in bytes.
fn resident(running: &Running) -> u64 {
    let status = std::fs::read_to_string(format!("/proc/{}/status", running.id())).expect("it");
    let line = status.lines().find_map(|line| line.strip_prefix("VmRSS:"));
    let size = line.and_then(|line| line.trim().trim_end_matches(" kB").parse::<u64>().ok());
    size.expect("its memory") * 1024
}

fn payloads(directory: &std::path::Path) -> Vec<String> {
    let mut payloads = Vec::new();
    for batch in batches_of(directory) {
        let column = batch.column_by_name("payload").expect("a column");
        payloads.extend(
            column
                .as_string::<i32>()
                .iter()
                .flatten()
                .map(str::to_owned),
        );
    }
    payloads
}
