//! What the sink `parquet` promises.
#![allow(clippy::unwrap_used, reason = "a test that cannot go on fails")]
#![allow(
    clippy::single_range_in_vec_init,
    reason = "an epoch is a range of ids"
)]

use tidegate_sink_parquet as _;

mod catalog;
mod config;
mod conformance;
mod layout;
mod overwrite;
mod shelf;
mod support;
mod two_phase;
mod types;
