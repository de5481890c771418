//! Stack Overflow read by the whole program from a fake of its API that keeps its rules: series of
//! runs over questions that change, quotas, and what the user is told.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use arrow_array::Array as _;
use arrow_array::cast::AsArray;
use arrow_array::types::{Int64Type, TimestampMicrosecondType};
use chrono::{DateTime, Utc};
use serde_json::Value;
use tidegate_testkit::servers::{Failure, Kind, Packing, Rules, StackExchange};

use super::support::{Site, batches_in, until, visible_files};

/// How long the fake needs until it shows a change, and more.
pub(crate) const LAG: Duration = Duration::from_secs(2);

/// A fake that forgets what it was asked within a second, and shows changes a little late.
pub(crate) fn rules() -> Rules {
    Rules::default()
        .repeat_window(Duration::from_secs(1))
        .answers_late(Duration::from_millis(500))
}

/// A pipeline that appends questions to a directory, with more keys of its source.
pub(crate) fn pipeline(api: &StackExchange, keys: &str) -> Site {
    let site = Site::with(&text(api, "questions", keys));
    site.write("key", "a-key");
    site
}

pub(crate) fn text(api: &StackExchange, name: &str, keys: &str) -> String {
    format!(
        r#"
        name = "{name}"
        guarantee = "exactly_once"

        [checkpoint]
        interval = "300ms"

        [sources.api]
        type = "stackoverflow"
        base_url = "{}"
        lag = "2s"
        caution = "1500ms"
        repeat_after = "1s"
        {keys}

        [sinks.questions]
        type = "parquet"
        inputs = ["api.questions"]
        url = "out/{name}"
        "#,
        api.url()
    )
}

pub(crate) const WITH_KEY: &str = r#"key = { file = "key" }"#;

/// What is compared of a question.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Question {
    active: i64,
    edited: Option<i64>,
    title: String,
    score: i64,
    tags: Vec<String>,
}

/// What the site holds now.
pub(crate) fn truth(api: &StackExchange) -> BTreeMap<i64, Question> {
    let questions = api.site("stackoverflow").truth(Kind::Questions);
    let texts = |value: &Value| -> Vec<String> {
        let texts = value.as_array().expect("a list").iter();
        texts
            .map(|text| text.as_str().expect("a text").to_owned())
            .collect()
    };
    let question = |row: &Value| Question {
        active: row["last_activity_date"].as_i64().expect("a time"),
        edited: row["last_edit_date"].as_i64(),
        title: row["title"].as_str().expect("a title").to_owned(),
        score: row["score"].as_i64().expect("a score"),
        tags: texts(&row["tags"]),
    };
    questions
        .iter()
        .map(|row| (row["question_id"].as_i64().expect("an id"), question(row)))
        .collect()
}

/// What the files hold after the documented merge: of each key the row with the latest activity.
/// Panics if a run gave a question twice.
#[track_caller]
pub(crate) fn merged(site: &Site, name: &str) -> BTreeMap<i64, Question> {
    let mut merged = BTreeMap::<i64, Question>::new();
    let mut of_runs = BTreeMap::<String, BTreeSet<i64>>::new();
    for path in visible_files(&site.path("out").join(name)) {
        // part-<lineage>-<run>-<sink>-<epoch>-<number>.parquet
        let file = path.file_name().expect("a file").to_string_lossy();
        let run = file.split('-').nth(2).expect("a run").to_owned();
        let ids_of_run = of_runs.entry(run).or_default();
        for batch in batches_in(&path) {
            let column = |name| batch.column_by_name(name).expect("a column");
            let ids = column("question_id").as_primitive::<Int64Type>();
            let scores = column("score").as_primitive::<Int64Type>();
            let time = |name| column(name).as_primitive::<TimestampMicrosecondType>();
            let (active, edited) = (time("last_activity_date"), time("last_edit_date"));
            let titles = column("title").as_string::<i32>();
            let tags = column("tags").as_list::<i32>();
            for row in 0..batch.num_rows() {
                let id = ids.value(row);
                assert!(
                    ids_of_run.insert(id),
                    "question {id} is twice in {file}'s run"
                );
                let question = Question {
                    active: active.value(row) / 1_000_000,
                    edited: edited.is_valid(row).then(|| edited.value(row) / 1_000_000),
                    title: titles.value(row).to_owned(),
                    score: scores.value(row),
                    tags: tags
                        .value(row)
                        .as_string::<i32>()
                        .iter()
                        .map(|tag| tag.expect("a tag").to_owned())
                        .collect(),
                };
                match merged.get(&id) {
                    Some(known) if known.active > question.active => {}
                    _ => drop(merged.insert(id, question)),
                }
            }
        }
    }
    merged
}

