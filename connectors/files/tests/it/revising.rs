//! Files that changed or went after they were planned.

use std::fs;
use std::sync::Arc;
use std::time::{Duration, SystemTime};

use serde_json::json;
use tidegate_core::{
    Changed, ErrorKind, Offset, Plan, PlanState, PlannedSplit, Result, Revision, Scan, Source,
    Split,
};

use crate::support::{csv, ids, ndjson, plan, read, source, write};

async fn revise(
    source: &Arc<dyn Source>,
    state: &PlanState,
    splits: &[(&Split, Option<&Offset>, bool)],
    changed: Changed,
) -> Result<Option<Plan>> {
    let scans = [Scan::all("rows")];
    let splits = splits.iter().map(|(split, offset, finished)| PlannedSplit {
        split,
        offset: *offset,
        finished: *finished,
    });
    let splits: Vec<_> = splits.collect();
    let revision = Revision {
        scans: &scans,
        state: Some(state),
        splits: &splits,
        changed,
    };
    source.revise(&revision).await
}

fn names<'a>(ids: impl Iterator<Item = &'a str>) -> Vec<&'a str> {
    ids.map(|id| id.split('@').next().unwrap()).collect()
}

fn new(plan: &Plan) -> Vec<&str> {
    names(plan.new.iter().map(|split| split.id.as_str()))
}

fn revoked(plan: &Plan) -> Vec<&str> {
    names(plan.revoked.iter().map(|id| id.as_str()))
}

#[tokio::test]
async fn what_is_not_begun_is_planned_as_it_is_now() {
    let dir = tempfile::tempdir().unwrap();
    for name in ["a.csv", "b.csv", "c.csv"] {
        write(dir.path(), name, csv(0..2));
    }
    for remembers in [false, true] {
        let config = json!({"url": "*.csv", "incremental": remembers});
        let source = source(dir.path(), config).await.unwrap();
        let first = plan(&source, None, true).await.unwrap();
        let splits: Vec<_> = first.new.iter().map(|split| (split, None, false)).collect();
        let same = revise(&source, &first.state, &splits, Changed::Refuse).await;
        assert!(same.unwrap().is_none());

        write(dir.path(), "b.csv", csv(0..3));
        fs::remove_file(dir.path().join("c.csv")).unwrap();
        let revised = revise(&source, &first.state, &splits, Changed::Refuse).await;
        let revised = revised.unwrap().unwrap();
        assert_eq!(revoked(&revised), ["b.csv", "c.csv"]);
        assert_eq!(new(&revised), ["b.csv"]);
        if remembers {
            // What is gone was never read: when it is back, it is new.
            write(dir.path(), "c.csv", csv(0..2));
            let next = plan(&source, Some(&revised.state), true).await.unwrap();
            assert_eq!(new(&next), ["c.csv"]);
        }
        write(dir.path(), "b.csv", csv(0..2));
        write(dir.path(), "c.csv", csv(0..2));
    }
}

#[tokio::test]
async fn a_piece_that_is_finished_makes_its_file_begun() {
    let dir = tempfile::tempdir().unwrap();
    write(dir.path(), "a.ndjson", ndjson(0..1_000));
    let config = json!({"url": "a.ndjson", "piece_size": "1 KB"});
    let source = source(dir.path(), config).await.unwrap();
    let first = plan(&source, None, true).await.unwrap();
    assert!(first.new.len() > 2, "{}", first.new.len());
    write(dir.path(), "a.ndjson", ndjson(0..1_001));
    let all: Vec<_> = first.new.iter().map(|split| (split, None, false)).collect();
    let mut finished = all.clone();
    finished[0].2 = true;
    // The source was told of a piece that is missing.
    let told = all[1..].to_vec();
    for begun in [&finished, &told] {
        let refused = revise(&source, &first.state, begun, Changed::Refuse).await;
        let error = refused.unwrap_err();
        assert_eq!(error.kind(), ErrorKind::Conflict);
        assert!(error.to_string().contains("1 of its"), "{error}");
        let skipped = revise(&source, &first.state, begun, Changed::Skip).await;
        let skipped = skipped.unwrap().unwrap();
        assert_eq!(skipped.revoked.len(), first.new.len() - 1);
        assert!(skipped.new.is_empty());
    }
    let anew = revise(&source, &first.state, &all, Changed::Refuse).await;
    assert_eq!(anew.unwrap().unwrap().revoked.len(), first.new.len());
}

#[tokio::test]
async fn reading_on_gives_what_comes_after_the_position() {
    let dir = tempfile::tempdir().unwrap();
    write(dir.path(), "a.ndjson", ndjson(0..200_000));
    let source = source(dir.path(), json!({"url": "a.ndjson"}))
        .await
        .unwrap();
    let first = plan(&source, None, true).await.unwrap();
    let split = &first.new[0];
    let events = read(&source, split, &Scan::all("rows"), None)
        .await
        .unwrap();
    let (decoded, offset) = &events[0];
    let before = i64::try_from(ids(&decoded.batches).len()).unwrap();
    let later = SystemTime::now() + Duration::from_secs(9);
    let file = fs::File::options()
        .append(true)
        .open(dir.path().join("a.ndjson"));
    file.unwrap().set_modified(later).unwrap();

    let begun = [(split, Some(offset), false)];
    let resumed = revise(&source, &first.state, &begun, Changed::Resume).await;
    let resumed = resumed.unwrap().unwrap();
    assert_eq!(resumed.revoked, std::slice::from_ref(&split.id));
    let rest = read(&source, &resumed.new[0], &Scan::all("rows"), None).await;
    let rest = rest.unwrap();
    let found: Vec<i64> = rest
        .iter()
        .flat_map(|(decoded, _)| ids(&decoded.batches))
        .collect();
    assert_eq!(found, (before..200_000).collect::<Vec<_>>());
    // It is begun, though nothing of the new split is committed.
    write(dir.path(), "a.ndjson", ndjson(0..10));
    let again = [(&resumed.new[0], None, false)];
    let refused = revise(&source, &resumed.state, &again, Changed::Refuse).await;
    assert_eq!(refused.unwrap_err().kind(), ErrorKind::Conflict);
}

#[tokio::test]
async fn a_watch_finds_what_changed_by_itself() {
    let dir = tempfile::tempdir().unwrap();
    write(dir.path(), "a.csv", csv(0..2));
    let config = json!({"url": "*.csv", "watch": true, "poll": "1ms"});
    let source = source(dir.path(), config).await.unwrap();
    tokio::time::sleep(Duration::from_millis(5)).await;
    let first = plan(&source, None, true).await.unwrap();
    assert_eq!(new(&first), ["a.csv"]);
    let splits = [(&first.new[0], None, false)];
    write(dir.path(), "a.csv", csv(0..3));
    let revised = revise(&source, &first.state, &splits, Changed::Refuse).await;
    let revised = revised.unwrap().unwrap();
    assert_eq!((revoked(&revised), new(&revised)), (vec!["a.csv"], vec![]));
    tokio::time::sleep(Duration::from_millis(5)).await;
    let next = plan(&source, Some(&revised.state), false).await.unwrap();
    assert_eq!(new(&next), ["a.csv"]);
}
