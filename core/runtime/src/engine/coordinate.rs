//! The coordinator: asks for splits, gives them to executors, cuts epochs and lets them end. It
//! decides what can be done now, then waits for whatever comes first, and never for one thing alone.
//!
//! ```text
//! sources asked ──┐
//! executors say ──┼──> wait ──> decide ──> ask, assign, cut, end an epoch, leave
//! the epoch ended ┤
//! time, stop ─────┘
//! ```

use std::sync::Arc;

use tidegate_core::{Error, ErrorKind, Result, SchemaChange, SplitId};
use tokio::sync::watch;
use tokio::task::JoinHandle;
use tokio::time::Instant;

use super::acknowledge::AGAIN;
use super::asking::{Answer, Answered};
use super::attempt::{Attempt, Outcome};
use super::cutting::Step;
use super::executors::Heard;
use super::finish::{Ended, remind};
use super::message::{Assignment, Command, Said};
use super::panics::broken;
use super::queue::{Closed, Revoked, SplitKey};
use super::shared::closed;
use super::some;
use super::splits::SourceSplits;

/// Why nothing more is read in this attempt. What was read is committed, then it ends.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Leaving {
    /// All input was read.
    Complete,
    /// A stop was asked for, or a source is exhausted.
    Stop,
    /// A stream has another schema from here on.
    SchemaChange,
}

impl Attempt {
    pub(super) async fn coordinate(&mut self, stop: &mut watch::Receiver<bool>) -> Result<Outcome> {
        self.common.stats.set_commits_parts(self.can_cut());
        self.stopped = *stop.borrow();
        loop {
            if let Some(outcome) = self.decide()? {
                return Ok(outcome);
            }
            self.wait(stop).await?;
        }
    }

    /// Does all that can be done now. Gives the outcome if there is nothing more to do.
    fn decide(&mut self) -> Result<Option<Outcome>> {
        self.now = Instant::now();
        if self.stopped && self.is_given_up() {
            self.common.stats.set_stopping();
            return self.outcome(Leaving::Stop).map(Some);
        }
        if self.leaving.is_none() {
            if let Some(leaving) = self.leaves() {
                self.leave(leaving)?;
            } else {
                self.ask_sources();
                self.assign();
                if self.executors.are_at_rest() && self.release_read() {
                    self.assign();
                }
                self.tell_complete();
                if self.sources.iter().all(SourceSplits::is_complete) {
                    self.leave(Leaving::Complete)?;
                }
            }
        }
        if self.ending.is_none()
            && let Some(cut) = self.cut.take()
        {
            self.end_epoch(cut)?;
        }
        if self.leaving.is_none()
            && self.ending.is_none()
            && self.remind_at.is_some_and(|at| at <= self.now)
        {
            self.remind();
        }
        if self.cutting.is_none() && self.cut.is_none() {
            match self.leaving {
                None => {
                    if self.wants_cut() {
                        self.start_cut();
                    } else {
                        self.check_stuck()?;
                    }
                }
                Some(_) if !self.left => self.start_cut(),
                Some(leaving) if self.ending.is_none() => return self.outcome(leaving).map(Some),
                Some(_) => {}
            }
        }
        if self.leaving.is_none() && self.wants_rest() {
            self.executors.ask_for_rest();
        }
        Ok(None)
    }

    /// Whether something can be done once nothing waits on a queue.
    fn wants_rest(&self) -> bool {
        let mut sources = self.sources.iter();
        match self.can_cut() {
            true => self.all_wait_for_commit(),
            false => sources.any(|source| source.is_idle() && source.waits_for_commit()),
        }
    }

    /// Nothing moves until what was read is committed.
    fn all_wait_for_commit(&self) -> bool {
        let mut sources = self.sources.iter();
        sources.all(|source| source.is_idle() || source.is_complete())
            && self.sources.iter().any(SourceSplits::waits_for_commit)
    }

