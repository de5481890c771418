//! What the `sql` transform does, stated over small tables and a few large ones.
#![allow(clippy::unwrap_used, reason = "a test that can't go on has failed")]

mod conformance;
mod errors;
mod gathers;
mod kinds;
mod maps;
mod memory;
mod names;
mod pushdown;
mod retail;
mod support;
