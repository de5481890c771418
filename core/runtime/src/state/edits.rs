//! The one meaning of every [`Change`].

use std::collections::{BTreeMap, HashSet};

use arrow_schema::Schema;
use serde::{Deserialize, Serialize};
use tidegate_core::{
    ComponentId, Epoch, Error, Lineage, Next, Offset, PlanState, Prepared, Result, SplitId,
    StreamName,
};

use super::{
    Begun, Change, Checkpoint, PipelineState, RunState, SourceState, SplitState, Splits,
    StoredEpoch,
};

/// One step of a change, as small as what it touches: what stores keep. A change means what the
/// state is when it comes; an edit means the same always, so a row of it can be stored, and read by
/// a later version.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub(super) enum Edit {
    /// The largest epoch number.
    Epoch(Epoch),
    Run(RunState),
    Plan {
        source: ComponentId,
        plan: Option<PlanState>,
    },
    PlanBefore {
        source: ComponentId,
        plan: Option<PlanState>,
    },
    Next {
        source: ComponentId,
        next: Option<Next>,
    },
    /// A split that comes after all others of its source.
    Split {
        source: ComponentId,
        state: SplitState,
    },
    Position {
        source: ComponentId,
        split: SplitId,
        offset: Option<Offset>,
        finished: bool,
    },
    DropSplit {
        source: ComponentId,
        split: SplitId,
    },
    DropSplits {
        source: ComponentId,
    },
    Schema {
        source: ComponentId,
        stream: StreamName,
        schema: Schema,
    },
    DropSchemas {
        source: ComponentId,
    },
    Stored(StoredEpoch),
    DropStored(Epoch),
    Kept {
        sink: ComponentId,
        value: Prepared,
    },
    /// Of one sink, or of all.
    DropKept {
        sink: Option<ComponentId>,
    },
    Begun(Begun),
    /// Of one sink or of all, of epochs up to one or of all.
    DropBegun {
        sink: Option<ComponentId>,
        upto: Option<Epoch>,
    },
}

impl Begun {
    /// Whether [`Edit::DropBegun`] means it.
    fn is_of(&self, sink: Option<&ComponentId>, upto: Option<Epoch>) -> bool {
        sink.is_none_or(|sink| self.sink == *sink) && upto.is_none_or(|upto| self.epoch <= upto)
    }
}

impl PipelineState {
    /// The state of a pipeline that has never run.
    pub(super) fn new(lineage: Lineage) -> Self {
        Self {
            lineage,
            epoch: Epoch(0),
            run: None,
            sources: BTreeMap::new(),
            epochs: Vec::new(),
            kept: Vec::new(),
            journal: Vec::new(),
        }
    }

    /// Changes the state as `change` says; after an error nothing is changed.
    ///
    /// This is what every store does with a change, whatever it makes durable of it.
    pub fn apply(&mut self, change: &Change) -> Result<()> {
        self.change(change).map(drop)
    }

    /// The same; gives the steps, for a store to keep.
    pub(super) fn change(&mut self, change: &Change) -> Result<Vec<Edit>> {
        let edits = self.edits(change)?;
        for edit in &edits {
            self.edit(edit.clone());
        }
        Ok(edits)
    }

