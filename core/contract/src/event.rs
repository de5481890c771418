//! What a reader puts on the queue.

use std::fmt;

use arrow_array::RecordBatch;
use arrow_schema::SchemaRef;
use futures::stream::BoxStream;

use crate::{IgnoredColumn, Offset, Origin, Rejected, Result, StreamName};

/// What [`Source::read`](crate::Source::read) gives: events in the split's order, then the end,
/// which means that the split is finished. After an error nothing more is polled.
pub type EventStream = BoxStream<'static, Result<Event>>;

/// One thing that a reader has to say.
#[derive(Debug)]
pub enum Event {
    /// Rows of one stream.
    Rows {
        /// The stream.
        stream: StreamName,
        /// The rows.
        rows: Rows,
        /// Rows before or among these that the reader itself could not take.
        rejected: Option<Rejected>,
        /// The position after these rows. `None`: the position means something only after a later
        /// event, and no checkpoint is cut in between.
        resume: Option<Offset>,
    },
    /// Nothing for us, but the position moved.
    Progress(Offset),
    /// From here on, the stream has another schema. Ends the epoch; the graph is typed anew, and
    /// reading resumes from `resume`.
    Schema {
        /// The stream.
        stream: StreamName,
        /// Its schema from here on.
        schema: SchemaRef,
        /// The position after this event.
        resume: Offset,
    },
}

impl Event {
    /// The position after it, if it carries one.
    pub fn position(&self) -> Option<&Offset> {
        match self {
            Self::Rows { resume, .. } => resume.as_ref(),
            Self::Progress(offset) => Some(offset),
            Self::Schema { resume, .. } => Some(resume),
        }
    }
}

/// Rows, ready or still to be decoded.
pub enum Rows {
    /// Ready: exactly the columns that the stream's [`Scan`](crate::Scan) asks for, in the
    /// stream's order.
    Batch(RecordBatch),
    /// Still bytes: the reader found the records' bounds, a worker decodes them. This is how one
    /// fat file uses every core.
    Encoded(Box<dyn Decode>),
}

impl Rows {
    /// The bytes these rows hold in memory: what the queue's budget counts.
    pub fn size(&self) -> usize {
        match self {
            Self::Batch(batch) => crate::batch_bytes(batch),
            Self::Encoded(encoded) => encoded.size(),
        }
    }
}

impl fmt::Debug for Rows {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Batch(batch) => write!(f, "Batch({} rows)", batch.num_rows()),
            Self::Encoded(encoded) => write!(f, "Encoded({} bytes)", encoded.size()),
        }
    }
}

/// A piece of a split that is still encoded.
pub trait Decode: Send {
    /// The bytes this holds in memory.
    fn size(&self) -> usize;

    /// Decodes all of it. Called once, on a worker thread, for CPU work; the thread may block, but
    /// only for what is rare (to find the line of a rejected row).
    ///
    /// A row that can't be taken goes to [`Decoded::rejected`]; an error ends the run.
    fn decode(self: Box<Self>) -> Result<Decoded>;

    /// The same, one part after the other, so that a large piece is never decoded as a whole. An
    /// error of `take` ends it, and is given back.
    fn decode_into(self: Box<Self>, take: &mut dyn FnMut(Decoded) -> Result<()>) -> Result<()> {
        take(self.decode()?)
    }
}

/// What came of a [`Decode`].
#[derive(Debug, Default)]
pub struct Decoded {
    /// The rows, in order: the columns that the stream's scan asks for.
    pub batches: Vec<RecordBatch>,
    /// The rows that could not be taken.
    pub rejected: Rejected,
    /// The columns that the rows taken had, and the stream hasn't.
    pub ignored: Vec<IgnoredColumn>,
    /// Where the rows stand, for those that a map rejects: if the stream's scan
    /// [wishes it](crate::Scan::places), and as far as it is known.
    pub places: Option<Box<dyn RowPlaces>>,
}

/// Tells where rows stand that were decoded.
pub trait RowPlaces: fmt::Debug + Send {
    /// Where the `row`-th of the [`Decoded::batches`] stands, counted over all of them from 0.
    /// Asked for few rows, mostly one after the other; the thread may block.
    fn origin(&mut self, row: usize) -> Result<Origin>;
}
