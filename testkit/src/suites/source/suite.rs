//! What the suite is given, and the helpers that its checks share.

use std::collections::BTreeMap;
use std::fmt;
use std::future::Future;
use std::sync::Arc;

use arrow_array::RecordBatch;
use arrow_schema::SchemaRef;
use futures::future::BoxFuture;
use futures::{FutureExt, StreamExt};
use tidegate_core::{
    Ask, ErrorKind, Event, FinishedSplit, Next, Offset, PlanState, Replay, Result, Rows, Scan,
    Source, Split, SplitId, StreamName,
};

use super::{planning, reading, resuming};
use crate::suites::check::{Check, Outcome, Refusal, Report, checks, ensure};
use crate::suites::rows;

type Open = Arc<dyn Fn() -> BoxFuture<'static, Result<Arc<dyn Source>>> + Send + Sync>;

/// Checks of a source; made by [`source_suite`].
#[derive(Clone)]
pub struct SourceSuite {
    pub(super) open: Open,
    pub(super) expected: BTreeMap<StreamName, Expected>,
    pub(super) refusals: Vec<Refusal>,
    pub(super) incremental: bool,
    pub(super) prefix: Option<usize>,
    pub(super) resumes: usize,
    pub(super) same_positions: bool,
}

#[derive(Debug, Clone)]
pub(super) enum Expected {
    Count(u64),
    Rows(Vec<String>),
}

impl fmt::Debug for SourceSuite {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("SourceSuite").finish_non_exhaustive()
    }
}

/// A suite for the source that `open` opens. It is opened anew for each check, and for each
/// reading that stands for a later process; the upstream must not change meanwhile.
pub fn source_suite<F, Fut>(open: F) -> SourceSuite
where
    F: Fn() -> Fut + Send + Sync + 'static,
    Fut: Future<Output = Result<Arc<dyn Source>>> + Send + 'static,
{
    SourceSuite {
        open: Arc::new(move || open().boxed()),
        expected: BTreeMap::new(),
        refusals: Vec::new(),
        incremental: false,
        prefix: None,
        resumes: 64,
        same_positions: false,
    }
}

checks! { SourceSuite:
    planning::streams_are_named,
    planning::keys_are_columns,
    planning::split_ids_are_unique,
    planning::revoked_were_given,
    planning::after_is_kept,
    planning::plan_has_no_side_effects,
    planning::plan_gives_nothing_twice,
    planning::plan_completes,
    planning::next_run,
    reading::splits_cover_the_streams_once,
    reading::two_reads_are_alike,
    reading::schema_told_is_schema_given,
    reading::projection_is_exact,
    reading::only_asked_streams,
    reading::estimates_are_sane,
    resuming::resume_law,
    resuming::resume_after_resume,
    resuming::acknowledge_keeps_the_rest,
    resuming::positions_stand_at_the_same_rows,
    reading::cancellation_leaks_nothing,
    reading::errors_have_kinds,
}

impl SourceSuite {
    /// Says how many rows a stream has.
    #[must_use]
    pub fn rows(mut self, stream: &str, count: u64) -> Self {
        self.expected.insert(stream.into(), Expected::Count(count));
        self
    }

    /// Says exactly which rows a stream has, in any order: rows as [`render`](crate::suites::render)
    /// writes them.
    #[must_use]
    pub fn exactly(mut self, stream: &str, mut rows: Vec<String>) -> Self {
        rows.sort_unstable();
        self.expected.insert(stream.into(), Expected::Rows(rows));
        self
    }

    /// Says that an attempt with a bad configuration fails, and how.
    #[must_use]
    pub fn refuses<F, Fut>(mut self, what: &str, kind: ErrorKind, attempt: F) -> Self
    where
        F: Fn() -> Fut + Send + Sync + 'static,
        Fut: Future<Output = Result<()>> + Send + 'static,
    {
        self.refusals.push(Refusal::new(what, kind, attempt));
        self
    }

