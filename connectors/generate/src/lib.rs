//! The `generate` source: synthetic rows from a schema with a seed, a fixed number or unbounded, at a fixed rate
//! or as fast as possible. For demos, benchmarks, and for testing unbounded runs.
//!
//! ```toml
//! [sources.made]
//! type = "generate"
//! rows = 1_000_000
//! columns = [
//!     { name = "id", type = "sequence" },
//!     { name = "price", type = "decimal", precision = 9, scale = 2, min = 1, max = 99 },
//!     { name = "colour", type = "choice", values = ["red", "green"], nulls = 0.1 },
//! ]
//! ```
//!
//! Each value depends only on the seed, the column's name and the row's number: so rows are made
//! on all workers, splits are ranges of rows, and reading resumes at any row.

mod column;
mod config;
mod dice;
mod source;

pub use column::ColumnConfig;
pub use config::GenerateConfig;
pub use source::GenerateSource;

tidegate_core::register_source!("generate", GenerateConfig);
