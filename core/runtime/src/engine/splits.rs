//! A source's splits in one attempt: which wait, which are read, which are finished.

use std::collections::{BTreeMap, HashSet, VecDeque};
use std::sync::Arc;

use tidegate_core::{FinishedSplit, Next, Offset, PlanState, Scan, Source, Split, SplitId};
use tokio::task::JoinHandle;
use tokio::time::Instant;

use super::queue::SplitKey;
use crate::graph::NodeId;
use crate::state::SourceState;

/// See the module.
pub(crate) struct SourceSplits {
    pub(crate) node: NodeId,
    pub(crate) source: Arc<dyn Source>,
    pub(crate) scans: Arc<[Scan]>,
    pub(crate) plan: Option<PlanState>,
    pub(crate) next: Option<Next>,
    pub(crate) ask_at: Option<Instant>,
    /// In the order in which they were planned.
    waiting: VecDeque<(Split, Option<Offset>)>,
    reading: BTreeMap<SplitKey, (Split, JoinHandle<()>)>,
    /// Read to the end, and not yet in a stored checkpoint.
    read: BTreeMap<SplitKey, FinishedSplit>,
    /// In a stored checkpoint as finished, and not yet told to the source.
    finished: Vec<FinishedSplit>,
    /// Every split that isn't finished as far as `after` goes.
    unfinished: HashSet<SplitId>,
    most: usize,
}

impl SourceSplits {
    /// Goes on from what is stored.
    pub(crate) fn new(
        node: NodeId,
        source: Arc<dyn Source>,
        scans: Vec<Scan>,
        state: SourceState,
        most: usize,
    ) -> Self {
        let mut splits = Self {
            node,
            source,
            scans: scans.into(),
            plan: state.plan,
            next: state.next,
            ask_at: None,
            waiting: VecDeque::new(),
            reading: BTreeMap::new(),
            read: BTreeMap::new(),
            finished: Vec::new(),
            unfinished: HashSet::new(),
            most,
        };
        for stored in state.splits {
            if stored.finished {
                splits.finished.push(FinishedSplit {
                    split: stored.split,
                    offset: stored.offset,
                });
            } else {
                splits.unfinished.insert(stored.split.id.clone());
                splits.waiting.push_back((stored.split, stored.offset));
            }
        }
        splits
    }

    /// A new split whose id another one has, new or not yet finished.
    pub(crate) fn duplicate<'a>(&self, new: &'a [Split]) -> Option<&'a SplitId> {
        let mut ids = HashSet::new();
        let read: HashSet<_> = self.read.values().map(|read| &read.split.id).collect();
        new.iter()
            .map(|split| &split.id)
            .find(|id| self.unfinished.contains(*id) || read.contains(id) || !ids.insert(*id))
    }

    /// Takes up newly planned splits.
    pub(crate) fn add(&mut self, new: Vec<Split>) {
        for split in new {
            self.unfinished.insert(split.id.clone());
            self.waiting.push_back((split, None));
        }
    }

    /// The next split to read, if one may start: fewer are read than is useful, and all that it
    /// comes after are finished.
    pub(crate) fn startable(&mut self) -> Option<(Split, Option<Offset>)> {
        if self.reading.len() >= self.most {
            return None;
        }
        let at = self.waiting.iter().position(|(split, _)| {
            split
                .after
                .iter()
                .all(|before| !self.unfinished.contains(before))
        })?;
        self.waiting.remove(at)
    }

    pub(crate) fn started(&mut self, key: SplitKey, split: Split, task: JoinHandle<()>) {
        self.reading.insert(key, (split, task));
    }

    /// A split's last event is on the queue, and `offset` is its last position. Where order doesn't
    /// matter, what comes after it may start.
    pub(crate) fn was_read(&mut self, key: SplitKey, offset: Option<Offset>, ordered: bool) {
        if let Some((split, _)) = self.reading.remove(&key) {
            if !ordered {
                self.unfinished.remove(&split.id);
            }
            self.read.insert(key, FinishedSplit { split, offset });
        }
    }

    /// The id of a split that is being read, or was and isn't committed yet.
    pub(crate) fn id(&self, key: SplitKey) -> Option<&SplitId> {
        let reading = self.reading.get(&key).map(|(split, _)| &split.id);
        reading.or_else(|| self.read.get(&key).map(|read| &read.split.id))
    }

    /// A stored checkpoint has the split as finished, `offset` as its last position.
    pub(crate) fn was_committed(&mut self, id: &SplitId, offset: Option<Offset>) {
        self.unfinished.remove(id);
        let read = self
            .read
            .iter()
            .find(|(_, read)| read.split.id == *id)
            .map(|(key, _)| *key);
        if let Some(key) = read {
            self.finished.extend(self.read.remove(&key));
            return;
        }
        // Its reader has put the end on the queue, and hasn't come to say so.
        let reading = self
            .reading
            .iter()
            .find(|(_, (split, _))| split.id == *id)
            .map(|(key, _)| *key);
        if let Some((split, _)) = reading.and_then(|key| self.reading.remove(&key)) {
            self.finished.push(FinishedSplit { split, offset });
        }
    }

    /// Lets what comes after splits that have been read start. Says whether something may.
    pub(crate) fn release_read(&mut self) -> bool {
        let is_idle = self.is_idle();
        for read in self.read.values() {
            self.unfinished.remove(&read.split.id);
        }
        is_idle && !self.is_idle()
    }

    /// What the source is to be told as finished with the next question. `uncommitted`: with what
    /// no checkpoint has yet, in a run that restarts as a whole.
    pub(crate) fn take_news(&mut self, uncommitted: bool) -> Vec<FinishedSplit> {
        let mut splits = std::mem::take(&mut self.finished);
        if uncommitted {
            splits.extend(self.read.values().cloned());
        }
        splits
    }

    pub(crate) fn has_news(&self) -> bool {
        !self.finished.is_empty()
    }

    pub(crate) fn waits_for_commit(&self) -> bool {
        !self.read.is_empty()
    }

    /// Nothing is read, and nothing can be read.
    pub(crate) fn is_idle(&self) -> bool {
        self.reading.is_empty()
            && !self.waiting.iter().any(|(split, _)| {
                split
                    .after
                    .iter()
                    .all(|before| !self.unfinished.contains(before))
            })
    }

    /// All that was planned has been read, and nothing more will be planned.
    pub(crate) fn is_complete(&self) -> bool {
        self.next == Some(Next::Complete) && self.reading.is_empty() && self.waiting.is_empty()
    }

    /// Splits that wait for others that will never finish.
    pub(crate) fn is_stuck(&self) -> bool {
        !self.waiting.is_empty()
            && self.reading.is_empty()
            && self.read.is_empty()
            && self.is_idle()
    }

    /// Ends all reading, and waits until it has ended: dropping a reader's task drops the source's stream.
    pub(crate) async fn abort(&mut self) {
        for (_, task) in self.reading.values() {
            task.abort();
        }
        for (_, (_, task)) in std::mem::take(&mut self.reading) {
            // Cancelled, or ended by itself: both are an end.
            let _ = task.await;
        }
    }
}

impl Drop for SourceSplits {
    fn drop(&mut self) {
        for (_, task) in self.reading.values() {
            task.abort();
        }
    }
}
