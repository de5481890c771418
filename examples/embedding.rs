//! A pipeline inside a program: built in code, watched while it runs, stopped, reported.
//!
//! `cargo run --example embedding`

#![allow(clippy::print_stdout, reason = "this program talks to a person")]

use std::error::Error;
use std::path::Path;
use std::time::Duration;

use serde_json::{Map, Value, json};
use tidegate::core::{
    CheckpointOptions, ComponentId, ComponentSpec, Guarantee, Kind, PipelineOptions, Span,
};
use tidegate::{Pipeline, PipelineSpec, Report, RunOptions, registry};
use tokio::sync::watch;

/// A component of the pipeline: what a table of a pipeline file says.
fn component(
    kind: Kind,
    id: &str,
    tag: &str,
    inputs: &[&str],
    config: Value,
) -> tidegate::Result<ComponentSpec> {
    Ok(ComponentSpec {
        id: ComponentId::new(id)?,
        kind,
        tag: tag.to_owned(),
        inputs: inputs.iter().map(|input| (*input).to_owned()).collect(),
        guarantee: None,
        config: serde_json::from_value(config).unwrap_or_default(),
    })
}

/// Events without an end, filtered, into Parquet files in `folder`, twice a second.
fn spec(folder: &Path) -> tidegate::Result<PipelineSpec> {
    Ok(PipelineSpec {
        name: "embedded".to_owned(),
        base: folder.to_owned(),
        options: PipelineOptions {
            guarantee: Some(Guarantee::ExactlyOnce),
            checkpoint: CheckpointOptions {
                interval: Some(Span(Duration::from_millis(500))),
                ..CheckpointOptions::default()
            },
            ..PipelineOptions::default()
        },
        components: vec![
            component(
                Kind::Source,
                "events",
                "generate",
                &[],
                json!({
                    "rate": 20_000,
                    "columns": [
                        { "name": "id", "type": "sequence" },
                        { "name": "amount", "type": "int", "min": 1, "max": 100 },
                    ],
                }),
            )?,
            component(
                Kind::Transform,
                "large",
                "sql",
                &["events"],
                json!({ "query": "SELECT id, amount FROM events WHERE amount > 90" }),
            )?,
            component(
                Kind::Sink,
                "lake",
                "parquet",
                &["large"],
                json!({ "url": "large" }),
            )?,
        ],
    })
}

/// Runs it until `stop` says so.
pub(crate) async fn run(
    folder: &Path,
    stop: watch::Receiver<bool>,
) -> Result<Report, Box<dyn Error>> {
    let pipeline = Pipeline::new(spec(folder)?, registry()?, Map::new())?;

    // Opens everything and types the graph, without moving a row.
    let description = pipeline.check().await?.describe();
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

    let state = folder.join("state");
    let options = RunOptions {
        state: state.into(),
        stop,
        ..RunOptions::default()
    };
    let (report, result) = pipeline.run(options).await;
    watching.abort();
    result?;
    Ok(report)
}

#[tokio::main]
async fn main() -> Result<(), Box<dyn Error>> {
    let folder = tempfile::tempdir()?;
    let (hand, stop) = watch::channel(false);
    tokio::spawn(async move {
        tokio::time::sleep(Duration::from_secs(2)).await;
        // A last commit, then the end. The next run would go on from there.
        let _ = hand.send(true);
        // Held, because a hand that is dropped can't stop anything any more.
        hand.closed().await;
    });
    let report = run(folder.path(), stop).await?;
    println!("{:?} after {} epochs", report.status, report.epochs);
    for component in &report.components {
        let (id, read, given) = (&component.id, component.rows_in, component.rows_out);
        println!("{id}: {read} rows in, {given} rows out");
    }
    Ok(())
}
