//! The suite of transforms.

use std::collections::BTreeMap;
use std::fmt;
use std::future::Future;
use std::sync::Arc;

use arrow_array::{ArrayRef, Int32Array, RecordBatch};
use arrow_schema::{DataType, Field, Schema, SchemaRef};
use futures::future::BoxFuture;
use futures::{FutureExt, TryStreamExt};
use tidegate_core::{
    ErrorKind, Gather, Input, Map, Result, Scan, StageInput, Transform, TransformContext,
};

use super::check::{Check, Outcome, Refusal, Report, checks, ensure, fail, skip_if};
use super::context::TestContext;
use super::gathered::MemoryGathered;
use super::rows::{difference, in_order, sorted};

type Open = Arc<dyn Fn(TransformContext) -> BoxFuture<'static, Result<Transform>> + Send + Sync>;

/// Checks of a transform; made by [`transform_suite`].
#[derive(Clone)]
pub struct TransformSuite {
    open: Open,
    inputs: Vec<(Arc<str>, Vec<RecordBatch>)>,
    expected: Option<Vec<String>>,
    refusals: Vec<Refusal>,
}

impl fmt::Debug for TransformSuite {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("TransformSuite").finish_non_exhaustive()
    }
}

/// A suite for the transform that `open` opens; say its inputs with [`TransformSuite::input`].
pub fn transform_suite<F, Fut>(open: F) -> TransformSuite
where
    F: Fn(TransformContext) -> Fut + Send + Sync + 'static,
    Fut: Future<Output = Result<Transform>> + Send + 'static,
{
    TransformSuite {
        open: Arc::new(move |cx| open(cx).boxed()),
        inputs: Vec::new(),
        expected: None,
        refusals: Vec::new(),
    }
}

checks! { TransformSuite:
    scan_names_columns,
    schema_told_is_schema_given,
    gives_the_expected_rows,
    deterministic_where_it_says_so,
    slicing_makes_no_difference,
    empty_input,
    columns_by_name,
    columns_asked_for_suffice,
    partitions_make_no_difference,
    errors_have_kinds,
}

impl TransformSuite {
    /// Adds an input: its name and its rows, at least one batch.
    #[must_use]
    pub fn input(mut self, name: &str, batches: Vec<RecordBatch>) -> Self {
        self.inputs.push((name.into(), batches));
        self
    }

    /// Says which rows come out, in any order, as [`render`](super::render) writes them.
    #[must_use]
    pub fn exactly(mut self, mut rows: Vec<String>) -> Self {
        rows.sort_unstable();
        self.expected = Some(rows);
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

    /// Runs all checks that apply to the transform's kind.
    pub async fn report(self) -> Report {
        Report::of(&self, CHECKS).await
    }

    /// The names of the checks, in the order in which they run.
    pub fn names() -> Vec<&'static str> {
        let name = |check: &Check<Self>| check.0;
        CHECKS.iter().map(name).collect()
    }

    /// Opens it over inputs of these schemas.
    async fn open(&self, inputs: &[Vec<RecordBatch>]) -> Outcome<(TestContext, Transform)> {
        let cx = TestContext::new();
        let mut told = Vec::new();
        for ((name, _), batches) in self.inputs.iter().zip(inputs) {
            let Some(first) = batches.first() else {
                fail!("input `{name}` needs at least one batch")
            };
            told.push(Input {
                name: name.clone(),
                schema: first.schema(),
            });
        }
        let transform = (self.open)(cx.transform(told)).await?;
        Ok((cx, transform))
    }

    fn inputs(&self) -> Vec<Vec<RecordBatch>> {
        self.inputs.iter().map(|(_, b)| b.clone()).collect()
    }

    /// What comes out of these inputs, by an instance of its own.
    async fn run(&self, inputs: &[Vec<RecordBatch>]) -> Outcome<Output> {
        let (_cx, transform) = self.open(inputs).await?;
        run(&transform, inputs).await
    }
}

