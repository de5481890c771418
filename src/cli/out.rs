//! What is shown on standard output.

use std::io::{self, Write};

use tidegate::{Error, Result};

use super::args::Global;
use super::{errors, exit};

/// Shows what a command was asked for; its exit code.
pub(crate) fn show(global: &Global, text: &str) -> u8 {
    match write(text) {
        Ok(()) => exit::DONE,
        Err(error) => {
            errors::print(global, &error, None);
            exit::FAILED
        }
    }
}

/// Writes a text to its end. Errors: what the system says, such as a full disk's.
pub(crate) fn write(text: &str) -> Result<()> {
    let mut out = io::stdout().lock();
    let result = out.write_all(text.as_bytes()).and_then(|()| out.flush());
    unless_closed(result).map_err(|error| Error::io("standard output can't be written", error))
}

/// A pipe that nobody reads on is no error.
pub(crate) fn unless_closed(result: io::Result<()>) -> io::Result<()> {
    match result {
        Err(error) if error.kind() == io::ErrorKind::BrokenPipe => Ok(()),
        result => result,
    }
}
