//! From the keys of a pipeline file to connections.
//!
//! ```text
//! with_connection! ── adds the keys to ──> a config ── .connection() ──> ConnectionKeys
//!                                                                          │ Connector::open
//!                        a logged-in, set-up Connection <── .connect() ── Connector
//!                        one that is used again <── .lend(), .take() ── Pool
//! ```

mod connector;
mod keys;
mod pool;
mod session;
#[cfg(test)]
mod tests;

pub(crate) use connector::Connector;
pub(crate) use keys::{ConnectionKeys, with_connection};
pub(crate) use pool::{Loan, Pool};
