//! The transform `dedupe`: rows that were there before are dropped.

mod config;
mod keys;
mod map;
mod seen;

pub use config::DedupeConfig;
