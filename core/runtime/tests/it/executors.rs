//! Several executors work on one pipeline, some are lost, and no row is lost or duplicated.

use std::collections::BTreeMap;
use std::fs::{self, File};
use std::os::fd::{AsFd as _, BorrowedFd};
use std::path::{Path, PathBuf};
use std::process::Stdio;
use std::time::Duration;

use rand::{Rng, SeedableRng};
use serde_json::json;
use tidegate_core::{ByteSize, ErrorKind, Kind, Registry, Result};
use tidegate_runtime::executor::{Executor, serve};
use tidegate_runtime::{Report, Resume, Status};
use tokio::io::{AsyncBufReadExt, AsyncWriteExt, BufReader};
use tokio::process::{Child, Command};
use tokio::task::JoinHandle;

use crate::crashes::came_to_its_end;
use crate::world::{World, all, arm, came, counted, open, shut, strikes, until, with_acknowledged};

/// What is committed: rows by file.
fn committed(directory: &Path) -> BTreeMap<String, Vec<i64>> {
    let mut found = BTreeMap::new();
    for entry in fs::read_dir(directory).into_iter().flatten() {
        let name = entry.unwrap().file_name().into_string().unwrap();
        if !name.starts_with('.') {
            let text = fs::read_to_string(directory.join(&name)).unwrap();
            let rows = text.lines().map(|line| line.parse().unwrap());
            found.insert(name, rows.collect());
        }
    }
    found
}

fn rows(directory: &Path) -> Vec<i64> {
    let mut rows: Vec<i64> = committed(directory).into_values().flatten().collect();
    rows.sort_unstable();
    rows
}

/// How many of the committed files each executor has written.
fn by_executor(directory: &Path) -> BTreeMap<String, usize> {
    let mut found = BTreeMap::new();
    for name in committed(directory).into_keys() {
        let parts: Vec<_> = name.split(['_', '-']).collect();
        let executor = match parts.as_slice() {
            [_, _, executor, _] => (*executor).to_owned(),
            _ => "0".to_owned(),
        };
        *found.entry(executor).or_default() += 1;
    }
    found
}

const FILES: i64 = 24;
const EACH: i64 = 400;

/// A pipeline from files to files, with an epoch for every few rows.
fn ranges(name: &str, pause_ms: u64, whole: bool) -> (World, PathBuf) {
    let mut world = World::new(name);
    let (input, output) = (
        world.directory.path().join("in"),
        world.directory.path().join("out"),
    );
    fs::create_dir(&input).unwrap();
    for number in 0..FILES {
        let text = format!("{} {EACH}", number * EACH);
        fs::write(input.join(format!("file{number}")), text).unwrap();
    }
    world = world
        .component(
            Kind::Source,
            "in",
            "ranges",
            &[],
            json!({"directory": input, "pause_ms": pause_ms, "whole": whole}),
        )
        .component(
            Kind::Sink,
            "out",
            "lines",
            &["in"],
            json!({"directory": output}),
        );
    world.options.checkpoint.bytes = Some(ByteSize(20_000));
    (world, output)
}

/// An executor in a task of this process; it is gone when the task is aborted.
fn beside(name: &str) -> (Executor, JoinHandle<Result<()>>) {
    let (ours, theirs) = tokio::io::duplex(1 << 16);
    let (input, output) = tokio::io::split(theirs);
    let served = tokio::spawn(serve(Registry::linked().unwrap(), input, output));
    let (input, output) = tokio::io::split(ours);
    (Executor::remote(name, input, output), served)
}

fn opened(end: BorrowedFd<'_>) -> tokio::fs::File {
    File::from(end.try_clone_to_owned().unwrap()).into()
}

const CHILD: &str = "TIDEGATE_TEST_SERVES";
const READY: &str = "the child serves from here on";

/// An executor in another process: this very program, asked to serve.
async fn child(name: &str) -> (Executor, Child) {
    let mut child = Command::new(std::env::current_exe().unwrap())
        .args([
            "--exact",
            "executors::a_child_serves_its_parent",
            "--nocapture",
        ])
        .env(CHILD, "1")
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .kill_on_drop(true)
        .spawn()
        .unwrap();
    let mut output = BufReader::new(child.stdout.take().unwrap());
    let mut line = String::new();
    // What the test harness says comes first.
    while !line.contains(READY) {
        line.clear();
        assert!(output.read_line(&mut line).await.unwrap() > 0, "no child");
    }
    let input = child.stdin.take().unwrap();
    (Executor::remote(name, output, input), child)
}

