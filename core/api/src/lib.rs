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
//! To write a connector to an API, say in its `open` what there is:
//!
//! ```no_run
//! # use std::sync::Arc;
//! # use std::num::NonZeroU32;
//! use tidegate_api::{ApiSource, Endpoint, Pagination, Pointer, Total, base_url, under};
//! use tidegate_http::HttpClient;
//!
//! # fn open(cx: &tidegate_core::Context, size: NonZeroU32) -> tidegate_core::Result<Arc<dyn tidegate_core::Source>> {
//! let url = under(&base_url("https://api.example.com/v2")?, "orders");
//! let orders = Endpoint::of("orders", url, "id:int64,placed_at:timestamp,total:decimal(12,2)", &["id"])?
//!     .records(Pointer::member("items"))
//!     .pagination(Pagination::pages("page").sized("per_page", size).counted(Total::member("total")));
//! Ok(Arc::new(ApiSource::new(HttpClient::new(cx)?, vec![orders]).raw(true)))
//! # }
//! ```
//!
//! The engine keeps the source's contract: a page is a position to resume from, a page that
//! comes again or leads to another host is an error and never a loop, what an incremental run has
//! seen is kept for the next. `connectors/jsonplaceholder` is a whole connector,
//! `connectors/rest` one whose endpoint the user describes.
//!
//! What belongs here is what several APIs share. How one of them lets us in belongs to
//! `tidegate-http` or to its connector, which hands it over as an [`Access`].

mod access;
mod body;
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
pub use incremental::{Incremental, MarkFormat, Start};
pub use learn::learn;
pub use pagination::{CursorFrom, Pagination, Place, Total};
pub use pointer::Pointer;
pub use records::{Records, RecordsAt, records};
pub use source::ApiSource;
