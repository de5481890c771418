//! A catalog in a file of SQLite: what the lake's tables are, without a server.
//!
//! ```text
//! LocalConfig ── open ──> LocalCatalog ──> Store (SQLite, threads that may block)
//!                              │
//!                              └─ merging: tidegate-catalog
//! ```
//!
//! Several processes may use one file at once: each change is a transaction of its own. The file
//! must lie on a local disk, because SQLite's locks don't hold on network file systems.

mod catalog;
mod config;
mod store;

pub use config::LocalConfig;

tidegate_core::register_catalog!("local", LocalConfig);
