//! A fake of the Stack Exchange API 2.3 that keeps to the documented rules, and punishes what the
//! real one punishes.
//!
//! Rooms: `rules` what the server is like; `server` connections; `respond` from a request to its
//! answer; `judge` rate, repeats, backoff and quota; `query` which rows a request means; `filter`
//! which fields are sent; `render` rows as JSON; `answer` the wrapper, errors and bytes; `data` the
//! rows and their orders; `made` where they come from; `happening` and `changes` what becomes of
//! them.

mod answer;
mod changes;
mod data;
mod filter;
mod happening;
mod judge;
mod made;
mod query;
mod render;
mod respond;
mod rules;
mod seen;
mod server;

pub use changes::{Changes, Site};
pub use rules::{Failure, Packing, Rules};
pub use seen::{Broken, Kind, Request, Seen, Violation};
pub use server::StackExchange;
