//! A pipeline's whole state as one JSON document.

use std::collections::{BTreeMap, HashMap, HashSet};

use serde::{Deserialize, Serialize};
use serde_json::Value;
use tidegate_core::{ComponentId, Epoch, Error, Lineage, Prepared, Result, SplitId, Token};
use uuid::Uuid;

use super::process::Holder;
use super::{
    Change, Checkpoint, Fence, PipelineState, RunState, SourceState, SplitState, StoredEpoch,
};

/// The layout of the document below; another one is refused.
const LAYOUT: u32 = 1;

/// The largest document that is written. Every change writes all of it.
const LIMIT: usize = 64 << 20;

/// What a head object holds.
///
/// No two contents are equal: `write` differs for every change by the holder, `value_write` for
/// every other one. So a version (an ETag, which on S3 is a digest) never comes back.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub(super) struct Document {
    layout: u32,
    pipeline: String,
    /// Which change by a holder this is the result of: tells an answer that was lost from a write
    /// that was.
    pub(super) write: Uuid,
    /// How often holders have written: while it grows, the holder is alive.
    pub(super) beat: u64,
    /// Grows with each taking; 0 if nobody has ever taken the pipeline.
    pub(super) fence: u64,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(super) holder: Option<Holder>,
    lineage: Lineage,
    epoch: Epoch,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    run: Option<RunState>,
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    sources: BTreeMap<ComponentId, SourceState>,
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    epochs: Vec<StoredEpoch>,
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    kept: Vec<(ComponentId, Prepared)>,
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    journal: Vec<Begun>,
    /// Which change of values outside the fence this is the result of.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(super) value_write: Option<Uuid>,
    /// Components' values outside epochs, by component and key.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    values: BTreeMap<String, BTreeMap<String, Value>>,
}

/// What a sink has begun.
#[derive(Debug, Clone, Serialize, Deserialize)]
struct Begun {
    sink: ComponentId,
    epoch: Epoch,
    token: Token,
}

/// The part of a document that says whose it is; the rest is passed over.
#[derive(Debug, Clone, Deserialize)]
pub(super) struct Claim {
    pub(super) beat: u64,
    pub(super) fence: u64,
    #[serde(default)]
    pub(super) holder: Option<Holder>,
}

/// Read first, so that another version's document is refused for what it is.
#[derive(Deserialize)]
struct Layout {
    layout: u32,
}

impl Document {
    /// The state of a pipeline that has never run.
    pub(super) fn new(pipeline: &str) -> Self {
        Self {
            layout: LAYOUT,
            pipeline: pipeline.to_owned(),
            write: Uuid::new_v4(),
            beat: 0,
            fence: 0,
            holder: None,
            lineage: Lineage::new(),
            epoch: Epoch(0),
            run: None,
            sources: BTreeMap::new(),
            epochs: Vec::new(),
            kept: Vec::new(),
            journal: Vec::new(),
            value_write: None,
            values: BTreeMap::new(),
        }
    }

    /// The bytes of the object `at`.
    pub(super) fn to_bytes(&self, at: &str) -> Result<Vec<u8>> {
        let bytes = serde_json::to_vec(self).map_err(|error| {
            Error::internal("the state can't be written")
                .with("state", at)
                .because(error)
        })?;
        if bytes.len() > LIMIT {
            return Err(Error::unsupported(
                "the pipeline's state has become too large for one object",
            )
            .with("state", at)
            .with("bytes", bytes.len())
            .with("limit", LIMIT)
            .hint(
                "every change writes all of it: let the source give fewer and larger splits, \
                         or keep the state in a folder (--state DIR)",
            ));
        }
        Ok(bytes)
    }

    /// The document in the object `at`.
    pub(super) fn from_bytes(bytes: &[u8], at: &str) -> Result<Self> {
        check_layout(bytes, at)?;
        serde_json::from_slice(bytes).map_err(|error| unreadable(at, error))
    }

    pub(super) fn pipeline(&self) -> &str {
        &self.pipeline
    }

    pub(super) fn fence(&self) -> Fence {
        Fence(self.fence)
    }

    /// What the engine sees; `None` as long as nobody has taken the pipeline.
    pub(super) fn into_state(self) -> Option<PipelineState> {
        (self.fence > 0).then(|| PipelineState {
            lineage: self.lineage,
            epoch: self.epoch,
            run: self.run,
            sources: self.sources,
            epochs: self.epochs,
            kept: self.kept,
            journal: self
                .journal
                .into_iter()
                .map(|begun| (begun.sink, begun.token))
                .collect(),
        })
    }

    /// Gives it to a new holder.
    pub(super) fn take(&mut self, holder: Holder) {
        self.fence += 1;
        self.holder = Some(holder);
    }

    pub(super) fn value(&self, component: &str, key: &str) -> Option<&Value> {
        self.values.get(component)?.get(key)
    }

    pub(super) fn set_value(&mut self, component: &str, key: &str, value: Value) {
        self.values
            .entry(component.to_owned())
            .or_default()
            .insert(key.to_owned(), value);
    }

