//! Where requests are kept between the client and the pipeline.

use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use bytes::Bytes;
use tidegate_core::{Error, Result};
use tidegate_push::handover::{self, Queue, Sender};
use tidegate_push::wal::{self, Log, Options};
use tokio::sync::Notify;
use tokio::time::{Duration, timeout};

use crate::config::{Ack, HttpServerConfig};

/// How many requests may wait in memory.
const WAITING: usize = 1 << 16;

/// Where requests are kept.
#[derive(Debug)]
pub(crate) enum Inbox {
    /// On disk.
    Log {
        log: Arc<Log>,
        /// The most bytes that it holds.
        most: u64,
        /// Rings when a commit is wanted, which makes room.
        crowded: Arc<Notify>,
    },
    /// In memory.
    Queue {
        sender: Sender<Kept>,
        queue: Queue<Kept>,
        /// How long a client waits for the commit; `None`: not at all.
        commit: Option<Duration>,
    },
}

/// A request that waits in memory, as the log would have it.
#[derive(Debug)]
pub(crate) struct Kept {
    record: Vec<u8>,
    /// Its part of the memory.
    _room: Room,
}

/// Why a request can't be kept.
#[derive(Debug)]
pub(crate) enum Refused {
    /// Until some of what is kept is committed.
    Full(&'static str),
    /// By an error.
    Failed(Error),
}

impl Inbox {
    /// Opens what `ack` asks for.
    pub(crate) async fn open(config: &HttpServerConfig, log: PathBuf) -> Result<Self> {
        let commit = match config.ack {
            Ack::Disk => {
                let options = Options {
                    max_bytes: config.max_log.0,
                };
                let open = tokio::task::spawn_blocking(move || Log::open(&log, options));
                let log = open
                    .await
                    .map_err(|error| Error::internal("opening a log failed").because(error))??;
                return Ok(Self::Log {
                    log: Arc::new(log),
                    most: config.max_log.0,
                    crowded: Arc::default(),
                });
            }
            Ack::Commit => Some(config.commit_timeout.0),
            Ack::Memory => None,
        };
        let (sender, queue) = handover::queue(WAITING);
        Ok(Self::Queue {
            sender,
            queue,
            commit,
        })
    }

    /// Keeps a request, and waits until it is as safe as `ack` says.
    pub(crate) async fn keep(&self, meta: Vec<u8>, body: Bytes, room: Room) -> Result<(), Refused> {
        match self {
            Self::Log { log, most, crowded } => {
                let appended = log
                    .append(&[&meta, &body])
                    .map_err(|refused| match refused {
                        wal::Refused::Full => {
                            crowded.notify_one();
                            Refused::Full("Log full")
                        }
                        wal::Refused::TooLong => {
                            Refused::Failed(Error::internal("a body is too long for the log"))
                        }
                        wal::Refused::Failed(error) => Refused::Failed(error),
                    })?;
                // In time, so that nobody is refused while a commit can make room.
                if appended.held() > most / 2 {
                    crowded.notify_one();
                }
                appended.await.map(drop).map_err(Refused::Failed)
            }
            Self::Queue { sender, commit, .. } => {
                // A copy, so that no more of the connection's buffer is held than this body.
                let mut record = meta;
                record.extend_from_slice(&body);
                let kept = Kept {
                    record,
                    _room: room,
                };
                let committed = sender.try_send(kept).map_err(|refused| match refused {
                    handover::Refused::Full => Refused::Full("Too many requests wait"),
                    handover::Refused::Gone => {
                        Refused::Failed(Error::transient("the pipeline has ended"))
                    }
                })?;
                let Some(patience) = commit else {
                    return Ok(());
                };
                match timeout(*patience, committed).await {
                    Ok(committed) => committed.map_err(Refused::Failed),
                    Err(_) => Err(Refused::Full("The commit takes too long")),
                }
            }
        }
    }

    /// Whether it takes a body of any length up to this one.
    pub(crate) fn takes(&self, longest: u64) -> bool {
        match self {
            Self::Log { log, most, .. } => {
                log.failure().is_none() && log.held().saturating_add(longest) <= *most
            }
            Self::Queue { sender, .. } => sender.has_room(),
        }
    }
}

impl Kept {
    /// The bytes that it holds in memory.
    pub(crate) fn size(&self) -> usize {
        self.record.len()
    }

    /// The request.
    pub(crate) fn record(&self) -> &[u8] {
        &self.record
    }
}

/// The memory that bodies may take together.
#[derive(Debug)]
pub(crate) struct Memory {
    left: AtomicU64,
}

/// A part of it, given back when it is dropped.
#[derive(Debug)]
pub(crate) struct Room {
    of: Arc<Memory>,
    bytes: u64,
}

impl Memory {
    pub(crate) fn new(bytes: u64) -> Arc<Self> {
        Arc::new(Self {
            left: AtomicU64::new(bytes),
        })
    }

    /// A part without anything yet.
    pub(crate) fn room(self: &Arc<Self>) -> Room {
        Room {
            of: Arc::clone(self),
            bytes: 0,
        }
    }
}

impl Room {
    /// Takes so much more, if there is so much.
    pub(crate) fn grow(&mut self, bytes: u64) -> bool {
        let taken = self
            .of
            .left
            .fetch_update(Ordering::Relaxed, Ordering::Relaxed, |left| {
                left.checked_sub(bytes)
            });
        self.bytes += taken.map_or(0, |_| bytes);
        taken.is_ok()
    }
}

impl Drop for Room {
    fn drop(&mut self) {
        self.of.left.fetch_add(self.bytes, Ordering::Relaxed);
    }
}
