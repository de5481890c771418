//! What a query asked of the places where files lie.

use std::sync::atomic::{AtomicU64, Ordering};

/// Requests and bytes, counted where they leave the process.
#[derive(Debug, Default)]
pub struct Traffic {
    listings: AtomicU64,
    reads: AtomicU64,
    bytes: AtomicU64,
}

impl Traffic {
    /// Directories or prefixes that were listed.
    pub fn listings(&self) -> u64 {
        self.listings.load(Ordering::Relaxed)
    }

    /// Reads of files: whole ones, or ranges.
    pub fn reads(&self) -> u64 {
        self.reads.load(Ordering::Relaxed)
    }

    /// Bytes read, as they lie there (compressed), footers and headers included.
    pub fn bytes(&self) -> u64 {
        self.bytes.load(Ordering::Relaxed)
    }

    pub(crate) fn listed(&self) {
        self.listings.fetch_add(1, Ordering::Relaxed);
    }

    /// Counts a request that began to read.
    pub fn began(&self) {
        self.reads.fetch_add(1, Ordering::Relaxed);
    }

    /// Counts bytes that came.
    pub fn came(&self, bytes: u64) {
        self.bytes.fetch_add(bytes, Ordering::Relaxed);
    }

    pub(crate) fn read(&self, bytes: u64) {
        self.reads.fetch_add(1, Ordering::Relaxed);
        self.bytes.fetch_add(bytes, Ordering::Relaxed);
    }
}