    /// Changes the state as [`Change`] says.
    pub(super) fn apply(&mut self, change: Change) -> Result<()> {
        match change {
            Change::BeginRun { run } => {
                let unfinished = self.run.as_ref().is_some_and(|run| !run.finished);
                for source in self.sources.values_mut() {
                    source.splits.clear();
                    source.schemas.clear();
                    source.next = None;
                    if unfinished {
                        source.plan = source.plan_before.clone();
                    } else {
                        source.plan_before = source.plan.clone();
                    }
                }
                self.run = Some(run);
            }
            Change::Reconfigure { run } => self.run = Some(run),
            Change::Planned {
                source,
                plan,
                next,
                new,
                told,
                revoked,
            } => {
                let known = self.sources.entry(source).or_default();
                known.plan = Some(plan);
                known.next = Some(next);
                let told: HashSet<SplitId> = told.into_iter().collect();
                known
                    .splits
                    .retain(|split| !(split.finished && told.contains(&split.split.id)));
                known
                    .splits
                    .retain(|split| split.finished || !revoked.contains(&split.split.id));
                let mut ids: HashSet<SplitId> = known.ids().collect();
                for split in new {
                    if !ids.insert(split.id.clone()) {
                        return Err(
                            Error::internal("a source gave a split twice").with("split", split.id)
                        );
                    }
                    known.splits.push(SplitState {
                        split,
                        offset: None,
                        finished: false,
                    });
                }
            }
            Change::Replan { source } => {
                if let Some(source) = self.sources.get_mut(&source) {
                    source.splits.clear();
                    source.plan = source.plan_before.clone();
                    source.next = None;
                }
            }
            Change::Begun { sink, epoch, token } => {
                self.epoch = self.epoch.max(epoch);
                self.journal.push(Begun { sink, epoch, token });
            }
            Change::Checkpoint(checkpoint) => self.store(checkpoint)?,
            Change::Committed {
                epoch,
                settled,
                last,
            } => {
                self.epochs.retain(|stored| stored.epoch != epoch);
                self.journal.retain(|begun| {
                    begun.epoch > epoch || !(last || settled.contains(&begun.sink))
                });
                if last {
                    self.kept.clear();
                    for stored in &mut self.epochs {
                        stored.prepared.clear();
                    }
                    if let Some(run) = &mut self.run {
                        run.finished = true;
                    }
                }
            }
            Change::Recovered { sink } => self.journal.retain(|begun| begun.sink != sink),
            Change::Forsake { sink } => self.kept.retain(|(id, _)| *id != sink),
        }
        Ok(())
    }

    fn store(&mut self, checkpoint: Checkpoint) -> Result<()> {
        let epoch = checkpoint.epoch;
        self.epoch = self.epoch.max(epoch);
        if let Some(run) = &mut self.run {
            run.checkpointed = true;
        }
        let at = self.epochs.partition_point(|stored| stored.epoch < epoch);
        if self.epochs.get(at).is_some_and(|next| next.epoch == epoch) {
            return Err(Error::internal("an epoch was stored twice").with("epoch", epoch));
        }
        let stored = StoredEpoch {
            epoch,
            last: checkpoint.last,
            prepared: checkpoint.prepared,
        };
        self.epochs.insert(at, stored);
        let places: HashMap<ComponentId, HashMap<SplitId, usize>> = self
            .sources
            .iter()
            .map(|(id, source)| (id.clone(), source.ids().zip(0..).collect()))
            .collect();
        for (source, split, offset) in checkpoint.offsets {
            if let Some(known) = self.split(&places, &source, &split) {
                known.offset = Some(offset);
            }
        }
        for (source, split, offset) in checkpoint.finished {
            if let Some(known) = self.split(&places, &source, &split) {
                known.offset = offset;
                known.finished = true;
            }
        }
        for (source, stream, schema) in checkpoint.schemas {
            let known = self.sources.entry(source).or_default();
            known.schemas.insert(stream, schema);
        }
        self.kept.extend(checkpoint.kept);
        Ok(())
    }

    fn split(
        &mut self,
        places: &HashMap<ComponentId, HashMap<SplitId, usize>>,
        source: &ComponentId,
        split: &SplitId,
    ) -> Option<&mut SplitState> {
        let place = places.get(source)?.get(split)?;
        self.sources.get_mut(source)?.splits.get_mut(*place)
    }
}

impl SourceState {
    fn ids(&self) -> impl Iterator<Item = SplitId> {
        self.splits.iter().map(|split| split.split.id.clone())
    }
}

impl Claim {
    /// Whose the document in the object `at` is.
    pub(super) fn from_bytes(bytes: &[u8], at: &str) -> Result<Self> {
        check_layout(bytes, at)?;
        serde_json::from_slice(bytes).map_err(|error| unreadable(at, error))
    }
}

fn check_layout(bytes: &[u8], at: &str) -> Result<()> {
    let Layout { layout } = serde_json::from_slice(bytes).map_err(|error| unreadable(at, error))?;
    if layout == LAYOUT {
        return Ok(());
    }
    Err(
        Error::conflict("the state was written by another version of Tidegate")
            .with("state", at)
            .with("layout", layout)
            .hint("use that version, or another place with --state"),
    )
}

fn unreadable(at: &str, error: serde_json::Error) -> Error {
    Error::conflict("the state can't be read")
        .with("state", at)
        .hint(
            "this object isn't a state, or it is damaged: restore it (a bucket with versions has \
             the one before), or start over in another place with --state",
        )
        .because(error)
}
