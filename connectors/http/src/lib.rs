//! HTTP: the `http_server` source, which takes rows from requests.
//!
//! ```text
//! client ─> server: route, keys, limits, body, signature, syntax
//!             │                                  │
//!             │  202                             v
//!             └──────── safe ──────── Inbox: log on disk │ queue in memory
//!                                                        │
//!                                      source: read ─────┴─> records ─> decode (workers) ─> Arrow
//!                                              acknowledge ─> trims the log │ answers who waits
//! ```
//!
//! The server and the inbox live as long as the run, over its attempts; `check` opens neither.

mod config;
mod decode;
mod inbox;
mod record;
mod server;
mod source;

pub use config::{Accept, Ack, HttpServerConfig, RouteConfig, ServerAuth, Signature, Tls};

tidegate_core::register_source!("http_server", HttpServerConfig);
