//! Writing files.

mod config;
mod encode;
mod epoch;
mod open;
mod prepared;
mod template;
mod writer;

pub use config::{FilesSinkConfig, Mode};
