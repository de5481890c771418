//! `[runtime]` in `tidegate.toml`: how much of the machine a pipeline may use.

use std::fmt::Display;
use std::num::NonZeroUsize;
use std::time::Duration;

use schemars::JsonSchema;
use serde::de::Error as _;
use serde::{Deserialize, Deserializer, Serialize};
use serde_json::{Map, Value};
use tidegate_core::{ByteSize, Result, Span, settings_table};

/// How much of the machine a pipeline may use. None of it changes what a pipeline does.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct RuntimeSettings {
    /// CPU threads that decode, transform and encode. Default: the cores; at most 1024.
    #[serde(deserialize_with = "workers")]
    pub workers: Option<NonZeroUsize>,
    /// What the rows of a pipeline may take in memory, all together: those that are fetched ahead, that
    /// wait for workers, that are sorted, joined or grouped (the rest goes to disk), and the open files
    /// of sinks. The program itself takes some 60 MB beside it. Default: `"192 MB"`, at least `"1 MB"`, and
    /// `"4 MB"` where a query needs all rows of its inputs.
    #[serde(deserialize_with = "memory")]
    pub memory: ByteSize,
    /// How much of it may wait between readers and workers. Default: a twelfth, at most `"32 MB"`; at
    /// least `"64 KB"`.
    #[serde(deserialize_with = "queue", skip_serializing_if = "Option::is_none")]
    pub queue: Option<ByteSize>,
    /// How much each query, and what waits for all of them, may put on the disk of `TMPDIR` where the
    /// memory isn't enough: rows that wait, are sorted, joined or grouped. Default: what the disk has
    /// free when the run begins; 512 MiB of a disk of at least 8 GiB always stay free.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub spill: Option<ByteSize>,
    /// How much memory the whole program may take, whatever takes it: a guard against input that grows
    /// beyond what `memory` counts. The program `tidegate` ends when it takes more; what was committed
    /// stays. Default: one and a half times `memory` and that of the components that have a `memory` of
    /// their own, and 512 MiB.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub process_memory: Option<ByteSize>,
    /// How often a run is begun again from its last checkpoint after a transient error, without
    /// any progress in between. Default: 5.
    pub attempts: u32,
    /// Where pipelines keep their state, if the command line doesn't say: a directory, or a place on
    /// object storage (`"s3://bucket/prefix"`). Default:
    /// `.tidegate` beside the pipeline file.
    pub state: Option<String>,
    /// How long the state of a running pipeline on object storage may stand still before another
    /// process takes it over. The same for all processes. Default: `"30s"`, at least `"1s"`.
    #[serde(deserialize_with = "lease")]
    pub lease: Span,
}

tidegate_core::register_settings!("runtime", RuntimeSettings);

fn workers<'de, D: Deserializer<'de>>(value: D) -> Result<Option<NonZeroUsize>, D::Error> {
    const MOST: usize = 1024;
    match Option::<NonZeroUsize>::deserialize(value)? {
        Some(workers) if workers.get() > MOST => Err(D::Error::custom(format!(
            "`workers` is {workers}, and can be at most {MOST}"
        ))),
        workers => Ok(workers),
    }
}

fn memory<'de, D: Deserializer<'de>>(value: D) -> Result<ByteSize, D::Error> {
    at_least(value, "memory", ByteSize(1_000_000))
}

fn queue<'de, D: Deserializer<'de>>(value: D) -> Result<Option<ByteSize>, D::Error> {
    at_least(value, "queue", ByteSize(64_000)).map(Some)
}

fn lease<'de, D: Deserializer<'de>>(value: D) -> Result<Span, D::Error> {
    at_least(value, "lease", Span(Duration::from_secs(1)))
}

/// A setting with a lower bound, below which nothing would move.
fn at_least<'de, T, D>(value: D, key: &str, least: T) -> Result<T, D::Error>
where
    T: Deserialize<'de> + PartialOrd + Display,
    D: Deserializer<'de>,
{
    let given = T::deserialize(value)?;
    match given < least {
        true => Err(D::Error::custom(format!(
            "`{key}` is {given}, and has to be at least {least}"
        ))),
        false => Ok(given),
    }
}

impl Default for RuntimeSettings {
    fn default() -> Self {
        Self {
            workers: None,
            memory: ByteSize(192_000_000),
            spill: None,
            process_memory: None,
            queue: None,
            attempts: 5,
            state: None,
            lease: Span(Duration::from_secs(30)),
        }
    }
}

impl RuntimeSettings {
    /// Those among the settings of all.
    pub(crate) fn of(settings: &Map<String, Value>) -> Result<Self> {
        settings_table(settings, "runtime")
    }

    /// What a process may take in all whose parts may hold `memory`.
    pub fn process_memory_of(memory: ByteSize) -> ByteSize {
        let memory = memory.0;
        ByteSize(memory.saturating_add(memory / 2).saturating_add(512 << 20))
    }

    /// CPU threads.
    pub fn workers(&self) -> usize {
        self.workers
            .or_else(|| std::thread::available_parallelism().ok())
            .map_or(1, NonZeroUsize::get)
    }
}
