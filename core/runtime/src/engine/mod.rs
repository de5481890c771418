//! One attempt at a run: from the last checkpoint until the end, a stop, or an error.
//!
//! ```text
//! reader.rs      worker.rs                       ┌─> cpu_lane.rs ─┐      finish.rs
//! splits ──> queue.rs ──> decode ──> flow.rs ──> exchange.rs       ├──> seal, checkpoint,
//!    ^        ^   ^                     │        └─> io_lane.rs ──┘     commit, acknowledge
//!    │        │   └── stage.rs <── spool.rs            │
//!    │        └──────────── gate.rs <──────────────────┘ too much waits
//! attempt.rs: its life; coordinate.rs: decides; asking.rs: asks sources for splits
//! ```

mod acknowledge;
mod asking;
mod attempt;
mod coordinate;
mod cpu_lane;
mod exchange;
mod finish;
mod flow;
mod gate;
mod inlet;
mod io_lane;
mod panics;
mod queue;
mod reader;
mod requests;
mod shared;
mod splits;
mod spool;
mod stage;
mod worker;

pub(crate) use attempt::{Attempt, Outcome};
