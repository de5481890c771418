//! How fast a stream is read, and at what cost.

use std::env;
use std::fs;
use std::io::{BufRead as _, BufReader};
use std::path::Path;
use std::process::{Child, Command, Stdio};

use anyhow::{Context as _, Result, ensure};

use super::answers::{DATA, PAGE};
use super::{command, pipeline};
use crate::bench::measure::measure;
use crate::bench::sides::{Named, Outcome};
use crate::bench::site::{empty, lines, parquet_rows};
use crate::bench::tidegate::Tidegate;

/// Whether they are pushed, shards, and pages of each.
const STREAMS: [(bool, u32, u32); 5] = [
    (false, 1, 4),
    (false, 8, 4),
    (false, 64, 1),
    (true, 1, 50),
    (true, 8, 8),
];

/// Rounds of what needn't wait; the median is shown.
const ROUNDS: usize = 3;

/// What is polled once and ends, and what is pushed.
const POLLED: &str = "until = \"now\"\n";
const PUSHED: &str = "until = \"now\"\nmode = \"fan_out\"\nconsumer = \"bench\"\n";

/// What is written, the keys of the sink that do it, and what counts the rows.
type Sink = (&'static str, &'static str, fn(&Path) -> Result<u64>);
const SINKS: [Sink; 2] = [
    ("parquet", "type = \"parquet\"\n", parquet_rows),
    ("ndjson", "type = \"files\"\nformat = \"ndjson\"\n", lines),
];

pub(super) fn run(tidegate: &Tidegate, directory: &Path, workers: Option<u32>) -> Result<()> {
    println!(
        "\nRecords of {DATA} bytes, {PAGE} a page; a shard's next page waits until it is allowed (2 MB/s).\n"
    );
    println!(
        "{:<8}{:>7}{:>7}{:>9}{:>10}{:>9}{:>9}{:>11}{:>7}{:>12}{:>9}",
        "",
        "shards",
        "pages",
        "sink",
        "records",
        "time",
        "waiting",
        "records/s",
        "MB/s",
        "CPU/record",
        "peak MB"
    );
    for (fan_out, shards, pages) in STREAMS {
        let source = if fan_out { PUSHED } else { POLLED };
        let server = Server::start(shards, pages)?;
        for (name, sink, rows) in SINKS {
            let records = u64::from(shards) * u64::from(pages) * u64::from(PAGE);
            let waits = if fan_out { 0 } else { pages - 1 };
            let rounds = if waits == 0 { ROUNDS } else { 1 };
            let mut outcome = Outcome::new(Kind(name));
            for _ in 0..rounds {
                let site = directory.join("site");
                empty(&site)?;
                let file = site.join("pipeline.toml");
                fs::write(&file, pipeline(&server.url, source, sink))?;
                let state = site.join("state");
                let usage = measure(&mut command(tidegate, &file, &state, workers))?;
                let stored = rows(&site.join("out"))?;
                ensure!(
                    stored == records,
                    "there are {records} records, and {stored} rows are stored"
                );
                outcome.runs.push(usage);
                outcome.count = Some(stored);
                fs::remove_dir_all(&site)?;
            }
            print!(
                "{:<8}{shards:>7}{pages:>7}",
                if fan_out { "fan_out" } else { "polling" }
            );
            show(waits, records, &outcome);
        }
    }
    Ok(())
}

/// The rest of a line.
#[expect(clippy::cast_precision_loss, reason = "figures for people")]
fn show(waits: u32, records: u64, outcome: &Outcome<u64, Kind>) {
    let (count, length) = (records as f64, DATA as f64);
    let wall = outcome.median(|run| run.wall).as_secs_f64();
    let cpu = outcome.median(|run| run.cpu).as_secs_f64();
    println!(
        "{:>9}{records:>10}{wall:>7.1} s{:>7.1} s{:>11.0}{:>7.1}{:>9.1} µs{:>9}",
        outcome.side.name(),
        f64::from(waits) * f64::from(PAGE) * length / 2e6,
        count / wall,
        count * length / wall / 1e6,
        cpu / count * 1e6,
        outcome.median(|run| run.peak) / 1_000_000,
    );
}

/// A sink as a row of a table.
#[derive(Debug, Clone, Copy)]
struct Kind(&'static str);

impl Named for Kind {
    fn name(self) -> &'static str {
        self.0
    }
}

/// [`Answers`](super::Answers), until this is dropped.
struct Server {
    process: Child,
    url: String,
}

impl Server {
    fn start(shards: u32, pages: u32) -> Result<Self> {
        let mut process = Command::new(env::current_exe()?)
            .args(["bench", "kinesis-answers"])
            .args([
                "--shards",
                &shards.to_string(),
                "--pages",
                &pages.to_string(),
            ])
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .spawn()
            .context("the server could not be started")?;
        let said = process.stdout.take().context("a process without output")?;
        let mut server = Self {
            process,
            url: String::new(),
        };
        BufReader::new(said).read_line(&mut server.url)?;
        server.url.truncate(server.url.trim_end().len());
        ensure!(!server.url.is_empty(), "the server could not be started");
        Ok(server)
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        drop(self.process.stdin.take());
        let _ = self.process.wait();
    }
}
