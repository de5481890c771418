//! Where rows go.

use std::fmt::Debug;
use std::sync::Arc;

use arrow_array::RecordBatch;
use arrow_schema::SchemaRef;
use async_trait::async_trait;
use serde::{Deserialize, Serialize};

use crate::{
    Epoch, Lineage, Origins, Prepared, Rejected, Result, RunId, SinkContext, Token, WriterId,
};

/// A sink as it stands in the pipeline file.
#[async_trait]
#[typetag::serde(tag = "type")]
pub trait SinkConfig: Debug + Send + Sync {
    /// Checks what the JSON Schema can't. No I/O. Errors: `Config`.
    fn validate(&self) -> Result<()> {
        Ok(())
    }

    /// Opens the sink: resolves secrets, connects, and checks everything that can be refused
    /// (columns, names, permissions), because `commit` may not refuse.
    ///
    /// Called once per attempt, and by `tidegate check`, so it writes nothing that stays. For
    /// replaying commits after a crash it is called with the **stored** configuration and
    /// `cx.inputs` empty; only `commit` and `recover` are called then.
    async fn open(&self, cx: &SinkContext) -> Result<Arc<dyn Sink>>;

    /// See [`SourceConfig::tuning_keys`](crate::SourceConfig::tuning_keys).
    fn tuning_keys(&self) -> &'static [&'static str] {
        &[]
    }
}

/// How surely each row arrives, given a source that replays.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Delivery {
    /// Looks on and counts for nothing (a console): it may show rows of an epoch that fails.
    Observer,
    /// A row may arrive again after a crash.
    AtLeastOnce,
    /// A row may be written again, with the same effect as once (an upsert by key).
    Idempotent,
    /// Nothing is visible before `commit`, and a replayed `commit` changes nothing.
    TwoPhase,
}

/// When rows become visible.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Visibility {
    /// With each epoch's commit.
    Epoch,
    /// All at the end of the run (overwrite modes): the runtime keeps what every epoch prepared
    /// and commits once, also when there is nothing.
    Run,
}

/// How the rows of one input are to be spread over the writers.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Distribution {
    /// Which writer a row may go to.
    pub spread: Spread,
    /// Whether rows of one split must arrive in their order, where they go to one writer. Without
    /// it, any order will do.
    pub ordered: bool,
}

/// Which writer a row may go to.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub enum Spread {
    /// Any.
    #[default]
    Any,
    /// Rows with equal values in these columns go to the same writer.
    Hash(Vec<String>),
    /// There is one writer.
    Single,
}

/// How much an I/O sink takes at once.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct InFlight {
    /// The most writers, each of which has at most one write under way.
    pub writers: usize,
    /// The most rows of one write.
    pub rows: usize,
    /// The bytes (in memory, as Arrow) that may wait or be under way before no more is read for
    /// this sink. Others go on.
    pub bytes: u64,
}

impl Default for InFlight {
    fn default() -> Self {
        Self {
            writers: 16,
            rows: 8 << 10,
            bytes: 32 << 20,
        }
    }
}

/// A sink that is open.
///
/// In an epoch: `epoch` → `writer` (as many as are useful) → `write`… → `finish` each → `seal` →
/// *checkpoint* → `commit`. Two epochs may be in flight: while one is sealed and committed, the next
/// one's writers already take rows. Commits come in order, never two at once.
#[async_trait]
pub trait Sink: Debug + Send + Sync {
    /// How surely rows arrive.
    fn delivery(&self) -> Delivery;

    /// When rows become visible.
    fn visibility(&self) -> Visibility {
        Visibility::Epoch
    }

    /// Whether a row takes the place of the one with the same key that is there already, whichever run
    /// wrote it: then it does no harm that a source is read again.
    fn replaces_by_key(&self) -> bool {
        false
    }

    /// How the rows of the `input`-th input are to be spread over writers.
    fn distribution(&self, input: usize) -> Distribution {
        let _ = input;
        Distribution::default()
    }

    /// Whether each row's origin is to come with it (see [`Origins`]): what idempotency keys are made
    /// of. Refused behind what can't carry it: a source whose positions are gone with the process,
    /// a gather, a transform that isn't deterministic, rows that a sink rejected.
    fn wants_origins(&self) -> bool {
        false
    }

