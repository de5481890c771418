//! The source `rest` against servers that keep strict rules, and against real ones.

#![allow(clippy::unwrap_used, reason = "helpers of tests")]

mod credentials;
mod errors;
mod examples;
mod incremental;
mod oauth2;
mod pages;
mod quotas;
mod real;
mod redirects;
mod schemas;
mod support;
mod values;
