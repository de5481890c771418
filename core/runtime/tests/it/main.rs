//! Runs of whole pipelines over components that live in memory and can be told to misbehave.
//!
//! A *world* is what outlives a process: what sources have, and what sinks show.

#![allow(
    missing_docs,
    unreachable_pub,
    clippy::unwrap_used,
    clippy::cast_possible_truncation,
    clippy::cast_possible_wrap,
    clippy::cast_sign_loss
)]

mod components;
mod coordination;
mod crashes;
mod damage;
mod executors;
mod heads;
mod holds;
mod on_disk;
mod parts;
mod posts;
mod rationed;
mod running;
mod runs;
mod state;
mod streams;
mod world;
