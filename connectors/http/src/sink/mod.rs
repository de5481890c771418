//! The `http` sink: rows as requests.
//!
//! ```text
//! write: rows ─> Plan: address, record ─> Filling: up to batch_rows, batch_bytes ─┐
//!                 └─ no address ─> rejected                  (rest: at the end)   │ load
//!                                                                                 v
//!         rejected <── refused alone ── Sender: body, key ─> Request within Adaptive ─> server
//!                                         ^ │
//!                                         │ └── answer: taken │ refused: halves │ some again
//!                                         └────────────────────────────┴──────────────┘
//! ```
//!
//! Everything is sent before the checkpoint, and nothing at the commit. Where no order is asked for,
//! all writers of an epoch fill one load; else each fills its own.

mod answer;
mod answers;
mod check;
mod config;
mod live;
mod load;
mod plan;
mod preset;
mod send;
mod template;

pub use config::{Body, HttpSinkConfig, IdempotencyKey, Verb};
