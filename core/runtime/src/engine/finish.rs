//! The end of an epoch: what executors have sealed is stored in a checkpoint, committed, and told to
//! the sources.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Instant;

use arrow_schema::SchemaRef;
use futures::future::join_all;
use tidegate_core::{
    Acknowledged, Commit, ComponentId, Epoch, Offset, Prepared, Replay, Result, Sink, SplitId,
    StreamName, Visibility, guarded_async,
};
use tokio::sync::oneshot;

use super::acknowledge::Acknowledgements;
use super::common::Common;
use super::message::Sealed;
use super::queue::{Closed, SplitKey};
use super::shared::closed;
use crate::graph::NodeId;
use crate::retry;
use crate::state::{Change, Checkpoint, prepared_by};

/// An epoch that was cut, on its way to being committed.
pub(crate) struct Ending {
    pub(crate) epoch: Epoch,
    pub(crate) last: bool,
    /// What each executor has sealed, when all have.
    pub(crate) sealed: oneshot::Receiver<Vec<Sealed>>,
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
    common: Arc<Common>,
    mut unacknowledged: Acknowledgements,
    kept: BTreeMap<ComponentId, Vec<Prepared>>,
) -> Result<Ended> {
    unacknowledged.tell(&common, false).await;
    Ok(Ended {
        kept,
        finished: Vec::new(),
        unacknowledged,
    })
}

/// Ends an epoch. After an error it is unknown whether the checkpoint was stored: the state tells.
pub(crate) async fn finish(common: Arc<Common>, ending: Ending) -> Result<Ended> {
    let Ending {
        epoch,
        last,
        sealed,
        offsets,
        finished,
        revoked,
        schemas,
        rejected,
        mut unacknowledged,
        mut kept,
    } = ending;
    let graph = &common.graph;
    // Nobody answers when the attempt has ended.
    let sealed = sealed.await.map_err(|_| closed(Closed))?;
    let mut prepared: Vec<(ComponentId, Prepared)> = Vec::new();
    let mut newly_kept: Vec<(ComponentId, Prepared)> = Vec::new();
    for (_, node, sink) in graph.sinks() {
        let id = &node.spec.id;
        let values = sealed.iter().flat_map(|sealed| &sealed.prepared);
        let values = values.filter(|(sink, _)| sink == id).cloned();
        match is_run(sink) {
            false => prepared.extend(values),
            true => newly_kept.extend(values),
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
    let name = |node: NodeId| common.id(node).clone();
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
    common.apply(Change::Checkpoint(checkpoint)).await?;
    for sealed in &sealed {
        common.stats.keep_rejected(&sealed.rejected);
    }
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
        let common = &common;
        commits.push(async move {
            let began = Instant::now();
            commit(common, sink.as_ref(), id, epoch, last, &values).await?;
            node.stats.add_busy(began);
            Ok(())
        });
    }
    // All come to their end, also after one has failed: none is cut off in its middle.
    let committed = join_all(commits).await;
    committed.into_iter().collect::<Result<()>>()?;
    common
        .apply(Change::Committed {
            epoch,
            settled,
            last,
        })
        .await?;
    common.stats.add_epoch();
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
    unacknowledged.tell(&common, last).await;
    Ok(Ended {
        kept,
        finished,
        unacknowledged,
    })
}

fn is_run(sink: &Arc<dyn Sink>) -> bool {
    sink.visibility() == Visibility::Run
}

/// Commits, as often as it takes while the error is a passing one. The fence is looked at before
/// each try.
async fn commit(
    common: &Common,
    sink: &dyn Sink,
    id: &ComponentId,
    epoch: Epoch,
    last: bool,
    values: &[Prepared],
) -> Result<()> {
    let around = &common.around;
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
            common.verify().await?;
            guarded_async("a commit", sink.commit(&commit)).await
        },
    )
    .await
    .map_err(|error| error.with("component", id))
}
