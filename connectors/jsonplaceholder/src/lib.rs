//! The source `jsonplaceholder`: JSONPlaceholder, or any json-server with the same resources.
//!
//! ```text
//! plan: probe each resource ─> its paging and its length ─> one split a page
//! read: fetch the page once ─┬─> typed rows of its stream
//!                            └─> its bytes, in the stream `raw`
//! ```
//!
//! ```toml
//! [sources.people]
//! type = "jsonplaceholder"
//! streams = ["users", "posts"]
//! raw = true
//! ```
//!
//! It is the model for a connector to an API: [`config`](JsonPlaceholderConfig) is what the user
//! writes, `resource` what there is, `client` what goes over the wire, `source` how that becomes
//! splits and rows.

mod client;
mod config;
mod resource;
mod source;

pub use config::JsonPlaceholderConfig;
pub use resource::Resource;

tidegate_core::register_source!("jsonplaceholder", JsonPlaceholderConfig);
