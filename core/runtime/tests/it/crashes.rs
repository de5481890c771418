//! Runs that die at any moment, and their successors. A crash is the run's future dropped: what
//! was in memory is gone, what was stored and staged stays.

use std::time::Duration;

use rand::{Rng, SeedableRng};
use serde_json::json;
use tidegate_core::{ByteSize, ErrorKind, Kind};
use tidegate_runtime::{Resume, Status};

use crate::world::{World, all, arm, counted};

/// Lets runs die after a random time until one comes to its end.
pub async fn crash_until_done(world: &World, seed: u64) -> u32 {
    let mut rng = rand::rngs::SmallRng::seed_from_u64(seed);
    for crashes in 0..200 {
        let (_stop, options) = world.run_options();
        let pipeline = world.pipeline().unwrap();
        // What a dropped run left going doesn't count, so that each needs the time to come on.
        let after =
            Duration::from_micros(rng.random_range(500..60_000) * u64::from(crashes / 5 + 1));
        if let Ok((report, result)) = tokio::time::timeout(after, pipeline.run(options)).await {
            result.unwrap();
            assert_eq!(report.status, Status::Completed);
            return crashes;
        }
        // With a state on object storage, every other process is gone at once and as a whole. The
        // rest, as in a directory, leave threads that are in the middle of something.
        if crashes % 2 == 0 {
            world.kill();
        }
        if came_to_its_end(world).await {
            return crashes;
        }
    }
    panic!("the run never came to its end");
}

/// Whether a run that was dropped had just ended: another one would begin anew. Once the pipeline
/// is taken, what the run left going changes that no more.
pub async fn came_to_its_end(world: &World) -> bool {
    let store = world.store();
    let hold = store.acquire(&world.name).await.unwrap();
    let state = store.load(&world.name).await.unwrap();
    hold.release().await.unwrap();
    state
        .and_then(|state| state.run)
        .is_some_and(|run| run.finished)
}

