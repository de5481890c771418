//! `cargo xtask bench mysql`.

mod server;

use std::fs;
use std::path::{Path, PathBuf};
use std::time::Duration;

use anyhow::{Context as _, Result, bail, ensure};
use clap::Args;

use super::data::cache;
use super::measure::measure;
use super::rivals::{Rival, Rivals};
use super::sides::{Named, Outcome, Side, heading, megabytes, ours, spread};
use super::site::empty;
use super::tidegate::Tidegate;
use crate::process::output;
use crate::program::Program;
use crate::setup;
use server::{Server, Table};

/// A MySQL table to Parquet, beside ConnectorX, DuckDB and dlt
///
/// The server is a MariaDB on this machine, the same for all sides, and shares its cores with them;
/// the table fits into its memory. ConnectorX, and dlt through it, read over a connection for each
/// core. Only Tidegate makes its output durable before it ends.
#[derive(Debug, Args)]
pub(super) struct Mysql {
    /// How many rows: 500k, 5M
    #[arg(long, default_value = "5M", value_parser = count)]
    rows: u64,
    /// How often each side runs; the median counts
    #[arg(long, default_value_t = 3, value_parser = clap::value_parser!(u32).range(1..))]
    rounds: u32,
    /// The level of zstd for all sides; dlt can't be told one
    #[arg(long, default_value_t = 3, value_parser = clap::value_parser!(u32).range(1..=22))]
    level: u32,
    #[command(flatten)]
    program: Program,
    /// Only Tidegate
    #[arg(long)]
    alone: bool,
    /// Only Tidegate, over tables of these sizes, to see whether its memory grows: 1M,5M,20M
    #[arg(long, value_delimiter = ',', value_parser = count, conflicts_with = "rows")]
    sizes: Vec<u64>,
    /// More keys of Tidegate's source, for experiments: `--set snapshot=consistent`
    #[arg(long = "set", value_name = "KEY=VALUE")]
    keys: Vec<String>,
}

/// Reads `500k`, `5M` or `5000000`.
fn count(text: &str) -> Result<u64> {
    let (digits, factor) = match text.strip_suffix(['k', 'M']) {
        Some(digits) if text.ends_with('k') => (digits, 1_000),
        Some(digits) => (digits, 1_000_000),
        None => (text, 1),
    };
    let number: u64 = digits.parse().context("not a number like 500k or 5M")?;
    // The key is an INT.
    let rows = number
        .checked_mul(factor)
        .filter(|rows| (1..=1 << 31).contains(rows));
    rows.context("not between 1 and two billion")
}

impl Mysql {
    pub(super) fn run(&self) -> Result<()> {
        setup::Setup { bench: true }.run()?;
        let sizes = match self.sizes.is_empty() {
            true => &[self.rows],
            false => &self.sizes[..],
        };
        let arena = Arena {
            tidegate: Tidegate::new(&self.program)?,
            rivals: Rivals::find(),
            server: Server::start(sizes.iter().copied().max().unwrap_or_default())?,
            directory: cache()?.join(format!("run-{}", std::process::id())),
            level: self.level,
            keys: self.keys.clone(),
        };
        let cores = std::thread::available_parallelism().map_or(1, usize::from);
        println!(
            "\nMySQL to Parquet, zstd level {}, {cores} cores; medians of {} rounds in turns; {}",
            self.level,
            self.rounds,
            arena.versions()?
        );
        let shown = sizes
            .iter()
            .try_for_each(|rows| self.compare(&arena, *rows));
        // What is left behind is found by the next one who looks into the cache.
        drop(fs::remove_dir_all(&arena.directory));
        shown
    }

