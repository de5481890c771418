//! The source of files.

mod added;
mod config;
mod folders;
mod open;
mod schema;

pub use config::FilesSourceConfig;
