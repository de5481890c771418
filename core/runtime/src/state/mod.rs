//! What a pipeline remembers: offsets, plan states, what was prepared and what was begun.
//!
//! A [`StateStore`] changes only by [`Change`]s, each applied at once and whole, with the fencing
//! token compared inside the same transaction. So any store with one atomic conditional write can
//! implement it.
//!
//! ```text
//! StateLocation ─┬─ a folder ──> SqliteStore: state.db, and a lock file for each pipeline
//!                └─ any store, as ObjectState ── a Document a pipeline ──> HeadStore
//!                                   └─ Keeper: writes, and beats while it is held
//! ```

mod document;
mod head;
mod keeper;
mod location;
mod object;
mod process;
mod sqlite;

use std::collections::BTreeMap;
use std::fmt::Debug;

use arrow_schema::Schema;
use async_trait::async_trait;
use serde::{Deserialize, Serialize};
use serde_json::Value;
use tidegate_core::{
    ComponentId, Epoch, Lineage, Next, Offset, PlanState, Prepared, Result, RunId, Split, SplitId,
    StreamName, Token,
};

pub use head::{Found, HeadStore, Version, Written};
pub use location::StateLocation;
pub use object::ObjectState;
pub use sqlite::SqliteStore;

/// Proof of being the one process that may change a pipeline's state. Each taking gives a larger one.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub struct Fence(pub u64);

/// Where pipelines' states are kept.
#[async_trait]
pub trait StateStore: Debug + Send + Sync {
    /// Takes the pipeline for this process; whoever had it before is fenced off.
    ///
    /// Errors: `Conflict` while another process that may be alive has it.
    async fn acquire(&self, pipeline: &str) -> Result<Fence>;

    /// Gives the pipeline back.
    async fn release(&self, pipeline: &str, fence: Fence) -> Result<()>;

    /// Fails with `Conflict` if another process has taken the pipeline since.
    async fn verify(&self, pipeline: &str, fence: Fence) -> Result<()>;

    /// The state as it is. `None`: the pipeline has never run here.
    async fn load(&self, pipeline: &str) -> Result<Option<PipelineState>>;

    /// Changes the state, at once and whole, durably.
    ///
    /// Errors: `Conflict` when fenced off. After another error it is unknown whether the change
    /// took place: load the state before deciding anything.
    async fn apply(&self, pipeline: &str, fence: Fence, change: Change) -> Result<()>;

    /// A component's value outside epochs; see [`tidegate_core::KeyValue`].
    async fn get_value(&self, pipeline: &str, component: &str, key: &str) -> Result<Option<Value>>;

    /// See [`tidegate_core::KeyValue::compare_and_set`].
    async fn compare_and_set_value(
        &self,
        pipeline: &str,
        component: &str,
        key: &str,
        expected: Option<&Value>,
        value: &Value,
    ) -> Result<bool>;
}

/// Everything that is remembered of a pipeline.
#[derive(Debug, Clone, PartialEq)]
pub struct PipelineState {
    /// Its identity, born with it.
    pub lineage: Lineage,
    /// The largest epoch number ever used.
    pub epoch: Epoch,
    /// The run that is going on, or the last one.
    pub run: Option<RunState>,
    /// Its sources, by id.
    pub sources: BTreeMap<ComponentId, SourceState>,
    /// Epochs whose checkpoint is stored and whose commit isn't known to have ended, in order.
    pub epochs: Vec<StoredEpoch>,
    /// What sinks with [`Visibility::Run`](tidegate_core::Visibility::Run) prepared so far.
    pub kept: Vec<(ComponentId, Prepared)>,
    /// What sinks began and neither committed nor discarded, in order.
    pub journal: Vec<(ComponentId, Token)>,
}

/// A run.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct RunState {
    /// Its identity.
    pub id: RunId,
    /// Whether it has come to its end.
    pub finished: bool,
    /// Whether it has a checkpoint: until then there is nothing to go on with.
    #[serde(default)]
    pub checkpointed: bool,
    /// The components it runs with.
    pub components: Vec<StoredComponent>,
}

/// A component's configuration as it was when the run began.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct StoredComponent {
    /// Its name.
    pub id: ComponentId,
    /// What it is.
    pub kind: tidegate_core::Kind,
    /// What it reads.
    pub inputs: Vec<String>,
    /// The whole configuration, as typetag writes it: enough to build the component again.
    pub config: Value,
    /// The configuration without what only tunes: what must not change in the middle of a run.
    pub fingerprint: Value,
}

