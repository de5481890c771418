//! What the source and the sink `files` promise.
#![allow(clippy::unwrap_used, reason = "a test that cannot go on fails")]
#![allow(clippy::panic, reason = "a test that cannot go on fails")]

use tidegate_files as _;
use tidegate_local_catalog as _;

mod bad_input;
mod conformance;
mod crawled;
mod crawling;
mod directories;
mod failing;
mod many;
mod new_columns;
mod pruning;
mod reading;
mod remembering;
mod revising;
mod s3;
mod support;
mod tables;
mod text_in;
mod together;
mod writing;
mod writing_tables;
