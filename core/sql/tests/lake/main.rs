//! Queries over the lake: catalog tables and plain files.

#![allow(
    clippy::unwrap_used,
    reason = "clippy's exemption of tests doesn't reach their helpers"
)]

mod catalogued;
mod damaged;
mod extremes;
mod paths;
mod recursion;
mod statistics;
mod upstream;
mod world;
