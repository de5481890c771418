//! Where rows come from.

use std::fmt::Debug;
use std::num::NonZeroUsize;
use std::sync::Arc;
use std::time::Duration;

use arrow_schema::SchemaRef;
use async_trait::async_trait;
use serde::{Deserialize, Serialize};

use crate::{
    EventStream, Offset, PlanState, Result, Scan, SourceContext, SplitData, SplitId, StreamName,
};

/// A source as it stands in the pipeline file.
///
/// The implementor is a serde struct with `deny_unknown_fields` whose doc comments are the user's
/// reference; [`register_source!`](crate::register_source) makes it known by its tag.
#[async_trait]
#[typetag::serde(tag = "type")]
pub trait SourceConfig: Debug + Send + Sync {
    /// Checks what the JSON Schema can't (keys that exclude each other, ranges). No I/O.
    ///
    /// Errors: `Config`, all of them before any component is opened.
    fn validate(&self) -> Result<()> {
        Ok(())
    }

    /// Opens the source: resolves secrets, connects, finds the streams and their schemas.
    ///
    /// Called once per attempt, and by `tidegate check` too, so it changes nothing upstream.
    /// Whatever can be refused (a missing table, a wrong password) is refused here.
    async fn open(&self, cx: &SourceContext) -> Result<Arc<dyn Source>>;

    /// The keys that only change speed or layout in memory. A change of these between a crash and
    /// the next run does not make it another pipeline.
    fn tuning_keys(&self) -> &'static [&'static str] {
        &[]
    }

    /// Whether the source understands what its last run left in the state. No I/O.
    ///
    /// Asked before anything is opened, so that a state of another version is told as such.
    ///
    /// Errors: `Conflict`, as from [`PlanState::decode`].
    fn understands(&self, state: &PlanState) -> Result<()> {
        let _ = state;
        Ok(())
    }

    /// The field of its [`PlanState`] that is an object of what it remembers from run to run of each
    /// stream, or of each file, by its name. `None`: it remembers nothing that could stand alone.
    ///
    /// Without one of its entries the source reads as if it had never read that one, and all else as
    /// before: so people can look at one, and have it forgotten, between two runs.
    fn remembered_under(&self) -> Option<&'static str> {
        None
    }
}

/// One named table that a source gives.
#[derive(Debug, Clone)]
pub struct Stream {
    /// Its name within the source; never `rejected`.
    pub name: StreamName,
    /// Its columns. Fixed within an epoch; [`Event::Schema`](crate::Event::Schema) announces another.
    pub schema: SchemaRef,
    /// The columns that tell rows apart; empty if there is no such key.
    pub key: Vec<String>,
    /// Whether it ends by itself.
    pub bounded: bool,
    /// What can be done after a crash. It enters what a sink can guarantee.
    pub replay: Replay,
}

/// A source that is open.
///
/// All methods may be called concurrently. `read` is called once at a time for each split, and for
/// several splits at once.
#[async_trait]
pub trait Source: Debug + Send + Sync {
    /// The streams, always the same while the source is open.
    fn streams(&self) -> Vec<Stream>;

    /// What the user should know of the way it will read, and can't see from the file alone (which
    /// of several ways the user's privileges allow). Shown by `tidegate check` and `tidegate plan` after
    /// the component's name, so each is a sentence without its subject: "reads over 4 connections".
    fn notes(&self) -> Vec<String> {
        Vec::new()
    }

    /// How many of its splits are read at once. Always the same while the source is open.
    fn limits(&self) -> Limits {
        Limits::default()
    }

