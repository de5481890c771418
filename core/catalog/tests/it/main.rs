//! Tests of what catalogs share.

#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    reason = "a test may panic"
)]

mod fit;
mod hive;
mod merge;
mod types;
