//! Executors beside a run's own process.
//!
//! ```text
//! a program                                  another process, or another task
//! Pipeline::run ── Executor::remote ──────── serve(registry, input, output)
//!      └── RunOptions::executors
//! ```
//!
//! Both link the same components, and see the same files, upstreams and secrets.

pub use crate::engine::{Executor, serve};
