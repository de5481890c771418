//! Glue, against moto, with the limits that Glue has and moto doesn't.

#![allow(clippy::unwrap_used, clippy::expect_used, reason = "a test may panic")]

mod contract;
mod requests;
mod strict;
mod tables;
