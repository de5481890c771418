//! Standard output, where the program draws on the same terminal.

use std::io::{self, Write};
use std::sync::OnceLock;

/// Calls what it is given, once.
type Around = Box<dyn Fn(&mut dyn FnMut()) + Send + Sync>;

/// One for the process, as standard output is.
static AROUND: OnceLock<Around> = OnceLock::new();

/// Lets a program that draws on the terminal (a progress display) put its drawing away around each
/// write of a console sink: `around` must call what it is given, once. Only the first call counts.
///
/// ```
/// tidegate_sink_console::write_within(|write| {
///     // clear the display
///     write();
///     // draw it again
/// });
/// ```
pub fn write_within(around: impl Fn(&mut dyn FnMut()) + Send + Sync + 'static) {
    let _ = AROUND.set(Box::new(around));
}

/// Told once that nobody reads standard output any more.
static CLOSED: OnceLock<Box<dyn Fn() + Send + Sync>> = OnceLock::new();

/// Lets a program know when the program that reads standard output has ended: console sinks then show
/// nothing more, and are no reason to run on. `told` is called once for each sink; only the first
/// call counts.
pub fn when_closed(told: impl Fn() + Send + Sync + 'static) {
    let _ = CLOSED.set(Box::new(told));
}

pub(crate) fn closed() {
    if let Some(told) = CLOSED.get() {
        told();
    }
}

/// Standard output, written within what [`write_within`] has set.
#[derive(Debug)]
pub(crate) struct Terminal;

impl Write for Terminal {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.write_all(bytes).map(|()| bytes.len())
    }

    fn write_all(&mut self, bytes: &[u8]) -> io::Result<()> {
        let mut result = Ok(());
        let mut write = || {
            let mut out = io::stdout().lock();
            result = out.write_all(bytes).and_then(|()| out.flush());
        };
        match AROUND.get() {
            Some(around) => around(&mut write),
            None => write(),
        }
        result
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}
