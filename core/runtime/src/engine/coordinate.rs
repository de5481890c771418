//! The coordinator: asks for splits, starts readers, cuts epochs and lets them end. It decides what
//! can be done now, then waits for whatever comes first, and never for one thing alone.
//!
//! ```text
//! sources asked ──┐
//! splits read ────┤
//! the cut made ───┼──> wait ──> decide ──> ask, read, cut, end an epoch, leave
//! the epoch ended ┤
//! time, stop ─────┘
//! ```

use std::sync::Arc;

use futures::FutureExt;
use tidegate_core::{Error, ErrorKind, Result, SchemaChange, SplitId};
use tokio::sync::watch;
use tokio::task::JoinHandle;
use tokio::time::Instant;

use super::acknowledge::AGAIN;
use super::asking::{Answer, Answered};
use super::attempt::{Attempt, Outcome};
use super::finish::{Ended, Ending, finish, remind};
use super::queue::{Closed, Cut, Look, Revoked, SplitKey, Wants};
use super::reader;
use super::shared::{Signal, closed};
use super::splits::SourceSplits;
use super::stage;

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

/// What became of a cut.
pub(super) enum Made {
    Cut(Cut),
    /// Not all can be handed out: a changed schema holds the rest back.
    SchemaChanged,
}

impl Attempt {
    pub(super) async fn coordinate(&mut self, stop: &mut watch::Receiver<bool>) -> Result<Outcome> {
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
        let look = self.look();
        if self.leaving.is_none() {
            if let Some(leaving) = self.leaves(look) {
                self.leave(leaving)?;
            } else {
                self.ask_sources();
                self.start_readers();
                if look.empty && self.release_read() {
                    self.start_readers();
                }
                self.begin_stages()?;
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
        Ok(None)
    }

    fn look(&self) -> Look {
        let (can_cut, mut sources) = (self.can_cut(), self.sources.iter());
        let waits = match can_cut {
            true => self.all_wait_for_commit(),
            false => sources.any(|source| source.is_idle() && source.waits_for_commit()),
        };
        let is_due = self.cut_at <= self.now;
        let may_cut = can_cut && self.ending.is_none() && self.cutting.is_none();
        let queue = &self.shared.queue;
        queue.look(Wants {
            rest: waits && self.leaving.is_none(),
            movement: may_cut && (is_due || self.requests.are_due(queue, self.now)),
            past: self.requests.wait_for(queue).filter(|_| may_cut),
        })
    }

    /// Nothing moves until what was read is committed.
    fn all_wait_for_commit(&self) -> bool {
        let mut sources = self.sources.iter();
        sources.all(|source| source.is_idle() || source.is_complete())
            && self.sources.iter().any(SourceSplits::waits_for_commit)
    }

    fn leaves(&self, look: Look) -> Option<Leaving> {
        if self.stopped || self.exhausted.is_some() {
            return Some(Leaving::Stop);
        }
        look.schema_changed.then_some(Leaving::SchemaChange)
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
            self.shared.stats.set_stopping();
        }
        self.leaving = Some(leaving);
        // A part of such a run means nothing.
        self.left = leaving == Leaving::Stop && !self.can_cut();
        self.asking.abort();
        // A cut that only waits for splits that are read whole isn't waited for.
        self.cutting = None;
        Ok(())
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
                    "what was read before is committed; on_schema_change = \"evolve\" goes on",
                )),
            },
        }
    }

    fn ask_sources(&mut self) {
        let whole = !self.can_cut();
        for (at, source) in self.sources.iter_mut().enumerate() {
            if source.wants_to_be_asked(whole, self.now) {
                self.asking.ask(&self.shared, at, source, whole);
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
        let id = self.shared.id(source.node);
        match answered {
            Answered::Planned(plan, told) => {
                source
                    .check(&plan)
                    .map_err(|error| error.with("component", id))?;
                if told.is_empty() && source.is_unchanged(&plan) {
                    source.take_up(plan);
                } else {
                    self.asking.store(&self.shared, at, source, plan, told);
                    return Ok(());
                }
            }
            Answered::Stored(plan) => {
                let stats = &self.shared.graph.nodes[source.node].stats;
                stats.add_splits(plan.new.len() as u64);
                let rows = plan.new.iter().filter_map(|split| split.estimate.rows);
                stats.add_expected_rows(rows.sum());
                let revoked = plan.revoked.clone();
                source.take_up(plan);
                for split in revoked {
                    self.revoke(at, split)?;
                }
            }
        }
        let whole = !self.can_cut();
        if self.sources[at].waits_for_nothing(whole) {
            return Err(
                Error::internal("a source waits for splits to finish, and has none")
                    .with("component", self.shared.id(self.sources[at].node)),
            );
        }
        Ok(())
    }

    /// Reads no more of a split that its source takes back. What was handed out of it is committed soon.
    fn revoke(&mut self, at: usize, id: SplitId) -> Result<()> {
        let source = &mut self.sources[at];
        let queue = &self.shared.queue;
        let key = match source.reading(&id) {
            Some(key) => key,
            None => {
                let Some(offset) = source.take_waiting(&id) else {
                    return Ok(());
                };
                // So that it is acknowledged in the same way.
                let key = SplitKey {
                    source: source.node,
                    number: self.splits,
                };
                self.splits += 1;
                let whole = self.shared.graph.read_whole(key.source);
                queue.register(key, &id, whole, offset);
                key
            }
        };
        match queue.revoke(key) {
            Revoked::Finished => Ok(()),
            Revoked::AtPosition => {
                let stats = &self.shared.graph.nodes[source.node].stats;
                stats.add_splits_done(1);
                source.was_revoked(key, id);
                self.requests.came(queue);
                Ok(())
            }
            Revoked::InTheMiddle => Err(Error::transient(
                "a split was revoked between two positions: what was read of it is given up",
            )
            .with("component", self.shared.id(source.node))
            .with("split", &id)),
        }
    }

    fn start_readers(&mut self) {
        for source in &mut self.sources {
            while let Some((split, offset)) = source.startable() {
                let key = SplitKey {
                    source: source.node,
                    number: self.splits,
                };
                self.splits += 1;
                let scans = Arc::clone(&source.scans);
                let task = reader::start(
                    &self.shared,
                    &source.source,
                    key,
                    split.clone(),
                    scans,
                    offset,
                );
                source.started(key, split, task);
            }
            source.tell_waiting(self.shared.id(source.node));
        }
    }

    /// Begins the stages whose rows are there, or come, before the run's only epoch ends.
    fn begin_stages(&self) -> Result<()> {
        let Some(cpu) = self.cpu.as_ref().filter(|_| self.shared.stages.any()) else {
            return Ok(());
        };
        let reads = |source: &&SourceSplits| {
            !(source.is_complete() && self.shared.queue.is_through(source.node))
        };
        let read = self.sources.iter().filter(reads);
        let read = read.map(|source| source.node).collect();
        stage::begin(&self.shared, &self.shared.current(), cpu.handle(), &read)
    }

    /// Whether a prefix of the run can be committed by itself.
    fn can_cut(&self) -> bool {
        let one_stage = self.bounded && self.shared.graph.has_gather();
        !(one_stage || self.shared.graph.has_session())
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
    fn wants_cut(&mut self) -> bool {
        let requested = self.requests.are_due(&self.shared.queue, self.now);
        let look = self.look();
        if requested && !look.moved && !look.in_the_middle {
            self.requests.was_cut(&self.shared.queue, false);
        }
        if !self.can_cut() || !look.moved {
            return false;
        }
        let bytes = self.options.checkpoint.bytes;
        if bytes.is_some_and(|most| look.epoch_bytes >= most.0) {
            return true;
        }
        let waits = look.empty && self.all_wait_for_commit();
        self.ending.is_none() && (waits || requested || self.cut_at <= self.now)
    }

    fn check_stuck(&self) -> Result<()> {
        match self.sources.iter().find(|source| source.is_stuck()) {
            None => Ok(()),
            Some(stuck) => Err(Error::internal(
                "a source's splits wait for splits that it doesn't have",
            )
            .with("component", self.shared.id(stuck.node))),
        }
    }

    fn start_cut(&mut self) {
        let (shared, leaving) = (Arc::clone(&self.shared), self.leaving);
        let made = async move {
            match leaving {
                None => shared.queue.settle().await?,
                Some(Leaving::Complete) => {
                    if shared.queue.drain().await? {
                        return Ok(Made::SchemaChanged);
                    }
                }
                // Others needn't go on while a split is read to its end that is read whole.
                Some(Leaving::Stop | Leaving::SchemaChange) => {}
            }
            shared.queue.cut().await.map(Made::Cut)
        };
        self.cutting = Some(made.boxed());
    }

    /// Waits for whatever comes first.
    async fn wait(&mut self, stop: &mut watch::Receiver<bool>) -> Result<()> {
        let deadline = self.deadline();
        tokio::select! {
            signal = self.signals.recv() => self.take(signal)?,
            answer = self.asking.next() => self.answered(answer)?,
            made = some(self.cutting.as_mut()) => {
                self.cutting = None;
                self.cut_made(made.map_err(closed)?)?;
            }
            ended = some(self.ending.as_mut()) => {
                self.ending = None;
                self.take_ended(joined(ended)?);
            }
            () = stop_changed(stop) => self.stopped = *stop.borrow(),
            () = self.shared.queue.news() => {}
            () = self.shared.around.cuts.notified() => self.requests.came(&self.shared.queue),
            () = async {
                match deadline {
                    Some(at) => tokio::time::sleep_until(at).await,
                    None => std::future::pending().await,
                }
            } => {}
        }
        while let Ok(signal) = self.signals.try_recv() {
            self.take(Some(signal))?;
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

    fn take(&mut self, signal: Option<Signal>) -> Result<()> {
        match signal {
            Some(Signal::Read(key, offset)) => {
                let ordered = self.shared.graph.ordered();
                if let Some(source) = self.source_of(key) {
                    source.was_read(key, offset, ordered);
                }
                Ok(())
            }
            Some(Signal::Exhausted(error)) => {
                self.exhausted.get_or_insert(error);
                Ok(())
            }
            Some(Signal::Failed) | None => Err(closed(Closed)),
        }
    }

    fn source_of(&mut self, key: SplitKey) -> Option<&mut SourceSplits> {
        let mut sources = self.sources.iter_mut();
        sources.find(|source| source.node == key.source)
    }

    fn cut_made(&mut self, made: Made) -> Result<()> {
        match made {
            Made::Cut(cut) => {
                self.left = self.leaving.is_some();
                self.cut = Some(cut);
                Ok(())
            }
            Made::SchemaChanged => self.leave(Leaving::SchemaChange),
        }
    }

    /// Lets the epoch that was cut end beside the next one.
    fn end_epoch(&mut self, cut: Cut) -> Result<()> {
        let last = self.left && self.leaving == Some(Leaving::Complete);
        let set = self.shared.current();
        // A stage of a bounded run speaks even about no rows at all: a count of zero is a row.
        let speaks = set.has_rows() || (last && self.bounded);
        self.cut_at = Instant::now() + self.interval;
        if !cut.is_empty() || set.has_rows() || last {
            drop(set);
            self.requests.was_cut(&self.shared.queue, true);
            self.epoch = self.epoch.next();
            let set = self.shared.turn(self.shared.new_set(self.epoch)?);
            tracing::debug!(epoch = %set.epoch, bytes = cut.bytes, last, "epoch cut");
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
            let cpu = self.cpu.as_ref().filter(|_| speaks);
            let ending = Ending {
                set,
                last,
                stages: cpu.map(|cpu| cpu.handle().clone()),
                offsets,
                finished,
                revoked,
                schemas: cut.schemas,
                rejected: cut.rejected,
                unacknowledged: std::mem::take(&mut self.unacknowledged),
                kept: std::mem::take(&mut self.kept),
            };
            self.ending = Some(tokio::spawn(finish(Arc::clone(&self.shared), ending)));
        }
        if !self.left {
            self.shared.queue.reopen();
        }
        Ok(())
    }

    /// Tells sources what they couldn't be told.
    pub(super) fn remind(&mut self) {
        self.remind_at = None;
        let told = remind(
            Arc::clone(&self.shared),
            std::mem::take(&mut self.unacknowledged),
            std::mem::take(&mut self.kept),
        );
        self.ending = Some(tokio::spawn(told));
    }

    fn split_id(&mut self, key: SplitKey) -> Result<SplitId> {
        self.source_of(key)
            .and_then(|source| source.id(key).cloned())
            .ok_or_else(stray)
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

/// Waits for what is there; forever if nothing is.
async fn some<F: Future + Unpin>(work: Option<F>) -> F::Output {
    match work {
        Some(work) => work.await,
        None => std::future::pending().await,
    }
}

/// Waits until the wish to stop changes; forever, once nobody can have one.
async fn stop_changed(stop: &mut watch::Receiver<bool>) {
    if stop.changed().await.is_err() {
        std::future::pending().await
    }
}

fn stray() -> Error {
    Error::internal("a position belongs to no split")
}

fn joined(result: <JoinHandle<Result<Ended>> as Future>::Output) -> Result<Ended> {
    result.map_err(|error| Error::internal("the end of an epoch panicked").because(error))?
}
