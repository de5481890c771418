//! Reads pipeline files.
//!
//! ```text
//! pipeline.toml ← pipeline.<profile>.toml ← TIDEGATE_SET__a__b=… ← --set a.b=…      (layers)
//!       │
//!       └─> tree with places ─> ${VAR} ─> types ─> JSON Schemas ─> inputs ─> PipelineSpec
//!                                                        │
//!                                              Diagnostics: all errors at once
//! ```
//!
//! [`load`] gives the pipeline as data, or every error with its place, underlined, and a hint.
//! [`Loaded::document`] keeps the places, so that errors which come later (of a SQL text, of a
//! missing file) are shown in the file too. Nothing here opens anything but the files named.
//!
//! - Tables are merged key by key; an overlay's array **replaces** the array below it.
//! - `${VAR}` and `${VAR:-default}` are put into string values after parsing; `$${` stands for
//!   `${`. A value that is one `${…}` whole, and all that comes from `--set` or the environment,
//!   becomes what its key wants: a number for a number's key, while a string's key keeps `00123`.
//! - TOML dates become strings.

mod common;
mod diagnostic;
mod document;
mod editors;
mod inputs;
mod interpolate;
mod layers;
mod load;
mod node;
mod overlap;
mod pipeline;
mod redact;
mod schema;
mod settings;
mod source;
mod text;

pub use common::{pipeline_schema, settings_schema};
pub use diagnostic::{Diagnostic, Diagnostics};
pub use document::{Document, Location, explain_text};
pub use load::{LoadOptions, Loaded, load, load_settings};
