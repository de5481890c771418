use std::time::{Duration, SystemTime};

use serde_json::json;
use tidegate_core::{Next, PlanState};

use crate::support::{csv, plan, source, write};

fn names(plan: &tidegate_core::Plan) -> Vec<String> {
    let name = |id: &str| id.split('@').next().unwrap().to_owned();
    plan.new
        .iter()
        .map(|split| name(split.id.as_str()))
        .collect()
}

/// Through JSON, as between two processes.
fn stored(state: &PlanState) -> PlanState {
    serde_json::from_value(serde_json::to_value(state).unwrap()).unwrap()
}

fn age(dir: &std::path::Path, name: &str, seconds: u64) {
    let file = std::fs::File::options()
        .append(true)
        .open(dir.join(name))
        .unwrap();
    file.set_modified(SystemTime::now() - Duration::from_secs(seconds))
        .unwrap();
}

#[tokio::test]
async fn an_incremental_run_reads_what_no_run_before_has_read() {
    let dir = tempfile::tempdir().unwrap();
    write(dir.path(), "a.csv", csv(0..2));
    let config = json!({"url": "*.csv", "incremental": true});
    let first = plan(
        &source(dir.path(), config.clone()).await.unwrap(),
        None,
        true,
    )
    .await
    .unwrap();
    assert_eq!(names(&first), ["a.csv"]);
    assert_eq!(first.next, Next::Complete);

    write(dir.path(), "b.csv", csv(2..4));
    let again = source(dir.path(), config.clone()).await.unwrap();
    let second = plan(&again, Some(&stored(&first.state)), true)
        .await
        .unwrap();
    assert_eq!(names(&second), ["b.csv"]);
    // The process died before the answer was stored: the same question, the same answer.
    let second = plan(&again, Some(&stored(&first.state)), true)
        .await
        .unwrap();
    assert_eq!(names(&second), ["b.csv"]);

    write(dir.path(), "a.csv", csv(0..3));
    let third = plan(&again, Some(&stored(&second.state)), true)
        .await
        .unwrap();
    assert_eq!(names(&third), ["a.csv"]);
    let fourth = plan(&again, Some(&stored(&third.state)), true)
        .await
        .unwrap();
    assert!(fourth.new.is_empty());
}

#[tokio::test]
async fn a_run_that_does_not_remember_reads_everything_once() {
    let dir = tempfile::tempdir().unwrap();
    write(dir.path(), "a.csv", csv(0..2));
    let source = source(dir.path(), json!({"url": "*.csv"})).await.unwrap();
    let first = plan(&source, None, true).await.unwrap();
    write(dir.path(), "b.csv", csv(0..2));
    let same_run = plan(&source, Some(&first.state), false).await.unwrap();
    assert!(same_run.new.is_empty());
    let next_run = plan(&source, Some(&first.state), true).await.unwrap();
    assert_eq!(names(&next_run), ["a.csv", "b.csv"]);
}

#[tokio::test]
async fn a_watch_takes_files_as_they_arrive_and_stand_still() {
    let dir = tempfile::tempdir().unwrap();
    let config = json!({
        "url": "in/*.csv", "watch": true, "poll": "5s",
        "schema": [{"name": "id", "type": "int64"}, {"name": "name", "type": "string"}],
    });
    let source = source(dir.path(), config).await.unwrap();
    assert!(!source.streams()[0].bounded);
    let empty = plan(&source, None, true).await.unwrap();
    assert!(empty.new.is_empty());
    assert_eq!(empty.next, Next::AskAgain(Duration::from_secs(5)));

    write(dir.path(), "in/old.csv", csv(0..2));
    age(dir.path(), "in/old.csv", 60);
    write(dir.path(), "in/new.csv", csv(0..2));
    let second = plan(&source, Some(&empty.state), false).await.unwrap();
    assert_eq!(names(&second), ["old.csv"]);
    // It grew meanwhile, and then stood still.
    write(dir.path(), "in/new.csv", csv(0..3));
    let third = plan(&source, Some(&second.state), false).await.unwrap();
    assert!(third.new.is_empty());
    let fourth = plan(&source, Some(&third.state), false).await.unwrap();
    assert_eq!(names(&fourth), ["new.csv"]);
    let fifth = plan(&source, Some(&fourth.state), true).await.unwrap();
    assert!(fifth.new.is_empty());
}
