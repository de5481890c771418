//! `cargo xtask …`: what a developer of Tidegate and CI run.
//!
//! ```text
//! cargo xtask setup            installs what tests need, into one directory outside the clone
//! cargo xtask test             setup, then formatting, lints, all tests, documentation
//! cargo xtask docs             writes docs/reference from what the program says of itself
//! cargo xtask bench            measures, beside others that do the same
//! cargo xtask fuzz values      looks for wrong answers with random tables and SQL
//! cargo xtask fuzz bytes       looks for crashes with hostile bytes
//! cargo xtask lake             runs examples/lake against servers on this machine
//! cargo xtask retail           runs examples/retail the same way
//! cargo xtask stackoverflow    runs examples/stackoverflow the same way
//! cargo xtask user-details     runs examples/user-details the same way
//! cargo xtask jsonplaceholder  runs examples/jsonplaceholder the same way
//! cargo xtask pinterest        runs examples/pinterest the same way
//! ```
//!
//! Each command is a module with a struct of arguments that has `run`.

#![allow(
    clippy::print_stdout,
    clippy::print_stderr,
    reason = "this program talks to a person"
)]

mod bench;
mod docs;
mod example;
mod fuzz;
mod jsonplaceholder;
mod lake;
mod pinterest;
mod process;
mod program;
mod retail;
mod serve;
mod setup;
mod stackoverflow;
mod test;
mod user_details;

#[path = "../../testkit/src/servers/place.rs"]
mod place;

use std::process::ExitCode;

use clap::Parser;

/// Tidegate's development tasks.
#[derive(Debug, Parser)]
#[command(bin_name = "cargo xtask")]
enum Command {
    Bench(bench::Bench),
    Docs(docs::Docs),
    Fuzz(fuzz::Fuzz),
    #[command(name = "jsonplaceholder")]
    JsonPlaceholder(jsonplaceholder::JsonPlaceholder),
    Lake(lake::Lake),
    Pinterest(pinterest::Pinterest),
    Retail(retail::Retail),
    Setup(setup::Setup),
    #[command(name = "stackoverflow")]
    StackOverflow(stackoverflow::StackOverflow),
    UserDetails(user_details::UserDetails),
    Test(test::Test),
}

fn main() -> ExitCode {
    let done = match Command::parse() {
        Command::Bench(bench) => bench.run(),
        Command::Docs(docs) => docs.run(),
        Command::Fuzz(fuzz) => fuzz.run(),
        Command::JsonPlaceholder(example) => example.run(),
        Command::Lake(lake) => lake.run(),
        Command::Pinterest(example) => example.run(),
        Command::Retail(retail) => retail.run(),
        Command::Setup(setup) => setup.run(),
        Command::StackOverflow(example) => example.run(),
        Command::UserDetails(example) => example.run(),
        Command::Test(test) => test.run(),
    };
    match done {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("error: {error:#}");
            ExitCode::FAILURE
        }
    }
}
