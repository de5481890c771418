//! 50,000 questions that change while they are read, by runs that are killed inside and between
//! requests, checkpoints and commits: nothing is lost or doubled, and the API's rules are kept.

use std::process::Command;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use rand::rngs::StdRng;
use rand::{Rng as _, SeedableRng as _};
use tidegate_testkit::servers::StackExchange;

use super::stackoverflow::{WITH_KEY, assert_no_violation, assert_whole, pipeline, rules, settle};
use super::support::{Running, Site, until, visible_files};

const QUESTIONS: usize = 50_000;
const KILLS: u32 = 20;

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

#[test]
fn questions_that_change_meanwhile_survive_any_kill() {
    let latency = Duration::from_millis(2)..=Duration::from_millis(20);
    let api = StackExchange::start(rules().backoff(100, 1..=1).latency(latency));
    let site = api.site("stackoverflow");
    site.questions(QUESTIONS, Duration::from_secs(90 * 86_400), 11);
    let changes = site.changes_in_background(20, 11);
    let pipeline = pipeline(&api, WITH_KEY);
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

    let mut random = StdRng::seed_from_u64(11);
    let mut moment = |number: u32| match number % 4 {
        0 => Moment::InRequest(random.random_range(1..12)),
        1 => Moment::Answered(random.random_range(1..20)),
        2 => Moment::InCommit,
        _ => Moment::After(Duration::from_millis(random.random_range(20..3_000))),
    };
    let (mut landed, mut ended) = (0, 0);
    while landed < KILLS {
        match die(&pipeline, &api, &target, moment(landed + ended)) {
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
        landed += u32::from(die(&pipeline, &api, &target, moment(number)));
        if number % 2 == 1 {
            pipeline.run(&[]).expect_done();
        }
    }
    let made = changes.made();
    changes.stop();
    settle(&api);
    pipeline.run(&[]).expect_done();
    pipeline.run(&[]).expect_done();

    assert_no_violation(&api);
    assert_whole(&pipeline, "questions", &api);
    assert!(made > 100, "{made} changes");
    println!(
        "{landed} kills landed; {made} changes were made; {} requests",
        api.requests().len()
    );
}
