//! The source `stackoverflow` against a fake of the API that keeps its rules and punishes what
//! breaks them.

#![allow(clippy::unwrap_used, reason = "a test that cannot go on fails")]

mod budget;
mod changing;
mod errors;
mod pipeline;
mod reading;
mod rows;
mod whole;
