//! The contract that every part of Tidegate stands on: what a source, a transform and a sink are.
//!
//! ```text
//! Source ── plan ──> splits ── read ──> events ──> Map … Gather ──> Writer … SinkEpoch::seal ──┐
//!   ^                                                                                          │
//!   └──────── acknowledge <──────────────── Sink::commit <──────────── checkpoint <────────────┘
//! ```
//!
//! To add a source: write a serde struct ([`SourceConfig`]), a live one ([`Source`]), and the line
//! [`register_source!`]. To add a sink: [`SinkConfig`], [`Sink`], [`SinkEpoch`], a [`CpuWriter`] or
//! an [`IoWriter`], and [`register_sink!`]. To add a transform: [`TransformConfig`], [`Map`] or [`Gather`] and
//! [`register_transform!`]. To add a catalog: [`CatalogConfig`], [`Catalog`] and
//! [`register_catalog!`]. The suites in `tidegate-testkit` say whether it keeps the contract.
//!
//! This crate has Arrow arrays and serde, and knows no runtime, no cloud and no SQL engine.

mod catalog;
mod context;
mod depth;
mod describe;
mod error;
mod event;
mod failed;
mod host;
mod ident;
mod ignored;
mod memory;
mod opaque;
mod origin;
mod panics;
mod patience;
pub mod printable;
pub mod registry;
mod rejected;
mod scan;
mod secret;
mod sink;
mod source;
mod spec;
pub mod suggest;
mod transform;
mod type_name;
mod units;
mod wiring;

pub use async_trait::async_trait;
pub use catalog::{Catalog, CatalogConfig, CatalogTable, TableFormat, TableName, TablePartition};
pub use context::{
    Cancel, Canceller, Context, Forgetful, Input, Journal, KeyValue, Metrics, SinkContext,
    SourceContext, TransformContext, settings_table,
};
pub use depth::{DEEPEST, DEEPEST_IN_CATALOG, DEEPEST_NOTED, STACK_SIZE, check_depth, too_deep};
pub use describe::describe_keys;
pub use error::{Error, ErrorKind, Result};
pub use event::{Decode, Decoded, Event, EventStream, RowPlaces, Rows};
pub use failed::{FailedFile, FailedFiles};
pub use host::{Host, Keep, Kept};
pub use ident::{ComponentId, Epoch, Lineage, RunId, SplitId, StreamName, WriterId};
pub use ignored::{IgnoredColumn, NewColumns};
pub use memory::batch_bytes;
pub use opaque::{Offset, PlanState, Prepared, SplitData, Token};
pub use origin::{Origins, Position, RowOrigin};
pub use panics::{guarded, guarded_async, guarded_stream, panicked, remember_panic};
pub use patience::patiently;
pub use registry::{Kind, Registry};
pub use rejected::{Origin, Rejected, RejectedRow};
pub use scan::{Comparison, Literal, Predicate, Scan};
pub use secret::{Secret, SecretValue, names_a_secret};
pub use sink::{
    Commit, CpuWriter, Delivery, Distribution, InFlight, IoWriter, Recovery, Sealed, Sink,
    SinkBatch, SinkConfig, SinkEpoch, Spread, Visibility, Writer, Written,
};
pub use source::{
    Acknowledged, Ask, Changed, Estimate, FinishedSplit, Limits, Next, Plan, PlannedSplit, Replay,
    Revision, Source, SourceConfig, Split, Stream,
};
pub use spec::{
    CheckpointOptions, ComponentConfig, ComponentSpec, Guarantee, PipelineOptions, PipelineSpec,
    SchemaChange,
};
pub use transform::{
    BatchStream, Gather, Gathered, Map, Mapped, StageInput, Streamed, Transform, TransformConfig,
    batch_column,
};
pub use type_name::{JSON_EXTENSION, SIMPLE_TYPES, TypeName, is_json};
pub use typetag;
pub use units::{ByteSize, Span};
pub use wiring::{Wired, WiringProblem, check_wiring};
