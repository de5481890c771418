//! The layouts of a head: what may be read, and the earlier one as it is now.

use std::collections::BTreeMap;

use arrow_schema::Schema;
use serde::Deserialize;
use tidegate_core::{
    ComponentId, Epoch, Error, Lineage, Next, PlanState, Prepared, Result, StreamName,
};

use super::edits::Edit;
use super::head::{Head, Values};
use super::process::Holder;
use super::{Begun, PipelineState, RunState, SourceState, SplitState, Splits, StoredEpoch};

/// The layout of [`Head`]; the one before is read, any other is refused.
pub(super) const LAYOUT: u32 = 2;

/// The part of a head that says whose it is, in every layout; the rest is passed over.
#[derive(Debug, Clone, Deserialize)]
pub(super) struct Claim {
    pub(super) beat: u64,
    pub(super) fence: u64,
    #[serde(default)]
    pub(super) holder: Option<Holder>,
}

/// Read first, so that another version's head is refused for what it is.
#[derive(Deserialize)]
struct Layout {
    layout: u32,
}

/// What the head was in layout 1: the whole state in one object.
#[derive(Deserialize)]
struct Whole {
    pipeline: String,
    write: uuid::Uuid,
    beat: u64,
    fence: u64,
    #[serde(default)]
    holder: Option<Holder>,
    lineage: Lineage,
    epoch: Epoch,
    #[serde(default)]
    run: Option<RunState>,
    #[serde(default)]
    sources: BTreeMap<ComponentId, WholeSource>,
    #[serde(default)]
    epochs: Vec<StoredEpoch>,
    #[serde(default)]
    kept: Vec<(ComponentId, Prepared)>,
    #[serde(default)]
    journal: Vec<Begun>,
    #[serde(default)]
    value_write: Option<uuid::Uuid>,
    #[serde(default)]
    values: Values,
}

#[derive(Deserialize)]
struct WholeSource {
    #[serde(default)]
    plan: Option<PlanState>,
    #[serde(default)]
    plan_before: Option<PlanState>,
    #[serde(default)]
    next: Option<Next>,
    #[serde(default)]
    splits: Vec<SplitState>,
    #[serde(default)]
    schemas: BTreeMap<StreamName, Schema>,
}

impl Claim {
    /// Whose the head `at` is.
    pub(super) fn from_bytes(bytes: &[u8], at: &str) -> Result<Self> {
        layout(bytes, at)?;
        serde_json::from_slice(bytes).map_err(|error| unreadable(at, error))
    }
}

impl Head {
    /// The head in the object `at`. One of the earlier layout has everything in it until it is
    /// written again; a process of that version then refuses it.
    pub(super) fn from_bytes(bytes: &[u8], at: &str) -> Result<Self> {
        if layout(bytes, at)? == LAYOUT {
            return serde_json::from_slice(bytes).map_err(|error| unreadable(at, error));
        }
        let whole: Whole = serde_json::from_slice(bytes).map_err(|error| unreadable(at, error))?;
        Ok(whole.into())
    }

    pub(super) fn to_bytes(&self) -> Result<Vec<u8>> {
        serde_json::to_vec(self).map_err(|error| {
            Error::internal("the state can't be written")
                .with("pipeline", &self.pipeline)
                .because(error)
        })
    }
}

impl From<Whole> for Head {
    fn from(whole: Whole) -> Self {
        let mut state = PipelineState::new(whole.lineage);
        state.epoch = whole.epoch;
        state.run = whole.run;
        state.epochs = whole.epochs;
        state.kept = whole.kept;
        state.journal = whole.journal;
        for (id, source) in whole.sources {
            let mut splits = Splits::default();
            for split in source.splits {
                splits.push(split);
            }
            let known = SourceState {
                plan: source.plan,
                plan_before: source.plan_before,
                next: source.next,
                splits,
                schemas: source.schemas,
            };
            state.sources.insert(id, known);
        }
        Self {
            layout: LAYOUT,
            pipeline: whole.pipeline,
            write: whole.write,
            beat: whole.beat,
            fence: whole.fence,
            holder: whole.holder,
            lineage: whole.lineage,
            whole: Vec::new(),
            since: Vec::new(),
            edits: state.to_edits(),
            fewest: 0,
            value_write: whole.value_write,
            values: whole.values,
            values_part: None,
        }
    }
}

/// Edits as lines of JSON.
pub(super) fn to_lines(edits: &[Edit]) -> Result<Vec<u8>> {
    let mut lines = Vec::new();
    for edit in edits {
        serde_json::to_writer(&mut lines, edit)
            .map_err(|error| Error::internal("the state can't be written").because(error))?;
        lines.push(b'\n');
    }
    Ok(lines)
}

/// The edits in the part `part` of the head `at`.
pub(super) fn from_lines(lines: &[u8], at: &str, part: &str) -> Result<Vec<Edit>> {
    let edits = serde_json::Deserializer::from_slice(lines).into_iter();
    edits
        .collect::<serde_json::Result<_>>()
        .map_err(|error| unreadable(at, error).with("part", part))
}

fn layout(bytes: &[u8], at: &str) -> Result<u32> {
    let Layout { layout } = serde_json::from_slice(bytes).map_err(|error| unreadable(at, error))?;
    if layout == LAYOUT || layout == 1 {
        return Ok(layout);
    }
    Err(
        Error::conflict("the state was written by another version of Tidegate")
            .with("state", at)
            .with("layout", layout)
            .hint("use that version, or another place with --state"),
    )
}

pub(super) fn unreadable(
    at: &str,
    error: impl Into<Box<dyn std::error::Error + Send + Sync>>,
) -> Error {
    Error::conflict("the state can't be read")
        .with("state", at)
        .hint(
            "this object isn't a state, or it is damaged: restore it (a bucket with versions has \
             the one before), or start over in another place with --state",
        )
        .because(error)
}
