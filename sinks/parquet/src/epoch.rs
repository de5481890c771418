//! The files of one epoch, shared by its writers.

use std::collections::HashMap;
use std::io::{self, Write};
use std::sync::Arc;
use std::sync::Mutex;
use std::sync::PoisonError;
use std::sync::atomic::{AtomicBool, AtomicU64, AtomicUsize, Ordering};

use bytes::Bytes;
use futures::future::BoxFuture;
use futures::{FutureExt, StreamExt, TryStreamExt};
use parquet::file::writer::SerializedFileWriter;
use tidegate_core::{Epoch, Error, Journal, Result, Token};
use tidegate_storage::{Staged, StagedToken, StagedWriter, Storage};

use crate::properties::{Layout, broken};
use crate::row_group::Encoded;

/// How many files an epoch holds open: well below the usual limit of 1024 a process.
const OPEN_FILES: usize = 200;

/// The bytes that an open upload holds back until they are a part, at most.
const PART_BYTES: u64 = 8 << 20;

/// How many bytes leave for the file at once.
const WRITE_BYTES: usize = 1 << 20;

/// What bounds an epoch's files, in bytes.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Sizes {
    /// Of one file, about.
    pub(crate) target: u64,
    /// What open uploads may hold back, together.
    pub(crate) room: u64,
}

/// What the writers of one epoch share.
#[derive(Debug)]
pub(crate) struct EpochFiles {
    layout: Arc<Layout>,
    storage: Storage,
    journal: Arc<dyn Journal>,
    epoch: Epoch,
    /// `part-<lineage>-<run>-<sink>-<epoch>`: no two epochs share it, nor two sinks of a pipeline
    /// that write into one folder.
    stem: String,
    target: u64,
    /// Writers that have neither prepared nor given up.
    writers: AtomicUsize,
    /// Counts the files of all epochs, so that no two writers can ever make one name.
    named: Arc<AtomicU64>,
    clock: AtomicU64,
    slots: Mutex<HashMap<Arc<str>, Arc<Slot>>>,
    begun: Mutex<Vec<StagedToken>>,
    closing: Mutex<Vec<Closing>>,
    done: Mutex<Vec<Staged>>,
    open: AtomicUsize,
    room: u64,
    held: AtomicU64,
}

/// The open file of one partition; at most one, while nobody looks at it.
#[derive(Debug, Default)]
struct Slot {
    file: tokio::sync::Mutex<Option<OpenFile>>,
    open: AtomicBool,
    used: AtomicU64,
    held: AtomicU64,
}

struct OpenFile {
    parquet: SerializedFileWriter<Outbox>,
    outbox: Outbox,
    staged: Box<dyn StagedWriter>,
}

/// What the encoder has given and the file doesn't have yet.
#[derive(Debug, Clone, Default)]
struct Outbox(Arc<Mutex<Vec<u8>>>);

impl Outbox {
    fn len(&self) -> usize {
        lock(&self.0).len()
    }

    fn take(&self) -> Bytes {
        std::mem::take(&mut *lock(&self.0)).into()
    }
}

impl Write for Outbox {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        lock(&self.0).extend_from_slice(bytes);
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

type Closing = Pending<Result<Staged>>;

/// A future that only its owner names.
struct Pending<T>(BoxFuture<'static, T>);

impl<T> std::fmt::Debug for Pending<T> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Pending")
    }
}

impl std::fmt::Debug for OpenFile {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "OpenFile({} bytes)", self.parquet.bytes_written())
    }
}

impl OpenFile {
    fn bytes(&self) -> u64 {
        self.parquet.bytes_written() as u64
    }

    /// Column by column, so that a row group isn't in memory twice.
    async fn append(&mut self, group: Encoded) -> Result<()> {
        let mut row_group = self.parquet.next_row_group().map_err(broken)?;
        for chunk in group.chunks {
            chunk.append_to_row_group(&mut row_group).map_err(broken)?;
            if self.outbox.len() >= WRITE_BYTES {
                self.staged.write(self.outbox.take()).await?;
            }
        }
        row_group.close().map_err(broken)?;
        self.staged.write(self.outbox.take()).await
    }

    async fn finish(self) -> Result<Staged> {
        let Self {
            parquet,
            outbox,
            mut staged,
        } = self;
        parquet.into_inner().map_err(broken)?;
        staged.write(outbox.take()).await?;
        staged.finish().await
    }
}

impl EpochFiles {
    pub(crate) fn new(
        layout: Arc<Layout>,
        storage: Storage,
        journal: Arc<dyn Journal>,
        epoch: Epoch,
        stem: String,
        Sizes { target, room }: Sizes,
        named: Arc<AtomicU64>,
    ) -> Self {
        Self {
            layout,
            storage,
            journal,
            epoch,
            stem,
            target,
            writers: AtomicUsize::new(0),
            named,
            clock: AtomicU64::new(0),
            slots: Mutex::default(),
            begun: Mutex::default(),
            closing: Mutex::default(),
            done: Mutex::default(),
            open: AtomicUsize::new(0),
            room,
            held: AtomicU64::new(0),
        }
    }

    pub(crate) fn layout(&self) -> &Arc<Layout> {
        &self.layout
    }

    /// Counts a writer in. All are, before the first one leaves.
    pub(crate) fn enter(&self) {
        self.writers.fetch_add(1, Ordering::AcqRel);
    }

    /// Counts a writer out, and says whether it was the last.
    fn leave(&self) -> bool {
        self.writers.fetch_sub(1, Ordering::AcqRel) == 1
    }

