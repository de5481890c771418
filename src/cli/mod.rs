//! The command line: one file a command, and what they share.

mod args;
mod board;
mod catalog;
mod check;
mod components;
mod confirm;
mod errors;
mod exit;
mod explain;
mod lake;
mod lines;
mod load;
mod memory;
mod out;
mod plan;
mod progress;
mod query;
mod reference;
mod report;
mod rows;
mod run;
mod signals;
mod state;
mod summary;
mod terminal;
mod text;
mod usage;

use std::process::ExitCode;

use clap::Parser;

use args::{Cli, Command};

/// Reads the arguments and does what they say.
pub(crate) fn main() -> ExitCode {
    let cli = match Cli::try_parse() {
        Ok(cli) => cli,
        Err(error) => return usage::told(&error),
    };
    if let Err(error) = terminal::start_logging(&cli.global) {
        errors::print(&cli.global, &error, None);
        return ExitCode::from(exit::of_error(&error));
    }
    terminal::log_panics();
    let code = match cli.command {
        Command::Run(args) => run::run(&cli.global, &args),
        Command::Check(args) => check::check(&cli.global, args),
        Command::Plan(args) => plan::plan(&cli.global, args),
        Command::Query(args) => query::query(&cli.global, args),
        Command::Catalog(args) => catalog::catalog(&cli.global, args),
        Command::State(args) => state::state(&cli.global, args),
        Command::List(args) => components::list(&cli.global, args),
        Command::Describe(args) => components::describe(&cli.global, args),
        Command::Schema => components::schema(&cli.global),
        Command::Completions(args) => components::completions(&cli.global, args),
    };
    ExitCode::from(code)
}