    /// How many bytes (in memory, as Arrow) a writer should have taken in an epoch before another
    /// is opened beside it: what keeps 64 cores from making 64 small files. A sink whose writers
    /// are nothing but requests says 0.
    fn writer_bytes(&self) -> u64 {
        64 << 20
    }

    /// How much its I/O writers take at once. CPU writers are at most one for each CPU thread.
    fn in_flight(&self) -> InFlight {
        InFlight::default()
    }

    /// The schema of the stream `<sink>.answers`: what the other side answered, where the sink keeps
    /// that. Only asked for by whoever [reads it](SinkContext::answers). Its writers give it.
    fn answers(&self) -> Option<SchemaRef> {
        None
    }

    /// Opens an epoch, when its first rows come. Cheap: what has to wait belongs in a writer.
    async fn epoch(&self, id: Epoch) -> Result<Arc<dyn SinkEpoch>>;

    /// Called once for [`Visibility::Run`], when the last epoch is sealed and before the final
    /// checkpoint, with all that the run prepared: returns what must be fixed in that checkpoint
    /// because `commit` may not look for it (the keys to delete). It is added to the prepared values.
    async fn conclude(&self, prepared: &[Prepared]) -> Result<Option<Prepared>> {
        let _ = prepared;
        Ok(None)
    }

    /// Makes visible what was prepared.
    ///
    /// May be called again with the same values, by this process, by its successor, or by a
    /// process that was fenced off meanwhile, even after its successor's next commit: it must then
    /// change nothing. So it uses only keys fixed in `commit.prepared`, and never replaces what it
    /// did not make. Called for every epoch in which the sink prepared anything, and for the last
    /// one of a run.
    ///
    /// Errors: only `Transient` (retried), `Auth` or `Conflict`; what can be refused was refused
    /// before. A fenced process whose work its successor has replaced since may get `Conflict`.
    async fn commit(&self, commit: &Commit<'_>) -> Result<()>;

    /// Discards what was begun and will never be committed. Called before anything is written in
    /// an attempt, after replayed commits. What is in `recovery.keep` stays.
    async fn recover(&self, recovery: &Recovery<'_>) -> Result<()>;

    /// Releases what is held. Called once at the end of an attempt.
    async fn close(&self) -> Result<()> {
        Ok(())
    }
}

/// What a sink does between two checkpoints.
#[async_trait]
pub trait SinkEpoch: Debug + Send + Sync {
    /// Opens a writer. Called from several tasks at once, and never after `seal` or `abandon`; all
    /// writers of an epoch are of one kind. Cheap, because an epoch may need few rows of it, and a
    /// CPU thread waits for it: what has to wait belongs in the first `write` of an I/O writer.
    ///
    /// Whatever a writer begins outside this process (an upload, a staging table) is journalled
    /// first, through the context's journal.
    async fn writer(&self, id: WriterId) -> Result<Writer>;

    /// Returns when CPU writers may continue: when no more of what they gave away is still under way to
    /// the outside than may be. Asked after each of their writes; until it returns, nothing more is
    /// read for this sink, and other branches go on. Cancellation: dropped when the attempt ends.
    async fn ready(&self) {}

    /// Makes durable, but not visible, all that was written. After this returned, a crash of the
    /// process or of the machine loses nothing of it. Called once, when all writers have finished.
    /// Overlaps the next epoch's writes.
    async fn seal(&self) -> Result<Sealed>;

    /// Gives up: discards what it can. Its journal entries stay, so a later `recover` finds the
    /// rest. Called at most once, when all writers are gone; also after `seal`, where another sink's
    /// failed.
    async fn abandon(&self);
}

/// One open end of an epoch; which kind says where its work is done.
///
/// The methods of a writer are called one at a time. One that is dropped without `finish`, as after
/// an error, belongs to an epoch that is abandoned.
pub enum Writer {
    /// Its work is computing (encoding, compressing): on the CPU threads, which it may not keep
    /// waiting for others.
    Cpu(Box<dyn CpuWriter>),
    /// Its work is waiting for others: on the I/O runtime, as many at once as
    /// [`Sink::in_flight`] says, whatever the number of threads.
    Io(Box<dyn IoWriter>),
}

impl Debug for Writer {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(match self {
            Self::Cpu(_) => "Writer::Cpu",
            Self::Io(_) => "Writer::Io",
        })
    }
}

/// Rows for a writer.
#[derive(Debug, Clone)]
pub struct SinkBatch {
    /// Which of the context's inputs they belong to.
    pub input: usize,
    /// All of the input's columns, in the input's order.
    pub rows: RecordBatch,
    /// Where each row comes from, if [`Sink::wants_origins`].
    pub origins: Option<Origins>,
}

impl SinkBatch {
    /// Rows of the `input`-th input, without origins.
    pub fn new(input: usize, rows: RecordBatch) -> Self {
        Self {
            input,
            rows,
            origins: None,
        }
    }

