use std::sync::Arc;

use serde_json::json;
use tidegate_core::{ErrorKind, Prepared, RunId, Sink, Visibility};

use crate::support::{Bench, ids, prepare, rows, schema, tree};

fn even(id: i64) -> Option<String> {
    Some(if id % 2 == 0 { "even" } else { "odd" }.to_owned())
}

/// A whole run of the given epochs, up to its commit.
async fn run(bench: &mut Bench, epochs: &[std::ops::Range<i64>]) -> (Arc<dyn Sink>, Vec<Prepared>) {
    bench.cx.common.run = RunId::new();
    let sink = bench.open().await.unwrap();
    let mut prepared = Vec::new();
    for (epoch, ids) in (1..).zip(epochs) {
        let batches = vec![vec![rows(ids.clone(), even)]];
        prepared.extend(prepare(&sink, epoch, batches).await.unwrap());
    }
    prepared.extend(sink.conclude(&prepared).await.unwrap());
    (sink, prepared)
}

#[tokio::test]
async fn overwrite_replaces_everything_at_the_end_with_the_rows_of_all_epochs() {
    let mut bench = Bench::new(json!({"mode": "overwrite"}), schema());
    let (sink, prepared) = run(&mut bench, &[0..3, 3..6]).await;
    assert_eq!(sink.visibility(), Visibility::Run);
    sink.commit(&bench.commit(2, &prepared)).await.unwrap();
    std::fs::write(bench.out().join("README.txt"), "stays").unwrap();

    let (sink, prepared) = run(&mut bench, &[10..12, 12..14]).await;
    sink.commit(&bench.commit(2, &prepared)).await.unwrap();
    std::fs::remove_file(bench.out().join("README.txt")).unwrap();
    assert_eq!(ids(&bench.out())[""], (10..14).collect::<Vec<_>>());
    let again = bench.reopen().await;
    again.commit(&bench.commit(2, &prepared)).await.unwrap();
    assert_eq!(ids(&bench.out())[""], (10..14).collect::<Vec<_>>());
}

#[tokio::test]
async fn overwrite_without_rows_empties_the_table() {
    let mut bench = Bench::new(json!({"mode": "overwrite"}), schema());
    let (sink, prepared) = run(&mut bench, &[0..3]).await;
    sink.commit(&bench.commit(1, &prepared)).await.unwrap();
    let (sink, prepared) = run(&mut bench, &[]).await;
    sink.commit(&bench.commit(1, &prepared)).await.unwrap();
    assert!(tree(&bench.out()).is_empty());
}

#[tokio::test]
async fn overwrite_partitions_leaves_the_others() {
    let config = json!({"mode": "overwrite_partitions", "partition_by": ["kind"]});
    let mut bench = Bench::new(config, schema());
    let (sink, prepared) = run(&mut bench, &[0..4]).await;
    sink.commit(&bench.commit(1, &prepared)).await.unwrap();
    let (sink, prepared) = run(&mut bench, &[11..12, 13..14]).await;
    sink.commit(&bench.commit(2, &prepared)).await.unwrap();
    let found = ids(&bench.out());
    assert_eq!(found["kind=even"], [0, 2]);
    assert_eq!(found["kind=odd"], [11, 13]);
}

#[tokio::test]
async fn a_fenced_replay_after_the_next_run_changes_nothing() {
    let mut bench = Bench::new(json!({"mode": "overwrite"}), schema());
    let (old, first) = run(&mut bench, &[0..3]).await;
    old.commit(&bench.commit(1, &first)).await.unwrap();
    let (sink, second) = run(&mut bench, &[5..7]).await;
    sink.commit(&bench.commit(1, &second)).await.unwrap();
    let before = tree(&bench.out());
    // Its files are gone, rightly: it is told so, and has touched nothing.
    let error = old.commit(&bench.commit(1, &first)).await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Conflict);
    assert_eq!(tree(&bench.out()), before);
    assert_eq!(ids(&bench.out())[""], [5, 6]);
}

