//! The end of an epoch: stages, prepare, checkpoint, commit, acknowledge.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Instant;

use arrow_schema::SchemaRef;
use futures::future::join_all;
use tidegate_core::{
    Acknowledged, Commit, ComponentId, Epoch, Error, Offset, Prepared, Rejected, Replay, Result,
    Sink, SplitId, StreamName, Visibility,
};
use tokio::runtime::Handle;

use super::acknowledge::Acknowledgements;
use super::flow::{Carrier, EpochSet};
use super::queue::{Closed, SplitKey};
use super::shared::{Shared, closed};
use super::stage;
use crate::graph::{Body, Graph, NodeId};
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
        let values = match prepare(&shared, &set, id).await {
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
            let concluded = sink.conclude(all).await;
            if let Some(value) = concluded.map_err(|e| e.with("component", &node.spec.id))? {
                all.push(value.clone());
                newly_kept.push((node.spec.id.clone(), value));
            }
        }
    }

    // The others' positions mean something to this process alone: they are acknowledged below.
    let stored: Vec<ComponentId> = graph
        .sources()
        .filter(|(id, ..)| graph.replay(*id).is_some_and(Replay::is_stored))
        .map(|(_, node, ..)| node.spec.id.clone())
        .collect();
    let checkpoint = Checkpoint {
        epoch,
        last,
        offsets: named(graph, &offsets, |(key, split, offset)| {
            (key.source, (split.clone(), offset.clone()))
        })
        .filter(|(id, _)| stored.contains(id))
        .map(|(id, (split, offset))| (id, split, offset))
        .collect(),
        finished: named(graph, &finished, |(key, split, offset)| {
            (key.source, (split.clone(), offset.clone()))
        })
        .map(|(id, (split, offset))| (id, split, offset))
        .collect(),
        schemas: named(graph, &schemas, |(node, stream, schema)| {
            (*node, (stream.clone(), schema))
        })
        .map(|(id, (stream, schema))| (id, stream, schema.as_ref().clone()))
        .collect(),
        prepared: prepared.clone(),
        kept: newly_kept,
    };
    shared.apply(Change::Checkpoint(checkpoint)).await?;
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

fn named<'a, T, U>(
    graph: &'a Graph,
    items: &'a [T],
    split: impl Fn(&'a T) -> (NodeId, U) + 'a,
) -> impl Iterator<Item = (ComponentId, U)> + 'a {
    items.iter().map(move |item| {
        let (node, rest) = split(item);
        (graph.nodes[node].spec.id.clone(), rest)
    })
}

fn is_run(sink: &Arc<dyn Sink>) -> bool {
    sink.visibility() == Visibility::Run
}

/// Prepares all writers of a sink, each on a thread that may block; what they reject late goes to
/// the sinks that read it, which are prepared after this one.
async fn prepare(shared: &Arc<Shared>, set: &Arc<EpochSet>, id: NodeId) -> Result<Vec<Prepared>> {
    let Some(writers) = set.writers.get(&id) else {
        return Ok(Vec::new());
    };
    let stats = &shared.graph.nodes[id].stats;
    let tasks: Vec<_> = writers
        .take()
        .into_iter()
        .map(|writer| {
            let (runtime, stats) = (shared.runtime.clone(), Arc::clone(stats));
            tokio::task::spawn_blocking(move || {
                let began = Instant::now();
                let sealed = runtime.block_on(writer.prepare());
                stats.add_busy(began);
                sealed
            })
        })
        .collect();
    let mut values = Vec::new();
    let mut failed: Option<Error> = None;
    // All are waited for, also after one has failed: none may go on beside what comes then.
    for task in tasks {
        let prepared = match task.await {
            Err(error) => Err(panicked(error)),
            Ok(Err(error)) => Err(error),
            Ok(Ok(sealed)) => {
                values.extend(sealed.prepared);
                carry(shared, set, id, sealed.rejected).await
            }
        };
        if let Err(error) = prepared {
            failed.get_or_insert(error);
        }
    }
    failed.map_or(Ok(values), Err)
}

/// Gives up what an epoch's writers have begun.
pub(super) async fn abandon(set: &EpochSet) {
    for writers in set.writers.values() {
        for writer in writers.take() {
            writer.abandon().await;
        }
    }
}

/// Passes rows that a writer rejected late to whoever reads them.
async fn carry(
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
        let runtime = shared.runtime.clone();
        let mut carrier = Carrier::new(&shared.graph, set, runtime, 0);
        carrier.reject(id, rejected)?;
        carrier.flush()
    };
    let carried = tokio::task::spawn_blocking(carry).await;
    carried.map_err(panicked)?
}

fn panicked(error: tokio::task::JoinError) -> Error {
    Error::internal("a writer panicked")
        .hint("this is a bug; the message above says where")
        .because(error)
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
            sink.commit(&commit).await
        },
    )
    .await
    .map_err(|error| error.with("component", id))
}
