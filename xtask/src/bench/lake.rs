//! `cargo xtask bench lake`.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{Context as _, Result, ensure};
use clap::{Args, ValueEnum};

use super::data::{Data, Form, cache};
use super::measure::measure;
use super::rivals::{Count, Rival, Rivals};
use super::sides::{Named, Outcome, Side, heading, megabytes, ours, spread};
use super::site::empty;
use super::tidegate::Tidegate;
use crate::program::Program;
use crate::serve::Servers;
use crate::setup;

/// NDJSON to Parquet on an S3 server and back with queries, beside DuckDB and Polars
///
/// The server is SeaweedFS on this machine, the same for all sides, and shares its cores with them.
/// Writing: 1.2 GB of local NDJSON. Reading: the files that Tidegate wrote (or another side, see
/// `--files-of`), by a scan with a filter and by a group-by; the rows go to a CSV file.
#[derive(Debug, Args)]
pub(super) struct Lake {
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
    /// Whose files all sides read
    #[arg(long, value_enum, default_value_t = Writer::Tidegate)]
    files_of: Writer,
    /// Only Tidegate
    #[arg(long, conflicts_with = "files_of")]
    alone: bool,
}

/// Who wrote the files that are read.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
enum Writer {
    Tidegate,
    Duckdb,
    Polars,
}

/// What is asked. `lake.py` asks the rivals the same.
#[derive(Debug, Clone, Copy)]
enum Question {
    Scan,
    Group,
}

impl Question {
    const ALL: [Self; 2] = [Self::Scan, Self::Group];

    fn name(self) -> &'static str {
        match self {
            Self::Scan => "scan",
            Self::Group => "group",
        }
    }

    fn title(self) -> &'static str {
        match self {
            Self::Scan => "scan with a filter, 4 of 11 columns",
            Self::Group => "group by two columns, 288 groups",
        }
    }

    fn sql(self, url: &str) -> String {
        match self {
            Self::Scan => format!(
                "SELECT id, user_id, amount, comment FROM '{url}/*.parquet' \
                 WHERE country = 'JP' AND amount > 4000"
            ),
            Self::Group => format!(
                "SELECT country, product, count(*) AS n, sum(amount) AS amount, \
                 avg(score) AS score FROM '{url}/*.parquet' GROUP BY country, product"
            ),
        }
    }

    /// The column whose sum tells that the answer is whole.
    fn checked_column(self) -> usize {
        match self {
            Self::Scan => 0,
            Self::Group => 2,
        }
    }
}

/// The bucket of all sides.
const BUCKET: &str = "bench";

impl Lake {
    pub(super) fn run(&self) -> Result<()> {
        setup::Setup { bench: true }.run()?;
        let tidegate = Tidegate::new(&self.program)?;
        let data = Data::prepare(&tidegate, self.rows)?;
        let rivals = Rivals::find();
        let [duckdb, polars] = rivals.versions()?;
        let arena = Arena {
            directory: cache()?.join(format!("run-{}", std::process::id())),
            servers: Servers::start(&["seaweedfs", "--bucket", BUCKET])?,
            tidegate,
            rivals,
            data,
        };
        let cores = std::thread::available_parallelism().map_or(1, usize::from);
        println!(
            "\n{} rows to and from SeaweedFS, zstd level {}, {cores} cores; medians of {} rounds \
             in turns; duckdb {duckdb}, polars {polars}",
            arena.data.rows, self.level, self.rounds
        );
        let shown = self.write(&arena).and_then(|bytes| {
            Question::ALL
                .into_iter()
                .try_for_each(|question| self.read(&arena, question, bytes))
        });
        // What is left behind is found by the next one who looks into the cache.
        drop(fs::remove_dir_all(&arena.directory));
        shown
    }

    fn sides(&self) -> Vec<Side> {
        Side::and(if self.alone { &[] } else { &Rival::OF_FILES })
    }

    /// All sides write; what they wrote last stays. Gives the bytes of the files that are read.
    fn write(&self, arena: &Arena) -> Result<u64> {
        arena.data.warm(Form::Ndjson)?;
        let mut results: Vec<_> = self.sides().into_iter().map(Outcome::new).collect();
        for _ in 0..self.rounds {
            for outcome in &mut results {
                arena.write(outcome, self.level)?;
            }
        }
        let input = arena.data.bytes(Form::Ndjson)?;
        println!(
            "\nNDJSON to Parquet on S3, {:.0} MB{}",
            megabytes(input),
            spread(&results)
        );
        println!("{}{:>11}{:>7}", heading(), "output", "files");
        for outcome in &results {
            let count = outcome.count.as_ref().context("a side was never run")?;
            println!(
                "{}{:>8.0} MB{:>7}",
                outcome.figures(ours(&results), input),
                megabytes(count.bytes),
                count.files,
            );
        }
        let rows = arena.data.rows;
        let ids = u128::from(rows) * u128::from(rows - 1) / 2;
        for Outcome { side, count, .. } in &results {
            let right = count
                .as_ref()
                .is_some_and(|count| count.rows == rows && count.ids == ids);
            ensure!(right, "{} wrote {count:?}, not {rows} rows", side.name());
        }
        let read = results
            .iter()
            .find(|outcome| outcome.side == self.files_of.side())
            .and_then(|outcome| outcome.count.as_ref());
        Ok(read.context("nobody wrote the files to be read")?.bytes)
    }

