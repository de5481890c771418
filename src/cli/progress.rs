//! What a run shows while it runs: a line a component on a terminal, plain lines elsewhere.

use std::sync::Arc;
use std::time::{Duration, Instant};

use indicatif::{MultiProgress, ProgressBar, ProgressDrawTarget, ProgressStyle};
use tidegate::core::{ByteSize, Kind};
use tidegate::runtime::{ComponentStats, RunStats};
use tokio::sync::oneshot;
use tokio::task::JoinHandle;

use super::args::{Global, LogFormat};
use super::board::Board;
use super::terminal;

/// How often a terminal is redrawn.
const FRAME: Duration = Duration::from_millis(100);
/// The room that Ctrl-C twice takes.
const CONTROL_C: usize = 4;
/// How often a line is written elsewhere.
const LINE: Duration = Duration::from_secs(10);

/// Shows the progress until it is told to end.
pub(crate) struct Progress {
    end: oneshot::Sender<()>,
    task: JoinHandle<()>,
}

impl Progress {
    /// Starts showing; none where nothing is to be shown.
    pub(crate) fn start(global: &Global, stats: Arc<RunStats>) -> Option<Self> {
        if global.quiet {
            return None;
        }
        let (end, ended) = oneshot::channel();
        let task = match (global.is_live(), global.log_format) {
            (true, _) => {
                let board = MultiProgress::with_draw_target(ProgressDrawTarget::term_like_with_hz(
                    Box::new(Board::default()),
                    10,
                ));
                // Rows that a console sink shows scroll by above the display.
                let display = board.clone();
                terminal::draws(Some(board.clone()));
                tidegate_sink_console::write_within(move |write| display.suspend(write));
                tokio::spawn(draw(stats, board, ended))
            }
            (false, LogFormat::Json) => tokio::spawn(lines(stats, ended, log_line)),
            (false, LogFormat::Text) => tokio::spawn(lines(stats, ended, plain_line)),
        };
        Some(Self { end, task })
    }

    /// Ends it, and clears what it drew.
    pub(crate) async fn end(self) {
        // The task ends by itself only when its receiver is gone.
        let _ = self.end.send(());
        let _ = self.task.await;
        terminal::draws(None);
    }
}

async fn draw(stats: Arc<RunStats>, board: MultiProgress, mut ended: oneshot::Receiver<()>) {
    let width = stats
        .components
        .iter()
        .map(|c| c.id.as_str().len())
        .max()
        .unwrap_or(0);
    let spinner = ProgressStyle::with_template("{spinner:.cyan} {prefix:.bold} {msg}")
        .unwrap_or_else(|_| ProgressStyle::default_spinner());
    let bars: Vec<ProgressBar> = stats
        .components
        .iter()
        .map(|component| {
            let bar = board.add(ProgressBar::new_spinner());
            bar.set_style(spinner.clone());
            bar.set_prefix(format!("{:width$}", component.id.as_str()));
            bar
        })
        .collect();
    let mut before: Vec<(u64, Instant)> = stats
        .components
        .iter()
        .map(|c| (rows(c), Instant::now()))
        .collect();
    let mut rates = vec![0.0; bars.len()];
    loop {
        tokio::select! {
            _ = &mut ended => break,
            () = tokio::time::sleep(FRAME) => {}
        }
        for (index, component) in stats.components.iter().enumerate() {
            let (then, at) = before[index];
            if at.elapsed() >= Duration::from_millis(500) {
                let now = rows(component);
                rates[index] = per_second(now - then, at.elapsed());
                before[index] = (now, Instant::now());
            }
            let text = live_text(component, rates[index], stats.stopping());
            // The spinner, blanks, and room for `^C`, which the terminal itself writes at the end.
            let room = terminal::width()
                .unwrap_or(80)
                .saturating_sub(width + 3 + CONTROL_C);
            bars[index].set_message(text.chars().take(room).collect::<String>());
            bars[index].tick();
        }
    }
    let _ = board.clear();
}

fn rows(component: &ComponentStats) -> u64 {
    match component.kind {
        Kind::Source | Kind::Transform => component.rows_out(),
        Kind::Sink | Kind::Catalog => component.rows_in(),
    }
}

