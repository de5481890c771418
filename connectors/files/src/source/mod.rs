//! The source of files.

mod config;
mod open;
mod schema;

pub use config::FilesSourceConfig;
