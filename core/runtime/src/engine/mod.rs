//! One attempt at a run: from the last checkpoint until the end, a stop, or an error.
//!
//! ```text
//! coordinator: attempt.rs: its life; coordinate.rs: decides; asking.rs: asks sources for splits;
//!    │  ^      cutting.rs: cuts all; finish.rs: checkpoint, commit, acknowledge
//!    │  │ message.rs: data only
//!    v  │
//! execution.rs ───────────────────────────────────────────────────────────────────┐
//!    v                                                                             v
//! reader.rs      worker.rs                       ┌─> cpu_lane.rs ─┐
//! splits ──> queue.rs ──> decode ──> flow.rs ──> exchange.rs       ├──────────> seal.rs
//!             ^   ^                     │        └─> io_lane.rs ──┘
//!             │   └── stage.rs <── spool.rs            │
//!             └──────────── gate.rs <──────────────────┘ too much waits
//!
//! places.rs: where rows stand that flow.rs carries and a map rejects
//! another process: remote.rs ── frame.rs ── serve.rs ── execution.rs
//! ```

mod acknowledge;
mod asking;
mod attempt;
mod common;
mod coordinate;
mod cpu_lane;
mod cutting;
mod exchange;
mod execution;
mod executors;
mod finish;
mod flow;
mod frame;
mod gate;
mod inlet;
mod io_lane;
mod message;
mod panics;
mod places;
mod queue;
mod reader;
mod remote;
mod requests;
mod seal;
mod serve;
mod shared;
mod splits;
mod spool;
mod stage;
mod worker;

pub(crate) use attempt::{Attempt, Outcome};
pub(crate) use common::Common;
pub use remote::Executor;
pub use serve::serve;

use tokio::task::JoinHandle;

/// A task that ends with whoever has it.
struct Task<T>(JoinHandle<T>);

impl<T> Drop for Task<T> {
    fn drop(&mut self) {
        self.0.abort();
    }
}

/// Waits for what is there; forever if nothing is.
async fn some<F: Future + Unpin>(work: Option<F>) -> F::Output {
    match work {
        Some(work) => work.await,
        None => std::future::pending().await,
    }
}
