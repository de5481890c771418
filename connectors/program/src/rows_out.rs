//! Rows that the program takes out: each epoch once its checkpoint is stored, and again after a
//! crash that came before the program was done with it.
//!
//! Until then they lie in files, because what is prepared has to outlive the process.

use std::collections::VecDeque;
use std::fmt;
use std::fs::File;
use std::io::{BufReader, BufWriter, ErrorKind};
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use arrow_array::RecordBatch;
use arrow_ipc::reader::StreamReader;
use arrow_ipc::writer::StreamWriter;
use serde::{Deserialize, Serialize};
use serde_json::Value;
use tidegate_core::registry::Registration;
use tidegate_core::{
    Commit, Delivery, Epoch, Error, IoWriter, Lineage, Prepared, Recovery, Result, Sealed, Sink,
    SinkBatch, SinkConfig, SinkContext, SinkEpoch, Token, Writer, WriterId, Written, async_trait,
    typetag,
};
use tokio::sync::{mpsc, oneshot};

use crate::without_keys;

/// Makes a sink of type `tag` that hands over what is committed, and the hand that takes it.
///
/// `directory` holds rows from when they are written until the program is done with them. It is made
/// if it isn't there, and has to be the same one after a crash.
pub fn sink(tag: impl Into<String>, directory: impl Into<PathBuf>) -> (RowsOut, Registration) {
    let (sender, receiver) = mpsc::channel(1);
    let config = RowsOutConfig {
        directory: directory.into(),
        sender: Some(sender),
    };
    let keys = without_keys("Rows that the program takes.");
    let parse = move |_: Value| Ok(Box::new(config.clone()) as _);
    (
        RowsOut { receiver },
        Registration::sink_with(tag.into(), keys, parse),
    )
}

/// The hand that takes committed rows out of a pipeline.
#[derive(Debug)]
pub struct RowsOut {
    receiver: mpsc::Receiver<Committed>,
}

impl RowsOut {
    /// The rows of the next epoch; `None` once the pipeline and its registry are gone.
    pub async fn next(&mut self) -> Option<Committed> {
        self.receiver.recv().await
    }
}

/// The rows of one epoch.
///
/// Dropped without [`done`](Self::done), they are handed over again.
#[derive(Debug)]
pub struct Committed {
    /// The identity of the pipeline's state, which with the epoch tells these rows from any other:
    /// they are the same ones when they are handed over again.
    pub lineage: Lineage,
    /// The epoch.
    pub epoch: Epoch,
    files: VecDeque<PathBuf>,
    done: oneshot::Sender<()>,
}

impl Committed {
    /// The batches, read one after the other.
    ///
    /// Errors: `Transient` if a file can't be read.
    pub fn batches(&self) -> impl Iterator<Item = Result<RecordBatch>> + '_ {
        self.files.iter().flat_map(|path| {
            let opened = File::open(path).map_err(|error| at("can't be read", path, error));
            let reader = opened.and_then(|file| {
                Ok(StreamReader::try_new(
                    BufReader::with_capacity(1 << 20, file),
                    None,
                )?)
            });
            let (reader, error) = match reader {
                Ok(reader) => (Some(reader), None),
                Err(error) => (None, Some(Err(error))),
            };
            let batches = reader.into_iter().flatten();
            error
                .into_iter()
                .chain(batches.map(|batch| batch.map_err(Error::from)))
        })
    }

    /// Says that the rows are taken, and lets go of them.
    pub fn done(self) {
        // The run may have ended meanwhile: then the next one hands them over again.
        let _ = self.done.send(());
    }
}

fn at(what: &str, path: &Path, error: std::io::Error) -> Error {
    Error::io(format!("a file of committed rows {what}"), error).with("path", path.display())
}

/// The configuration: it has no keys, and is nothing without the program that made it.
#[derive(Clone, Serialize, Deserialize)]
struct RowsOutConfig {
    #[serde(skip)]
    directory: PathBuf,
    #[serde(skip)]
    sender: Option<mpsc::Sender<Committed>>,
}

impl fmt::Debug for RowsOutConfig {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("RowsOutConfig")
            .field("directory", &self.directory)
            .finish_non_exhaustive()
    }
}

#[async_trait]
#[typetag::serde(name = "program_rows")]
impl SinkConfig for RowsOutConfig {
    async fn open(&self, cx: &SinkContext) -> Result<Arc<dyn Sink>> {
        let Some(sender) = &self.sender else {
            return Err(Error::internal(
                "a program's sink was opened without the program",
            ));
        };
        std::fs::create_dir_all(&self.directory).map_err(|error| {
            Error::io("the directory of committed rows can't be made", error)
                .with("path", self.directory.display())
        })?;
        Ok(Arc::new(RowsSink {
            directory: self.directory.as_path().into(),
            sender: sender.clone(),
            cx: cx.clone(),
        }))
    }
}

#[derive(Debug)]
struct RowsSink {
    directory: Arc<Path>,
    sender: mpsc::Sender<Committed>,
    cx: SinkContext,
}

#[async_trait]
impl Sink for RowsSink {
    fn delivery(&self) -> Delivery {
        Delivery::AtLeastOnce
    }

