//! The quota of Stack Exchange as users of the whole program meet it: runs that aren't begun, are
//! stopped, wait, and share it.

use std::time::Duration;

use chrono::Utc;
use serde_json::Value;
use tidegate_testkit::servers::{Failure, StackExchange};

use super::stackoverflow::{
    WITH_KEY, assert_no_violation, assert_whole, merged, pipeline, rows_and_requests, rules,
    settle, text,
};
use super::support::{Site, until, visible_files};

#[test]
fn a_run_of_few_requests_goes_on_in_the_next_ones() {
    let api = StackExchange::start(rules());
    api.site("stackoverflow")
        .questions(1_500, Duration::from_secs(86_400), 1);
    settle(&api);
    let pipeline = pipeline(&api, "max_requests = 5");
    let mut stopped = 0;
    loop {
        let (ended, report) = pipeline.run_with_report(&[]);
        if report["status"] == "completed" {
            ended.expect_done();
            break;
        }
        let ended = ended.expect_code(4);
        ended.expect_said(&["max_requests", "hint:", "the next run resumes from there"]);
        assert_eq!(report["status"], "stopped");
        assert!(report["exhausted"]["message"].is_string());
        stopped += 1;
        assert!(stopped < 10, "it doesn't come to an end");
    }
    assert!(stopped >= 2, "{stopped} runs were stopped");
    assert_whole(&pipeline, "questions", &api);
    assert_no_violation(&api);
}

#[test]
fn a_run_that_can_only_be_kept_whole_says_how_to_keep_what_it_reads() {
    let api = StackExchange::start(rules());
    api.site("stackoverflow")
        .questions(1_000, Duration::from_secs(86_400), 9);
    settle(&api);
    let pipeline = pipeline(&api, "max_requests = 5");
    let counted = pipeline.read("pipeline.toml")
        + r#"
        [transforms.count]
        type = "sql"
        inputs = ["api.questions"]
        query = "SELECT count(*) AS n FROM api.questions"

        [sinks.counts]
        type = "parquet"
        inputs = ["count"]
        url = "out/counts"
        "#;
    pipeline.write("pipeline.toml", counted);
    let (ended, report) = pipeline.run_with_report(&[]);
    ended.expect_code(4).expect_said(&[
        "nothing of this run was committed",
        "stopped:",
        "write the rows to a sink first",
    ]);
    assert_eq!(report["status"], "abandoned");
    assert!(visible_files(&pipeline.path("out")).is_empty());
}

#[test]
fn a_run_that_needs_more_than_is_left_of_the_quota_is_not_begun() {
    let api = StackExchange::start(rules());
    let site = api.site("stackoverflow");
    site.questions(3_000, Duration::from_secs(86_400), 2);
    settle(&api);
    // Another program on this machine.
    api.spend(280);
    let pipeline = pipeline(&api, "");
    let refused = pipeline.run(&[]).expect_code(4);
    refused.expect_said(&[
        "requests needed",
        "of 300 left until",
        "UTC",
        "hint:",
        "on_quota",
    ]);
    assert!(visible_files(&pipeline.path("out")).is_empty());
    // Nor is it asked again what is known.
    let asked = api.requests().len();
    pipeline
        .run(&[])
        .expect_code(4)
        .expect_said(&["requests needed"]);
    assert_eq!(api.requests().len(), asked);
    assert_no_violation(&api);
    // With a key there is enough. It is another account, but the same address.
    let asked = Utc::now();
    until("the same to be allowed", || {
        (Utc::now() > asked + Duration::from_secs(2)).then_some(())
    });
    pipeline.write("pipeline.toml", text(&api, "questions", WITH_KEY));
    pipeline.write("key", "a-key");
    pipeline.run(&[]).expect_done();
    assert_whole(&pipeline, "questions", &api);
    assert_no_violation(&api);
}

/// A longer wait than a second is one for the quota.
const NO_PAUSE: &str = "[http]\nmax_retry_after = \"1s\"\n";

/// In the words of the real one.
fn spent(seconds: u32) -> Failure {
    let said =
        format!("too many requests from this IP, more requests available in {seconds} seconds");
    Failure::Said(502, said)
}

