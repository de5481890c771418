//! The command line: one file a command, and what they share.

mod args;
mod catalog;
mod check;
mod components;
mod errors;
mod exit;
mod explain;
mod lake;
mod load;
mod memory;
mod out;
mod plan;
mod progress;
mod query;
mod reference;
mod rows;
mod run;
mod state;
mod summary;
mod terminal;
mod text;

use std::io::Write as _;
use std::process::ExitCode;

use clap::Parser;

use args::{Cli, Command};

/// Reads the arguments and does what they say.
pub(crate) fn main() -> ExitCode {
    let cli = match Cli::try_parse() {
        Ok(cli) => cli,
        Err(error) => {
            // `--help` and `--version` come this way too, with code 0.
            if let Err(unwritten) = out::unless_closed(error.print()) {
                let mut err = std::io::stderr().lock();
                let _ = writeln!(err, "error: the help can't be written: {unwritten}");
                return ExitCode::from(exit::FAILED);
            }
            return ExitCode::from(u8::try_from(error.exit_code()).unwrap_or(exit::USAGE));
        }
    };
    terminal::start_logging(&cli.global);
    terminal::log_panics();
    let code = match cli.command {
        Command::Run(args) => run::run(&cli.global, args),
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
