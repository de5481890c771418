//! A pipeline inside a program: built in code, watched while it runs, its committed rows taken,
//! stopped, reported.
//!
//! `cargo run --example embedding`

#![allow(clippy::print_stdout, reason = "this program talks to a person")]

use std::error::Error;
use std::path::Path;
use std::time::Duration;

use serde_json::{Map, json};
use tidegate::core::{Guarantee, Span};
use tidegate::{Pipeline, PipelineSpec, Report, RunOptions, program, registry};
use tokio::sync::watch;

/// Unbounded events, filtered, into Parquet files in `directory`, twice a second.
fn spec(directory: &Path) -> tidegate::Result<PipelineSpec> {
    let events = json!({
        "rate": 20_000,
        "columns": [
            { "name": "id", "type": "sequence" },
            { "name": "amount", "type": "int", "min": 1, "max": 100 },
        ],
    });
    let large = json!({ "query": "SELECT id, amount FROM events WHERE amount > 90" });
    let mut spec = PipelineSpec::new("embedded", directory)
        .source("events", "generate", events)?
        .transform("large", "sql", &["events"], large)?
        .sink("lake", "parquet", &["large"], json!({ "url": "large" }))?
        // The program itself reads the same rows, each epoch when it is committed.
        .sink("seen", "seen", &["large"], json!({}))?;
    spec.components[2].guarantee = Some(Guarantee::ExactlyOnce);
    spec.options.checkpoint.interval = Some(Span(Duration::from_millis(500)));
    Ok(spec)
}

/// Runs it until `stop` says so.
pub(crate) async fn run(
    directory: &Path,
    stop: watch::Receiver<bool>,
) -> Result<Report, Box<dyn Error>> {
    let mut registry = registry()?;
    let (mut seen, sink) = program::sink("seen", directory.join("seen"));
    registry.add(sink)?;
    let pipeline = Pipeline::new(spec(directory)?, registry, Map::new())?;

    // Opens everything and types the graph, without moving a row.
    let graph = pipeline.check().await?;
    let description = graph.describe();
    graph.close().await;
    for component in &description.components {
        if let Some(guarantee) = component.guarantee {
            println!("{} gives {guarantee}", component.id);
        }
    }

    // Counters, to be read at any time.
    let stats = pipeline.stats();
    let watching = tokio::spawn(async move {
        loop {
            tokio::time::sleep(Duration::from_millis(500)).await;
            let read = stats.components[0].rows_out();
            println!("{read} rows read, {} epochs committed", stats.epochs());
        }
    });

    let seeing = tokio::spawn(async move {
        while let Some(committed) = seen.next().await {
            let rows: usize = committed.batches().flatten().map(|b| b.num_rows()).sum();
            println!("epoch {} is committed: {rows} rows", committed.epoch);
            committed.done();
        }
    });

    let state = directory.join("state");
    let options = RunOptions {
        state: state.into(),
        stop,
        ..RunOptions::default()
    };
    let (report, result) = pipeline.run(options).await;
    watching.abort();
    drop(pipeline);
    seeing.await?;
    result?;
    Ok(report)
}

#[tokio::main]
async fn main() -> Result<(), Box<dyn Error>> {
    let directory = tempfile::tempdir()?;
    let (hand, stop) = watch::channel(false);
    tokio::spawn(async move {
        tokio::time::sleep(Duration::from_secs(2)).await;
        // A last commit, then the end. The next run would resume from there.
        let _ = hand.send(true);
        // Held, because a hand that is dropped can't stop anything any more.
        hand.closed().await;
    });
    let report = run(directory.path(), stop).await?;
    println!("{:?} after {} epochs", report.status, report.epochs);
    for component in &report.components {
        let (id, read, given) = (&component.id, component.rows_in, component.rows_out);
        println!("{id}: {read} rows in, {given} rows out");
    }
    Ok(())
}