/// Asserts that every question that there is was read, as it is now.
#[track_caller]
pub(crate) fn assert_whole(site: &Site, name: &str, api: &StackExchange) {
    let (found, wanted) = (merged(site, name), truth(api));
    let lost: Vec<_> = wanted.keys().filter(|id| !found.contains_key(id)).collect();
    assert!(
        lost.is_empty(),
        "{} questions were lost: {:?}",
        lost.len(),
        &lost[..lost.len().min(5)]
    );
    for (id, question) in &wanted {
        assert_eq!(&found[id], question, "question {id}");
    }
}

#[track_caller]
pub(crate) fn assert_no_violation(api: &StackExchange) {
    let violations = api.violations();
    assert!(
        violations.is_empty(),
        "{} violations: {:?}",
        violations.len(),
        &violations[..violations.len().min(3)]
    );
}

/// Waits until a run that begins now reads all that has happened.
pub(crate) fn settle(api: &StackExchange) {
    let then = api.now() + LAG + Duration::from_millis(200);
    until("the changes to be shown", || {
        (api.now() > then).then_some(())
    });
}

/// Rows that a run gave, and the requests that it counted.
pub(crate) fn rows_and_requests(report: &Value) -> (u64, u64) {
    let source = &report["components"][0];
    let number = |key: &str| source[key].as_u64().expect("a number");
    (number("rows_out"), number("requests"))
}

#[test]
fn a_series_of_runs_over_changing_questions_takes_two_per_cent_more_requests_than_the_fewest() {
    let api = StackExchange::start(rules());
    let site = api.site("stackoverflow");
    site.questions(50_000, Duration::from_secs(90 * 86_400), 5);
    let changes = site.changes_in_background(30, 5);
    let pipeline = pipeline(&api, WITH_KEY);
    let mut fewest = 0;
    let mut counted = 0;
    let mut run = || {
        let (ended, report) = pipeline.run_with_report(&[]);
        ended.expect_done();
        let (rows, requests) = rows_and_requests(&report);
        fewest += rows.div_ceil(100).max(1);
        counted += requests;
        rows
    };
    let first = run();
    assert!(first > 49_000, "{first} rows in the first run");
    for _ in 0..3 {
        let seen = changes.made();
        until("more changes", || {
            (changes.made() > seen + 20).then_some(())
        });
        run();
    }
    assert!(changes.made() > 200, "{} changes", changes.made());
    changes.stop();
    settle(&api);
    run();
    assert_whole(&pipeline, "questions", &api);
    assert_no_violation(&api);

    let requests = api.requests().len() as u64;
    assert_eq!(counted, requests, "the report counts all requests");
    println!("{requests} requests, {fewest} is the fewest");
    assert!(
        requests * 100 <= fewest * 102,
        "{requests} requests, where {fewest} would have done"
    );
    // One more finds nothing, with one request.
    let (ended, report) = pipeline.run_with_report(&[]);
    ended.expect_done();
    assert_eq!(rows_and_requests(&report), (0, 1));
}

/// The errors that asking again doesn't help, with the exit code.
const REFUSALS: [(i64, &str, i32); 8] = [
    (400, "bad_parameter", 2),
    (401, "access_token_required", 1),
    (402, "invalid_access_token", 1),
    (403, "access_denied", 1),
    (404, "no_method", 2),
    (405, "key_required", 1),
    (406, "access_token_compromised", 1),
    (407, "write_failed", 1),
];

