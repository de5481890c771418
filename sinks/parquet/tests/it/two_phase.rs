use serde_json::json;
use tidegate_core::{Epoch, WriterId};
use tidegate_testkit::suites::{Hand, killed};

use crate::support::{Bench, ids, prepare, rows, schema, tree, visible};

fn id(epoch: u64, index: u32) -> WriterId {
    let epoch = Epoch(epoch);
    WriterId {
        epoch,
        executor: 0,
        index,
    }
}

fn none(_: i64) -> Option<String> {
    None
}

#[tokio::test]
async fn nothing_is_visible_before_the_commit_and_a_replay_changes_nothing() {
    let bench = Bench::new(json!({}), schema());
    let sink = bench.open().await.unwrap();
    let first = prepare(&sink, 1, vec![vec![rows(0..10, none)]])
        .await
        .unwrap();
    // The next epoch is written while this one waits.
    let second = prepare(&sink, 2, vec![vec![rows(10..20, none)]])
        .await
        .unwrap();
    assert!(visible(&bench.out()).is_empty());
    sink.commit(&bench.commit(1, &first)).await.unwrap();
    assert_eq!(ids(&bench.out())[""], (0..10).collect::<Vec<_>>());
    sink.commit(&bench.commit(2, &second)).await.unwrap();
    // By its successor, and by a process that was fenced off meanwhile.
    let other = bench.reopen().await;
    for sink in [&sink, &other] {
        sink.commit(&bench.commit(1, &first)).await.unwrap();
        sink.commit(&bench.commit(2, &second)).await.unwrap();
    }
    assert_eq!(ids(&bench.out())[""], (0..20).collect::<Vec<_>>());
    assert_eq!(tree(&bench.out()).len(), 2);
}

#[tokio::test]
async fn recovery_removes_what_was_begun_and_leaves_what_is_kept() {
    let bench = Bench::new(json!({"partition_by": ["kind"]}), schema());
    let sink = bench.open().await.unwrap();
    let a = |_| Some("a".to_owned());
    let b = |_| Some("b".to_owned());
    let committed = prepare(&sink, 1, vec![vec![rows(0..5, a)]]).await.unwrap();
    sink.commit(&bench.commit(1, &committed)).await.unwrap();
    let kept = prepare(&sink, 2, vec![vec![rows(5..9, a)]]).await.unwrap();
    prepare(&sink, 3, vec![vec![rows(20..30, b)]])
        .await
        .unwrap();
    drop(sink);
    // And one that dies in the middle.
    let opening = bench.opening();
    let dies = async move {
        let sink = opening.await.unwrap();
        let epoch = sink.epoch(Epoch(4)).await.unwrap();
        let mut writer = Hand::open(&epoch, id(4, 0)).await.unwrap();
        writer.write(0, rows(30..40, b)).await.unwrap();
        std::mem::forget((sink, epoch, writer));
    };
    killed(dies).await.unwrap();

    let sink = bench.reopen().await;
    for _ in 0..2 {
        bench.recover(&*sink, &kept).await;
    }
    sink.commit(&bench.commit(2, &kept)).await.unwrap();
    assert_eq!(ids(&bench.out())["kind=a"], (0..9).collect::<Vec<_>>());
    assert_eq!(tree(&bench.out()).len(), 2);
    assert!(!bench.out().join("kind=b").exists());
}

#[tokio::test]
async fn an_epoch_that_is_given_up_leaves_nothing() {
    let bench = Bench::new(json!({"row_group_rows": 10}), schema());
    let sink = bench.open().await.unwrap();
    let epoch = sink.epoch(Epoch(1)).await.unwrap();
    let mut writers = Vec::new();
    for index in 0..3 {
        let mut writer = Hand::open(&epoch, id(1, index)).await.unwrap();
        writer.write(0, rows(0..100, none)).await.unwrap();
        writers.push(writer);
    }
    writers.remove(0).finish().await.unwrap();
    while tree(&bench.out()).is_empty() {
        tokio::task::yield_now().await;
    }
    drop(writers);
    epoch.abandon().await;
    assert!(tree(bench.dir.path()).is_empty());
    assert!(!bench.out().exists());
}

#[tokio::test]
async fn an_epoch_without_rows_makes_no_file() {
    let bench = Bench::new(json!({}), schema());
    let sink = bench.open().await.unwrap();
    let prepared = prepare(&sink, 1, vec![vec![rows(0..0, none)], vec![]])
        .await
        .unwrap();
    assert!(prepared.is_empty());
    sink.commit(&bench.commit(1, &prepared)).await.unwrap();
    assert!(!bench.out().exists());
}

#[tokio::test]
async fn a_writer_that_comes_after_others_prepared_takes_no_name_of_theirs() {
    let bench = Bench::new(json!({}), schema());
    let sink = bench.open().await.unwrap();
    let mut prepared = prepare(&sink, 1, vec![vec![rows(0..5, none)]])
        .await
        .unwrap();
    prepared.extend(
        prepare(&sink, 1, vec![vec![rows(5..9, none)]])
            .await
            .unwrap(),
    );
    sink.commit(&bench.commit(1, &prepared)).await.unwrap();
    assert_eq!(ids(&bench.out())[""], (0..9).collect::<Vec<_>>());
}

/// The test that runs in a process of its own, in which no file may have more than a few bytes.
const FULL: &str = "two_phase::with_a_full_disk";

#[test]
fn a_full_disk_with_many_partitions_ends_the_epoch() {
    let program = std::env::current_exe().unwrap();
    let script = "ulimit -f 8; trap '' XFSZ; exec timeout 60 \"$0\" --exact --ignored \"$1\"";
    let child = std::process::Command::new("bash")
        .args(["-c", script])
        .arg(program)
        .arg(FULL)
        .output()
        .unwrap();
    let told = String::from_utf8_lossy(&child.stdout);
    assert!(
        told.contains("1 passed") && child.status.success(),
        "{told}"
    );
}

#[tokio::test(flavor = "multi_thread")]
#[ignore = "is run by the test above"]
async fn with_a_full_disk() {
    let config = json!({"partition_by": ["kind"], "row_group_rows": 2000});
    let bench = Bench::new(config, schema());
    let sink = bench.open().await.unwrap();
    // One partition is too large for the disk, beside more of them than are held open.
    let large = |id: i64| match id % 2 {
        0 => Some("large".to_owned()),
        _ => Some(format!("{}", id % 601)),
    };
    let batches = |at: i64| (0..10).map(move |i| rows(i * 4000 + at..i * 4000 + at + 4000, large));
    let writers = (0..2).map(|at| batches(at).collect()).collect();
    let error = prepare(&sink, 1, writers).await.unwrap_err();
    assert!(format!("{error:?}").contains("File too large"), "{error:?}");
}
