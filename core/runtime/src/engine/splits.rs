//! A source's splits in one attempt: which wait, which are read and where, which are finished.

use std::collections::{BTreeMap, HashSet, VecDeque};
use std::num::NonZeroUsize;
use std::sync::Arc;

use tidegate_core::{
    ComponentId, Error, FinishedSplit, Limits, Next, Offset, Plan, PlanState, Result, Scan, Source,
    Split, SplitId,
};
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
    /// It is being asked, and hasn't answered.
    pub(crate) asked: bool,
    /// In the order in which they were planned.
    waiting: VecDeque<(Split, Option<Offset>)>,
    /// With the executor that reads it, by its place.
    reading: BTreeMap<SplitKey, (Split, usize)>,
    /// Read to the end, and not yet in a stored checkpoint.
    read: BTreeMap<SplitKey, Read>,
    /// In a stored checkpoint as finished, and not yet told to the source.
    finished: Vec<FinishedSplit>,
    /// Taken back by the source, and not yet in a cut.
    revoked: BTreeMap<SplitKey, SplitId>,
    /// Every split that isn't finished as far as `after` goes.
    unfinished: HashSet<SplitId>,
    limits: Limits,
    /// How many are read at once.
    most: usize,
    /// It was said that some of them wait which could be read.
    told_waiting: bool,
}

/// A split that was read to its end.
struct Read {
    split: FinishedSplit,
    /// The source was told, before any checkpoint.
    told: bool,
}

