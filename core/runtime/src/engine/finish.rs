//! The end of an epoch: stages, seal, checkpoint, commit, acknowledge.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Instant;

use arrow_schema::SchemaRef;
use futures::future::join_all;
use tidegate_core::{
    Acknowledged, Commit, ComponentId, Epoch, Error, IoWriter, Offset, Prepared, Rejected, Replay,
    Result, Sink, SplitId, StreamName, Visibility,
};
use tokio::runtime::Handle;

use super::acknowledge::Acknowledgements;
use super::exchange::{Lane, Writers};
use super::flow::{Carrier, EpochSet};
use super::panics::{guarded, guarded_async};
use super::queue::{Closed, SplitKey};
use super::shared::{Shared, closed};
use super::stage;
use crate::graph::{Body, NodeId};
use crate::retry;
use crate::state::{Change, Checkpoint, prepared_by};

/// An epoch that was cut, on its way to being committed.
pub(crate) struct Ending {
    pub(crate) set: Arc<EpochSet>,
    pub(crate) last: bool,
    /// Where stages run, if they do in this epoch.
    pub(crate) stages: Option<Handle>,
    pub(crate) offsets: Vec<(SplitKey, SplitId, Offset)>,
    pub(crate) finished: Vec<(SplitKey, SplitId, Option<Offset>)>,
    pub(crate) revoked: Vec<(SplitKey, SplitId, Option<Offset>)>,
    pub(crate) schemas: Vec<(NodeId, StreamName, SchemaRef)>,
    /// Rows of splits that were rejected before they came to a sink or a stage.
    pub(crate) rejected: BTreeMap<SplitKey, u64>,
    /// What sources couldn't be told so far.
    pub(crate) unacknowledged: Acknowledgements,
    /// What sinks that show their rows at the end of the run prepared in earlier epochs.
    pub(crate) kept: BTreeMap<ComponentId, Vec<Prepared>>,
}

/// What came of it.
pub(crate) struct Ended {
    pub(crate) kept: BTreeMap<ComponentId, Vec<Prepared>>,
    pub(crate) finished: Vec<(SplitKey, SplitId, Option<Offset>)>,
    /// What sources couldn't be told.
    pub(crate) unacknowledged: Acknowledgements,
}

/// Tells sources what was committed before this attempt, which they may not have been told.
pub(crate) async fn remind(
    shared: Arc<Shared>,
    mut unacknowledged: Acknowledgements,
    kept: BTreeMap<ComponentId, Vec<Prepared>>,
) -> Result<Ended> {
    unacknowledged.tell(&shared, false).await;
    Ok(Ended {
        kept,
        finished: Vec::new(),
        unacknowledged,
    })
}