    /// Says that a run which follows another reads only what is new: nothing, here. Without this, it
    /// reads everything again.
    #[must_use]
    pub fn incremental(mut self) -> Self {
        self.incremental = true;
        self
    }

    /// Reads only so many events of each split: for splits that never end.
    #[must_use]
    pub fn first_events(mut self, events: usize) -> Self {
        self.prefix = Some(events);
        self
    }

    /// Tries at most so many resume positions of each split, evenly spread (64 unless told).
    #[must_use]
    pub fn resumes(mut self, most: usize) -> Self {
        self.resumes = most.max(1);
        self
    }

    /// Says that events end at the same rows in each reading, with the same positions: so a sink may
    /// tell rows by their origins.
    #[must_use]
    pub fn same_positions(mut self) -> Self {
        self.same_positions = true;
        self
    }

    /// Runs all checks, and panics with what failed.
    pub async fn check(self) {
        self.report().await.assert();
    }

    /// Runs all checks.
    pub async fn report(self) -> Report {
        Report::of(&self, CHECKS).await
    }

    /// The names of the checks, in the order in which they run.
    pub fn names() -> Vec<&'static str> {
        let name = |check: &Check<Self>| check.0.rsplit("::").next().unwrap_or(check.0).trim();
        CHECKS.iter().map(name).collect()
    }

    /// Opens it, as a later process would.
    pub(super) async fn open(&self) -> Result<Arc<dyn Source>> {
        (self.open)().await
    }

    /// Opens it, and asks for all splits of all its streams.
    pub(super) async fn planned(&self) -> Outcome<(Arc<dyn Source>, Walk)> {
        let source = self.open().await?;
        let walk = walk(source.as_ref(), &everything(source.as_ref())).await?;
        Ok((source, walk))
    }

    pub(super) async fn read(
        &self,
        source: &dyn Source,
        split: &Split,
        scans: &[Scan],
        resume: Option<&Offset>,
    ) -> Result<Vec<Seen>> {
        let mut events = source.read(split, scans, resume).await?;
        let mut seen = Vec::new();
        while self.prefix.is_none_or(|most| seen.len() < most) {
            let Some(event) = events.next().await else {
                break;
            };
            seen.push(Seen::of(event?)?);
        }
        Ok(seen)
    }
}

/// What can be done after a crash for the stream for which the least can.
pub(super) fn replay(source: &dyn Source) -> Option<Replay> {
    source.streams().iter().map(|stream| stream.replay).max()
}

/// Scans of all columns of all streams.
pub(super) fn everything(source: &dyn Source) -> Vec<Scan> {
    let streams = source.streams();
    streams.into_iter().map(|s| Scan::all(s.name)).collect()
}

/// All the answers of a source, told each time that everything so far has finished.
pub(super) struct Walk {
    pub(super) splits: Vec<Split>,
    /// For each answer, how many of the splits it and those before it gave.
    pub(super) bounds: Vec<usize>,
    /// What each of them took back.
    pub(super) revoked: Vec<Vec<SplitId>>,
    pub(super) state: PlanState,
    pub(super) completed: bool,
}

pub(super) async fn walk(source: &dyn Source, scans: &[Scan]) -> Outcome<Walk> {
    walk_from(source, scans, None).await
}

pub(super) async fn walk_from(
    source: &dyn Source,
    scans: &[Scan],
    state: Option<&PlanState>,
) -> Outcome<Walk> {
    const MOST: usize = 1000;
    let ask = Ask {
        scans,
        state,
        finished: &[],
        first: true,
    };
    let plan = source.plan(&ask).await?;
    let mut walk = Walk {
        bounds: vec![plan.new.len()],
        revoked: vec![plan.revoked],
        splits: plan.new,
        state: plan.state,
        completed: plan.next == Next::Complete,
    };
    let mut told = 0;
    while !walk.completed {
        ensure!(
            walk.bounds.len() < MOST,
            "it was asked {MOST} times and still wants to be asked again"
        );
        let mut finished = finished(&walk.splits[told..]);
        finished.retain(|told| !walk.revoked.iter().flatten().any(|id| told.split.id == *id));
        let ask = Ask {
            scans,
            state: Some(&walk.state),
            finished: &finished,
            first: false,
        };
        let plan = source.plan(&ask).await?;
        let waits = finished.is_empty() && plan.new.is_empty();
        told = walk.splits.len();
        walk.splits.extend(plan.new);
        walk.bounds.push(walk.splits.len());
        walk.revoked.push(plan.revoked);
        walk.state = plan.state;
        walk.completed = plan.next == Next::Complete;
        if waits {
            break;
        }
    }
    Ok(walk)
}

