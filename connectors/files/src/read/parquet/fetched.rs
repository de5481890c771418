//! Bytes of a row group, in as few requests as makes sense.

use std::io::{Cursor, Read};
use std::ops::Range;
use std::sync::Arc;

use bytes::Bytes;
use futures::{StreamExt, TryStreamExt};
use parquet::errors::ParquetError;
use parquet::file::reader::{ChunkReader, Length};
use tidegate_core::{Error, Metrics, Result};
use tidegate_storage::{FileMeta, Storage};
use tokio::sync::{OwnedSemaphorePermit, Semaphore};

/// Columns with less than this between them are read together: a request costs as much time as
/// this many bytes.
const GAP: u64 = 512 << 10;

/// Columns aren't joined to more than this, so that requests run beside each other.
const JOINED: u64 = 8 << 20;

/// Requests at once for one row group.
const REQUESTS: usize = 4;

/// How many bytes of row groups may be fetched and not decoded, of all files that are read at once.
#[derive(Debug, Clone)]
pub(crate) struct Room {
    /// In KiB.
    free: Arc<Semaphore>,
    all: u32,
}

impl Room {
    pub(crate) fn new(bytes: u64) -> Self {
        let all = u32::try_from(bytes >> 10).unwrap_or(u32::MAX).max(1);
        Self {
            free: Arc::new(Semaphore::new(all as usize)),
            all,
        }
    }

    /// Waits until there is room for so many bytes; for more than all there is, until nothing else is
    /// there.
    pub(super) async fn take(&self, bytes: u64) -> Result<OwnedSemaphorePermit> {
        let wanted = u32::try_from(bytes >> 10).unwrap_or(u32::MAX).min(self.all);
        let free = Arc::clone(&self.free).acquire_many_owned(wanted).await;
        free.map_err(|error| Error::internal("the memory of a source is gone").because(error))
    }
}

/// The bytes of a row group's columns, where they lie in the file.
#[derive(Debug, Clone)]
pub(super) struct Fetched {
    length: u64,
    chunks: Arc<[(u64, Bytes)]>,
    /// They count for as long as they are there.
    _held: Arc<OwnedSemaphorePermit>,
}

/// The ranges to read, each with whole columns.
fn joined(mut columns: Vec<Range<u64>>) -> Vec<Range<u64>> {
    columns.sort_unstable_by_key(|range| range.start);
    let mut ranges: Vec<Range<u64>> = Vec::new();
    for column in columns {
        match ranges.last_mut() {
            Some(last)
                if column.start < last.end
                    || (column.start - last.end <= GAP && column.end - last.start <= JOINED) =>
            {
                last.end = last.end.max(column.end);
            }
            _ => ranges.push(column),
        }
    }
    ranges
}

impl Fetched {
    /// Reads these columns.
    pub(super) async fn read(
        storage: &Storage,
        file: &FileMeta,
        columns: Vec<Range<u64>>,
        metrics: &Metrics,
        held: OwnedSemaphorePermit,
    ) -> Result<Self> {
        let chunks: Vec<_> = futures::stream::iter(joined(columns))
            .map(|range| async move {
                let bytes = storage.read(file, range.clone()).await?;
                metrics.bytes(range.end - range.start);
                Ok::<_, tidegate_core::Error>((range.start, bytes))
            })
            .buffered(REQUESTS)
            .try_collect()
            .await?;
        Ok(Self {
            length: file.size,
            chunks: chunks.into(),
            _held: Arc::new(held),
        })
    }

    fn from(&self, start: u64) -> Result<Bytes, ParquetError> {
        let inside = |(at, bytes): &&(u64, Bytes)| (*at..*at + bytes.len() as u64).contains(&start);
        let chunk = self.chunks.iter().find(inside);
        let chunk =
            chunk.and_then(|(at, bytes)| Some(bytes.slice(usize::try_from(start - at).ok()?..)));
        chunk.ok_or_else(|| ParquetError::EOF(format!("nothing was read at byte {start}")))
    }
}

impl Length for Fetched {
    fn len(&self) -> u64 {
        self.length
    }
}

impl ChunkReader for Fetched {
    type T = Box<dyn Read + Send>;

    fn get_read(&self, start: u64) -> Result<Self::T, ParquetError> {
        Ok(Box::new(Cursor::new(self.from(start)?)))
    }

    fn get_bytes(&self, start: u64, length: usize) -> Result<Bytes, ParquetError> {
        let bytes = self.from(start)?;
        if bytes.len() < length {
            return Err(ParquetError::EOF(format!(
                "a page at byte {start} goes beyond its column"
            )));
        }
        Ok(bytes.slice(..length))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn neighbours_are_read_together_and_large_columns_alone() {
        let mib = 1 << 20;
        assert_eq!(joined(vec![]), Vec::<Range<u64>>::new());
        assert_eq!(joined(vec![100..200, 4..100, 300..400]), vec![4..400]);
        let ranges = joined(vec![0..mib, 3 * mib..4 * mib, 4 * mib..13 * mib]);
        assert_eq!(ranges, vec![0..mib, 3 * mib..4 * mib, 4 * mib..13 * mib]);
    }
}
