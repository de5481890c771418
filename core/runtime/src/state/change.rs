//! What can happen to a pipeline's state.

use arrow_schema::Schema;
use tidegate_core::{
    ComponentId, Epoch, Next, Offset, PlanState, Prepared, Split, SplitId, StreamName, Token,
};

use super::RunState;

/// One atomic change of a pipeline's state.
#[derive(Debug, Clone)]
pub enum Change {
    /// A new run begins: splits and schemas of the one before are forgotten, plan states stay
    /// (or go back to what they were before it, if it never finished), but for those of the sources that
    /// it refreshes, which forget everything.
    BeginRun {
        /// The run.
        run: RunState,
    },
    /// The run continues with another configuration.
    Reconfigure {
        /// The run, with its new components.
        run: RunState,
    },
    /// A source has planned.
    Planned {
        /// The source.
        source: ComponentId,
        /// What it returned.
        plan: PlanState,
        /// When it wants to be asked again.
        next: Next,
        /// Its new splits.
        new: Vec<Split>,
        /// The finished splits that it was told of: the plan state remembers them from now on.
        told: Vec<SplitId>,
        /// Splits that it takes back: they are forgotten, unless they have finished.
        revoked: Vec<SplitId>,
    },
    /// A source's session is lost: its splits are forgotten and it is asked anew.
    Replan {
        /// The source.
        source: ComponentId,
    },
    /// A source can't use what it remembers: it is asked as if it had never run.
    Forget {
        /// The source.
        source: ComponentId,
    },
    /// A sink is about to begin something.
    Begun {
        /// The sink.
        sink: ComponentId,
        /// For which epoch.
        epoch: Epoch,
        /// What.
        token: Token,
    },
    /// An epoch is prepared: from here on it will be committed.
    Checkpoint(Checkpoint),
    /// An epoch's commit has ended.
    Committed {
        /// The epoch.
        epoch: Epoch,
        /// The sinks whose begun things of epochs up to this one are settled.
        settled: Vec<ComponentId>,
        /// Whether the run ends with it.
        last: bool,
    },
    /// A sink has discarded what it had begun and what isn't kept.
    Recovered {
        /// The sink.
        sink: ComponentId,
    },
    /// What a sink prepared for the run's end is given up ([`Change::Recovered`] is to follow).
    Forsake {
        /// The sink.
        sink: ComponentId,
    },
}

/// What an epoch's checkpoint holds.
#[derive(Debug, Clone)]
pub struct Checkpoint {
    /// The epoch.
    pub epoch: Epoch,
    /// Whether the run ends with it.
    pub last: bool,
    /// How far splits were read.
    pub offsets: Vec<(ComponentId, SplitId, Offset)>,
    /// The splits that were read to their end, and the last position of each.
    pub finished: Vec<(ComponentId, SplitId, Option<Offset>)>,
    /// Streams whose schema is another from here on.
    pub schemas: Vec<(ComponentId, StreamName, Schema)>,
    /// What is to be committed with this epoch.
    pub prepared: Vec<(ComponentId, Prepared)>,
    /// What is to be kept until the end of the run.
    pub kept: Vec<(ComponentId, Prepared)>,
}
