//! A source of one's own, used beside what Tidegate brings; a sink of one's own is in `sink.rs`.
//!
//! `cargo run --example custom_connector` runs `pipeline.toml`, which reads prime numbers, filters
//! them with SQL, and writes them as lines of JSON under `out/`. `tests/it/examples.rs` has both
//! checked by the conformance suites.

#![allow(clippy::print_stdout, reason = "this program talks to a person")]

pub(crate) mod sink;

use std::path::Path;
use std::sync::Arc;

use arrow_array::{RecordBatch, UInt64Array};
use arrow_schema::{DataType, Field, Schema, SchemaRef};
use futures::StreamExt;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use tidegate::core::{
    Ask, Event, EventStream, Next, Offset, Plan, PlanState, Replay, Result, Rows, Scan, Source,
    SourceConfig, SourceContext, Split, SplitData, Stream, async_trait, register_source, typetag,
};
use tidegate::{Pipeline, Report, RunOptions, config, registry};

/// Prime numbers, in the stream `primes`.
#[derive(Debug, Clone, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub(crate) struct PrimesConfig {
    /// Where to stop.
    pub(crate) below: u64,
}

register_source!("primes", PrimesConfig);

#[async_trait]
#[typetag::serde(name = "primes")]
impl SourceConfig for PrimesConfig {
    async fn open(&self, _: &SourceContext) -> Result<Arc<dyn Source>> {
        let schema = Schema::new(vec![Field::new("prime", DataType::UInt64, false)]);
        Ok(Arc::new(Primes {
            below: self.below,
            schema: schema.into(),
        }))
    }
}

#[derive(Debug)]
struct Primes {
    below: u64,
    schema: SchemaRef,
}

#[async_trait]
impl Source for Primes {
    fn streams(&self) -> Vec<Stream> {
        vec![Stream {
            name: "primes".into(),
            schema: self.schema.clone(),
            key: vec!["prime".to_owned()],
            bounded: true,
            replay: Replay::Offset,
        }]
    }

    /// Ranges of numbers, read side by side. Asked first, it gives them all; then it is done.
    async fn plan(&self, ask: &Ask<'_>) -> Result<Plan> {
        let mut new = Vec::new();
        for from in (0..self.below).step_by(10_000).filter(|_| ask.first) {
            let data = SplitData::encode(&(from, self.below.min(from + 10_000)))?;
            new.push(Split::new(format!("from-{from}"), data));
        }
        Ok(Plan {
            new,
            revoked: Vec::new(),
            state: PlanState::encode(&())?,
            next: Next::Complete,
        })
    }

    /// The offset is the next number to look at, so what follows any offset is always the same.
    async fn read(
        &self,
        split: &Split,
        scans: &[Scan],
        resume: Option<&Offset>,
    ) -> Result<EventStream> {
        let (from, to): (u64, u64) = split.data.decode()?;
        let from = resume.map_or(Ok(from), Offset::decode)?;
        let (schema, scans) = (self.schema.clone(), scans.to_vec());
        let events = (from..to).step_by(1_000).map(move |from| {
            let next = to.min(from + 1_000);
            let primes = UInt64Array::from_iter_values((from..next).filter(|n| is_prime(*n)));
            let batch = RecordBatch::try_new(schema.clone(), vec![Arc::new(primes)])?;
            Ok(Event::Rows {
                stream: "primes".into(),
                // Only the columns asked for.
                rows: Rows::Batch(scans[0].project(batch)?),
                rejected: None,
                resume: Some(Offset::encode(&next)?),
            })
        });
        Ok(futures::stream::iter(events).boxed())
    }
}

fn is_prime(n: u64) -> bool {
    n > 1
        && (2..)
            .take_while(|d| d * d <= n)
            .all(|d| !n.is_multiple_of(d))
}

/// Runs the pipeline file in this directory.
pub(crate) async fn run(directory: &Path) -> Result<Report, Box<dyn std::error::Error>> {
    let registry = registry()?;
    let options = config::LoadOptions::new(directory.join("pipeline.toml"));
    let loaded = config::load(&options, &registry)?;
    let pipeline = Pipeline::with_configs(loaded.spec, loaded.configs, registry, loaded.settings)?;
    let options = RunOptions {
        state: directory.join(".tidegate").into(),
        ..RunOptions::default()
    };
    let (report, result) = pipeline.run(options).await;
    result.map(|()| report).map_err(Into::into)
}

#[tokio::main]
async fn main() -> Result<(), Box<dyn std::error::Error>> {
    let directory = concat!(env!("CARGO_MANIFEST_DIR"), "/examples/custom_connector");
    let report = run(directory.as_ref()).await?;
    println!(
        "{} rows are in {directory}/out",
        report.components[2].rows_in
    );
    Ok(())
}
