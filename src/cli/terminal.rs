//! Where output goes, in what colour, and the log.

use std::io::{self, IsTerminal};
use std::sync::{PoisonError, RwLock};

use indicatif::MultiProgress;
use tracing_subscriber::EnvFilter;

use super::args::{Color, Global, LogFormat};

impl Global {
    /// Whether stderr is to be coloured.
    pub(crate) fn color_stderr(&self) -> bool {
        self.color_for(std::io::stderr().is_terminal())
    }

    /// Whether stdout is to be coloured.
    pub(crate) fn color_stdout(&self) -> bool {
        self.color_for(std::io::stdout().is_terminal())
    }

    fn color_for(&self, terminal: bool) -> bool {
        match self.color {
            Color::Always => true,
            Color::Never => false,
            Color::Auto => terminal && std::env::var_os("NO_COLOR").is_none(),
        }
    }

    /// Whether people see the progress live on stderr.
    pub(crate) fn is_live(&self) -> bool {
        !self.quiet && self.log_format == LogFormat::Text && std::io::stderr().is_terminal()
    }
}

/// How many columns the terminal has that stderr is; `None` if it is none.
pub(crate) fn width() -> Option<usize> {
    let mut table = comfy_table::Table::new();
    table.use_stderr().width().map(usize::from)
}

/// Writes what happens to stderr: warnings, and with `--log-format json` the progress too.
pub(crate) fn start_logging(global: &Global) {
    let level = match (global.quiet, global.verbose) {
        (true, _) => "error",
        (false, 0) if global.log_format == LogFormat::Json => {
            "warn,tidegate=info,tidegate_runtime=info,aws_config=error"
        }
        // Where the AWS SDK looks in vain (no instance to ask) is no warning: it looks elsewhere, and
        // an error says what is missing in the end.
        // How many requests a run needs of a day's is for everyone.
        (false, 0) => "warn,tidegate_stackoverflow=info,aws_config=error",
        (false, 1) => "warn,tidegate=info,tidegate_runtime=debug",
        (false, _) => "debug",
    };
    let filter = EnvFilter::try_from_env("TIDEGATE_LOG").unwrap_or_else(|_| EnvFilter::new(level));
    let log = tracing_subscriber::fmt()
        .with_env_filter(filter)
        .with_writer(|| AboveTheBoard);
    match global.log_format {
        LogFormat::Text => log
            .with_target(false)
            .without_time()
            .with_ansi(global.color_stderr())
            .init(),
        LogFormat::Json => log
            .json()
            .flatten_event(true)
            .with_current_span(false)
            .init(),
    }
}

/// What is drawn while a run goes on.
static BOARD: RwLock<Option<MultiProgress>> = RwLock::new(None);

/// Lines of the log appear above this from now on, as long as it is drawn.
pub(crate) fn draws(board: Option<MultiProgress>) {
    *BOARD.write().unwrap_or_else(PoisonError::into_inner) = board;
}

/// stderr, without a line of the log being drawn over.
struct AboveTheBoard;

impl io::Write for AboveTheBoard {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        let write = || io::stderr().write(bytes);
        match &*BOARD.read().unwrap_or_else(PoisonError::into_inner) {
            Some(board) => board.suspend(write),
            None => write(),
        }
    }

    fn flush(&mut self) -> io::Result<()> {
        io::stderr().flush()
    }
}
