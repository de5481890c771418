//! Moves data between APIs, databases, streams, files and catalogs: one TOML file is a pipeline.
//!
//! ```text
//! pipeline.toml ──> config::load ──> Pipeline::with_configs ──> run ──> Report
//! ```
//!
//! This crate is what embedders use: it links the connectors, and gives the pieces under one name.
//! A connector depends on [`tidegate_core`] and the floors that it needs, never on this crate:
//! [`guide::writing_a_connector`]. More on embedding: [`guide::embedding`].
//!
//! ```no_run
//! # async fn example() -> Result<(), Box<dyn std::error::Error>> {
//! use tidegate::{Pipeline, RunOptions, config, registry};
//!
//! let registry = registry()?;
//! let loaded = config::load(&config::LoadOptions::new("pipeline.toml"), &registry)?;
//! let pipeline =
//!     Pipeline::with_configs(loaded.spec, loaded.configs, registry, loaded.settings)?;
//! let (report, result) = pipeline.run(RunOptions::default()).await;
//! result?;
//! println!("{:?} after {} epochs", report.status, report.epochs);
//! # Ok(())
//! # }
//! ```

pub mod guide;
mod state;

// rustc never loads a crate that nothing names.
use tidegate_athena as _;
use tidegate_connector_http as _;
use tidegate_files as _;
use tidegate_generate as _;
use tidegate_glue as _;
use tidegate_jsonplaceholder as _;
use tidegate_kinesis as _;
use tidegate_local_catalog as _;
use tidegate_mysql as _;
use tidegate_rest as _;
use tidegate_sink_console as _;
use tidegate_sink_parquet as _;
use tidegate_stackoverflow as _;
use tidegate_transform_json as _;
use tidegate_transform_shape as _;
use tidegate_transform_sql as _;

pub use state::state_at;
pub use tidegate_config as config;
pub use tidegate_core as core;
pub use tidegate_core::{Error, ErrorKind, PipelineSpec, Registry, Result, STACK_SIZE};
pub use tidegate_program as program;
pub use tidegate_runtime as runtime;
pub use tidegate_runtime::executor;
pub use tidegate_runtime::state::StateLocation;
pub use tidegate_runtime::{FullRefresh, Pipeline, Report, Resume, RunOptions, Status};

/// All components that this crate links, and those that the program links besides.
///
/// # Errors
///
/// [`ErrorKind::Config`] if two crates register one tag.
pub fn registry() -> Result<Registry> {
    Registry::linked()
}
