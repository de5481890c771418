//! Asks before something is lost.

use std::io::{self, IsTerminal, Write};

use tidegate::core::printable;
use tidegate::{Error, Result};

/// Asks on the terminal whether to do `what`: "drop `a` (files stay)". `left`: what is said of it if the
/// answer is no.
///
/// Errors: `Config` where there is no terminal, or the answer is no.
pub(crate) fn confirm(what: &str, left: &str) -> Result<()> {
    let what = printable::line(what);
    if !io::stdin().is_terminal() {
        return Err(Error::config(format!(
            "{what}: needs confirmation; pass --yes"
        )));
    }
    let mut err = io::stderr().lock();
    let _ = write!(err, "{what}? [y/N] ");
    let _ = err.flush();
    let mut answer = String::new();
    io::stdin()
        .read_line(&mut answer)
        .map_err(|error| Error::io("the answer can't be read", error))?;
    match answer.trim().to_lowercase().as_str() {
        "y" | "yes" => Ok(()),
        _ => Err(Error::config(left)),
    }
}
