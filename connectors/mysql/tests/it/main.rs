//! The components against a real MariaDB.

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
