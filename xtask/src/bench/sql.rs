//! `cargo xtask bench sql`.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{Context as _, Result};
use clap::{Args, ValueEnum};

use super::data::cache;
use super::measure::measure;
use super::sides::{Named, Outcome, heading, megabytes, ours, spread};
use super::site::empty;
use super::tidegate::Tidegate;
use crate::place;
use crate::process::{output, run};
use crate::program::Program;
use crate::setup;

/// SQL over local Parquet by a pipeline and by a query, beside DuckDB
///
/// The rows are orders of two years in ten files, sorted by time, with two small tables of stores
/// and products (2 GB for 100 million rows). Each side writes its answer as Parquet; all answers are
/// compared.
#[derive(Debug, Args)]
pub(super) struct Sql {
    /// How many rows
    #[arg(long, default_value_t = 100_000_000, value_parser = clap::value_parser!(u64).range(10..))]
    rows: u64,
    /// How often each side runs; the median counts
    #[arg(long, default_value_t = 3, value_parser = clap::value_parser!(u32).range(1..))]
    rounds: u32,
    /// Ask only this; may be repeated
    #[arg(long, value_enum)]
    question: Vec<Question>,
    #[command(flatten)]
    program: Program,
    /// Only Tidegate
    #[arg(long)]
    alone: bool,
}

/// Who does the work.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Side {
    /// `tidegate run`: files to a SQL transform to Parquet.
    Run,
    /// `tidegate query`.
    Query,
    DuckDb,
}

impl Named for Side {
    fn name(self) -> &'static str {
        match self {
            Self::Run => "run",
            Self::Query => "query",
            Self::DuckDb => "duckdb",
        }
    }
}

/// What is asked.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
enum Question {
    Weekly,
    Join,
    Top,
    Range,
}

impl Question {
    const ALL: [Self; 4] = [Self::Weekly, Self::Join, Self::Top, Self::Range];

    fn title(self) -> &'static str {
        match self {
            Self::Weekly => "sums by week, store and product group",
            Self::Join => "join with two small tables and a filter, sums by three columns",
            Self::Top => "the 100 largest orders",
            Self::Range => "sums by store of three days of two years",
        }
    }

    /// With a place for each table's name. What all sides understand in the same way.
    fn text(self) -> &'static str {
        match self {
            Self::Weekly => {
                "SELECT date_trunc('week', ts) AS week, store, product % 16 AS product_group, \
                 count(*) AS orders, CAST(sum(quantity) AS BIGINT) AS quantity, sum(price) AS price \
                 FROM {orders} GROUP BY 1, 2, 3"
            }
            Self::Join => {
                "SELECT s.region, p.category, o.status, count(*) AS orders, \
                 sum(o.price) AS price, sum(p.cost) AS cost \
                 FROM {orders} o JOIN {stores} s ON o.store = s.store \
                 JOIN {products} p ON o.product = p.product \
                 WHERE o.quantity >= 5 AND s.square_metres >= 500 GROUP BY 1, 2, 3"
            }
            Self::Top => {
                "SELECT id, ts, customer, quantity, price FROM {orders} \
                 ORDER BY price DESC, quantity DESC, id LIMIT 100"
            }
            Self::Range => {
                "SELECT store, count(*) AS orders, sum(price) AS price FROM {orders} \
                 WHERE ts >= TIMESTAMP '2025-03-01 00:00:00' \
                 AND ts < TIMESTAMP '2025-03-04 00:00:00' GROUP BY store"
            }
        }
    }

    fn sql(self, table: impl Fn(&str) -> String) -> String {
        let mut text = self.text().to_owned();
        for name in TABLES {
            text = text.replace(&format!("{{{name}}}"), &table(name));
        }
        text
    }

    fn tables(self) -> impl Iterator<Item = &'static str> {
        let named = move |name: &&str| self.text().contains(&format!("{{{name}}}"));
        TABLES.into_iter().filter(named)
    }
}

const TABLES: [&str; 3] = ["orders", "stores", "products"];

impl Sql {
    pub(super) fn run(&self) -> Result<()> {
        setup::Setup { bench: true }.run()?;
        let arena = Arena {
            tidegate: Tidegate::new(&self.program)?,
            duckdb: DuckDb::find(),
            data: cache()?.join(format!("sql-{}", self.rows)),
            directory: cache()?.join(format!("run-{}", std::process::id())),
        };
        arena.prepare(self.rows)?;
        let cores = std::thread::available_parallelism().map_or(1, usize::from);
        println!(
            "\n{} rows of Parquet, {cores} cores; medians of {} rounds in turns; duckdb {}",
            self.rows,
            self.rounds,
            arena.duckdb.version()?
        );
        let all = Question::ALL.into_iter();
        let mut asked = all.filter(|one| self.question.is_empty() || self.question.contains(one));
        let shown = asked.try_for_each(|question| self.ask(&arena, question));
        // What is left behind is found by the next one who looks into the cache.
        drop(fs::remove_dir_all(&arena.directory));
        shown
    }

