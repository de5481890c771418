//! A cut of all executors, and the end of an epoch that begins with it.

use std::collections::BTreeSet;
use std::sync::Arc;

use tidegate_core::{Error, Result, SplitId};
use tokio::sync::oneshot;
use tokio::time::Instant;

use super::attempt::{Attempt, Sealing};
use super::coordinate::Leaving;
use super::executors::Executors;
use super::finish::{Ending, finish};
use super::message::{Command, Sealed};
use super::queue::{Cut, SplitKey};

/// A cut of all executors that is being made, step by step: each step is begun when all have made the
/// one before.
pub(crate) struct Cutting {
    pub(crate) step: Step,
    /// All was handed out before, because no more will come.
    pub(crate) drained: bool,
    pub(crate) waiting: BTreeSet<usize>,
    pub(crate) cut: Cut,
    pub(crate) has_rows: bool,
}

/// See [`Command`].
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Step {
    Settle,
    Drain,
    Cut,
}

impl Step {
    pub(crate) fn command(self) -> Command {
        match self {
            Self::Settle => Command::Settle,
            Self::Drain => Command::Drain,
            Self::Cut => Command::Cut,
        }
    }
}

impl Cutting {
    pub(crate) fn begin(step: Step, executors: &Executors) -> Self {
        executors.tell_all(|| step.command());
        Self {
            step,
            drained: step == Step::Drain,
            waiting: executors.all(),
            cut: Cut::default(),
            has_rows: false,
        }
    }

    /// An executor has made a step. Says whether all have. An answer to a step that was given up says
    /// nothing.
    pub(crate) fn made(&mut self, step: Step, executor: usize) -> bool {
        step == self.step && self.waiting.remove(&executor) && self.waiting.is_empty()
    }

    /// Continues to the last step.
    pub(crate) fn cut(&mut self, executors: &Executors) {
        executors.tell_all(|| Command::Cut);
        self.step = Step::Cut;
        self.waiting = executors.all();
    }
}

/// A cut of all executors.
pub(super) struct Joined {
    cut: Cut,
    /// Some rows came to a writer or a stage.
    has_rows: bool,
}

impl Attempt {
    pub(super) fn start_cut(&mut self) {
        let step = match self.leaving {
            None => Step::Settle,
            Some(Leaving::Complete) => Step::Drain,
            // Others needn't go on while a split is read to its end that is read whole.
            Some(Leaving::Stop | Leaving::SchemaChange) => Step::Cut,
        };
        self.cutting = Some(Cutting::begin(step, &self.executors));
    }

    pub(super) fn step_made(&mut self, step: Step, executor: usize) {
        if let Some(cutting) = &mut self.cutting
            && cutting.made(step, executor)
        {
            cutting.cut(&self.executors);
        }
    }

    pub(super) fn cut_made(&mut self, executor: usize, cut: Cut, has_rows: bool) {
        self.executors.was_cut(executor);
        let Some(cutting) = &mut self.cutting else {
            return;
        };
        cutting.cut.join(cut);
        cutting.has_rows |= has_rows;
        if !cutting.made(Step::Cut, executor) {
            return;
        }
        let Some(made) = self.cutting.take() else {
            return;
        };
        self.left = match self.leaving {
            None => false,
            Some(Leaving::Complete) => made.drained,
            Some(Leaving::Stop | Leaving::SchemaChange) => true,
        };
        self.requests.were_met();
        let mut joined = Joined {
            cut: made.cut,
            has_rows: made.has_rows,
        };
        joined.cut.revoked.append(&mut self.taken_back);
        self.cut = Some(joined);
    }

    pub(super) fn sealed(&mut self, executor: usize, sealed: Sealed) {
        if let Some(sealing) = &mut self.sealing {
            sealing.waiting.remove(&executor);
            sealing.sealed.push(sealed);
        }
        let done = self.sealing.take_if(|sealing| sealing.waiting.is_empty());
        if let Some(Sealing { sealed, done, .. }) = done {
            // Who waits for it is gone only when the attempt is over.
            let _ = done.send(sealed);
        }
    }

    /// Lets the epoch that was cut end beside the next one.
    pub(super) fn end_epoch(&mut self, joined: Joined) -> Result<()> {
        let Joined { cut, has_rows } = joined;
        let last = self.left && self.leaving == Some(Leaving::Complete);
        // A stage of a bounded run speaks even about no rows at all: a count of zero is a row.
        let stages = has_rows || (last && self.bounded);
        self.cut_at = Instant::now() + self.interval;
        if !cut.is_empty() || has_rows || last {
            self.requests.was_cut();
            let epoch = self.epoch;
            self.epoch = epoch.next();
            let next = self.epoch;
            self.executors.tell_all(|| Command::End { next, stages });
            tracing::debug!(%epoch, bytes = cut.bytes, last, "epoch cut");
            let (done, sealed) = oneshot::channel();
            self.sealing = Some(Sealing {
                waiting: self.executors.all(),
                sealed: Vec::new(),
                done,
            });
            let mut offsets = Vec::new();
            for (key, offset) in cut.offsets {
                offsets.push((key, self.split_id(key)?, offset));
            }
            let mut finished = Vec::new();
            for (key, offset) in cut.finished {
                finished.push((key, self.split_id(key)?, offset));
            }
            let mut revoked = Vec::new();
            for (key, offset) in cut.revoked {
                let id = self
                    .source_of(key)
                    .and_then(|source| source.take_revoked(key));
                let id = id.ok_or_else(stray)?;
                revoked.push((key, id, offset));
            }
            let ending = Ending {
                epoch,
                last,
                sealed,
                offsets,
                finished,
                revoked,
                schemas: cut.schemas,
                rejected: cut.rejected.into_iter().collect(),
                unacknowledged: std::mem::take(&mut self.unacknowledged),
                kept: std::mem::take(&mut self.kept),
            };
            self.ending = Some(tokio::spawn(finish(Arc::clone(&self.common), ending)));
        }
        if !self.left {
            self.executors.tell_all(|| Command::Reopen);
        }
        Ok(())
    }

    fn split_id(&mut self, key: SplitKey) -> Result<SplitId> {
        self.source_of(key)
            .and_then(|source| source.id(key).cloned())
            .ok_or_else(stray)
    }
}

fn stray() -> Error {
    Error::internal("a position belongs to no split")
}