impl SourceSplits {
    /// Resumes from what is stored. `usual`: how many splits are read at once, where the source says
    /// nothing of it.
    pub(crate) fn new(
        node: NodeId,
        source: Arc<dyn Source>,
        scans: Arc<[Scan]>,
        state: SourceState,
        usual: usize,
    ) -> Self {
        let limits = source.limits();
        let all = if limits.listens { usize::MAX } else { usual };
        let mut splits = Self {
            node,
            source,
            scans,
            plan: state.plan,
            next: state.next,
            ask_at: None,
            asked: false,
            waiting: VecDeque::new(),
            reading: BTreeMap::new(),
            read: BTreeMap::new(),
            finished: Vec::new(),
            revoked: BTreeMap::new(),
            unfinished: HashSet::new(),
            most: limits.splits.map_or(all, NonZeroUsize::get),
            limits,
            told_waiting: false,
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

    /// Whether the source is to be asked now. `whole`: the run restarts as a whole, so that what was
    /// read is told without a checkpoint.
    pub(crate) fn wants_to_be_asked(&self, whole: bool, now: Instant) -> bool {
        let has_news = !self.finished.is_empty();
        let may_be_told = whole && self.is_idle() && self.has_untold();
        match self.next {
            _ if self.asked => false,
            None => true,
            Some(Next::Complete) => false,
            Some(Next::WhenFinished) => has_news || may_be_told,
            Some(Next::AskAgain(_)) => has_news || self.ask_at.is_none_or(|at| at <= now),
        }
    }

    /// When it wants to be asked at the latest, if that is a matter of time.
    pub(crate) fn ask_at(&self) -> Option<Instant> {
        self.ask_at.filter(|_| !self.asked)
    }

    /// What the source is to be told as finished with the question that is put now. `whole`: with
    /// what no checkpoint has yet.
    pub(crate) fn ask(&mut self, whole: bool) -> Vec<FinishedSplit> {
        self.asked = true;
        let mut splits = std::mem::take(&mut self.finished);
        if whole {
            for read in self.read.values_mut().filter(|read| !read.told) {
                read.told = true;
                splits.push(read.split.clone());
            }
        }
        splits
    }

    /// Whether an answer changes nothing of what is stored.
    pub(crate) fn is_unchanged(&self, plan: &Plan) -> bool {
        plan.new.is_empty()
            && plan.revoked.is_empty()
            && self.plan.as_ref() == Some(&plan.state)
            && self.next == Some(plan.next)
    }

    /// Refuses an answer with a split that is there already.
    pub(crate) fn check(&self, plan: &Plan) -> Result<()> {
        let waiting = self.waiting.iter().map(|(split, _)| split);
        let reading = self.reading.values().map(|(split, _)| split);
        let read = self.read.values().map(|read| &read.split);
        let read = read.chain(&self.finished).map(|read| &read.split);
        let mut known: HashSet<_> = waiting
            .chain(reading)
            .chain(read)
            .map(|split| &split.id)
            .collect();
        match plan.new.iter().find(|split| !known.insert(&split.id)) {
            None => Ok(()),
            Some(twice) => Err(Error::internal("the source planned two splits with one id")
                .with("split", &twice.id)
                .hint(
                    "this is a bug of the source: each split that isn't finished has its own id",
                )),
        }
    }

    /// Takes up an answer that is stored.
    pub(crate) fn take_up(&mut self, plan: Plan) {
        self.asked = false;
        self.ask_at = match plan.next {
            Next::AskAgain(after) => Some(Instant::now() + after),
            _ => None,
        };
        self.plan = Some(plan.state);
        self.next = Some(plan.next);
        for split in plan.new {
            self.unfinished.insert(split.id.clone());
            self.waiting.push_back((split, None));
        }
    }

    /// Whether it waits for splits to finish, and there are none. `whole`: see
    /// [`SourceSplits::wants_to_be_asked`].
    pub(crate) fn waits_for_nothing(&self, whole: bool) -> bool {
        let will_be_told = match whole {
            true => self.has_untold(),
            false => !self.read.is_empty(),
        };
        self.next == Some(Next::WhenFinished)
            && self.waiting.is_empty()
            && self.reading.is_empty()
            && self.finished.is_empty()
            && !self.asked
            && !will_be_told
    }

    /// The next split to read, if one may start: fewer are read than is useful, and all that it
    /// comes after are finished.
    pub(crate) fn startable(&mut self) -> Option<(Split, Option<Offset>)> {
        if self.reading.len() >= self.most {
            return None;
        }
        let at = self
            .waiting
            .iter()
            .position(|(split, _)| self.may_start(split))?;
        self.waiting.remove(at)
    }

    /// Says once how many splits could be read and aren't, because of the limit, where those that are
    /// read may have no end.
    pub(crate) fn tell_waiting(&mut self, component: &ComponentId) {
        let endless = || self.source.streams().iter().any(|stream| !stream.bounded);
        if self.told_waiting || self.reading.len() < self.most || !endless() {
            return;
        }
        let waiting = self.waiting.iter();
        let waiting = waiting.filter(|(split, _)| self.may_start(split)).count();
        if waiting == 0 {
            return;
        }
        self.told_waiting = true;
        let open = self.most;
        if self.limits.listens {
            tracing::warn!(%component, open, waiting, "more splits are open than may be read at once: the others wait until one ends");
        } else {
            tracing::info!(%component, open, waiting, "more splits are there than are read at once: the others follow");
        }
    }

    fn may_start(&self, split: &Split) -> bool {
        let mut before = split.after.iter();
        before.all(|before| !self.unfinished.contains(before))
    }

    pub(crate) fn started(&mut self, key: SplitKey, split: Split, executor: usize) {
        self.reading.insert(key, (split, executor));
    }

    /// How many of them an executor reads.
    pub(crate) fn read_by(&self, executor: usize) -> usize {
        let reading = self.reading.values();
        reading.filter(|(_, reader)| *reader == executor).count()
    }

    /// A split's last event is on the queue, and `offset` is its last position. Where order doesn't
    /// matter, what comes after it may start.
    pub(crate) fn was_read(&mut self, key: SplitKey, offset: Option<Offset>, ordered: bool) {
        if let Some((split, _)) = self.reading.remove(&key) {
            if !ordered {
                self.unfinished.remove(&split.id);
            }
            let split = FinishedSplit { split, offset };
            self.read.insert(key, Read { split, told: false });
        }
    }

    /// The id of a split that is being read, or was and isn't committed yet.
    pub(crate) fn id(&self, key: SplitKey) -> Option<&SplitId> {
        let reading = self.reading.get(&key).map(|(split, _)| &split.id);
        let read = || self.read.get(&key).map(|read| &read.split.split.id);
        reading.or_else(read).or_else(|| self.revoked.get(&key))
    }

    /// The key of a split that is being read, and the executor that reads it.
    pub(crate) fn reading(&self, id: &SplitId) -> Option<(SplitKey, usize)> {
        let mut reading = self.reading.iter();
        reading.find_map(|(key, (split, reader))| (split.id == *id).then_some((*key, *reader)))
    }

    /// Takes a split out that waits; with the position up to which it is committed.
    pub(crate) fn take_waiting(&mut self, id: &SplitId) -> Option<Option<Offset>> {
        let at = self.waiting.iter().position(|(split, _)| split.id == *id)?;
        self.waiting.remove(at).map(|(_, offset)| offset)
    }

    /// A split isn't read any more, because the source takes it back.
    pub(crate) fn was_revoked(&mut self, key: SplitKey, id: SplitId) {
        self.reading.remove(&key);
        self.unfinished.remove(&id);
        self.revoked.insert(key, id);
    }

    /// A split that was revoked is in a cut.
    pub(crate) fn take_revoked(&mut self, key: SplitKey) -> Option<SplitId> {
        self.revoked.remove(&key)
    }

    /// A stored checkpoint has the split as finished, `offset` as its last position.
    pub(crate) fn was_committed(&mut self, key: SplitKey, offset: Option<Offset>) {
        let (split, told) = match (self.read.remove(&key), self.reading.remove(&key)) {
            (Some(Read { split, told }), _) => (split, told),
            // Its reader has put the end on the queue, and hasn't come to say so.
            (None, Some((split, _))) => (FinishedSplit { split, offset }, false),
            (None, None) => return,
        };
        self.unfinished.remove(&split.split.id);
        if !told {
            self.finished.push(split);
        }
    }

    /// Lets what comes after splits that have been read start. Says whether something may.
    pub(crate) fn release_read(&mut self) -> bool {
        let is_idle = self.is_idle();
        for read in self.read.values() {
            self.unfinished.remove(&read.split.split.id);
        }
        is_idle && !self.is_idle()
    }

    pub(crate) fn waits_for_commit(&self) -> bool {
        !self.read.is_empty()
    }

    fn has_untold(&self) -> bool {
        self.read.values().any(|read| !read.told)
    }

    /// Nothing is read, and nothing can be read.
    pub(crate) fn is_idle(&self) -> bool {
        self.reading.is_empty() && !self.waiting.iter().any(|(split, _)| self.may_start(split))
    }

    /// All that was planned has been read, and nothing more will be planned.
    pub(crate) fn is_complete(&self) -> bool {
        self.next == Some(Next::Complete)
            && !self.asked
            && self.reading.is_empty()
            && self.waiting.is_empty()
    }

    /// Splits that wait for others that will never finish.
    pub(crate) fn is_stuck(&self) -> bool {
        !self.waiting.is_empty()
            && !self.asked
            && self.reading.is_empty()
            && self.read.is_empty()
            && self.is_idle()
    }
}
