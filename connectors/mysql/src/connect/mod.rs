//! From the keys of a pipeline file to connections.
//!
//! ```text
//! with_connection! ── adds the keys to ──> a config ── .connection() ──> ConnectionKeys
//!                                                                          │ Connector::open
//!                        a logged-in, set-up Connection <── .connect() ── Connector
//! ```

mod connector;
mod keys;
mod session;
#[cfg(test)]
mod tests;

pub(crate) use connector::Connector;
pub(crate) use keys::{ConnectionKeys, with_connection};
