//! HTTP: the `http_server` source, which takes rows from requests, and the `http` sink, which makes
//! requests of rows.
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
//! The server and the inbox live as long as the run, over its attempts; `check` opens neither. The sink
//! shares nothing with them: see `sink`.

mod config;
mod decode;
mod inbox;
mod record;
mod server;
mod sink;
mod source;

pub use config::{Accept, Ack, HttpServerConfig, RouteConfig, ServerAuth, Signature, Tls};
pub use sink::{Body, HttpSinkConfig, IdempotencyKey, Verb};

tidegate_core::register_source!("http_server", HttpServerConfig);
tidegate_core::register_sink!("http", HttpSinkConfig);
