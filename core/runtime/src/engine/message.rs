//! What the coordinator and an executor say to each other. It is data only, so it is the same for an
//! executor beside the coordinator and for one in another process. There is a message for a split, a
//! cut, an epoch; never one for a batch.

use std::sync::Arc;

use serde::{Deserialize, Serialize};
use tidegate_core::{ComponentId, Epoch, Error, Offset, Prepared, Split};

use super::queue::{Cut, Revoked, SplitKey};
use crate::graph::NodeId;

/// What an executor is told. It takes commands in their order.
#[derive(Debug, Serialize, Deserialize)]
pub(crate) enum Command {
    /// Read a split.
    Assign(Box<Assignment>),
    /// Read no more of a split; answered with [`Said::Revoked`].
    Revoke(SplitKey),
    /// Of this source no more will be read.
    Complete(NodeId),
    /// Say so when nothing waits and nothing is being done; answered with the same number.
    Rest(u64),
    /// Begin no split that can only be read whole, and let those end that have begun; answered with
    /// [`Said::Settled`]. Another step of a cut takes its place.
    Settle,
    /// Hand out all that is there, because no more will come; answered with [`Said::Drained`].
    Drain,
    /// Hand out no more, and say where everything stands; answered with [`Said::Cut`].
    Cut,
    /// Begin the next epoch, and make durable what the one that was cut has; answered with
    /// [`Said::Sealed`]. `stages`: they have something to say.
    End { next: Epoch, stages: bool },
    /// Hand out again after a cut.
    Reopen,
}

/// A split to read, from its beginning or from right after a position.
#[derive(Debug, Serialize, Deserialize)]
pub(crate) struct Assignment {
    pub(crate) key: SplitKey,
    pub(crate) split: Split,
    pub(crate) offset: Option<Offset>,
}

/// What an executor says.
#[derive(Debug, Serialize, Deserialize)]
pub(crate) enum Said {
    /// A split's last event is on the queue; with the last position.
    Read(SplitKey, Option<Offset>),
    /// What became of a split that is taken back.
    Revoked(SplitKey, Revoked),
    /// A source gives no more in this run: the rest is the next one's.
    Exhausted(Error),
    /// It can't go on: the first error, which is the cause of those after it.
    Failed(Error),
    /// Something moved, for the first time since the last cut.
    Moved,
    /// The epoch has as many bytes as it may have.
    Full,
    /// A stream has another schema from here on.
    SchemaChanged,
    /// A source asks for a checkpoint, and what it is to cover is handed out.
    Requested,
    /// See [`Command::Rest`].
    AtRest(u64),
    /// See [`Command::Settle`].
    Settled,
    /// See [`Command::Drain`]. `schema_changed`: a changed schema holds the rest back.
    Drained { schema_changed: bool },
    /// See [`Command::Cut`]. `has_rows`: some came to a writer or a stage.
    Cut { cut: Cut, has_rows: bool },
    /// See [`Command::End`].
    Sealed(Sealed),
}

/// What an executor made durable of an epoch.
#[derive(Debug, Default, Serialize, Deserialize)]
pub(crate) struct Sealed {
    /// By sink.
    pub(crate) prepared: Vec<(ComponentId, Prepared)>,
    /// The rows that each component rejected, in the file's order.
    pub(crate) rejected: Vec<u64>,
}

/// How an executor is heard.
pub(crate) type Tell = Arc<dyn Fn(Said) + Send + Sync>;