    /// What a change means for the state as it is.
    fn edits(&self, change: &Change) -> Result<Vec<Edit>> {
        let mut edits = Vec::new();
        match change {
            Change::BeginRun { run } => {
                let unfinished = self.run.as_ref().is_some_and(|run| !run.finished);
                for (id, source) in &self.sources {
                    if run.refreshed.contains(id) {
                        forget(id, source, &mut edits);
                        continue;
                    }
                    if unfinished {
                        go_back(id, source, &mut edits);
                    } else {
                        forget_splits(id, source, &mut edits);
                        edits.push(Edit::PlanBefore {
                            source: id.clone(),
                            plan: source.plan.clone(),
                        });
                    }
                    if !source.schemas.is_empty() {
                        edits.push(Edit::DropSchemas { source: id.clone() });
                    }
                }
                edits.push(Edit::Run(run.clone()));
            }
            Change::Reconfigure { run } => edits.push(Edit::Run(run.clone())),
            Change::Planned {
                source,
                plan,
                next,
                new,
                told,
                revoked,
            } => {
                let known = self.sources.get(source);
                if known.and_then(|known| known.plan.as_ref()) != Some(plan) {
                    edits.push(Edit::Plan {
                        source: source.clone(),
                        plan: Some(plan.clone()),
                    });
                }
                edits.push(Edit::Next {
                    source: source.clone(),
                    next: Some(*next),
                });
                let split = |id: &SplitId| known.and_then(|known| known.splits.get(id));
                let is = |finished| {
                    move |id: &&SplitId| split(id).is_some_and(|split| split.finished == finished)
                };
                let told = told.iter().filter(is(true));
                let dropped: HashSet<&SplitId> =
                    told.chain(revoked.iter().filter(is(false))).collect();
                edits.extend(dropped.iter().map(|&id| Edit::DropSplit {
                    source: source.clone(),
                    split: id.clone(),
                }));
                let mut ids = HashSet::new();
                for new in new {
                    let stays = split(&new.id).is_some() && !dropped.contains(&new.id);
                    if stays || !ids.insert(&new.id) {
                        return Err(Error::internal("a source gave a split twice")
                            .with("component", source)
                            .with("split", &new.id));
                    }
                    edits.push(Edit::Split {
                        source: source.clone(),
                        state: SplitState {
                            split: new.clone(),
                            offset: None,
                            finished: false,
                        },
                    });
                }
            }
            Change::Replan { source } => {
                if let Some(known) = self.sources.get(source) {
                    go_back(source, known, &mut edits);
                }
            }
            Change::Forget { source } => {
                if let Some(known) = self.sources.get(source) {
                    forget(source, known, &mut edits);
                }
            }
            Change::Begun { sink, epoch, token } => {
                self.reach(*epoch, &mut edits);
                edits.push(Edit::Begun(Begun {
                    sink: sink.clone(),
                    epoch: *epoch,
                    token: token.clone(),
                }));
            }
            Change::Checkpoint(checkpoint) => self.store(checkpoint, &mut edits)?,
            Change::Committed {
                epoch,
                settled,
                last,
            } => {
                edits.push(Edit::DropStored(*epoch));
                let settle = |sink: Option<&ComponentId>| {
                    let mut begun = self.journal.iter();
                    let any = begun.any(|begun| begun.is_of(sink, Some(*epoch)));
                    any.then(|| Edit::DropBegun {
                        sink: sink.cloned(),
                        upto: Some(*epoch),
                    })
                };
                if *last {
                    edits.extend(settle(None));
                    edits.push(Edit::DropKept { sink: None });
                    edits.extend(self.run.clone().map(|run| {
                        Edit::Run(RunState {
                            finished: true,
                            ..run
                        })
                    }));
                } else {
                    edits.extend(settled.iter().filter_map(|sink| settle(Some(sink))));
                }
            }
            Change::Recovered { sink } => edits.push(Edit::DropBegun {
                sink: Some(sink.clone()),
                upto: None,
            }),
            Change::Forsake { sink } => edits.push(Edit::DropKept {
                sink: Some(sink.clone()),
            }),
        }
        Ok(edits)
    }

    fn store(&self, checkpoint: &Checkpoint, edits: &mut Vec<Edit>) -> Result<()> {
        let epoch = checkpoint.epoch;
        if self.epochs.iter().any(|stored| stored.epoch == epoch) {
            return Err(Error::internal("an epoch was stored twice").with("epoch", epoch));
        }
        self.reach(epoch, edits);
        if let Some(run) = self.run.as_ref().filter(|run| !run.checkpointed) {
            edits.push(Edit::Run(RunState {
                checkpointed: true,
                ..run.clone()
            }));
        }
        edits.push(Edit::Stored(StoredEpoch {
            epoch,
            last: checkpoint.last,
            prepared: checkpoint.prepared.clone(),
        }));
        let known = |source: &ComponentId, split: &SplitId| {
            let source = self.sources.get(source);
            source.and_then(|source| source.splits.get(split))
        };
        for (source, split, offset) in &checkpoint.offsets {
            edits.extend(known(source, split).map(|known| Edit::Position {
                source: source.clone(),
                split: split.clone(),
                offset: Some(offset.clone()),
                finished: known.finished,
            }));
        }
        for (source, split, offset) in &checkpoint.finished {
            edits.extend(known(source, split).map(|_| Edit::Position {
                source: source.clone(),
                split: split.clone(),
                offset: offset.clone(),
                finished: true,
            }));
        }
        for (source, stream, schema) in &checkpoint.schemas {
            edits.push(Edit::Schema {
                source: source.clone(),
                stream: stream.clone(),
                schema: schema.clone(),
            });
        }
        edits.extend(checkpoint.kept.iter().map(|(sink, value)| Edit::Kept {
            sink: sink.clone(),
            value: value.clone(),
        }));
        Ok(())
    }