    fn compare(&self, arena: &Arena, rows: u64) -> Result<()> {
        let table = arena.server.table(rows)?;
        let alone = self.alone || !self.sizes.is_empty();
        let sides = Side::and(if alone { &[] } else { &Rival::OF_MYSQL });
        let mut results: Vec<_> = sides.into_iter().map(Outcome::new).collect();
        let drained = arena.drain(&table)?;
        let mut served = vec![Vec::new(); results.len()];
        for _ in 0..self.rounds {
            for (outcome, served) in results.iter_mut().zip(&mut served) {
                served.push(arena.round(&table, outcome)?);
            }
        }
        println!(
            "\n{rows} rows, {:.0} MB in InnoDB{}; MariaDB's client drains them in {:.2} s",
            megabytes(table.bytes),
            spread(&results),
            drained.as_secs_f64()
        );
        println!("{}{:>9}{:>11}{:>7}", heading(), "server", "output", "files");
        for (outcome, served) in results.iter().zip(&served) {
            let count = outcome.count.as_ref().context("a side was never run")?;
            println!(
                "{}{:>7.2} s{:>8.0} MB{:>7}",
                outcome.figures(ours(&results), table.bytes),
                super::measure::median(served.iter().copied())
                    .unwrap_or_default()
                    .as_secs_f64(),
                megabytes(count.bytes),
                count.files,
            );
        }
        results
            .iter()
            .try_for_each(|outcome| check(outcome, &table))
    }
}

/// A side must have written all rows, with all cents.
fn check(outcome: &Outcome<Count>, table: &Table) -> Result<()> {
    let count = outcome.count.as_ref().context("a side was never run")?;
    let right = (count.rows, count.ids, &count.amount) == (table.rows, table.ids, &table.amount);
    ensure!(
        right,
        "{} wrote {count:?}, not {table:?}",
        outcome.side.name()
    );
    Ok(())
}

/// What lies in a directory of Parquet files, by a reader that none of the sides wrote.
#[derive(Debug, Clone, PartialEq, Eq)]
struct Count {
    rows: u64,
    ids: u128,
    amount: String,
    bytes: u64,
    files: u64,
}

/// Where the rounds are run.
#[derive(Debug)]
struct Arena {
    tidegate: Tidegate,
    rivals: Rivals,
    server: Server,
    directory: PathBuf,
    level: u32,
    keys: Vec<String>,
}

impl Arena {
    fn versions(&self) -> Result<String> {
        let versions = output(self.rivals.mysql(&["versions"]))?;
        let names = Rival::OF_MYSQL.into_iter().map(Rival::name);
        let pairs = names.zip(versions.trim().split('\t'));
        let pairs: Vec<_> = pairs
            .map(|(name, version)| format!("{name} {version}"))
            .collect();
        Ok(pairs.join(", "))
    }

    /// How long MariaDB's own client takes to get the rows as text over one connection.
    fn drain(&self, table: &Table) -> Result<Duration> {
        let sql = format!("SELECT * FROM bench.{}", table.name);
        Ok(measure(&mut self.server.client(&sql))?.wall)
    }

    /// One side once, into an empty directory. Gives the server's processor time.
    fn round(&self, table: &Table, outcome: &mut Outcome<Count>) -> Result<Duration> {
        let directory = &self.directory;
        let out = directory.join("out");
        empty(directory)?;
        empty(&out)?;
        let port = self.server.port;
        let mut command = match outcome.side {
            Side::Tidegate => {
                let url = format!("mysql://root@127.0.0.1:{port}/bench");
                self.tidegate
                    .extract(&url, &table.name, &self.keys, directory, self.level)?
            }
            Side::Rival(rival) => {
                let (port, level) = (port.to_string(), self.level.to_string());
                let target = out
                    .to_str()
                    .context("the cache directory's name is not UTF-8")?;
                self.rivals
                    .mysql(&[rival.name(), &port, &table.name, target, &level])
            }
        };
        let before = self.server.cpu()?;
        outcome.runs.push(measure(&mut command)?);
        let served = self.server.cpu()?.saturating_sub(before);
        outcome.count = Some(self.count(&out)?);
        Ok(served)
    }

    fn count(&self, directory: &Path) -> Result<Count> {
        let mut command = self.rivals.mysql(&["count"]);
        command.arg(directory);
        let text = output(command)?;
        let [rows, ids, amount, bytes, files] = text.trim_end().split('\t').collect::<Vec<_>>()[..]
        else {
            bail!("`{text}` are no counts");
        };
        Ok(Count {
            rows: rows.parse()?,
            ids: ids.parse()?,
            amount: amount.to_owned(),
            bytes: bytes.parse()?,
            files: files.parse()?,
        })
    }
}
