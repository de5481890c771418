//! The source of files.

mod added;
mod config;
mod directories;
mod open;
mod schema;

pub use config::FilesSourceConfig;
