use serde_json::json;
use tidegate_core::{Epoch, WriterId};

use crate::support::{Bench, ids, prepare, rows, schema, tree, visible};

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
    // And one that dies in the middle.
    let id = WriterId {
        epoch: Epoch(4),
        index: 0,
    };
    let mut writer = sink.writer(id).await.unwrap();
    writer.write(0, rows(30..40, b)).await.unwrap();
    drop(writer);
    drop(sink);

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
    let mut writers = Vec::new();
    for index in 0..3 {
        let id = WriterId {
            epoch: Epoch(1),
            index,
        };
        let mut writer = sink.writer(id).await.unwrap();
        writer.write(0, rows(0..100, none)).await.unwrap();
        writers.push(writer);
    }
    assert_eq!(tree(&bench.out()).len(), 1);
    writers.remove(0).prepare().await.unwrap();
    for writer in writers {
        writer.abandon().await;
    }
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
