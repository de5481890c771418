//! What the coordinator and its tasks share.

use std::collections::BTreeMap;
use std::sync::Arc;

use arrow_schema::Schema;
use tidegate_core::{ComponentId, PipelineSpec, Result, StreamName};

use crate::graph::{Graph, Surroundings};
use crate::state::{Change, Fence, StateStore};
use crate::stats::RunStats;

/// What the coordinator and its tasks share in an attempt. It alone has the fence.
pub(crate) struct Common {
    pub(crate) spec: PipelineSpec,
    pub(crate) graph: Arc<Graph>,
    /// Those that streams changed to in this run.
    pub(crate) schemas: BTreeMap<ComponentId, BTreeMap<StreamName, Schema>>,
    pub(crate) around: Surroundings,
    pub(crate) stats: Arc<RunStats>,
    pub(crate) store: Arc<dyn StateStore>,
    pub(crate) fence: Fence,
}

impl Common {
    pub(crate) fn id(&self, node: usize) -> &ComponentId {
        &self.graph.nodes[node].spec.id
    }

    /// Changes the pipeline's state, if this process still may.
    pub(crate) async fn apply(&self, change: Change) -> Result<()> {
        let pipeline = &self.around.pipeline;
        self.store.apply(pipeline, self.fence, change).await
    }

    /// Fails if this process may change the pipeline's state no more.
    pub(crate) async fn verify(&self) -> Result<()> {
        self.store.verify(&self.around.pipeline, self.fence).await
    }
}