    async fn epoch(&self, id: Epoch) -> Result<Arc<dyn SinkEpoch>> {
        Ok(Arc::new(RowsEpoch(Arc::new(Begun {
            directory: Arc::clone(&self.directory),
            epoch: id,
            cx: self.cx.clone(),
            names: Mutex::default(),
        }))))
    }

    async fn commit(&self, commit: &Commit<'_>) -> Result<()> {
        let mut files = VecDeque::new();
        for value in commit.prepared {
            let name: String = value.decode()?;
            let path = self.directory.join(name);
            // A replayed commit finds what was taken gone.
            match path.try_exists() {
                Ok(true) => files.push_back(path),
                Ok(false) => {}
                Err(error) => return Err(at("can't be found", &path, error)),
            }
        }
        if files.is_empty() {
            return Ok(());
        }
        let (done, taken) = oneshot::channel();
        let committed = Committed {
            lineage: commit.lineage,
            epoch: commit.epoch,
            files: files.clone(),
            done,
        };
        let lost = |_| {
            Error::transient("the program doesn't take committed rows").hint(
                "call `RowsOut::next` for as long as the pipeline runs, and `done` when the rows \
                 are taken",
            )
        };
        self.sender.send(committed).await.map_err(|_| lost(()))?;
        taken.await.map_err(|_| lost(()))?;
        files.iter().try_for_each(|path| remove(path))
    }

    async fn recover(&self, recovery: &Recovery<'_>) -> Result<()> {
        for begun in recovery.begun {
            let name: String = begun.decode()?;
            remove(&self.directory.join(name))?;
        }
        Ok(())
    }
}

fn remove(path: &Path) -> Result<()> {
    match std::fs::remove_file(path) {
        Err(error) if error.kind() != ErrorKind::NotFound => {
            Err(at("can't be removed", path, error))
        }
        _ => Ok(()),
    }
}

/// What an epoch's writers share.
#[derive(Debug)]
struct Begun {
    directory: Arc<Path>,
    epoch: Epoch,
    cx: SinkContext,
    /// Of the files that were begun.
    names: Mutex<Vec<String>>,
}

impl Begun {
    fn names(&self) -> MutexGuard<'_, Vec<String>> {
        self.names.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[derive(Debug)]
struct RowsEpoch(Arc<Begun>);

#[async_trait]
impl SinkEpoch for RowsEpoch {
    async fn writer(&self, id: WriterId) -> Result<Writer> {
        let common = &self.0.cx.common;
        Ok(Writer::Io(Box::new(RowsWriter {
            name: format!("{}-{}-{id}.arrow", common.run.short(), common.id),
            begun: Arc::clone(&self.0),
            file: None,
        })))
    }

    async fn seal(&self) -> Result<Sealed> {
        let prepared: Result<_> = self.0.names().iter().map(Prepared::encode).collect();
        Ok(Sealed {
            prepared: prepared?,
            ..Sealed::default()
        })
    }

    async fn abandon(&self) {
        for name in &*self.0.names() {
            // What can't be removed now is by the next recovery: it is in the journal.
            let _ = remove(&self.0.directory.join(name));
        }
    }
}

type Ipc = StreamWriter<BufWriter<File>>;

struct RowsWriter {
    name: String,
    begun: Arc<Begun>,
    file: Option<Ipc>,
}

/// Does what waits for the disk.
async fn beside<T: Send + 'static>(call: impl FnOnce() -> Result<T> + Send + 'static) -> Result<T> {
    let done = tokio::task::spawn_blocking(call).await;
    done.map_err(|error| Error::internal("committed rows could not be written").because(error))?
}

#[async_trait]
impl IoWriter for RowsWriter {
    async fn write(&mut self, batch: SinkBatch) -> Result<Written> {
        let begun = &self.begun;
        let file = self.file.take();
        if file.is_none() {
            let token = Token::encode(&self.name)?;
            begun.cx.journal.begin(begun.epoch, token).await?;
            begun.names().push(self.name.clone());
        }
        let (path, rows) = (begun.directory.join(&self.name), batch.rows);
        let write = move || {
            let mut file = match file {
                Some(file) => file,
                None => {
                    let file = File::create(&path);
                    let file = file.map_err(|error| at("can't be made", &path, error))?;
                    let file = BufWriter::with_capacity(1 << 20, file);
                    StreamWriter::try_new(file, &rows.schema())?
                }
            };
            file.write(&rows)?;
            Ok(file)
        };
        self.file = Some(beside(write).await?);
        Ok(Written::default())
    }

    async fn finish(self: Box<Self>) -> Result<Written> {
        let path = self.begun.directory.join(&self.name);
        let Some(file) = self.file else {
            return Ok(Written::default());
        };
        let sync = move || {
            let file = file
                .into_inner()?
                .into_inner()
                .map_err(std::io::IntoInnerError::into_error);
            let synced = file.and_then(|file| file.sync_all());
            synced.map_err(|error| at("can't be written", &path, error))
        };
        beside(sync).await?;
        Ok(Written::default())
    }
}
