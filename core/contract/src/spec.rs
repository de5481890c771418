//! A pipeline as data: what a pipeline file says once it is read, and what embedders build by hand.

use std::path::PathBuf;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};

use crate::units::positive;
use crate::{
    ByteSize, ComponentId, Error, Kind, Registry, Result, SinkConfig, SourceConfig, Span,
    TransformConfig, Wired, check_wiring,
};

/// A pipeline: its name, how it runs, and its components in the file's order.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct PipelineSpec {
    /// The name under which its state is kept.
    pub name: String,
    /// The directory that relative paths are relative to.
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
    /// At this interval, more than 0: of a stream, the latency until rows are visible. Default:
    /// `"5m"` for a bounded run, `"10s"` for an unbounded one.
    #[serde(deserialize_with = "positive")]
    pub interval: Option<Span>,
    /// After so many bytes, as they are in memory; more than 0. Default: no limit.
    #[serde(deserialize_with = "positive")]
    pub bytes: Option<ByteSize>,
    /// The least time between two checkpoints that a source asks for, because somebody waits for the
    /// commit (an HTTP client for its answer). What is asked for meanwhile is joined. `"0s"`: each is
    /// made at once. Default: `"100ms"`.
    pub min_interval: Option<Span>,
}

/// How surely each row arrives in a sink.
#[derive(
    Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize, JsonSchema,
)]
#[serde(rename_all = "snake_case")]
pub enum Guarantee {
    /// Rows may be lost in a crash: the source can't give them again.
    None,
    /// No row is lost; after a crash some may arrive again.
    AtLeastOnce,
    /// No row is lost; after a crash some may be written again, with the same effect as once.
    EffectivelyOnce,
    /// No row is lost, none is duplicated.
    ExactlyOnce,
}

impl Guarantee {
    /// As the pipeline file spells it.
    pub fn name(self) -> &'static str {
        match self {
            Self::None => "none",
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

/// The configuration of a component, parsed and valid.
#[derive(Debug)]
pub enum ComponentConfig {
    /// Of a source.
    Source(Box<dyn SourceConfig>),
    /// Of a transform.
    Transform(Box<dyn TransformConfig>),
    /// Of a sink.
    Sink(Box<dyn SinkConfig>),
}

impl ComponentConfig {
    /// Parses a component's keys, and checks them. No I/O.
    ///
    /// Errors: `Config`.
    pub fn parse(registry: &Registry, spec: &ComponentSpec) -> Result<Self> {
        let table = Value::Object(spec.config.clone());
        Ok(match spec.kind {
            Kind::Source => {
                let config = registry.source(&spec.tag, table)?;
                config.validate()?;
                Self::Source(config)
            }
            Kind::Transform => {
                let config = registry.transform(&spec.tag, table)?;
                config.validate()?;
                Self::Transform(config)
            }
            Kind::Sink => {
                let config = registry.sink(&spec.tag, table)?;
                config.validate()?;
                Self::Sink(config)
            }
            Kind::Catalog => {
                return Err(Error::config("a catalog can't be a component")
                    .hint("it stands in a sink's `catalog`, or in the settings"));
            }
        })
    }
}

impl PipelineSpec {
    /// A pipeline without components, to be built in code; relative paths are relative to `base`.
    pub fn new(name: impl Into<String>, base: impl Into<PathBuf>) -> Self {
        Self {
            name: name.into(),
            base: base.into(),
            options: PipelineOptions::default(),
            components: Vec::new(),
        }
    }

    /// The same with a source more. `config` has the keys of its table, without `type`.
    ///
    /// Errors: `Config` for a bad name, or a configuration that isn't an object.
    pub fn source(self, id: &str, tag: &str, config: Value) -> Result<Self> {
        self.component(Kind::Source, id, tag, &[], config)
    }

    /// The same with a transform more; see [`Self::source`]. `inputs` is what it reads.
    pub fn transform(self, id: &str, tag: &str, inputs: &[&str], config: Value) -> Result<Self> {
        self.component(Kind::Transform, id, tag, inputs, config)
    }

    /// The same with a sink more; see [`Self::transform`].
    pub fn sink(self, id: &str, tag: &str, inputs: &[&str], config: Value) -> Result<Self> {
        self.component(Kind::Sink, id, tag, inputs, config)
    }

    fn component(
        mut self,
        kind: Kind,
        id: &str,
        tag: &str,
        inputs: &[&str],
        config: Value,
    ) -> Result<Self> {
        let id = ComponentId::new(id)?;
        let Value::Object(config) = config else {
            return Err(Error::config("a configuration has to be an object")
                .with("component", id)
                .hint("without keys it is json!({})"));
        };
        self.components.push(ComponentSpec {
            id,
            kind,
            tag: tag.to_owned(),
            inputs: inputs.iter().map(|&input| input.to_owned()).collect(),
            guarantee: None,
            config,
        });
        Ok(self)
    }

    /// Checks what doesn't depend on what components are: that names are unique, and that what is
    /// read exists, is read once and doesn't go round in a circle. A pipeline file was checked so
    /// when it was loaded.
    ///
    /// Errors: `Config`, the first error.
    pub fn check(&self) -> Result<()> {
        for (at, component) in self.components.iter().enumerate() {
            let before = &self.components[..at];
            let error = if before.iter().any(|other| other.id == component.id) {
                Error::config(format!("two components are named `{}`", component.id))
                    .hint("names are shared by sources, transforms and sinks: rename one of them")
            } else if component.kind == Kind::Source && !component.inputs.is_empty() {
                Error::config("a source reads no other component").hint("remove its `inputs`")
            } else if component.kind != Kind::Source && component.inputs.is_empty() {
                Error::config("it reads nothing").hint("say what it reads: inputs = [\"…\"]")
            } else {
                continue;
            };
            return Err(error.with("component", &component.id));
        }
        for kind in [Kind::Source, Kind::Sink] {
            if self.of_kind(kind).next().is_none() {
                return Err(Error::config(format!("the pipeline has no {kind}")));
            }
        }
        let wired = self.components.iter().map(|component| Wired {
            id: component.id.as_str(),
            kind: component.kind,
            inputs: component.inputs.iter().map(String::as_str).collect(),
        });
        let problems = check_wiring(&wired.collect::<Vec<_>>());
        match problems.into_iter().find(|problem| !problem.is_warning) {
            None => Ok(()),
            Some(problem) => Err(Error::config(problem.message)
                .with("component", &self.components[problem.component].id)
                .hint(problem.hint)),
        }
    }

    /// The components of a kind, in the file's order.
    pub fn of_kind(&self, kind: Kind) -> impl Iterator<Item = &ComponentSpec> {
        self.components
            .iter()
            .filter(move |component| component.kind == kind)
    }
}
