//! The one queue between readers and workers, and the place where epochs are cut.
//!
//! Handing out an event is what moves its split's position. So an epoch is cut by handing out no
//! more, waiting until the workers are done with what they have, and reading the positions: no
//! alignment, no barriers. A split between two events that carry no position is *in the middle*;
//! during a cut, only such splits go on. One that can only be read whole is in the middle until its
//! end, which may take long. So a cut first *settles*: everything continues, but no such split begins,
//! and the others are held back only when the last one has ended.

use std::collections::{HashMap, VecDeque};
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use arrow_schema::SchemaRef;
use serde::{Deserialize, Serialize};
use tidegate_core::{Event, Offset, Rejected, Rows, SplitId, StreamName};
use tokio::sync::Notify;

use super::flow::EpochSet;
use super::gate::{Gates, Place, Sinks};
use crate::graph::{NodeId, PortId};

/// A split in this attempt: its source, and a number that counts all splits.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
pub(crate) struct SplitKey {
    pub(crate) source: NodeId,
    pub(crate) number: usize,
}

/// What a worker gets.
pub(crate) enum Handed {
    /// Something to do.
    Work(Work),
    /// Nothing to do now: let go of what is held back.
    Flush,
    /// The end.
    Closed,
}

/// Rows on their way to a worker.
pub(crate) struct Work {
    pub(crate) from: From,
    pub(crate) rows: Rows,
    pub(crate) rejected: Option<Rejected>,
    /// Of which event they are; `None`: of a stage.
    pub(crate) mark: Option<Mark>,
}

/// Which event of a split it is.
#[derive(Debug, Clone)]
pub(crate) struct Mark {
    pub(crate) split: SplitId,
    /// Whether the rest is known: some sink wants origins.
    pub(crate) origins: bool,
    /// The last position before it.
    pub(crate) offset: Option<Offset>,
    /// How many events came between that position and this one.
    pub(crate) number: u32,
}

/// Where rows come from.
pub(crate) enum From {
    /// A stream of a source, read from a split; they belong to the epoch that is being filled.
    Stream(SplitKey, StreamName),
    /// A stage of an epoch that is ending.
    Stage(PortId, Arc<EpochSet>),
}

/// What rows are handed out for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Purpose {
    /// The epoch that is being filled: a cut waits for them.
    Filling,
    /// The one that is ending: its end waits for them.
    Ending,
}

impl Work {
    pub(crate) fn purpose(&self) -> Purpose {
        match self.from {
            From::Stream(..) => Purpose::Filling,
            From::Stage(..) => Purpose::Ending,
        }
    }
}

/// What the positions are when an epoch has been cut.
#[derive(Debug, Default, Serialize, Deserialize)]
pub(crate) struct Cut {
    pub(crate) offsets: Vec<(SplitKey, Offset)>,
    /// With the last position of each.
    pub(crate) finished: Vec<(SplitKey, Option<Offset>)>,
    /// Splits that were revoked, with the last position of each.
    pub(crate) revoked: Vec<(SplitKey, Option<Offset>)>,
    /// Rows of splits that were rejected before they came to a sink or a stage.
    pub(crate) rejected: Vec<(SplitKey, u64)>,
    pub(crate) schemas: Vec<(NodeId, StreamName, SchemaRef)>,
    /// Bytes handed out in the epoch.
    pub(crate) bytes: u64,
}

impl Cut {
    /// Adds where another executor's splits stand.
    pub(crate) fn join(&mut self, other: Self) {
        self.offsets.extend(other.offsets);
        self.finished.extend(other.finished);
        self.revoked.extend(other.revoked);
        self.rejected.extend(other.rejected);
        self.schemas.extend(other.schemas);
        self.bytes += other.bytes;
    }

    pub(crate) fn is_empty(&self) -> bool {
        self.offsets.is_empty()
            && self.finished.is_empty()
            && self.revoked.is_empty()
            && self.schemas.is_empty()
    }
}

/// Nothing more is taken: the attempt is over, or the split was revoked.
#[derive(Debug)]
pub(crate) struct Closed;

/// What became of a split that its source takes back.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) enum Revoked {
    /// It stands at a position, up to which it is committed with the next cut.
    AtPosition,
    /// Something of it was handed out that has no position.
    InTheMiddle,
    /// It was read to its end before.
    Finished,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Mode {
    /// Everything is handed out.
    Open,
    /// Everything is, and nothing is held back: no more will come.
    Draining,
    /// Everything is, but no split begins that can only be read whole: a cut is wanted.
    Settling,
    /// Only splits in the middle, and stages, are.
    Cutting,
    /// Nothing is, ever again.
    Closed,
}

enum Kind {
    Work(Work, Option<Offset>),
    Progress(Offset),
    Schema(StreamName, SchemaRef, Offset),
    End,
}

