//! Writing files.

mod config;
mod encode;
mod file;
mod open;
mod template;
mod writer;

pub use config::{FilesSinkConfig, Mode};
