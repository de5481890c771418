//! The whole program, run as its users run it.
#![allow(clippy::expect_used, reason = "a test that cannot go on fails")]

mod bad_input;
mod circles;
mod cli;
mod deep;
mod edits;
mod examples;
mod files_behaviour;
mod fuzz;
mod ground;
mod house;
mod jsonplaceholder;
mod kills;
mod lake;
mod lake_bad_input;
mod lake_faults;
mod lake_kills;
mod lake_two_runs;
mod large_state;
mod mysql;
mod mysql_bad_input;
mod mysql_follow;
mod mysql_kills;
mod mysql_sink;
mod new_columns;
mod pinterest;
mod query;
mod quickstart;
mod rest;
mod retail;
mod same;
mod stackoverflow;
mod stackoverflow_example;
mod stackoverflow_kills;
mod stackoverflow_quota;
mod support;
