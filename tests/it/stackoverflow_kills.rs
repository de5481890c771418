//! 50,000 questions that change while they are read, by runs that are killed inside and between
//! requests, checkpoints and commits: nothing is lost or duplicated, and the API's rules are kept.

use std::collections::BTreeSet;
use std::process::Command;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use rand::rngs::StdRng;
use rand::{Rng as _, SeedableRng as _};
use serde_json::Value;
use tidegate_testkit::servers::{Kind, StackExchange};

use super::stackoverflow::{WITH_KEY, assert_no_violation, assert_whole, pipeline, rules, settle};
use super::support::{Running, Site, lines_of, until, visible_files};

/// Where a run dies.
#[derive(Debug, Clone, Copy)]
enum Moment {
    /// While the server has a request that it hasn't answered: its so many-th of this run.
    InRequest(u32),
    /// When so many more requests have been answered: before a checkpoint, most likely.
    Answered(i64),
    /// When a commit has begun to show files.
    InCommit,
    /// After so long.
    After(Duration),
}

/// A process to be killed by the server, when it has come with so many more requests.
type Target = Arc<Mutex<Option<(u32, u32)>>>;

fn kill(process: u32) {
    let status = Command::new("kill")
        .args(["-9", &process.to_string()])
        .status();
    assert!(status.expect("`kill` runs").success());
}

/// Kills a run at a moment; whether it had not ended before.
fn die(site: &Site, api: &StackExchange, target: &Target, moment: Moment) -> bool {
    let (files, used) = (visible_files(&site.path("out")).len(), api.quota_used());
    let mut running = site.start(&[]);
    let comes = |what: &str, running: &mut Running, condition: &dyn Fn() -> bool| {
        until(what, || (condition() || running.has_ended()).then_some(()));
    };
    match moment {
        Moment::InRequest(number) => {
            *target.lock().expect("a lock") = Some((running.id(), number));
            comes("a request", &mut running, &|| {
                target.lock().expect("a lock").is_none()
            });
            *target.lock().expect("a lock") = None;
        }
        Moment::Answered(requests) => {
            comes("answers", &mut running, &|| {
                api.quota_used() >= used + requests
            });
        }
        Moment::InCommit => {
            let out = site.path("out");
            comes("a commit", &mut running, &|| {
                visible_files(&out).len() > files
            });
        }
        Moment::After(time) => std::thread::sleep(time),
    }
    running.kill().is_some()
}

/// A series of runs over questions that change, killed until enough kills have landed; then left
/// alone until all is read.
#[expect(clippy::print_stdout, reason = "the number of kills is asked for")]
fn kill_a_series(api: &StackExchange, pipeline: &Site, kills: u32, seed: u64) {
    let changes = api.site("stackoverflow").changes_in_background(20, seed);
    // For so long a killed process might still be waiting for its answer.
    pipeline.write("tidegate.toml", "[http]\nrequest_timeout = \"1500ms\"");

    let target = Target::default();
    let asked = Arc::clone(&target);
    api.on_request(move |_| {
        let mut target = asked.lock().expect("a lock");
        match &mut *target {
            Some((process, 1)) => {
                kill(*process);
                *target = None;
            }
            Some((_, left)) => *left -= 1,
            None => {}
        }
    });

    let mut random = StdRng::seed_from_u64(seed);
    let mut moment = |number: u32| match number % 4 {
        0 => Moment::InRequest(random.random_range(1..12)),
        1 => Moment::Answered(random.random_range(1..20)),
        2 => Moment::InCommit,
        _ => Moment::After(Duration::from_millis(random.random_range(20..3_000))),
    };
    let (mut landed, mut ended) = (0, 0);
    while landed < kills {
        match die(pipeline, api, &target, moment(landed + ended)) {
            true => landed += 1,
            false => ended += 1,
        }
        assert!(ended < 30, "only {landed} kills landed");
    }
    pipeline.run(&[]).expect_done();
    // A few more between the runs of a series.
    for number in 0..4 {
        let seen = changes.made();
        until("more changes", || {
            (changes.made() > seen + 10).then_some(())
        });
        landed += u32::from(die(pipeline, api, &target, moment(number)));
        if number % 2 == 1 {
            pipeline.run(&[]).expect_done();
        }
    }
    let made = changes.made();
    changes.stop();
    settle(api);
    pipeline.run(&[]).expect_done();
    pipeline.run(&[]).expect_done();
    assert!(made > 100, "{made} changes");
    println!(
        "{landed} kills landed; {made} changes were made; {} requests",
        api.requests().len()
    );
}

fn api(questions: usize, seed: u64) -> StackExchange {
    let latency = Duration::from_millis(2)..=Duration::from_millis(20);
    let api = StackExchange::start(rules().backoff(100, 1..=1).latency(latency));
    let over = Duration::from_secs(90 * 86_400);
    api.site("stackoverflow").questions(questions, over, seed);
    api
}

#[test]
fn questions_that_change_meanwhile_survive_any_kill() {
    let api = api(50_000, 11);
    let pipeline = pipeline(&api, WITH_KEY);
    kill_a_series(&api, &pipeline, 20, 11);
    assert_no_violation(&api);
    assert_whole(&pipeline, "questions", &api);
}

#[test]
fn several_streams_read_downwards_with_their_pages_survive_any_kill() {
    let api = api(6_000, 12);
    let keys =
        format!("{WITH_KEY}\nstreams = [\"questions\", \"answers\"]\norder = \"desc\"\nraw = true");
    let pipeline = pipeline(&api, &keys);
    let more = r#"
        [sinks.answers]
        type = "files"
        inputs = ["api.answers"]
        url = "answers"

        [sinks.pages]
        type = "files"
        inputs = ["api.raw"]
        format = "raw"
        url = "pages/page.json"
        "#;
    let text = pipeline.read("pipeline.toml") + more;
    pipeline.write("pipeline.toml", text);
    kill_a_series(&api, &pipeline, 8, 12);
    assert_no_violation(&api);
    assert_whole(&pipeline, "questions", &api);

    let site = api.site("stackoverflow");
    let ids = |rows: &mut dyn Iterator<Item = &Value>, key: &str| -> BTreeSet<i64> {
        rows.filter_map(|row| row[key].as_i64()).collect()
    };
    let answers = lines_of(&pipeline.path("answers"));
    let found = ids(&mut answers.iter(), "answer_id");
    let truth = site.truth(Kind::Answers);
    let wanted = ids(&mut truth.iter(), "answer_id");
    assert!(found.is_superset(&wanted), "answers were lost");
    // The pages hold the same.
    let pages: Vec<Value> = visible_files(&pipeline.path("pages"))
        .iter()
        .map(|path| serde_json::from_slice(&std::fs::read(path).expect("a page")).expect("JSON"))
        .collect();
    for (key, kind) in [
        ("question_id", Kind::Questions),
        ("answer_id", Kind::Answers),
    ] {
        // Answers name their questions too.
        let is_of_kind = |row: &&Value| row["answer_id"].is_i64() == (kind == Kind::Answers);
        let items = pages.iter().flat_map(|page| page["items"].as_array());
        let mut rows = items.flatten().filter(is_of_kind);
        let found = ids(&mut rows, key);
        let missed: Vec<_> = site
            .ids(kind)
            .into_iter()
            .filter(|id| !found.contains(id))
            .collect();
        assert!(missed.is_empty(), "no page has {key} {missed:?}");
    }
}