    /// Finds the splits that are to be read next, for all streams in use at once.
    ///
    /// Asked at the start of a run, when splits have finished, and after [`Next::AskAgain`]'s time;
    /// never twice at once. A bounded source fixes its upper bound in the first ask. The new splits and
    /// the state are stored together before any of them is read; if the process dies before, the
    /// same question is asked again, so a plan has no side effects, and gives the same ids for the
    /// same things. A split that an earlier state
    /// already contains must not be given again. What is learnt here and needed to read goes into the
    /// splits' data: they may be read in another process, which opens the source itself and is never
    /// asked. Finished splits are told once, here, with the last
    /// position that was read of each; after this call only the plan state remembers them.
    ///
    /// Errors: `Transient` and `RateLimited` are retried by the runtime; `Exhausted` stops the run,
    /// and what was read is kept; others fail it.
    async fn plan(&self, ask: &Ask<'_>) -> Result<Plan>;

    /// Looks again at the splits of a run that is resumed, before any of them is read: what they were
    /// planned of may have changed since, or be gone. Asked at the beginning of each attempt that
    /// has such splits, and by `tidegate check`; no side effects.
    ///
    /// `None`: all of them can be read as they are. Otherwise what is different: a split that can't
    /// be read any more is `revoked`, and what takes its place is `new`, perhaps with the same id.
    /// Of a split that is revoked here nothing more is read, committed or acknowledged. While no
    /// checkpoint has anything of the run, an answer means that the run's first question is
    /// put again instead, so that all is planned as it is now.
    ///
    /// What is committed of a split stays committed. So where a part of something is, and the rest
    /// can't be read as it was, the user has to say what is to be done: [`Revision::changed`].
    ///
    /// Errors: `Conflict` where it is [`Changed::Refuse`], with what is committed and what can be done.
    async fn revise(&self, revision: &Revision<'_>) -> Result<Option<Plan>> {
        let _ = revision;
        Ok(None)
    }

    /// Reads a split, from its beginning or from right after `resume`.
    ///
    /// The law of [`Replay::Offset`] and [`Replay::Whole`]: for every `resume` that was given, in any
    /// later process, `read(split, scans, Some(resume))` gives exactly the events after it: the same
    /// rows in the same order (in batches of any size), none missing, none duplicated. `resume` is
    /// always `None` where a stream has another [`Replay`].
    ///
    /// The stream is polled by one task; what it reads ahead is bounded by itself. Cancellation:
    /// the runtime drops the stream (or the future) at any await point; connections, threads and
    /// files must end with it. Errors end the attempt; `Transient` and `RateLimited` lead to
    /// another from the last checkpoint, so a source retries by itself what it can retry cheaply.
    /// `Exhausted` stops the run as Ctrl-C does: what was read is committed, and the next run continues
    /// after it.
    async fn read(
        &self,
        split: &Split,
        scans: &[Scan],
        resume: Option<&Offset>,
    ) -> Result<EventStream>;

    /// Tells what is committed in every sink, so the upstream may forget it. After each epoch, with
    /// the splits of which more is committed or that have finished; a new attempt begins with all
    /// that is known to be committed, because it may not have been told. Positions never go back.
    ///
    /// An error is logged and does not end the run: the next call covers this one.
    async fn acknowledge(&self, upto: &[Acknowledged]) -> Result<()> {
        let _ = upto;
        Ok(())
    }

    /// Releases what is held upstream. Called once at the end of an attempt, after all streams
    /// were dropped; not called when the process dies.
    async fn close(&self) -> Result<()> {
        Ok(())
    }
}

/// How many splits of a source are read at once. The others wait, in the order in which they were
/// planned.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Limits {
    /// The most: what the upstream allows, or a setting of the user's. `None`: as many as keep the
    /// machine busy (two for each CPU thread, at least four), or all if they only listen.
    pub splits: Option<NonZeroUsize>,
    /// Whether an open split mostly waits for what comes (a shard, a queue, a socket), and may have no
    /// end. Then all are open at once, and a `splits` that keeps some of them shut is worth a warning.
    pub listens: bool,
}

impl Limits {
    /// How many splits are read at once where neither is said, for so many CPU threads: most wait for
    /// the network.
    pub fn usual(parallelism: usize) -> usize {
        (2 * parallelism).max(4)
    }
}

/// What is committed of a split, in every sink.
#[derive(Debug, Clone, PartialEq)]
pub struct Acknowledged {
    /// The split.
    pub split: SplitId,
    /// Up to this position. `None`: it has finished, and its reading gave none.
    pub offset: Option<Offset>,
    /// Whether no more of it comes: it was read to its end, or was revoked.
    pub finished: bool,
    /// How many of these rows were rejected, since this process told of the split before: by the
    /// source, while they were decoded, or by a transform that works row by row. What comes to a sink
    /// or to a transform that needs all rows is mixed, so what those reject belongs to no split.
    pub rejected: u64,
}

/// The question put to [`Source::plan`].
#[derive(Debug, Clone, Copy)]
pub struct Ask<'a> {
    /// What is needed, a scan for each stream that has a consumer.
    pub scans: &'a [Scan],
    /// The state that the last plan returned, in this run or, if `first`, in the run before.
    pub state: Option<&'a PlanState>,
    /// The splits that finished since the last ask.
    pub finished: &'a [FinishedSplit],
    /// Whether this is the first ask of a run (asked again if the process died before the answer
    /// was stored). A source that reads everything in every run starts over here; one that is
    /// incremental resumes from `state`.
    pub first: bool,
}

/// The answer of [`Source::plan`].
#[derive(Debug)]
pub struct Plan {
    /// Splits not given before.
    pub new: Vec<Split>,
    /// Splits given before that are taken back: a lease is to go to somebody else, a shard has expired.
    ///
    /// Reading stops at once, and what was read ahead is dropped. What was handed out by then is
    /// committed, without waiting for the interval; [`Source::acknowledge`] then tells the last
    /// position, as finished. Only from then on may somebody else read on, after this position: so no
    /// row is lost or duplicated. A split that stands between two positions, or can't be read from an
    /// offset, is dropped back to the last checkpoint, and all others with it: the attempt is given up,
    /// and the next one has no such split and tells nothing of it.
    ///
    /// What somebody else may be reading already must not be committed: then `plan` fails with
    /// `Transient`, and revokes the split when it is asked in the next attempt.
    ///
    /// A split that is read to its end by then finishes as usual, and others that come after one that
    /// is revoked may start. It isn't told as finished in [`Ask::finished`], and it is forgotten: if it
    /// is given again, it is read from the beginning that its data says.
    pub revoked: Vec<SplitId>,
    /// What to give with the next question. Grows with what must be remembered, not with what was
    /// read: finished splits are pruned into it.
    pub state: PlanState,
    /// When to ask again.
    pub next: Next,
}

