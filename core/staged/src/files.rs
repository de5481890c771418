//! The files of one epoch, shared by its writers.

use std::collections::HashMap;
use std::fmt::{self, Debug};
use std::hash::Hash;
use std::sync::atomic::{AtomicBool, AtomicU64, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use bytes::Bytes;
use serde::Serialize;
use serde::de::DeserializeOwned;
use tidegate_core::{
    CpuWriter, Epoch, Error, Result, Sealed, SinkEpoch, Token, Writer, WriterId, async_trait,
};
use tidegate_storage::{Staged, StagedToken};
use tokio::sync::mpsc::{UnboundedReceiver, UnboundedSender, unbounded_channel};
use tokio::task::JoinHandle;

use crate::destination::Destination;
use crate::failure::Failure;
use crate::prepared::{File, Values, directory_of};
use crate::room::{FILE_COST, Parcel};

/// The bytes that an open upload holds back until they are a part, at most.
const PART_BYTES: u64 = 8 << 20;

/// How the files of an epoch are encoded, and what they are called.
pub trait Format: Debug + Send + Sync + Sized + 'static {
    /// What rows of one file have in common: there is at most one open file for each.
    type Key: Debug + Clone + Eq + Hash + Send + Sync;
    /// Encodes one file.
    type Encoder: Send;
    /// What the sink wants to know of a file when the run ends.
    type About: Debug + Clone + Serialize + DeserializeOwned + Send + Sync;

    /// The key of a file in the sink's directory; `unique` tells it from all others.
    fn name(&self, key: &Self::Key, unique: &str) -> String;

    /// What is to be remembered of a file.
    fn about(&self, key: &Self::Key) -> Self::About;

    /// Begins a file.
    fn begin(&self, key: &Self::Key, out: &mut Outlet) -> Result<Self::Encoder>;

    /// Ends it.
    fn end(&self, encoder: Self::Encoder, out: &mut Outlet) -> Result<()>;

    /// A writer beside others.
    fn writer(files: &Arc<Files<Self>>) -> Result<Box<dyn CpuWriter>>;
}

/// Where a file's bytes go. They are written beside the work; an error shows with what is done next.
#[derive(Debug)]
pub struct Outlet {
    to: UnboundedSender<Message>,
    destination: Arc<Destination>,
    bytes: u64,
}

impl Outlet {
    /// Adds bytes at the end of the file.
    pub fn send(&mut self, bytes: impl Into<Bytes>) {
        let bytes = bytes.into();
        if bytes.is_empty() {
            return;
        }
        self.bytes += bytes.len() as u64;
        let parcel = self.destination.room.parcel(bytes, 0);
        // Nobody takes it any more where the file has failed, which is told already.
        let _ = self.to.send(Message::Bytes(parcel));
    }
}

#[derive(Debug)]
enum Message {
    Bytes(Parcel),
    /// No more: make it durable. A file that goes without is given up.
    End,
}

/// The files of one epoch.
pub struct Files<F: Format> {
    format: F,
    destination: Arc<Destination>,
    epoch: Epoch,
    slots: Mutex<HashMap<F::Key, Arc<Slot<F>>>>,
    clock: AtomicU64,
    open: AtomicUsize,
    held: AtomicU64,
    /// All that were begun.
    writing: Mutex<Vec<Writing<F>>>,
    shared: Arc<Shared>,
}

/// What an epoch shares with the tasks that write its files.
#[derive(Debug, Default)]
struct Shared {
    begun: Mutex<Vec<StagedToken>>,
    failure: Failure,
}

struct Writing<F: Format> {
    about: F::About,
    task: JoinHandle<Option<Staged>>,
}

/// The open file of one key; there is one, while nobody holds the lock, if `open`.
struct Slot<F: Format> {
    file: Mutex<Option<OpenFile<F>>>,
    open: AtomicBool,
    used: AtomicU64,
    held: AtomicU64,
}

struct OpenFile<F: Format> {
    encoder: F::Encoder,
    outlet: Outlet,
}

impl<F: Format> Debug for Files<F> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let open = self.open.load(Ordering::Relaxed);
        write!(f, "Files(epoch {}, {open} open)", self.epoch)
    }
}

impl<F: Format> Files<F> {
    /// How they are encoded.
    pub fn format(&self) -> &F {
        &self.format
    }

