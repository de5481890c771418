//! Reading files: whole chunks in order, some of them ahead, or single ranges.

use std::cmp::Ordering;
use std::ops::Range;

use bytes::Bytes;
use chrono::{DateTime, Utc};
use futures::stream::{BoxStream, StreamExt};
use object_store::{GetOptions, GetRange, ObjectMeta, ObjectStore, ObjectStoreExt};
use serde::{Deserialize, Serialize};
use tidegate_core::{Error, Result};

#[cfg(feature = "s3")]
use crate::Place;
use crate::Storage;

/// Chunks of a file, in order.
pub type ByteStream = BoxStream<'static, Result<Bytes>>;

/// What is known of a file.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct FileMeta {
    /// Its path relative to the storage; empty if the storage is the file itself.
    pub key: String,
    /// Its bytes.
    pub size: u64,
    /// When it was last changed.
    pub modified: DateTime<Utc>,
    /// What changes whenever its content does, if the place knows it.
    pub etag: Option<String>,
}

impl FileMeta {
    pub(crate) fn new(key: String, object: &ObjectMeta) -> Self {
        Self {
            key,
            size: object.size,
            modified: object.last_modified,
            etag: object.e_tag.clone(),
        }
    }

    /// The last part of its key.
    pub fn name(&self) -> &str {
        self.key.rsplit('/').next().unwrap_or(&self.key)
    }
}

/// No object is larger: S3 takes 50 TB since December 2025, and took 5 TB before.
#[cfg(feature = "s3")]
const LARGEST: u64 = 64 << 40;

/// The size of an object, if there can be one of it.
#[cfg(feature = "s3")]
pub(crate) fn possible(size: u64) -> Result<u64> {
    if size <= LARGEST {
        return Ok(size);
    }
    let tib = LARGEST >> 40;
    Err(Error::data(format!(
        "the server says that a file has {size} bytes, which is more than the {tib} TiB that one \
         can have"
    ))
    .hint("no server of S3 says this: see what stands at `endpoint_url`"))
}

/// How a stream reads: what it holds in memory is at most `chunk` × (`ahead` + 1).
#[derive(Debug, Clone, Copy)]
pub struct ReadAhead {
    /// Bytes read at once.
    pub chunk: u64,
    /// Chunks read before they are asked for.
    pub ahead: usize,
}

impl ReadAhead {
    /// The same, or as much of it as takes at most so many bytes.
    #[must_use]
    pub fn within(self, bytes: u64) -> Self {
        let chunks = self.ahead as u64 + 1;
        let chunk = self.chunk.min((bytes / chunks).max(LEAST_CHUNK));
        let ahead = (bytes / chunk).clamp(1, chunks) - 1;
        Self {
            chunk,
            ahead: usize::try_from(ahead).unwrap_or(self.ahead),
        }
    }
}

/// Less isn't worth a request.
const LEAST_CHUNK: u64 = 256 << 10;

impl Default for ReadAhead {
    /// 512 KiB, one ahead: large enough for a disk's full speed, small enough for a core's cache. What
    /// suits a place is said by [`Storage::read_ahead`].
    fn default() -> Self {
        Self {
            chunk: 512 << 10,
            ahead: 1,
        }
    }
}

impl Storage {
    /// What is known of the file at `key` (empty: of the storage's own path), `None` if there is
    /// no file (a directory is none).
    pub async fn file(&self, key: &str) -> Result<Option<FileMeta>> {
        let path = self.object_path(key)?;
        if path.is_root() {
            return Ok(None);
        }
        match self.objects().head(&path).await {
            Ok(object) => {
                #[cfg(feature = "s3")]
                if self.location().place() == Place::S3 {
                    possible(object.size).map_err(|error| error.with("path", self.show(key)))?;
                }
                Ok(Some(FileMeta::new(key.to_owned(), &object)))
            }
            Err(object_store::Error::NotFound { .. }) => Ok(None),
            Err(_) if self.is_directory(key).await.unwrap_or(false) => Ok(None),
            Err(error) => Err(crate::error::object(
                "look at a file",
                &self.show(key),
                error,
            )),
        }
    }

    /// What is known of a file that must be there.
    pub async fn head(&self, key: &str) -> Result<FileMeta> {
        self.file(key)
            .await?
            .ok_or_else(|| Error::not_found("no such file").with("path", self.show(key)))
    }

    /// Bytes `range` of a file. Fails with `Conflict` if the file is another than `file` knows
    /// (where the place tells), with `Data` if it is shorter, or if more comes than was asked for.
    pub async fn read(&self, file: &FileMeta, range: Range<u64>) -> Result<Bytes> {
        if range.start >= range.end {
            return Ok(Bytes::new());
        }
        let failed = |error| crate::error::object("read a file", &self.show(&file.key), error);
        let options = GetOptions {
            range: Some(GetRange::Bounded(range.clone())),
            if_match: file.etag.clone(),
            ..GetOptions::default()
        };
        let path = self.object_path(&file.key)?;
        let result = self.objects().get_opts(&path, options).await;
        let bytes = result.map_err(failed)?.bytes().await.map_err(failed)?;
        let wrong = match (bytes.len() as u64).cmp(&(range.end - range.start)) {
            Ordering::Equal => return Ok(bytes),
            Ordering::Less => "the file is shorter than it was",
            Ordering::Greater => "more bytes came than were asked for",
        };
        Err(Error::data(wrong)
            .with("path", self.show(&file.key))
            .hint("files must not be changed while they are read"))
    }

    /// Bytes `range` of a file in chunks, the next ones already being read. Dropping the stream
    /// ends the reading.
    pub fn stream(&self, file: &FileMeta, range: Range<u64>, how: ReadAhead) -> ByteStream {
        let chunk = how.chunk.max(1);
        let (storage, file) = (self.clone(), file.clone());
        let begins = std::iter::successors(Some(range.start), move |at| at.checked_add(chunk))
            .take_while(move |at| *at < range.end);
        futures::stream::iter(begins)
            .map(move |begin| {
                let (storage, file) = (storage.clone(), file.clone());
                let end = range.end.min(begin.saturating_add(chunk));
                // A task of its own, so that it continues while nobody polls the stream.
                let read = async move { storage.read(&file, begin..end).await };
                async move {
                    match tokio::runtime::Handle::try_current() {
                        Err(_) => read.await,
                        Ok(runtime) => AbortOnDrop(runtime.spawn(read)).await,
                    }
                }
            })
            .buffered(how.ahead + 1)
            .boxed()
    }
}

/// A task that ends with the one who waits for it.
struct AbortOnDrop(tokio::task::JoinHandle<Result<Bytes>>);

impl Future for AbortOnDrop {
    type Output = Result<Bytes>;

    fn poll(
        mut self: std::pin::Pin<&mut Self>,
        cx: &mut std::task::Context<'_>,
    ) -> std::task::Poll<Self::Output> {
        std::pin::Pin::new(&mut self.0).poll(cx).map(|joined| {
            joined.unwrap_or_else(|error| Err(Error::internal("a read did not end").because(error)))
        })
    }
}

impl Drop for AbortOnDrop {
    fn drop(&mut self) {
        self.0.abort();
    }
}
