//! Who takes part in a comparison, and what came of it.

use std::time::Duration;

use super::measure::{Usage, median};
use super::rivals::Rival;

/// Who does the work.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Side {
    Tidegate,
    Rival(Rival),
}

/// A side as a row of a table.
pub(super) trait Named: Copy {
    fn name(self) -> &'static str;
}

impl Named for Side {
    fn name(self) -> &'static str {
        match self {
            Self::Tidegate => "tidegate",
            Self::Rival(rival) => rival.name(),
        }
    }
}

impl Side {
    /// Tidegate, then the rivals.
    pub(super) fn and(rivals: &[Rival]) -> Vec<Self> {
        let rivals = rivals.iter().copied().map(Self::Rival);
        std::iter::once(Self::Tidegate).chain(rivals).collect()
    }
}

/// What came of a side's rounds.
#[derive(Debug)]
pub(super) struct Outcome<C, S = Side> {
    pub(super) side: S,
    pub(super) runs: Vec<Usage>,
    /// What was counted at the far end of the last round.
    pub(super) count: Option<C>,
}

impl<C, S: Named> Outcome<C, S> {
    pub(super) fn new(side: S) -> Self {
        Self {
            side,
            runs: Vec::new(),
            count: None,
        }
    }

    /// The median of a figure.
    pub(super) fn median<T: Ord + Copy + Default>(&self, value: impl Fn(&Usage) -> T) -> T {
        median(self.runs.iter().map(value)).unwrap_or_default()
    }

    /// Time, ratio to `ours`, MB/s of `input` bytes, CPU, how busy, peak memory: in the order of the heading.
    pub(super) fn figures(&self, ours: Duration, input: u64) -> String {
        let wall = self.median(|run| run.wall);
        let cpu = self.median(|run| run.cpu);
        format!(
            "  {:<11}{:>6.2} s{:>7.2}x{:>9.0}{:>7.2} s{:>6.0}%{:>10.0} MB",
            self.side.name(),
            wall.as_secs_f64(),
            wall.as_secs_f64() / ours.as_secs_f64(),
            megabytes(input) / wall.as_secs_f64(),
            cpu.as_secs_f64(),
            100.0 * cpu.as_secs_f64() / wall.as_secs_f64(),
            megabytes(self.median(|run| run.peak)),
        )
    }
}

/// The heading of [`Outcome::figures`].
pub(super) fn heading() -> String {
    format!(
        "  {:<11}{:>8}{:>8}{:>9}{:>9}{:>7}{:>13}",
        "", "time", "ratio", "MB/s", "CPU", "busy", "peak memory"
    )
}

#[expect(clippy::cast_precision_loss, reason = "shown to a person")]
pub(super) fn megabytes(bytes: u64) -> f64 {
    bytes as f64 / 1e6
}

/// How long we took: what the others are compared with.
pub(super) fn ours<C, S: Named>(results: &[Outcome<C, S>]) -> Duration {
    let ours = results.first();
    ours.map_or(Duration::ZERO, |ours| ours.median(|run| run.wall))
}

/// How far the rounds of a side lay apart, where that is worth telling.
pub(super) fn spread<C, S: Named>(results: &[Outcome<C, S>]) -> String {
    let spreads = results.iter().filter_map(|outcome| {
        let walls = outcome.runs.iter().map(|run| run.wall.as_secs_f64());
        let most = walls.clone().reduce(f64::max)?;
        let least = walls.reduce(f64::min)?;
        Some((most - least) / least)
    });
    match spreads.reduce(f64::max) {
        Some(spread) if spread > 0.1 => {
            format!(" (rounds up to {:.0} % apart)", spread * 100.0)
        }
        _ => String::new(),
    }
}