    /// Adds to the file of a key, about `more` bytes, and begins the next file where one is full.
    ///
    /// To be called on a thread that may block: it waits while far too much is under way to the place.
    pub fn append<T>(
        &self,
        key: &F::Key,
        more: u64,
        write: impl FnOnce(&mut F::Encoder, &mut Outlet) -> Result<T>,
    ) -> Result<T> {
        self.shared.failure.check()?;
        let slot = self.slot(key);
        let mut open = lock(&slot.file);
        let target = self.destination.target;
        // A file may end a little over its target, rather than leave a small one behind.
        if let Some(full) = open.take_if(|file| file.outlet.bytes + more > target + target / 8) {
            self.shut(&slot, full)?;
        }
        let mut file = match open.take() {
            Some(file) => file,
            None => self.begin(key)?,
        };
        if !slot.open.swap(true, Ordering::Relaxed) {
            self.open.fetch_add(1, Ordering::Relaxed);
        }
        let written = match write(&mut file.encoder, &mut file.outlet) {
            Ok(written) => written,
            Err(error) => {
                self.lost(&slot);
                return Err(error);
            }
        };
        self.hold(&slot, file.outlet.bytes.min(PART_BYTES));
        if file.outlet.bytes >= target {
            self.shut(&slot, file)?;
        } else {
            *open = Some(file);
        }
        drop(open);
        self.close_idle()?;
        self.wait()?;
        Ok(written)
    }

    /// Makes a file of this alone.
    pub fn whole(&self, key: &F::Key, bytes: impl Into<Bytes>) -> Result<()> {
        self.shared.failure.check()?;
        let OpenFile {
            encoder,
            mut outlet,
        } = self.begin(key)?;
        outlet.send(bytes);
        self.end(encoder, outlet)?;
        self.wait()
    }

    fn wait(&self) -> Result<()> {
        let failure = &self.shared.failure;
        self.destination.room.wait(|| failure.is_told());
        failure.check()
    }

    fn slot(&self, key: &F::Key) -> Arc<Slot<F>> {
        let mut slots = lock(&self.slots);
        let slot = slots.entry(key.clone()).or_insert_with(|| {
            Arc::new(Slot {
                file: Mutex::default(),
                open: AtomicBool::new(false),
                used: AtomicU64::new(0),
                held: AtomicU64::new(0),
            })
        });
        let now = self.clock.fetch_add(1, Ordering::Relaxed);
        slot.used.store(now, Ordering::Relaxed);
        Arc::clone(slot)
    }

    fn begin(&self, key: &F::Key) -> Result<OpenFile<F>> {
        let destination = Arc::clone(&self.destination);
        let name = self.format.name(key, &destination.unique(self.epoch));
        let (to, from) = unbounded_channel();
        let first = destination.room.parcel(Bytes::new(), FILE_COST);
        let written = write(
            Arc::clone(&destination),
            self.epoch,
            name,
            from,
            Arc::clone(&self.shared),
            first,
        );
        let about = self.format.about(key);
        let task = destination.runtime.spawn(written);
        lock(&self.writing).push(Writing { about, task });
        let mut outlet = Outlet {
            to,
            destination,
            bytes: 0,
        };
        Ok(OpenFile {
            encoder: self.format.begin(key, &mut outlet)?,
            outlet,
        })
    }

    fn end(&self, encoder: F::Encoder, mut outlet: Outlet) -> Result<()> {
        self.format.end(encoder, &mut outlet)?;
        let _ = outlet.to.send(Message::End);
        Ok(())
    }

    /// Ends a slot's file.
    fn shut(&self, slot: &Slot<F>, file: OpenFile<F>) -> Result<()> {
        self.lost(slot);
        self.end(file.encoder, file.outlet)
    }

    /// A slot has no open file any more. Who looks for the one that was idle longest would find
    /// this one forever.
    fn lost(&self, slot: &Slot<F>) {
        if slot.open.swap(false, Ordering::Relaxed) {
            self.open.fetch_sub(1, Ordering::Relaxed);
        }
        self.hold(slot, 0);
    }

    /// Notes what a slot's file holds back; nobody else looks at the slot meanwhile.
    fn hold(&self, slot: &Slot<F>, bytes: u64) {
        let before = slot.held.swap(bytes, Ordering::Relaxed);
        self.held.fetch_add(bytes, Ordering::Relaxed);
        self.held.fetch_sub(before, Ordering::Relaxed);
    }

    /// Ends files that were idle longest, while too many are open.
    fn close_idle(&self) -> Result<()> {
        while self.open.load(Ordering::Relaxed) > self.destination.most_open
            || self.held.load(Ordering::Relaxed) > self.destination.most_held
        {
            let oldest = lock(&self.slots)
                .values()
                .filter(|slot| slot.open.load(Ordering::Relaxed))
                .min_by_key(|slot| slot.used.load(Ordering::Relaxed))
                .cloned();
            let Some(slot) = oldest else { break };
            // Under its lock to the end, or the next file of the slot would be taken for this one.
            let mut open = lock(&slot.file);
            match open.take() {
                Some(file) => self.shut(&slot, file)?,
                // Its encoder panicked.
                None => self.lost(&slot),
            }
        }
        Ok(())
    }

