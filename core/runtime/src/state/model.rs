//! What is remembered of a pipeline.

use std::collections::{BTreeMap, BTreeSet};

use arrow_schema::Schema;
use serde::{Deserialize, Serialize};
use serde_json::Value;
use tidegate_core::{
    ComponentId, Epoch, Lineage, Next, Offset, PlanState, Prepared, RunId, Split, StreamName, Token,
};

use super::Splits;

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
    pub journal: Vec<Begun>,
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
    /// The pipeline file, with its whole path; none where a program made the pipeline.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub file: Option<String>,
    /// The sources that forgot what they remembered when it began: see
    /// [`FullRefresh`](crate::FullRefresh).
    #[serde(default, skip_serializing_if = "BTreeSet::is_empty")]
    pub refreshed: BTreeSet<ComponentId>,
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

impl StoredComponent {
    /// Its type.
    pub fn tag(&self) -> &str {
        self.config["type"].as_str().unwrap_or_default()
    }
}

/// What is remembered of a source.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct SourceState {
    /// What its last plan returned.
    pub plan: Option<PlanState>,
    /// What its last plan of an earlier run returned: where a restart goes back to.
    pub plan_before: Option<PlanState>,
    /// When it wants to be asked again; `None`: it wasn't asked in this run.
    pub next: Option<Next>,
    /// The splits of this run that the source wasn't yet told to be finished.
    pub splits: Splits,
    /// Schemas that changed in this run.
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

/// What a sink has begun.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Begun {
    /// The sink.
    pub sink: ComponentId,
    /// For which epoch.
    pub epoch: Epoch,
    /// What.
    pub token: Token,
}

/// What one of the sinks prepared.
pub(crate) fn prepared_by(values: &[(ComponentId, Prepared)], id: &ComponentId) -> Vec<Prepared> {
    values
        .iter()
        .filter(|(sink, _)| sink == id)
        .map(|(_, value)| value.clone())
        .collect()
}
