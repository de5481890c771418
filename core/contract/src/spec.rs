//! A pipeline as data: what a pipeline file says once it is read, and what embedders build by hand.

use std::path::PathBuf;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};

use crate::{ByteSize, ComponentId, Kind, Span};

/// A pipeline: its name, how it runs, and its components in the file's order.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct PipelineSpec {
    /// The name under which its state is kept.
    pub name: String,
    /// The folder that relative paths are relative to.
    pub base: PathBuf,
    /// How it runs.
    pub options: PipelineOptions,
    /// Sources, transforms and sinks, in the file's order.
    pub components: Vec<ComponentSpec>,
}

/// The top-level keys of a pipeline file that say how it runs.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct PipelineOptions {
    /// What is asked of every sink. A sink that can't give it is refused before anything runs.
    /// Without it, each sink gives the best it can.
    pub guarantee: Option<Guarantee>,
    /// When the work is made durable and visible.
    pub checkpoint: CheckpointOptions,
    /// How many rejected rows a run may have before it ends with exit code 3. Without it, any
    /// number, where something reads them.
    pub rejected_limit: Option<u64>,
    /// What to do when a stream's schema changes while it is read.
    pub on_schema_change: SchemaChange,
}

/// When an epoch is cut.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct CheckpointOptions {
    /// At this interval: of a stream, the latency until rows are visible. Default: `"5m"` for a
    /// bounded run, `"10s"` for one without an end.
    pub interval: Option<Span>,
    /// After so many bytes, as they are in memory. Default: no limit.
    pub bytes: Option<ByteSize>,
    /// The least time between two checkpoints that a source asks for, because somebody waits for the
    /// commit (an HTTP client for its answer). What is asked for meanwhile is joined. Default:
    /// `"100ms"`.
    pub min_interval: Option<Span>,
}

/// How surely each row arrives in a sink.
#[derive(
    Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize, JsonSchema,
)]
#[serde(rename_all = "snake_case")]
pub enum Guarantee {
    /// No row is lost; after a crash some may arrive again.
    AtLeastOnce,
    /// No row is lost; after a crash some may be written again, with the same effect as once.
    EffectivelyOnce,
    /// No row is lost, none is doubled.
    ExactlyOnce,
}

impl Guarantee {
    /// As the pipeline file spells it.
    pub fn name(self) -> &'static str {
        match self {
            Self::AtLeastOnce => "at_least_once",
            Self::EffectivelyOnce => "effectively_once",
            Self::ExactlyOnce => "exactly_once",
        }
    }
}

/// What to do when a stream's schema changes while it is read.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum SchemaChange {
    /// Commit what was read, type the graph anew, and go on; stop if it doesn't fit.
    #[default]
    Evolve,
    /// Commit what was read, and stop.
    Fail,
}

/// One component of a pipeline.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct ComponentSpec {
    /// Its name.
    pub id: ComponentId,
    /// What it is.
    pub kind: Kind,
    /// Its `type`.
    pub tag: String,
    /// What it reads: `weekly`, `shop.sales`, `shop.*`, `weekly.rejected`. Empty for sources.
    #[serde(default)]
    pub inputs: Vec<String>,
    /// What is asked of this sink, instead of the pipeline's `guarantee`.
    #[serde(default)]
    pub guarantee: Option<Guarantee>,
    /// Its own keys, without the common ones.
    #[serde(default)]
    pub config: Map<String, Value>,
}

impl PipelineSpec {
    /// The components of a kind, in the file's order.
    pub fn of_kind(&self, kind: Kind) -> impl Iterator<Item = &ComponentSpec> {
        self.components
            .iter()
            .filter(move |component| component.kind == kind)
    }
}
