//! The server between real clients and a program that takes what is committed, and the sink before
//! servers that fail.

#![allow(clippy::unwrap_used)]

mod acks;
mod answers;
mod attacks;
mod routes;
mod sink_answers;
mod sink_far;
mod sink_presets;
mod sink_requests;
mod sink_runs;
mod site;
mod tls;
