//! How many bytes are under way to the place.

use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};

use bytes::Bytes;
use tokio::sync::Notify;

/// What the tasks of a file take beside its bytes, about.
pub(crate) const FILE_COST: u64 = 16 << 10;

/// Counts bytes that writers have given away and the place doesn't have yet.
#[derive(Debug)]
pub(crate) struct Room {
    /// From here on nothing more is read; at twice as much, writers wait too.
    enough: u64,
    held: Mutex<u64>,
    less: Condvar,
    calm: Notify,
}

/// Bytes under way; they count for as long as this lives.
#[derive(Debug)]
pub(crate) struct Parcel {
    pub(crate) bytes: Bytes,
    cost: u64,
    room: Arc<Room>,
}

impl Drop for Parcel {
    fn drop(&mut self) {
        *self.room.held() -= self.cost;
        self.room.less.notify_all();
        self.room.calm.notify_waiters();
    }
}

impl Room {
    pub(crate) fn new(enough: u64) -> Arc<Self> {
        Arc::new(Self {
            enough,
            held: Mutex::default(),
            less: Condvar::new(),
            calm: Notify::new(),
        })
    }

    pub(crate) fn parcel(self: &Arc<Self>, bytes: Bytes, more: u64) -> Parcel {
        let cost = bytes.len() as u64 + more;
        *self.held() += cost;
        Parcel {
            bytes,
            cost,
            room: Arc::clone(self),
        }
    }

    /// Waits until not enough are under way, or `over`.
    pub(crate) async fn calm(&self, over: impl Fn() -> bool) {
        loop {
            let calm = self.calm.notified();
            tokio::pin!(calm);
            calm.as_mut().enable();
            if *self.held() < self.enough || over() {
                return;
            }
            calm.await;
        }
    }

    /// Waits, on a thread that may block, until there aren't far more than enough, or `over`.
    pub(crate) fn wait(&self, over: impl Fn() -> bool) {
        let mut held = self.held();
        while *held > 2 * self.enough && !over() {
            held = self.less.wait(held).unwrap_or_else(PoisonError::into_inner);
        }
    }

    /// Lets those who wait look whether it is over.
    pub(crate) fn wake(&self) {
        let held = self.held();
        self.less.notify_all();
        drop(held);
        self.calm.notify_waiters();
    }

    fn held(&self) -> MutexGuard<'_, u64> {
        self.held.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
