//! What a component is opened with.

use std::path::Path;
use std::sync::Arc;

use serde_json::{Map as JsonMap, Value};
use tidegate_core::{
    Cancel, ComponentId, Context, Forgetful, Host, Input, Kept, KeyValue, Lineage, Registry, RunId,
    SinkContext,
};
use tokio::sync::Notify;

use super::records::{Records, SinkJournal, Values};
use crate::settings::RuntimeSettings;
use crate::stats::ComponentStats;

/// What surrounds the components of a graph: everything their contexts need.
#[derive(Debug, Clone)]
pub(crate) struct Surroundings {
    pub(crate) pipeline: Arc<str>,
    pub(crate) base: Arc<Path>,
    pub(crate) lineage: Lineage,
    pub(crate) run: RunId,
    /// Which of the run's executors it is.
    pub(crate) executor: u32,
    pub(crate) runtime: RuntimeSettings,
    pub(crate) settings: Arc<JsonMap<String, Value>>,
    pub(crate) registry: Arc<Registry>,
    pub(crate) scratch: Arc<Path>,
    /// How many bytes may be written there.
    pub(crate) spill: u64,
    pub(crate) cancel: Cancel,
    /// `None` while the pipeline is only checked.
    pub(crate) records: Option<Arc<dyn Records>>,
    /// Rings when a source asks for a checkpoint.
    pub(crate) cuts: Arc<Notify>,
    /// What components keep over attempts; `None` while the pipeline is only checked.
    pub(crate) kept: Option<Kept>,
}

impl Surroundings {
    /// `memory`: the component's share.
    pub(crate) fn context(&self, id: &ComponentId, stats: &ComponentStats, memory: u64) -> Context {
        let values = |component: Option<ComponentId>| -> Arc<dyn KeyValue> {
            match &self.records {
                Some(records) => Arc::new(Values {
                    records: Arc::clone(records),
                    component,
                }),
                None => Arc::new(Forgetful),
            }
        };
        Context {
            id: id.clone(),
            pipeline: Arc::clone(&self.pipeline),
            lineage: self.lineage,
            run: self.run,
            executor: self.executor,
            base: Arc::clone(&self.base),
            parallelism: self.runtime.workers(),
            memory,
            scratch: self.scratch.join(id.as_str()).into(),
            spill: self.spill,
            store: values(Some(id.clone())),
            shared: values(None),
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
        answers: bool,
    ) -> SinkContext {
        let journal = SinkJournal {
            records: self.records.clone(),
            sink: id.clone(),
        };
        SinkContext {
            common: self.context(id, stats, memory),
            inputs,
            answers,
            journal: Arc::new(journal),
        }
    }
}
