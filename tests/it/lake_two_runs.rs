//! Two runs of one pipeline at once: the second is refused; and of a first that was stopped, taken
//! over from and continued, nothing comes any more.

use std::collections::BTreeMap;
use std::time::Duration;

use tidegate_testkit::servers::{Hold, Proxy};

use super::lake::{BUCKET, Lake};
use super::lake_kills::{download, ids_in};
use super::support::{Site, until, visible_files};

/// Numbers from 0 on, slowly enough to be stopped in the middle.
fn slow(sink: &str) -> Site {
    let site = Site::with(&format!(
        r#"
        name = "slow"
        guarantee = "exactly_once"

        [checkpoint]
        interval = "100ms"

        [sources.numbers]
        type = "generate"
        rows = 6000
        rate = 2000
        batch_rows = 20
        columns = [{{ name = "id", type = "sequence" }}]

        {sink}
        "#
    ));
    site.write("tidegate.toml", "[runtime]\nlease = \"2s\"\n");
    site
}

const TO_A_DIRECTORY: &str = r#"
    [sinks.out]
    type = "parquet"
    inputs = ["numbers"]
    url = "out"
"#;

fn run(state: &str) -> Vec<&str> {
    vec!["run", "pipeline.toml", "--state", state]
}

#[test]
fn a_second_run_at_once_is_refused_wherever_the_state_is() {
    let lake = Lake::new();
    let aws = lake.environment();
    for state in ["state".to_owned(), format!("s3://{BUCKET}/second")] {
        let site = slow(TO_A_DIRECTORY);
        let first = site.spawn(aws.command(&site, &run(&state)));
        until("a first commit", || {
            (!visible_files(&site.path("out")).is_empty()).then_some(())
        });
        let second = aws.tidegate(&site, &run(&state)).expect_code(1);
        let holder = format!("process {}", first.id());
        second.expect_said(&["the pipeline is already running", &holder, "hint:"]);
        first.wait().expect_done();
        assert_eq!(ids_in(&site.path("out")), (0..6000).collect::<Vec<_>>());
        // It was given back: a third one finds nothing to do and nothing in its way.
        let third = aws.tidegate(&site, &run(&state)).expect_done();
        assert!(third.took < Duration::from_secs(20), "{:?}", third.took);
    }
}

/// Where in its work the first run is when it is stopped.
#[derive(Debug, Clone, Copy)]
enum Stopped {
    Anywhere,
    /// A file is being published: the request is on its way.
    InACommit,
    /// The state is being written: the request is on its way.
    InAWriteOfTheState,
}

fn hold(s3: &Proxy, stopped: Stopped) -> Option<Hold> {
    match stopped {
        Stopped::Anywhere => None,
        Stopped::InACommit => {
            Some(s3.hold(|request| request.method == "POST" && request.path.contains("uploadId=")))
        }
        Stopped::InAWriteOfTheState => {
            Some(s3.hold(|request| {
                request.method == "PUT" && request.path.contains("slow.state.json")
            }))
        }
    }
}

#[test]
fn a_run_that_was_stopped_taken_over_from_and_continued_commits_nothing() {
    let lake = Lake::new();
    let cases = [
        Stopped::Anywhere,
        Stopped::InACommit,
        Stopped::InAWriteOfTheState,
    ];
    for (case, stopped) in cases.into_iter().enumerate() {
        let prefix = format!("fenced{case}");
        let site = slow(&format!(
            r#"
            [sinks.out]
            type = "parquet"
            inputs = ["numbers"]
            url = "s3://{BUCKET}/{prefix}/rows"
            catalog = {{ type = "glue", database = "lake", table = "{prefix}" }}
            "#
        ));
        let state = format!("s3://{BUCKET}/{prefix}/state");
        let directory = format!("{prefix}/rows/");
        let objects = || -> BTreeMap<String, u64> {
            let objects = lake.s3.objects(BUCKET, &directory);
            objects.into_iter().map(|one| (one.key, one.size)).collect()
        };

        let s3 = Proxy::before(&lake.s3.url());
        let of_first = lake.environment().with("AWS_ENDPOINT_URL_S3", &s3.url());
        let first = site.spawn(of_first.command(&site, &run(&state)));
        until("a first commit", || (!objects().is_empty()).then_some(()));
        let hold = hold(&s3, stopped);
        if let Some(hold) = &hold {
            assert!(hold.wait_for(1, Duration::from_secs(60)), "{stopped:?}");
        }
        first.signal("STOP");

        let second = lake.environment().tidegate(&site, &run(&state));
        second
            .expect_done()
            .expect_said(&["no sign of life", "taking over"]);
        let rows = site.path(format!("copy{case}"));
        download(&lake.s3, &directory, &rows);
        assert_eq!(ids_in(&rows), (0..6000).collect::<Vec<_>>(), "{stopped:?}");
        let left = objects();

        drop(hold);
        first.signal("CONT");
        first.wait().expect_code(1).expect_said(&["hint:"]);
        assert_eq!(objects(), left, "{stopped:?}: the first changed something");
        assert_eq!(lake.s3.uploads(BUCKET), [], "{stopped:?}");
    }
}