    /// All sides answer a question over the same files.
    fn read(&self, arena: &Arena, question: Question, bytes: u64) -> Result<()> {
        let url = url_of(self.files_of.side());
        let mut results: Vec<_> = self.sides().into_iter().map(Outcome::new).collect();
        for _ in 0..self.rounds {
            for outcome in &mut results {
                arena.read(outcome, question, &url)?;
            }
        }
        println!(
            "\n{} of {}'s files, {:.0} MB{}",
            question.title(),
            self.files_of.side().name(),
            megabytes(bytes),
            spread(&results)
        );
        println!("{}{:>11}", heading(), "rows");
        for outcome in &results {
            let answer = outcome.count.context("a side was never run")?;
            println!(
                "{}{:>11}",
                outcome.figures(ours(&results), bytes),
                answer.rows
            );
        }
        let first = results.first().and_then(|outcome| outcome.count);
        for Outcome { side, count, .. } in &results {
            ensure!(
                *count == first,
                "{} answers {count:?}, Tidegate {first:?}",
                side.name()
            );
        }
        Ok(())
    }
}

impl Writer {
    fn side(self) -> Side {
        match self {
            Self::Tidegate => Side::Tidegate,
            Self::Duckdb => Side::Rival(Rival::DuckDb),
            Self::Polars => Side::Rival(Rival::Polars),
        }
    }
}

fn url_of(side: Side) -> String {
    format!("s3://{BUCKET}/{}", side.name())
}

/// What a query answered: rows, and the sum of the question's column.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Answer {
    rows: u64,
    sum: u128,
}

/// Where the rounds are run.
#[derive(Debug)]
struct Arena {
    directory: PathBuf,
    servers: Servers,
    tidegate: Tidegate,
    rivals: Rivals,
    data: Data,
}

impl Arena {
    /// An empty directory.
    fn directory(&self) -> Result<&Path> {
        let directory = &self.directory;
        empty(directory)?;
        Ok(directory)
    }

    fn write(&self, outcome: &mut Outcome<Count>, level: u32) -> Result<()> {
        let directory = self.directory()?;
        let source = self.data.path(Form::Ndjson);
        let url = url_of(outcome.side);
        let environment = self.servers.environment();
        self.rivals.clear(&url, environment)?;
        let command = match outcome.side {
            Side::Tidegate => self.tidegate.upload(&source, &url, directory, level)?,
            Side::Rival(rival) => self.rivals.upload(rival, &source, &url, level),
        };
        outcome.runs.push(self.measure(command)?);
        outcome.count = Some(self.rivals.count_uploaded(&url, environment)?);
        Ok(())
    }

    fn read(&self, outcome: &mut Outcome<Answer>, question: Question, url: &str) -> Result<()> {
        let output = self.directory()?.join("answer.csv");
        let command = match outcome.side {
            Side::Tidegate => self.tidegate.query(&question.sql(url), &output),
            Side::Rival(rival) => self.rivals.query(rival, question.name(), url, &output),
        };
        outcome.runs.push(self.measure(command)?);
        outcome.count = Some(answer(&output, question.checked_column())?);
        Ok(())
    }

    fn measure(&self, mut command: Command) -> Result<super::measure::Usage> {
        command
            .envs(self.servers.environment())
            .current_dir(&self.directory);
        measure(&mut command)
    }
}

/// Counts the rows of a CSV file with a header, whose texts have no line ends; those with commas
/// come after the column that is summed, but for the products, which are quoted.
fn answer(file: &Path, column: usize) -> Result<Answer> {
    let text = fs::read_to_string(file)?;
    let mut answer = Answer { rows: 0, sum: 0 };
    for line in text.lines().skip(1) {
        let value = fields(line).nth(column);
        let value = value.with_context(|| format!("`{line}` has too few fields"))?;
        answer.rows += 1;
        answer.sum += value
            .parse::<u128>()
            .with_context(|| format!("in `{line}`"))?;
    }
    Ok(answer)
}

/// The fields of a line of CSV, with the quotes around them.
fn fields(line: &str) -> impl Iterator<Item = &str> {
    let mut quoted = false;
    line.split(move |character| {
        if character == '"' {
            quoted = !quoted;
        }
        character == ',' && !quoted
    })
}
