//! The log as its users have it.

use std::collections::VecDeque;
use std::fs::{self, File};
use std::future::Future;
use std::path::{Path, PathBuf};
use std::pin::Pin;
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::task::{Context, Poll};
use std::thread::JoinHandle;
use std::time::Duration;

use tidegate_core::{Error, Result};
use tokio::sync::{oneshot, watch};
use uuid::Uuid;

use super::frame::{HEADER, Header, LONGEST};
use super::{Reader, open, segment, writer};

/// How big a log may get.
#[derive(Debug, Clone, Copy)]
pub struct Options {
    /// How many bytes it may hold on the disk. Beyond, [`Log::append`] answers [`Refused::Full`].
    pub max_bytes: u64,
}

impl Options {
    /// How long a segment is: short enough that what is trimmed goes soon.
    pub(crate) fn segment(self) -> u64 {
        (self.max_bytes / 8).clamp(1 << 20, 64 << 20)
    }
}

/// A log that is open in this process, and in no other.
///
/// Dropping it makes durable what was appended, and closes it.
#[derive(Debug)]
pub struct Log {
    shared: Arc<Shared>,
    writer: Option<JoinHandle<()>>,
    /// Locked while this is open.
    _lock: File,
}

/// Why a record isn't taken.
#[derive(Debug)]
pub enum Refused {
    /// The log holds as much as it may, until something is trimmed.
    Full,
    /// A record is longer than 1 GiB.
    TooLong,
    /// The log has failed, and has to be opened again.
    Failed(Error),
}

/// What the writer, readers and senders share.
#[derive(Debug)]
pub(crate) struct Shared {
    pub(crate) directory: PathBuf,
    pub(crate) options: Options,
    id: Uuid,
    pending: Mutex<Pending>,
    /// Says that something is pending, or that the log is to be closed.
    wake: Condvar,
    pub(crate) progress: watch::Sender<Progress>,
    kept: Mutex<Kept>,
}

/// How far the log is durable.
#[derive(Debug, Clone)]
pub(crate) struct Progress {
    pub(crate) durable: u64,
    pub(crate) ended: Option<Ended>,
}

/// Why nothing more comes.
#[derive(Debug, Clone)]
pub(crate) enum Ended {
    Closed,
    Failed(Arc<Error>),
}

impl Ended {
    pub(crate) fn error(&self) -> Error {
        match self {
            Self::Closed => Error::internal("the write-ahead log is closed"),
            Self::Failed(error) => Error::new(error.kind(), error.message())
                .hint("nothing that was accepted is lost; run the pipeline again once the disk is in order")
                .because(format!("{error:?}")),
        }
    }
}

/// What isn't written yet.
#[derive(Debug, Default)]
pub(crate) struct Pending {
    pub(crate) bytes: Vec<u8>,
    pub(crate) waiting: Vec<Waiting>,
    /// Where `bytes` begins.
    pub(crate) at: u64,
    pub(crate) closed: bool,
    /// Where what is kept on the disk begins.
    first: u64,
}

/// Somebody who waits until the log is durable up to `end`.
#[derive(Debug)]
pub(crate) struct Waiting {
    pub(crate) end: u64,
    pub(crate) told: oneshot::Sender<Result<u64>>,
}

/// What lies in the directory.
#[derive(Debug)]
pub(crate) struct Kept {
    /// Where segments begin; the last one is written.
    pub(crate) segments: VecDeque<u64>,
    trimmed: u64,
}

/// How long a group waits for more records when they come fast.
const MOMENT: Duration = Duration::from_micros(200);

/// A group of so many bytes waits for no more.
const ENOUGH: usize = 1 << 20;

