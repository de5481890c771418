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