struct Item {
    /// Counts all items.
    number: u64,
    /// `None`: a stage's output, which belongs to the epoch that is ending.
    split: Option<SplitKey>,
    /// The only worker that may take it, where order matters.
    pinned: Option<usize>,
    size: usize,
    /// The sinks that its rows come to.
    sinks: Sinks,
    /// It passed a full queue, because a cut waits for it.
    passed: bool,
    kind: Kind,
}

#[derive(Debug)]
struct Position {
    id: SplitId,
    /// The streams of its source that can only be read whole.
    whole: Arc<[StreamName]>,
    offset: Option<Offset>,
    /// Events handed out since.
    events: u32,
    moved: bool,
    in_the_middle: bool,
    /// Rows of a stream that can only be read whole were put on the queue.
    begun: bool,
    /// Of a split that is read whole: something of it was handed out.
    handed_out: bool,
    finished: bool,
    revoked: bool,
    /// Its stream's schema changed: it resumes in the next attempt.
    held: bool,
    /// Rows that were rejected since the last cut.
    rejected: u64,
}

impl Position {
    fn is_over(&self) -> bool {
        self.finished || self.revoked
    }
}

struct State {
    mode: Mode,
    items: VecDeque<Item>,
    waiting_bytes: usize,
    passing_bytes: usize,
    epoch_bytes: u64,
    /// How much was put on the queue so far.
    put: u64,
    /// Something moved since the last cut.
    moved: bool,
    /// Work of splits that is handed out and not yet done with.
    out: usize,
    /// The same, by source; only if a stage may begin when one has ended.
    out_of: HashMap<NodeId, usize>,
    /// Work of stages that waits or is handed out, and isn't done with.
    staged: usize,
    in_the_middle: usize,
    /// Splits that can only be read whole and have begun.
    begun: usize,
    wants: Wants,
    positions: HashMap<SplitKey, Position>,
    newly_finished: Vec<SplitKey>,
    newly_revoked: Vec<SplitKey>,
    schemas: Vec<(NodeId, StreamName, SchemaRef)>,
}

/// See the module.
pub(crate) struct Queue {
    state: Mutex<State>,
    work: Condvar,
    room: Notify,
    quiet: Notify,
    news: Notify,
    capacity: usize,
    /// How many bytes an epoch may have before it is to be cut.
    full: Option<u64>,
    workers: usize,
    ordered: bool,
    gates: Gates,
    origins: bool,
}

/// How long a worker without work holds small batches back, to join them with the next.
const LINGER: Duration = Duration::from_millis(20);

impl Queue {
    pub(crate) fn new(capacity: usize, full: Option<u64>, workers: usize, ordered: bool) -> Self {
        Self {
            state: Mutex::new(State {
                mode: Mode::Open,
                items: VecDeque::new(),
                waiting_bytes: 0,
                passing_bytes: 0,
                epoch_bytes: 0,
                put: 0,
                moved: false,
                out: 0,
                out_of: HashMap::new(),
                staged: 0,
                in_the_middle: 0,
                begun: 0,
                wants: Wants::default(),
                positions: HashMap::new(),
                newly_finished: Vec::new(),
                newly_revoked: Vec::new(),
                schemas: Vec::new(),
            }),
            work: Condvar::new(),
            room: Notify::new(),
            quiet: Notify::new(),
            news: Notify::new(),
            capacity,
            full,
            workers,
            ordered,
            gates: Gates::default(),
            origins: false,
        }
    }

    /// With the gates of sinks, and whether one of them wants to know where rows come from.
    pub(crate) fn with_sinks(self, gates: Gates, origins: bool) -> Self {
        Self {
            gates,
            origins,
            ..self
        }
    }

    /// Counts what begins to wait for an I/O sink or a stage.
    pub(crate) fn enter(&self, place: Place, bytes: u64) {
        if self.gates.enter(place, bytes) {
            // What leads elsewhere may pass now.
            self.room.notify_waiters();
        }
    }

    /// Counts what an I/O sink or a stage is done with.
    pub(crate) fn leave(&self, place: Place, bytes: u64) {
        if self.gates.leave(place, bytes) {
            // So that no worker is between its look and its wait.
            drop(self.lock());
            self.work.notify_all();
        }
    }

    /// Holds back what leads there, until it is opened.
    pub(crate) fn shut(&self, place: Place) {
        self.enter(place, Gates::MUCH);
    }

