//! What happens to rows between sources and sinks.

use std::fmt::Debug;
use std::sync::Arc;

use arrow_array::{ArrayRef, RecordBatch};
use arrow_schema::SchemaRef;
use async_trait::async_trait;
use futures::stream::BoxStream;

use crate::{Error, IgnoredColumn, Rejected, Result, Scan, TransformContext};

/// A stream of batches of one schema.
pub type BatchStream = BoxStream<'static, Result<RecordBatch>>;

/// A transform as it stands in the pipeline file.
#[async_trait]
#[typetag::serde(tag = "type")]
pub trait TransformConfig: Debug + Send + Sync {
    /// Checks what the JSON Schema can't. No I/O. Errors: `Config`.
    fn validate(&self) -> Result<()> {
        Ok(())
    }

    /// Types the transform against its inputs' schemas (`cx.inputs`), and chooses its kind.
    ///
    /// Called once per attempt, and by `tidegate check`. Errors: `Schema` for columns that don't
    /// fit, `Config` for the rest.
    async fn open(&self, cx: &TransformContext) -> Result<Transform>;

    /// Whether the map that it opens keeps something of the rows that went through, such as their
    /// keys. Then a part of the pipeline's memory is set aside for it: `cx.common.memory`.
    fn keeps_state(&self) -> bool {
        false
    }

    /// See [`SourceConfig::tuning_keys`](crate::SourceConfig::tuning_keys).
    fn tuning_keys(&self) -> &'static [&'static str] {
        &[]
    }
}

/// A transform that is open. What may run in parallel is in the kind, so that the runtime can't
/// get it wrong.
#[derive(Debug, Clone)]
#[non_exhaustive]
pub enum Transform {
    /// Batch by batch.
    Map(Arc<dyn Map>),
    /// Needs all rows of its inputs.
    Gather(Arc<dyn Gather>),
}

impl Transform {
    /// The schema of what comes out.
    pub fn schema(&self) -> SchemaRef {
        match self {
            Self::Map(map) => map.schema(),
            Self::Gather(gather) => gather.schema(),
        }
    }

    /// What it needs of its `input`-th input.
    pub fn scan(&self, input: usize) -> Scan {
        match self {
            Self::Map(map) => map.scan(input),
            Self::Gather(gather) => gather.scan(input),
        }
    }

    /// Whether the same input always gives the same output.
    pub fn deterministic(&self) -> bool {
        match self {
            Self::Map(map) => map.deterministic(),
            Self::Gather(gather) => gather.deterministic(),
        }
    }
}

/// A transform of one batch at a time: synchronous, no memory, no I/O.
///
/// Called on worker threads, for many batches at once and in any order. One that remembers what it
/// was given all the same isn't [`deterministic`](Map::deterministic), and knows only the rows of its
/// attempt and its executor: each of them opens it anew.
pub trait Map: Debug + Send + Sync {
    /// The schema of every batch that comes out, whichever input it came from.
    fn schema(&self) -> SchemaRef;

    /// Whether the same batch always gives the same result. `now()` and `random()` are not.
    fn deterministic(&self) -> bool {
        true
    }

    /// What is needed of the `input`-th input (by position in the context's inputs). The batches
    /// given to `map` may have more columns than asked for: take columns by name.
    fn scan(&self, input: usize) -> Scan;

    /// Whether a row that it rejects is shown with all columns of its batch. Where somebody reads
    /// them, it is given more than it asks for: the whole rows.
    fn rejects_whole_rows(&self) -> bool {
        false
    }

    /// Maps one batch of the `input`-th input. Its rows come out in order; rows may be dropped or
    /// multiplied. A row that can't be taken is rejected, by its number in the batch
    /// ([`Rejected::push_of_batch`](crate::Rejected::push_of_batch)), and the others go on; an error
    /// ends the attempt.
    fn map(&self, input: usize, batch: &RecordBatch) -> Result<Mapped>;
}

/// The column of this name of a batch that came to a map, which may have others beside it.
///
/// Errors: `Internal`, because a map is given the columns that it asks for.
pub fn batch_column<'a>(batch: &'a RecordBatch, name: &str) -> Result<&'a ArrayRef> {
    let column = batch.column_by_name(name);
    column.ok_or_else(|| Error::internal(format!("a batch came without the column `{name}`")))
}