#[tokio::test(flavor = "multi_thread")]
async fn a_child_serves_its_parent() {
    if std::env::var_os(CHILD).is_none() {
        return;
    }
    let (input, mut output) = (
        opened(std::io::stdin().as_fd()),
        opened(std::io::stdout().as_fd()),
    );
    let ready = format!("\n{READY}\n");
    output.write_all(ready.as_bytes()).await.unwrap();
    output.flush().await.unwrap();
    let served = serve(Registry::linked().unwrap(), input, output).await;
    // Nothing of the test harness may follow.
    std::process::exit(i32::from(served.is_err()));
}

/// Runs on these executors, and calls `lose` when some rows are committed.
async fn run_and_lose(
    world: &World,
    output: &Path,
    lose: impl AsyncFnOnce(),
) -> (Report, Result<()>) {
    let (_stop, options) = world.run_options();
    let pipeline = world.pipeline().unwrap();
    let run = tokio::spawn(async move { pipeline.run(options).await });
    until("some rows of each are committed", || {
        by_executor(output).len() > 1 || run.is_finished()
    })
    .await;
    assert!(!run.is_finished(), "{:?}", run.await.unwrap().1);
    lose().await;
    run.await.unwrap()
}

/// Loses one executor while the run is under way, which resumes once and completes with those that are left.
async fn completes_without(
    lost: &Executor,
    world: &World,
    output: &Path,
    lose: impl AsyncFnOnce(),
) -> Report {
    let (report, result) = run_and_lose(world, output, lose).await;
    result.unwrap();
    assert_eq!(report.status, Status::Completed);
    assert_eq!(report.restarts, 1);
    assert!(lost.is_lost());
    report
}

