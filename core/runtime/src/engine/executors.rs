//! The executors of an attempt, as the coordinator has them: where commands go, and what is known of
//! what they have done.

use std::collections::BTreeSet;

use tidegate_core::Error;
use tokio::sync::mpsc;
use tokio::task::JoinHandle;

use super::Task;
use super::message::{Command, Said};

/// What executors say, with the place of the one that says it.
pub(crate) type Heard = (usize, Said);

/// See the module.
pub(crate) struct Executors {
    list: Vec<Handle>,
    heard: mpsc::UnboundedReceiver<Heard>,
    rest: Rest,
}

/// One executor. Where the run's future was dropped, nothing of it lingers.
pub(crate) struct Handle {
    /// It ends when this is dropped.
    commands: Option<mpsc::UnboundedSender<Command>>,
    task: Task<()>,
    moved: bool,
    full: bool,
}

impl Handle {
    /// `task` ends when `commands` are no more and all that was begun has ended.
    pub(crate) fn new(commands: mpsc::UnboundedSender<Command>, task: JoinHandle<()>) -> Self {
        Self {
            commands: Some(commands),
            task: Task(task),
            moved: false,
            full: false,
        }
    }
}

/// A question whether nothing is being done anywhere. What was answered before a split was given out
/// or had been read is no answer.
#[derive(Default)]
struct Rest {
    number: u64,
    asked: bool,
    waiting: BTreeSet<usize>,
}

impl Executors {
    pub(crate) fn new(list: Vec<Handle>, heard: mpsc::UnboundedReceiver<Heard>) -> Self {
        Self {
            list,
            heard,
            rest: Rest::default(),
        }
    }

    /// The places of all.
    pub(crate) fn all(&self) -> BTreeSet<usize> {
        (0..self.list.len()).collect()
    }

    /// What is said next; `None` when nobody can say anything any more.
    pub(crate) async fn next(&mut self) -> Option<Heard> {
        self.heard.recv().await
    }

    /// What was said already.
    pub(crate) fn said(&mut self) -> Option<Heard> {
        self.heard.try_recv().ok()
    }

    /// The error that one of them has told, if any has.
    pub(crate) fn failure(&mut self) -> Option<Error> {
        std::iter::from_fn(|| self.said()).find_map(|(_, said)| match said {
            Said::Failed(error) => Some(error),
            _ => None,
        })
    }

    pub(crate) fn tell(&self, executor: usize, command: Command) {
        let handle = self.list.get(executor);
        if let Some(commands) = handle.and_then(|handle| handle.commands.as_ref()) {
            // One that is gone has said so.
            let _ = commands.send(command);
        }
    }

    pub(crate) fn tell_all(&self, command: impl Fn() -> Command) {
        for executor in 0..self.list.len() {
            self.tell(executor, command());
        }
    }

    /// Notes that something moved, or that an epoch is full, since the last cut.
    pub(crate) fn moved(&mut self, executor: usize) {
        self.list[executor].moved = true;
    }

    pub(crate) fn filled(&mut self, executor: usize) {
        self.list[executor].full = true;
    }

    pub(crate) fn was_cut(&mut self, executor: usize) {
        self.list[executor].moved = false;
        self.list[executor].full = false;
    }

    pub(crate) fn have_moved(&self) -> bool {
        self.list.iter().any(|executor| executor.moved)
    }

    pub(crate) fn are_full(&self) -> bool {
        self.list.iter().any(|executor| executor.full)
    }

    /// Asks all to say when nothing is being done, if they haven't been asked since the last change.
    pub(crate) fn ask_for_rest(&mut self) {
        if !self.rest.asked {
            self.rest.asked = true;
            self.rest.waiting = self.all();
            let number = self.rest.number;
            self.tell_all(|| Command::Rest(number));
        }
    }

    pub(crate) fn rests(&mut self, executor: usize, number: u64) {
        if number == self.rest.number {
            self.rest.waiting.remove(&executor);
        }
    }

    /// Whether nothing is being done, since all were asked.
    pub(crate) fn are_at_rest(&self) -> bool {
        self.rest.asked && self.rest.waiting.is_empty()
    }

    /// A split was given out, or has been read.
    pub(crate) fn stirred(&mut self) {
        self.rest.number += 1;
        self.rest.asked = false;
    }

    /// Lets all end, without waiting for it.
    pub(crate) fn close(&mut self) {
        for executor in &mut self.list {
            executor.commands = None;
        }
    }

    /// Waits until all have ended.
    pub(crate) async fn ended(&mut self) {
        for executor in &mut self.list {
            // Its panic was told, or is told by what it leaves undone.
            let _ = (&mut executor.task.0).await;
        }
    }
}
