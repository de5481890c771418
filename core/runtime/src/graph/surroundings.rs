//! What a component is opened with.

use std::path::Path;
use std::sync::Arc;

use async_trait::async_trait;
use serde_json::{Map as JsonMap, Value};
use tidegate_core::{
    Cancel, ComponentId, Context, Epoch, Error, Forgetful, Host, Input, Journal, Kept, KeyValue,
    Lineage, Registry, Result, RunId, SinkContext, Token,
};

use tokio::sync::Notify;

use crate::settings::RuntimeSettings;
use crate::state::{Change, Fence, StateStore};
use crate::stats::ComponentStats;

/// What surrounds the components of a graph: everything their contexts need.
#[derive(Debug, Clone)]
pub(crate) struct Surroundings {
    pub(crate) pipeline: Arc<str>,
    pub(crate) base: Arc<Path>,
    pub(crate) lineage: Lineage,
    pub(crate) run: RunId,
    pub(crate) runtime: RuntimeSettings,
    pub(crate) settings: Arc<JsonMap<String, Value>>,
    pub(crate) registry: Arc<Registry>,
    pub(crate) scratch: Arc<Path>,
    pub(crate) cancel: Cancel,
    pub(crate) state: Option<(Arc<dyn StateStore>, Fence)>,
    /// Rings when a source asks for a checkpoint.
    pub(crate) cuts: Arc<Notify>,
    /// What components keep over attempts; `None` while the pipeline is only checked.
    pub(crate) kept: Option<Kept>,
}

impl Surroundings {
    /// `memory`: the component's share.
    pub(crate) fn context(&self, id: &ComponentId, stats: &ComponentStats, memory: u64) -> Context {
        let values = |pipeline: &Arc<str>, component: &str| -> Arc<dyn KeyValue> {
            match &self.state {
                Some((state, _)) => Arc::new(Values {
                    state: Arc::clone(state),
                    pipeline: Arc::clone(pipeline),
                    component: component.into(),
                }),
                // While a pipeline is only checked.
                None => Arc::new(Forgetful),
            }
        };
        Context {
            id: id.clone(),
            pipeline: Arc::clone(&self.pipeline),
            lineage: self.lineage,
            run: self.run,
            base: Arc::clone(&self.base),
            parallelism: self.runtime.workers(),
            memory,
            scratch: self.scratch.join(id.as_str()).into(),
            store: values(&self.pipeline, id.as_str()),
            shared: values(&SHARED.into(), SHARED),
            cancel: self.cancel.clone(),
            metrics: Arc::clone(&stats.metrics),
            settings: Arc::clone(&self.settings),
            registry: Arc::clone(&self.registry),
            host: self.kept.as_ref().map_or_else(Host::default, |kept| {
                let cuts = Arc::clone(&self.cuts);
                Host::new(move || cuts.notify_one(), kept.clone())
            }),
        }
    }

    pub(crate) fn sink_context(
        &self,
        id: &ComponentId,
        stats: &ComponentStats,
        memory: u64,
        inputs: Vec<Input>,
    ) -> SinkContext {
        let journal = StateJournal {
            state: self.state.clone(),
            pipeline: Arc::clone(&self.pipeline),
            sink: id.clone(),
        };
        SinkContext {
            common: self.context(id, stats, memory),
            inputs,
            journal: Arc::new(journal),
        }
    }
}

/// In the place of a pipeline's and a component's name: what all of them share. Neither can be
/// called so.
const SHARED: &str = "<shared>";

/// The key-value store of one component, or the one of all.
#[derive(Debug)]
struct Values {
    state: Arc<dyn StateStore>,
    pipeline: Arc<str>,
    component: Arc<str>,
}

#[async_trait]
impl KeyValue for Values {
    async fn get(&self, key: &str) -> Result<Option<Value>> {
        self.state
            .get_value(&self.pipeline, &self.component, key)
            .await
    }

    async fn compare_and_set(
        &self,
        key: &str,
        expected: Option<&Value>,
        value: &Value,
    ) -> Result<bool> {
        self.state
            .compare_and_set_value(&self.pipeline, &self.component, key, expected, value)
            .await
    }
}

/// The journal of one sink.
#[derive(Debug)]
struct StateJournal {
    state: Option<(Arc<dyn StateStore>, Fence)>,
    pipeline: Arc<str>,
    sink: ComponentId,
}

#[async_trait]
impl Journal for StateJournal {
    async fn begin(&self, epoch: Epoch, token: Token) -> Result<()> {
        let Some((state, fence)) = &self.state else {
            return Err(Error::internal(
                "a sink began to write while it was only checked",
            ));
        };
        let change = Change::Begun {
            sink: self.sink.clone(),
            epoch,
            token,
        };
        state.apply(&self.pipeline, *fence, change).await
    }
}
