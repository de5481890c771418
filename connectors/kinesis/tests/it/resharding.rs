//! Shards that are split and merged while they are read.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::time::Duration;

use futures::StreamExt;
use serde_json::json;
use tidegate_core::{FinishedSplit, Next, Source, Split};
use tokio::sync::mpsc;

use crate::site::{Row, Site, assert_in_order, plan, rows, scans};

/// What the runtime does, in little: reads all splits at once, each after those that it comes after,
/// and asks again when one has finished and after the time that was said.
async fn follow(source: Arc<dyn Source>, send: mpsc::UnboundedSender<Row>) {
    let first = plan(source.as_ref(), None, &[], true).await.unwrap();
    let (mut state, mut waiting, mut next) = (first.state, first.new, first.next);
    let (mut unfinished, mut known) = (BTreeSet::new(), BTreeSet::new());
    let (ended, mut end) = mpsc::unbounded_channel::<FinishedSplit>();
    let mut finished = Vec::new();
    loop {
        for split in &waiting {
            if known.insert(split.id.clone()) {
                unfinished.insert(split.id.clone());
            }
        }
        let may_start = |split: &Split| !split.after.iter().any(|id| unfinished.contains(id));
        let (start, wait): (Vec<_>, Vec<_>) = waiting.into_iter().partition(may_start);
        waiting = wait;
        for split in start {
            let (source, send, ended) = (source.clone(), send.clone(), ended.clone());
            tokio::spawn(async move {
                let mut events = source.read(&split, &scans(), None).await.unwrap();
                let mut offset = None;
                while let Some(event) = events.next().await {
                    let (rows, resume) = rows(event.unwrap());
                    offset = resume.or(offset);
                    rows.into_iter().for_each(|row| drop(send.send(row)));
                }
                drop(ended.send(FinishedSplit { split, offset }));
            });
        }
        let Next::AskAgain(after) = next else {
            panic!("{next:?}")
        };
        if let Ok(split) = tokio::time::timeout(after, end.recv()).await {
            let split = split.unwrap();
            unfinished.remove(&split.split.id);
            finished.push(split);
        }
        let more = plan(source.as_ref(), Some(&state), &finished, false).await;
        let more = more.unwrap();
        finished.clear();
        (state, next) = (more.state, more.next);
        waiting.extend(more.new);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn keys_keep_their_order_over_splits_and_merges() {
    let site = Site::with_shards(2).await;
    let source = site.open(json!({})).await.unwrap();
    read_while_resharding(&site, source, Closed::Kept).await;
}

/// What a server does with the records of a shard that was split or merged.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Closed {
    /// They can be read until they expire, as in Kinesis itself.
    Kept,
    /// They are gone at once (ministack), so they have to be read before.
    Lost,
}

/// Writes to a stream of two shards, and splits and merges them, while the source is read.
pub(crate) async fn read_while_resharding(site: &Site, source: Arc<dyn Source>, closed: Closed) {
    const KEYS: u32 = 16;
    site.put_numbers(0..200, KEYS).await;
    let (send, mut receive) = mpsc::unbounded_channel();
    let following = tokio::spawn(follow(source, send));
    let mut read = Vec::new();
    let mut until = async |rows: usize, read: &mut Vec<Row>| {
        while read.len() < rows {
            let row = tokio::time::timeout(Duration::from_secs(180), receive.recv());
            read.push(row.await.unwrap().unwrap());
        }
    };
    until(200, &mut read).await;
    site.split("shardId-000000000000").await;
    site.put_numbers(200..400, KEYS).await;
    if closed == Closed::Lost {
        until(400, &mut read).await;
    }
    // Merged before what was split has been read, where that is possible.
    site.merge("shardId-000000000002", "shardId-000000000003")
        .await;
    site.put_numbers(400..600, KEYS).await;
    until(600, &mut read).await;
    site.merge("shardId-000000000004", "shardId-000000000001")
        .await;
    site.put_numbers(600..800, KEYS).await;
    if closed == Closed::Lost {
        until(800, &mut read).await;
    }
    site.split("shardId-000000000005").await;
    site.put_numbers(800..1000, KEYS).await;
    until(1000, &mut read).await;
    following.abort();
    assert_in_order(&read, 0..1000, KEYS);
    let mut shards = BTreeMap::<_, u32>::new();
    for row in &read {
        *shards.entry(row.shard.as_str()).or_default() += 1;
    }
    assert_eq!(shards.len(), 8, "{shards:?}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_run_begins_with_parents_and_goes_on_after_them() {
    let site = Site::with_shards(1).await;
    site.put_numbers(0..50, 4).await;
    site.split("shardId-000000000000").await;
    site.put_numbers(50..100, 4).await;
    site.merge("shardId-000000000001", "shardId-000000000002")
        .await;
    site.put_numbers(100..150, 4).await;
    let source = site.open(json!({ "until": "now" })).await.unwrap();
    let planned = plan(source.as_ref(), None, &[], true).await.unwrap();
    let after: Vec<_> = planned
        .new
        .iter()
        .map(|split| (split.id.as_str(), split.after.len()))
        .collect();
    assert_eq!(
        after,
        [
            ("shardId-000000000000", 0),
            ("shardId-000000000001", 1),
            ("shardId-000000000002", 1),
            ("shardId-000000000003", 2)
        ]
    );
    let (mut all, mut finished) = (Vec::new(), Vec::new());
    for split in planned.new {
        let events = crate::site::read(source.as_ref(), &split, None).await;
        let events = events.unwrap();
        let offset = events.iter().rev().find_map(|(_, resume)| resume.clone());
        all.extend(events.into_iter().flat_map(|(rows, _)| rows));
        finished.push(FinishedSplit { split, offset });
    }
    assert_in_order(&all, 0..150, 4);
    let done = plan(source.as_ref(), Some(&planned.state), &finished, false).await;
    let done = done.unwrap();
    assert_eq!(done.next, Next::Complete);
    // The next run has only what is open, and what has come.
    site.put_numbers(150..170, 4).await;
    let source = site.open(json!({ "until": "now" })).await.unwrap();
    let next = plan(source.as_ref(), Some(&done.state), &[], true).await;
    let next = next.unwrap();
    assert_eq!(next.new.len(), 1, "{:?}", next.new);
    let events = crate::site::read(source.as_ref(), &next.new[0], None).await;
    let rows: Vec<_> = events
        .unwrap()
        .into_iter()
        .flat_map(|(rows, _)| rows)
        .collect();
    assert_in_order(&rows, 150..170, 4);
}