impl Log {
    /// Opens the log in `directory`, which is made if it isn't there. Blocks.
    ///
    /// Errors: `Conflict` if another process has it open; `Data` if it is damaged; those of the file
    /// system.
    pub fn open(directory: &Path, options: Options) -> Result<Self> {
        let opened = open::open(directory, options)?;
        let at = opened.end;
        let (progress, _) = watch::channel(Progress {
            durable: at,
            ended: None,
        });
        let first = opened.segments.front().copied().unwrap_or(at);
        let shared = Arc::new(Shared {
            directory: directory.to_owned(),
            options,
            id: opened.mark.log,
            pending: Mutex::new(Pending {
                at,
                first,
                ..Pending::default()
            }),
            wake: Condvar::new(),
            progress,
            kept: Mutex::new(Kept {
                segments: opened.segments,
                trimmed: opened.mark.trimmed,
            }),
        });
        let active = writer::Active::begin(&shared, at)?;
        let of = Arc::clone(&shared);
        let writer = std::thread::Builder::new()
            .name("write-ahead log".to_owned())
            .spawn(move || writer::run(&of, active))
            .map_err(|error| {
                Error::io("a thread for the write-ahead log can't be started", error)
            })?;
        Ok(Self {
            shared,
            writer: Some(writer),
            _lock: opened.lock,
        })
    }

    /// Takes a record, given in parts. It is durable when the future has given the position after it;
    /// dropping the future changes nothing about that.
    pub fn append(&self, parts: &[&[u8]]) -> Result<Append, Refused> {
        let length: usize = parts.iter().map(|part| part.len()).sum();
        let Some(length) = u32::try_from(length).ok().filter(|_| length <= LONGEST) else {
            return Err(Refused::TooLong);
        };
        let mut sum = crc32fast::Hasher::new();
        for part in parts {
            sum.update(part);
        }
        let sum = sum.finalize();
        let (told, durable) = oneshot::channel();
        let mut pending = self.shared.pending();
        if pending.closed {
            return Err(Refused::Failed(self.shared.ended()));
        }
        let back = pending.bytes.len();
        let end = pending.at + (back + HEADER) as u64 + u64::from(length);
        // A group is written by one call and lies in one segment, so it is bounded as well.
        let is_full = end - pending.first > self.shared.options.max_bytes;
        let Some(back) = u32::try_from(back)
            .ok()
            .filter(|_| !is_full && back < LONGEST)
        else {
            return Err(Refused::Full);
        };
        let header = Header {
            sum,
            length,
            back,
            at: pending.at + u64::from(back),
        };
        pending.bytes.extend_from_slice(&header.bytes());
        for part in parts {
            pending.bytes.extend_from_slice(part);
        }
        let sleeps = pending.waiting.is_empty();
        pending.waiting.push(Waiting { end, told });
        let held = end - pending.first;
        drop(pending);
        if sleeps {
            self.shared.wake.notify_one();
        }
        Ok(Append { durable, held })
    }

    /// Reads what comes after `from`, as it gets durable.
    ///
    /// Errors: `Data` if the log has no such position: it was trimmed beyond, or ends before.
    pub fn reader(&self, from: u64) -> Result<Reader> {
        let begin = self.shared.kept().segments.front().copied();
        let end = self.shared.progress.borrow().durable;
        if begin.is_none_or(|begin| from < begin) || from > end {
            return Err(Error::data("the write-ahead log has no such position")
                .with("path", self.shared.directory.display())
                .with("position", from)
                .with("begins", begin.unwrap_or(end))
                .with("ends", end));
        }
        Ok(Reader::new(Arc::clone(&self.shared), from))
    }

    /// Forgets what lies before `upto`. Blocks for a sync.
    pub fn trim(&self, upto: u64) -> Result<()> {
        let mut kept = self.shared.kept();
        if upto <= kept.trimmed {
            return Ok(());
        }
        let mark = open::Mark {
            log: self.shared.id,
            trimmed: upto,
        };
        mark.write(&self.shared.directory)?;
        kept.trimmed = upto;
        while kept.segments.get(1).is_some_and(|next| *next <= upto)
            && let Some(base) = kept.segments.pop_front()
        {
            let path = segment::path(&self.shared.directory, base);
            fs::remove_file(&path).map_err(|error| segment::writing(error, &path))?;
        }
        let first = kept.segments.front().copied();
        drop(kept);
        if let Some(first) = first {
            self.shared.pending().first = first;
        }
        Ok(())
    }

