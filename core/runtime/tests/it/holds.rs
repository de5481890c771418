//! Who holds a pipeline, and what a run that is dropped lets go of.

use std::fs::File;
use std::path::Path;
use std::sync::Arc;
use std::time::{Duration, Instant};

use serde_json::{Value, json};
use tidegate_core::{ByteSize, ErrorKind};
use tidegate_runtime::state::{SqliteStore, StateStore};
use tidegate_runtime::{RunOptions, Status};

use crate::heads::{Bucket, Process};
use crate::state::begun;
use crate::world::World;

/// So long that nobody waits for it.
const LONG: Duration = Duration::from_secs(600);

fn directory_store(directory: &Path) -> Arc<dyn StateStore> {
    Arc::new(SqliteStore::open(directory).unwrap())
}

/// For every kind of store, one and another on the same place.
fn every_pair(directory: &Path, bucket: &Arc<Bucket>) -> [[Arc<dyn StateStore>; 2]; 2] {
    let object = || Process::new(bucket).store(LONG);
    [
        [directory_store(directory), directory_store(directory)],
        [object(), object()],
    ]
}

#[tokio::test]
async fn a_hold_that_is_dropped_is_free_at_once_and_changes_nothing_any_more() {
    let (directory, bucket) = (tempfile::tempdir().unwrap(), Arc::default());
    for [store, other] in every_pair(directory.path(), &bucket) {
        let hold = store.acquire("p").await.unwrap();
        let old = hold.fence();
        store.apply("p", old, begun(1)).await.unwrap();
        drop(hold);
        let late = [
            store.apply("p", old, begun(2)).await,
            store.verify("p", old).await,
        ];
        for late in late {
            assert_eq!(late.unwrap_err().kind(), ErrorKind::Conflict);
        }
        for next in [&store, &other, &store] {
            let hold = next.acquire("p").await.unwrap();
            assert!(hold.fence() > old);
            store.apply("p", old, begun(3)).await.unwrap_err();
            next.apply("p", hold.fence(), begun(4)).await.unwrap();
        }
        let state = store.load("p").await.unwrap().unwrap();
        assert_eq!(state.journal.len(), 4);
    }
}

#[tokio::test]
async fn a_lease_that_is_dropped_is_given_back_where_other_machines_see_it() {
    let bucket: Arc<Bucket> = Arc::default();
    let store = Process::new(&bucket).store(LONG);
    let hold = store.acquire("p").await.unwrap();
    let holder = || {
        let head: Value = serde_json::from_slice(&bucket.get("p").unwrap()).unwrap();
        head.get("holder").cloned()
    };
    assert!(holder().is_some());
    drop(hold);
    let deadline = Instant::now() + Duration::from_secs(20);
    while holder().is_some() {
        assert!(Instant::now() < deadline, "nobody gave it back");
        tokio::time::sleep(Duration::from_millis(2)).await;
    }
}

#[tokio::test]
async fn whoever_gives_up_waiting_for_a_pipeline_holds_nothing() {
    let bucket: Arc<Bucket> = Arc::default();
    let slow = Process::slow(&bucket, Duration::from_millis(50)).store(LONG);
    let waited = tokio::time::timeout(Duration::from_millis(10), slow.acquire("p")).await;
    assert!(waited.is_err());
    let other = Process::new(&bucket).store(LONG);
    let taken = tokio::time::timeout(Duration::from_secs(20), async {
        while bucket.get("p").is_none() {
            tokio::time::sleep(Duration::from_millis(2)).await;
        }
        other.acquire("p").await
    });
    taken.await.unwrap().unwrap();
}