/// What comes out: in order where the kind keeps it, else sorted.
#[derive(Debug, Default)]
struct Output {
    batches: Vec<RecordBatch>,
    rows: Vec<String>,
    rejected: Vec<String>,
}

impl Output {
    fn unlike(&self, want: &Self) -> Option<String> {
        difference(&self.rows, &want.rows).or_else(|| {
            difference(&self.rejected, &want.rejected).map(|why| format!("rejected: {why}"))
        })
    }
}

async fn run(transform: &Transform, inputs: &[Vec<RecordBatch>]) -> Outcome<Output> {
    match transform {
        Transform::Map(map) => mapped(map.as_ref(), inputs),
        Transform::Gather(gather) => {
            let inputs = inputs.iter().map(|batches| vec![batches.clone()]);
            gathered(gather.as_ref(), inputs.collect()).await
        }
        _ => fail!("a kind of transform that the suite doesn't know"),
    }
}

fn mapped(map: &dyn Map, inputs: &[Vec<RecordBatch>]) -> Outcome<Output> {
    let mut output = Output::default();
    for (input, batches) in inputs.iter().enumerate() {
        for batch in batches {
            let mapped = map.map(input, batch)?;
            output.rows.extend(in_order(&mapped.batches)?);
            output.batches.extend(mapped.batches);
            let rejected = mapped.rejected.rows.into_iter();
            let rejected = rejected.map(|row| format!("{}: {}", row.reason, keys_sorted(row.row)));
            output.rejected.extend(rejected);
        }
    }
    Ok(output)
}

/// A row as JSON whose keys stand in no order: of a table's columns, it says nothing.
fn keys_sorted(row: String) -> String {
    match serde_json::from_str::<BTreeMap<String, serde_json::Value>>(&row) {
        Ok(keys) => serde_json::json!(keys).to_string(),
        Err(_) => row,
    }
}

async fn gathered(gather: &dyn Gather, inputs: Vec<Vec<Vec<RecordBatch>>>) -> Outcome<Output> {
    stage(gather, &stage_inputs(inputs)).await
}

fn stage_inputs(inputs: Vec<Vec<Vec<RecordBatch>>>) -> Vec<StageInput> {
    let schema = |partitions: &[Vec<RecordBatch>]| -> SchemaRef {
        let first = partitions.iter().flatten().next();
        first.map_or_else(|| Arc::new(Schema::empty()), RecordBatch::schema)
    };
    inputs
        .into_iter()
        .map(|partitions| {
            let rows = MemoryGathered::new(schema(&partitions), partitions);
            StageInput::Collected(Arc::new(rows))
        })
        .collect()
}

async fn stage(gather: &dyn Gather, inputs: &[StageInput]) -> Outcome<Output> {
    let partitions = gather.run(inputs.to_vec()).await?;
    // Polled at once, as the runtime does: one may wait for another.
    let polled = partitions
        .into_iter()
        .map(TryStreamExt::try_collect::<Vec<_>>);
    let batches = futures::future::try_join_all(polled).await?.concat();
    Ok(Output {
        rows: sorted(&batches)?,
        batches,
        rejected: Vec::new(),
    })
}

/// The columns that it asks of an input are columns of that input.
async fn scan_names_columns(suite: &TransformSuite) -> Outcome {
    let (_cx, transform) = suite.open(&suite.inputs()).await?;
    for (input, (name, batches)) in suite.inputs.iter().enumerate() {
        for column in transform.scan(input).columns.iter().flatten() {
            ensure!(
                batches.iter().all(|b| b.schema().index_of(column).is_ok()),
                "it asks `{name}` for `{column}`, which is no column of it"
            );
        }
    }
    Ok(())
}

