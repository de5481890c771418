//! Reading files.

mod config;
mod lines;
mod open;
mod parquet;
mod plan;
mod schema;
mod text;

pub use config::FilesSourceConfig;
