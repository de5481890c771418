//! What a pipeline is made to forget between two runs, because somebody asks for it.
//!
//! The pipeline's ID and its epochs stay: by these, sinks know what they have committed. What a run
//! has left to commit or to discard is its sinks' and is settled by a run; until then all is refused.

use std::collections::BTreeMap;
use std::sync::Arc;

use serde_json::Value;
use tidegate_core::{ComponentId, Error, Kind, Next, PlanState, Registry, Result, RunId};

use crate::state::{Change, Fence, PipelineState, RunState, SourceState, SplitState, StateStore};
use crate::stored::restore_source;

/// What is to be forgotten.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum ResetScope {
    /// What all sources remember, and an unfinished run.
    Pipeline,
    /// What one source remembers.
    Source(String),
    /// A stream or a file that a source remembers, or a split of an unfinished run.
    Part(String, String),
}

/// What would be forgotten, by a state as it is.
#[derive(Debug)]
pub struct Reset {
    changes: Vec<Change>,
    forgotten: Vec<String>,
}

impl Reset {
    /// Decides what is forgotten; changes nothing.
    ///
    /// # Errors
    ///
    /// `NotFound` for a name that the state doesn't have; `Conflict` where the last run must be settled
    /// first.
    pub fn of(state: &PipelineState, registry: &Registry, scope: &ResetScope) -> Result<Self> {
        refuse_pending(state)?;
        let mut reset = Self {
            changes: Vec::new(),
            forgotten: Vec::new(),
        };
        match scope {
            ResetScope::Pipeline => {
                for (id, known) in &state.sources {
                    reset.forget(state, registry, id, known);
                }
                let unfinished = state.run.as_ref().filter(|run| !run.finished);
                if let Some(run) = unfinished.filter(|run| run.checkpointed) {
                    reset.forgotten.push("the unfinished run".to_owned());
                    reset.renew(run, false);
                }
            }
            ResetScope::Source(name) => {
                let (id, known) = source(state, name)?;
                reset.forget(state, registry, id, known);
                reset.renew_unfinished(state);
            }
            ResetScope::Part(name, part) => {
                let (id, known) = source(state, name)?;
                reset.forget_part(state, registry, id, known, part)?;
                reset.renew_unfinished(state);
            }
        }
        Ok(reset)
    }

    /// What is forgotten, for people; empty if there is nothing.
    pub fn forgotten(&self) -> &[String] {
        &self.forgotten
    }

    /// Has it forgotten, by the holder of the pipeline.
    ///
    /// # Errors
    ///
    /// Those of [`StateStore::apply`]. What was forgotten by then stays forgotten.
    pub async fn apply(
        self,
        store: &Arc<dyn StateStore>,
        pipeline: &str,
        fence: Fence,
    ) -> Result<()> {
        for change in self.changes {
            store.apply(pipeline, fence, change).await?;
        }
        Ok(())
    }

    fn forget(
        &mut self,
        state: &PipelineState,
        registry: &Registry,
        id: &ComponentId,
        known: &SourceState,
    ) {
        let begun = known.splits.iter().filter(|split| is_begun(split)).count();
        let remembers = [&known.plan, &known.plan_before].into_iter().flatten();
        let unfinished = state.run.as_ref().is_some_and(|run| !run.finished);
        if remembers.clone().all(PlanState::is_empty) && !(unfinished && begun > 0) {
            return;
        }
        let parts = parts_of(state, registry, id, known).unwrap_or_default();
        let mut about = Vec::new();
        if !parts.is_empty() {
            about.push(named(parts.keys()));
        }
        match begun {
            0 => {}
            _ if !unfinished => {}
            1 => about.push("1 split of the unfinished run".to_owned()),
            count => about.push(format!("{count} splits of the unfinished run")),
        }
        let about = match about.is_empty() {
            true => "what it has read".to_owned(),
            false => about.join("; "),
        };
        self.forgotten.push(format!("`{id}`: {about}"));
        self.changes.push(Change::Forget { source: id.clone() });
    }

    fn forget_part(
        &mut self,
        state: &PipelineState,
        registry: &Registry,
        id: &ComponentId,
        known: &SourceState,
        part: &str,
    ) -> Result<()> {
        let unfinished = state.run.as_ref().is_some_and(|run| !run.finished);
        let mut splits = known.splits.iter().filter(|_| unfinished);
        let planned = |plan, new, dropped: Vec<_>| Change::Planned {
            source: id.clone(),
            plan,
            next: known.next.unwrap_or(Next::Complete),
            new,
            told: dropped.clone(),
            revoked: dropped,
        };
        if let Some(found) = splits.find(|one| one.split.id.as_str() == part) {
            if is_begun(found) {
                let plan = known.plan.clone().ok_or_else(|| {
                    Error::internal("a source has splits and no plan").with("component", id)
                })?;
                let (split, gone) = (found.split.clone(), vec![found.split.id.clone()]);
                self.forgotten
                    .push(format!("`{id}`: how far split `{part}` was read"));
                self.changes.push(planned(plan, vec![split], gone));
            }
            return Ok(());
        }
        let parts = parts_of(state, registry, id, known)?;
        let without = under(state, registry, id)?
            .zip(known.plan.as_ref())
            .and_then(|(under, plan)| plan.without(under, part));
        let Some(without) = without else {
            let splits = known.splits.iter().filter(|_| unfinished);
            let splits: Vec<_> = splits.map(|one| one.split.id.to_string()).collect();
            let error = Error::not_found(format!(
                "source `{id}` remembers no stream, file or split of this name"
            ))
            .with("name", part);
            let names: Vec<_> = parts.keys().chain(&splits).collect();
            return Err(match names.is_empty() {
                true => error.hint("it can only forget as a whole: leave the name out"),
                false => error.hint(format!("it remembers: {}", named(names.into_iter()))),
            });
        };
        if unfinished {
            return Err(Error::conflict(format!(
                "`{part}` can't be forgotten in the middle of a run"
            ))
            .with("source", id)
            .hint(
                "let the run finish first; or let the whole source forget: leave the name of the \
                 part out",
            ));
        }
        self.forgotten.push(format!("`{id}`: {part}"));
        self.changes.push(planned(without, Vec::new(), Vec::new()));
        Ok(())
    }

