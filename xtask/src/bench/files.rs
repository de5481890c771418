//! `cargo xtask bench files`.

use std::fs;
use std::path::PathBuf;
use std::time::Duration;

use anyhow::{Context as _, Result, ensure};
use clap::Args;

use super::data::{Data, Form, cache};
use super::measure::{measure, median};
use super::rivals::{Count, Rival, Rivals};
use super::sides::{Named, Outcome, Side, heading, megabytes};
use super::site::empty;
use super::tidegate::Tidegate;
use crate::program::Program;
use crate::setup;

/// NDJSON, CSV and gzipped NDJSON to Parquet, beside DuckDB and Polars
///
/// The data is made once, in the cache directory outside the clone. All sides read the same file from
/// the system's cache, are told the same columns, use all cores, need not keep the rows' order and
/// compress with the same codec and level; only Tidegate makes its output durable before it ends.
#[derive(Debug, Args)]
pub(super) struct Files {
    /// How many rows
    #[arg(long, default_value_t = 5_000_000, value_parser = clap::value_parser!(u64).range(1..))]
    rows: u64,
    /// How often each side runs; the median counts
    #[arg(long, default_value_t = 3, value_parser = clap::value_parser!(u32).range(1..))]
    rounds: u32,
    /// The level of zstd for all sides
    #[arg(long, default_value_t = 3, value_parser = clap::value_parser!(u32).range(1..=22))]
    level: u32,
    #[command(flatten)]
    program: Program,
    /// Only Tidegate
    #[arg(long)]
    alone: bool,
}

/// The runs of `tidegate list`: it is over in no time.
const STARTS: usize = 21;

impl Files {
    pub(super) fn run(&self) -> Result<()> {
        setup::Setup { bench: true }.run()?;
        let tidegate = Tidegate::new(&self.program)?;
        let data = Data::prepare(&tidegate, self.rows)?;
        let rivals = Rivals::find();
        let [duckdb, polars] = rivals.versions()?;
        let cores = std::thread::available_parallelism().map_or(1, usize::from);
        println!(
            "\n{} rows to Parquet, zstd level {}, {cores} cores; medians of {} rounds in turns; \
             duckdb {duckdb}, polars {polars}",
            data.rows, self.level, self.rounds
        );
        let mut arena = Arena {
            directory: cache()?.join(format!("run-{}", std::process::id())),
            tidegate,
            rivals,
            data,
            level: self.level,
        };
        let shown = Form::ALL
            .into_iter()
            .try_for_each(|form| self.compare(&mut arena, form))
            .and_then(|()| start_up(&arena.tidegate));
        // What is left behind is found by the next one who looks into the cache.
        drop(fs::remove_dir_all(&arena.directory));
        shown
    }

    fn compare(&self, arena: &mut Arena, form: Form) -> Result<()> {
        arena.data.warm(form)?;
        let mut results: Vec<_> = self.sides(form).into_iter().map(Outcome::new).collect();
        for _ in 0..self.rounds {
            for outcome in &mut results {
                arena.round(form, outcome)?;
            }
        }
        print(form, arena.data.bytes(form)?, &results);
        check(&results, arena.data.rows)
    }

    fn sides(&self, form: Form) -> Vec<Side> {
        Side::and(match form {
            _ if self.alone => &[],
            // Polars unpacks it into memory first.
            Form::Gzip => &[Rival::DuckDb],
            Form::Ndjson | Form::Csv => &Rival::OF_FILES,
        })
    }
}

/// Where the rounds are run.
#[derive(Debug)]
struct Arena {
    directory: PathBuf,
    tidegate: Tidegate,
    rivals: Rivals,
    data: Data,
    level: u32,
}

impl Arena {
    /// One side once, in an empty directory.
    fn round(&self, form: Form, outcome: &mut Outcome<Count>) -> Result<()> {
        let directory = &self.directory;
        let out = directory.join("out");
        empty(directory)?;
        empty(&out)?;
        let source = self.data.path(form);
        let mut command = match outcome.side {
            Side::Tidegate => self
                .tidegate
                .convert(form, &source, directory, self.level)?,
            Side::Rival(rival) => self.rivals.convert(rival, form, &source, &out, self.level),
        };
        outcome.runs.push(measure(&mut command)?);
        outcome.count = Some(self.rivals.count(&out)?);
        Ok(())
    }
}

/// All sides must have written all rows.
fn check(results: &[Outcome<Count>], rows: u64) -> Result<()> {
    let rows_sum = u128::from(rows) * u128::from(rows - 1) / 2;
    for Outcome { side, count, .. } in results {
        let name = side.name();
        let count = count.as_ref().context("a side was never run")?;
        ensure!(
            count.rows == rows && count.ids == rows_sum,
            "{name} wrote {} rows, not the {rows} that were given",
            count.rows
        );
    }
    Ok(())
}

fn print(form: Form, input: u64, results: &[Outcome<Count>]) {
    println!("\n{}, {:.0} MB", form.name(), megabytes(input));
    println!("{}{:>11}{:>7}", heading(), "output", "files");
    let ours = results
        .first()
        .map_or(Duration::ZERO, |ours| ours.median(|run| run.wall));
    for outcome in results {
        let count = outcome.count.as_ref();
        println!(
            "{}{:>8.0} MB{:>7}",
            outcome.figures(ours, input),
            megabytes(count.map_or(0, |count| count.bytes)),
            count.map_or(0, |count| count.files),
        );
    }
    // What differs is said, not hidden.
    let types = |outcome: &Outcome<Count>| outcome.count.as_ref().map(|count| count.types.clone());
    for other in results.iter().skip(1) {
        let (Some(ours), Some(theirs)) = (types(&results[0]), types(other)) else {
            continue;
        };
        let differing: Vec<_> = ours
            .split("; ")
            .zip(theirs.split("; "))
            .filter(|(ours, theirs)| plain(ours) != plain(theirs))
            .map(|(_, theirs)| theirs)
            .collect();
        if !differing.is_empty() {
            println!(
                "  ({} has other types: {})",
                other.side.name(),
                differing.join(", ")
            );
        }
    }
}

/// A column's type, large offsets aside: in Parquet there is no such thing.
fn plain(column: &str) -> String {
    column.replace("large_string", "string")
}

/// How soon `tidegate list` is done.
fn start_up(tidegate: &Tidegate) -> Result<()> {
    let runs = (0..STARTS)
        .map(|_| measure(&mut tidegate.list()).map(|usage| usage.wall))
        .collect::<Result<Vec<_>>>()?;
    let slowest = runs.iter().max().copied().unwrap_or_default();
    let middle = median(runs).unwrap_or_default();
    println!(
        "\ntidegate list: {:.1} ms (median of {STARTS}; the slowest {:.1} ms)",
        middle.as_secs_f64() * 1e3,
        slowest.as_secs_f64() * 1e3
    );
    Ok(())
}