#[tokio::test(flavor = "multi_thread")]
async fn two_executors_share_the_splits_and_what_one_loses_the_other_does_again() {
    for whole in [false, true] {
        let name = format!("two_tasks_{whole}");
        let (mut world, output) = ranges(&name, 8, whole);
        let (one, _served) = beside("one");
        let (other, lost) = beside("other");
        world.executors = vec![one.clone(), other.clone()];
        let lose = async || {
            lost.abort();
        };
        completes_without(&other, &world, &output, lose).await;
        assert!(!one.is_lost());
        assert_eq!(rows(&output), all(FILES * EACH), "whole: {whole}");
        assert!(fs::read_dir(&output).unwrap().count() == committed(&output).len());
        assert!(by_executor(&output).len() == 2);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn two_processes_share_the_splits_and_one_is_killed() {
    let (mut world, output) = ranges("two_processes", 8, false);
    let (one, _alive) = child("one").await;
    let (other, mut killed) = child("other").await;
    world.executors = vec![one.clone(), other.clone()];
    let lose = async || killed.kill().await.unwrap();
    let report = completes_without(&other, &world, &output, lose).await;
    assert!(!one.is_lost());
    assert_eq!(rows(&output), all(FILES * EACH));
    assert_eq!(by_executor(&output).len(), 2);
    assert!(fs::read_dir(&output).unwrap().count() == committed(&output).len());
    // What the survivor counted is counted; what the other one did again counts again.
    assert!(report.components[0].rows_out >= (FILES * EACH) as u64);
    // It takes another run too.
    fs::write(world.directory.path().join("in/file0"), "0 0").unwrap();
    let report = world.complete().await;
    assert_eq!(report.components[0].rows_out, ((FILES - 1) * EACH) as u64);
    assert_eq!(report.components[1].rows_in, ((FILES - 1) * EACH) as u64);
}

fn signal(child: &Child, signal: &str) {
    let id = child.id().unwrap().to_string();
    let status = std::process::Command::new("kill")
        .args([signal, &id])
        .status();
    assert!(status.unwrap().success());
}

#[tokio::test(flavor = "multi_thread")]
async fn an_executor_that_stands_still_is_lost() {
    let (mut world, output) = ranges("stands_still", 8, false);
    let (one, _alive) = child("one").await;
    let (other, mut stopped) = child("other").await;
    let other = other.lost_after(Duration::from_secs(2));
    world.executors = vec![one.clone(), other.clone()];
    let lose = async || signal(&stopped, "-STOP");
    completes_without(&other, &world, &output, lose).await;
    assert!(!one.is_lost());
    assert_eq!(rows(&output), all(FILES * EACH));
    // When it continues, its line is gone, and so is its work.
    signal(&stopped, "-CONT");
    let ended = tokio::time::timeout(Duration::from_secs(30), stopped.wait()).await;
    ended.unwrap().unwrap();
    assert_eq!(rows(&output), all(FILES * EACH));
}

#[tokio::test(flavor = "multi_thread")]
async fn executors_may_be_lost_at_any_moment() {
    let mut rng = rand::rngs::SmallRng::seed_from_u64(11);
    let mut lost = 0;
    for seed in 0..8 {
        let (mut world, output) = ranges(&format!("any_moment_{seed}"), 3, seed % 3 == 2);
        world.options.checkpoint.bytes = Some(ByteSize(4_000));
        world.settings["attempts"] = json!(8);
        let others: Vec<_> = ["one", "other", "third"].map(beside).into();
        world.executors = others.iter().map(|(other, _)| other.clone()).collect();
        world.executors.push(Executor::local());
        let killing = async {
            for (_, served) in &others {
                let after = Duration::from_millis(rng.random_range(1..250));
                tokio::time::sleep(after).await;
                served.abort();
            }
        };
        let (report, ()) = tokio::join!(world.complete(), killing);
        lost += report.restarts;
        assert_eq!(rows(&output), all(FILES * EACH), "seed {seed}");
    }
    assert!(lost > 8, "runs must lose executors, and lost {lost}");
}

#[tokio::test(flavor = "multi_thread")]
async fn the_runs_own_executor_goes_on_when_the_others_are_lost() {
    let (mut world, output) = ranges("own_and_others", 8, false);
    let (one, killed) = child("one").await;
    let (other, aborted) = beside("other");
    world.executors = vec![Executor::local(), one, other];
    let lose = async || {
        let mut killed = killed;
        killed.kill().await.unwrap();
        aborted.abort();
    };
    let (report, result) = run_and_lose(&world, &output, lose).await;
    result.unwrap();
    assert_eq!(report.status, Status::Completed);
    assert_eq!(rows(&output), all(FILES * EACH));
    assert!(by_executor(&output).len() > 1);
}

#[tokio::test(flavor = "multi_thread")]
async fn without_any_executor_left_a_run_fails_and_the_next_one_resumes() {
    let (mut world, output) = ranges("all_lost", 8, false);
    let (one, first) = beside("one");
    let (other, second) = beside("other");
    world.executors = vec![one, other];
    let lose = async || {
        first.abort();
        second.abort();
    };
    let (report, result) = run_and_lose(&world, &output, lose).await;
    let error = result.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::NotFound, "{error:?}");
    assert_eq!(report.status, Status::Failed);
    assert!(rows(&output).len() < (FILES * EACH) as usize);
    world.executors = vec![Executor::local()];
    assert!(world.complete().await.resumed);
    assert_eq!(rows(&output), all(FILES * EACH));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_run_that_is_dropped_leaves_its_executors_to_the_next_one() {
    let (mut world, output) = ranges("dropped_run", 8, false);
    let (one, _first) = beside("one");
    let (other, _second) = beside("other");
    world.executors = vec![one, other];
    for dropped in 1.. {
        let (_stop, options) = world.run_options();
        let pipeline = world.pipeline().unwrap();
        let after = Duration::from_millis(100 * dropped);
        let run = tokio::time::timeout(after, pipeline.run(options));
        if let Ok((_, result)) = run.await {
            result.unwrap();
        }
        if came_to_its_end(&world).await {
            assert!(dropped > 1);
            break;
        }
    }
    assert_eq!(rows(&output), all(FILES * EACH));
}

#[tokio::test(flavor = "multi_thread")]
async fn an_error_is_the_same_wherever_it_came_about() {
    let mut said = Vec::new();
    for (at, executors) in [vec![Executor::local()], vec![beside("far").0]]
        .into_iter()
        .enumerate()
    {
        let mut world = World::new(&format!("said_{at}"))
            .source("n", json!({"rows": 100, "broken": "stream"}))
            .sink("out", &["n"], json!({}));
        world.executors = executors;
        let (_, result) = world.run().await;
        said.push(format!("{:?}", result.unwrap_err()));
    }
    assert_eq!(said[0], said[1]);
    assert!(said[0].contains("hint: the source's streams are: all"));
}

#[tokio::test(flavor = "multi_thread")]
async fn rejected_rows_are_counted_and_told_wherever_they_are_rejected() {
    let mut world = World::new("far_rejected")
        .source(
            "n",
            json!({"rows": 300, "splits": 4, "acknowledges": "far_rejected"}),
        )
        .component(
            Kind::Transform,
            "sieve",
            "sieve",
            &["n"],
            json!({"reject": 10}),
        )
        .sink("out", &["sieve"], json!({"reject": -7}))
        .sink("bad", &["sieve.rejected", "out.rejected"], json!({}));
    let (one, _first) = beside("one");
    let (other, _second) = beside("other");
    world.executors = vec![one, other];
    let report = world.complete().await;
    let (out, bad) = (world.place("out").rows(), world.place("bad").rows());
    let mut rows = [out, bad].concat();
    rows.sort_unstable();
    assert_eq!(rows, all(1200));
    assert_eq!(report.components[1].rejected, 120);
    let late = all(1200)
        .iter()
        .filter(|n| *n % 7 == 0 && *n % 10 != 0)
        .count();
    assert_eq!(report.components[2].rejected, late as u64);
    let told = with_acknowledged("far_rejected", |told| told.clone());
    assert_eq!(told.iter().map(|told| told.rejected).sum::<u64>(), 120);
}

#[tokio::test(flavor = "multi_thread")]
async fn what_a_source_allows_at_once_holds_over_all_executors() {
    let name = "far_limit";
    let mut world = World::new(name)
        .source(
            "n",
            json!({"rows": 50, "splits": 6, "limit": 2, "gate": name}),
        )
        .sink("out", &["n"], json!({}));
    let served: Vec<_> = ["one", "other", "third"].map(beside).into();
    world.executors = served
        .iter()
        .map(|(executor, _)| executor.clone())
        .collect();
    let gate = format!("{name}/read");
    shut(&gate);
    let (_stop, options) = world.run_options();
    let pipeline = world.pipeline().unwrap();
    let run = tokio::spawn(async move { pipeline.run(options).await });
    until("two are read", || came(&gate) == 2).await;
    tokio::time::sleep(Duration::from_millis(100)).await;
    assert_eq!(came(&gate), 2);
    open(&gate);
    run.await.unwrap().1.unwrap();
    assert_eq!(world.place("out").rows(), all(300));
}

#[tokio::test(flavor = "multi_thread")]
async fn what_needs_one_executor_runs_on_one() {
    let (one, _first) = beside("one");
    let (other, _second) = beside("other");
    let mut gathered = World::new("far_gather")
        .source("n", json!({"rows": 100, "splits": 5}))
        .component(Kind::Transform, "sum", "sum", &["n"], json!({}))
        .sink("sums", &["sum"], json!({}));
    gathered.executors = vec![one.clone(), other.clone()];
    gathered.complete().await;
    assert_eq!(gathered.place("sums").rows(), [(0..500).sum::<i64>()]);

    // An order that two would not keep: each split's numbers come after those of the one before.
    let mut ordered = World::new("far_ordered")
        .source("n", json!({"rows": 100, "splits": 5, "chained": true}))
        .sink("out", &["n"], json!({"ordered": true}));
    ordered.executors = vec![one.clone(), other.clone()];
    ordered.complete().await;
    let place = ordered.place("out");
    let orders: Vec<_> = place.visible.values().collect();
    assert!(orders.iter().all(|rows| rows.is_sorted()));
    assert_eq!(place.rows(), all(500));

    // A snapshot is of the process that made it.
    let mut session = World::new("far_session")
        .source("n", json!({"rows": 100, "splits": 5, "replay": "session"}))
        .sink("out", &["n"], json!({}));
    session.executors = vec![one, other];
    let error = session.run().await.1.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Unsupported);
    assert_eq!(
        counted("far_session/n/open"),
        0,
        "what was opened is closed"
    );
    session.executors.push(Executor::local());
    session.complete().await;
    assert_eq!(session.place("out").rows(), all(500));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_run_has_one_executor_of_its_own() {
    let mut world =
        World::new("two_own")
            .source("n", json!({"rows": 10}))
            .sink("out", &["n"], json!({}));
    world.executors.push(Executor::local());
    let error = world.run().await.1.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Config);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_line_over_which_something_else_is_said_is_lost() {
    let (ours, mut theirs) = tokio::io::duplex(1 << 16);
    theirs.write_all(b"Hello, I am no executor!").await.unwrap();
    theirs.shutdown().await.unwrap();
    let (input, output) = tokio::io::split(ours);
    let (mut world, output_directory) = ranges("no_executor", 0, false);
    world.executors = vec![
        Executor::remote("stranger", input, output),
        Executor::local(),
    ];
    let report = world.complete().await;
    assert_eq!(report.restarts, 1);
    assert_eq!(rows(&output_directory), all(FILES * EACH));
}

#[tokio::test(flavor = "multi_thread")]
async fn splits_are_spread_over_executors_whose_sink_fails_now_and_then() {
    let mut world = World::new("far_faults")
        .source(
            "n",
            json!({"rows": 400, "splits": 6, "pause_ms": 1, "fault": "far_faults/read"}),
        )
        .sink("out", &["n"], json!({}));
    world.options.checkpoint.bytes = Some(ByteSize(3000));
    let (one, _first) = beside("one");
    let (other, _second) = beside("other");
    world.executors = vec![one, other];
    arm("far_faults/read", 2);
    arm(&world.fault("out/prepare"), 1);
    arm(&world.fault("out/commit"), 1);
    let (report, result) = world.run_with(Resume::IfUnchanged).await;
    result.unwrap();
    assert!(report.restarts > 0);
    assert!(!strikes("far_faults/read"));
    assert_eq!(world.place("out").rows(), all(2400));
    assert!(world.place("out").staged.is_empty());
}