    fn reach(&self, epoch: Epoch, edits: &mut Vec<Edit>) {
        if epoch > self.epoch {
            edits.push(Edit::Epoch(epoch));
        }
    }

    /// Makes one step.
    pub(super) fn edit(&mut self, edit: Edit) {
        match edit {
            Edit::Epoch(epoch) => self.epoch = epoch,
            Edit::Run(run) => self.run = Some(run),
            Edit::Plan { source, plan } => self.source(source).plan = plan,
            Edit::PlanBefore { source, plan } => self.source(source).plan_before = plan,
            Edit::Next { source, next } => self.source(source).next = next,
            Edit::Split { source, state } => self.source(source).splits.push(state),
            Edit::Position {
                source,
                split,
                offset,
                finished,
            } => {
                if let Some(known) = self.source(source).splits.get_mut(&split) {
                    known.offset = offset;
                    known.finished = finished;
                }
            }
            Edit::DropSplit { source, split } => self.source(source).splits.remove(&split),
            Edit::DropSplits { source } => self.source(source).splits = Splits::default(),
            Edit::Schema {
                source,
                stream,
                schema,
            } => {
                self.source(source).schemas.insert(stream, schema);
            }
            Edit::DropSchemas { source } => self.source(source).schemas.clear(),
            Edit::Stored(stored) => {
                let before = |other: &StoredEpoch| other.epoch < stored.epoch;
                let at = self.epochs.partition_point(before);
                self.epochs.insert(at, stored);
            }
            Edit::DropStored(epoch) => self.epochs.retain(|stored| stored.epoch != epoch),
            Edit::Kept { sink, value } => self.kept.push((sink, value)),
            Edit::DropKept { sink } => {
                self.kept
                    .retain(|(of, _)| sink.as_ref().is_some_and(|sink| of != sink));
            }
            Edit::Begun(begun) => self.journal.push(begun),
            Edit::DropBegun { sink, upto } => {
                self.journal
                    .retain(|begun| !begun.is_of(sink.as_ref(), upto));
            }
        }
    }

    fn source(&mut self, id: ComponentId) -> &mut SourceState {
        self.sources.entry(id).or_default()
    }

    /// The shortest way here from a state that is new.
    pub(super) fn to_edits(&self) -> Vec<Edit> {
        let mut edits = vec![Edit::Epoch(self.epoch)];
        edits.extend(self.run.clone().map(Edit::Run));
        for (id, known) in &self.sources {
            let source = || id.clone();
            let (plan, plan_before) = (known.plan.clone(), known.plan_before.clone());
            edits.push(Edit::Next {
                source: source(),
                next: known.next,
            });
            edits.extend(plan.is_some().then(|| Edit::Plan {
                source: source(),
                plan,
            }));
            edits.extend(plan_before.is_some().then(|| Edit::PlanBefore {
                source: source(),
                plan: plan_before,
            }));
            edits.extend(known.splits.iter().map(|state| Edit::Split {
                source: source(),
                state: state.clone(),
            }));
            edits.extend(known.schemas.iter().map(|(stream, schema)| Edit::Schema {
                source: source(),
                stream: stream.clone(),
                schema: schema.clone(),
            }));
        }
        edits.extend(self.epochs.iter().cloned().map(Edit::Stored));
        edits.extend(
            self.kept
                .iter()
                .cloned()
                .map(|(sink, value)| Edit::Kept { sink, value }),
        );
        edits.extend(self.journal.iter().cloned().map(Edit::Begun));
        edits
    }
}

/// A source's part in a run that is given up: it is asked as if that had never begun.
fn go_back(id: &ComponentId, source: &SourceState, edits: &mut Vec<Edit>) {
    forget_splits(id, source, edits);
    edits.push(Edit::Plan {
        source: id.clone(),
        plan: source.plan_before.clone(),
    });
}

/// All of a source: it is asked as if it had never run.
fn forget(id: &ComponentId, source: &SourceState, edits: &mut Vec<Edit>) {
    forget_splits(id, source, edits);
    edits.push(Edit::Plan {
        source: id.clone(),
        plan: None,
    });
    edits.push(Edit::PlanBefore {
        source: id.clone(),
        plan: None,
    });
    if !source.schemas.is_empty() {
        edits.push(Edit::DropSchemas { source: id.clone() });
    }
}

fn forget_splits(id: &ComponentId, source: &SourceState, edits: &mut Vec<Edit>) {
    if !source.splits.is_empty() {
        edits.push(Edit::DropSplits { source: id.clone() });
    }
    edits.push(Edit::Next {
        source: id.clone(),
        next: None,
    });
}
