//! Where rows go.

use std::fmt::Debug;
use std::sync::Arc;

use arrow_array::RecordBatch;
use async_trait::async_trait;
use serde::{Deserialize, Serialize};

use crate::{Epoch, Lineage, Prepared, Rejected, Result, RunId, SinkContext, Token, WriterId};

/// A sink as it stands in the pipeline file.
#[async_trait]
#[typetag::serde(tag = "type")]
pub trait SinkConfig: Debug + Send + Sync {
    /// Checks what the JSON Schema can't. No I/O. Errors: `Config`.
    fn validate(&self) -> Result<()> {
        Ok(())
    }

    /// Opens the sink: resolves secrets, connects, and checks everything that can be refused
    /// (columns, names, rights), because `commit` may not refuse.
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
    /// Whether rows of one split must arrive in their order.
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

/// A sink that is open.
///
/// In an epoch: `writer` (as many as are useful) → `write`… → `prepare` each → *checkpoint* →
/// `commit`. Two epochs may be in flight: while one is prepared and committed, the next one's
/// writers already take rows. Commits come in order, never two at once.
#[async_trait]
pub trait Sink: Debug + Send + Sync {
    /// How surely rows arrive.
    fn delivery(&self) -> Delivery;

    /// When rows become visible.
    fn visibility(&self) -> Visibility {
        Visibility::Epoch
    }

    /// How the rows of the `input`-th input are to be spread over writers.
    fn distribution(&self, input: usize) -> Distribution {
        let _ = input;
        Distribution::default()
    }

    /// How many bytes (in memory, as Arrow) a writer should have taken in an epoch before another
    /// is opened beside it: what keeps 64 cores from making 64 small files.
    fn writer_bytes(&self) -> u64 {
        64 << 20
    }

    /// Opens a writer. Called from several tasks at once; cheap, because an epoch may need few
    /// rows of it. All writers of an epoch are open before the first of them is prepared. Whatever it begins outside this process (an upload, a staging table) it
    /// journals first, through the context's journal.
    async fn writer(&self, id: WriterId) -> Result<Box<dyn SinkWriter>>;

    /// Called once for [`Visibility::Run`], when all writers are prepared and before the final
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

/// One open end of a sink, for one epoch.
///
/// Its methods are called one at a time. A writer that returned an error is only abandoned.
#[async_trait]
pub trait SinkWriter: Send {
    /// Takes a batch of the `input`-th input: all of its columns, in the input's order. What can't
    /// be taken is returned with the reason; the others are taken.
    ///
    /// Called on a CPU thread that may block: encode here, without spawning.
    async fn write(&mut self, input: usize, batch: RecordBatch) -> Result<Rejected>;

    /// Makes durable, but not visible, all that was written. After this returned, a crash of the
    /// process or of the machine loses nothing of it. Overlaps the next epoch's writes.
    async fn prepare(self: Box<Self>) -> Result<Sealed>;

    /// Gives up: discards what it can. Its journal entries stay, so a later `recover` finds the
    /// rest.
    async fn abandon(self: Box<Self>);
}

/// What a writer made durable.
#[derive(Debug, Default)]
pub struct Sealed {
    /// What `commit` needs to make it visible; `None` if there is nothing.
    pub prepared: Option<Prepared>,
    /// Rows that turned out late to be unacceptable.
    pub rejected: Rejected,
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
    /// What the writers prepared.
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
