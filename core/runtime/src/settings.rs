//! `[runtime]` in `tidegate.toml`: how much of the machine a pipeline may use.

use std::num::NonZeroUsize;

use serde::{Deserialize, Serialize};
use tidegate_core::ByteSize;

/// The settings table `[runtime]`. None of them changes what a pipeline does.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct RuntimeSettings {
    /// CPU threads that decode, transform and encode. Default: the cores.
    pub workers: Option<NonZeroUsize>,
    /// What a component that collects rows (a join, a sort, a partitioned sink) may hold before it
    /// goes to disk. Default: `"256 MB"`.
    pub memory: ByteSize,
    /// What may wait between readers and workers. Default: `"32 MB"`.
    pub queue: ByteSize,
    /// How often a run is begun again from its last checkpoint after a passing error, without
    /// any progress in between. Default: 5.
    pub attempts: u32,
}

impl Default for RuntimeSettings {
    fn default() -> Self {
        Self {
            workers: None,
            memory: ByteSize(256_000_000),
            queue: ByteSize(32_000_000),
            attempts: 5,
        }
    }
}

impl RuntimeSettings {
    /// CPU threads.
    pub fn workers(&self) -> usize {
        self.workers
            .or_else(|| std::thread::available_parallelism().ok())
            .map_or(1, NonZeroUsize::get)
    }
}