    /// How many bytes it holds on the disk, or soon will.
    pub fn held(&self) -> u64 {
        let pending = self.shared.pending();
        pending.at + pending.bytes.len() as u64 - pending.first
    }

    /// Up to where it was trimmed: what a reader without a position of its own begins with.
    pub fn trimmed(&self) -> u64 {
        self.shared.kept().trimmed
    }

    /// The identity of the log: another one's positions mean nothing here.
    pub fn id(&self) -> Uuid {
        self.shared.id
    }

    /// The error that ended it, if one has.
    pub fn failure(&self) -> Option<Error> {
        let progress = self.shared.progress.borrow();
        progress.ended.as_ref().map(Ended::error)
    }
}

impl Drop for Log {
    fn drop(&mut self) {
        self.shared.pending().closed = true;
        self.shared.wake.notify_one();
        if let Some(writer) = self.writer.take() {
            // It catches its errors; what a panic left unanswered is told by the dropped senders.
            let _ = writer.join();
        }
    }
}

impl Shared {
    fn pending(&self) -> MutexGuard<'_, Pending> {
        self.pending.lock().unwrap_or_else(PoisonError::into_inner)
    }

    pub(crate) fn kept(&self) -> MutexGuard<'_, Kept> {
        self.kept.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Waits until there is something to write; `None` when the log is closed and all is written.
    ///
    /// When records come fast, a group that is begun a moment later holds many more of them, and a
    /// sync and its wake-ups cost what ten requests do.
    pub(crate) fn take(
        &self,
        spare: Vec<u8>,
        is_busy: bool,
    ) -> Option<(u64, Vec<u8>, Vec<Waiting>)> {
        let mut pending = self.pending();
        while pending.bytes.is_empty() {
            if pending.closed {
                return None;
            }
            pending = self
                .wake
                .wait(pending)
                .unwrap_or_else(PoisonError::into_inner);
        }
        if is_busy && !pending.closed && pending.bytes.len() < ENOUGH {
            drop(pending);
            std::thread::sleep(MOMENT);
            pending = self.pending();
        }
        let bytes = std::mem::replace(&mut pending.bytes, spare);
        let waiting = std::mem::take(&mut pending.waiting);
        let at = pending.at;
        pending.at += bytes.len() as u64;
        Some((at, bytes, waiting))
    }

    /// Ends the log: nothing more is taken, and all who wait are told.
    pub(crate) fn end(&self, ended: Ended) {
        // Known before anything is refused because of it.
        self.progress
            .send_modify(|progress| progress.ended = Some(ended.clone()));
        let waiting = {
            let mut pending = self.pending();
            pending.closed = true;
            pending.bytes.clear();
            std::mem::take(&mut pending.waiting)
        };
        for one in waiting {
            // Who sent it may have stopped waiting.
            let _ = one.told.send(Err(ended.error()));
        }
    }

    fn ended(&self) -> Error {
        let progress = self.progress.borrow();
        progress.ended.as_ref().unwrap_or(&Ended::Closed).error()
    }
}

/// A record on its way to the disk.
#[derive(Debug)]
pub struct Append {
    durable: oneshot::Receiver<Result<u64>>,
    held: u64,
}

impl Append {
    /// How many bytes the log holds with it.
    pub fn held(&self) -> u64 {
        self.held
    }
}

impl Future for Append {
    /// The position after the record.
    type Output = Result<u64>;

    fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Self::Output> {
        Pin::new(&mut self.durable)
            .poll(cx)
            .map(|told| told.unwrap_or_else(|_| Err(Ended::Closed.error())))
    }
}