/// Ends an epoch. After an error it is unknown whether the checkpoint was stored: the state tells.
pub(crate) async fn finish(shared: Arc<Shared>, ending: Ending) -> Result<Ended> {
    let Ending {
        set,
        last,
        stages,
        offsets,
        finished,
        revoked,
        schemas,
        rejected,
        mut unacknowledged,
        mut kept,
    } = ending;
    let graph = &shared.graph;
    let epoch = set.epoch;
    if let Some(cpu) = stages {
        let ran = tokio::select! {
            ran = stage::run_all(&shared, &set, &cpu) => ran,
            // A stage may take long, and nothing of it is kept when the attempt ends.
            () = shared.around.cancel.cancelled() => Err(closed(Closed)),
        };
        if let Err(error) = ran {
            abandon(&set).await;
            return Err(error);
        }
    }
    let mut prepared: Vec<(ComponentId, Prepared)> = Vec::new();
    let mut newly_kept: Vec<(ComponentId, Prepared)> = Vec::new();

    for &id in &graph.order {
        let Body::Sink { sink, .. } = &graph.nodes[id].body else {
            continue;
        };
        let component = shared.id(id).clone();
        let values = match seal(&shared, &set, id).await {
            Ok(values) => values,
            Err(error) => {
                abandon(&set).await;
                return Err(error.with("component", &component));
            }
        };
        let values = values.into_iter().map(|value| (component.clone(), value));
        match sink.visibility() {
            Visibility::Epoch => prepared.extend(values),
            Visibility::Run => newly_kept.extend(values),
        }
    }
    for (component, value) in &newly_kept {
        kept.entry(component.clone())
            .or_default()
            .push(value.clone());
    }
    if last {
        for (_, node, sink) in graph.sinks().filter(|(_, _, sink)| is_run(sink)) {
            let all = kept.entry(node.spec.id.clone()).or_default();
            let concluded = guarded_async("concluding a run", sink.conclude(all)).await;
            if let Some(value) = concluded.map_err(|e| e.with("component", &node.spec.id))? {
                all.push(value.clone());
                newly_kept.push((node.spec.id.clone(), value));
            }
        }
    }

    // The others' positions mean something to this process alone: they are acknowledged below.
    let name = |node: NodeId| shared.id(node).clone();
    let is_stored = |node: NodeId| graph.replay(node).is_some_and(Replay::is_stored);
    let checkpoint = Checkpoint {
        epoch,
        last,
        offsets: offsets
            .iter()
            .filter(|(key, ..)| is_stored(key.source))
            .map(|(key, split, offset)| (name(key.source), split.clone(), offset.clone()))
            .collect(),
        finished: finished
            .iter()
            .map(|(key, split, offset)| (name(key.source), split.clone(), offset.clone()))
            .collect(),
        schemas: schemas
            .iter()
            .map(|(node, stream, schema)| (name(*node), stream.clone(), schema.as_ref().clone()))
            .collect(),
        prepared: prepared.clone(),
        kept: newly_kept,
    };
    shared.apply(Change::Checkpoint(checkpoint)).await?;
    shared.stats.keep_rejected(&set.rejected);
    tracing::debug!(%epoch, last, "checkpoint stored");

    let mut settled = Vec::new();
    let mut commits = Vec::new();
    for (_, node, sink) in graph.sinks() {
        let id = &node.spec.id;
        let values: Vec<Prepared> = match (sink.visibility(), last) {
            (Visibility::Run, false) => continue,
            (Visibility::Run, true) => kept.get(id).cloned().unwrap_or_default(),
            (Visibility::Epoch, _) => prepared_by(&prepared, id),
        };
        settled.push(id.clone());
        if values.is_empty() && !last {
            continue;
        }
        let shared = &shared;
        commits.push(async move {
            let began = Instant::now();
            commit(shared, sink.as_ref(), id, epoch, last, &values).await?;
            node.stats.add_busy(began);
            Ok(())
        });
    }
    // All come to their end, also after one has failed: none is cut off in its middle.
    let committed = join_all(commits).await;
    committed.into_iter().collect::<Result<()>>()?;
    shared
        .apply(Change::Committed {
            epoch,
            settled,
            last,
        })
        .await?;
    shared.stats.add_epoch();
    tracing::debug!(%epoch, "committed");

    let moved = offsets.iter().map(|(key, split, offset)| {
        let offset = Some(offset.clone());
        (*key, split, offset, false)
    });
    let ended = finished.iter().chain(&revoked).map(|(key, split, offset)| {
        let offset = offset.clone();
        (*key, split, offset, true)
    });
    for (key, split, offset, finished) in moved.chain(ended) {
        let acknowledged = Acknowledged {
            split: split.clone(),
            offset,
            finished,
            rejected: rejected.get(&key).copied().unwrap_or(0),
        };
        unacknowledged.add(key.source, acknowledged);
    }
    unacknowledged.tell(&shared, last).await;
    Ok(Ended {
        kept,
        finished,
        unacknowledged,
    })
}

fn is_run(sink: &Arc<dyn Sink>) -> bool {
    sink.visibility() == Visibility::Run
}

/// Lets all writers of a sink finish, each on a thread that may block or on the I/O runtime, and
/// seals its epoch. What is rejected late goes to the sinks that read it, which are sealed after
/// this one.
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
                    finished
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
    // All are waited for, also after one has failed: none may go on beside what comes then.
    for task in tasks {
        let finished = match task.await {
            Ok(Ok(rejected)) => carry(shared, set, id, rejected).await,
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
    carry(shared, set, id, sealed.rejected).await?;
    Ok(sealed.prepared)
}

/// Gives up what an epoch's writers have begun.
pub(super) async fn abandon(set: &EpochSet) {
    for writers in set.writers.values() {
        writers.abandon().await;
    }
}

/// Passes rows that a writer rejected late to whoever reads them.
pub(super) async fn carry(
    shared: &Arc<Shared>,
    set: &Arc<EpochSet>,
    id: NodeId,
    rejected: Rejected,
) -> Result<()> {
    if rejected.is_empty() {
        return Ok(());
    }
    let (shared, set) = (Arc::clone(shared), Arc::clone(set));
    let carry = move || {
        let mut carrier = Carrier::new(&shared, set, 0);
        carrier.reject(id, rejected)?;
        carrier.flush()
    };
    let carried = tokio::task::spawn_blocking(carry).await;
    carried.map_err(|error| Error::internal("rejected rows got lost").because(error))?
}

/// Commits, as often as it takes while the error is a passing one. The fence is looked at before
/// each try.
async fn commit(
    shared: &Shared,
    sink: &dyn Sink,
    id: &ComponentId,
    epoch: Epoch,
    last: bool,
    values: &[Prepared],
) -> Result<()> {
    let around = &shared.around;
    let Some((state, fence)) = &around.state else {
        return Err(Error::internal("a run without a state came to a commit"));
    };
    let commit = Commit {
        pipeline: &around.pipeline,
        lineage: around.lineage,
        run: around.run,
        epoch,
        last,
        prepared: values,
    };
    retry::passing_until(
        &around.cancel,
        around.runtime.attempts,
        id.as_str(),
        || async {
            state.verify(&around.pipeline, *fence).await?;
            guarded_async("a commit", sink.commit(&commit)).await
        },
    )
    .await
    .map_err(|error| error.with("component", id))
}
