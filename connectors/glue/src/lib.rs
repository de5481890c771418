//! The AWS Glue Data Catalog: tables that Athena, Spark, Trino and Redshift see.
//!
//! ```text
//! GlueConfig ── open ──> GlueCatalog ─┬─ table.rs       a table of Glue's ⇄ a CatalogTable
//!                                     ├─ formats.rs     its classes (SerDe, input, output)
//!                                     ├─ partitions.rs  batches, errors inside of HTTP 200
//!                                     ├─ expression.rs  predicates in Glue's words
//!                                     └─ api.rs         the requests
//! ```
//!
//! How names and types are folded, and how tables are merged, is in `tidegate-catalog`; credentials,
//! endpoints and errors are in `tidegate-aws`.

mod api;
mod catalog;
mod config;
mod expression;
mod formats;
mod partitions;
mod table;

pub use config::GlueConfig;

tidegate_core::register_catalog!("glue", GlueConfig);
