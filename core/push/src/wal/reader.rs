//! Reading from a position.

use std::fs::File;
use std::os::unix::fs::FileExt;
use std::sync::Arc;

use bytes::Bytes;
use tidegate_core::{Error, Result};
use tokio::sync::watch;

use super::frame::{self, HEADER, Header};
use super::log::{Progress, Shared};
use super::segment;

/// How many bytes are read at once, if one record isn't longer.
const CHUNK: u64 = 512 << 10;

/// Reads a log in order, as far as it is durable.
#[derive(Debug)]
pub struct Reader {
    shared: Arc<Shared>,
    progress: watch::Receiver<Progress>,
    at: u64,
    /// The segment that was read last.
    open: Option<(u64, Arc<File>)>,
}

impl Reader {
    pub(crate) fn new(shared: Arc<Shared>, at: u64) -> Self {
        let progress = shared.progress.subscribe();
        Self {
            shared,
            progress,
            at,
            open: None,
        }
    }

    /// The next records: waits until there are some.
    ///
    /// May be dropped at any point, and called again. Errors: what ended the log, once all that is
    /// durable was read; `Data` for damage.
    pub async fn next(&mut self) -> Result<Chunk> {
        let at = self.at;
        let durable = {
            let progress = self
                .progress
                .wait_for(|progress| progress.durable > at || progress.ended.is_some())
                .await
                .map_err(|_| Error::internal("the write-ahead log is gone"))?;
            match &progress.ended {
                Some(ended) if progress.durable <= at => return Err(ended.error()),
                _ => progress.durable,
            }
        };
        let (base, limit) = self.segment(durable)?;
        let file = match &self.open {
            Some((of, file)) if *of == base => Arc::clone(file),
            _ => {
                let path = segment::path(&self.shared.directory, base);
                let file = File::open(&path).map_err(|error| segment::reading(error, &path))?;
                let file = Arc::new(file);
                self.open = Some((base, Arc::clone(&file)));
                file
            }
        };
        let path = segment::path(&self.shared.directory, base);
        let read = tokio::task::spawn_blocking(move || {
            let bytes =
                read(&file, base, at, limit).map_err(|error| segment::reading(error, &path))?;
            bytes.ok_or_else(|| segment::damaged(&path, at))
        });
        let bytes = read.await.map_err(|error| {
            Error::internal("reading the write-ahead log failed").because(error)
        })??;
        self.at = at + bytes.len() as u64;
        Ok(Chunk {
            end: self.at,
            bytes: bytes.into(),
        })
    }

    /// The segment in which the next record lies, and up to where it can be read.
    fn segment(&self, durable: u64) -> Result<(u64, u64)> {
        let kept = self.shared.kept();
        let after = kept.segments.partition_point(|base| *base <= self.at);
        let base = after.checked_sub(1).and_then(|at| kept.segments.get(at));
        let base = base.ok_or_else(|| {
            Error::internal("the write-ahead log was trimmed beyond what was read")
        })?;
        let limit = kept.segments.get(after).copied().unwrap_or(durable);
        Ok((*base, limit.min(durable)))
    }
}

/// Whole frames from `at` on, at most up to `limit`; `None` if there is no valid one.
fn read(file: &File, base: u64, at: u64, limit: u64) -> std::io::Result<Option<Vec<u8>>> {
    let mut most = limit.saturating_sub(at).min(CHUNK);
    loop {
        let mut bytes = vec![0; usize::try_from(most).unwrap_or(usize::MAX)];
        file.read_exact_at(&mut bytes, at - base)?;
        let mut end = 0;
        while let Some((header, _)) = frame::record(&bytes[end..], at + end as u64) {
            end += header.frame();
        }
        if end > 0 {
            bytes.truncate(end);
            return Ok(Some(bytes));
        }
        // A record that is longer than a chunk.
        let header = Header::read(&bytes).filter(|header| header.at == at);
        match header.map(|header| header.frame() as u64) {
            Some(frame) if most < frame && at + frame <= limit => most = frame,
            _ => return Ok(None),
        }
    }
}

/// Some records, in order.
#[derive(Debug, Clone)]
pub struct Chunk {
    bytes: Bytes,
    /// The position after them.
    pub end: u64,
}

impl Chunk {
    /// The bytes that it holds in memory.
    pub fn size(&self) -> usize {
        self.bytes.len()
    }

    /// The records.
    pub fn records(&self) -> impl Iterator<Item = &[u8]> {
        let mut rest = &self.bytes[..];
        std::iter::from_fn(move || {
            let header = Header::read(rest)?;
            let (frame, after) = rest.split_at_checked(header.frame())?;
            rest = after;
            frame.get(HEADER..)
        })
    }
}
