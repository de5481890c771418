//! The one queue between readers and workers, and the place where epochs are cut.
//!
//! Handing out an event is what moves its split's position. So an epoch is cut by handing out no
//! more, waiting until the workers are done with what they have, and reading the positions: no
//! alignment, no barriers. A split between two events that carry no position is *in the
//! middle*, and so is one that is read whole; while a cut is wanted, only such splits go on.

use std::collections::{HashMap, VecDeque};
use std::sync::{Condvar, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use arrow_schema::SchemaRef;
use tidegate_core::{Event, Offset, Rejected, Rows, SplitId, StreamName};
use tokio::sync::Notify;

use super::gate::{Gates, Sinks};
use crate::graph::{NodeId, PortId};

/// A split in this attempt: its source, and a number that counts all splits.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
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
#[derive(Debug, Clone)]
pub(crate) enum From {
    /// A stream of a source.
    Stream(NodeId, StreamName),
    /// A stage's output.
    Port(PortId),
}

/// What the positions are when an epoch has been cut.
#[derive(Debug, Default)]
pub(crate) struct Cut {
    pub(crate) offsets: Vec<(SplitKey, Offset)>,
    /// With the last position of each.
    pub(crate) finished: Vec<(SplitKey, Option<Offset>)>,
    pub(crate) schemas: Vec<(NodeId, StreamName, SchemaRef)>,
    /// Bytes handed out in the epoch.
    pub(crate) bytes: u64,
}

impl Cut {
    pub(crate) fn is_empty(&self) -> bool {
        self.offsets.is_empty() && self.finished.is_empty() && self.schemas.is_empty()
    }
}

/// The reader's or the pump's answer when the attempt is over.
#[derive(Debug)]
pub(crate) struct Closed;

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Mode {
    /// Everything is handed out.
    Open,
    /// Everything is, and nothing is held back: no more will come.
    Draining,
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
    /// `None`: a stage's output, which belongs to the epoch that is being cut.
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
    offset: Option<Offset>,
    /// Events handed out since.
    events: u32,
    moved: bool,
    in_the_middle: bool,
    finished: bool,
    /// Its stream's schema changed: it goes on in the next attempt.
    held: bool,
}

struct State {
    mode: Mode,
    items: VecDeque<Item>,
    waiting_bytes: usize,
    passing_bytes: usize,
    epoch_bytes: u64,
    /// Work that is handed out and not yet done with.
    out: usize,
    in_the_middle: usize,
    positions: HashMap<SplitKey, Position>,
    newly_finished: Vec<SplitKey>,
    schemas: Vec<(NodeId, StreamName, SchemaRef)>,
}

/// See the module.
pub(crate) struct Queue {
    state: Mutex<State>,
    work: Condvar,
    room: Notify,
    quiet: Notify,
    capacity: usize,
    workers: usize,
    ordered: bool,
    gates: Gates,
    origins: bool,
}

/// How long a worker without work holds small batches back, to join them with the next.
const LINGER: Duration = Duration::from_millis(20);

impl Queue {
    pub(crate) fn new(capacity: usize, workers: usize, ordered: bool) -> Self {
        Self {
            state: Mutex::new(State {
                mode: Mode::Open,
                items: VecDeque::new(),
                waiting_bytes: 0,
                passing_bytes: 0,
                epoch_bytes: 0,
                out: 0,
                in_the_middle: 0,
                positions: HashMap::new(),
                newly_finished: Vec::new(),
                schemas: Vec::new(),
            }),
            work: Condvar::new(),
            room: Notify::new(),
            quiet: Notify::new(),
            capacity,
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

    /// Counts what begins to wait for an I/O sink.
    pub(crate) fn enter(&self, sink: NodeId, bytes: u64) {
        if self.gates.enter(sink, bytes) {
            // What leads elsewhere may pass now.
            self.room.notify_waiters();
        }
    }

    /// Counts what an I/O sink is done with.
    pub(crate) fn leave(&self, sink: NodeId, bytes: u64) {
        if self.gates.leave(sink, bytes) {
            // So that no worker is between its look and its wait.
            drop(self.lock());
            self.work.notify_all();
        }
    }

    /// Holds back what leads to a sink, until it is opened.
    pub(crate) fn shut(&self, sink: NodeId) {
        self.enter(sink, Gates::MUCH);
    }

    /// Hands out again what leads to a sink that was shut.
    pub(crate) fn open(&self, sink: NodeId) {
        self.leave(sink, Gates::MUCH);
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Makes a split known before its first event; it is read from after `offset`.
    pub(crate) fn register(&self, split: SplitKey, id: &SplitId, offset: Option<Offset>) {
        let position = Position {
            id: id.clone(),
            offset,
            events: 0,
            moved: false,
            in_the_middle: false,
            finished: false,
            held: false,
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
                    from: From::Stream(split.source, stream),
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
        self.put(Some(split), split.number, kind, size).await
    }

    /// Says that a split has been read to its end.
    pub(crate) async fn push_end(&self, split: SplitKey) -> Result<(), Closed> {
        self.put(Some(split), split.number, Kind::End, 0).await
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
                if !state.items.iter().any(|item| item.split == Some(split)) {
                    return Ok(!state.is_in_the_middle(split));
                }
            }
            room.await;
        }
    }

    /// Puts a stage's output on the queue. `partition` stays in order where order matters.
    pub(crate) async fn push_stage(
        &self,
        port: PortId,
        partition: usize,
        rows: Rows,
    ) -> Result<(), Closed> {
        let size = rows.size();
        let work = Work {
            from: From::Port(port),
            rows,
            rejected: None,
            mark: None,
        };
        self.put(None, partition, Kind::Work(work, None), size)
            .await
    }

    async fn put(
        &self,
        split: Option<SplitKey>,
        lane: usize,
        kind: Kind,
        size: usize,
    ) -> Result<(), Closed> {
        let pinned = self.ordered.then(|| lane % self.workers);
        let sinks = match &kind {
            Kind::Work(work, _) => self.gates.reached(&work.from),
            _ => 0,
        };
        let mut item = Some(Item {
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
                if state.mode == Mode::Closed {
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
                if has_room || passes {
                    if let Some(mut item) = item.take() {
                        item.passed = !has_room;
                        *state.counted(&item) += item.size;
                        state.items.push_back(item);
                    }
                    drop(state);
                    if self.ordered {
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
                let work = state.hand_out(item, self.origins);
                self.room.notify_waiters();
                self.tell_if_quiet(&state);
                match work {
                    Some(work) => return (Handed::Work(work), asked.elapsed()),
                    None => continue,
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

    /// Says that a worker is done with so many of the things it was handed.
    pub(crate) fn done(&self, count: usize) {
        let mut state = self.lock();
        state.out -= count;
        self.tell_if_quiet(&state);
    }

    fn tell_if_quiet(&self, state: &State) {
        if state.out == 0 {
            self.quiet.notify_waiters();
        }
    }

    /// Stops handing out, lets splits in the middle come to a position, and waits until all that
    /// was handed out is done with. Returns where everything stands. Stages may still pass.
    pub(crate) async fn cut(&self) -> Result<Cut, Closed> {
        self.set_mode(Mode::Cutting)?;
        self.wait_quiet().await?;
        let mut state = self.lock();
        let finished = std::mem::take(&mut state.newly_finished).into_iter();
        let finished = finished.map(|split| {
            let position = state.positions.get(&split);
            (split, position.and_then(|position| position.offset.clone()))
        });
        let mut cut = Cut {
            finished: finished.collect(),
            schemas: std::mem::take(&mut state.schemas),
            bytes: std::mem::take(&mut state.epoch_bytes),
            offsets: Vec::new(),
        };
        for (&split, position) in &mut state.positions {
            if std::mem::take(&mut position.moved)
                && !position.finished
                && let Some(offset) = &position.offset
            {
                cut.offsets.push((split, offset.clone()));
            }
        }
        state.positions.retain(|_, position| !position.finished);
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

    /// Waits until no split is in the middle, no stage's output waits, and no worker has anything.
    pub(crate) async fn wait_quiet(&self) -> Result<(), Closed> {
        self.wait_until(|state| {
            let stages = state.items.iter().any(|item| item.split.is_none());
            state.out == 0 && state.in_the_middle == 0 && !stages
        })
        .await
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
        if state.mode == Mode::Cutting {
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

    /// What the coordinator needs to know from time to time.
    pub(crate) fn look(&self) -> Look {
        let state = self.lock();
        Look {
            epoch_bytes: state.epoch_bytes,
            moved: !state.newly_finished.is_empty()
                || state.positions.values().any(|position| position.moved),
            schema_changed: !state.schemas.is_empty(),
            empty: state.items.is_empty() && state.out == 0,
        }
    }
}

/// See [`Queue::look`].
#[derive(Debug, Clone, Copy)]
pub(crate) struct Look {
    pub(crate) epoch_bytes: u64,
    pub(crate) moved: bool,
    pub(crate) schema_changed: bool,
    pub(crate) empty: bool,
}

impl State {
    fn is_in_the_middle(&self, split: SplitKey) -> bool {
        self.positions
            .get(&split)
            .is_some_and(|position| position.in_the_middle)
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
                        Mode::Open | Mode::Draining => {
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
            self.out += 1;
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
                self.newly_finished.push(key);
                (None, None)
            }
        };
        position.events = match offset {
            None => position.events.saturating_add(1),
            Some(_) => 0,
        };
        if !position.finished {
            match offset {
                Some(offset) => {
                    position.offset = Some(offset);
                    position.moved = true;
                    position.in_the_middle = false;
                }
                None => position.in_the_middle = true,
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

    fn register(queue: &Queue, number: usize) {
        let id = number.to_string().into();
        queue.register(split(number), &id, None);
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
        let queue = Queue::new(1 << 20, 1, false);
        register(&queue, 0);
        for n in 1..=3 {
            queue.push(split(0), rows(Some(n))).await.unwrap();
        }
        for _ in 0..2 {
            work_of(queue.next(0, false).0);
            queue.done(1);
        }
        let cut = queue.cut().await.unwrap();
        assert_eq!(cut.offsets, [(split(0), offset(2))]);
        queue.reopen();
        work_of(queue.next(0, false).0);
        queue.done(1);
        assert_eq!(queue.cut().await.unwrap().offsets, [(split(0), offset(3))]);
    }

    #[tokio::test]
    async fn a_cut_waits_until_a_split_in_the_middle_has_a_position_and_holds_the_others_back() {
        let queue = Arc::new(Queue::new(1 << 20, 1, false));
        register(&queue, 0);
        register(&queue, 1);
        queue.push(split(0), rows(None)).await.unwrap();
        queue.push(split(1), rows(Some(1))).await.unwrap();
        queue.push(split(0), rows(Some(7))).await.unwrap();
        work_of(queue.next(0, false).0);
        queue.done(1);
        let cutting = tokio::spawn({
            let queue = Arc::clone(&queue);
            async move { queue.cut().await.unwrap() }
        });
        while queue.lock().mode != Mode::Cutting {
            tokio::task::yield_now().await;
        }
        work_of(queue.next(0, false).0);
        queue.done(1);
        assert_eq!(cutting.await.unwrap().offsets, [(split(0), offset(7))]);
    }

    #[tokio::test]
    async fn a_full_queue_lets_a_split_in_the_middle_pass_during_a_cut() {
        let queue = Arc::new(Queue::new(1, 1, false));
        register(&queue, 0);
        register(&queue, 1);
        queue.push(split(0), rows(None)).await.unwrap();
        work_of(queue.next(0, false).0);
        queue.done(1);
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
                    queue.done(1);
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
    async fn events_behind_a_schema_change_wait_for_the_next_attempt() {
        let queue = Queue::new(1 << 20, 1, false);
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
        queue.done(1);
        let cut = queue.cut().await.unwrap();
        assert_eq!(cut.offsets, [(split(0), offset(2))]);
        assert_eq!(cut.schemas.len(), 1);
    }

    #[tokio::test]
    async fn before_a_shut_gate_a_split_waits_in_its_order_and_no_other() {
        let queue = Queue::new(1, 1, false).with_sinks(Gates::one(9, 0, "s"), false);
        register(&queue, 0);
        register(&queue, 1);
        queue.push(split(0), rows(Some(1))).await.unwrap();
        queue.enter(9, 1);
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
                queue.leave(9, 1);
                let first = work_of(queue.next(0, false).0);
                assert!(matches!(first.from, From::Stream(0, stream) if stream.as_str() == "s"));
                work_of(queue.next(0, false).0);
                queue.push(split(0), rows(Some(3))).await.unwrap();
                queue.enter(9, 1);
            }
        }
        let work = work_of(queue.next(0, false).0);
        assert!(matches!(work.from, From::Stream(0, stream) if stream.as_str() == "t"));
        queue.done(3);
        assert_eq!(
            queue.cut().await.unwrap().offsets,
            [(split(0), offset(2)), (split(1), offset(1))]
        );
    }
}