    /// Adds a row group to the partition's file, and begins the next file where one is full.
    pub(crate) async fn append(&self, partition: &Arc<str>, group: Encoded) -> Result<()> {
        let slot = self.slot(partition);
        let mut open = slot.file.lock().await;
        let more = group.bytes as u64;
        // A file may end a little over its target, rather than leave a small one behind.
        let full = |file: &mut OpenFile| file.bytes() + more > self.target + self.target / 8;
        if let Some(file) = open.take_if(full) {
            self.shut(&slot, file);
        }
        let mut file = match open.take() {
            Some(file) => file,
            None => {
                let file = self.begin(partition).await?;
                slot.open.store(true, Ordering::Relaxed);
                self.open.fetch_add(1, Ordering::Relaxed);
                file
            }
        };
        if let Err(error) = file.append(group).await {
            self.lost(&slot);
            return Err(error);
        }
        self.hold(&slot, file.bytes().min(PART_BYTES));
        if file.bytes() >= self.target {
            self.shut(&slot, file);
        } else {
            *open = Some(file);
        }
        drop(open);
        self.close_idle().await
    }

    fn slot(&self, partition: &Arc<str>) -> Arc<Slot> {
        let mut slots = lock(&self.slots);
        let slot = slots.entry(Arc::clone(partition)).or_default();
        let now = self.clock.fetch_add(1, Ordering::Relaxed);
        slot.used.store(now, Ordering::Relaxed);
        Arc::clone(slot)
    }

    async fn begin(&self, partition: &str) -> Result<OpenFile> {
        let number = self.named.fetch_add(1, Ordering::Relaxed);
        let name = format!("{}-{number}.parquet", self.stem);
        let key = match partition {
            "" => name,
            folder => format!("{folder}/{name}"),
        };
        let token = self.storage.begin(&key).await?;
        self.journal
            .begin(self.epoch, Token::encode(&token)?)
            .await?;
        lock(&self.begun).push(token.clone());
        let outbox = Outbox::default();
        Ok(OpenFile {
            parquet: self.layout.file(outbox.clone())?,
            outbox,
            staged: self.storage.create(&token).await?,
        })
    }

    /// Ends a file beside the work, so that no writer waits for the disk.
    fn shut(&self, slot: &Slot, file: OpenFile) {
        self.lost(slot);
        let closing = match tokio::runtime::Handle::try_current() {
            Err(_) => file.finish().boxed(),
            Ok(runtime) => runtime
                .spawn(file.finish())
                .map(|joined| {
                    joined.unwrap_or_else(|error| {
                        Err(Error::internal("a file could not be ended").because(error))
                    })
                })
                .boxed(),
        };
        lock(&self.closing).push(Pending(closing));
    }

    /// A slot has no open file any more. Who looks for the one that was idle longest would wait for
    /// it for ever.
    fn lost(&self, slot: &Slot) {
        slot.open.store(false, Ordering::Relaxed);
        self.hold(slot, 0);
        self.open.fetch_sub(1, Ordering::Relaxed);
    }

    /// Notes what a slot's file holds back; nobody else looks at the slot meanwhile.
    fn hold(&self, slot: &Slot, bytes: u64) {
        let before = slot.held.swap(bytes, Ordering::Relaxed);
        self.held.fetch_add(bytes, Ordering::Relaxed);
        self.held.fetch_sub(before, Ordering::Relaxed);
    }

    /// Ends files that were idle longest, while too many are open.
    async fn close_idle(&self) -> Result<()> {
        while self.open.load(Ordering::Relaxed) > OPEN_FILES
            || self.held.load(Ordering::Relaxed) > self.room
        {
            let oldest = lock(&self.slots)
                .values()
                .filter(|slot| slot.open.load(Ordering::Relaxed))
                .min_by_key(|slot| slot.used.load(Ordering::Relaxed))
                .cloned();
            let Some(slot) = oldest else { break };
            let mut open = slot.file.lock().await;
            if let Some(file) = open.take() {
                self.shut(&slot, file);
            }
        }
        // Files being ended still have their handles: wait, rather than run out of them.
        let crowd = {
            let mut closing = lock(&self.closing);
            if closing.len() > OPEN_FILES {
                std::mem::take(&mut *closing)
            } else {
                Vec::new()
            }
        };
        for Pending(file) in crowd {
            let staged = file.await?;
            lock(&self.done).push(staged);
        }
        Ok(())
    }

    /// Counts a writer out. The last one gets all files of the epoch, durable.
    pub(crate) async fn prepare(&self) -> Result<Vec<Staged>> {
        if !self.leave() {
            return Ok(Vec::new());
        }
        let slots: Vec<_> = lock(&self.slots).drain().map(|(_, slot)| slot).collect();
        for slot in slots {
            if let Some(file) = slot.file.lock().await.take() {
                self.shut(&slot, file);
            }
        }
        let closing = std::mem::take(&mut *lock(&self.closing));
        let closing = futures::stream::iter(closing.into_iter().map(|Pending(file)| file));
        let closed: Vec<_> = closing.buffer_unordered(8).try_collect().await?;
        let mut files = std::mem::take(&mut *lock(&self.done));
        files.extend(closed);
        files.sort_by(|a, b| a.token.key.cmp(&b.token.key));
        Ok(files)
    }

    /// Counts a writer out of an epoch that will never be. The last one removes its files.
    pub(crate) async fn abandon(&self) {
        if !self.leave() {
            return;
        }
        lock(&self.slots).clear();
        let closing = std::mem::take(&mut *lock(&self.closing));
        for Pending(file) in closing {
            // Removed just below, whatever came of it.
            drop(file.await);
        }
        let begun = std::mem::take(&mut *lock(&self.begun));
        // What stays is found by the next attempt, through the journal.
        drop(self.storage.discard(&begun).await);
    }
}

/// A lock whose holder panicked: the attempt fails by that panic, and only `abandon` still looks.
fn lock<T>(mutex: &Mutex<T>) -> std::sync::MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}