    /// All sides answer a question.
    fn ask(&self, arena: &Arena, question: Question) -> Result<()> {
        let sides = [Side::Run, Side::Query, Side::DuckDb];
        let taking = sides.into_iter().take(if self.alone { 2 } else { 3 });
        let mut results: Vec<Outcome<u64, Side>> = taking.map(Outcome::new).collect();
        let input = arena.warm(question)?;
        for _ in 0..self.rounds {
            for outcome in &mut results {
                arena.ask(outcome, question)?;
            }
        }
        for outcome in &mut results {
            let rows = arena.same(Side::Run, outcome.side);
            let rows = rows.with_context(|| format!("{question:?}, {}", outcome.side.name()));
            outcome.count = Some(rows?);
        }
        println!(
            "\n{}, {:.0} MB{}",
            question.title(),
            megabytes(input),
            spread(&results)
        );
        println!("{}{:>11}", heading(), "rows");
        for outcome in &results {
            let rows = outcome.count.context("a side was never run")?;
            println!("{}{rows:>11}", outcome.figures(ours(&results), input));
        }
        Ok(())
    }
}

/// The DuckDB that is measured, newer than the one that tests read with.
#[derive(Debug)]
struct DuckDb {
    python: PathBuf,
    script: PathBuf,
}

impl DuckDb {
    /// What `cargo xtask setup --bench` has installed.
    fn find() -> Self {
        Self {
            python: place::root().join("sql/bin/python"),
            script: place::workspace().join("xtask/src/bench/sql.py"),
        }
    }

    fn script(&self, what: &str) -> Command {
        let mut command = Command::new(&self.python);
        command.arg(&self.script).arg(what);
        command
    }

    fn version(&self) -> Result<String> {
        Ok(output(self.script("version"))?.trim().to_owned())
    }
}

/// Where the rounds are run.
#[derive(Debug)]
struct Arena {
    tidegate: Tidegate,
    duckdb: DuckDb,
    data: PathBuf,
    directory: PathBuf,
}

impl Arena {
    /// Makes the data if they aren't there.
    fn prepare(&self, rows: u64) -> Result<()> {
        let stamp = self.data.join(".made-by");
        let script = fs::read_to_string(&self.duckdb.script)?;
        // The data come from the part of the script that makes them.
        let (maker, _) = script
            .split_once("\ndef ask(")
            .context("the script has no `ask`")?;
        if fs::read_to_string(&stamp).is_ok_and(|made_by| made_by == maker) {
            return Ok(());
        }
        println!("making the data in {} …", self.data.display());
        if self.data.exists() {
            fs::remove_dir_all(&self.data)?;
        }
        let mut make = self.duckdb.script("make");
        make.arg(&self.data).arg(rows.to_string());
        run(&mut make)?;
        // The last thing that is done, so that what was broken off is done again.
        Ok(fs::write(stamp, maker)?)
    }

    fn table(&self, name: &str) -> PathBuf {
        self.data.join(name)
    }

    /// Reads the question's tables once, so that no side has to wait for the disk; gives their bytes.
    fn warm(&self, question: Question) -> Result<u64> {
        let mut bytes = 0;
        for name in question.tables() {
            for file in fs::read_dir(self.table(name))? {
                let mut file = fs::File::open(file?.path())?;
                bytes += std::io::copy(&mut file, &mut std::io::sink())?;
            }
        }
        Ok(bytes)
    }

    fn answer(&self, side: Side) -> PathBuf {
        self.directory.join(side.name())
    }

    fn ask(&self, outcome: &mut Outcome<u64, Side>, question: Question) -> Result<()> {
        let directory = self.answer(outcome.side);
        empty(&directory)?;
        let file = directory.join("answer.parquet");
        let of_files = |pattern: &'static str| {
            move |name: &str| format!("'{}/{name}{pattern}'", self.data.display())
        };
        let mut command = match outcome.side {
            Side::Run => self.pipeline(question, &directory)?,
            Side::Query => {
                let sql = question.sql(of_files("/"));
                self.tidegate.query_to_parquet(&sql, &file)
            }
            Side::DuckDb => {
                let mut command = self.duckdb.script("ask");
                command.arg(question.sql(of_files("/*.parquet"))).arg(&file);
                command
            }
        };
        outcome
            .runs
            .push(measure(command.current_dir(&self.directory))?);
        Ok(())
    }

    /// A pipeline from the tables to `directory/out`.
    fn pipeline(&self, question: Question, directory: &Path) -> Result<Command> {
        let mut text = "name = \"bench\"\n".to_owned();
        let mut inputs = Vec::new();
        for name in question.tables() {
            let url = self.table(name);
            text += &format!(
                "[sources.{name}]\ntype = \"files\"\nurl = '{}/'\n",
                url.display()
            );
            inputs.push(format!("\"{name}\""));
        }
        text += &format!(
            "[transforms.answer]\ntype = \"sql\"\ninputs = [{}]\nquery = \"\"\"{}\"\"\"\n\
             [sinks.lake]\ntype = \"parquet\"\ninputs = [\"answer\"]\nurl = 'out'\n",
            inputs.join(", "),
            question.sql(str::to_owned)
        );
        let file = directory.join("sql.toml");
        fs::write(&file, text)?;
        Ok(self.tidegate.run(&file, &directory.join(".state")))
    }

    /// Compares two sides' answers; gives the number of rows.
    fn same(&self, one: Side, other: Side) -> Result<u64> {
        let files = |side| match side {
            Side::Run => self.answer(side).join("out"),
            side => self.answer(side).join("answer.parquet"),
        };
        let mut same = self.duckdb.script("same");
        same.arg(files(one)).arg(files(other));
        Ok(output(same)?.trim().parse()?)
    }
}
