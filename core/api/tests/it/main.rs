//! The engine for paged APIs against servers of every kind, in one binary.

#![allow(clippy::unwrap_used, reason = "helpers of tests")]

mod bodies;
mod ends;
mod faults;
mod incremental;
mod json_server;
mod next_pages;
mod paging;
mod resume;
mod schemas;
mod support;
mod totals;