    fn leaves(&self) -> Option<Leaving> {
        if self.stopped || self.exhausted.is_some() {
            return Some(Leaving::Stop);
        }
        self.schema_changed.then_some(Leaving::SchemaChange)
    }

    /// Begins to end the attempt: nothing more is asked for or started.
    fn leave(&mut self, leaving: Leaving) -> Result<()> {
        if leaving == Leaving::SchemaChange && !self.can_cut() {
            return Err(Error::schema(
                "a stream's schema changed in the middle of a run that is one epoch",
            )
            .hint("run it again: the new schema then holds from the beginning"));
        }
        if leaving == Leaving::Stop {
            self.common.stats.set_stopping();
        }
        self.leaving = Some(leaving);
        // A part of such a run means nothing.
        self.left = leaving == Leaving::Stop && !self.can_cut();
        self.asking.abort();
        // A cut that only waits for splits that are read whole isn't waited for.
        self.cutting.take_if(|cutting| cutting.step != Step::Cut);
        Ok(())
    }

    /// Whether a stop gives up all that was read: of a run that is one epoch a part means nothing, and
    /// nothing is committed of it before it is sealed, however long its last stages take.
    fn is_given_up(&self) -> bool {
        let ends = self.leaving == Some(Leaving::Complete) && !self.can_cut();
        ends && (!self.left || self.cut.is_some() || self.sealing.is_some())
    }

    fn outcome(&mut self, leaving: Leaving) -> Result<Outcome> {
        match leaving {
            Leaving::Complete => Ok(Outcome::Completed),
            Leaving::Stop => Ok(Outcome::Stopped {
                committed: self.can_cut(),
                exhausted: self.exhausted.take(),
            }),
            Leaving::SchemaChange => match self.options.on_schema_change {
                SchemaChange::Evolve => Ok(Outcome::SchemaChanged(None)),
                SchemaChange::Fail => Err(Error::schema("a stream's schema changed").hint(
                    "what was read before is committed; on_schema_change = \"evolve\" continues",
                )),
            },
        }
    }

    fn ask_sources(&mut self) {
        let whole = !self.can_cut();
        for (at, source) in self.sources.iter_mut().enumerate() {
            if source.wants_to_be_asked(whole, self.now) {
                self.asking.ask(&self.common, at, source, whole);
            }
        }
    }

    fn answered(&mut self, answer: Answer) -> Result<()> {
        let Answer { source: at, result } = answer;
        let answered = match result {
            Err(error) if error.kind() == ErrorKind::Exhausted => {
                self.exhausted.get_or_insert(error);
                return Ok(());
            }
            answered => answered?,
        };
        let source = &mut self.sources[at];
        let id = self.common.id(source.node);
        match answered {
            Answered::Planned(plan, told) => {
                source
                    .check(&plan)
                    .map_err(|error| error.with("component", id))?;
                if told.is_empty() && source.is_unchanged(&plan) {
                    source.take_up(plan);
                } else {
                    self.asking.store(&self.common, at, source, plan, told);
                    return Ok(());
                }
            }
            Answered::Stored(plan) => {
                let stats = &self.common.graph.nodes[source.node].stats;
                stats.add_splits(plan.new.len() as u64);
                let rows = plan.new.iter().filter_map(|split| split.estimate.rows);
                stats.add_expected_rows(rows.sum());
                let revoked = plan.revoked.clone();
                source.take_up(plan);
                for split in revoked {
                    self.revoke(at, split);
                }
            }
        }
        let whole = !self.can_cut();
        if self.sources[at].waits_for_nothing(whole) {
            return Err(
                Error::internal("a source waits for splits to finish, and has none")
                    .with("component", self.common.id(self.sources[at].node)),
            );
        }
        Ok(())
    }

