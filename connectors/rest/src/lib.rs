//! The source `rest`: any API of JSON over HTTP, by the pipeline file alone.
//!
//! ```text
//! RestConfig ─┬─> Endpoint (tidegate-api): url, params, records, pagination, incremental
//!             └─> RestAccess: credentials, pace and quota, what the API's answers mean
//!                                      │
//!                        ApiSource <───┘
//! ```
//!
//! ```toml
//! [sources.issues]
//! type = "rest"
//! url = "https://api.github.com/repos/rust-lang/rust/issues"
//! params = { state = "all", sort = "updated", direction = "desc", per_page = 100 }
//! pagination = { type = "link" }
//! incremental = { param = "since", field = "/updated_at" }
//! key = ["id"]
//! ```
//!
//! What belongs here is what the user writes, and what follows from that. How pages are walked
//! belongs to `tidegate-api`, how requests are made to `tidegate-http`. An API that needs code
//! (another order of requests, answers that mean something else) gets a connector of its own.

mod access;
mod check;
mod config;
mod dialect;
mod endpoint;
mod params;
mod quota;
mod secrets;

pub use config::{Raw, RestConfig, Verb};
pub use params::{One, Param};
pub use quota::Quota;

tidegate_core::register_source!("rest", RestConfig);
