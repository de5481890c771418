//! A state on S3 that is too large for one object: a run with thousands of splits, killed at any
//! moment.

use std::collections::BTreeSet;
use std::fmt::Write as _;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use tidegate_testkit::servers::{AwsServer, Proxy};

use super::lake::{BUCKET, Lake};
use super::lake_kills::{download, ids_in};
use super::support::Site;

const FILES: i64 = 1500;
const ROWS: i64 = 10;

/// The parts of the state that lie there, and those that its head names.
fn parts(s3: &AwsServer, name: &str) -> (BTreeSet<String>, BTreeSet<String>) {
    let directory = format!("{name}/state/");
    let head = s3.get(BUCKET, &format!("{directory}{name}.state.json"));
    assert!(head.len() < 80_000, "the head has {} bytes", head.len());
    let head: serde_json::Value = serde_json::from_slice(&head).expect("JSON");
    let named = ["whole", "since"].iter().flat_map(|list| {
        let parts = head[list].as_array().into_iter().flatten();
        parts.map(|part| part["name"].as_str().expect("a name").to_owned())
    });
    let there = s3.objects(BUCKET, &format!("{directory}{name}.state/"));
    let there = there.into_iter().map(|object| {
        let name = object.key.rsplit('/').next().expect("a name");
        name.trim_end_matches(".ndjson").to_owned()
    });
    (there.collect(), named.collect())
}

#[test]
fn a_run_of_thousands_of_splits_survives_kills_with_its_state_on_s3() {
    let lake = Lake::new();
    let name = "large";
    let site = Site::with(&format!(
        r#"
        name = "{name}"
        guarantee = "exactly_once"

        [checkpoint]
        bytes = 20000

        [sources.rows]
        type = "files"
        url = "in/*.ndjson"

        [sinks.out]
        type = "parquet"
        inputs = ["rows"]
        url = "s3://{BUCKET}/{name}/rows"
        "#
    ));
    for file in 0..FILES {
        let mut text = String::new();
        for row in 0..ROWS {
            writeln!(text, r#"{{"id":{}}}"#, file * ROWS + row).expect("a string");
        }
        // The names make the splits as large as they are under a long path.
        site.write(&format!("in/{file}-{}.ndjson", "x".repeat(150)), text);
    }
    let s3 = Proxy::before(&lake.s3.url());
    let aws = lake.environment().with("AWS_ENDPOINT_URL_S3", &s3.url());
    let state = format!("s3://{BUCKET}/{name}/state");
    let run = || site.spawn(aws.command(&site, &["run", "pipeline.toml", "--state", &state]));

    // In turn right between a part and the head that is to name it, and after some heads.
    for turn in 0..6 {
        let (counts, after) = match turn % 2 {
            0 => (".state/", 0),
            _ => (".state.json", 3 * turn),
        };
        let came = AtomicUsize::new(0);
        let hold = s3.hold(move |request| {
            let puts = |what| request.method == "PUT" && request.path.contains(what);
            let came = came.fetch_add(usize::from(puts(counts)), Ordering::Relaxed);
            puts(".state.json") && came > after
        });
        let running = run();
        assert!(hold.wait_for(1, Duration::from_secs(60)), "turn {turn}");
        assert!(running.kill().is_some(), "turn {turn}");
        drop(hold);
    }
    run().wait().expect_done();

    let copy = site.path("copy");
    download(&lake.s3, &format!("{name}/rows/"), &copy);
    assert!(ids_in(&copy).into_iter().eq(0..FILES * ROWS));
    let (there, named) = parts(&lake.s3, name);
    assert_eq!(there, named);
    assert!(!named.is_empty());
}
