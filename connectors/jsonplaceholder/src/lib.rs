//! The source `jsonplaceholder`: JSONPlaceholder, or any json-server with the same resources.
//!
//! ```toml
//! [sources.people]
//! type = "jsonplaceholder"
//! streams = ["users", "posts"]
//! raw = true
//! ```
//!
//! It is the model for a connector to an API: what the user writes, and which endpoints that
//! makes. How pages become splits and rows is `tidegate-api`'s.

mod config;

pub use config::{JsonPlaceholderConfig, Resource};

tidegate_core::register_source!("jsonplaceholder", JsonPlaceholderConfig);
