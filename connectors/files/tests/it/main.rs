//! What the source and the sink `files` promise.
#![allow(clippy::unwrap_used, reason = "a test that cannot go on fails")]
#![allow(clippy::panic, reason = "a test that cannot go on fails")]

use tidegate_files as _;

mod bad_input;
mod conformance;
mod reading;
mod remembering;
mod support;
mod writing;
