//! The source of a catalog's table: its files are found by the catalog, and read as any others.

mod config;
mod find;
mod open;

pub use config::TableSourceConfig;
pub(crate) use open::guessed_csv;
pub use open::table_format;
