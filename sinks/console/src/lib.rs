//! The `console` sink: rows on standard output, as a table of the first ones or as NDJSON for pipes.
//!
//! ```toml
//! [sinks.preview]
//! type = "console"
//! inputs = ["weekly"]
//! rows = 10
//! ```
//!
//! It is an observer and counts for nothing in the pipeline's guarantee. A table is printed for
//! each epoch and input when the epoch commits (a bounded run is mostly one epoch, so at its end);
//! what a stopped run has not committed is shown when the sink closes. NDJSON is written at once,
//! and may show rows of an epoch that fails.
//!
//! A table is as wide as the terminal at most: columns that have no room are left out and counted.
//! When the program that reads standard output has ended, nothing more is shown, and the run continues
//! for its other sinks.

mod config;
mod sink;
mod table;
mod terminal;

pub use config::{ConsoleConfig, Format};
pub use sink::ConsoleSink;
pub use table::{Look, draw, left_out};
pub use terminal::{when_closed, write_within};

tidegate_core::register_sink!("console", ConsoleConfig);
