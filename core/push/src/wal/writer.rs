//! The one thread that writes.

use std::fs::File;
use std::os::unix::fs::FileExt;
use std::sync::Arc;

use tidegate_core::Result;

use super::log::{Ended, Shared};
use super::segment;

/// What a buffer may keep of a burst.
const SPARE: usize = 8 << 20;

/// From how many records a group shows that more come: then the next one may wait for them.
const BUSY: usize = 8;

/// Writes groups until the log is closed or fails.
pub(crate) fn run(shared: &Shared, mut active: Active) {
    let mut spare = Vec::new();
    let mut is_busy = false;
    while let Some((at, mut bytes, waiting)) = shared.take(spare, is_busy) {
        is_busy = waiting.len() >= BUSY;
        if let Err(error) = active.write(shared, at, &bytes) {
            let ended = Ended::Failed(Arc::new(error));
            // First, so that whoever is told finds that nothing more is taken.
            shared.end(ended.clone());
            for one in waiting {
                let _ = one.told.send(Err(ended.error()));
            }
            return;
        }
        let end = at + bytes.len() as u64;
        shared
            .progress
            .send_modify(|progress| progress.durable = end);
        for one in waiting {
            // Who sent it may have stopped waiting.
            let _ = one.told.send(Ok(one.end));
        }
        bytes.clear();
        bytes.shrink_to(SPARE);
        spare = bytes;
    }
    shared.end(match active.close() {
        Ok(()) => Ended::Closed,
        Err(error) => Ended::Failed(Arc::new(error)),
    });
}

/// The segment that is written.
pub(crate) struct Active {
    file: File,
    base: u64,
    /// Up to where it is written.
    end: u64,
}

impl Active {
    /// Begins a segment at `at`.
    pub(crate) fn begin(shared: &Shared, at: u64) -> Result<Self> {
        let file = segment::create(&shared.directory, at, shared.options.segment())?;
        shared.kept().segments.push_back(at);
        Ok(Self {
            file,
            base: at,
            end: at,
        })
    }

    /// Writes a group and makes it durable.
    fn write(&mut self, shared: &Shared, at: u64, bytes: &[u8]) -> Result<()> {
        let end = at + bytes.len() as u64;
        if at > self.base && end - self.base > shared.options.segment() {
            self.close_at(shared)?;
            *self = Self::begin(shared, at)?;
        }
        let written = self.file.write_all_at(bytes, at - self.base);
        let synced = written.and_then(|()| self.file.sync_data());
        synced.map_err(|error| {
            segment::writing(error, &segment::path(&shared.directory, self.base))
        })?;
        self.end = end;
        Ok(())
    }

    fn close_at(&self, shared: &Shared) -> Result<()> {
        self.close().map_err(|error| {
            error.with(
                "path",
                segment::path(&shared.directory, self.base).display(),
            )
        })
    }

    /// Gives back the room that was reserved: a segment before the last ends where its frames do.
    fn close(&self) -> Result<()> {
        let cut = self.file.set_len(self.end - self.base);
        cut.and_then(|()| self.file.sync_all()).map_err(|error| {
            tidegate_core::Error::io("the write-ahead log can't be written", error)
        })
    }
}
