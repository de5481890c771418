//! Amazon Athena: SQL that AWS runs over the tables of the Glue catalog. The source `athena`, and
//! the engine behind `tidegate query --engine athena`.
//!
//! ```text
//! statement ── start (idempotent) ──> execution ── poll ──> done ── pages of text ──> Arrow batches
//!                                         │
//!                                         └─ let go of before its end: stopped
//! ```
//!
//! ```toml
//! [sources.big_orders]
//! type = "athena"
//! database = "shop"
//! query = "SELECT id, customer, total FROM orders WHERE total > 1000"
//! output = "s3://my-bucket/athena-results"
//! ```
//!
//! A program runs SQL so:
//!
//! ```no_run
//! # async fn example(cx: &tidegate_core::Context) -> tidegate_core::Result<()> {
//! use futures::TryStreamExt;
//! use tidegate_athena::{Athena, AthenaSettings};
//!
//! let settings = AthenaSettings::of(cx, AthenaSettings::default())?;
//! let athena = Athena::open(cx, settings).await?;
//! if let Some(mut result) = athena.run("SELECT 1 AS one", &cx.cancel).await? {
//!     while let Some(batch) = result.batches.try_next().await? {
//!         assert_eq!(batch.num_columns(), 1);
//!     }
//! }
//! athena.close().await;
//! # Ok(())
//! # }
//! ```
//!
//! [`AthenaConfig`] and [`AthenaSettings`] are what the user writes. Inside, `statement` looks at
//! SQL text, `client` is what goes over the wire, `execution` starts, waits and stops, `failure`
//! explains, `columns`, `cell` and `page` make Arrow of what comes back.

mod athena;
mod cell;
mod client;
mod columns;
mod config;
mod execution;
mod failure;
mod page;
mod settings;
mod source;
mod start;
mod statement;
mod statistics;

pub use athena::{Athena, AthenaResult};
pub use config::AthenaConfig;
pub use settings::AthenaSettings;
pub use statistics::Statistics;

tidegate_core::register_source!("athena", AthenaConfig);
