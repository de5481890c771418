//! The fake Stack Exchange keeps to the documented rules, and a client that doesn't is punished.
#![allow(clippy::unwrap_used, reason = "a test that cannot go on fails")]

mod changes;
mod client;
mod failures;
mod filters;
mod paging;
mod shapes;
mod throttle;