    /// Ends all files, and waits until they are durable.
    async fn finish(&self) -> Result<Vec<File<F::About>>> {
        let slots: Vec<_> = lock(&self.slots).drain().map(|(_, slot)| slot).collect();
        for slot in slots {
            let file = lock(&slot.file).take();
            if let Some(file) = file {
                self.shut(&slot, file)?;
            }
        }
        let mut files = Vec::new();
        let writing = std::mem::take(&mut *lock(&self.writing));
        for Writing { about, task } in writing {
            match task.await {
                Ok(Some(staged)) => files.push(File { staged, about }),
                // It failed, which is told below.
                Ok(None) => {}
                Err(error) => {
                    let error = Error::internal("a file could not be ended").because(error);
                    self.shared.failure.tell(error);
                }
            }
        }
        self.shared.failure.check()?;
        files.sort_by(|a, b| a.key().cmp(b.key()));
        Ok(files)
    }
}

/// Writes one file: what comes, up to its end.
async fn write(
    destination: Arc<Destination>,
    epoch: Epoch,
    name: String,
    mut from: UnboundedReceiver<Message>,
    shared: Arc<Shared>,
    first: Parcel,
) -> Option<Staged> {
    let _handle = destination.handles.acquire().await.ok()?;
    let written = async {
        let storage = &destination.storage;
        destination.check_links(&name).await?;
        let token = storage.begin(&name).await?;
        let journalled = Token::encode(&token)?;
        destination.journal.begin(epoch, journalled).await?;
        lock(&shared.begun).push(token.clone());
        let mut staged = storage.create(&token).await?;
        while let Some(message) = from.recv().await {
            match message {
                Message::Bytes(mut parcel) => {
                    staged.write(std::mem::take(&mut parcel.bytes)).await?;
                }
                Message::End => return staged.finish().await.map(Some),
            }
        }
        Ok(None)
    };
    let written: Result<Option<Staged>> = written.await;
    drop(first);
    written.unwrap_or_else(|error| {
        shared.failure.tell(error);
        destination.room.wake();
        None
    })
}

/// An epoch whose rows become files.
#[derive(Debug)]
pub struct FilesEpoch<F: Format>(Arc<Files<F>>);

impl<F: Format> FilesEpoch<F> {
    pub(crate) fn new(destination: Arc<Destination>, epoch: Epoch, format: F) -> Self {
        Self(Arc::new(Files {
            format,
            destination,
            epoch,
            slots: Mutex::default(),
            clock: AtomicU64::new(0),
            open: AtomicUsize::new(0),
            held: AtomicU64::new(0),
            writing: Mutex::default(),
            shared: Arc::default(),
        }))
    }
}

impl<F: Format> FilesEpoch<F> {
    /// Its files.
    pub fn files(&self) -> &Arc<Files<F>> {
        &self.0
    }
}

#[async_trait]
impl<F: Format> SinkEpoch for FilesEpoch<F> {
    async fn writer(&self, _id: WriterId) -> Result<Writer> {
        F::writer(&self.0).map(Writer::Cpu)
    }

    async fn ready(&self) {
        let failure = &self.0.shared.failure;
        self.0.destination.room.calm(|| failure.is_told()).await;
    }

    async fn seal(&self) -> Result<Sealed> {
        let files = self.0.finish().await?;
        if files.is_empty() {
            return Ok(Sealed::default());
        }
        let destination = &self.0.destination;
        let register = match &destination.registrar {
            None => Vec::new(),
            Some(registrar) => {
                let directories = files.iter().map(|file| directory_of(file.key()));
                vec![registrar.registration(directories)?]
            }
        };
        let bytes = files.iter().map(|file| file.staged.bytes).sum();
        destination.metrics.bytes(bytes);
        destination.metrics.files(files.len() as u64);
        let values = Values {
            files,
            register,
            ..Values::default()
        };
        Ok(Sealed {
            prepared: vec![values.encode()?],
            ..Sealed::default()
        })
    }

    async fn abandon(&self) {
        // Without their ends, files are given up.
        lock(&self.0.slots).clear();
        let writing = std::mem::take(&mut *lock(&self.0.writing));
        for Writing { task, .. } in writing {
            drop(task.await);
        }
        let begun = std::mem::take(&mut *lock(&self.0.shared.begun));
        // What stays is found by the next attempt, through the journal.
        drop(self.0.destination.storage.discard(&begun).await);
    }
}

/// A lock whose holder panicked: the attempt fails by that panic, and only `abandon` still looks.
fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}
