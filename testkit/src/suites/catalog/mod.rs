//! The suite of catalogs.

mod merging;
mod partitions;
mod suite;
mod tables;

pub use suite::{CatalogSuite, catalog_suite};
