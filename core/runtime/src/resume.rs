//! How a run takes up what the state remembers: what it is refused for, what it forgets, and what it
//! looks at again. `tidegate check` tells the same, and changes nothing.

use std::collections::BTreeSet;
use std::path::Path;
use std::sync::Arc;

use tidegate_core::{
    Changed, ComponentConfig, ComponentId, Error, Kind, Plan, PlannedSplit, Replay, Result,
    Revision, guarded_async,
};

use crate::graph::Graph;
use crate::refresh;
use crate::state::{Change, Fence, PipelineState, RunState, StateStore, StoredComponent};
use crate::stored::differences;

/// What to do with a run that an earlier process didn't finish.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub enum Resume {
    /// Go on with it, if the pipeline is still the same; refuse if it isn't.
    #[default]
    IfUnchanged,
    /// Go on with it, with the pipeline as it is now.
    Anyway,
    /// Give up what it hasn't committed, and start over. A source that can't use what it remembers
    /// (its type changed) forgets it.
    Restart,
}

/// What a run does first.
#[derive(Debug)]
pub(crate) struct Taken<'a> {
    /// The run that continues, and whether the file has changed since. `None`: a new one begins.
    pub(crate) run: Option<(&'a RunState, bool)>,
    /// Sources whose memory is no use to them any more.
    pub(crate) forgotten: Vec<ComponentId>,
}

/// Decides how to take up a state, without opening anything. `restart`: an unfinished run is given up.
/// `refreshed`: the sources that a full refresh is to begin with, which needs a new run.
///
/// Errors: `Config` or `Conflict` where the user has to say what is to be done.
pub(crate) fn take_up<'a>(
    state: &'a PipelineState,
    components: &[StoredComponent],
    configs: &[ComponentConfig],
    restart: bool,
    resume: Resume,
    refreshed: &BTreeSet<ComponentId>,
) -> Result<Taken<'a>> {
    let unfinished = state.run.as_ref().filter(|run| !run.finished && !restart);
    let changed = unfinished.map(|run| (run, differences(&run.components, components)));
    // A user who corrects what made a run fail before its first checkpoint needs no flag.
    let stays = |changed: &[String]| changed.is_empty() && refreshed.is_empty();
    let run = changed.filter(|(run, changed)| run.checkpointed || stays(changed));
    if let Some((run, changed)) = &run {
        if !refreshed.is_empty() {
            return Err(refresh::in_the_middle());
        }
        if !changed.is_empty() && resume == Resume::IfUnchanged {
            return Err(changed_pipeline(changed));
        }
        if let Some((sink, keys)) = kept_elsewhere(state, run, components) {
            return Err(changed_sink(&sink, &keys));
        }
    }
    let asked = match run {
        Some(_) => resume == Resume::Anyway,
        None => resume == Resume::Restart,
    };
    let mut forgotten = Vec::new();
    for (component, config) in components.iter().zip(configs) {
        let ComponentConfig::Source(config) = config else {
            continue;
        };
        if refreshed.contains(&component.id) {
            continue;
        }
        let Some(known) = state.sources.get(&component.id) else {
            continue;
        };
        let gives_up = run.is_none() && state.run.as_ref().is_some_and(|run| !run.finished);
        let plan = match gives_up {
            true => known.plan_before.as_ref(),
            false => known.plan.as_ref(),
        };
        let Some(plan) = plan else {
            continue;
        };
        let mut before = state.run.iter().flat_map(|run| &run.components);
        let before = before.find(|one| one.id == component.id && one.kind == Kind::Source);
        let error = match before.map(StoredComponent::tag) {
            Some(tag) if tag != component.tag() => {
                // Nothing is lost with a memory of nothing, and splits can't be read by another type.
                if plan.is_empty() && run.is_none() {
                    forgotten.push(component.id.clone());
                    continue;
                }
                other_type(component, tag)
            }
            _ => match config.understands(plan) {
                Ok(()) => continue,
                Err(error) => other_version(component, error),
            },
        };
        if !asked {
            return Err(error);
        }
        forgotten.push(component.id.clone());
    }
    Ok(Taken {
        run: run.map(|(run, changed)| (run, !changed.is_empty())),
        forgotten,
    })
}

/// Refuses a state that another pipeline file has made, and that is still there.
///
/// Errors: `Config`.
pub(crate) fn check_owner(state: &PipelineState, name: &str, file: &Path) -> Result<()> {
    let owner = state.run.as_ref().and_then(|run| run.file.as_deref());
    let Some(owner) = owner.map(Path::new) else {
        return Ok(());
    };
    if is_same_file(owner, file) || !owner.exists() {
        return Ok(());
    }
    Err(Error::config(format!(
        "the name `{name}` belongs to another pipeline file"
    ))
    .with("owner", owner.display())
    .with("file", file.display())
    .hint(
        "pipelines that share a place of states need names of their own: set `name`, or \
                 another place with --state. If this file is to go on in the place of that one: \
                 --adopt",
    ))
}

pub(crate) fn is_same_file(one: &Path, other: &Path) -> bool {
    let real = |path: &Path| path.canonicalize().ok();
    one == other || real(one).is_some_and(|one| real(other) == Some(one))
}

