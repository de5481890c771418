//! The transform `json`: a column of JSON documents becomes typed columns.
//!
//! ```toml
//! [transforms.users]
//! type = "json"
//! inputs = ["api.raw"]
//! column = "body"            # bytes or text
//! records = "/items"         # a row for each element of this array
//! keep = ["fetched_at"]      # carried along to each of these rows
//! schema = [
//!     { name = "id", type = "int64", nullable = false },
//!     { name = "name", type = "string" },
//!     { name = "tags", type = "list<string>" },
//! ]
//! ```
//!
//! What its configuration means is checked before anything runs:
//!
//! ```
//! use tidegate_core::TransformConfig;
//! use tidegate_transform_json::JsonConfig;
//!
//! let config: JsonConfig = serde_json::from_value(serde_json::json!({
//!     "column": "body",
//!     "schema": [{ "name": "id", "type": "int64" }],
//! }))?;
//! assert!(config.validate().is_ok());
//! assert!(JsonConfig { records: Some("items".into()), ..config }.validate().is_err());
//! # Ok::<(), serde_json::Error>(())
//! ```
//!
//! `config.rs` has the keys and what can be checked about them, `map.rs` what is done to a batch,
//! `sample.rs` how a schema is learnt from a sample.

mod config;
mod map;
mod sample;

pub use config::JsonConfig;

tidegate_core::register_transform!("json", JsonConfig);
