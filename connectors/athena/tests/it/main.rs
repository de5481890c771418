//! Athena, against a server that answers in the shapes of the real one, and against one that really
//! runs SQL.

#![allow(clippy::unwrap_used, reason = "a test that cannot go on fails")]

mod fake;
mod ministack;
mod query;
mod source;
