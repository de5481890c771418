//! What tests of Tidegate and of connectors share: conformance suites and real servers.
//!
//! A dev-dependency only.

pub mod servers;
pub mod suites;
