//! What is sent waits until it is committed.
//!
//! ```text
//! Sender::send ──> waiting ──> Reading::next ──> … ──> commit ──> Opened::acknowledge ──> send returns
//! ```
//!
//! The queue outlives the attempts of a run: what one attempt hasn't taken is there for the next. What
//! it has taken and not committed is told to its sender as lost, who may send it again.

use std::collections::VecDeque;
use std::fmt;
use std::future::Future;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use tidegate_core::{Acknowledged, Error, Offset, Result, RunId};
use tokio::sync::{Mutex as AsyncMutex, OwnedMutexGuard, mpsc, oneshot};

/// Makes a queue in which `waiting` may wait to be read.
pub fn queue<T: Send + 'static>(waiting: usize) -> (Sender<T>, Queue<T>) {
    let (sender, receiver) = mpsc::channel(waiting);
    let queue = Queue(Arc::new(AsyncMutex::new(receiver)));
    (Sender(sender), queue)
}

/// What was sent, and whom to tell that it is committed.
struct Sent<T> {
    value: T,
    told: oneshot::Sender<()>,
}

/// The end that sends.
pub struct Sender<T>(mpsc::Sender<Sent<T>>);

impl<T> Clone for Sender<T> {
    fn clone(&self) -> Self {
        Self(self.0.clone())
    }
}

impl<T> fmt::Debug for Sender<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Sender").finish_non_exhaustive()
    }
}

/// Why something can't be sent at once.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Refused {
    /// As much waits as may.
    Full,
    /// Nobody will read it any more.
    Gone,
}

impl<T: Send + 'static> Sender<T> {
    /// Sends, and waits until it is committed in every sink. While nobody reads, this waits.
    ///
    /// Errors: `Transient` if it isn't known to be committed: the run failed, stopped, or started
    /// again from its last checkpoint. It may be sent again, and arrives at least once.
    pub async fn send(&self, value: T) -> Result<()> {
        let (told, committed) = oneshot::channel();
        let sent = self.0.send(Sent { value, told }).await;
        sent.map_err(|_| {
            Error::transient("the pipeline is gone").hint("make a new one, and send the rows to it")
        })?;
        outcome(committed).await
    }

    /// The same, without waiting for room. Once it gives a future, the value is in the queue, whether
    /// the future is dropped or not.
    pub fn try_send(&self, value: T) -> Result<impl Future<Output = Result<()>> + use<T>, Refused> {
        let (told, committed) = oneshot::channel();
        match self.0.try_send(Sent { value, told }) {
            Ok(()) => Ok(outcome(committed)),
            Err(mpsc::error::TrySendError::Full(_)) => Err(Refused::Full),
            Err(mpsc::error::TrySendError::Closed(_)) => Err(Refused::Gone),
        }
    }

    /// Whether something could be sent at once.
    pub fn has_room(&self) -> bool {
        self.0.capacity() > 0
    }
}

async fn outcome(committed: oneshot::Receiver<()>) -> Result<()> {
    committed.await.map_err(|_| {
        Error::transient("the run ended before the rows were committed").hint("send them again")
    })
}

/// The end that a source keeps over the attempts of a run.
pub struct Queue<T>(Arc<AsyncMutex<mpsc::Receiver<Sent<T>>>>);

impl<T> fmt::Debug for Queue<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Queue").finish_non_exhaustive()
    }
}

impl<T> Queue<T> {
    /// For one attempt.
    pub fn open(&self) -> Opened<T> {
        Opened {
            queue: Self(Arc::clone(&self.0)),
            opened: RunId::new(),
            taken: Arc::default(),
        }
    }
}

/// A queue as one attempt has it.
#[derive(Debug)]
pub struct Opened<T> {
    queue: Queue<T>,
    /// Tells this opening's positions from those of another attempt.
    opened: RunId,
    taken: Arc<Mutex<Taken>>,
}

/// What was read and isn't committed, in order. Dropping it tells whoever sent it.
#[derive(Debug, Default)]
struct Taken {
    read: u64,
    waiting: VecDeque<(u64, oneshot::Sender<()>)>,
}

impl<T> Opened<T> {
    /// Begins to read; waits until an earlier reading has ended.
    pub async fn read(&self) -> Reading<T> {
        Reading {
            receiver: Arc::clone(&self.queue.0).lock_owned().await,
            opened: self.opened,
            taken: Arc::clone(&self.taken),
        }
    }

    /// Tells the senders of what is committed. To be called by
    /// [`Source::acknowledge`](tidegate_core::Source::acknowledge).
    pub fn acknowledge(&self, upto: &[Acknowledged]) -> Result<()> {
        for offset in upto.iter().filter_map(|told| told.offset.as_ref()) {
            let (opened, committed): (RunId, u64) = offset.decode()?;
            if opened != self.opened {
                continue;
            }
            let mut taken = lock(&self.taken);
            while let Some((_, told)) = taken
                .waiting
                .pop_front_if(|(number, _)| *number <= committed)
            {
                // Who sent it may have stopped waiting.
                let _ = told.send(());
            }
        }
        Ok(())
    }

    /// Tells the senders of what was read and isn't committed that it isn't known to be. To be called
    /// by [`Source::close`](tidegate_core::Source::close).
    pub fn close(&self) {
        lock(&self.taken).waiting.clear();
    }
}

fn lock(taken: &Mutex<Taken>) -> MutexGuard<'_, Taken> {
    taken.lock().unwrap_or_else(PoisonError::into_inner)
}

/// The end that reads.
pub struct Reading<T> {
    receiver: OwnedMutexGuard<mpsc::Receiver<Sent<T>>>,
    opened: RunId,
    taken: Arc<Mutex<Taken>>,
}

impl<T> fmt::Debug for Reading<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Reading").finish_non_exhaustive()
    }
}

impl<T> Reading<T> {
    /// The next value; `None` when every sender is gone. May be dropped while it waits.
    pub async fn next(&mut self) -> Option<T> {
        let sent = self.receiver.recv().await?;
        Some(self.take(sent))
    }

    /// The next value, if one waits.
    pub fn try_next(&mut self) -> Option<T> {
        let sent = self.receiver.try_recv().ok()?;
        Some(self.take(sent))
    }

    fn take(&self, sent: Sent<T>) -> T {
        let mut taken = lock(&self.taken);
        taken.read += 1;
        let number = taken.read;
        taken.waiting.push_back((number, sent.told));
        sent.value
    }

    /// The position after what was read.
    pub fn position(&self) -> Result<Offset> {
        Offset::encode(&(self.opened, lock(&self.taken).read))
    }
}
