//! What an executor does at the end of an epoch: runs its stages, and makes durable what was written.

use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Instant;

use tidegate_core::{Error, IoWriter, Prepared, Result, Written, guarded, guarded_async};
use tokio::runtime::Handle;

use super::exchange::{Lane, Writers};
use super::flow::{Carrier, EpochSet};
use super::message::Sealed;
use super::queue::Closed;
use super::shared::{Shared, closed};
use super::stage;
use crate::graph::{Body, NodeId};

/// Runs the stages, if they are to, and seals every sink's part of the epoch, each after those whose
/// rejected rows or answers it reads.
pub(super) async fn seal_all(
    shared: &Arc<Shared>,
    set: &Arc<EpochSet>,
    stages: Option<&Handle>,
) -> Result<Sealed> {
    if let Some(cpu) = stages {
        tokio::select! {
            ran = stage::run_all(shared, set, cpu) => ran?,
            // A stage may take long, and nothing of it is kept when the attempt ends.
            () = shared.around.cancel.cancelled() => return Err(closed(Closed)),
        }
    }
    let mut prepared = Vec::new();
    for &id in &shared.graph.order {
        if !matches!(shared.graph.nodes[id].body, Body::Sink { .. }) {
            continue;
        }
        let component = shared.id(id);
        let values = seal(shared, set, id).await;
        let values = values.map_err(|error| error.with("component", component))?;
        prepared.extend(values.into_iter().map(|value| (component.clone(), value)));
    }
    let rejected = set.rejected.iter();
    let rejected = rejected.map(|count| count.load(Ordering::Relaxed));
    Ok(Sealed {
        prepared,
        rejected: rejected.collect(),
    })
}

/// Lets all writers of a sink finish, each on a thread that may block or on the I/O runtime, and
/// seals its epoch. What is rejected or answered late goes to the sinks that read it, which are
/// sealed after this one.
async fn seal(shared: &Arc<Shared>, set: &Arc<EpochSet>, id: NodeId) -> Result<Vec<Prepared>> {
    let Some(open) = set.writers.get(&id).and_then(Writers::get) else {
        return Ok(Vec::new());
    };
    let stats = &shared.graph.nodes[id].stats;
    let tasks: Vec<_> = match &open.lane {
        Lane::Cpu(lane) => lane
            .take()
            .into_iter()
            .map(|writer| {
                let stats = Arc::clone(stats);
                tokio::task::spawn_blocking(move || {
                    let began = Instant::now();
                    let finished = guarded("a writer", || writer.finish());
                    stats.add_busy(began);
                    finished.map(Written::from)
                })
            })
            .collect(),
        Lane::Io(lane) => {
            tokio::select! {
                drained = lane.drained() => drained?,
                // It may take long, and nothing of it is kept when the attempt ends.
                () = shared.around.cancel.cancelled() => return Err(closed(Closed)),
            }
            let finish = |writer: Box<dyn IoWriter>| async {
                guarded_async("a writer", async { writer.finish().await }).await
            };
            let writers = lane.take().into_iter();
            writers.map(|writer| tokio::spawn(finish(writer))).collect()
        }
    };
    let mut failed: Option<Error> = None;
    // All are waited for, also after one has failed: none may continue beside what comes then.
    for task in tasks {
        let finished = match task.await {
            Ok(Ok(written)) => carry(shared, set, id, written).await,
            Ok(Err(error)) => Err(error),
            Err(error) => Err(Error::internal("a writer did not end").because(error)),
        };
        if let Err(error) = finished {
            failed.get_or_insert(error);
        }
    }
    if let Some(error) = failed {
        return Err(error);
    }
    let began = Instant::now();
    let sealed = guarded_async("sealing an epoch", open.epoch.seal()).await?;
    stats.add_busy(began);
    let written = Written {
        rejected: sealed.rejected,
        answers: sealed.answers,
    };
    carry(shared, set, id, written).await?;
    Ok(sealed.prepared)
}

/// Gives up what an epoch's writers have begun.
pub(super) async fn abandon(set: &EpochSet) {
    for writers in set.writers.values() {
        writers.abandon().await;
    }
}

/// Passes what a writer rejected late, and what it was answered, to whoever reads that.
pub(super) async fn carry(
    shared: &Arc<Shared>,
    set: &Arc<EpochSet>,
    id: NodeId,
    written: Written,
) -> Result<()> {
    if written.is_empty() {
        return Ok(());
    }
    let (shared, set) = (Arc::clone(shared), Arc::clone(set));
    let carry = move || {
        let mut carrier = Carrier::new(&shared, set, 0);
        carrier.reject(id, written.rejected)?;
        carrier.answer(id, &written.answers)?;
        carrier.flush()
    };
    let carried = tokio::task::spawn_blocking(carry).await;
    carried.map_err(|error| {
        Error::internal("what a sink gave could not be passed on").because(error)
    })?
}