    /// Hands out again what leads to a place that was shut.
    pub(crate) fn open(&self, place: Place) {
        self.leave(place, Gates::MUCH);
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Makes a split known before its first event; it is read from after `offset`. `whole` are the
    /// streams of its source that can only be read whole.
    pub(crate) fn register(
        &self,
        split: SplitKey,
        id: &SplitId,
        whole: Arc<[StreamName]>,
        offset: Option<Offset>,
    ) {
        let position = Position {
            id: id.clone(),
            whole,
            offset,
            events: 0,
            moved: false,
            in_the_middle: false,
            begun: false,
            handed_out: false,
            finished: false,
            revoked: false,
            held: false,
            rejected: 0,
        };
        self.lock().positions.insert(split, position);
    }

    /// Puts a split's next event on the queue; waits while the queue is full.
    pub(crate) async fn push(&self, split: SplitKey, event: Event) -> Result<(), Closed> {
        let (kind, size) = match event {
            Event::Rows {
                stream,
                rows,
                rejected,
                resume,
            } => {
                let size = rows.size();
                let work = Work {
                    from: From::Stream(split, stream),
                    rows,
                    rejected,
                    mark: None,
                };
                (Kind::Work(work, resume), size)
            }
            Event::Progress(offset) => (Kind::Progress(offset), 0),
            Event::Schema {
                stream,
                schema,
                resume,
            } => (Kind::Schema(stream, schema, resume), 0),
        };
        self.put(Some(split), self.pinned(split), kind, size).await
    }

    /// Says that a split has been read to its end.
    pub(crate) async fn push_end(&self, split: SplitKey) -> Result<(), Closed> {
        self.put(Some(split), self.pinned(split), Kind::End, 0)
            .await
    }

    /// The worker that has all of a split's events, where a sink asks for order.
    fn pinned(&self, split: SplitKey) -> Option<usize> {
        self.ordered.then(|| split.number % self.workers)
    }

    /// Waits until all of a split's events are handed out. Says whether it stands at a position then.
    pub(crate) async fn handed_out(&self, split: SplitKey) -> Result<bool, Closed> {
        loop {
            let room = self.room.notified();
            tokio::pin!(room);
            room.as_mut().enable();
            {
                let state = self.lock();
                if state.mode == Mode::Closed {
                    return Err(Closed);
                }
                if !state.is_wanted(split) {
                    return Err(Closed);
                }
                if !state.items.iter().any(|item| item.split == Some(split)) {
                    return Ok(!state.is_in_the_middle(split));
                }
            }
            room.await;
        }
    }

    /// Puts a stage's output on the queue. `partition` stays in order where order matters: to a sink,
    /// or if it is `ordered`.
    pub(crate) async fn push_stage(
        &self,
        set: &Arc<EpochSet>,
        port: PortId,
        partition: usize,
        ordered: bool,
        rows: Rows,
    ) -> Result<(), Closed> {
        let size = rows.size();
        let work = Work {
            from: From::Stage(port, Arc::clone(set)),
            rows,
            rejected: None,
            mark: None,
        };
        let ordered = ordered || self.ordered;
        let pinned = ordered.then(|| partition % self.workers);
        self.put(None, pinned, Kind::Work(work, None), size).await
    }

    async fn put(
        &self,
        split: Option<SplitKey>,
        pinned: Option<usize>,
        kind: Kind,
        size: usize,
    ) -> Result<(), Closed> {
        let sinks = match &kind {
            Kind::Work(work, _) => self.gates.reached(&work.from),
            _ => 0,
        };
        let mut item = Some(Item {
            number: 0,
            split,
            pinned,
            size,
            sinks,
            passed: false,
            kind,
        });
        loop {
            let room = self.room.notified();
            tokio::pin!(room);
            room.as_mut().enable();
            {
                let mut state = self.lock();
                if state.mode == Mode::Closed || !split.is_none_or(|split| state.is_wanted(split)) {
                    return Err(Closed);
                }
                // While a cut waits for this split, its events pass the others in the queue.
                let passes = state.mode == Mode::Cutting
                    && state.passing_bytes < self.capacity
                    && split.is_none_or(|split| state.is_in_the_middle(split));
                let shut = self.gates.shut();
                // What waits before a shut gate takes no room from what leads elsewhere.
                let has_room = state.waiting_bytes < self.capacity
                    || (shut & sinks == 0
                        && state.waiting_bytes < self.capacity + state.shut_out(shut));
                if (has_room || passes) && item.as_ref().is_none_or(|item| state.may_go_on(item)) {
                    if let Some(mut item) = item.take() {
                        item.passed = !has_room;
                        item.number = state.put;
                        state.put += 1;
                        *state.counted(&item) += item.size;
                        state.staged += usize::from(split.is_none());
                        state.items.push_back(item);
                    }
                    drop(state);
                    if pinned.is_some() {
                        self.work.notify_all();
                    } else {
                        self.work.notify_one();
                    }
                    return Ok(());
                }
            }
            room.await;
        }
    }

    /// The next thing for `worker` to do. `holding`: whether it holds small batches back. Returns
    /// with the time it had to wait.
    pub(crate) fn next(&self, worker: usize, holding: bool) -> (Handed, Duration) {
        let asked = Instant::now();
        let mut state = self.lock();
        loop {
            if state.mode == Mode::Closed {
                return (Handed::Closed, asked.elapsed());
            }
            if let Some(at) = state.eligible(worker, self.gates.shut()) {
                let Some(item) = state.items.remove(at) else {
                    continue;
                };
                *state.counted(&item) -= item.size;
                let before = state.epoch_bytes;
                let work = state.hand_out(item, self.origins);
                self.room.notify_waiters();
                let is_full = |bytes| self.full.is_some_and(|full| bytes >= full);
                if is_full(state.epoch_bytes) && !is_full(before) {
                    self.news.notify_one();
                }
                self.tell_what_waits(&mut state);
                match work {
                    Some(work) => return (Handed::Work(work), asked.elapsed()),
                    None => {
                        // Perhaps the end of a source's last split.
                        self.news.notify_one();
                        continue;
                    }
                }
            }
            if holding && (state.mode != Mode::Open || asked.elapsed() >= LINGER) {
                return (Handed::Flush, asked.elapsed());
            }
            state = if holding {
                self.work
                    .wait_timeout(state, LINGER)
                    .unwrap_or_else(PoisonError::into_inner)
                    .0
            } else {
                self.work
                    .wait(state)
                    .unwrap_or_else(PoisonError::into_inner)
            };
        }
    }

    /// Says that a worker is done with so many of the things it was handed for this.
    pub(crate) fn done(&self, purpose: Purpose, count: usize) {
        let mut state = self.lock();
        match purpose {
            Purpose::Filling => state.out -= count,
            Purpose::Ending => state.staged -= count,
        }
        self.tell_what_waits(&mut state);
    }

    /// Says that so much of a source that was handed out has come to writers and stages.
    pub(crate) fn came_through(&self, source: NodeId, count: usize) {
        let mut state = self.lock();
        let left = state.out_of.entry(source).or_default();
        *left -= count;
        if *left == 0 {
            self.news.notify_one();
        }
    }

    /// Whether all that was put on the queue of a source has come to writers and stages.
    pub(crate) fn is_through(&self, source: NodeId) -> bool {
        let state = self.lock();
        let mut splits = state.items.iter().filter_map(|item| item.split);
        state.out_of.get(&source).is_none_or(|left| *left == 0)
            && !splits.any(|split| split.source == source)
    }

    /// Takes nothing more of a split, and drops what waits of it.
    pub(crate) fn revoke(&self, split: SplitKey) -> Revoked {
        let mut state = self.lock();
        let in_the_middle = match state.positions.get(&split) {
            Some(position) if !position.finished => position.in_the_middle || position.handed_out,
            _ => return Revoked::Finished,
        };
        if in_the_middle {
            return Revoked::InTheMiddle;
        }
        let state = &mut *state;
        if let Some(position) = state.positions.get_mut(&split) {
            position.revoked = true;
            state.begun -= usize::from(std::mem::take(&mut position.begun));
        }
        for item in std::mem::take(&mut state.items) {
            if item.split == Some(split) {
                *state.counted(&item) -= item.size;
            } else {
                state.items.push_back(item);
            }
        }
        state.newly_revoked.push(split);
        state.moved = true;
        self.room.notify_waiters();
        self.tell_what_waits(state);
        Revoked::AtPosition
    }

    /// Says that rows of a split were rejected.
    pub(crate) fn rejected(&self, split: SplitKey, rows: u64) {
        if let Some(position) = self.lock().positions.get_mut(&split) {
            position.rejected += rows;
        }
    }

    /// Wakes those that wait for the queue to come to rest, and the coordinator if something came
    /// about that it wants to know.
    fn tell_what_waits(&self, state: &mut State) {
        if state.out == 0 || state.staged == 0 || state.begun == 0 {
            self.quiet.notify_waiters();
        }
        let look = state.look();
        let wants = state.wants;
        if look.schema_changed
            || (wants.rest && look.empty)
            || (wants.movement && look.moved)
            || wants.past.is_some_and(|number| state.is_past(number))
        {
            state.wants = Wants::default();
            self.news.notify_one();
        }
    }

    /// Waits until there may be something to do for the coordinator.
    pub(crate) async fn news(&self) {
        self.news.notified().await;
    }

    /// Waits until no split has begun that can only be read whole, while all others go on. None
    /// begins until the queue is opened again.
    pub(crate) async fn settle(&self) -> Result<(), Closed> {
        self.set_mode(Mode::Settling)?;
        self.wait_until(|state| state.begun == 0).await
    }

    /// Stops handing out, lets splits in the middle come to a position, and waits until all that
    /// was handed out is done with. Returns where everything stands. Stages may still pass.
    pub(crate) async fn cut(&self) -> Result<Cut, Closed> {
        self.set_mode(Mode::Cutting)?;
        self.wait_until(|state| state.out == 0 && state.in_the_middle == 0 && state.begun == 0)
            .await?;
        let mut state = self.lock();
        state.moved = false;
        let finished = std::mem::take(&mut state.newly_finished).into_iter();
        let finished = finished.map(|split| {
            let position = state.positions.get(&split);
            (split, position.and_then(|position| position.offset.clone()))
        });
        let finished = finished.collect();
        let revoked = std::mem::take(&mut state.newly_revoked).into_iter();
        let revoked = revoked.map(|split| {
            let position = state.positions.get(&split);
            (split, position.and_then(|position| position.offset.clone()))
        });
        let mut cut = Cut {
            finished,
            revoked: revoked.collect(),
            schemas: std::mem::take(&mut state.schemas),
            bytes: std::mem::take(&mut state.epoch_bytes),
            offsets: Vec::new(),
            rejected: Vec::new(),
        };
        for (&split, position) in &mut state.positions {
            if position.rejected > 0 {
                cut.rejected
                    .push((split, std::mem::take(&mut position.rejected)));
            }
            if std::mem::take(&mut position.moved)
                && !position.is_over()
                && let Some(offset) = &position.offset
            {
                cut.offsets.push((split, offset.clone()));
            }
        }
        state.positions.retain(|_, position| !position.is_over());
        cut.offsets.sort_by_key(|(split, _)| *split);
        Ok(cut)
    }

    /// Hands out all that is on the queue, when no more will come. Says whether a changed schema
    /// holds the rest back.
    pub(crate) async fn drain(&self) -> Result<bool, Closed> {
        self.set_mode(Mode::Draining)?;
        self.wait_until(|state| {
            state.out == 0 && (state.items.is_empty() || !state.schemas.is_empty())
        })
        .await?;
        Ok(!self.lock().schemas.is_empty())
    }

    fn set_mode(&self, mode: Mode) -> Result<(), Closed> {
        let mut state = self.lock();
        if state.mode == Mode::Closed {
            return Err(Closed);
        }
        state.mode = mode;
        drop(state);
        self.work.notify_all();
        self.room.notify_waiters();
        Ok(())
    }

    /// Waits until all that stages gave is done with.
    pub(crate) async fn staged(&self) -> Result<(), Closed> {
        self.wait_until(|state| state.staged == 0).await
    }

    async fn wait_until(&self, condition: impl Fn(&State) -> bool) -> Result<(), Closed> {
        loop {
            let quiet = self.quiet.notified();
            tokio::pin!(quiet);
            quiet.as_mut().enable();
            {
                let state = self.lock();
                if state.mode == Mode::Closed {
                    return Err(Closed);
                }
                if condition(&state) {
                    return Ok(());
                }
            }
            quiet.await;
        }
    }

    /// Hands out again.
    pub(crate) fn reopen(&self) {
        let mut state = self.lock();
        if matches!(state.mode, Mode::Settling | Mode::Cutting) {
            state.mode = Mode::Open;
        }
        drop(state);
        self.work.notify_all();
        self.room.notify_waiters();
    }

    /// Ends everything: readers, workers and cuts get to know.
    pub(crate) fn close(&self) {
        self.lock().mode = Mode::Closed;
        self.work.notify_all();
        self.room.notify_waiters();
        self.quiet.notify_waiters();
    }

    /// What the coordinator needs to know. Until it looks again, [`Queue::news`] tells of what it
    /// `wants` to be told of, and in any case of a changed schema and of a full epoch.
    pub(crate) fn look(&self, wants: Wants) -> Look {
        let mut state = self.lock();
        state.wants = wants;
        state.look()
    }

    /// The number of what is put on the queue next.
    pub(crate) fn tail(&self) -> u64 {
        self.lock().put
    }

    /// Whether all is handed out that was put on the queue before this number.
    pub(crate) fn is_past(&self, number: u64) -> bool {
        self.lock().is_past(number)
    }
}

/// What the coordinator waits for.
#[derive(Debug, Clone, Copy, Default)]
pub(crate) struct Wants {
    /// That nothing waits and nothing is being done.
    pub(crate) rest: bool,
    /// That something moves, after nothing did.
    pub(crate) movement: bool,
    /// That all is handed out that was put on the queue before this one.
    pub(crate) past: Option<u64>,
}

/// See [`Queue::look`].
#[derive(Debug, Clone, Copy)]
pub(crate) struct Look {
    pub(crate) epoch_bytes: u64,
    pub(crate) moved: bool,
    pub(crate) schema_changed: bool,
    pub(crate) empty: bool,
    /// Some splits are between two positions.
    pub(crate) in_the_middle: bool,
}

impl State {
    fn look(&self) -> Look {
        Look {
            epoch_bytes: self.epoch_bytes,
            moved: self.moved,
            schema_changed: !self.schemas.is_empty(),
            empty: self.items.is_empty() && self.out == 0,
            in_the_middle: self.in_the_middle > 0 || self.begun > 0,
        }
    }