#[tokio::test(flavor = "multi_thread")]
async fn every_row_arrives_once_however_often_the_run_dies() {
    let mut crashes = 0;
    for seed in 0..6 {
        let replay = ["offset", "offset", "whole"][seed % 3];
        let mut world = World::new(&format!("die{seed}"))
            .source(
                "n",
                json!({"rows": 900, "splits": 4, "pause_ms": 1, "resume_every": seed + 1, "replay": replay}),
            )
            .sink("out", &["n"], json!({"hash": seed % 2 == 0}));
        if seed % 2 == 1 {
            world = world.with_bucket();
        }
        world.options.checkpoint.bytes = Some(ByteSize(3000));
        crashes += crash_until_done(&world, seed as u64).await;
        assert!(world.place("out").rows() == all(3600), "seed {seed}");
        assert!(
            world.place("out").staged.is_empty(),
            "seed {seed}: something was left over"
        );
    }
    assert!(
        crashes > 5,
        "the test must crash runs, and crashed {crashes}"
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn an_overwriting_run_keeps_the_rows_of_all_epochs_over_crashes() {
    for (name, in_a_bucket) in [("die_overwrite", false), ("die_overwrite_bucket", true)] {
        let mut world = World::new(name)
            .source("n", json!({"rows": 900, "splits": 2, "pause_ms": 1}))
            .sink("out", &["n"], json!({"overwrite": true}));
        if in_a_bucket {
            world = world.with_bucket();
        }
        world.options.checkpoint.bytes = Some(ByteSize(3000));
        crash_until_done(&world, 7).await;
        assert!(world.place("out").rows() == all(1800));
        assert!(world.place("out").staged.is_empty());
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_session_or_a_stage_restarts_whole() {
    for replay in ["session", "offset"] {
        let mut world = World::new(&format!("whole_{replay}"))
            .source(
                "n",
                json!({"rows": 200, "splits": 3, "pause_ms": 1, "replay": replay}),
            )
            .sink("out", &["n"], json!({}));
        if replay == "offset" {
            world = world
                .component(Kind::Transform, "sum", "sum", &["n"], json!({}))
                .sink("sums", &["sum"], json!({}));
        }
        world.options.checkpoint.bytes = Some(ByteSize(500));
        crash_until_done(&world, 3).await;
        assert!(world.place("out").rows() == all(600));
        if replay == "offset" {
            assert_eq!(world.place("sums").rows(), [(0..600).sum::<i64>()]);
        }
    }
}

/// A run that failed between its checkpoint and its commit.
async fn stored_but_not_committed(name: &str) -> World {
    let mut world = World::new(name)
        .source("n", json!({"rows": 1000, "incremental": true}))
        .sink("out", &["n"], json!({}));
    world.settings["attempts"] = json!(1);
    arm(&world.fault("out/commit"), 1000);
    let (report, result) = world.run().await;
    result.unwrap_err();
    assert_eq!(report.status, Status::Failed);
    assert!(world.place("out").visible.is_empty());
    arm(&world.fault("out/commit"), 0);
    world
}

#[tokio::test(flavor = "multi_thread")]
async fn an_epoch_is_replayed_sink_by_sink_in_the_order_of_the_file() {
    let mut world = World::new("order")
        .source("n", json!({"rows": 1000, "incremental": true}))
        .sink("z", &["n"], json!({}))
        .sink("a", &["n"], json!({}));
    world.settings["attempts"] = json!(0);
    arm(&world.fault("z/commit"), 2);
    arm(&world.fault("a/commit"), 1);
    for _ in ["live", "replayed"] {
        world.run().await.1.unwrap_err();
        assert!(world.place("a").visible.is_empty());
    }
    // Nor does the second one keep the first one back that is committed already.
    arm(&world.fault("a/commit"), 1);
    world.run().await.1.unwrap_err();
    assert!(world.place("z").rows() == all(1000));
    assert!(world.place("a").visible.is_empty());
    world.complete().await;
    assert!(world.place("z").rows() == all(1000));
    assert!(world.place("a").rows() == all(1000));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_stored_epoch_of_a_renamed_sink_still_commits() {
    let mut world = stored_but_not_committed("renamed").await;
    world.components[1].id = tidegate_core::ComponentId::new("other").unwrap();
    world.components[1].config["place"] = json!("renamed/other");
    let (report, result) = world.run().await;
    result.unwrap();
    assert!(report.resumed);
    assert!(world.place("out").rows() == all(1000));
    assert!(world.place("other").rows().is_empty());
}

#[tokio::test(flavor = "multi_thread")]
async fn a_run_without_a_checkpoint_begins_anew_when_the_pipeline_is_put_right() {
    let mut world = World::new("put_right")
        .source("n", json!({"rows": 1000, "fault": "put_right/read"}))
        .sink("out", &["n"], json!({}));
    world.settings["attempts"] = json!(0);
    arm("put_right/read", 1);
    world.run().await.1.unwrap_err();
    world.components[0].config["rows"] = json!(500);
    let (report, result) = world.run().await;
    result.unwrap();
    assert!(!report.resumed);
    assert!(world.place("out").rows() == all(500));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_pipeline_that_changed_in_the_middle_of_a_run_is_refused_with_the_ways_out() {
    let build = |name: &str| {
        let mut world = World::new(name)
            .source("n", json!({"rows": 1000, "step": 100, "pause_ms": 20}))
            .component(
                Kind::Transform,
                "sieve",
                "sieve",
                &["n"],
                json!({"reject": 5000}),
            )
            .sink("out", &["sieve"], json!({}))
            .sink("bad", &["sieve.rejected"], json!({}));
        world.options.checkpoint.bytes = Some(ByteSize(1));
        world.settings["attempts"] = json!(0);
        world
    };
    for (way, expected) in [(Resume::Anyway, 1000_usize), (Resume::Restart, 1000)] {
        let name = format!("changed_{way:?}");
        let mut world = build(&name);
        arm(&world.fault("out/commit"), 1000);
        world.run().await.1.unwrap_err();
        arm(&world.fault("out/commit"), 0);
        // What only tunes may change.
        world.components[0].config.insert("tuning".into(), json!(3));
        world.components[1].config["reject"] = json!(4999);
        let (_, result) = world.run().await;
        let error = result.unwrap_err();
        assert_eq!(error.kind(), ErrorKind::Config);
        assert!(
            error.to_string().contains("transforms.sieve.reject"),
            "{error}"
        );
        assert!(!error.to_string().contains("tuning"), "{error}");
        let hint = error.hint_text().unwrap();
        assert!(
            hint.contains("--resume-anyway") && hint.contains("--restart"),
            "{hint}"
        );

        let (report, result) = world.run_with(way).await;
        result.unwrap();
        assert_eq!(report.status, Status::Completed);
        assert_eq!(report.resumed, way == Resume::Anyway);
        let mut rows = world.place("out").rows();
        rows.extend(world.place("bad").rows());
        rows.sort_unstable();
        rows.dedup();
        assert_eq!(rows.len(), expected);
    }
}

/// A world whose epochs are all checkpointed, and whose commits of `out` failed.
async fn uncommitted(name: &str, config: serde_json::Value) -> World {
    let mut world = World::new(name)
        .source("n", json!({"rows": 1000, "step": 100, "pause_ms": 5}))
        .sink("out", &["n"], json!({}))
        .sink("other", &["n"], config);
    world.options.checkpoint.bytes = Some(ByteSize(1));
    world.settings["attempts"] = json!(0);
    arm(&world.fault("out/commit"), 1000);
    world.run().await.1.unwrap_err();
    world.settings["attempts"] = json!(1);
    world
}

#[tokio::test(flavor = "multi_thread")]
async fn what_the_user_asked_for_outlives_a_passing_error() {
    // The first attempt fails before it comes to what was asked for.
    let restarted = stored_but_not_committed("asked_restart").await;
    arm(&restarted.fault("out/commit"), 2);
    let (report, result) = restarted.run_with(Resume::Restart).await;
    result.unwrap();
    assert!(report.restarts >= 1);
    assert!(!report.resumed);
    assert_eq!(restarted.place("out").rows(), all(2000));

    let mut changed = uncommitted("asked_refuse", json!({})).await;
    arm(&changed.fault("out/commit"), 2);
    changed.components[0].config["rows"] = json!(999);
    let error = changed.run().await.1.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Config, "{error}");
    assert!(error.to_string().contains("sources.n.rows"), "{error}");

    let mut removed = uncommitted("asked_kept", json!({"overwrite": true})).await;
    arm(&removed.fault("out/commit"), 2);
    let kept = removed
        .store()
        .load("asked_kept")
        .await
        .unwrap()
        .unwrap()
        .kept;
    assert!(!kept.is_empty());
    removed.components.pop();
    let error = removed.run().await.1.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Config, "{error}");
    let state = removed.store().load("asked_kept").await.unwrap().unwrap();
    assert_eq!(state.kept, kept);
}

#[tokio::test(flavor = "multi_thread")]
async fn rows_that_are_kept_for_the_end_are_not_committed_through_another_configuration() {
    let mut world = World::new("kept_elsewhere")
        .source("n", json!({"rows": 4000, "step": 10, "pause_ms": 5}))
        .sink("out", &["n"], json!({"overwrite": true}));
    world.options.checkpoint.bytes = Some(ByteSize(1));
    let (stop, options) = world.run_options();
    let pipeline = world.pipeline().unwrap();
    let running = tokio::spawn(async move { pipeline.run(options).await });
    loop {
        let state = world.store().load(&world.name).await.unwrap();
        if state.is_some_and(|state| !state.kept.is_empty()) {
            break;
        }
        tokio::time::sleep(Duration::from_millis(2)).await;
    }
    stop.send(true).unwrap();
    running.await.unwrap().1.unwrap();

    let place = world.components[1].config["place"].clone();
    world.components[1].config["place"] = json!("kept_elsewhere/another");
    let error = world.run_with(Resume::Anyway).await.1.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Config, "{error}");
    assert!(error.to_string().contains("sinks.out.place"), "{error}");
    let hint = error.hint_text().unwrap();
    assert!(hint.contains("--restart"), "{hint}");
    assert!(world.place("another").rows().is_empty());

    world.components[1].config["place"] = place;
    world.complete().await;
    assert_eq!(world.place("out").rows(), all(4000));
}

#[tokio::test(flavor = "multi_thread")]
async fn what_was_opened_is_closed_also_where_opening_fails() {
    let mut world = World::new("closes")
        .source("n", json!({"rows": 10}))
        .sink("out", &["n"], json!({}))
        .sink("other", &["n"], json!({}));
    world.settings["attempts"] = json!(0);
    arm(&world.fault("other/open"), 1);
    world.run().await.1.unwrap_err();
    assert_eq!(counted("closes/n/open"), 0, "the source is left open");
    assert_eq!(counted("closes/out/open"), 0, "a sink is left open");

    arm(&world.fault("out/commit"), 1000);
    world.run().await.1.unwrap_err();
    // Now the recovery before the next run fails.
    world.run().await.1.unwrap_err();
    assert_eq!(counted("closes/out/open"), 0, "recovery left a sink open");

    let graph = world.pipeline().unwrap().check().await.unwrap();
    graph.close().await;
    assert_eq!(counted("closes/out/open"), 0);
}
