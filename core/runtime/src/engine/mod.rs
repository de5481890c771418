//! One attempt at a run: from the last checkpoint until the end, a stop, or an error.
//!
//! ```text
//! reader.rs      worker.rs                       finish.rs
//! splits ──> queue.rs ──> decode ──> flow.rs ──> exchange.rs ──> writers ──> prepare, checkpoint,
//!    ^           ^                     │                                     commit, acknowledge
//!    │           └── stage.rs <── spool.rs
//! attempt.rs: its life; coordinate.rs: decides; asking.rs: asks sources for splits
//! ```

mod acknowledge;
mod asking;
mod attempt;
mod coordinate;
mod exchange;
mod finish;
mod flow;
mod queue;
mod reader;
mod requests;
mod shared;
mod splits;
mod spool;
mod stage;
mod worker;

pub(crate) use attempt::{Attempt, Outcome};