    /// Reads no more of a split that its source takes back. What was handed out of it is committed soon.
    fn revoke(&mut self, at: usize, id: SplitId) {
        let source = &mut self.sources[at];
        if let Some((key, executor)) = source.reading(&id) {
            self.executors.tell(executor, Command::Revoke(key));
            return;
        }
        let Some(offset) = source.take_waiting(&id) else {
            return;
        };
        // So that it is acknowledged in the same way.
        let key = SplitKey {
            source: source.node,
            number: self.splits,
        };
        self.splits += 1;
        let stats = &self.common.graph.nodes[source.node].stats;
        stats.add_splits_done(1);
        source.was_revoked(key, id);
        self.taken_back.push((key, offset));
        self.requests.came();
    }

    fn was_revoked(&mut self, key: SplitKey, became: Revoked) -> Result<()> {
        let common = Arc::clone(&self.common);
        let Some(source) = self.source_of(key) else {
            return Ok(());
        };
        let Some(id) = source.id(key).cloned() else {
            return Ok(());
        };
        match became {
            Revoked::Finished => Ok(()),
            Revoked::AtPosition => {
                source.was_revoked(key, id);
                Ok(())
            }
            Revoked::InTheMiddle => Err(Error::transient(
                "a split was revoked between two positions: what was read of it is given up",
            )
            .with("component", common.id(key.source))
            .with("split", &id)),
        }
    }

    /// Gives splits that may be read to the executors that read the fewest of their source.
    fn assign(&mut self) {
        for source in &mut self.sources {
            while let Some((split, offset)) = source.startable() {
                let key = SplitKey {
                    source: source.node,
                    number: self.splits,
                };
                self.splits += 1;
                let all = self.executors.all().into_iter();
                let executor = all.min_by_key(|executor| source.read_by(*executor));
                let executor = executor.unwrap_or_default();
                let assignment = Assignment {
                    key,
                    split: split.clone(),
                    offset,
                };
                source.started(key, split, executor);
                let assign = Command::Assign(Box::new(assignment));
                self.executors.tell(executor, assign);
                self.executors.stirred();
            }
            source.tell_waiting(self.common.id(source.node));
        }
    }

    /// Tells executors of which sources no more will be read: stages wait for that.
    fn tell_complete(&mut self) {
        for source in &self.sources {
            if source.is_complete() && self.complete.insert(source.node) {
                let node = source.node;
                self.executors.tell_all(|| Command::Complete(node));
            }
        }
    }

    /// Whether a prefix of the run can be committed by itself.
    fn can_cut(&self) -> bool {
        let one_stage = self.bounded && self.common.graph.has_gather();
        !(one_stage || self.common.graph.has_session())
    }

    /// In a run that is one epoch, no commit tells that what comes after a split may start where
    /// order matters: all of its rows have been written, as nothing waits on the queue. Says whether
    /// some may.
    fn release_read(&mut self) -> bool {
        let one_epoch = !self.can_cut();
        let mut sources = self.sources.iter_mut();
        one_epoch && sources.any(SourceSplits::release_read)
    }

    /// Whether the epoch is to be cut now. At most two are in flight: while the one before ends, this
    /// one is filled, however long, unless it may have only so many bytes.
    fn wants_cut(&self) -> bool {
        let moved = self.executors.have_moved() || !self.taken_back.is_empty();
        if !self.can_cut() || !moved {
            return false;
        }
        if self.executors.are_full() {
            return true;
        }
        let waits = self.executors.are_at_rest() && self.all_wait_for_commit();
        let requested = self.requests.are_due(self.now);
        self.ending.is_none() && (waits || requested || self.cut_at <= self.now)
    }

    fn check_stuck(&self) -> Result<()> {
        match self.sources.iter().find(|source| source.is_stuck()) {
            None => Ok(()),
            Some(stuck) => Err(Error::internal(
                "a source's splits wait for splits that it doesn't have",
            )
            .with("component", self.common.id(stuck.node))),
        }
    }