#[test]
fn what_a_dropped_run_left_going_comes_too_late_once_another_has_the_pipeline() {
    let directory = tempfile::tempdir().unwrap();
    let one_thread = tokio::runtime::Builder::new_multi_thread()
        .worker_threads(1)
        .max_blocking_threads(1)
        .enable_all()
        .build()
        .unwrap();
    let store = directory_store(directory.path());
    let hold = one_thread.block_on(store.acquire("p")).unwrap();
    let old = hold.fence();
    // Its transaction waits for a thread, and nobody waits for it any more.
    let (open, gate) = std::sync::mpsc::channel::<()>();
    one_thread.spawn_blocking(move || gate.recv());
    let left_going = one_thread.block_on(async {
        let mut apply = Box::pin(store.apply("p", old, begun(1)));
        let soon = tokio::time::timeout(Duration::from_millis(50), &mut apply);
        soon.await
    });
    assert!(left_going.is_err(), "it was under way");
    drop(hold);

    let other = tokio::runtime::Runtime::new().unwrap();
    let next = directory_store(directory.path());
    let hold = other.block_on(next.acquire("p")).unwrap();
    other
        .block_on(next.apply("p", hold.fence(), begun(2)))
        .unwrap();
    open.send(()).unwrap();
    // Dropping a runtime waits for its threads.
    drop(one_thread);
    let state = other.block_on(next.load("p")).unwrap().unwrap();
    assert_eq!(state.journal.len(), 1);
    assert_eq!(state.epoch.0, 2);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_run_that_is_dropped_is_gone_on_with_at_once() {
    for in_a_bucket in [false, true] {
        let mut world = World::new(&format!("dropped_{in_a_bucket}"))
            .source(
                "n",
                json!({"rows": 900, "splits": 4, "pause_ms": 1, "incremental": true}),
            )
            .sink("out", &["n"], json!({"prepare_ms": 5}));
        if in_a_bucket {
            world.bucket = Some(Arc::default());
        }
        world.options.checkpoint.bytes = Some(ByteSize(3000));
        let [store, _] = match &world.bucket {
            None => every_pair(&world.state(), &Arc::default())[0].clone(),
            Some(bucket) => every_pair(&world.state(), bucket)[1].clone(),
        };
        let mut dropped = 0;
        loop {
            let [_, other] = match &world.bucket {
                None => every_pair(&world.state(), &Arc::default())[0].clone(),
                Some(bucket) => every_pair(&world.state(), bucket)[1].clone(),
            };
            let state = if dropped % 2 == 0 { &store } else { &other };
            let (_stop, options) = world.run_options();
            let options = RunOptions {
                state: Arc::clone(state).into(),
                ..options
            };
            let pipeline = world.pipeline().unwrap();
            let run = pipeline.run(options);
            let after = Duration::from_millis(20 + 15 * dropped);
            if let Ok((report, result)) = tokio::time::timeout(after, run).await {
                result.unwrap();
                assert_eq!(report.status, Status::Completed);
                break;
            }
            dropped += 1;
        }
        assert!(dropped > 2, "dropped {dropped} times");
        // A run may have ended just before it was dropped; the next one then went on after it.
        let rows = world.place("out").rows();
        let count = rows.len() as i64;
        assert!(
            rows.into_iter().eq(0..count) && count % 3600 == 0,
            "{count}"
        );
        let deadline = Instant::now() + Duration::from_secs(20);
        while !world.place("out").staged.is_empty() {
            assert!(Instant::now() < deadline, "something was left over");
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
    }
}

#[tokio::test]
async fn pipelines_whose_names_look_alike_run_at_once() {
    let directory = tempfile::tempdir().unwrap();
    let (store, other) = (
        directory_store(directory.path()),
        directory_store(directory.path()),
    );
    let long = "a very long name, ".repeat(40);
    let names = [
        "a/b",
        "a_b",
        "a b",
        "A_b",
        "ä",
        "a\u{308}",
        &long,
        &long[1..],
    ];
    let mut holds = Vec::new();
    for name in names {
        holds.push(store.acquire(name).await.expect(name));
        let refused = other.acquire(name).await.unwrap_err();
        assert_eq!(refused.kind(), ErrorKind::Conflict);
    }
}

#[tokio::test]
async fn an_earlier_version_and_this_one_never_run_a_pipeline_together() {
    let directory = tempfile::tempdir().unwrap();
    let store = directory_store(directory.path());
    // As earlier versions did it.
    let earlier = || {
        let lock = File::create(directory.path().join("a_b.lock")).unwrap();
        lock.try_lock().map(|()| lock)
    };
    let lock = earlier().unwrap();
    let refused = store.acquire("a/b").await.unwrap_err();
    assert!(refused.message().contains("already running"), "{refused}");
    drop(lock);
    let hold = store.acquire("a/b").await.unwrap();
    assert!(earlier().is_err());
    hold.release().await.unwrap();
    earlier().unwrap();
}
