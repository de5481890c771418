//! The suite of sinks.

mod commits;
mod delivery;
mod hand;
mod recovery;
mod site;
mod suite;

pub use hand::{Hand, killed, sealed};
pub use suite::{SinkSuite, files_under, sink_suite};
