//! What comes before an attempt: replay what was stored, discard what was only begun.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use tidegate_core::{
    Commit, ComponentId, Error, Kind, Recovery, Result, RunId, Sink, Token, Visibility,
    guarded_async,
};

use crate::graph::Surroundings;
use crate::retry;
use crate::state::{
    Begun, Change, Fence, PipelineState, RunState, StateStore, StoredComponent, prepared_by,
};
use crate::stats::ComponentStats;
use crate::stored::restore;

/// Brings the state in order with the **stored** configuration, because what was prepared was
/// prepared under that one: replays the commits of stored epochs, then discards what was begun and
/// is not kept.
///
/// `gives_up` says of which sinks the rows that were kept for the end of the run are given up too:
/// of all when the run is restarted, or of those that the pipeline no longer has.
pub(crate) async fn recover(
    around: &Surroundings,
    store: &Arc<dyn StateStore>,
    fence: Fence,
    gives_up: impl Fn(&ComponentId) -> bool,
) -> Result<Option<PipelineState>> {
    let pipeline = &*around.pipeline;
    let Some(state) = store.load(pipeline).await? else {
        return Ok(None);
    };
    let Some(run) = &state.run else {
        return Ok(Some(state));
    };
    let around = Surroundings {
        run: run.id,
        ..around.clone()
    };
    let mut sinks = Sinks {
        around: &around,
        run,
        open: BTreeMap::new(),
    };
    let settled = settle(&mut sinks, &state, run, store, fence, gives_up).await;
    sinks.close().await;
    settled?;
    store.load(pipeline).await
}

/// Replays and discards.
async fn settle(
    sinks: &mut Sinks<'_>,
    state: &PipelineState,
    run: &RunState,
    store: &Arc<dyn StateStore>,
    fence: Fence,
    gives_up: impl Fn(&ComponentId) -> bool,
) -> Result<()> {
    let around = sinks.around;
    let pipeline = &*around.pipeline;
    for stored in &state.epochs {
        let sinks_of_run = run.components.iter().filter(|c| c.kind == Kind::Sink);
        let known: Vec<&ComponentId> = sinks_of_run.map(|component| &component.id).collect();
        for (id, _) in &stored.prepared {
            if !known.contains(&id) {
                return Err(unknown_sink(id));
            }
        }
        let mut settled = Vec::new();
        // In the order of the file, in which a run begins its sinks' commits (they go on beside
        // each other there), and with the same sinks settled.
        for id in known {
            let mut prepared = prepared_by(&stored.prepared, id);
            let has_begun = |begun: &Begun| begun.sink == *id && begun.epoch <= stored.epoch;
            if prepared.is_empty() && !stored.last && !state.journal.iter().any(has_begun) {
                continue;
            }
            let sink = sinks.get(id).await?;
            match (sink.visibility(), stored.last) {
                (Visibility::Run, false) => continue,
                (Visibility::Run, true) => prepared = prepared_by(&state.kept, id),
                (Visibility::Epoch, _) => {}
            }
            settled.push(id.clone());
            if prepared.is_empty() && !stored.last {
                continue;
            }
            let commit = Commit {
                pipeline,
                lineage: state.lineage,
                run: run.id,
                epoch: stored.epoch,
                last: stored.last,
                prepared: &prepared,
            };
            retry::passing(around.runtime.attempts, id.as_str(), || async {
                store.verify(pipeline, fence).await?;
                sink.commit(&commit).await
            })
            .await
            .map_err(|error| error.with("component", id))?;
        }
        tracing::info!(epoch = %stored.epoch, "committed an epoch that an earlier process had stored");
        let change = Change::Committed {
            epoch: stored.epoch,
            settled,
            last: stored.last,
        };
        store.apply(pipeline, fence, change).await?;
    }

    let Some(state) = store.load(pipeline).await? else {
        return Ok(());
    };
    let kept: BTreeSet<&ComponentId> = state.kept.iter().map(|(id, _)| id).collect();
    for sink in kept.into_iter().filter(|sink| gives_up(sink)) {
        let change = Change::Forsake { sink: sink.clone() };
        store.apply(pipeline, fence, change).await?;
    }
    let begun: BTreeSet<&ComponentId> = state.journal.iter().map(|begun| &begun.sink).collect();
    for id in begun {
        let keep = if gives_up(id) {
            Vec::new()
        } else {
            prepared_by(&state.kept, id)
        };
        let begun: Vec<Token> = state
            .journal
            .iter()
            .filter(|begun| begun.sink == *id)
            .map(|begun| begun.token.clone())
            .collect();
        let sink = sinks.get(id).await?;
        let recovery = Recovery {
            keep: &keep,
            begun: &begun,
        };
        retry::passing(around.runtime.attempts, id.as_str(), || {
            guarded_async("recovering a sink", sink.recover(&recovery))
        })
        .await
        .map_err(|error| error.with("component", id))?;
        // While something is kept, its tokens stay: a restart of the run must find it.
        if keep.is_empty() {
            store
                .apply(pipeline, fence, Change::Recovered { sink: id.clone() })
                .await?;
        }
    }
    Ok(())
}

/// The sinks of a stored run, opened when they are needed.
struct Sinks<'a> {
    around: &'a Surroundings,
    run: &'a RunState,
    open: BTreeMap<ComponentId, Arc<dyn Sink>>,
}

impl Sinks<'_> {
    async fn get(&mut self, id: &ComponentId) -> Result<Arc<dyn Sink>> {
        if let Some(sink) = self.open.get(id) {
            return Ok(Arc::clone(sink));
        }
        let stored = self
            .run
            .components
            .iter()
            .find(|component| component.id == *id);
        let stored = stored.ok_or_else(|| unknown_sink(id))?;
        let stats = ComponentStats::new(id.clone(), Kind::Sink, "");
        let cx =
            self.around
                .sink_context(id, &stats, self.around.runtime.memory.0, Vec::new(), false);
        let sink = restore(&self.around.registry, stored)?
            .open(&cx)
            .await
            .map_err(|error| {
                error.with("component", id).hint(
                "an earlier run's sink must be reachable, so that what it prepared is committed",
            )
            })?;
        self.open.insert(id.clone(), Arc::clone(&sink));
        Ok(sink)
    }

    async fn close(self) {
        for (id, sink) in self.open {
            if let Err(error) = sink.close().await {
                tracing::warn!(component = %id, %error, "could not be closed");
            }
        }
    }
}

fn unknown_sink(id: &ComponentId) -> Error {
    Error::conflict("the state has an epoch of a sink that it doesn't know").with("component", id)
}

/// A run with the components of the file.
pub(crate) fn new_run(
    components: Vec<StoredComponent>,
    file: Option<String>,
    refreshed: BTreeSet<ComponentId>,
) -> RunState {
    RunState {
        id: RunId::new(),
        finished: false,
        checkpointed: false,
        components,
        file,
        refreshed,
    }
}
