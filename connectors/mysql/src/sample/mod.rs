//! A loop that gives one random row of each table at a time, for emulating live traffic.

mod config;
mod dice;
mod looping;

pub use config::{Sample, Wait};
pub(crate) use looping::{Draws, Sampler};
