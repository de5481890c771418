//! What everything that works with catalogs shares: which table is meant, how two schemas become
//! one, how partitions are named.
//!
//! ```text
//! catalog = { type = "glue", database = "…", table = "…" } ── CatalogTarget ──> dyn Catalog
//! ```
//!
//! The traits are in `tidegate-core`, the catalogs in crates of their own.

mod target;

pub use target::{CatalogTarget, SchemaPolicy};