/// Every batch has the schema that was told.
async fn schema_told_is_schema_given(suite: &TransformSuite) -> Outcome {
    let inputs = suite.inputs();
    let (_cx, transform) = suite.open(&inputs).await?;
    let told = transform.schema();
    for batch in run(&transform, &inputs).await?.batches {
        ensure!(
            batch.schema().fields() == told.fields(),
            "it told {:?} and gave {:?}",
            told.fields(),
            batch.schema().fields()
        );
    }
    Ok(())
}

/// What comes out is what the caller expects.
async fn gives_the_expected_rows(suite: &TransformSuite) -> Outcome {
    let Some(expected) = &suite.expected else {
        skip_if!(true, "no rows were expected");
        return Ok(());
    };
    let mut rows = suite.run(&suite.inputs()).await?.rows;
    rows.sort_unstable();
    match difference(&rows, expected) {
        Some(why) => fail!("it gave (sorted) {why}"),
        None => Ok(()),
    }
}

/// The same input gives the same output: of one instance twice, and of another.
async fn deterministic_where_it_says_so(suite: &TransformSuite) -> Outcome {
    let inputs = suite.inputs();
    let (_cx, transform) = suite.open(&inputs).await?;
    skip_if!(!transform.deterministic(), "it doesn't say so");
    let first = run(&transform, &inputs).await?;
    // A stage reads the same rows again where it is run again.
    let again = match &transform {
        Transform::Gather(gather) => {
            let inputs = stage_inputs(inputs.iter().map(|b| vec![b.clone()]).collect());
            stage(gather.as_ref(), &inputs).await?;
            stage(gather.as_ref(), &inputs).await?
        }
        _ => run(&transform, &inputs).await?,
    };
    if let Some(why) = again.unlike(&first) {
        fail!("the same input, given again, gave {why}");
    }
    if let Some(why) = suite.run(&inputs).await?.unlike(&first) {
        fail!("another instance gave {why}");
    }
    Ok(())
}

/// A map gives the same rows however its input is cut into batches.
async fn slicing_makes_no_difference(suite: &TransformSuite) -> Outcome {
    let inputs = suite.inputs();
    let (_cx, transform) = suite.open(&inputs).await?;
    skip_if!(!transform.deterministic(), "it is not deterministic");
    let Transform::Map(map) = &transform else {
        skip_if!(true, "it is a stage");
        return Ok(());
    };
    let whole = mapped(map.as_ref(), &inputs)?;
    for rows in [1, 3] {
        let cut: Vec<Vec<_>> = inputs
            .iter()
            .map(|batches| batches.iter().flat_map(|b| slices(b, rows)).collect())
            .collect();
        if let Some(why) = mapped(map.as_ref(), &cut)?.unlike(&whole) {
            fail!("in slices of {rows} rows, the same input gave {why}");
        }
    }
    Ok(())
}

/// Inputs without rows are no error.
async fn empty_input(suite: &TransformSuite) -> Outcome {
    let empty: Vec<Vec<_>> = suite
        .inputs()
        .iter()
        .map(|batches| batches.iter().take(1).map(|b| b.slice(0, 0)).collect())
        .collect();
    let (_cx, transform) = suite.open(&empty).await?;
    let output = run(&transform, &empty).await?;
    if matches!(transform, Transform::Map(_)) {
        ensure!(
            output.rows.is_empty() && output.rejected.is_empty(),
            "an empty batch gave {:?}",
            output.rows
        );
    }
    if let Transform::Gather(gather) = &transform {
        // No batch at all, and not even a partition.
        let schemas = empty.iter().flatten().map(RecordBatch::schema);
        let none =
            schemas.map(|s| StageInput::Collected(Arc::new(MemoryGathered::new(s, Vec::new()))));
        stage(gather.as_ref(), &none.collect::<Vec<_>>()).await?;
    }
    Ok(())
}

