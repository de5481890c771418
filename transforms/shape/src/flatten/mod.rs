//! The transform `flatten`: nested columns become columns of their own.

mod config;
mod map;

pub use config::FlattenConfig;
