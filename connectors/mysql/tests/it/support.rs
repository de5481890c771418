//! What the tests share.

use std::collections::BTreeMap;
use std::sync::Arc;

use arrow_array::RecordBatch;
use futures::{StreamExt, TryStreamExt};
use proptest::test_runner::{Config as ProptestConfig, FileFailurePersistence};
use serde_json::{Value, json};
use tidegate_core::{
    Ask, Event, Offset, Plan, PlanState, Result, Rows, Scan, Source, SourceConfig, SourceContext,
    Split,
};
use tidegate_mysql::MySqlConfig;
use tidegate_testkit::servers::MariaDb;
use tidegate_testkit::suites::{context, render};

/// A source's configuration: the server's database, and these keys.
pub(crate) fn config(server: &MariaDb, database: &str, keys: &Value) -> MySqlConfig {
    let mut all = json!({ "url": server.url(database) });
    for (key, value) in keys.as_object().unwrap() {
        all[key] = value.clone();
    }
    let config: MySqlConfig = serde_json::from_value(all).unwrap();
    config.validate().unwrap();
    config
}

/// Opens it in a context of its own, which comes back for its counters.
pub(crate) async fn open(config: &MySqlConfig) -> (Arc<dyn Source>, SourceContext) {
    let cx = context().source();
    (config.open(&cx).await.unwrap(), cx)
}

/// Scans of all columns of all streams.
pub(crate) fn scans(source: &dyn Source) -> Vec<Scan> {
    let streams = source.streams();
    streams.into_iter().map(|s| Scan::all(s.name)).collect()
}

/// What it answers to the first question of a run that follows another which ended with `state`.
pub(crate) async fn plan(
    source: &dyn Source,
    scans: &[Scan],
    state: Option<&PlanState>,
) -> Result<Plan> {
    let ask = Ask {
        scans,
        state,
        finished: &[],
        first: true,
    };
    source.plan(&ask).await
}

/// An event with rows, decoded.
#[derive(Debug)]
pub(crate) struct Seen {
    pub(crate) stream: String,
    pub(crate) batches: Vec<RecordBatch>,
    pub(crate) rejected: Vec<String>,
    pub(crate) resume: Option<Offset>,
}

impl Seen {
    pub(crate) fn of(event: Event) -> Option<Self> {
        let Event::Rows {
            stream,
            rows,
            rejected,
            resume,
        } = event
        else {
            return None;
        };
        let mut all = rejected.unwrap_or_default();
        let batches = match rows {
            Rows::Batch(batch) => vec![batch],
            Rows::Encoded(encoded) => {
                let decoded = encoded.decode().unwrap();
                all.extend(decoded.rejected);
                decoded.batches
            }
        };
        Some(Self {
            stream: stream.to_string(),
            batches,
            rejected: all.rows.into_iter().map(|row| row.reason).collect(),
            resume,
        })
    }

    pub(crate) fn rows(&self) -> Vec<String> {
        let batches = self.batches.iter();
        batches.flat_map(|batch| render(batch).unwrap()).collect()
    }
}

/// Reads a split to its end.
pub(crate) async fn read(
    source: &dyn Source,
    split: &Split,
    scans: &[Scan],
    resume: Option<&Offset>,
) -> Result<Vec<Seen>> {
    let events = source.read(split, scans, resume).await?;
    let events: Vec<_> = events.try_collect().await?;
    Ok(events.into_iter().filter_map(Seen::of).collect())
}

/// Everything that splits give, sorted, by stream.
pub(crate) async fn read_all(
    source: &dyn Source,
    splits: &[Split],
    scans: &[Scan],
) -> Result<BTreeMap<String, Vec<String>>> {
    let reading = splits.iter().map(|split| read(source, split, scans, None));
    let reading: Vec<_> = reading.collect();
    let all: Vec<_> = futures::stream::iter(reading)
        .buffered(8)
        .try_collect()
        .await?;
    let mut rows = BTreeMap::<String, Vec<String>>::new();
    for seen in all.iter().flatten() {
        assert!(seen.rejected.is_empty(), "{:?}", seen.rejected);
        rows.entry(seen.stream.clone())
            .or_default()
            .extend(seen.rows());
    }
    rows.values_mut().for_each(|rows| rows.sort_unstable());
    Ok(rows)
}

/// One run of all streams: its rows, sorted, by stream, and the state that it ends with.
pub(crate) async fn run(
    config: &MySqlConfig,
    state: Option<&PlanState>,
) -> Result<(BTreeMap<String, Vec<String>>, PlanState)> {
    let (source, _cx) = open(config).await;
    let scans = scans(source.as_ref());
    let plan = plan(source.as_ref(), &scans, state).await?;
    let rows = read_all(source.as_ref(), &plan.new, &scans).await?;
    source.close().await?;
    Ok((rows, plan.state))
}

/// So many random cases. Those that fail are kept in a file, which is to be committed, and are tried
/// first from then on; the failure also prints what it found.
pub(crate) fn cases(cases: u32) -> ProptestConfig {
    let file = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/regressions.txt");
    ProptestConfig {
        cases,
        failure_persistence: Some(Box::new(FileFailurePersistence::Direct(file))),
        ..ProptestConfig::default()
    }
}

/// Numbers as the rows of a table that has only them.
pub(crate) fn ids(numbers: impl IntoIterator<Item = u64>) -> Vec<String> {
    let mut rows: Vec<_> = numbers.into_iter().map(|id| format!("id={id}")).collect();
    rows.sort_unstable();
    rows
}
