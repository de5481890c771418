//! Changes, from the binary log.
//!
//! ```text
//! plan:  server::note ── the position ──> the snapshot's splits, then one split of the log
//! read:  server::dump ── packets ──> Follower ── event, map, statement: what happened
//!                                      │ shape, stored, conversion: how rows of a table are read
//!                                      └ image: a row as a SELECT would send it ──> decode
//! ```
//!
//! A stream that is followed has three columns more: `_op`, `_ts` and `_pos` (see `columns`). A row
//! of the snapshot may already hold changes that the log tells again; whoever keeps the last row of
//! each key by `_pos`, and drops those that were deleted, has the table.

mod ahead;
mod bytes;
mod charset;
mod columns;
mod conversion;
mod event;
mod feed;
mod followed;
mod follower;
mod gtid;
mod image;
mod json;
mod live;
mod map;
mod position;
mod server;
mod shape;
mod statement;
mod stored;
mod token;
mod track;
mod tracked;
mod transactions;
mod values;

pub(crate) use columns::{stamp, without};
pub(crate) use followed::Following;
#[cfg(feature = "fuzzing")]
pub(crate) use follower::fuzzing;
pub(crate) use live::Live;
pub(crate) use position::Noted;
