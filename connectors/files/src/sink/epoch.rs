//! The files of one epoch, shared by its writers: one open file for each input.

use std::fmt;
use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use arrow_array::RecordBatch;
use bytes::Bytes;
use chrono::{DateTime, Utc};
use futures::future::BoxFuture;
use futures::{FutureExt, StreamExt, TryStreamExt};
use tidegate_core::{Epoch, Error, Journal, Rejected, Result, Token};
use tidegate_storage::{Staged, StagedToken, StagedWriter, Storage};

use super::encode::{Encoding, FileEncoder};
use super::prepared::File;
use super::template::{Name, Template};

/// What all epochs of a sink share.
#[derive(Debug)]
pub(super) struct Shared {
    pub(super) storage: Storage,
    pub(super) journal: Arc<dyn Journal>,
    pub(super) template: Template,
    /// By input: its name, and how its rows become bytes.
    pub(super) inputs: Vec<(Arc<str>, Encoding)>,
    /// `<lineage>-<run>-<sink>`.
    pub(super) owner: String,
    pub(super) target: u64,
    /// Counts the files of all epochs, so that no two writers can ever make one name.
    pub(super) named: AtomicU64,
}

/// What the writers of one epoch share.
#[derive(Debug)]
pub(super) struct EpochFiles {
    shared: Arc<Shared>,
    epoch: Epoch,
    time: DateTime<Utc>,
    /// Writers that have neither prepared nor given up.
    writers: AtomicUsize,
    open: Vec<tokio::sync::Mutex<Option<OpenFile>>>,
    begun: Mutex<Vec<StagedToken>>,
    closing: Mutex<Vec<Closing>>,
}

struct OpenFile {
    about: About,
    encoder: FileEncoder,
    staged: Box<dyn StagedWriter>,
    bytes: u64,
}

/// What is known of a file before it is written.
#[derive(Debug, Clone)]
struct About {
    plain: Option<String>,
    input: usize,
    time: DateTime<Utc>,
}

struct Closing(BoxFuture<'static, Result<File>>);

impl fmt::Debug for Closing {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Closing")
    }
}

impl fmt::Debug for OpenFile {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "OpenFile({} bytes)", self.bytes)
    }
}

impl About {
    fn file(self, staged: Staged) -> File {
        File {
            staged,
            plain: self.plain,
            input: self.input,
            time: self.time,
        }
    }
}

impl OpenFile {
    async fn write(&mut self, bytes: Vec<u8>) -> Result<()> {
        if bytes.is_empty() {
            return Ok(());
        }
        self.bytes += bytes.len() as u64;
        self.staged.write(Bytes::from(bytes)).await
    }

    async fn finish(mut self) -> Result<File> {
        let rest = self.encoder.finish()?;
        if !rest.is_empty() {
            self.staged.write(Bytes::from(rest)).await?;
        }
        Ok(self.about.file(self.staged.finish().await?))
    }
}

impl EpochFiles {
    pub(super) fn new(shared: Arc<Shared>, epoch: Epoch) -> Self {
        let open = shared.inputs.iter().map(|_| tokio::sync::Mutex::default());
        Self {
            epoch,
            time: Utc::now(),
            writers: AtomicUsize::new(0),
            open: open.collect(),
            begun: Mutex::default(),
            closing: Mutex::default(),
            shared,
        }
    }

    pub(super) fn encoding(&self, input: usize) -> Result<&Encoding> {
        let found = self.shared.inputs.get(input).map(|(_, encoding)| encoding);
        found.ok_or_else(|| Error::internal(format!("there is no input {input}")))
    }

    /// Counts a writer in. All are, before the first one leaves.
    pub(super) fn enter(&self) {
        self.writers.fetch_add(1, Ordering::AcqRel);
    }

    fn leave(&self) -> bool {
        self.writers.fetch_sub(1, Ordering::AcqRel) == 1
    }

    /// Adds whole records, as they are to lie in the file.
    pub(super) async fn append(&self, input: usize, records: Vec<u8>) -> Result<()> {
        let mut open = self.open[input].lock().await;
        let mut file = self.take(&mut open, input).await?;
        file.write(records).await?;
        self.put(&mut open, file);
        Ok(())
    }

    /// Adds rows that only the file itself can encode.
    pub(super) async fn encode(&self, input: usize, batch: &RecordBatch) -> Result<Rejected> {
        let mut open = self.open[input].lock().await;
        let mut file = self.take(&mut open, input).await?;
        let (bytes, rejected) = file.encoder.encode(batch)?;
        file.write(bytes).await?;
        self.put(&mut open, file);
        Ok(rejected)
    }