    /// `rows` of them, from the `from`-th on.
    #[must_use]
    pub fn slice(&self, from: usize, rows: usize) -> Self {
        Self {
            input: self.input,
            rows: self.rows.slice(from, rows),
            origins: self
                .origins
                .as_ref()
                .map(|origins| origins.slice(from, rows)),
        }
    }
}

/// A writer that encodes.
pub trait CpuWriter: Send {
    /// Takes a batch. What can't be taken is returned with the reason; the others are taken.
    ///
    /// Called on a CPU thread.
    fn write(&mut self, batch: SinkBatch) -> Result<Rejected>;

    /// Gives away what it still holds. Called on a thread that may block.
    fn finish(self: Box<Self>) -> Result<Rejected>;
}

/// A writer that waits for others.
#[async_trait]
pub trait IoWriter: Send {
    /// Takes a batch of at most [`InFlight::rows`] rows. What can't be taken is returned with the
    /// reason; the others are taken, or will be when `finish` has returned.
    ///
    /// Cancellation: it is dropped at any await point when the attempt ends.
    async fn write(&mut self, batch: SinkBatch) -> Result<Written>;

    /// Sends what it still holds, and waits for it.
    async fn finish(self: Box<Self>) -> Result<Written>;
}

/// What came of rows that were sent.
#[derive(Debug, Default)]
pub struct Written {
    /// Rows that can't be taken.
    pub rejected: Rejected,
    /// What the other side answered, as batches of [`Sink::answers`]. Nothing where nobody
    /// [reads it](SinkContext::answers).
    pub answers: Vec<RecordBatch>,
}

impl Written {
    /// Adds all of another's.
    pub fn extend(&mut self, other: Self) {
        self.rejected.extend(other.rejected);
        self.answers.extend(other.answers);
    }

    /// Whether there is nothing to pass on.
    pub fn is_empty(&self) -> bool {
        self.rejected.is_empty() && self.answers.is_empty()
    }
}

impl From<Rejected> for Written {
    fn from(rejected: Rejected) -> Self {
        let answers = Vec::new();
        Self { rejected, answers }
    }
}

/// What an epoch made durable.
#[derive(Debug, Default)]
pub struct Sealed {
    /// What `commit` needs to make it visible; none if there is nothing.
    pub prepared: Vec<Prepared>,
    /// Rows that turned out late to be unacceptable.
    pub rejected: Rejected,
    /// What was answered to rows that were sent only now; see [`Written::answers`].
    pub answers: Vec<RecordBatch>,
}

/// What is to be made visible.
#[derive(Debug, Clone, Copy)]
pub struct Commit<'a> {
    /// The pipeline's name.
    pub pipeline: &'a str,
    /// The identity of its state.
    pub lineage: Lineage,
    /// The run.
    pub run: RunId,
    /// The epoch; the last one's number for [`Visibility::Run`].
    pub epoch: Epoch,
    /// Whether the run ends with it.
    pub last: bool,
    /// What the epochs prepared.
    pub prepared: &'a [Prepared],
}

/// What is to be discarded, and what not.
#[derive(Debug, Clone, Copy)]
pub struct Recovery<'a> {
    /// Prepared values that will be committed later: of [`Visibility::Run`].
    pub keep: &'a [Prepared],
    /// Everything that was begun and neither committed nor discarded since.
    pub begun: &'a [Token],
}