#[test]
fn a_quota_that_is_spent_in_the_middle_stops_the_run_and_the_next_one_goes_on_after_it() {
    let api = StackExchange::start(rules());
    api.site("stackoverflow")
        .questions(2_000, Duration::from_secs(86_400), 3);
    settle(&api);
    let pipeline = pipeline(&api, "");
    pipeline.write("tidegate.toml", NO_PAUSE);
    let mut count = 0;
    api.fail_when(move |request| {
        count += i32::from(request.method == "/questions");
        (count == 8).then(|| spent(3))
    });
    let began = Utc::now();
    let (ended, report) = pipeline.run_with_report(&[]);
    ended
        .expect_code(4)
        .expect_said(&["stopped:", "quota", "UTC", "hint:"]);
    assert_eq!(report["status"], "stopped");
    let read = merged(&pipeline, "questions").len();
    assert!((500..1_000).contains(&read), "{read} questions");

    // Before its time, nothing is asked.
    let asked = api.requests().len();
    if Utc::now() < began + Duration::from_secs(2) {
        pipeline.run(&[]).expect_code(4).expect_said(&["quota"]);
        assert_eq!(api.requests().len(), asked);
    }
    until("the quota's end", || {
        (Utc::now() > began + Duration::from_secs(6)).then_some(())
    });
    let (ended, report) = pipeline.run_with_report(&[]);
    ended.expect_done();
    assert_eq!(report["resumed"], true);
    assert_whole(&pipeline, "questions", &api);
    assert_no_violation(&api);
}

#[test]
fn a_run_waits_for_the_quota_where_it_is_told_to() {
    let api = StackExchange::start(rules());
    api.site("stackoverflow")
        .questions(1_000, Duration::from_secs(86_400), 4);
    settle(&api);
    let pipeline = pipeline(&api, "on_quota = \"wait\"");
    pipeline.write("tidegate.toml", NO_PAUSE);
    let mut count = 0;
    api.fail_when(move |request| {
        count += i32::from(request.method == "/questions");
        (count == 4).then(|| spent(3))
    });
    let (ended, report) = pipeline.run_with_report(&[]);
    ended.expect_done().expect_said(&["spent"]);
    let waited = report["components"][0]["waited_s"]
        .as_f64()
        .expect("a time");
    assert!(waited > 2.0, "it waited for {waited} s");
    assert_whole(&pipeline, "questions", &api);
    assert_no_violation(&api);
}

#[test]
fn a_run_that_waits_for_the_quota_can_be_stopped() {
    let api = StackExchange::start(rules());
    api.site("stackoverflow")
        .questions(1_000, Duration::from_secs(86_400), 8);
    settle(&api);
    let pipeline = pipeline(&api, "on_quota = \"wait\"");
    let mut count = 0;
    api.fail_when(move |request| {
        count += i32::from(request.method == "/questions");
        (count == 6).then(|| spent(4_000))
    });
    let running = pipeline.start(&["--report", "report.json"]);
    until("rows, and the quota's end", || {
        let rows = !visible_files(&pipeline.path("out")).is_empty();
        let asked = api.requests();
        let spent = asked.iter().any(|seen| seen.error_id == Some(502));
        (rows && spent).then_some(())
    });
    running.signal("INT");
    let ended = running.wait().expect_code(4);
    ended.expect_said(&["stopping after a last commit", "the next run resumes"]);
    let report: Value = serde_json::from_str(&pipeline.read("report.json")).expect("JSON");
    assert_eq!(report["status"], "stopped");
    assert_eq!(merged(&pipeline, "questions").len() % 99, 1, "whole pages");
    assert_no_violation(&api);
}

#[test]
fn pipelines_that_share_a_state_share_quota_and_pauses() {
    let api = StackExchange::start(rules().backoff(15, 1..=1));
    api.site("stackoverflow")
        .questions(2_000, Duration::from_secs(86_400), 6);
    settle(&api);
    let site = Site::new();
    for name in ["one", "two"] {
        // Else the same question would be asked twice in a second.
        let keys = ["order = \"asc\"", "order = \"desc\""][usize::from(name == "two")];
        site.write(&format!("{name}.toml"), text(&api, name, keys));
    }
    let start = |name: &str| {
        let file = format!("{name}.toml");
        site.spawn(site.command(&["run", &file, "--report", &format!("{name}.json")]))
    };
    let both = [start("one"), start("two")];
    for running in both {
        running.wait().expect_done();
    }
    for name in ["one", "two"] {
        assert_whole(&site, name, &api);
    }
    assert_no_violation(&api);
    let requests = |name: &str| {
        let report: Value =
            serde_json::from_str(&site.read(&format!("{name}.json"))).expect("JSON");
        rows_and_requests(&report).1
    };
    assert_eq!(
        requests("one") + requests("two"),
        api.requests().len() as u64
    );
}