/// Batches may have more columns than asked for, in another order: they are taken by name.
async fn columns_by_name(suite: &TransformSuite) -> Outcome {
    let inputs = suite.inputs();
    let (_cx, transform) = suite.open(&inputs).await?;
    skip_if!(!transform.deterministic(), "it is not deterministic");
    let want = run(&transform, &inputs).await?;
    let asked = |input: usize| transform.scan(input).columns;
    let mut moved = Vec::new();
    for (input, batches) in inputs.iter().enumerate() {
        // Where it asks for all columns, one more would be asked for too.
        let more = asked(input).is_some();
        let batches = batches.iter().map(|batch| reordered(batch, more));
        moved.push(batches.collect::<Outcome<Vec<_>>>()?);
    }
    if let Some(why) = run(&transform, &moved).await?.unlike(&want) {
        fail!("with the columns in another order, the same rows gave {why}");
    }
    Ok(())
}

/// The columns that it asks for are all that it needs.
async fn columns_asked_for_suffice(suite: &TransformSuite) -> Outcome {
    let inputs = suite.inputs();
    let (_cx, transform) = suite.open(&inputs).await?;
    skip_if!(!transform.deterministic(), "it is not deterministic");
    let want = run(&transform, &inputs).await?;
    let mut less = Vec::new();
    for (input, batches) in inputs.iter().enumerate() {
        let mut scan: Scan = transform.scan(input);
        if let (Some(columns), Some(first)) = (&mut scan.columns, batches.first()) {
            // Columns that aren't there are another check's matter.
            columns.retain(|column| first.schema().index_of(column).is_ok());
        }
        let batches = batches.iter().map(|batch| scan.project(batch.clone()));
        less.push(batches.collect::<Result<Vec<_>>>()?);
    }
    if let Some(why) = run(&transform, &less).await?.unlike(&want) {
        fail!("with only the columns that it asks for, the same rows gave {why}");
    }
    Ok(())
}

/// A stage gives the same rows however its inputs are spread over partitions.
async fn partitions_make_no_difference(suite: &TransformSuite) -> Outcome {
    let inputs = suite.inputs();
    let (_cx, transform) = suite.open(&inputs).await?;
    skip_if!(!transform.deterministic(), "it is not deterministic");
    let Transform::Gather(gather) = &transform else {
        skip_if!(true, "it is a map");
        return Ok(());
    };
    let want = run(&transform, &inputs).await?;
    let spread = inputs.iter().map(|batches| {
        // Two rows a batch, dealt out to three partitions, and a fourth one that is empty.
        let mut partitions = vec![Vec::new(); 4];
        let slices = batches.iter().flat_map(|batch| slices(batch, 2));
        for (i, slice) in slices.enumerate() {
            partitions[i % 3].push(slice);
        }
        partitions
    });
    let spread = spread.collect();
    if let Some(why) = gathered(gather.as_ref(), spread).await?.unlike(&want) {
        fail!("spread over partitions, the same rows gave (sorted) {why}");
    }
    Ok(())
}

/// Bad configurations are refused with the kind of error that says what to do.
async fn errors_have_kinds(suite: &TransformSuite) -> Outcome {
    Refusal::check(&suite.refusals).await
}

fn slices(batch: &RecordBatch, rows: usize) -> Vec<RecordBatch> {
    (0..batch.num_rows())
        .step_by(rows)
        .map(|at| batch.slice(at, rows.min(batch.num_rows() - at)))
        .collect()
}

/// The batch with its columns in reverse, and perhaps another one before them.
fn reordered(batch: &RecordBatch, more: bool) -> Outcome<RecordBatch> {
    let schema = batch.schema();
    let mut fields: Vec<_> = schema.fields().iter().rev().cloned().collect();
    let mut columns: Vec<ArrayRef> = batch.columns().iter().rev().cloned().collect();
    if more {
        fields.insert(0, Arc::new(Field::new("_more", DataType::Int32, true)));
        let nulls: Int32Array = std::iter::repeat_n(None, batch.num_rows()).collect();
        columns.insert(0, Arc::new(nulls));
    }
    let schema = Arc::new(Schema::new(fields));
    Ok(RecordBatch::try_new(schema, columns).map_err(tidegate_core::Error::from)?)
}
