//! The source `rest` against servers that keep strict rules, and against real ones.

#![allow(clippy::unwrap_used, reason = "helpers of tests")]

mod credentials;
mod oauth2;
mod redirects;
mod support;
