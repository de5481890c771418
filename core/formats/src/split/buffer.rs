//! Bytes on their way from a file's pieces to chunks, each in memory of its own that is used again.

use std::collections::VecDeque;
use std::ops::Deref;
use std::sync::{Arc, Mutex, PoisonError};

use bytes::Bytes;

/// How far the buffer goes past what was looked for: what is behind a chunk's end is copied to the
/// next chunk's memory.
const STEP: usize = 64 << 10;

/// How many spare buffers are kept.
const KEPT: usize = 4;

/// Buffers of chunks that were decoded, for chunks to come: fresh memory costs the system a visit for
/// each of its pages.
#[derive(Debug, Clone, Default)]
pub struct Buffers(Arc<Mutex<Vec<Vec<u8>>>>);

impl Buffers {
    /// An empty buffer with room for so many bytes at least.
    fn get(&self, room: usize) -> Vec<u8> {
        let mut spare = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let fits = spare.iter().rposition(|spare| spare.capacity() >= room);
        let found = fits.map(|at| spare.swap_remove(at));
        drop(spare);
        found.unwrap_or_else(|| Vec::with_capacity(room))
    }

    fn put(&self, mut buffer: Vec<u8>) {
        buffer.clear();
        let mut spare = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        if spare.len() < KEPT {
            spare.push(buffer);
        }
    }
}

/// Memory that goes back to where it came from.
struct Lent {
    bytes: Vec<u8>,
    from: usize,
    to: usize,
    buffers: Buffers,
}

impl AsRef<[u8]> for Lent {
    fn as_ref(&self) -> &[u8] {
        &self.bytes[self.from..self.to]
    }
}

impl Drop for Lent {
    fn drop(&mut self) {
        self.buffers.put(std::mem::take(&mut self.bytes));
    }
}

/// What is not given out yet: a buffer, and pieces that come after it.
#[derive(Debug, Default)]
pub(super) struct Unread {
    buffer: Vec<u8>,
    /// Where what is not given out begins in it.
    from: usize,
    pieces: VecDeque<Bytes>,
    waiting: usize,
    pub(super) buffers: Buffers,
}

impl Deref for Unread {
    type Target = [u8];

    /// What is in the buffer.
    fn deref(&self) -> &[u8] {
        &self.buffer[self.from..]
    }
}

impl Unread {
    /// Adds the next piece.
    pub(super) fn push(&mut self, piece: Bytes) {
        self.waiting += piece.len();
        self.pieces.push_back(piece);
    }

    /// How many bytes there are, in the buffer and behind it.
    pub(super) fn all(&self) -> usize {
        self.len() + self.waiting
    }

    /// Moves bytes of pieces into the buffer: up to `wanted` if it has fewer, else some more. Says
    /// whether there were any.
    pub(super) fn fill(&mut self, wanted: usize) -> bool {
        let length = self.len();
        let mut missing = wanted.saturating_sub(length);
        if missing == 0 {
            // In steps that grow with what is there, so that a long record isn't looked at too often.
            missing = STEP.max(length / 4);
        }
        let missing = missing.min(self.waiting);
        if missing == 0 {
            return false;
        }
        self.reserve(missing, wanted);
        let mut missing = missing;
        while missing > 0
            && let Some(piece) = self.pieces.front_mut()
        {
            let part = piece.split_to(piece.len().min(missing));
            self.buffer.extend_from_slice(&part);
            self.waiting -= part.len();
            missing -= part.len();
            if piece.is_empty() {
                self.pieces.pop_front();
            }
        }
        true
    }

    /// Makes room for `more` bytes; for a whole chunk, if there is a good part of one.
    fn reserve(&mut self, more: usize, wanted: usize) {
        if self.buffer.capacity() - self.buffer.len() >= more {
            return;
        }
        let needed = self.len() + more;
        if self.buffer.capacity() >= needed {
            self.buffer.drain(..self.from);
            self.from = 0;
            return;
        }
        let room = match needed > STEP {
            true => needed.max(wanted.saturating_add(STEP)),
            false => needed,
        };
        let mut larger = self.buffers.get(room);
        larger.extend_from_slice(self);
        self.replace(larger);
    }

    /// Continues with another buffer; gives the one before.
    fn replace(&mut self, buffer: Vec<u8>) -> Vec<u8> {
        self.from = 0;
        std::mem::replace(&mut self.buffer, buffer)
    }

    /// Forgets the first `length` bytes of the buffer.
    pub(super) fn skip(&mut self, length: usize) {
        self.from += length;
    }

    /// Gives the first `length` bytes of the buffer. What comes after them moves to another one.
    pub(super) fn take(&mut self, length: usize) -> Bytes {
        let (from, to) = (self.from, self.from + length);
        let after = &self.buffer[to..];
        if self.buffer.capacity() > 2 * length {
            // Memory is held as long as what lies in it: few bytes don't hold much.
            let given = Bytes::copy_from_slice(&self[..length]);
            self.from = to;
            return given;
        }
        let mut next = match after.is_empty() && self.waiting == 0 {
            true => Vec::new(),
            false => self.buffers.get(self.buffer.capacity()),
        };
        next.extend_from_slice(after);
        let bytes = self.replace(next);
        Bytes::from_owner(Lent {
            bytes,
            from,
            to,
            buffers: self.buffers.clone(),
        })
    }
}