#[expect(clippy::cast_precision_loss, reason = "a rate for people")]
fn per_second(rows: u64, time: Duration) -> f64 {
    rows as f64 / time.as_secs_f64().max(1e-3)
}

fn live_text(component: &ComponentStats, rate: f64, stopping: bool) -> String {
    let mut text = format!(
        "{:>14} rows  {:>12}/s",
        grouped(rows(component)),
        compact(rate)
    );
    let bytes = component.metrics.total_bytes();
    if bytes > 0 {
        text.push_str(&format!("  {:>9}", ByteSize(bytes).to_string()));
    }
    if component.kind == Kind::Source && component.splits() > 0 {
        text.push_str(&format!(
            "  splits {}/{}",
            component.splits_done(),
            component.splits()
        ));
    }
    let expected = component.expected_rows();
    if component.kind == Kind::Source && expected > 0 {
        text.push_str(&format!(
            "  {} %",
            (rows(component) * 100 / expected).min(100)
        ));
    }
    let requests = component.metrics.total_requests();
    if requests > 0 {
        text.push_str(&format!("  {} requests", grouped(requests)));
    }
    let waited = component.metrics.total_waited_ms() / 1000;
    if waited > 0 {
        text.push_str(&format!("  throttled {waited} s"));
    }
    if component.rejected() > 0 {
        text.push_str(&format!("  {} rejected", grouped(component.rejected())));
    }
    if stopping {
        text.push_str("  stopping");
    }
    text
}

async fn lines(stats: Arc<RunStats>, mut ended: oneshot::Receiver<()>, write: fn(&RunStats)) {
    loop {
        tokio::select! {
            _ = &mut ended => return,
            () = tokio::time::sleep(LINE) => write(&stats),
        }
    }
}

#[expect(clippy::print_stderr, reason = "this is the program's own output")]
fn plain_line(stats: &RunStats) {
    let parts: Vec<String> = stats
        .components
        .iter()
        .map(|component| {
            let rejected = match component.rejected() {
                0 => String::new(),
                count => format!(" ({} rejected)", grouped(count)),
            };
            format!("{} {}{rejected}", component.id, grouped(rows(component)))
        })
        .collect();
    eprintln!(
        "{:>5.0}s  epoch {}  rows: {}",
        stats.elapsed().as_secs_f64(),
        stats.epochs(),
        parts.join(", ")
    );
}

fn log_line(stats: &RunStats) {
    for component in &stats.components {
        tracing::info!(
            target: "tidegate",
            component = %component.id,
            rows_in = component.rows_in(),
            rows_out = component.rows_out(),
            rejected = component.rejected(),
            bytes = component.metrics.total_bytes(),
            requests = component.metrics.total_requests(),
            epochs = stats.epochs(),
            elapsed_s = stats.elapsed().as_secs_f64(),
            "progress"
        );
    }
}

/// A number with its thousands apart: `1,234,567`.
pub(crate) fn grouped(number: u64) -> String {
    let digits = number.to_string();
    let mut text = String::new();
    for (index, digit) in digits.chars().enumerate() {
        if index > 0 && (digits.len() - index).is_multiple_of(3) {
            text.push(',');
        }
        text.push(digit);
    }
    text
}

/// So many of what one is called `noun`: `1 row`, `1,234 rows`.
pub(crate) fn counted(number: u64, noun: &str) -> String {
    let plural = if number == 1 { "" } else { "s" };
    format!("{} {noun}{plural}", grouped(number))
}

/// A number to three digits: `1.23 M`.
pub(crate) fn compact(number: f64) -> String {
    let three = |number: f64| match number {
        n if n < 9.995 => format!("{n:.2}"),
        n if n < 99.95 => format!("{n:.1}"),
        n => format!("{n:.0}"),
    };
    match number {
        n if n >= 999.5e6 => format!("{} G", three(n / 1e9)),
        n if n >= 999.5e3 => format!("{} M", three(n / 1e6)),
        n if n >= 999.5 => format!("{} k", three(n / 1e3)),
        n => format!("{n:.0}"),
    }
}
