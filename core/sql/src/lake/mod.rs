//! SQL over the lake: tables of a catalog and plain files, wherever they lie.
//!
//! ```text
//! text ── names ──> LakeTable…  ── DataFusion ──> plan ── LakeQuery::run ──> batches
//!           │           │ scan: partitions that can match ── listing ── footers ──> files, row groups
//!           │           └───────── explain: how much of each table that leaves
//!           └── catalog (db.table, table), or paths ('s3://bucket/x/*.parquet', 'data/x.csv')
//! ```
//!
//! The dialect is that of [`Query`](crate::Query). Only what a query names is looked up, and only
//! partitions that its conditions leave are listed.
//!
//! Parquet is read by DataFusion; text by [`TextFiles`], which whoever makes the lake gives to it.

mod adapt;
mod explain;
mod files;
mod footers;
mod names;
mod partitions;
mod places;
mod provider;
mod query;
mod reader;
mod scan;
mod store;
mod text;
mod traffic;
mod trusted;

pub use explain::{Explanation, Share, TableShare};
pub use names::needs_catalog;
pub use query::{Lake, LakeOptions, LakeQuery};
pub use text::{TextFile, TextFiles, TextRows};
pub use traffic::Traffic;
