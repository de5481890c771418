//! The terminal that the progress is drawn on.

use std::fmt::Write as _;
use std::io::{self, Write as _};
use std::sync::{Mutex, PoisonError};

use indicatif::TermLike;

use super::terminal;

/// stderr, with the cursor left where the last line's text ends. The library fills each line up, so that
/// what follows begins on the next one; but then the `^C` that the terminal itself writes stands there
/// too, and the next drawing clears the wrong lines.
#[derive(Debug, Default)]
pub(crate) struct Board(Mutex<Drawn>);

#[derive(Debug, Default)]
struct Drawn {
    text: String,
    /// Whether the line is filled up: the next text begins another one.
    full: bool,
}

impl Board {
    fn keep(&self, text: std::fmt::Arguments<'_>) -> io::Result<()> {
        let mut drawn = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        if std::mem::take(&mut drawn.full) {
            drawn.text.push('\n');
        }
        drawn.text.write_fmt(text).map_err(io::Error::other)
    }

    fn move_cursor(&self, count: usize, direction: char) -> io::Result<()> {
        match count {
            0 => Ok(()),
            _ => self.keep(format_args!("\u{1b}[{count}{direction}")),
        }
    }
}

impl TermLike for Board {
    fn width(&self) -> u16 {
        let width = terminal::width().unwrap_or(80);
        u16::try_from(width).unwrap_or(u16::MAX)
    }

    fn move_cursor_up(&self, count: usize) -> io::Result<()> {
        self.move_cursor(count, 'A')
    }

    fn move_cursor_down(&self, count: usize) -> io::Result<()> {
        self.move_cursor(count, 'B')
    }

    fn move_cursor_right(&self, count: usize) -> io::Result<()> {
        self.move_cursor(count, 'C')
    }

    fn move_cursor_left(&self, count: usize) -> io::Result<()> {
        self.move_cursor(count, 'D')
    }

    fn write_line(&self, text: &str) -> io::Result<()> {
        self.keep(format_args!("{text}\n"))
    }

    fn write_str(&self, text: &str) -> io::Result<()> {
        if text.trim_matches(' ').is_empty() {
            self.0.lock().unwrap_or_else(PoisonError::into_inner).full = true;
            return Ok(());
        }
        self.keep(format_args!("{text}"))
    }

    fn clear_line(&self) -> io::Result<()> {
        self.keep(format_args!("\r\u{1b}[2K"))
    }

    fn flush(&self) -> io::Result<()> {
        let drawn = std::mem::take(&mut *self.0.lock().unwrap_or_else(PoisonError::into_inner));
        let text = drawn.text;
        let mut err = io::stderr().lock();
        err.write_all(text.as_bytes())?;
        err.flush()
    }
}