    /// Makes a file of these bytes alone.
    pub(super) async fn whole(&self, input: usize, bytes: Vec<u8>) -> Result<()> {
        let (about, mut staged) = self.begin(input).await?;
        let end = async move {
            staged.write(Bytes::from(bytes)).await?;
            Ok(about.file(staged.finish().await?))
        };
        // Each has a disk's fsync to wait for; the number that wait at once is bounded.
        let crowd = {
            let mut closing = lock(&self.closing);
            closing.push(beside(end));
            match closing.len() > 64 {
                true => std::mem::take(&mut *closing),
                false => Vec::new(),
            }
        };
        for Closing(file) in crowd {
            let file = file.await?;
            let done = futures::future::ready(Ok(file)).boxed();
            lock(&self.closing).push(Closing(done));
        }
        Ok(())
    }

    async fn take(&self, open: &mut Option<OpenFile>, input: usize) -> Result<OpenFile> {
        if let Some(file) = open.take() {
            return Ok(file);
        }
        let encoding = self.encoding(input)?;
        let mut encoder = encoding.file()?;
        let head = encoder.start()?;
        let (about, staged) = self.begin(input).await?;
        let mut file = OpenFile {
            about,
            encoder,
            staged,
            bytes: 0,
        };
        file.write(head).await?;
        Ok(file)
    }

    fn put(&self, open: &mut Option<OpenFile>, file: OpenFile) {
        if file.bytes < self.shared.target {
            *open = Some(file);
        } else {
            lock(&self.closing).push(beside(file.finish()));
        }
    }

    async fn begin(&self, input: usize) -> Result<(About, Box<dyn StagedWriter>)> {
        let number = self.shared.named.fetch_add(1, Ordering::Relaxed);
        let unique = format!("{}-{}-{number}", self.shared.owner, self.epoch);
        let name = self.name(input);
        let token = self.shared.storage.begin(&name.unique(&unique)).await?;
        let journalled = Token::encode(&token)?;
        self.shared.journal.begin(self.epoch, journalled).await?;
        lock(&self.begun).push(token.clone());
        let about = About {
            plain: self.shared.template.exact.then(|| name.plain()),
            input,
            time: self.time,
        };
        Ok((about, self.shared.storage.create(&token).await?))
    }

    fn name(&self, input: usize) -> Name {
        let stream = self.shared.inputs.get(input).map_or("", |(name, _)| name);
        self.shared.template.name(stream, self.time)
    }

    /// Counts a writer out. The last one gets all files of the epoch, durable.
    pub(super) async fn prepare(&self) -> Result<Vec<File>> {
        if !self.leave() {
            return Ok(Vec::new());
        }
        for open in &self.open {
            if let Some(file) = open.lock().await.take() {
                lock(&self.closing).push(beside(file.finish()));
            }
        }
        let closing = std::mem::take(&mut *lock(&self.closing));
        let closing = futures::stream::iter(closing.into_iter().map(|Closing(file)| file));
        let mut files: Vec<_> = closing.buffer_unordered(8).try_collect().await?;
        files.sort_by(|a, b| a.staged.token.key.cmp(&b.staged.token.key));
        Ok(files)
    }

    /// Counts a writer out of an epoch that will never be. The last one removes its files.
    pub(super) async fn abandon(&self) {
        if !self.leave() {
            return;
        }
        for open in &self.open {
            drop(open.lock().await.take());
        }
        let closing = std::mem::take(&mut *lock(&self.closing));
        for Closing(file) in closing {
            // Removed just below, whatever came of it.
            drop(file.await);
        }
        let begun = std::mem::take(&mut *lock(&self.begun));
        // What stays is found by the next attempt, through the journal.
        drop(self.shared.storage.discard(&begun).await);
    }
}

/// Ends a file beside the work, so that no writer waits for the disk.
fn beside(end: impl Future<Output = Result<File>> + Send + 'static) -> Closing {
    Closing(match tokio::runtime::Handle::try_current() {
        Err(_) => end.boxed(),
        Ok(runtime) => runtime
            .spawn(end)
            .map(|joined| {
                joined.unwrap_or_else(|error| {
                    Err(Error::internal("a file could not be ended").because(error))
                })
            })
            .boxed(),
    })
}

/// A lock whose holder panicked: the attempt fails by that panic, and only `abandon` still looks.
fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}
