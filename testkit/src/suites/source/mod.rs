//! The suite of sources.

mod planning;
mod reading;
mod resuming;
mod suite;

pub use suite::{SourceSuite, source_suite};