    /// Waits for whatever comes first.
    async fn wait(&mut self, stop: &mut watch::Receiver<bool>) -> Result<()> {
        let deadline = self.deadline();
        tokio::select! {
            heard = self.executors.next() => {
                self.take(heard.ok_or_else(|| closed(Closed))?)?;
            }
            answer = self.asking.next() => self.answered(answer)?,
            ended = some(self.ending.as_mut()) => {
                self.ending = None;
                self.take_ended(joined(ended)?);
            }
            () = stop_changed(stop) => self.stopped = *stop.borrow(),
            () = async {
                match deadline {
                    Some(at) => tokio::time::sleep_until(at).await,
                    None => std::future::pending().await,
                }
            } => {}
        }
        while let Some(heard) = self.executors.said() {
            self.take(heard)?;
        }
        Ok(())
    }

    /// When there is something to do at the latest. What was due by the last decision waits for
    /// something else.
    fn deadline(&self) -> Option<Instant> {
        let asks = self.sources.iter().filter_map(SourceSplits::ask_at);
        asks.chain([self.cut_at])
            .chain(self.remind_at)
            .chain(self.requests.at())
            .filter(|at| *at > self.now)
            .min()
    }

    fn take(&mut self, (executor, said): Heard) -> Result<()> {
        match said {
            Said::Read(key, offset) => {
                self.executors.stirred();
                let ordered = self.common.graph.ordered();
                if let Some(source) = self.source_of(key) {
                    source.was_read(key, offset, ordered);
                }
            }
            Said::Revoked(key, became) => self.was_revoked(key, became)?,
            Said::Exhausted(error) => {
                self.exhausted.get_or_insert(error);
            }
            Said::Failed(error) if self.is_sealed() => {
                tracing::warn!(%error, "an executor failed when all of its work was done");
            }
            Said::Failed(error) => return Err(error),
            Said::Moved => self.executors.moved(executor),
            Said::Full => self.executors.filled(executor),
            Said::SchemaChanged => self.schema_changed = true,
            Said::Requested => self.requests.came(),
            Said::AtRest(number) => self.executors.rests(executor, number),
            Said::Settled => self.step_made(Step::Settle, executor),
            Said::Drained {
                schema_changed: true,
            } => {
                if self.leaving == Some(Leaving::Complete) {
                    self.leave(Leaving::SchemaChange)?;
                }
            }
            Said::Drained { .. } => self.step_made(Step::Drain, executor),
            Said::Cut { cut, has_rows } => self.cut_made(executor, cut, has_rows),
            Said::Sealed(sealed) => self.sealed(executor, sealed),
        }
        Ok(())
    }

    pub(super) fn source_of(&mut self, key: SplitKey) -> Option<&mut SourceSplits> {
        let mut sources = self.sources.iter_mut();
        sources.find(|source| source.node == key.source)
    }

    /// Whether executors have done all that there is to do.
    fn is_sealed(&self) -> bool {
        self.left && self.cutting.is_none() && self.cut.is_none() && self.sealing.is_none()
    }

    /// Tells sources what they couldn't be told.
    pub(super) fn remind(&mut self) {
        self.remind_at = None;
        let told = remind(
            Arc::clone(&self.common),
            std::mem::take(&mut self.unacknowledged),
            std::mem::take(&mut self.kept),
        );
        self.ending = Some(tokio::spawn(told));
    }

    fn take_ended(&mut self, ended: Ended) {
        self.kept = ended.kept;
        self.unacknowledged = ended.unacknowledged;
        let missed = !self.unacknowledged.is_empty();
        self.remind_at = missed.then(|| Instant::now() + AGAIN);
        let mut finished = std::mem::take(&mut self.unheard);
        finished.extend(ended.finished);
        for (key, id, offset) in finished {
            if self.unacknowledged.has(key.source, &id) {
                self.unheard.push((key, id, offset));
            } else if let Some(source) = self.source_of(key) {
                source.was_committed(key, offset);
            }
        }
    }
}

/// Waits until the wish to stop changes; forever, once nobody can have one.
async fn stop_changed(stop: &mut watch::Receiver<bool>) {
    if stop.changed().await.is_err() {
        std::future::pending().await
    }
}

fn joined(result: <JoinHandle<Result<Ended>> as Future>::Output) -> Result<Ended> {
    result.map_err(|error| broken("the end of an epoch", error))?
}
