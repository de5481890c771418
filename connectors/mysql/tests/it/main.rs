//! The components against a real MariaDB.
#![allow(clippy::unwrap_used, reason = "a test that cannot go on fails")]

mod connecting;
mod follow;
mod incremental;
mod pushdown;
mod reading;
mod sample;
mod sink;
mod snapshot;
mod support;
mod types;
mod witness;