#[test]
fn what_the_api_refuses_is_told_with_its_number_and_what_to_do() {
    let api = StackExchange::start(rules());
    api.site("stackoverflow")
        .questions(10, Duration::from_secs(86_400), 7);
    for (id, name, code) in REFUSALS {
        for failure in [Failure::Error(id), Failure::ErrorWith200(id)] {
            api.fail_next([failure]);
            let ended = pipeline(&api, "").run(&[]).expect_code(code);
            ended.expect_said(&["error:", &id.to_string(), name, "hint:"]);
        }
    }
    let ended = pipeline(&api, "site = \"stackoverflo\"").run(&[]);
    ended.expect_code(2).expect_said(&["stackoverflo", "hint:"]);

    let pipeline = pipeline(&api, WITH_KEY);
    pipeline.write("key", "no-key-of-theirs");
    let ended = pipeline.run(&["-vv"]);
    assert_ne!(ended.status.code(), Some(0));
    assert!(!ended.stderr.contains("no-key"), "{}", ended.stderr);
    ended.expect_said(&["key", "hint:"]);
}

#[test]
fn what_passes_is_lived_through() {
    let busy = "Violation of backoff parameter".to_owned();
    for failure in [
        Failure::Error(409),
        Failure::Error(500),
        Failure::Error(503),
        Failure::Said(502, busy),
        Failure::Html,
        Failure::NotJson,
        Failure::Cut,
        Failure::Dropped,
    ] {
        let api = StackExchange::start(rules());
        api.site("stackoverflow")
            .questions(450, Duration::from_secs(86_400), 7);
        settle(&api);
        let mut count = 0;
        let fails = failure.clone();
        api.fail_when(move |request| {
            count += i32::from(request.method == "/questions");
            (count == 3).then(|| fails.clone())
        });
        let (ended, report) = pipeline(&api, "").run_with_report(&[]);
        ended.expect_done();
        assert_eq!(report["components"][0]["rows_out"], 450, "{failure:?}");
        assert_no_violation(&api);
    }
}

#[test]
fn a_page_that_repeats_ends_the_run_and_never_goes_round() {
    let api = StackExchange::start(rules());
    api.site("stackoverflow")
        .questions(450, Duration::from_secs(86_400), 7);
    settle(&api);
    let mut count = 0;
    api.fail_when(move |request| {
        count += i32::from(request.method == "/questions");
        (count >= 3).then_some(Failure::Repeated)
    });
    let ended = pipeline(&api, "").run(&[]).expect_code(1);
    ended.expect_said(&["error:", "/questions", "hint:"]);
    assert!(api.requests().len() < 20);
}

#[test]
fn answers_are_unpacked_however_they_are_packed() {
    for packing in [Packing::Gzip, Packing::GzipWithoutHeader, Packing::Plain] {
        let api = StackExchange::start(rules().packing(packing));
        api.site("stackoverflow")
            .questions(150, Duration::from_secs(86_400), 7);
        settle(&api);
        let pipeline = pipeline(&api, "");
        pipeline.run(&[]).expect_done();
        assert_whole(&pipeline, "questions", &api);
    }
}

#[test]
fn a_check_tells_what_will_be_read_without_a_request() {
    let api = StackExchange::start(rules());
    let pipeline = pipeline(&api, "streams = [\"questions\", \"answers\"]\nraw = true");
    let ended = pipeline.tidegate(&["check", "pipeline.toml"]).expect_done();
    let said = format!("{}{}", ended.stdout, ended.stderr);
    for text in ["300 requests a day", "`answers` by `activity`"] {
        assert!(said.contains(text), "no `{text}` in:\n{said}");
    }
    assert!(api.requests().is_empty());
}

/// The day of raw files, as their directories write it.
pub(crate) fn day(time: DateTime<Utc>) -> String {
    time.format("%Y/%m/%d").to_string()
}
