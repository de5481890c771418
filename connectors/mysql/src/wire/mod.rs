//! The MySQL protocol as a reader of many rows needs it: rows arrive as the bytes that the server
//! sent, and a worker thread decodes them.
//!
//! ```text
//! Connection::open ── TCP, TLS, login ─┬─> execute, run (no rows)
//!                                      ├─> query (a few rows, as text)
//!                                      ├─> rows (many rows) ── next ──> Chunk: whole rows, as they came
//!                                      └─> command, packet (the binlog)
//! ```
//!
//! The packets of login and metadata are `mysql_common`'s. What it and its clients don't have is a
//! way to the bytes of a row: they make a vector of values of each.

mod connection;
mod dial;
mod key;
mod login;
mod most;
mod rows;
mod server;
mod tls;
mod transport;

pub(crate) use connection::{Address, Connection, length};
pub(crate) use key::PublicKey;
pub(crate) use login::Login;
pub(crate) use rows::{Chunk, RowBounds, Rows};
pub(crate) use server::{Server, ServerError};
pub(crate) use tls::Tls;
pub use tls::TlsMode;

#[cfg(test)]
mod tests;
