//! What is counted while a pipeline runs: read by the progress display at any time, and by the
//! report at the end.

use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use serde::{Deserialize, Serialize};
use tidegate_core::{ComponentId, Guarantee, IgnoredColumn, Kind, Metrics, PipelineSpec};

use crate::ignored::IgnoredColumns;

/// What one component has done.
#[derive(Debug)]
pub struct ComponentStats {
    /// Its name.
    pub id: ComponentId,
    /// What it is.
    pub kind: Kind,
    /// Its type.
    pub tag: String,
    /// What it counts itself.
    pub metrics: Arc<Metrics>,
    /// What it left out of the rows it took.
    pub ignored: IgnoredColumns,
    rows_in: AtomicU64,
    rows_out: AtomicU64,
    rejected: AtomicU64,
    /// Those of stored epochs: the others come again in the next attempt.
    rejected_for_good: AtomicU64,
    busy_nanos: AtomicU64,
    splits: AtomicU64,
    splits_done: AtomicU64,
    expected_rows: AtomicU64,
}

macro_rules! counter {
    ($($(#[$doc:meta])* $get:ident, $add:ident, $field:ident;)*) => {$(
        $(#[$doc])*
        pub fn $get(&self) -> u64 {
            self.$field.load(Ordering::Relaxed)
        }

        pub(crate) fn $add(&self, more: u64) {
            self.$field.fetch_add(more, Ordering::Relaxed);
        }
    )*};
}

impl ComponentStats {
    pub(crate) fn new(id: ComponentId, kind: Kind, tag: &str) -> Self {
        Self {
            id,
            kind,
            tag: tag.to_owned(),
            metrics: Arc::default(),
            ignored: IgnoredColumns::default(),
            rows_in: AtomicU64::new(0),
            rows_out: AtomicU64::new(0),
            rejected: AtomicU64::new(0),
            rejected_for_good: AtomicU64::new(0),
            busy_nanos: AtomicU64::new(0),
            splits: AtomicU64::new(0),
            splits_done: AtomicU64::new(0),
            expected_rows: AtomicU64::new(0),
        }
    }

    counter! {
        /// Rows taken.
        rows_in, add_rows_in, rows_in;
        /// Rows given.
        rows_out, add_rows_out, rows_out;
        /// Rows rejected.
        rejected, add_rejected, rejected;
        /// Splits known so far (sources).
        splits, add_splits, splits;
        /// Splits read to their end (sources).
        splits_done, add_splits_done, splits_done;
        /// Rows that the known splits are estimated to have; 0 if unknown.
        expected_rows, add_expected_rows, expected_rows;
    }

    /// Counts rows as not given after all.
    pub(crate) fn take_rows_out(&self, fewer: u64) {
        self.rows_out.fetch_sub(fewer, Ordering::Relaxed);
    }

    /// The time that threads spent in it, all added up.
    pub fn busy(&self) -> Duration {
        Duration::from_nanos(self.busy_nanos.load(Ordering::Relaxed))
    }

    pub(crate) fn add_busy(&self, since: Instant) {
        let nanos = u64::try_from(since.elapsed().as_nanos()).unwrap_or(u64::MAX);
        self.busy_nanos.fetch_add(nanos, Ordering::Relaxed);
    }
}

/// What a run has done so far.
#[derive(Debug)]
pub struct RunStats {
    /// The components, in the file's order.
    pub components: Vec<Arc<ComponentStats>>,
    started: Instant,
    workers: usize,
    epochs: AtomicU64,
    attempts: AtomicU64,
    starved_nanos: AtomicU64,
    stopping: AtomicBool,
    commits_parts: Mutex<Option<bool>>,
}

impl RunStats {
    pub(crate) fn new(spec: &PipelineSpec, workers: usize) -> Self {
        let components = spec.components.iter();
        let components = components.map(|component| {
            Arc::new(ComponentStats::new(
                component.id.clone(),
                component.kind,
                &component.tag,
            ))
        });
        Self {
            components: components.collect(),
            started: Instant::now(),
            workers,
            epochs: AtomicU64::new(0),
            attempts: AtomicU64::new(0),
            starved_nanos: AtomicU64::new(0),
            stopping: AtomicBool::new(false),
            commits_parts: Mutex::new(None),
        }
    }

    /// Epochs committed.
    pub fn epochs(&self) -> u64 {
        self.epochs.load(Ordering::Relaxed)
    }

    pub(crate) fn add_epoch(&self) {
        self.epochs.fetch_add(1, Ordering::Relaxed);
    }

    /// Times that the run was begun again from its last checkpoint in this process.
    pub fn restarts(&self) -> u64 {
        self.attempts.load(Ordering::Relaxed).saturating_sub(1)
    }

    /// Counts an attempt, in which all comes again that isn't stored.
    pub(crate) fn add_attempt(&self) {
        self.attempts.fetch_add(1, Ordering::Relaxed);
        for component in &self.components {
            let kept = component.rejected_for_good.load(Ordering::Relaxed);
            component.rejected.store(kept, Ordering::Relaxed);
        }
    }

    /// Counts the rejected rows of an epoch that is stored, by component.
    pub(crate) fn keep_rejected(&self, rejected: &[u64]) {
        for (component, count) in self.components.iter().zip(rejected) {
            component
                .rejected_for_good
                .fetch_add(*count, Ordering::Relaxed);
        }
    }

    pub(crate) fn add_starved(&self, time: Duration) {
        let nanos = u64::try_from(time.as_nanos()).unwrap_or(u64::MAX);
        self.starved_nanos.fetch_add(nanos, Ordering::Relaxed);
    }

    /// Whether a stop was asked for.
    pub fn stopping(&self) -> bool {
        self.stopping.load(Ordering::Relaxed)
    }

    pub(crate) fn set_stopping(&self) {
        self.stopping.store(true, Ordering::Relaxed);
    }

    /// Whether a stop commits what was read so far: not in a run that is one epoch. `None` until the
    /// components are open.
    pub fn commits_parts(&self) -> Option<bool> {
        *self.parts()
    }

    pub(crate) fn set_commits_parts(&self, parts: bool) {
        *self.parts() = Some(parts);
    }

    fn parts(&self) -> MutexGuard<'_, Option<bool>> {
        let parts = self.commits_parts.lock();
        parts.unwrap_or_else(PoisonError::into_inner)
    }

    /// How long the run has been going on in this process.
    pub fn elapsed(&self) -> Duration {
        self.started.elapsed()
    }

    /// The component that the run waited for most, with the share of the time in per cent.
    ///
    /// Workers without work wait for the sources; else the component that kept the threads
    /// busiest is the one to make faster.
    pub fn bound_by(&self) -> Option<(ComponentId, u32)> {
        let threads = u32::try_from(self.workers).unwrap_or(u32::MAX);
        let total = self.elapsed().saturating_mul(threads).as_nanos().max(1);
        let percent = |nanos: u128| u32::try_from(nanos.min(total) * 100 / total).unwrap_or(100);
        let starved = u128::from(self.starved_nanos.load(Ordering::Relaxed));
        let busiest = self
            .components
            .iter()
            .filter(|component| component.kind != Kind::Source || starved * 2 < total)
            .max_by_key(|component| component.busy())?;
        if starved * 2 > total {
            let source = self
                .components
                .iter()
                .filter(|component| component.kind == Kind::Source)
                .max_by_key(|component| component.rows_out())?;
            // Threads also starve while the last files are sealed, or a stage computes: that is the
            // sink's time, or the stage's.
            let starved_for = Duration::from_nanos(u64::try_from(starved).unwrap_or(u64::MAX));
            let always_busy = busiest.busy() * 10 > self.elapsed() * 9;
            if busiest.busy() < starved_for && !always_busy {
                return Some((source.id.clone(), percent(starved)));
            }
        }
        Some((busiest.id.clone(), percent(busiest.busy().as_nanos())))
    }
}

/// What an executor has counted since it said so before. Differences wrap around, because what was
/// counted may be taken back.
#[derive(Debug, Default, Serialize, Deserialize)]
pub(crate) struct Counted {
    starved_nanos: u64,
    components: Vec<ComponentCounted>,
}

#[derive(Debug, Default, Serialize, Deserialize)]
struct ComponentCounted {
    numbers: [u64; 10],
    ignored: Vec<IgnoredColumn>,
    /// Values of columns that aren't told apart.
    ignored_besides: u64,
}

/// What was said so far of what is counted.
#[derive(Debug, Default)]
pub(crate) struct SaidSoFar {
    starved_nanos: u64,
    components: Vec<[u64; 10]>,
}

impl ComponentStats {
    fn numbers(&self) -> [u64; 10] {
        let metrics = &self.metrics;
        [
            self.rows_in(),
            self.rows_out(),
            self.rejected(),
            self.busy_nanos.load(Ordering::Relaxed),
            self.splits_done(),
            metrics.total_bytes(),
            metrics.total_files(),
            metrics.total_requests(),
            metrics.total_retries(),
            metrics.total_waited_ms(),
        ]
    }

    fn add(&self, counted: ComponentCounted) {
        let [
            rows_in,
            rows_out,
            rejected,
            busy_nanos,
            splits_done,
            bytes,
            files,
            requests,
            retries,
            waited_ms,
        ] = counted.numbers;
        self.add_rows_in(rows_in);
        self.add_rows_out(rows_out);
        self.add_rejected(rejected);
        self.busy_nanos.fetch_add(busy_nanos, Ordering::Relaxed);
        self.add_splits_done(splits_done);
        self.metrics.bytes(bytes);
        self.metrics.files(files);
        self.metrics.requests(requests);
        self.metrics.retries(retries);
        self.metrics.waited_ms(waited_ms);
        self.ignored.add(Some(self.id.as_str()), counted.ignored);
        self.ignored.add_besides(counted.ignored_besides);
    }
}

impl RunStats {
    /// What was counted since this was last asked.
    pub(crate) fn news(&self, said: &mut SaidSoFar) -> Counted {
        let starved_nanos = self.starved_nanos.load(Ordering::Relaxed);
        said.components.resize(self.components.len(), [0; 10]);
        let components = self.components.iter().zip(&mut said.components);
        let components = components.map(|(component, said)| {
            let now = component.numbers();
            let before = std::mem::replace(said, now);
            let (ignored, ignored_besides) = component.ignored.news();
            ComponentCounted {
                numbers: std::array::from_fn(|at| now[at].wrapping_sub(before[at])),
                ignored,
                ignored_besides,
            }
        });
        Counted {
            components: components.collect(),
            starved_nanos: starved_nanos
                .wrapping_sub(std::mem::replace(&mut said.starved_nanos, starved_nanos)),
        }
    }

    /// Adds what an executor in another process has counted.
    pub(crate) fn add(&self, counted: Counted) {
        self.starved_nanos
            .fetch_add(counted.starved_nanos, Ordering::Relaxed);
        for (component, counted) in self.components.iter().zip(counted.components) {
            component.add(counted);
        }
    }
}

/// The best guarantee that a sink can give, and why it isn't better.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Given {
    /// `None`: an observer, which counts for nothing.
    pub guarantee: Option<Guarantee>,
    /// Why it isn't exactly once.
    pub reason: Option<String>,
}
