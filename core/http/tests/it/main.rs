//! The client and the ledger against real servers on this machine.

#![allow(clippy::unwrap_used, reason = "helpers of tests")]

mod client;
mod judge;
mod ledger;
mod servers;
mod shown;
mod unpack;
