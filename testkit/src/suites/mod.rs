//! Conformance suites: does this component keep the contract?
//!
//! ```text
//! source_suite(open)          .rows("users", 10).refuses(…).check().await
//! transform_suite(open)       .input("shop.sales", batches)  .check().await
//! sink_suite(open, visible)   .objects(…).refuses(…)         .check().await
//! catalog_suite(open)         .refuses(…)                    .check().await
//! ```
//!
//! Each takes a closure that opens the component anew, as a later process would, runs every check
//! that applies, and gives a [`Report`]; `check` panics with the name of each check that failed and
//! why. Each check has a name that stays, and a broken double that it must catch
//! (`tests/doubles.rs`).
//!
//! Every check of a sink gets a destination of its own: its context's `base` is a new, empty
//! directory, and its `pipeline` a new name for destinations that are no directories.
//!
//! # A source in five lines
//!
//! ```no_run
//! # use std::sync::Arc;
//! # use tidegate_core::{ErrorKind, Source, SourceConfig};
//! # async fn test(config: fn() -> Box<dyn SourceConfig>, bad: fn() -> Box<dyn SourceConfig>) {
//! use tidegate_testkit::suites::{context, source_suite};
//!
//! source_suite(move || async move { config().open(&context().source()).await })
//!     .rows("users", 10)
//!     .refuses("no such table", ErrorKind::NotFound, move || async move {
//!         bad().open(&context().source()).await.map(drop)
//!     })
//!     .check()
//!     .await;
//! # }
//! ```
//!
//! # A sink
//!
//! ```no_run
//! # use std::sync::Arc;
//! # use arrow_array::RecordBatch;
//! # use tidegate_core::{Context, Result, Sink, SinkConfig};
//! # async fn read_files(_: &std::path::Path) -> Result<Vec<RecordBatch>> { Ok(Vec::new()) }
//! # async fn test(config: fn() -> Box<dyn SinkConfig>) {
//! use tidegate_testkit::suites::sink_suite;
//!
//! sink_suite(
//!     move |cx| async move { config().open(&cx).await }, // a `url` relative to `cx.common.base`
//!     |cx| async move { read_files(&cx.base.join("out")).await },
//! )
//! .check()
//! .await;
//! # }
//! ```
//!
//! # A catalog
//!
//! ```no_run
//! # use tidegate_core::CatalogConfig;
//! # async fn test(config: fn() -> Box<dyn CatalogConfig>) {
//! use tidegate_testkit::suites::catalog_suite;
//!
//! catalog_suite(move |cx| async move { config().open(&cx).await }).check().await;
//! # }
//! ```
//!
//! # A transform
//!
//! ```no_run
//! # use arrow_array::RecordBatch;
//! # use tidegate_core::TransformConfig;
//! # async fn test(config: fn() -> Box<dyn TransformConfig>, sales: RecordBatch) {
//! use tidegate_testkit::suites::transform_suite;
//!
//! transform_suite(move |cx| async move { config().open(&cx).await })
//!     .input("sales", vec![sales])
//!     .check()
//!     .await;
//! # }
//! ```

mod catalog;
mod check;
mod context;
mod gathered;
mod rows;
mod sink;
mod source;
mod tasks;
mod transform;

pub use catalog::{CatalogSuite, catalog_suite};
pub use check::{Failure, Report};
pub use context::{MemoryJournal, MemoryKeyValue, TestContext, context};
pub use gathered::MemoryGathered;
pub use rows::{render, sorted};
pub use sink::{Hand, SinkSuite, files_under, killed, sealed, sink_suite};
pub use source::{SourceSuite, source_suite};
pub use transform::{TransformSuite, transform_suite};