/// Asks the sources of a run anew whose snapshot was lost with the process or the attempt before, and
/// looks again at what the others had planned. Nothing of it is read yet.
pub(crate) async fn look_again(
    graph: &Graph,
    store: &Arc<dyn StateStore>,
    pipeline: &str,
    fence: Fence,
    state: PipelineState,
    changed: Changed,
) -> Result<PipelineState> {
    let checkpointed = state.run.as_ref().is_none_or(|run| run.checkpointed);
    let mut changes = Vec::new();
    let mut replanned = BTreeSet::new();
    for (node, source, ..) in graph.sources() {
        let is_session = graph.replay(node) == Some(Replay::Session);
        let known = state.sources.get(&source.spec.id);
        // Nothing of such a run is in a checkpoint before its end.
        if is_session && !checkpointed && known.is_some_and(|known| !known.splits.is_empty()) {
            replanned.insert(source.spec.id.clone());
        }
    }
    for (source, plan) in revised(graph, &state, changed).await? {
        if checkpointed {
            tracing::info!(component = %source, "what was planned has changed, and is read as it is now");
            changes.push(Change::Planned {
                source,
                plan: plan.state,
                next: plan.next,
                new: plan.new,
                told: Vec::new(),
                revoked: plan.revoked,
            });
        } else {
            replanned.insert(source);
        }
    }
    let replanned = replanned.into_iter();
    changes.extend(replanned.map(|source| Change::Replan { source }));
    if changes.is_empty() {
        return Ok(state);
    }
    for change in changes {
        store.apply(pipeline, fence, change).await?;
    }
    let now = store.load(pipeline).await?;
    now.ok_or_else(|| Error::internal("the pipeline's state is gone"))
}

/// What sources find different from what they had planned in a run that isn't finished.
pub(crate) async fn revised(
    graph: &Graph,
    state: &PipelineState,
    changed: Changed,
) -> Result<Vec<(ComponentId, Plan)>> {
    let mut found = Vec::new();
    for (node, component, source, _) in graph.sources() {
        let (id, scans) = (&component.spec.id, graph.scans(node));
        let Some(known) = state.sources.get(id).filter(|_| !scans.is_empty()) else {
            continue;
        };
        if known.splits.iter().all(|split| split.finished) {
            continue;
        }
        let splits = known.splits.iter().map(|known| PlannedSplit {
            split: &known.split,
            offset: known.offset.as_ref(),
            finished: known.finished,
        });
        let splits: Vec<_> = splits.collect();
        let revision = Revision {
            scans: &scans,
            state: known.plan.as_ref(),
            splits: &splits,
            changed,
        };
        let revising = guarded_async("a source that looks again", source.revise(&revision));
        let plan = revising
            .await
            .map_err(|error| error.with("component", id))?;
        found.extend(plan.map(|plan| (id.clone(), plan)));
    }
    Ok(found)
}

/// A sink that has rows kept for the end of the run, and another configuration than they were
/// prepared with; and the keys that differ.
fn kept_elsewhere(
    state: &PipelineState,
    run: &RunState,
    now: &[StoredComponent],
) -> Option<(ComponentId, Vec<String>)> {
    let kept: BTreeSet<&ComponentId> = state.kept.iter().map(|(sink, _)| sink).collect();
    kept.into_iter().find_map(|sink| {
        let of = |components: &[StoredComponent]| {
            let own = components.iter().filter(|component| component.id == *sink);
            own.cloned().collect::<Vec<_>>()
        };
        let changed = differences(&of(&run.components), &of(now));
        (!changed.is_empty()).then(|| (sink.clone(), changed))
    })
}

fn changed_sink(sink: &ComponentId, changed: &[String]) -> Error {
    Error::config(format!(
        "sink `{sink}` was changed while it has rows that are shown at the end of the run"
    ))
    .with("changed", changed.join(", "))
    .hint(
        "change it back, so that the run can end; or give up what the run has prepared and start \
         over: --restart",
    )
}

fn changed_pipeline(changed: &[String]) -> Error {
    Error::config("the pipeline was changed in the middle of a run")
        .with("changed", changed.join(", "))
        .hint(
            "what that run had prepared is committed. To go on with the new pipeline from where it \
             stopped: --resume-anyway. To give up what it hasn't committed and start over: --restart",
        )
}

fn other_type(component: &StoredComponent, before: &str) -> Error {
    let (id, tag) = (&component.id, component.tag());
    Error::config(format!(
        "source `{id}` is of type `{tag}` now, and remembers what it read as one of type `{before}`"
    ))
    .with("component", id)
    .with("key", "type")
    .hint(
        "put the type back; or give the source another name, which begins without a memory; or let \
         this source alone forget, and read everything from the beginning: --restart",
    )
}

fn other_version(component: &StoredComponent, error: Error) -> Error {
    Error::conflict(format!(
        "what source `{}` remembers was written by another version of Tidegate, or of type `{}`",
        component.id,
        component.tag()
    ))
    .because(error)
    .hint(
        "run it with the version that wrote it; or let this source alone forget, and read everything \
         from the beginning: --restart",
    )
}
