//! Where output goes, in what colour, and the log.

use std::fmt;
use std::io::{self, IsTerminal, Write as _};
use std::sync::{PoisonError, RwLock};

use indicatif::MultiProgress;
use owo_colors::OwoColorize;
use tidegate::core::printable;
use tidegate::{Error, Result};
use tracing::field::Field;
use tracing_subscriber::EnvFilter;
use tracing_subscriber::fmt::format::{Writer, debug_fn};
use tracing_subscriber::fmt::time::{FormatTime, SystemTime};
use tracing_subscriber::prelude::*;

use super::args::{Color, Global, LogFormat};
use super::lines;

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

/// The same of stdout, and no wider than lines are read with ease.
pub(crate) fn width_stdout() -> usize {
    let table = comfy_table::Table::new();
    let width = table.width().map(usize::from);
    width.map_or(lines::WIDEST, |width| width.clamp(20, lines::WIDEST))
}

/// Writes what happens to stderr: warnings, and with `--log-format json` the progress too.
///
/// Errors: `Config` if `TIDEGATE_LOG` is no filter.
pub(crate) fn start_logging(global: &Global) -> Result<()> {
    let level = match (global.quiet, global.verbose) {
        (true, _) => "error",
        (false, 0) if global.log_format == LogFormat::Json => {
            "warn,tidegate=info,tidegate_runtime=info,aws_config=error"
        }
        // Where the AWS SDK looks in vain (no instance to ask) is no warning: it looks elsewhere, and
        // an error says what is missing in the end.
        // How many requests a run needs of a day's is for everyone.
        // So is what is read again because somebody asked for it.
        (false, 0) => {
            "warn,tidegate_stackoverflow=info,tidegate_runtime::refresh=info,aws_config=error"
        }
        (false, 1) => "warn,tidegate=info,tidegate_runtime=debug",
        // What parsers and optimizers say of each step would hide all else.
        (false, _) => "debug,sqlparser=info,datafusion_optimizer=info,datafusion_expr=info",
    };
    let filter = match std::env::var("TIDEGATE_LOG") {
        Ok(filter) if !filter.is_empty() => EnvFilter::try_new(&filter).map_err(|error| {
            Error::config("`TIDEGATE_LOG` can't be understood")
                .with("TIDEGATE_LOG", filter)
                .because(error)
                .hint(
                    "write a level (error, warn, info, debug, trace), or levels of modules: \
                       warn,tidegate_runtime=debug",
                )
        })?,
        _ => EnvFilter::new(level),
    };
    let log = tracing_subscriber::fmt()
        .with_env_filter(filter)
        .with_writer(|| AboveTheBoard);
    match global.log_format {
        LogFormat::Text => log
            .with_target(false)
            .with_timer(Seconds)
            .fmt_fields(debug_fn(field).delimited(" "))
            .with_ansi(global.color_stderr())
            .init(),
        LogFormat::Json => log
            .json()
            .flatten_event(true)
            .with_current_span(false)
            .init(),
    }
    Ok(())
}

/// The time of a line of the log for people: UTC, to the second.
struct Seconds;

impl FormatTime for Seconds {
    fn format_time(&self, out: &mut Writer<'_>) -> fmt::Result {
        let mut time = String::new();
        SystemTime.format_time(&mut Writer::new(&mut time))?;
        match time.split_once('.') {
            Some((seconds, _)) => write!(out, "{seconds}Z"),
            None => out.write_str(&time),
        }
    }
}

/// A field of a line of the log, or its message: what stands there may come from outside.
fn field(out: &mut Writer<'_>, field: &Field, value: &dyn fmt::Debug) -> fmt::Result {
    let value = printable::value(&format!("{value:?}"));
    match field.name() {
        "message" => out.write_str(&value),
        // Of libraries that write another kind of log: where in their code they do.
        name if name.starts_with("log.") => Ok(()),
        name => {
            let name = name.trim_start_matches("r#");
            match out.has_ansi_escapes() {
                true => write!(out, "{}{}{value}", name.italic(), "=".dimmed()),
                false => write!(out, "{name}={value}"),
            }
        }
    }
}

/// What is drawn while a run is under way.
static BOARD: RwLock<Option<MultiProgress>> = RwLock::new(None);

/// Lines of the log appear above this from now on, as long as it is drawn.
pub(crate) fn draws(board: Option<MultiProgress>) {
    *BOARD.write().unwrap_or_else(PoisonError::into_inner) = board;
}

/// A line of the program's own on stderr, above what is drawn.
pub(crate) fn say(line: &str) {
    let mut out = AboveTheBoard;
    let _ = out.write_all(format!("{line}\n").as_bytes());
}

/// Takes away what is drawn, before the process ends in the middle.
pub(crate) fn clear() {
    if let Some(board) = &*BOARD.read().unwrap_or_else(PoisonError::into_inner) {
        let _ = board.clear();
    }
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

/// Makes a line of the log of a panic: what becomes of it says an error that follows. With
/// `RUST_BACKTRACE` it is printed as Rust does.
pub(crate) fn log_panics() {
    let traced = std::env::var_os("RUST_BACKTRACE").is_some_and(|value| value != "0");
    let before = std::panic::take_hook();
    std::panic::set_hook(Box::new(move |info| {
        tidegate::core::remember_panic(info);
        if traced {
            return before(info);
        }
        let place = info.location().map(ToString::to_string);
        tracing::warn!(place, "a thread panicked");
    }));
}

#[cfg(test)]
mod tests {
    use std::sync::{Arc, Mutex};

    use super::*;

    struct Kept(Arc<Mutex<Vec<u8>>>);

    impl io::Write for Kept {
        fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
            let mut kept = self.0.lock().unwrap_or_else(PoisonError::into_inner);
            kept.write(bytes)
        }

        fn flush(&mut self) -> io::Result<()> {
            Ok(())
        }
    }

    #[test]
    fn a_line_of_the_log_cant_forge_another() {
        let out = Arc::new(Mutex::new(Vec::new()));
        let kept = Arc::clone(&out);
        let log = tracing_subscriber::fmt()
            .with_target(false)
            .without_time()
            .with_ansi(false)
            .fmt_fields(debug_fn(field).delimited(" "))
            .with_writer(move || Kept(Arc::clone(&kept)))
            .finish();
        let told = "a\nERROR forged\u{1b}[2J";
        let long = "x".repeat(1_010);
        tracing::subscriber::with_default(log, || {
            tracing::warn!(error = %told, rows = 3, text = "q\n", %long, "said {told}");
        });
        let bytes = out.lock().unwrap_or_else(PoisonError::into_inner).clone();
        assert_eq!(
            String::from_utf8_lossy(&bytes),
            format!(
                " WARN said {shown} error={shown} rows=3 text=\"q\\n\" long={}… (10 more characters)\n",
                &long[10..],
                shown = r"a\nERROR forged\u{1b}[2J",
            )
        );
    }
}