    fn is_past(&self, number: u64) -> bool {
        self.items.front().is_none_or(|item| item.number >= number)
    }

    /// Whether an event may be put on the queue; notes that a split which can only be read whole
    /// begins.
    fn may_go_on(&mut self, item: &Item) -> bool {
        let waits = matches!(self.mode, Mode::Settling | Mode::Cutting);
        if let Kind::Work(work, _) = &item.kind
            && let From::Stream(split, stream) = &work.from
            && let Some(position) = self.positions.get_mut(split)
            && !position.begun
            && position.whole.contains(stream)
        {
            if waits {
                return false;
            }
            position.begun = true;
            self.begun += 1;
        }
        true
    }

    /// Whether more of the split is taken.
    fn is_wanted(&self, split: SplitKey) -> bool {
        let position = self.positions.get(&split);
        position.is_some_and(|position| !position.is_over())
    }

    /// Whether a cut has to wait for more of the split.
    fn is_in_the_middle(&self, split: SplitKey) -> bool {
        self.positions
            .get(&split)
            .is_some_and(|position| position.in_the_middle || position.begun)
    }

    fn counted(&mut self, item: &Item) -> &mut usize {
        if item.passed {
            &mut self.passing_bytes
        } else {
            &mut self.waiting_bytes
        }
    }

