//! Runs without a crash.

use std::time::Duration;

use serde_json::json;
use tidegate_core::{ErrorKind, Guarantee, Kind, SchemaChange, Span};
use tidegate_runtime::{Resume, RunOptions, Status};

use crate::running::Running;
use crate::world::{World, all, arm, is_waited_at, open, shut, until};

#[tokio::test(flavor = "multi_thread")]
async fn every_row_arrives_once() {
    for (index, writer) in [json!({}), json!({"ordered": true}), json!({"hash": true})]
        .into_iter()
        .enumerate()
    {
        let world = World::new(&format!("once{index}"))
            .source("n", json!({"rows": 5000, "splits": 7, "step": 13}))
            .sink("out", &["n"], writer);
        let report = world.complete().await;
        assert!(world.place("out").rows() == all(35_000));
        assert!(world.place("out").staged.is_empty());
        assert_eq!(report.components[0].rows_out, 35_000);
        assert_eq!(report.components[1].rows_in, 35_000);
        assert_eq!(report.components[1].guarantee, Some("exactly_once"));
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_sink_that_asks_for_order_gets_each_split_in_order() {
    let world = World::new("ordered")
        .source("n", json!({"rows": 3000, "splits": 3, "step": 7}))
        .sink("out", &["n"], json!({"ordered": true}));
    world.complete().await;
    let place = world.place("out");
    let written: Vec<i64> = place.visible.into_values().flatten().collect();
    for split in 0..3 {
        let of_split: Vec<i64> = written
            .iter()
            .copied()
            .filter(|n| n / 3000 == split)
            .collect();
        assert!(of_split.is_sorted(), "split {split} came out of order");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn epochs_are_cut_by_bytes_and_only_where_every_split_has_a_position() {
    for (index, replay) in ["offset", "whole"].into_iter().enumerate() {
        let mut world = World::new(&format!("cuts{index}"))
            .source(
                "n",
                json!({"rows": 2000, "splits": 3, "resume_every": 5, "replay": replay}),
            )
            .sink("out", &["n"], json!({}));
        world.options.checkpoint.bytes = Some(tidegate_core::ByteSize(2000));
        world.options.checkpoint.interval = Some(Span(Duration::from_millis(30)));
        let report = world.complete().await;
        assert!(world.place("out").rows() == all(6000));
        assert!(report.epochs >= 1);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn splits_wait_for_those_that_they_come_after() {
    for ordered in [false, true] {
        let world = World::new(&format!("chain{ordered}"))
            .source("n", json!({"rows": 500, "splits": 5, "chained": true}))
            .sink("out", &["n"], json!({"ordered": ordered}));
        world.complete().await;
        let place = world.place("out");
        assert_eq!(place.rows(), all(2500));
        if ordered {
            // Epochs sort by their number, not their text, only below ten: there are five.
            let written: Vec<i64> = place.visible.into_values().flatten().collect();
            assert!(written.is_sorted());
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn rejected_rows_flow_on_and_unread_ones_end_the_run() {
    let sieve = json!({"reject": 10});
    let world = World::new("rejected")
        .source("n", json!({"rows": 1000}))
        .component(Kind::Transform, "sieve", "sieve", &["n.all"], sieve.clone())
        .sink("good", &["sieve"], json!({}))
        .sink("bad", &["sieve.rejected"], json!({}));
    let report = world.complete().await;
    assert_eq!(
        world.place("bad").rows(),
        (0..1000).step_by(10).collect::<Vec<_>>()
    );
    assert_eq!(world.place("good").rows().len(), 900);
    assert_eq!(report.rejected, 100);

    let world = World::new("unread")
        .source("n", json!({"rows": 1000}))
        .component(Kind::Transform, "sieve", "sieve", &["n"], sieve)
        .sink("good", &["sieve"], json!({}));
    let (report, result) = world.run().await;
    let error = result.unwrap_err();
    assert_eq!(report.status, Status::Failed);
    assert_eq!(error.kind(), ErrorKind::Data);
    assert!(error.to_string().contains("a multiple"), "{error}");
    assert!(world.place("good").visible.is_empty());
    assert!(world.place("good").staged.is_empty());
}

#[tokio::test(flavor = "multi_thread")]
async fn what_a_writer_rejects_reaches_its_reader_in_the_same_epoch_early_and_late() {
    for reject in [10, -10] {
        let world = World::new(&format!("late{reject}"))
            .source("n", json!({"rows": 1000, "splits": 2}))
            .sink("bad", &["good.rejected"], json!({}))
            .sink("good", &["n"], json!({"reject": reject}));
        world.complete().await;
        assert_eq!(world.place("bad").rows().len(), 200);
        assert_eq!(world.place("good").rows().len(), 1800);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn rejected_rows_are_counted_against_the_limit() {
    let mut world = World::new("limit")
        .source("n", json!({"rows": 100}))
        .component(
            Kind::Transform,
            "sieve",
            "sieve",
            &["n"],
            json!({"reject": 10}),
        )
        .sink("good", &["sieve"], json!({}))
        .sink("bad", &["sieve.rejected"], json!({}));
    world.options.rejected_limit = Some(9);
    assert!(world.complete().await.rejected_over_limit);
    world.options.rejected_limit = Some(10);
    assert!(!world.complete().await.rejected_over_limit);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_stage_sees_all_rows_once_in_memory_and_on_disk() {
    for memory in [1_000_000, 1 << 30] {
        let mut world = World::new(&format!("stage{memory}"))
            .source("n", json!({"rows": 20_000, "splits": 4}))
            .component(Kind::Transform, "sum", "sum", &["n"], json!({}))
            .component(Kind::Transform, "again", "sum", &["sum"], json!({}))
            .sink("out", &["again"], json!({}))
            .sink("raw", &["n"], json!({}));
        world.settings["memory"] = json!(memory);
        world.options.checkpoint.bytes = Some(tidegate_core::ByteSize(1000));
        let report = world.complete().await;
        assert_eq!(world.place("out").rows(), [(0..80_000).sum::<i64>()]);
        assert!(world.place("raw").rows() == all(80_000));
        assert_eq!(report.epochs, 1, "a bounded run with a stage is one epoch");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_stage_of_nothing_still_speaks() {
    let world = World::new("nothing")
        .source("n", json!({"rows": 0}))
        .component(Kind::Transform, "sum", "sum", &["n"], json!({}))
        .sink("out", &["sum"], json!({}));
    world.complete().await;
    assert_eq!(world.place("out").rows(), [0]);
}

#[tokio::test(flavor = "multi_thread")]
async fn an_unbounded_stage_is_refused_unless_the_file_asks_for_epochs() {
    let world = World::new("endless_sum")
        .source("n", json!({"rows": 10, "endless": true}))
        .component(Kind::Transform, "sum", "sum", &["n"], json!({}))
        .sink("out", &["sum"], json!({}));
    let error = world.pipeline().unwrap().check().await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Config);
    assert!(error.hint_text().unwrap().contains("scope = \"epoch\""));

    let mut world = World::new("epoch_sum")
        .source("n", json!({"rows": 10, "endless": true, "pause_ms": 5}))
        .component(
            Kind::Transform,
            "sum",
            "sum",
            &["n"],
            json!({"scope": "epoch"}),
        )
        .sink("out", &["sum"], json!({}))
        .sink("raw", &["n"], json!({}));
    world.options.checkpoint.interval = Some(Span(Duration::from_millis(50)));
    let (stop, options) = world.run_options();
    let pipeline = world.pipeline().unwrap();
    let run = tokio::spawn(async move { pipeline.run(options).await });
    while world.place("out").rows().len() < 3 {
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
    stop.send(true).unwrap();
    let (report, result) = run.await.unwrap();
    result.unwrap();
    assert_eq!(report.status, Status::Stopped);
    let sum: i64 = world.place("out").rows().iter().sum();
    assert_eq!(sum, world.place("raw").rows().iter().sum::<i64>());
}

#[tokio::test(flavor = "multi_thread")]
async fn a_stopped_run_goes_on_where_it_ended() {
    let mut world = World::new("stopped")
        .source(
            "n",
            json!({"rows": 100, "splits": 3, "endless": true, "pause_ms": 1}),
        )
        .sink("out", &["n"], json!({}));
    world.options.checkpoint.interval = Some(Span(Duration::from_millis(20)));
    for round in 1..=3 {
        let (stop, options) = world.run_options();
        let pipeline = world.pipeline().unwrap();
        let run = tokio::spawn(async move { pipeline.run(options).await });
        while world.place("out").rows().len() < 400 * round {
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
        stop.send(true).unwrap();
        let (report, result) = run.await.unwrap();
        result.unwrap();
        assert_eq!(report.status, Status::Stopped);
        assert_eq!(report.resumed, round > 1);
    }
    let rows = world.place("out").rows();
    let mut unique = rows.clone();
    unique.dedup();
    assert_eq!(rows, unique, "rows were duplicated");
    for split in 0..rows.iter().max().unwrap() / 100 {
        let of_split = rows.iter().filter(|&&n| n / 100 == split).count();
        // A split that isn't read to its end yet has a prefix.
        let expected = (split * 100..).take(of_split).collect::<Vec<_>>();
        let found: Vec<i64> = rows.iter().copied().filter(|&n| n / 100 == split).collect();
        assert_eq!(found, expected);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_run_that_overwrites_shows_everything_at_its_end_and_nothing_else() {
    let mut world = World::new("overwrite")
        .source("n", json!({"rows": 1000, "splits": 2}))
        .sink("out", &["n"], json!({"overwrite": true}));
    world.options.checkpoint.bytes = Some(tidegate_core::ByteSize(1000));
    for _ in 0..2 {
        world.complete().await;
        assert!(world.place("out").rows() == all(2000));
    }
    assert_eq!(world.place("out").commits.len(), 2);
    world.components[0].config["rows"] = json!(0);
    world.complete().await;
    assert!(
        world.place("out").rows().is_empty(),
        "no rows replace the old ones too"
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn an_incremental_source_goes_on_from_its_last_run() {
    let world = World::new("incremental")
        .source("n", json!({"rows": 100, "incremental": true}))
        .sink("out", &["n"], json!({}));
    world.complete().await;
    world.complete().await;
    assert!(world.place("out").rows() == all(200));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_schema_change_ends_the_epoch_and_the_run_goes_on_or_fails_by_policy() {
    let mut world = World::new("evolve")
        .source("n", json!({"rows": 100, "change_at": 50}))
        .component(
            Kind::Transform,
            "sieve",
            "sieve",
            &["n"],
            json!({"reject": 1000}),
        )
        .sink("out", &["sieve"], json!({}))
        .sink("bad", &["sieve.rejected"], json!({}));
    let report = world.complete().await;
    assert_eq!(world.place("out").rows().len(), 99);
    assert!(report.epochs >= 2);

    world.name = "no_evolve".into();
    world.options.on_schema_change = SchemaChange::Fail;
    let (_, result) = world.run().await;
    assert_eq!(result.unwrap_err().kind(), ErrorKind::Schema);
}

#[tokio::test(flavor = "multi_thread")]
async fn new_columns_are_each_learnt_once_and_one_that_comes_again_ends_the_run() {
    let mut world = World::new("new_columns");
    let fault = world.fault("read");
    world = world
        .source("n", json!({"rows": 100, "fault": fault, "new_columns": 3}))
        .sink("out", &["n"], json!({}));
    arm(&fault, 3);
    world.complete().await;
    assert!(world.place("out").rows() == all(100));

    world.name = "alternating".into();
    world.components[0].config["new_columns"] = json!(2);
    arm(&fault, 20);
    let (_, result) = world.run().await;
    assert_eq!(result.unwrap_err().kind(), ErrorKind::SchemaChanged);
}

#[tokio::test(flavor = "multi_thread")]
async fn passing_errors_lead_to_another_attempt_and_lose_nothing() {
    let mut world = World::new("passing");
    let fault = world.fault("read");
    world = world
        .source("n", json!({"rows": 1000, "splits": 2, "fault": fault}))
        .sink("out", &["n"], json!({}));
    world.options.checkpoint.bytes = Some(tidegate_core::ByteSize(500));
    arm(&fault, 3);
    arm(&world.fault("out/commit"), 2);
    arm(&world.fault("out/prepare"), 1);
    let report = world.complete().await;
    assert!(report.restarts >= 1);
    assert!(world.place("out").rows() == all(2000));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_guarantee_that_cant_be_given_is_refused_with_the_reason() {
    let mut world = World::new("guarantee")
        .source("n", json!({"rows": 1}))
        .sink("out", &["n"], json!({}));
    world.options.guarantee = Some(Guarantee::ExactlyOnce);
    assert!(world.pipeline().unwrap().check().await.is_ok());
    world.components[1]
        .config
        .insert("at_least_once".into(), json!(true));
    let error = world.pipeline().unwrap().check().await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Config);
    assert!(
        error
            .to_string()
            .contains("rows may arrive again after a crash"),
        "{error}"
    );
    assert!(error.hint_text().unwrap().contains("at_least_once"));
}

#[tokio::test(flavor = "multi_thread")]
async fn what_a_source_can_replay_limits_what_a_sink_can_guarantee() {
    for (replay, asked, best, why) in [
        ("whole", Guarantee::ExactlyOnce, "exactly_once", None),
        (
            "upstream",
            Guarantee::ExactlyOnce,
            "at_least_once",
            Some(("may be sent rows again", "a sink that writes by a key")),
        ),
        (
            "never",
            Guarantee::AtLeastOnce,
            "none",
            Some(("can't give rows again", "a source that can be read again")),
        ),
    ] {
        let mut world = World::new(&format!("replays_{replay}"))
            .source("n", json!({"rows": 100}))
            .source("m", json!({"rows": 100, "replay": replay}))
            .component(
                Kind::Transform,
                "sieve",
                "sieve",
                &["n", "m"],
                json!({"reject": 1000}),
            )
            .sink("bad", &["sieve.rejected"], json!({}))
            .sink("out", &["sieve"], json!({}));
        let graph = world.pipeline().unwrap().check().await.unwrap();
        let out = &graph.describe().components[4];
        assert_eq!(out.guarantee, Some(best), "{replay}");
        world.options.guarantee = Some(asked);
        let checked = world.pipeline().unwrap().check().await;
        let Some((reason, remedy)) = why else {
            assert!(checked.is_ok(), "{replay}");
            continue;
        };
        let error = checked.unwrap_err();
        let text = error.to_string();
        assert!(
            text.contains("source `m`") && text.contains(reason),
            "{text}"
        );
        let hint = error.hint_text().unwrap();
        assert!(hint.contains(best) && hint.contains(remedy), "{hint}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_position_that_means_something_to_its_process_alone_is_not_resumed_from() {
    let mut world = World::new("upstream")
        .source(
            "n",
            json!({"rows": 400, "replay": "upstream", "pause_ms": 2}),
        )
        .sink("out", &["n"], json!({}));
    world.options.checkpoint.interval = Some(Span(Duration::from_millis(10)));
    let (stop, options) = world.run_options();
    let pipeline = world.pipeline().unwrap();
    let running = tokio::spawn(async move { pipeline.run(options).await });
    while world.place("out").visible.is_empty() {
        tokio::time::sleep(Duration::from_millis(2)).await;
    }
    stop.send(true).unwrap();
    let (report, result) = running.await.unwrap();
    result.unwrap();
    assert_eq!(report.status, Status::Stopped);
    let before = world.place("out").rows();
    assert!(!before.is_empty());
    let state = world.store().load(&world.name).await.unwrap().unwrap();
    let splits = &state.sources.values().next().unwrap().splits;
    assert!(
        splits.iter().all(|split| split.offset.is_none()),
        "{splits:?}"
    );

    // This upstream wasn't told, so it sends all of it again.
    world.complete().await;
    let mut all_of_it: Vec<i64> = before.into_iter().chain(0..400).collect();
    all_of_it.sort_unstable();
    assert_eq!(world.place("out").rows(), all_of_it);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_second_run_at_once_is_refused() {
    let world = World::new("twice")
        .source("n", json!({"rows": 10, "endless": true}))
        .sink("out", &["n"], json!({}));
    let (stop, options) = world.run_options();
    let pipeline = world.pipeline().unwrap();
    let run = tokio::spawn(async move { pipeline.run(options).await });
    while world.place("out").rows().is_empty() && world.place("out").staged.is_empty() {
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
    let (_, result) = world.run().await;
    let error = result.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Conflict);
    assert!(error.to_string().contains("already running"), "{error}");
    stop.send(true).unwrap();
    run.await.unwrap().1.unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn a_stop_of_a_run_that_can_only_be_kept_whole_abandons_it() {
    let world = World::new("abandon")
        .source(
            "n",
            json!({"rows": 100_000, "pause_ms": 1, "replay": "session"}),
        )
        .sink("out", &["n"], json!({}));
    let (stop, options) = world.run_options();
    let pipeline = world.pipeline().unwrap();
    let run = tokio::spawn(async move {
        pipeline
            .run(RunOptions {
                resume: Resume::IfUnchanged,
                ..options
            })
            .await
    });
    while world.place("out").staged.is_empty() {
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
    stop.send(true).unwrap();
    let (report, result) = run.await.unwrap();
    result.unwrap();
    assert_eq!(report.status, Status::Abandoned);
    assert!(world.place("out").visible.is_empty());
    assert!(world.place("out").staged.is_empty());
}

/// A bounded run whose last stage stands at a gate, with all of its input read.
async fn in_the_last_stage(name: &str) -> (World, String, Running) {
    let mut world = World::new(name);
    let gate = world.fault("sum");
    world = world
        .source("n", json!({"rows": 1000}))
        .component(Kind::Transform, "sum", "sum", &["n"], json!({"gate": gate}))
        .sink("out", &["sum"], json!({}));
    shut(&gate);
    let running = Running::start(&world);
    until("all is read, and the stage runs", || is_waited_at(&gate)).await;
    (world, gate, running)
}

#[tokio::test(flavor = "multi_thread")]
async fn a_run_that_waits_for_a_stage_is_bound_by_it() {
    let (_world, gate, running) = in_the_last_stage("bound_by_stage").await;
    tokio::time::sleep(Duration::from_millis(1500)).await;
    open(&gate);
    let (report, result) = running.end().await;
    result.unwrap();
    assert_eq!(report.bound_by.as_deref(), Some("sum"));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_stop_doesn_t_wait_for_the_last_stage() {
    let (world, gate, running) = in_the_last_stage("last_stage").await;
    running.stop.send(true).unwrap();
    let (report, result) = running.end().await;
    result.unwrap();
    assert_eq!(report.status, Status::Abandoned);
    assert!(world.place("out").visible.is_empty());
    open(&gate);
    world.complete().await;
    assert_eq!(world.place("out").rows(), [all(1000).iter().sum::<i64>()]);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_stopped_run_that_overwrites_keeps_what_it_prepared_and_shows_it_at_the_end() {
    let world = World::new("stop_overwrite")
        // So many that a batch is full, and written, long before the end.
        .source("n", json!({"rows": 100_000, "step": 100, "pause_ms": 1}))
        .sink("out", &["n"], json!({"overwrite": true}));
    let (stop, options) = world.run_options();
    let pipeline = world.pipeline().unwrap();
    let run = tokio::spawn(async move { pipeline.run(options).await });
    while world.place("out").staged.is_empty() {
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
    stop.send(true).unwrap();
    let (report, result) = run.await.unwrap();
    result.unwrap();
    assert_eq!(report.status, Status::Stopped);
    assert!(world.place("out").visible.is_empty());
    let report = world.complete().await;
    assert!(
        report.components[0].rows_out < 100_000,
        "it went on, and didn't start over"
    );
    assert!(world.place("out").rows() == all(100_000));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_run_that_nobody_can_stop_comes_to_its_end() {
    let world = World::new("default_options")
        .source("n", json!({"rows": 100, "pause_ms": 5}))
        .sink("out", &["n"], json!({}));
    let options = RunOptions {
        state: world.state().into(),
        ..RunOptions::default()
    };
    let (report, result) = world.pipeline().unwrap().run(options).await;
    result.unwrap();
    assert_eq!(report.status, Status::Completed);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_check_tells_of_sessions_and_what_sources_note() {
    let notes = async |replay| {
        let world = World::new(&format!("notes-{replay}"))
            .source("n", json!({"rows": 1, "replay": replay}))
            .sink("out", &["n"], json!({}));
        let graph = world.pipeline().unwrap().check().await.unwrap();
        graph.describe().notes
    };
    assert_eq!(
        notes("session").await,
        [
            "`n` is read as of one moment: the run is one epoch, and one that is interrupted \
             restarts from the beginning",
            "`n` counts without a stop"
        ]
    );
    assert_eq!(
        notes("offset").await,
        ["a run that is interrupted resumes from its last checkpoint"]
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn ordered_rows_of_chained_splits_beside_a_stage_come_to_an_end() {
    let world = World::new("chained_stage")
        .source("n", json!({"rows": 300, "splits": 4, "chained": true}))
        .component(Kind::Transform, "sum", "sum", &["n"], json!({}))
        .sink("rows", &["n"], json!({"ordered": true}))
        .sink("total", &["sum"], json!({}));
    let done = tokio::time::timeout(Duration::from_secs(20), world.complete()).await;
    assert!(done.is_ok(), "the run hangs");
    let place = world.place("rows");
    let written: Vec<i64> = place.visible.into_values().flatten().collect();
    assert_eq!(written, all(1200));
    assert_eq!(world.place("total").rows(), [(0..1200).sum::<i64>()]);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_writer_that_panics_leaves_nothing_of_any_sink() {
    let world = World::new("panics")
        .source("n", json!({"rows": 3000, "splits": 3}))
        .sink("one", &["n"], json!({"prepare_ms": 300, "hash": true}))
        .sink("two", &["n"], json!({}));
    arm(&world.fault("one/panic"), 1);
    let (_, result) = world.run().await;
    let error = result.expect_err("a panic");
    assert_eq!(error.message(), "a writer panicked");
    let told = error.to_string();
    assert!(told.contains("component: one"), "{told}");
    assert!(told.contains("a writer is broken"), "{told}");
    for sink in ["one", "two"] {
        let place = world.place(sink);
        assert!(
            place.staged.is_empty() && place.visible.is_empty(),
            "{sink}"
        );
    }
    world.complete().await;
    assert_eq!(world.place("two").rows(), all(9000));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_component_that_is_broken_is_named_with_the_cause() {
    let numbers = |broken: Option<&str>| json!({"rows": 100, "broken": broken});
    for (fault, broken, sieve, parts) in [
        ("panic-write", None, 1000, ["out", "a writer is broken"]),
        ("panic-commit", None, 1000, ["out", "a commit is broken"]),
        ("none", None, 0, ["sieve", "the sieve is broken"]),
        ("none", Some("panic"), 1000, ["n", "the source is broken"]),
        ("none", Some("stream"), 1000, ["n", "`other`"]),
    ] {
        let name = format!("broken_{fault}_{}_{sieve}", broken.unwrap_or_default());
        let world = World::new(&name)
            .source("n", numbers(broken))
            .component(
                Kind::Transform,
                "sieve",
                "sieve",
                &["n"],
                json!({"reject": sieve}),
            )
            .sink("out", &["sieve"], json!({}))
            .sink("bad", &["sieve.rejected"], json!({}));
        arm(&world.fault(&format!("out/{fault}")), 1);
        let error = world.run().await.1.expect_err(&name);
        assert_eq!(error.kind(), ErrorKind::Internal);
        let told = error.to_string();
        let component = format!("component: {}", parts[0]);
        assert!(told.contains(&component), "{told}");
        assert!(told.contains(parts[1]), "{told}");
        assert!(world.place("out").visible.is_empty());
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn rows_that_are_rejected_with_a_later_batch_are_counted_once() {
    let mut world = World::new("reject_later")
        // The last batch is smaller than what the first one's rejected.
        .source("n", json!({"rows": 8200, "step": 8192}))
        .sink("bad", &["good.rejected"], json!({}))
        .sink(
            "good",
            &["n"],
            json!({"reject": 10, "reject_later": true, "ordered": true}),
        );
    world.settings["workers"] = json!(1);
    let report = world.complete().await;
    assert_eq!(world.place("bad").rows().len(), 820);
    assert_eq!(report.components[2].rows_out, 7380);
    assert_eq!(report.rejected, 820);
}

#[tokio::test(flavor = "multi_thread")]
async fn rows_rejected_before_a_retry_count_once_against_the_limit() {
    let mut world = World::new("limit_retry");
    let fault = world.fault("read");
    world = world
        .source("n", json!({"rows": 100, "pause_ms": 40, "fault": fault}))
        .component(
            Kind::Transform,
            "sieve",
            "sieve",
            &["n"],
            json!({"reject": 10}),
        )
        .sink("good", &["sieve"], json!({}))
        .sink("bad", &["sieve.rejected"], json!({}));
    world.options.rejected_limit = Some(10);
    arm(&fault, 2);
    let report = world.complete().await;
    assert!(report.restarts >= 1);
    assert_eq!(report.rejected, 10);
    assert!(!report.rejected_over_limit);
}

#[tokio::test(flavor = "multi_thread")]
async fn large_batches_are_cut_also_where_something_is_held() {
    let mut world = World::new("cut_large")
        .source(
            "n",
            json!({"rows": 150_100, "step": 150_000, "splits": 4, "chained": true}),
        )
        .sink("out", &["n"], json!({}));
    world.settings["workers"] = json!(1);
    world.complete().await;
    let place = world.place("out");
    assert!(place.rows() == all(4 * 150_100));
    assert!(
        place.batches.iter().all(|rows| *rows <= 64 << 10),
        "{:?}",
        place.batches
    );
}

#[test]
fn settings_with_which_nothing_moves_are_refused() {
    for (key, value, said) in [
        ("queue", json!("0"), "at least"),
        ("lease", json!("0s"), "at least"),
        ("workers", json!(100_000), "at most 1024"),
    ] {
        let mut world =
            World::new("bounds")
                .source("n", json!({"rows": 1}))
                .sink("out", &["n"], json!({}));
        world.settings[key] = value;
        let error = world.pipeline().expect_err(key);
        assert_eq!(error.kind(), ErrorKind::Config);
        let told = error.to_string();
        assert!(told.contains(key) && told.contains(said), "{told}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_pipeline_built_in_code_is_checked_as_one_of_a_file_is() {
    let source = || World::new("built").source("n", json!({"rows": 1}));
    let pass = |id: &str, inputs: &[&str], world: World| {
        world.component(Kind::Transform, id, "sieve", inputs, json!({"reject": 7}))
    };
    for (world, said) in [
        (
            source().sink("n", &["n"], json!({})),
            "two components are named `n`",
        ),
        (
            source().sink("out", &["m"], json!({})),
            "no component is named `m`",
        ),
        (source().sink("out", &[], json!({})), "reads nothing"),
        (
            source().sink("out", &["n", "n.all"], json!({})),
            "reads the same rows twice",
        ),
        (
            pass("b", &["a"], pass("a", &["b"], source())).sink("out", &["a"], json!({})),
            "round in a circle",
        ),
        (
            source()
                .sink("out", &["n"], json!({}))
                .sink("more", &["out"], json!({})),
            "is a sink and gives no rows",
        ),
        (source(), "has no sink"),
    ] {
        let error = world.pipeline().unwrap_err();
        assert_eq!(error.kind(), ErrorKind::Config);
        assert!(error.message().contains(said), "{error}");
    }
}
