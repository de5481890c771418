//! What the suite is given.

use std::fmt;
use std::future::Future;
use std::path::Path;
use std::sync::Arc;

use arrow_array::{Float64Array, Int64Array, RecordBatch, StringArray};
use arrow_schema::{DataType, Field, Schema};
use futures::FutureExt;
use futures::future::BoxFuture;
use tidegate_core::{Context, Error, ErrorKind, Result, Sink, SinkContext};

use super::{commits, delivery, recovery};
use crate::suites::check::{Check, Refusal, Report, checks};

pub(super) type Open =
    Arc<dyn Fn(SinkContext) -> BoxFuture<'static, Result<Arc<dyn Sink>>> + Send + Sync>;
pub(super) type Visible =
    Arc<dyn Fn(Context) -> BoxFuture<'static, Result<Vec<RecordBatch>>> + Send + Sync>;
pub(super) type Objects =
    Arc<dyn Fn(Context) -> BoxFuture<'static, Result<Vec<String>>> + Send + Sync>;
pub(super) type Batches = Arc<dyn Fn(i64, usize) -> RecordBatch + Send + Sync>;

/// Checks of a sink; made by [`sink_suite`].
#[derive(Clone)]
pub struct SinkSuite {
    pub(super) open: Open,
    pub(super) visible: Visible,
    pub(super) objects: Objects,
    pub(super) batches: Batches,
    pub(super) input: Arc<str>,
    pub(super) only_touched: bool,
    pub(super) in_order: bool,
    pub(super) refusals: Vec<Refusal>,
}

impl fmt::Debug for SinkSuite {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("SinkSuite").finish_non_exhaustive()
    }
}

/// A suite for the sink that `open` opens, at the destination that the context tells (its `base`
/// directory or its `pipeline` name, both new for every check). `visible` reads what anyone can see
/// there; a destination that isn't there yet has no rows.
pub fn sink_suite<O, OFut, V, VFut>(open: O, visible: V) -> SinkSuite
where
    O: Fn(SinkContext) -> OFut + Send + Sync + 'static,
    OFut: Future<Output = Result<Arc<dyn Sink>>> + Send + 'static,
    V: Fn(Context) -> VFut + Send + Sync + 'static,
    VFut: Future<Output = Result<Vec<RecordBatch>>> + Send + 'static,
{
    SinkSuite {
        open: Arc::new(move |cx| open(cx).boxed()),
        visible: Arc::new(move |cx| visible(cx).boxed()),
        objects: Arc::new(|cx| async move { files_under(&cx.base) }.boxed()),
        batches: Arc::new(default_batch),
        input: "rows".into(),
        only_touched: false,
        in_order: false,
        refusals: Vec::new(),
    }
}

checks! { SinkSuite:
    delivery::open_leaves_nothing,
    delivery::distribution_names_columns,
    delivery::takes_rows_and_closes,
    commits::nothing_visible_before_commit,
    commits::commit_shows_exactly_the_rows,
    commits::commit_replayed_is_harmless,
    commits::commit_by_a_successor,
    commits::commit_by_a_fenced_process,
    commits::writers_at_once,
    commits::executors_at_once,
    commits::epochs_overlap,
    commits::empty_epoch,
    commits::overwrite_keeps_all_epochs,
    commits::overwrite_with_nothing,
    recovery::abandoned_is_invisible,
    recovery::recovery_leaves_nothing_else,
    recovery::recovery_leaves_what_is_kept,
    recovery::journalled_before_the_first_byte,
    delivery::ordered_rows_stay_in_order,
    delivery::the_same_origins_are_the_same_rows,
    delivery::errors_have_kinds,
}

impl SinkSuite {
    /// Feeds it these rows: `batches(from, rows)` makes a batch of `rows` rows that are told apart
    /// by a number from `from` on, always of one schema. Default: `id`, `name`, `amount`.
    #[must_use]
    pub fn batches<F>(mut self, batches: F) -> Self
    where
        F: Fn(i64, usize) -> RecordBatch + Send + Sync + 'static,
    {
        self.batches = Arc::new(batches);
        self
    }

    /// Names its input. Default: `rows`.
    #[must_use]
    pub fn input(mut self, name: &str) -> Self {
        self.input = name.into();
        self
    }

    /// Lists everything at the destination, visible or not (staged files, open uploads). Default:
    /// the files under the context's `base`.
    #[must_use]
    pub fn objects<F, Fut>(mut self, objects: F) -> Self
    where
        F: Fn(Context) -> Fut + Send + Sync + 'static,
        Fut: Future<Output = Result<Vec<String>>> + Send + 'static,
    {
        self.objects = Arc::new(move |cx| objects(cx).boxed());
        self
    }

    /// Says that an overwriting run replaces only the partitions that it touches. Every batch must
    /// then touch the same ones.
    #[must_use]
    pub fn overwrites_only_touched(mut self) -> Self {
        self.only_touched = true;
        self
    }

    /// Says that `visible` gives the rows of one writer in the order in which they were written.
    #[must_use]
    pub fn in_order(mut self) -> Self {
        self.in_order = true;
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

    /// Runs all checks, and panics with what failed.
    pub async fn check(self) {
        self.report().await.assert();
    }

    /// Runs all checks that apply to the sink's delivery and visibility.
    pub async fn report(self) -> Report {
        Report::of(&self, CHECKS).await
    }

    /// The names of the checks, in the order in which they run.
    pub fn names() -> Vec<&'static str> {
        let name = |check: &Check<Self>| check.0.rsplit("::").next().unwrap_or(check.0).trim();
        CHECKS.iter().map(name).collect()
    }
}

/// The files under a directory, hidden ones too, as sorted paths relative to it. No directory: none.
pub fn files_under(directory: &Path) -> Result<Vec<String>> {
    let mut files = Vec::new();
    let mut directories = vec![directory.to_owned()];
    while let Some(next) = directories.pop() {
        let entries = match std::fs::read_dir(&next) {
            Ok(entries) => entries,
            Err(error) if error.kind() == std::io::ErrorKind::NotFound => continue,
            Err(error) => {
                return Err(
                    Error::io("a directory can't be listed", error).with("path", next.display())
                );
            }
        };
        for entry in entries.flatten() {
            let path = entry.path();
            if entry.file_type().is_ok_and(|kind| kind.is_dir()) {
                directories.push(path);
            } else {
                let name = path.strip_prefix(directory).unwrap_or(&path);
                files.push(name.to_string_lossy().into_owned());
            }
        }
    }
    files.sort_unstable();
    Ok(files)
}

#[expect(clippy::expect_used, reason = "the columns fit the schema above them")]
#[expect(clippy::cast_precision_loss, reason = "a test's row numbers are small")]
fn default_batch(from: i64, rows: usize) -> RecordBatch {
    let schema = Schema::new(vec![
        Field::new("id", DataType::Int64, false),
        Field::new("name", DataType::Utf8, true),
        Field::new("amount", DataType::Float64, true),
    ]);
    let ids: Vec<i64> = (from..).take(rows).collect();
    let names = ids
        .iter()
        .map(|id| (id % 7 != 3).then(|| format!("name, \"{id}\" ü")));
    let amounts = ids.iter().map(|id| *id as f64 / 4.0);
    RecordBatch::try_new(
        Arc::new(schema),
        vec![
            Arc::new(Int64Array::from(ids.clone())),
            Arc::new(names.collect::<StringArray>()),
            Arc::new(Float64Array::from_iter_values(amounts)),
        ],
    )
    .expect("a batch")
}
