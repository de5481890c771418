//! What a run did, for people and machines.

use std::time::Duration;

use serde::Serialize;
use serde_json::{Map, Value};
use tidegate_core::{ComponentId, Error, FailedFile, IgnoredColumn, Kept, Kind, RunId};

use crate::stats::{Given, RunStats};

/// How a run ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Status {
    /// All input is committed.
    Completed,
    /// Stopped on request, or because an upstream gives no more for now; the next run resumes where
    /// this one ended.
    Stopped,
    /// Stopped in the same way, but what was read after the last checkpoint isn't committed: it could
    /// not be, or all had to be read first. The next run reads it again.
    Abandoned,
    /// It failed; the next run resumes from the last checkpoint.
    Failed,
}

/// What `--report` writes.
#[derive(Debug, Clone, Serialize)]
pub struct Report {
    /// The pipeline's name.
    pub pipeline: String,
    /// The run, over as many processes as it takes.
    pub run_id: Option<RunId>,
    /// How it ended.
    pub status: Status,
    /// Seconds, in this process.
    pub duration_s: f64,
    /// Epochs committed by this process.
    pub epochs: u64,
    /// How often this process began again from the last checkpoint.
    pub restarts: u64,
    /// Whether it went on with a run that an earlier process had begun.
    pub resumed: bool,
    /// Why it stopped without being asked to: an upstream gives no more for now.
    pub exhausted: Option<Exhausted>,
    /// The components, in the file's order.
    pub components: Vec<ComponentReport>,
    /// The component that the run waited for most, if it ran long enough to tell.
    pub bound_by: Option<String>,
    /// And for how much of the time, in per cent.
    pub bound_percent: Option<u32>,
    /// The number of rows that were rejected.
    pub rejected: u64,
    /// Whether these are more than `rejected_limit`.
    pub rejected_over_limit: bool,
}

/// Why a run stopped without being asked to.
#[derive(Debug, Clone, Serialize)]
pub struct Exhausted {
    /// What happened.
    pub message: String,
    /// Where, and what is known of it, by name.
    pub context: Map<String, Value>,
    /// What to do.
    pub hint: Option<String>,
}

impl Exhausted {
    fn of(error: &Error) -> Self {
        let context = error.context().iter();
        Self {
            message: error.message().to_owned(),
            context: context
                .map(|(key, value)| ((*key).to_owned(), value.as_str().into()))
                .collect(),
            hint: error.hint_text().map(str::to_owned),
        }
    }
}

/// What is known of a run while it runs.
#[derive(Debug, Default)]
pub(crate) struct Told {
    pub(crate) run: Option<RunId>,
    /// The run that an attempt of this process has worked on.
    pub(crate) worked_on: Option<RunId>,
    pub(crate) resumed: bool,
    pub(crate) exhausted: Option<Error>,
    /// What components keep over its attempts in this process.
    pub(crate) kept: Kept,
}

/// What one component did.
#[derive(Debug, Clone, Serialize)]
pub struct ComponentReport {
    /// Its name.
    pub id: ComponentId,
    /// What it is.
    pub kind: Kind,
    /// Its type.
    pub r#type: String,
    /// What a sink guarantees; none for sources, transforms and observers.
    pub guarantee: Option<&'static str>,
    /// Rows taken.
    pub rows_in: u64,
    /// Rows given.
    pub rows_out: u64,
    /// Rows rejected.
    pub rejected: u64,
    /// Values left out of rows that were taken, because their columns are not the stream's.
    pub ignored: u64,
    /// The first hundred of these columns.
    pub ignored_columns: Vec<IgnoredReport>,
    /// Files that were passed over, because they can't be read.
    pub failed: u64,
    /// The first hundred of these files.
    pub failed_files: Vec<FailedFileReport>,
    /// Bytes read or written, as they lie outside.
    pub bytes: u64,
    /// Files read or written.
    pub files: u64,
    /// Requests made, the repeated ones too.
    pub requests: u64,
    /// Requests retried.
    pub retries: u64,
    /// The time for which requests were throttled: by rate limits and waits that the upstream asked
    /// for, in seconds, all added up.
    pub waited_s: f64,
    /// The time that threads spent in it, in seconds, all added up.
    pub busy_s: f64,
}

/// A column that a component left out of the rows it took.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct IgnoredReport {
    /// Its name; of a member of a struct the path, with dots.
    pub name: String,
    /// How many values were left out.
    pub values: u64,
    /// The file or page where it came first.
    pub file: Option<String>,
    /// The line in it, from 1, where that is known.
    pub line: Option<u64>,
    /// The byte offset in it, or the number of the row.
    pub offset: Option<u64>,
}

impl From<IgnoredColumn> for IgnoredReport {
    fn from(column: IgnoredColumn) -> Self {
        Self {
            name: column.name,
            values: column.values,
            file: column.first.file.as_deref().map(str::to_owned),
            line: column.first.line,
            offset: column.first.offset,
        }
    }
}

/// A file that a source passed over.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct FailedFileReport {
    /// The file, and why it can't be read.
    #[serde(flatten)]
    pub file: FailedFile,
    /// Where it was moved to.
    pub moved_to: Option<String>,
}

impl Report {
    pub(crate) fn new(
        pipeline: &str,
        told: Told,
        status: Status,
        stats: &RunStats,
        given: &[Option<Given>],
        rejected_limit: Option<u64>,
    ) -> Self {
        let components: Vec<ComponentReport> = stats
            .components
            .iter()
            .zip(given)
            .map(|(stats, given)| ComponentReport {
                id: stats.id.clone(),
                kind: stats.kind,
                r#type: stats.tag.clone(),
                guarantee: given
                    .as_ref()
                    .and_then(|given| given.guarantee)
                    .map(|g| g.name()),
                rows_in: stats.rows_in(),
                rows_out: stats.rows_out(),
                rejected: stats.rejected(),
                ignored: stats.ignored.values(),
                ignored_columns: stats
                    .ignored
                    .columns()
                    .into_iter()
                    .map(Into::into)
                    .collect(),
                failed: stats.metrics.failed_files.count(),
                failed_files: stats
                    .metrics
                    .failed_files
                    .listed()
                    .into_iter()
                    .map(|(file, moved_to)| FailedFileReport { file, moved_to })
                    .collect(),
                bytes: stats.metrics.total_bytes(),
                files: stats.metrics.total_files(),
                requests: stats.metrics.total_requests(),
                retries: stats.metrics.total_retries(),
                waited_s: Duration::from_millis(stats.metrics.total_waited_ms()).as_secs_f64(),
                busy_s: stats.busy().as_secs_f64(),
            })
            .collect();
        let rejected = components.iter().map(|component| component.rejected).sum();
        let bound = stats.bound_by();
        Self {
            pipeline: pipeline.to_owned(),
            run_id: told.run,
            status,
            duration_s: stats.elapsed().as_secs_f64(),
            epochs: stats.epochs(),
            restarts: stats.restarts(),
            resumed: told.resumed,
            exhausted: told.exhausted.as_ref().map(Exhausted::of),
            components,
            bound_by: bound.as_ref().map(|(id, _)| id.to_string()),
            bound_percent: bound.map(|(_, percent)| percent),
            rejected,
            rejected_over_limit: rejected_limit.is_some_and(|limit| rejected > limit),
        }
    }
}
