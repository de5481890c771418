//! The source `stackoverflow` against a fake of the API that punishes what the real one punishes.

#![allow(clippy::unwrap_used, reason = "helpers of tests")]

mod budget;
mod changing;
mod errors;
mod pipeline;
mod reading;