/// These splits as a source is told of them when they gave no position.
pub(super) fn finished(splits: &[Split]) -> Vec<FinishedSplit> {
    let splits = splits.iter().cloned();
    let finished = splits.map(|split| FinishedSplit {
        split,
        offset: None,
    });
    finished.collect()
}

/// An event, its rows decoded.
pub(super) struct Seen {
    /// `None`: progress only.
    pub(super) stream: Option<StreamName>,
    pub(super) batches: Vec<RecordBatch>,
    pub(super) rejected: Vec<String>,
    pub(super) schema: Option<SchemaRef>,
    pub(super) resume: Option<Offset>,
}

impl Seen {
    fn of(event: Event) -> Result<Self> {
        let mut seen = Self {
            stream: None,
            batches: Vec::new(),
            rejected: Vec::new(),
            schema: None,
            resume: None,
        };
        match event {
            Event::Progress(offset) => seen.resume = Some(offset),
            Event::Schema {
                stream,
                schema,
                resume,
            } => {
                seen.stream = Some(stream);
                seen.schema = Some(schema);
                seen.resume = Some(resume);
            }
            Event::Rows {
                stream,
                rows,
                rejected,
                resume,
            } => {
                let mut rejected = rejected.unwrap_or_default();
                match rows {
                    Rows::Batch(batch) => seen.batches.push(batch),
                    Rows::Encoded(encoded) => {
                        let decoded = encoded.decode()?;
                        seen.batches = decoded.batches;
                        rejected.extend(decoded.rejected);
                    }
                }
                let rows = rejected.rows.into_iter();
                seen.rejected = rows.map(|r| format!("{}: {}", r.reason, r.row)).collect();
                seen.stream = Some(stream);
                seen.resume = resume;
            }
        }
        Ok(seen)
    }
}

/// What events say in all, whatever batches they say it in: per stream, its rows in order; the
/// rejected ones beside them.
pub(super) fn content(events: &[Seen]) -> Result<BTreeMap<String, Vec<String>>> {
    let mut content = BTreeMap::<String, Vec<String>>::new();
    for event in events {
        let Some(stream) = &event.stream else {
            continue;
        };
        let rows = rows::in_order(&event.batches)?;
        if !rows.is_empty() {
            content.entry(stream.to_string()).or_default().extend(rows);
        }
        if !event.rejected.is_empty() {
            let rejected = content.entry(format!("{stream} (rejected)")).or_default();
            rejected.extend(event.rejected.iter().cloned());
        }
    }
    Ok(content)
}

/// Where two contents differ; where only a beginning of each was read, as far as both go.
pub(super) fn unlike(
    got: &BTreeMap<String, Vec<String>>,
    want: &BTreeMap<String, Vec<String>>,
    prefix: bool,
) -> Option<String> {
    let none = Vec::new();
    let streams: std::collections::BTreeSet<_> = got.keys().chain(want.keys()).collect();
    streams.into_iter().find_map(|stream| {
        let (mut got, mut want) = (
            got.get(stream).unwrap_or(&none).as_slice(),
            want.get(stream).unwrap_or(&none).as_slice(),
        );
        if prefix {
            let both = got.len().min(want.len());
            (got, want) = (&got[..both], &want[..both]);
        }
        rows::difference(got, want).map(|why| format!("stream `{stream}`: {why}"))
    })
}