/// What came of a batch.
#[derive(Debug, Default)]
pub struct Mapped {
    /// Batches of the map's schema.
    pub batches: Vec<RecordBatch>,
    /// The rows that could not be taken.
    pub rejected: Rejected,
    /// The columns that the rows taken had, and the map hasn't.
    pub ignored: Vec<IgnoredColumn>,
}

/// A transform that needs all rows of its inputs (join, aggregate, sort): a stage of its own.
///
/// The runtime collects the inputs of an epoch (in memory up to a budget, then on disk), runs the
/// stage once, and reads its output partitions as the splits of what follows. In a run that is one
/// epoch, an input that the stage reads only once may be given as its rows come.
#[async_trait]
pub trait Gather: Debug + Send + Sync {
    /// The schema of what comes out.
    fn schema(&self) -> SchemaRef;

    /// Whether the same rows always give the same rows (in any order).
    fn deterministic(&self) -> bool {
        true
    }

    /// Whether the order of what comes out matters (`ORDER BY`): then there is one partition, and a
    /// sink that is given its rows, also by way of maps, gets them in that order.
    fn ordered(&self) -> bool {
        false
    }

    /// What is needed of the `input`-th input. The batches may have more columns than asked for.
    fn scan(&self, input: usize) -> Scan;

    /// Whether the user has agreed that, where a source is unbounded, each epoch's rows are gathered
    /// by themselves (`scope = "epoch"`). Without it such a pipeline is refused.
    fn epoch_scoped(&self) -> bool {
        false
    }

    /// Whether the `input`-th input may be given as [`StageInput::Streamed`]: the stage opens each
    /// of its partitions at most once, and needs no count of the rows beforehand. Else the input is
    /// always collected.
    fn streams(&self, input: usize) -> bool {
        let _ = input;
        false
    }

    /// Runs the stage over one epoch's rows. `inputs` are in the order of the context's inputs; at
    /// most one of them is streamed. The output partitions are polled at once, on CPU threads;
    /// dropping them cancels the stage.
    async fn run(&self, inputs: Vec<StageInput>) -> Result<Vec<BatchStream>>;
}

/// One input of a [`Gather`] in one epoch.
#[derive(Debug, Clone)]
pub enum StageInput {
    /// All of its rows are there.
    Collected(Arc<dyn Gathered>),
    /// Its rows come while the stage runs; only where [`Gather::streams`] allows it.
    Streamed(Arc<dyn Streamed>),
}

impl StageInput {
    /// The schema of the batches.
    pub fn schema(&self) -> SchemaRef {
        match self {
            Self::Collected(rows) => rows.schema(),
            Self::Streamed(rows) => rows.schema(),
        }
    }

    /// The rows, for a stage that streams none. Errors: `Internal`.
    pub fn collected(self) -> Result<Arc<dyn Gathered>> {
        match self {
            Self::Collected(rows) => Ok(rows),
            Self::Streamed(_) => Err(Error::internal(
                "a stage was given rows to come that it wants to be collected",
            )),
        }
    }
}

/// All rows of one input of a [`Gather`] in one epoch, counted, and readable more than once.
pub trait Gathered: Debug + Send + Sync {
    /// The schema of the batches.
    fn schema(&self) -> SchemaRef;

    /// How many rows there are, exactly.
    fn rows(&self) -> u64;

    /// How many bytes they took in memory.
    fn bytes(&self) -> u64;

    /// How many partitions they were spread over.
    fn partitions(&self) -> usize;

    /// Reads one partition from its beginning.
    fn open(&self, partition: usize) -> Result<BatchStream>;
}

/// The rows of one input of a [`Gather`] in one epoch, as they come. When all of it is dropped, the
/// rows that still come are dropped too.
#[async_trait]
pub trait Streamed: Debug + Send + Sync {
    /// The schema of the batches.
    fn schema(&self) -> SchemaRef;

    /// How many rows have come so far: at least so many there will be.
    fn rows(&self) -> u64;

    /// How many bytes they take in memory.
    fn bytes(&self) -> u64;

    /// Waits until some rows have come, or none will: from then on it can be told how large a row is.
    async fn begun(&self);

    /// Over how many partitions they are spread. Rows go to the partition that asks for some.
    fn partitions(&self) -> usize;

    /// The rows of one partition, to be opened once.
    fn open(&self, partition: usize) -> Result<BatchStream>;
}
