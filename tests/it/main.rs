//! The whole program, run as its users run it.

mod bad_input;
mod cli;
mod edits;
mod examples;
mod files_behaviour;
mod ground;
mod house;
mod jsonplaceholder;
mod kills;
mod quickstart;
mod support;
