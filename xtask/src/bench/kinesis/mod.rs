//! `cargo xtask bench kinesis`.

mod answers;
mod exact;
mod speed;

use std::path::Path;
use std::process::Command;

use anyhow::Result;
use clap::Args;

use super::data::cache;
use super::tidegate::Tidegate;
use crate::program::Program;
use crate::setup;

pub(super) use answers::Answers;

/// A stream of Kinesis to files
///
/// By default how fast, and at what cost: a server of ours gives pages that it made beforehand, so that it
/// isn't what is waited for. A shard is read at the 2 MB a second that Kinesis allows; that no page has to
/// wait for is shown by many shards of one page each.
///
/// With `--exact`, whether each record is stored exactly once, and each key's in their order: a stream in
/// kinesis-local is written, plain and as the Kinesis Producer Library aggregates records, while it is
/// read; shards are split and merged meanwhile, and Tidegate is killed again and again.
#[derive(Debug, Args)]
pub(super) struct Kinesis {
    /// Whether each record comes once and in order, instead of how fast
    #[arg(long)]
    exact: bool,
    /// With `--exact`: how many records that are aggregated, 200 in one
    #[arg(long, default_value_t = 1_000_000, value_parser = whole)]
    records: u64,
    /// With `--exact`: how many plain ones; the more records kinesis-local has, the slower it becomes
    #[arg(long, default_value_t = 30_000, value_parser = whole)]
    plain: u64,
    /// With `--exact`: how often Tidegate is killed, at most, while the stream is written
    #[arg(long, default_value_t = 20)]
    kills: u32,
    /// With `--exact`: every so many of Tidegate's requests are throttled
    /// (`ProvisionedThroughputExceededException`) by a proxy; 0 for none
    #[arg(long, value_name = "NTH", default_value_t = 10)]
    throttle: u32,
    /// How many CPU threads Tidegate has. With `--exact`: only with one is the order of a file's rows
    /// promised, because the sink doesn't ask for any
    #[arg(long, value_name = "N")]
    workers: Option<u32>,
    #[command(flatten)]
    program: Program,
}

/// The stream.
const STREAM: &str = "clicks";

impl Kinesis {
    pub(super) fn run(&self) -> Result<()> {
        setup::Setup { bench: true }.run()?;
        let tidegate = Tidegate::new(&self.program)?;
        let directory = cache()?.join(if self.exact {
            "kinesis-exact"
        } else {
            "kinesis"
        });
        match self.exact {
            true => exact::Exact {
                plain: self.plain,
                aggregated: self.records,
                kills: self.kills,
                throttle: self.throttle,
                workers: self.workers,
            }
            .run(&tidegate, &directory),
            false => speed::run(&tidegate, &directory, self.workers),
        }
    }
}

fn whole(text: &str) -> Result<u64, String> {
    let number: u64 = text.parse().map_err(|error| format!("{error}"))?;
    match number % 10_000 {
        0 => Ok(number),
        _ => Err("it must be a multiple of 10000: 1000 keys, and 10 records of each in one".into()),
    }
}

/// A pipeline from the stream to a sink.
fn pipeline(url: &str, source: &str, sink: &str) -> String {
    format!(
        "name = \"kinesis\"\n[checkpoint]\ninterval = \"2s\"\n\
         [sources.clicks]\ntype = \"kinesis\"\nstream = \"{STREAM}\"\n{source}\
         [sources.clicks.aws]\nregion = \"us-east-1\"\nendpoint_url = \"{url}\"\n\
         [sources.clicks.aws.credentials]\naccess_key_id = \"bench\"\n\
         secret_access_key = {{ env = \"BENCH_SECRET\" }}\n\
         [sinks.lake]\ninputs = [\"clicks\"]\nurl = \"out\"\n{sink}"
    )
}

/// Runs a pipeline.
fn command(tidegate: &Tidegate, file: &Path, state: &Path, workers: Option<u32>) -> Command {
    let mut command = tidegate.run(file, state);
    command.env("BENCH_SECRET", "bench");
    if let Some(workers) = workers {
        command.args(["--workers", &workers.to_string()]);
    }
    command
}