/// The question put to [`Source::revise`].
#[derive(Debug, Clone, Copy)]
pub struct Revision<'a> {
    /// What is needed, as in [`Ask::scans`].
    pub scans: &'a [Scan],
    /// The state that the last plan returned.
    pub state: Option<&'a PlanState>,
    /// The run's splits, in the order in which they were planned, but for those of which the source
    /// was told that they have finished.
    pub splits: &'a [PlannedSplit<'a>],
    /// What is to be done where a part is committed of what has changed.
    pub changed: Changed,
}

/// A split that was planned before, and what is committed of it.
#[derive(Debug, Clone, Copy)]
pub struct PlannedSplit<'a> {
    /// The split.
    pub split: &'a Split,
    /// Up to here its rows are committed.
    pub offset: Option<&'a Offset>,
    /// Whether all its rows are.
    pub finished: bool,
}

/// What is to be done with an input (a file) that changed or went when a part of it was committed.
/// Where nothing is, it is read as it is now, whatever is said here.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub enum Changed {
    /// Nothing: the run ends, and says what is committed.
    #[default]
    Refuse,
    /// What isn't committed of it is left out.
    Skip,
    /// It is read whole, as it is now: what was committed of it comes twice.
    Reread,
    /// It is read on from where it stands, because what comes before is the same.
    Resume,
}

/// When a source wants to be asked for more splits.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub enum Next {
    /// No more splits in this run.
    Complete,
    /// Ask when a split has finished.
    WhenFinished,
    /// Ask again after this time, or when a split has finished, whichever is first.
    AskAgain(Duration),
}

/// A piece of a source that can be read alone. It may yield several streams.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Split {
    /// Unique within the source for as long as the pipeline's state lives, or the same id means
    /// the same piece.
    pub id: SplitId,
    /// What `read` needs to know.
    pub data: SplitData,
    /// Splits that must be finished before this one starts: shards before their children, a
    /// snapshot before its binlog.
    pub after: Vec<SplitId>,
    /// How much is in it.
    pub estimate: Estimate,
}

impl Split {
    /// A split after nothing, of unknown size.
    pub fn new(id: impl Into<SplitId>, data: SplitData) -> Self {
        Self {
            id: id.into(),
            data,
            after: Vec::new(),
            estimate: Estimate::default(),
        }
    }

    /// With what is known of its size.
    #[must_use]
    pub fn estimate(mut self, rows: Option<u64>, bytes: Option<u64>) -> Self {
        self.estimate = Estimate { rows, bytes };
        self
    }
}

/// A split that was read to its end.
#[derive(Debug, Clone, PartialEq)]
pub struct FinishedSplit {
    /// The split.
    pub split: Split,
    /// The last position that its reading gave; `None` if it gave none. This is how what was only
    /// learnt while reading (the largest date, a cursor, an ETag) reaches the next run's plan.
    pub offset: Option<Offset>,
}

/// What a source can do for a stream after a crash.
///
/// | | a run is checkpointed | after a crash | a sink can give |
/// |---|---|---|---|
/// | `Offset` | between any two positions | from the last checkpoint | exactly once |
/// | `Whole` | between splits | splits begun from their beginning | exactly once |
/// | `Session` | at its end only | the run from its beginning | exactly once |
/// | `Upstream` | anywhere | what wasn't acknowledged, from the upstream | effectively once, by key |
/// | `Never` | anywhere | what comes then | no guarantee |
///
/// The streams of one source are all `Upstream`, or all `Never`, or none of them is.
///
/// In this order each can do less than the one before.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Replay {
    /// `read` from any position gives exactly what comes after it, in any later process.
    Offset,
    /// A split is read from its beginning only, so it gives no position before its last event, and
    /// no epoch is cut while it is read.
    Whole,
    /// Only while this process holds its snapshot: the run is one epoch, and a crash restarts it.
    Session,
    /// The upstream sends again what it wasn't told of by [`Source::acknowledge`], and may send some
    /// of that again too. A position means something to this process alone: it is acknowledged, and
    /// neither stored nor resumed from.
    Upstream,
    /// What was read and isn't committed is gone with the process.
    Never,
}

impl Replay {
    /// The name: `offset`, `whole`, `session`, `upstream`, `never`.
    pub fn name(self) -> &'static str {
        match self {
            Self::Offset => "offset",
            Self::Whole => "whole",
            Self::Session => "session",
            Self::Upstream => "upstream",
            Self::Never => "never",
        }
    }

    /// Whether a position outlives the process that gave it.
    pub fn is_stored(self) -> bool {
        !matches!(self, Self::Upstream | Self::Never)
    }
}

/// What is known of a split's size. Used for progress and for choosing plans, never for truth.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Estimate {
    /// Rows.
    pub rows: Option<u64>,
    /// Bytes upstream.
    pub bytes: Option<u64>,
}