    fn renew_unfinished(&mut self, state: &PipelineState) {
        let unfinished = state.run.as_ref().filter(|run| !run.finished);
        if let Some(run) = unfinished.filter(|_| !self.changes.is_empty()) {
            self.renew(run, run.checkpointed);
        }
    }

    /// Rows that a run reads twice must not have the idempotency keys that they had the first time: a
    /// server that knows these would leave out what has changed since. So it becomes another run.
    fn renew(&mut self, run: &RunState, checkpointed: bool) {
        let run = RunState {
            id: RunId::new(),
            checkpointed,
            ..run.clone()
        };
        self.changes.insert(0, Change::Reconfigure { run });
    }
}

/// What sources remember from run to run of each stream or file, by its name; without sources whose
/// memory can't be told apart.
pub fn remembered(
    state: &PipelineState,
    registry: &Registry,
) -> BTreeMap<ComponentId, BTreeMap<String, Value>> {
    let mut all = BTreeMap::new();
    for (id, known) in &state.sources {
        // Of a type that this program doesn't have nothing can be told.
        let parts = parts_of(state, registry, id, known).unwrap_or_default();
        if !parts.is_empty() {
            all.insert(id.clone(), parts);
        }
    }
    all
}

fn parts_of(
    state: &PipelineState,
    registry: &Registry,
    id: &ComponentId,
    known: &SourceState,
) -> Result<BTreeMap<String, Value>> {
    let Some((under, plan)) = under(state, registry, id)?.zip(known.plan.as_ref()) else {
        return Ok(BTreeMap::new());
    };
    let entries = plan.entries(under);
    Ok(entries
        .map(|(name, value)| (name.to_owned(), value.clone()))
        .collect())
}

/// The field of the source's plan state that has what it remembers, as the type says that it had in the
/// last run.
fn under(
    state: &PipelineState,
    registry: &Registry,
    id: &ComponentId,
) -> Result<Option<&'static str>> {
    let mut components = state.run.iter().flat_map(|run| &run.components);
    let stored = components.find(|one| one.id == *id && one.kind == Kind::Source);
    stored.map_or(Ok(None), |stored| {
        Ok(restore_source(registry, stored)?.remembered_under())
    })
}

fn source<'a>(state: &'a PipelineState, name: &str) -> Result<(&'a ComponentId, &'a SourceState)> {
    let mut sources = state.sources.iter();
    sources.find(|(id, _)| id.as_str() == name).ok_or_else(|| {
        let error = Error::not_found("the state has no source of this name").with("source", name);
        match state.sources.is_empty() {
            true => error.hint("it has none: no run has come so far"),
            false => error.hint(format!("there are: {}", named(state.sources.keys()))),
        }
    })
}

fn is_begun(split: &SplitState) -> bool {
    split.finished || split.offset.is_some()
}

/// Errors: `Conflict` if the last run has left anything that only a run can settle.
fn refuse_pending(state: &PipelineState) -> Result<()> {
    let kept = state.kept.len();
    if state.epochs.is_empty() && kept == 0 && state.journal.is_empty() {
        return Ok(());
    }
    let error = Error::conflict("the last run has left something that must be settled first");
    let counts = [
        ("epochs to commit", state.epochs.len()),
        ("kept for its end", kept),
        ("begun and not committed", state.journal.len()),
    ];
    let counts = counts.into_iter().filter(|(_, count)| *count > 0);
    let error = counts.fold(error, |error, (what, count)| error.with(what, count));
    Err(error.hint(
        "run the pipeline to its end; or give the run up and read everything again: `tidegate run \
         FILE --restart --full-refresh`",
    ))
}

/// How many names are listed before the rest is only counted.
const SHOWN: usize = 8;

fn named<T: std::fmt::Display>(names: impl ExactSizeIterator<Item = T>) -> String {
    let more = names.len().saturating_sub(SHOWN);
    let names = names.take(SHOWN).map(|name| format!("`{name}`"));
    let mut text = names.collect::<Vec<_>>().join(", ");
    if more > 0 {
        text.push_str(&format!(" and {more} more"));
    }
    text
}