#[tokio::test]
async fn a_replay_leaves_alone_what_somebody_wrote_under_an_old_name() {
    let mut bench = Bench::new(json!({"mode": "overwrite"}), schema());
    let (sink, prepared) = run(&mut bench, &[0..3]).await;
    sink.commit(&bench.commit(1, &prepared)).await.unwrap();
    let old = bench.out().join(&tree(&bench.out())[0]);

    let (sink, prepared) = run(&mut bench, &[5..7]).await;
    sink.commit(&bench.commit(1, &prepared)).await.unwrap();
    assert!(!old.exists());
    // The process dies before it has noted that, and somebody else writes.
    std::fs::write(&old, "somebody's").unwrap();
    let successor = bench.reopen().await;
    successor.commit(&bench.commit(1, &prepared)).await.unwrap();
    assert_eq!(std::fs::read(&old).unwrap(), b"somebody's");
}

#[cfg(unix)]
#[tokio::test]
async fn an_overwrite_deletes_nothing_behind_a_link() {
    use std::os::unix::fs::symlink;

    for config in [
        json!({"mode": "overwrite"}),
        json!({"mode": "overwrite", "partition_by": ["kind"]}),
        json!({"mode": "overwrite_partitions", "partition_by": ["kind"]}),
    ] {
        let mut bench = Bench::new(config.clone(), schema());
        let (sink, prepared) = run(&mut bench, &[0..3]).await;
        sink.commit(&bench.commit(1, &prepared)).await.unwrap();
        let precious = bench.dir.path().join("precious");
        std::fs::create_dir(&precious).unwrap();
        std::fs::write(precious.join("mine.parquet"), "mine").unwrap();
        symlink("../precious", bench.out().join("link")).unwrap();
        symlink("../precious", bench.out().join("kind=none")).unwrap();
        symlink("../precious/mine.parquet", bench.out().join("x.parquet")).unwrap();

        let (sink, prepared) = run(&mut bench, &[10..12]).await;
        sink.commit(&bench.commit(1, &prepared)).await.unwrap();
        let mine = std::fs::read(precious.join("mine.parquet")).unwrap();
        assert_eq!(mine, b"mine", "{config}");
        for link in ["link", "kind=none", "x.parquet"] {
            let path = bench.out().join(link);
            assert!(path.is_symlink(), "{config}");
            std::fs::remove_file(path).unwrap();
        }
        let mut rows: Vec<_> = ids(&bench.out()).into_values().flatten().collect();
        rows.sort_unstable();
        assert_eq!(rows, [10, 11], "{config}");
    }
}

/// Its old files stay, so the new ones would stand beside them.
#[cfg(unix)]
#[tokio::test]
async fn a_partition_behind_a_link_is_not_overwritten() {
    for (mode, refused) in [
        ("overwrite", true),
        ("overwrite_partitions", true),
        ("append", false),
    ] {
        let bench = Bench::new(json!({"mode": mode, "partition_by": ["kind"]}), schema());
        let precious = bench.dir.path().join("precious");
        std::fs::create_dir(&precious).unwrap();
        std::fs::write(precious.join("mine.parquet"), "mine").unwrap();
        std::fs::create_dir(bench.out()).unwrap();
        std::os::unix::fs::symlink("../precious", bench.out().join("kind=odd")).unwrap();
        let sink = bench.open().await.unwrap();
        let prepared = prepare(&sink, 1, vec![vec![rows(0..4, even)]]).await;
        if refused {
            let error = prepared.unwrap_err();
            assert_eq!(error.kind(), ErrorKind::Config, "{error:?}");
            assert!(error.to_string().contains("kind=odd"), "{error:?}");
            bench.recover(sink.as_ref(), &[]).await;
            assert_eq!(tree(&precious), ["mine.parquet"]);
        } else {
            let prepared = prepared.unwrap();
            sink.commit(&bench.commit(1, &prepared)).await.unwrap();
            assert_eq!(tree(&precious).len(), 2);
        }
    }
}

#[tokio::test]
async fn a_name_that_would_be_too_long_is_refused_when_the_sink_is_opened() {
    let mut bench = Bench::new(json!({}), schema());
    let id = "l".repeat(200);
    bench.cx.common.id = tidegate_core::ComponentId::new(&id).unwrap();
    let error = bench.open().await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Config, "{error:?}");
    assert!(tree(bench.dir.path()).is_empty());
}
