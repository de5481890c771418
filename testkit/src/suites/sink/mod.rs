//! The suite of sinks.

mod commits;
mod delivery;
mod recovery;
mod site;
mod suite;

pub use suite::{SinkSuite, files_under, sink_suite};
