//! What APIs of pages of JSON have in common.
//!
//! ```text
//! Endpoint ─> plan: one split, or one a page where the server says how many there are
//!          ─> read: fetch a page ─> its records ─┬─> rows of the endpoint's stream
//!                    ^                           └─> its bytes, in the stream `raw`
//!                    └── next page <── Pagination
//! ```
//!
//! A connector says what there is, as data: [`Endpoint`]s with their schema, [`Pagination`] and
//! [`Incremental`]; [`ApiSource`] reads them. An API that needs a walk of its own takes the smaller
//! pieces: [`records`], [`encoded`], [`raw`], [`page_events`].
//!
//! What belongs here is what several APIs share. How one of them lets us in belongs to
//! `tidegate-http` or to its connector, which hands it over as an [`Access`].

mod access;
mod columns;
mod config;
mod endpoint;
mod events;
mod fetch;
mod follow;
mod hash;
mod incremental;
mod json;
mod learn;
mod link;
mod mark;
mod pagination;
mod plan;
mod pointer;
pub mod raw;
mod records;
mod source;
mod step;
mod walk;

pub use access::{Access, Make, Open};
pub use columns::columns;
pub use config::{base_url, distinct_streams, under};
pub use endpoint::Endpoint;
pub use events::{encoded, page_events};
pub use incremental::{Incremental, MarkFormat};
pub use learn::learn;
pub use pagination::{CursorFrom, Pagination, Place, Total};
pub use pointer::Pointer;
pub use records::{Records, RecordsAt, records};
pub use source::ApiSource;
