//! A task that reads one split and puts its events on the queue.

use std::sync::Arc;
use std::time::Instant;

use futures::StreamExt;
use tidegate_core::{Error, ErrorKind, Event, Offset, Result, Scan, Source, Split, guarded_async};
use tokio::task::JoinHandle;

use super::message::{Assignment, Said};
use super::queue::SplitKey;
use super::shared::Shared;
use crate::graph::Body;

/// Starts reading. Dropping the attempt's tasks drops the source's stream.
pub(crate) fn start(shared: &Arc<Shared>, assignment: Assignment) -> Result<JoinHandle<()>> {
    let Assignment {
        key,
        split,
        offset: resume,
    } = assignment;
    let node = shared.graph.nodes.get(key.source);
    let Some(Body::Source { source, .. }) = node.map(|node| &node.body) else {
        return Err(Error::internal("a split of something that isn't a source"));
    };
    let scans = shared.graph.scans(key.source);
    let whole = shared.graph.read_whole(key.source);
    shared.queue.register(key, &split.id, whole, resume.clone());
    let (shared, source) = (Arc::clone(shared), Arc::clone(source));
    Ok(tokio::spawn(async move {
        let reading = read(&shared, &source, key, &split, &scans, resume.as_ref());
        match guarded_async("a reader", reading).await {
            Ok(Some(last)) => shared.tell(Said::Read(key, last)),
            // The attempt has ended, or the split was revoked.
            Ok(None) => {}
            Err(error) => {
                let error = error.with("component", shared.id(key.source));
                if error.kind() != ErrorKind::Exhausted {
                    return shared.fail(error.with("split", &split.id));
                }
                // What was read was paid for, so it isn't left on the queue.
                match shared.queue.handed_out(key).await {
                    Ok(true) => shared.tell(Said::Exhausted(error)),
                    // No cut can be made: what came since the last one is the next run's again.
                    Ok(false) => shared.fail(error),
                    // The attempt has ended by something else, or the split was revoked.
                    Err(_) => {}
                }
            }
        }
    }))
}

/// Reads all of it; gives the last position. `None`: no more of it is wanted.
async fn read(
    shared: &Shared,
    source: &Arc<dyn Source>,
    key: SplitKey,
    split: &Split,
    scans: &[Scan],
    resume: Option<&Offset>,
) -> Result<Option<Option<Offset>>> {
    let stats = &shared.graph.nodes[key.source].stats;
    let mut waiting = Instant::now();
    let mut last = resume.cloned();
    let mut events = source.read(split, scans, resume).await?;
    loop {
        let event = events.next().await;
        stats.add_busy(waiting);
        let pushed = match event {
            Some(event) => {
                let event = event?;
                known(shared, key, &event)?;
                if let Some(position) = event.position() {
                    last = Some(position.clone());
                }
                shared.queue.push(key, event).await
            }
            None => {
                drop(events);
                stats.add_splits_done(1);
                let pushed = shared.queue.push_end(key).await;
                return Ok(pushed.is_ok().then_some(last));
            }
        };
        if pushed.is_err() {
            return Ok(None);
        }
        waiting = Instant::now();
    }
}

/// Refuses an event of a stream that the source doesn't have.
fn known(shared: &Shared, key: SplitKey, event: &Event) -> Result<()> {
    let (Event::Rows { stream, .. } | Event::Schema { stream, .. }) = event else {
        return Ok(());
    };
    let streams = shared.graph.streams(key.source);
    if streams.iter().any(|open| open.stream.name == *stream) {
        return Ok(());
    }
    let names: Vec<_> = streams
        .iter()
        .map(|open| open.stream.name.as_str())
        .collect();
    Err(Error::internal(format!(
        "an event names the stream `{stream}`, which isn't there"
    ))
    .hint(format!("the source's streams are: {}", names.join(", "))))
}
