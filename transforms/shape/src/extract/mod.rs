//! The transform `extract`: fields of nested JSON, wherever they stand.

mod config;
mod map;
mod search;

pub use config::{ExtractConfig, FieldToFind, FoundColumn};
