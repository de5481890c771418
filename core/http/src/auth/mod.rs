//! Who is asking: credentials, put on requests and kept to where they belong.
//!
//! ```text
//! Auth (pipeline file) ── Authorizer::new ──> Authorizer ── send ──> Request with credentials
//!                                                │  ^
//!                          token endpoint <── oauth2 └── 401: another token, once
//! ```
//!
//! Secrets are read from where the pipeline file says, never written to logs, errors and state, and
//! don't go over plain http to another machine unless that is asked for.

mod authorizer;
mod config;
mod oauth2;
mod wire;

pub use authorizer::{Along, Authorizer};
pub use config::{Auth, AuthStyle};
pub use wire::may_carry;
