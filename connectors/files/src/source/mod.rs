//! The source of files.

mod added;
mod columns;
mod config;
mod directories;
mod open;
mod passing;
mod schema;

pub use config::FilesSourceConfig;