    /// The bytes that wait before shut gates.
    fn shut_out(&self, shut: Sinks) -> usize {
        let items = self.items.iter().filter(|item| item.sinks & shut != 0);
        items.map(|item| item.size).sum()
    }

    /// The position of the first item that `worker` may take now.
    fn eligible(&self, worker: usize, shut: Sinks) -> Option<usize> {
        // A split's events stay in their order, so what comes after one that waits does too.
        let mut waiting = Vec::new();
        self.items.iter().position(|item| {
            if item.sinks & shut != 0 {
                waiting.extend(item.split);
                return false;
            }
            item.pinned.is_none_or(|pinned| pinned == worker)
                && match item.split {
                    None => true,
                    Some(split) if waiting.contains(&split) => false,
                    Some(split) => match self.mode {
                        Mode::Open | Mode::Draining | Mode::Settling => {
                            !self.positions.get(&split).is_some_and(|p| p.held)
                        }
                        Mode::Cutting => self.is_in_the_middle(split),
                        Mode::Closed => false,
                    },
                }
        })
    }

    /// Moves the split's position, and gives what is left for a worker to do.
    fn hand_out(&mut self, item: Item, origins: bool) -> Option<Work> {
        let Some(key) = item.split else {
            return match item.kind {
                Kind::Work(work, _) => Some(work),
                _ => None,
            };
        };
        let position = self.positions.get_mut(&key)?;
        let was_in_the_middle = position.in_the_middle;
        let (work, offset) = match item.kind {
            Kind::Work(work, offset) => {
                let mark = Mark {
                    split: position.id.clone(),
                    origins,
                    offset: position.offset.clone().filter(|_| origins),
                    number: position.events,
                };
                let mark = Some(mark);
                (Some(Work { mark, ..work }), offset)
            }
            Kind::Progress(offset) => (None, Some(offset)),
            Kind::Schema(stream, schema, offset) => {
                position.held = true;
                self.schemas.push((key.source, stream, schema));
                (None, Some(offset))
            }
            Kind::End => {
                position.finished = true;
                position.in_the_middle = false;
                self.begun -= usize::from(std::mem::take(&mut position.begun));
                self.newly_finished.push(key);
                self.moved = true;
                (None, None)
            }
        };
        position.events = match offset {
            None => position.events.saturating_add(1),
            Some(_) => 0,
        };
        if !position.finished {
            match (position.begun, offset) {
                // What is read whole has begun until it has ended; the source is told the last one.
                (true, offset) => {
                    position.offset = offset.or(position.offset.take());
                    position.handed_out = true;
                }
                (false, Some(offset)) => {
                    position.offset = Some(offset);
                    position.moved = true;
                    self.moved = true;
                    position.in_the_middle = false;
                }
                (false, None) => position.in_the_middle = true,
            }
        }
        let is_in_the_middle = position.in_the_middle;
        match (was_in_the_middle, is_in_the_middle) {
            (false, true) => self.in_the_middle += 1,
            (true, false) => self.in_the_middle -= 1,
            _ => {}
        }
        let work = work?;
        self.out += 1;
        *self.out_of.entry(key.source).or_default() += 1;
        self.epoch_bytes += item.size as u64;
        Some(work)
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use arrow_array::{Int32Array, RecordBatch};
    use tidegate_core::Event;

    use super::*;

    fn offset(n: u32) -> Offset {
        Offset::encode(&n).unwrap()
    }

    fn none() -> Arc<[StreamName]> {
        [].into()
    }

    fn rows(resume: Option<u32>) -> Event {
        rows_of("s", resume)
    }

    fn rows_of(stream: &str, resume: Option<u32>) -> Event {
        let column = Arc::new(Int32Array::from(vec![1, 2, 3]));
        let batch = RecordBatch::try_from_iter([("n", column as _)]).unwrap();
        Event::Rows {
            stream: stream.into(),
            rows: Rows::Batch(batch),
            rejected: None,
            resume: resume.map(offset),
        }
    }

    fn id(number: usize) -> SplitId {
        number.to_string().into()
    }

    fn register(queue: &Queue, number: usize) {
        queue.register(split(number), &id(number), none(), None);
    }

    fn split(number: usize) -> SplitKey {
        SplitKey { source: 0, number }
    }

    fn work_of(handed: Handed) -> Work {
        match handed {
            Handed::Work(work) => work,
            Handed::Flush => panic!("flush"),
            Handed::Closed => panic!("closed"),
        }
    }

    #[tokio::test]
    async fn the_position_is_the_last_one_handed_out() {
        let queue = Queue::new(1 << 20, None, 1, false);
        register(&queue, 0);
        for n in 1..=3 {
            queue.push(split(0), rows(Some(n))).await.unwrap();
        }
        for _ in 0..2 {
            work_of(queue.next(0, false).0);
            queue.done(Purpose::Filling, 1);
        }
        let cut = queue.cut().await.unwrap();
        assert_eq!(cut.offsets, [(split(0), offset(2))]);
        queue.reopen();
        work_of(queue.next(0, false).0);
        queue.done(Purpose::Filling, 1);
        assert_eq!(queue.cut().await.unwrap().offsets, [(split(0), offset(3))]);
    }

    #[tokio::test]
    async fn a_cut_waits_until_a_split_in_the_middle_has_a_position_and_holds_the_others_back() {
        let queue = Arc::new(Queue::new(1 << 20, None, 1, false));
        register(&queue, 0);
        register(&queue, 1);
        queue.push(split(0), rows(None)).await.unwrap();
        queue.push(split(1), rows(Some(1))).await.unwrap();
        queue.push(split(0), rows(Some(7))).await.unwrap();
        work_of(queue.next(0, false).0);
        queue.done(Purpose::Filling, 1);
        let cutting = tokio::spawn({
            let queue = Arc::clone(&queue);
            async move { queue.cut().await.unwrap() }
        });
        while queue.lock().mode != Mode::Cutting {
            tokio::task::yield_now().await;
        }
        work_of(queue.next(0, false).0);
        queue.done(Purpose::Filling, 1);
        assert_eq!(cutting.await.unwrap().offsets, [(split(0), offset(7))]);
    }

    #[tokio::test]
    async fn a_full_queue_lets_a_split_in_the_middle_pass_during_a_cut() {
        let queue = Arc::new(Queue::new(1, None, 1, false));
        queue.register(split(0), &id(0), ["s".into()].into(), None);
        register(&queue, 1);
        queue.push(split(0), rows(None)).await.unwrap();
        work_of(queue.next(0, false).0);
        queue.done(Purpose::Filling, 1);
        queue.push(split(1), rows(Some(1))).await.unwrap();
        let reader = tokio::spawn({
            let queue = Arc::clone(&queue);
            async move {
                queue.push(split(0), rows(None)).await.unwrap();
                queue.push_end(split(0)).await.unwrap();
            }
        });
        let cutting = tokio::spawn({
            let queue = Arc::clone(&queue);
            async move { queue.cut().await.unwrap() }
        });
        while queue.lock().mode != Mode::Cutting {
            tokio::task::yield_now().await;
        }
        let worker = std::thread::spawn({
            let queue = Arc::clone(&queue);
            move || {
                while let Handed::Work(_) = queue.next(0, false).0 {
                    queue.done(Purpose::Filling, 1);
                }
            }
        });
        let cut = cutting.await.unwrap();
        assert_eq!(cut.finished, [(split(0), None)]);
        assert!(cut.offsets.is_empty());
        reader.await.unwrap();
        queue.close();
        worker.join().unwrap();
    }

    #[tokio::test]
    async fn while_it_settles_others_flow_and_no_split_begins_that_is_read_whole() {
        let queue = Arc::new(Queue::new(1 << 20, None, 1, false));
        queue.register(split(0), &id(0), ["s".into()].into(), None);
        queue.register(split(1), &id(1), ["s".into()].into(), None);
        queue.register(split(2), &id(2), none(), None);
        queue.push(split(0), rows(None)).await.unwrap();
        let settling = tokio::spawn({
            let queue = Arc::clone(&queue);
            async move { queue.settle().await.unwrap() }
        });
        while queue.lock().mode != Mode::Settling {
            tokio::task::yield_now().await;
        }
        let beginning = tokio::spawn({
            let queue = Arc::clone(&queue);
            async move { queue.push(split(1), rows(None)).await.unwrap() }
        });
        queue.push(split(2), rows(Some(1))).await.unwrap();
        queue.push(split(0), rows(None)).await.unwrap();
        for _ in 0..3 {
            work_of(queue.next(0, false).0);
            queue.done(Purpose::Filling, 1);
        }
        assert!(!settling.is_finished());
        queue.push_end(split(0)).await.unwrap();
        assert!(matches!(queue.next(0, true).0, Handed::Flush));
        settling.await.unwrap();
        assert!(!beginning.is_finished());
        let cut = queue.cut().await.unwrap();
        assert_eq!(cut.finished, [(split(0), None)]);
        assert_eq!(cut.offsets, [(split(2), offset(1))]);
        queue.reopen();
        beginning.await.unwrap();
    }

    #[tokio::test]
    async fn what_waits_of_a_revoked_split_is_dropped_and_what_was_handed_out_is_cut() {
        let queue = Queue::new(1 << 20, None, 1, false);
        queue.register(split(0), &id(0), none(), None);
        queue.register(split(1), &id(1), none(), None);
        for n in 1..=3 {
            queue.push(split(0), rows(Some(n))).await.unwrap();
            queue.push(split(1), rows(Some(n))).await.unwrap();
        }
        work_of(queue.next(0, false).0);
        queue.done(Purpose::Filling, 1);
        assert_eq!(queue.revoke(split(0)), Revoked::AtPosition);
        assert!(queue.push(split(0), rows(Some(4))).await.is_err());
        for _ in 0..3 {
            work_of(queue.next(0, false).0);
            queue.done(Purpose::Filling, 1);
        }
        assert!(queue.look(Wants::default()).empty);
        let cut = queue.cut().await.unwrap();
        assert_eq!(cut.revoked, [(split(0), Some(offset(1)))]);
        assert_eq!(cut.offsets, [(split(1), offset(3))]);
        queue.reopen();
        assert!(queue.push(split(0), rows(Some(5))).await.is_err());

        queue.push(split(1), rows(None)).await.unwrap();
        work_of(queue.next(0, false).0);
        queue.done(Purpose::Filling, 1);
        assert_eq!(queue.revoke(split(1)), Revoked::InTheMiddle);
        assert_eq!(queue.revoke(split(0)), Revoked::Finished);
    }

    #[tokio::test]
    async fn what_stages_give_is_counted_apart_from_what_is_read() {
        let queue = Queue::new(1 << 20, None, 1, false);
        let set = Arc::new(EpochSet {
            writers: HashMap::new(),
            inlets: HashMap::new(),
            begun: super::super::stage::Begun::default(),
            rejected: Vec::new(),
        });
        let batch = || match rows(None) {
            Event::Rows { rows, .. } => rows,
            other => panic!("{other:?}"),
        };
        queue.push_stage(&set, 0, 0, false, batch()).await.unwrap();
        let work = work_of(queue.next(0, false).0);
        assert_eq!(work.purpose(), Purpose::Ending);
        // A cut doesn't wait for it.
        queue.cut().await.unwrap();
        queue.push_stage(&set, 0, 0, false, batch()).await.unwrap();
        work_of(queue.next(0, false).0);
        queue.done(Purpose::Ending, 2);
        queue.staged().await.unwrap();
    }

    #[tokio::test]
    async fn events_behind_a_schema_change_wait_for_the_next_attempt() {
        let queue = Queue::new(1 << 20, None, 1, false);
        register(&queue, 0);
        queue.push(split(0), rows(Some(1))).await.unwrap();
        let schema = Arc::new(arrow_schema::Schema::empty());
        let event = Event::Schema {
            stream: "s".into(),
            schema,
            resume: offset(2),
        };
        queue.push(split(0), event).await.unwrap();
        queue.push(split(0), rows(Some(3))).await.unwrap();
        work_of(queue.next(0, false).0);
        assert!(matches!(queue.next(0, true).0, Handed::Flush));
        queue.done(Purpose::Filling, 1);
        let cut = queue.cut().await.unwrap();
        assert_eq!(cut.offsets, [(split(0), offset(2))]);
        assert_eq!(cut.schemas.len(), 1);
    }

    #[tokio::test]
    async fn before_a_shut_gate_a_split_waits_in_its_order_and_no_other() {
        let queue = Queue::new(1, None, 1, false).with_sinks(Gates::one(9, 0, "s"), false);
        register(&queue, 0);
        register(&queue, 1);
        queue.push(split(0), rows(Some(1))).await.unwrap();
        queue.enter(Place::Sink(9), 1);
        // It is full, and yet what leads elsewhere has room.
        for (number, offset) in [(0, 2), (1, 1)] {
            let event = rows_of("t", Some(offset));
            queue.push(split(number), event).await.unwrap();
            let other = queue.push(split(1), rows(Some(9)));
            let waits = tokio::time::timeout(Duration::from_millis(1), other).await;
            assert!(waits.is_err());
            if number == 0 {
                // Behind what waits, so it waits too.
                assert!(matches!(queue.next(0, true).0, Handed::Flush));
                queue.leave(Place::Sink(9), 1);
                let first = work_of(queue.next(0, false).0);
                assert!(matches!(first.from, From::Stream(_, stream) if stream.as_str() == "s"));
                work_of(queue.next(0, false).0);
                queue.push(split(0), rows(Some(3))).await.unwrap();
                queue.enter(Place::Sink(9), 1);
            }
        }
        let work = work_of(queue.next(0, false).0);
        assert!(matches!(work.from, From::Stream(_, stream) if stream.as_str() == "t"));
        queue.done(Purpose::Filling, 3);
        assert_eq!(
            queue.cut().await.unwrap().offsets,
            [(split(0), offset(2)), (split(1), offset(1))]
        );
    }
}
