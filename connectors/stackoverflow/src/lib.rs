//! The source `stackoverflow`: Stack Overflow and the other sites of the Stack Exchange network, by
//! their API 2.3.
//!
//! ```text
//! plan: now − lag ─> a window of the sort's field, from the last run's end ─> one split a stream
//! read: min=<last seen> ─> ledger (quota, backoff, pace) ─> page ─┬─> rows not seen yet, decoded on
//!         ^                                                       │   a worker: typed stream
//!         └───────────── the last row's date, ids of its second ──┴─> the page as sent: `raw`
//! ```
//!
//! ```toml
//! [sources.so]
//! type = "stackoverflow"
//! streams = ["questions"]
//! tagged = ["rust"]
//! since = "7d"
//! key = { env = "STACKEXCHANGE_KEY" }
//! ```
//!
//! Rows are read by key and never by page number, so what changes while it is read hides nothing,
//! and the API's limit of 25 pages is never reached. [`config`](StackOverflowConfig) is what the
//! user writes; `streams` is what the API has and how it sorts; `fields` the documented fields, and
//! `filter` which of them are sent. `window` is what a split stands for, and `walk` how it is read,
//! pure and without I/O; `plan` and `read` make splits and events of it; `client` is what goes over the wire, `error` what the API means by
//! its answers, `budget` what a run will cost. `decode` makes Arrow of rows: `convert` their times,
//! `entities` their texts.
//!
//! What isn't particular to this API (retries, the ledger, packed bodies) is in `tidegate-http`, and
//! what all paged JSON APIs share is in `tidegate-api`.

mod budget;
mod client;
mod config;
mod convert;
mod decode;
mod entities;
mod error;
mod fields;
mod filter;
mod plan;
mod read;
mod since;
mod source;
mod streams;
mod walk;
mod window;

pub use config::{Order, StackOverflowConfig};
pub use filter::{CustomFilter, Filter};
pub use since::Since;
pub use streams::{Kind, Sort};

tidegate_core::register_source!("stackoverflow", StackOverflowConfig);
