//! Runs pipelines: plans, reads, carries rows to sinks, and remembers how far it came.
//!
//! ```text
//! splits → readers (I/O) → one bounded queue → workers (CPU: decode, maps) → exchange → writers
//!                                 ^                                                       │
//!                         epochs are cut here               seal → checkpoint → commit → acknowledge
//! ```
//!
//! [`Pipeline`] is the way in. What happens after a crash is in [`state`] (what is remembered) and
//! in `recover` (what is done with it).

mod describe;
mod engine;
pub mod executor;
mod graph;
mod ignored;
mod recover;
mod report;
mod resume;
mod retry;
mod run;
mod scratch;
mod settings;
pub mod state;
mod stats;
mod stored;

pub use describe::{
    ColumnDescription, ComponentDescription, Description, InputDescription, OutputDescription,
    PushedDown, SplitDescription,
};
pub use graph::Graph;
pub use ignored::IgnoredColumns;
pub use report::{ComponentReport, Exhausted, FailedFileReport, IgnoredReport, Report, Status};
pub use resume::Resume;
pub use retry::{Action, LONGEST_WAIT, action};
pub use run::{Pipeline, RunOptions};
pub use scratch::Scratch;
pub use settings::RuntimeSettings;
pub use stats::{ComponentStats, Given, RunStats};
