//! Numbers of lines in files that are read in pieces.

use std::collections::BTreeMap;
use std::fmt;
use std::sync::{Arc, Mutex, PoisonError};

use futures::TryStreamExt;
use tidegate_core::{Decode, Decoded, Error, Origin, Result, RowPlaces};
use tidegate_formats::{Chunk, EncodedChunk};
use tidegate_storage::{FileMeta, Storage};

/// Counts a file's lines before an offset, when someone asks, which is when a row of a later piece
/// was rejected.
pub(crate) struct LineIndex {
    storage: Storage,
    file: FileMeta,
    /// Newlines before some offsets.
    known: Mutex<BTreeMap<u64, u64>>,
}

impl fmt::Debug for LineIndex {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "LineIndex({})", self.file.key)
    }
}

impl LineIndex {
    pub(crate) fn new(storage: Storage, file: FileMeta) -> Self {
        Self {
            storage,
            file,
            known: Mutex::new(BTreeMap::from([(0, 0)])),
        }
    }

    /// How many lines end before `offset`. Blocks; reads the file from the last place known.
    fn before(&self, offset: u64) -> Result<u64> {
        // Held while counting: others of this file wait for what they need anyway.
        let mut known = self.known.lock().unwrap_or_else(PoisonError::into_inner);
        let (from, lines) = known
            .range(..=offset)
            .next_back()
            .map_or((0, 0), |(from, lines)| (*from, *lines));
        let lines = lines + self.count(from, offset)?;
        known.insert(offset, lines);
        Ok(lines)
    }

    /// On a thread and a runtime of its own, because the caller's may be driving us.
    fn count(&self, from: u64, to: u64) -> Result<u64> {
        let count = async {
            let bytes = self
                .storage
                .stream(&self.file, from..to, self.storage.read_ahead());
            let count = |lines, bytes: bytes::Bytes| async move {
                Ok(lines + memchr::memchr_iter(b'\n', &bytes).count() as u64)
            };
            bytes.try_fold(0, count).await
        };
        let failed = |error: std::io::Error| Error::io("can't count a file's lines", error);
        std::thread::scope(|scope| {
            let thread = std::thread::Builder::new().name("tidegate-lines".into());
            let thread = thread.spawn_scoped(scope, || {
                tokio::runtime::Builder::new_current_thread()
                    .enable_all()
                    .build()
                    .map_err(failed)?
                    .block_on(count)
            });
            let died = |_| Err(Error::internal("counting a file's lines did not end"));
            thread.map_err(failed)?.join().unwrap_or_else(died)
        })
    }
}

/// A chunk whose first line's number is not known unless someone needs it.
#[derive(Debug)]
pub(crate) struct UncountedChunk {
    pub(crate) encoded: EncodedChunk,
    pub(crate) index: Arc<LineIndex>,
}

impl Decode for UncountedChunk {
    fn size(&self) -> usize {
        self.encoded.size()
    }

    fn decode(self: Box<Self>) -> Result<Decoded> {
        let EncodedChunk {
            chunk,
            decoder,
            file,
        } = self.encoded;
        let mut decoded = decoder.decode(&chunk, &file)?;
        let mut lines = Lines {
            chunk,
            index: self.index,
            counted: None,
        };
        for row in &mut decoded.rejected.rows {
            lines.complete(&mut row.origin)?;
        }
        decoded.places = decoded
            .places
            .map(|places| Box::new(CountedPlaces { places, lines }) as _);
        Ok(decoded)
    }
}

/// The lines of a chunk's rows, which are asked for in their order.
#[derive(Debug)]
struct Lines {
    chunk: Chunk,
    index: Arc<LineIndex>,
    /// How many lines end before a place in the chunk.
    counted: Option<(u64, usize)>,
}

impl Lines {
    /// Adds the line to an origin that has none.
    fn complete(&mut self, origin: &mut Origin) -> Result<()> {
        let (None, Some(offset)) = (origin.line, origin.offset) else {
            return Ok(());
        };
        let Chunk { bytes, start, .. } = &self.chunk;
        let end = usize::try_from(offset.saturating_sub(start.offset)).unwrap_or(usize::MAX);
        let end = end.min(bytes.len());
        let (lines, upto) = match self.counted {
            Some((lines, upto)) if upto <= end => (lines, upto),
            _ => (self.index.before(start.offset)?, 0),
        };
        let between = memchr::memchr_iter(b'\n', &bytes[upto..end]).count();
        let lines = lines + between as u64;
        origin.line = Some(lines + 1);
        self.counted = Some((lines, end));
        Ok(())
    }
}

/// The places of the rows that were taken, with their lines.
#[derive(Debug)]
struct CountedPlaces {
    places: Box<dyn RowPlaces>,
    lines: Lines,
}

impl RowPlaces for CountedPlaces {
    fn origin(&mut self, row: usize) -> Result<Origin> {
        let mut origin = self.places.origin(row)?;
        self.lines.complete(&mut origin)?;
        Ok(origin)
    }
}