/// What is remembered of a source.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
pub struct SourceState {
    /// What its last plan returned.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub plan: Option<PlanState>,
    /// What its last plan of an earlier run returned: where a restart goes back to.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub plan_before: Option<PlanState>,
    /// When it wants to be asked again; `None`: it wasn't asked in this run.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub next: Option<Next>,
    /// The splits of this run that the source wasn't yet told to be finished, in order.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub splits: Vec<SplitState>,
    /// Schemas that changed in this run.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub schemas: BTreeMap<StreamName, Schema>,
}

/// A split and how far it was read.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct SplitState {
    /// The split.
    pub split: Split,
    /// Up to here its rows are in a checkpoint.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub offset: Option<Offset>,
    /// Whether all its rows are.
    #[serde(default)]
    pub finished: bool,
}

/// A stored epoch whose commit may have to be replayed.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct StoredEpoch {
    /// Its number.
    pub epoch: Epoch,
    /// Whether the run ends with it.
    pub last: bool,
    /// What its sinks prepared.
    pub prepared: Vec<(ComponentId, Prepared)>,
}

/// One atomic change of a pipeline's state.
#[derive(Debug, Clone)]
pub enum Change {
    /// A new run begins: splits and schemas of the one before are forgotten, plan states stay
    /// (or go back to what they were before it, if it never finished).
    BeginRun {
        /// The run.
        run: RunState,
    },
    /// The run goes on with another configuration.
    Reconfigure {
        /// The run, with its new components.
        run: RunState,
    },
    /// A source has planned.
    Planned {
        /// The source.
        source: ComponentId,
        /// What it returned.
        plan: PlanState,
        /// When it wants to be asked again.
        next: Next,
        /// Its new splits.
        new: Vec<Split>,
        /// The finished splits that it was told of: the plan state remembers them from now on.
        told: Vec<SplitId>,
        /// Splits that it takes back: they are forgotten, unless they have finished.
        revoked: Vec<SplitId>,
    },
    /// A source's session is lost: its splits are forgotten and it is asked anew.
    Replan {
        /// The source.
        source: ComponentId,
    },
    /// A sink is about to begin something.
    Begun {
        /// The sink.
        sink: ComponentId,
        /// For which epoch.
        epoch: Epoch,
        /// What.
        token: Token,
    },
    /// An epoch is prepared: from here on it will be committed.
    Checkpoint(Checkpoint),
    /// An epoch's commit has ended.
    Committed {
        /// The epoch.
        epoch: Epoch,
        /// The sinks whose begun things of epochs up to this one are settled.
        settled: Vec<ComponentId>,
        /// Whether the run ends with it.
        last: bool,
    },
    /// A sink has discarded what it had begun and what isn't kept.
    Recovered {
        /// The sink.
        sink: ComponentId,
    },
    /// What a sink prepared for the run's end is given up ([`Change::Recovered`] is to follow).
    Forsake {
        /// The sink.
        sink: ComponentId,
    },
}

/// What an epoch's checkpoint holds.
#[derive(Debug, Clone)]
pub struct Checkpoint {
    /// The epoch.
    pub epoch: Epoch,
    /// Whether the run ends with it.
    pub last: bool,
    /// How far splits were read.
    pub offsets: Vec<(ComponentId, SplitId, Offset)>,
    /// The splits that were read to their end, and the last position of each.
    pub finished: Vec<(ComponentId, SplitId, Option<Offset>)>,
    /// Streams whose schema is another from here on.
    pub schemas: Vec<(ComponentId, StreamName, Schema)>,
    /// What is to be committed with this epoch.
    pub prepared: Vec<(ComponentId, Prepared)>,
    /// What is to be kept until the end of the run.
    pub kept: Vec<(ComponentId, Prepared)>,
}

/// What one of the sinks prepared.
pub(crate) fn prepared_by(values: &[(ComponentId, Prepared)], id: &ComponentId) -> Vec<Prepared> {
    values
        .iter()
        .filter(|(sink, _)| sink == id)
        .map(|(_, value)| value.clone())
        .collect()
}

/// What whoever was taken over from is told.
pub(crate) fn taken_over(pipeline: &str) -> tidegate_core::Error {
    tidegate_core::Error::conflict("another process has taken over this pipeline")
        .with("pipeline", pipeline)
        .hint("nothing that this process did since then was committed; the other one goes on")
}
