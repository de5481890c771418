//! How many bytes are under way to the place.

use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};

use bytes::Bytes;

/// What the tasks of a file take beside its bytes, about.
pub(crate) const FILE_COST: u64 = 16 << 10;

/// Counts bytes that writers have given away and the place doesn't have yet.
#[derive(Debug)]
pub(crate) struct Room {
    most: u64,
    held: Mutex<u64>,
    less: Condvar,
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
    }
}

impl Room {
    pub(crate) fn new(most: u64) -> Arc<Self> {
        Arc::new(Self {
            most,
            held: Mutex::default(),
            less: Condvar::new(),
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

    /// Waits, on a thread that may block, until no more than allowed are under way, or `over`.
    pub(crate) fn wait(&self, over: impl Fn() -> bool) {
        let mut held = self.held();
        while *held > self.most && !over() {
            held = self.less.wait(held).unwrap_or_else(PoisonError::into_inner);
        }
    }

    /// Lets those who wait look whether it is over.
    pub(crate) fn wake(&self) {
        let _held = self.held();
        self.less.notify_all();
    }

    fn held(&self) -> MutexGuard<'_, u64> {
        self.held.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
