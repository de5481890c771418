//! The `tidegate` program.

use std::process::ExitCode;

mod cli;

/// Everything is done on a thread of its own, whose stack is as large as the others'.
fn main() -> ExitCode {
    let thread = std::thread::Builder::new()
        .name("main".to_owned())
        .stack_size(tidegate::STACK_SIZE)
        .spawn(cli::main);
    // A panic has been told of by now.
    thread.map_or(ExitCode::FAILURE, |thread| {
        thread.join().unwrap_or(ExitCode::FAILURE)
    })
}
