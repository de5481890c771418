//! Files that can't be read, where the user lets the run pass them over.
//!
//! A file's last event tells that it is passed over: with its position, so that this is committed
//! with the rows before it, and what reads on from there reads nothing. So whatever is done about it
//! (a message, the move to quarantine) waits for [`Source::acknowledge`], and a run that is resumed
//! decides nothing anew.
//!
//! [`Source::acknowledge`]: tidegate_core::Source::acknowledge

use std::fmt;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use chrono::{DateTime, Utc};
use futures::StreamExt;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use tidegate_core::{
    Context, Decode, Decoded, Error, ErrorKind, Event, EventStream, FailedFile, Metrics, Offset,
    Result, Rows, Scan, StreamName, batch_bytes, guarded,
};
use tidegate_storage::{FileMeta, Place, Storage};

use super::columns::Columns;
use super::piece::{Mark, Part};
use super::reader::{Found, Reader};

/// What becomes of a file that can't be read.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum OnFileError {
    /// The run ends with an error. What was committed of the file stays.
    #[default]
    Fail,
    /// The file is passed over: the rows before the place that can't be read stay, and the run goes on
    /// with other files.
    Skip,
    /// The same, and once that is committed the file is moved to the directory `quarantine`.
    Quarantine,
}

/// A file that is passed over, as its split's last position keeps it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Failure {
    /// Its key in the storage.
    pub(crate) key: String,
    /// What its splits call it.
    pub(crate) name: String,
    pub(crate) mark: Mark,
    size: u64,
    modified: DateTime<Utc>,
    /// Why, on one line.
    error: String,
    /// How many of its rows come before.
    pub(crate) rows: Option<u64>,
}

/// A position behind which nothing is read.
#[derive(Debug, Serialize, Deserialize)]
struct Position {
    failed: Failure,
}

impl Failure {
    /// Of a file as it was when it was found.
    pub(crate) fn new(
        storage: &Storage,
        file: &FileMeta,
        name: &str,
        error: String,
        rows: Option<u64>,
    ) -> Self {
        Self {
            key: file.key.clone(),
            name: name.to_owned(),
            mark: Mark::of(storage, file),
            size: file.size,
            modified: file.modified,
            error,
            rows,
        }
    }

    /// What a position says of a file that was passed over.
    pub(crate) fn at(position: &Offset) -> Option<Self> {
        let position: Position = position.decode().ok()?;
        Some(position.failed)
    }

    /// The file as it was found.
    pub(crate) fn file(&self) -> FileMeta {
        FileMeta {
            key: self.key.clone(),
            size: self.size,
            modified: self.modified,
            etag: None,
        }
    }

    /// The file for a report.
    pub(crate) fn told(&self, storage: &Storage) -> FailedFile {
        FailedFile {
            path: storage.show(&self.key),
            size: self.size,
            modified: self.modified,
            error: self.error.clone(),
            rows_committed: self.rows,
        }
    }

    /// The event that passes the file over. `scan`: what is asked of the stream of such files, if
    /// anything reads it.
    pub(crate) fn event(&self, storage: &Storage, scan: Option<&Scan>) -> Result<Event> {
        let position = Position {
            failed: self.clone(),
        };
        let resume = Offset::encode(&position)?;
        let Some(scan) = scan else {
            return Ok(Event::Progress(resume));
        };
        let row = self.told(storage).to_batch()?;
        let columns = scan.indices(&FailedFile::schema())?;
        Ok(Event::Rows {
            stream: StreamName::from(StreamName::FAILED_FILES),
            rows: Rows::Batch(row.project(&columns)?),
            rejected: None,
            resume: Some(resume),
        })
    }
}

/// Whether an error is the fault of a file, not of the place that it lies in: others are read all the
/// same.
pub(crate) fn is_of_a_file(error: &Error, place: Place) -> bool {
    match error.kind() {
        ErrorKind::Data | ErrorKind::Schema | ErrorKind::NotFound | ErrorKind::Unsupported => true,
        // On object storage it may be credentials that have expired, with which nothing can be read: to
        // pass over file by file would lose all of them.
        ErrorKind::Auth => place == Place::Local,
        _ => false,
    }
}

/// An error that ends the run, with what else could become of the file whose fault it is.
pub(crate) fn ends(on_file_error: Option<OnFileError>, error: Error, place: Place) -> Error {
    const WAY: &str =
        "`on_file_error = \"skip\"` or \"quarantine\" passes over files that can't be read";
    if on_file_error != Some(OnFileError::Fail) || !is_of_a_file(&error, place) {
        return error;
    }
    let hint = match error.hint_text() {
        Some(hint) => format!("{hint}; {WAY}"),
        None => WAY.to_owned(),
    };
    error.hint(hint)
}

/// The events of a file whose errors end the run: with what else could become of it.
pub(crate) fn ending(events: EventStream, place: Place) -> EventStream {
    let explain = move |error| ends(Some(OnFileError::Fail), error, place);
    let explain: Explain = Arc::new(explain);
    let told = move |event: Result<Event>| match event {
        Ok(event) => Ok(with_rows(event, |rows| {
            let explain = Arc::clone(&explain);
            Box::new(Explained { rows, explain })
        })),
        Err(error) => Err(explain(error)),
    };
    events.map(told).boxed()
}

/// An event with its rows within others.
fn with_rows(event: Event, within: impl FnOnce(Box<dyn Decode>) -> Box<dyn Decode>) -> Event {
    match event {
        Event::Rows {
            stream,
            rows: Rows::Encoded(rows),
            rejected,
            resume,
        } => Event::Rows {
            stream,
            rows: Rows::Encoded(within(rows)),
            rejected,
            resume,
        },
        event => event,
    }
}

/// What an error says, on one line, with its causes and without the file, which is told beside it.
pub(crate) fn in_words(error: &Error) -> String {
    let mut text = error.message().to_owned();
    for (key, value) in error.context() {
        if !matches!(*key, "path" | "file" | "component" | "split") {
            text.push_str(&format!(", {key}: {value}"));
        }
    }
    let mut cause = std::error::Error::source(error);
    while let Some(error) = cause {
        let says = error.to_string();
        if !text.contains(&says) {
            text = format!("{text}: {says}");
        }
        cause = error.source();
    }
    text.split_whitespace().collect::<Vec<_>>().join(" ")
}

type Explain = Arc<dyn Fn(Error) -> Error + Send + Sync>;

/// How the files of a source are read that may be passed over.
#[derive(Clone)]
pub(crate) struct Careful {
    /// Whether rows are decoded by the file's reader: so it is known that they can be before they are
    /// handed out.
    decodes: bool,
    /// A worker found rows that can't be decoded.
    found: Arc<AtomicBool>,
    /// What becomes of the error then.
    explain: Explain,
}

impl Careful {
    pub(crate) fn new(decodes: bool, place: Place) -> Self {
        let found = Arc::new(AtomicBool::new(false));
        let finds = Arc::clone(&found);
        let explain = move |error| {
            if !is_of_a_file(&error, place) {
                return error;
            }
            finds.store(true, Ordering::Relaxed);
            Error::transient(
                "a file can't be decoded: it is passed over from the last checkpoint on",
            )
            .because(error)
        };
        Self {
            decodes,
            found,
            explain: Arc::new(explain),
        }
    }

    /// Whether the next attempt has to decode in the reader, as this one didn't.
    pub(crate) fn is_needed(&self) -> bool {
        self.found.load(Ordering::Relaxed)
    }
}

impl fmt::Debug for Careful {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Careful")
            .field("decodes", &self.decodes)
            .finish_non_exhaustive()
    }
}

/// A file on its way to events, of which the last one may tell that it is passed over.
struct Reading {
    events: Option<EventStream>,
    found: Found,
    columns: Columns,
    scan: Scan,
    failed: Option<Scan>,
    /// Reads the file again, without counting it.
    again: Reader,
    careful: Careful,
    last: Option<Offset>,
}

impl Reader {
    /// The events of a file that is passed over where it can't be read. `failed`: what is asked of the
    /// stream of such files, if anything reads it.
    pub(crate) async fn events_or_failure(
        &self,
        (found, part): (Found, Part),
        columns: Columns,
        (scan, failed): (&Scan, Option<&Scan>),
        resume: Option<&Offset>,
        careful: &Careful,
    ) -> EventStream {
        let events = self.events(found.clone(), part, columns.clone(), scan, resume);
        let events = match events.await {
            Ok(events) => events,
            Err(error) => futures::stream::once(std::future::ready(Err(error))).boxed(),
        };
        let reading = Reading {
            events: Some(events),
            found,
            columns,
            scan: scan.clone(),
            failed: failed.cloned(),
            again: self.uncounted(),
            careful: careful.clone(),
            last: resume.cloned(),
        };
        let next = move |mut reading: Reading| async move {
            let event = reading.next(part).await?;
            Some((event, reading))
        };
        futures::stream::unfold(reading, next).boxed()
    }

    /// A reader of the same files that counts nothing.
    fn uncounted(&self) -> Self {
        let cx = Context {
            metrics: Arc::<Metrics>::default(),
            ..self.cx.clone()
        };
        Self::new(&cx, self.stream.clone(), &self.csv, self.piece_size)
    }
}

impl Reading {
    async fn next(&mut self, part: Part) -> Option<Result<Event>> {
        let event = match self.events.as_mut()?.next().await? {
            Ok(event) => self.checked(event).await,
            Err(error) => Err(error),
        };
        let error = match event {
            Ok(event) => {
                if let Some(position) = event.position() {
                    self.last = Some(position.clone());
                }
                return Some(Ok(event));
            }
            Err(error) => error,
        };
        self.events = None;
        let storage = self.found.storage.clone();
        if !is_of_a_file(&error, storage.location().place()) {
            return Some(Err(error));
        }
        let rows = self.rows(part).await;
        let failure = Failure::new(
            &storage,
            &self.found.file,
            &self.found.name,
            in_words(&error),
            rows,
        );
        Some(failure.event(&storage, self.failed.as_ref()))
    }

    /// An event whose rows can be decoded. Where a worker is to find out, the attempt ends if they can't:
    /// others of the file are on their way by then, and the next attempt's readers decode by themselves.
    async fn checked(&mut self, event: Event) -> Result<Event> {
        if !self.careful.decodes {
            let explain = Arc::clone(&self.careful.explain);
            return Ok(with_rows(event, |rows| {
                Box::new(Explained { rows, explain })
            }));
        }
        match event {
            Event::Rows {
                stream,
                rows: Rows::Encoded(rows),
                rejected,
                resume,
            } => Ok(Event::Rows {
                stream,
                rows: Rows::Encoded(Box::new(Ready(decoded(rows).await?))),
                rejected,
                resume,
            }),
            event => Ok(event),
        }
    }

    /// How many rows the file has before the last position: found by reading them again, because
    /// another process may have read them before. `None` where that isn't possible any more.
    async fn rows(&mut self, part: Part) -> Option<u64> {
        let Some(last) = &self.last else {
            return Some(0);
        };
        let scan = Scan {
            predicates: Vec::new(),
            limit: None,
            places: false,
            ..self.scan.clone()
        };
        let (found, columns) = (self.found.clone(), self.columns.clone());
        let events = self.again.events(found, part, columns, &scan, None);
        let mut events = events.await.ok()?;
        let mut count = 0;
        while let Some(event) = events.next().await {
            let event = event.ok()?;
            let is_last = event.position() == Some(last);
            if let Event::Rows {
                rows: Rows::Encoded(rows),
                ..
            } = event
            {
                let decoded = decoded(rows).await.ok()?;
                let batches = decoded.iter().flat_map(|decoded| &decoded.batches);
                count += batches.map(|batch| batch.num_rows() as u64).sum::<u64>();
            }
            if is_last {
                return Some(count);
            }
        }
        None
    }
}

/// Decodes rows here, where it is waited for.
async fn decoded(rows: Box<dyn Decode>) -> Result<Vec<Decoded>> {
    let decode = move || {
        let mut all = Vec::new();
        guarded("a decoder", || {
            rows.decode_into(&mut |decoded| {
                all.push(decoded);
                Ok(())
            })
        })?;
        Ok(all)
    };
    let ended = tokio::task::spawn_blocking(decode).await;
    ended.map_err(|error| Error::internal("the reader of a file died").because(error))?
}

/// Rows that are decoded.
struct Ready(Vec<Decoded>);

impl Decode for Ready {
    fn size(&self) -> usize {
        let batches = self.0.iter().flat_map(|decoded| &decoded.batches);
        batches.map(batch_bytes).sum()
    }

    fn decode(self: Box<Self>) -> Result<Decoded> {
        let mut all = Decoded::default();
        for decoded in self.0 {
            all.batches.extend(decoded.batches);
            all.rejected.extend(decoded.rejected);
            all.ignored.extend(decoded.ignored);
        }
        Ok(all)
    }

    fn decode_into(self: Box<Self>, take: &mut dyn FnMut(Decoded) -> Result<()>) -> Result<()> {
        self.0.into_iter().try_for_each(take)
    }
}

/// Rows whose error is told otherwise.
struct Explained {
    rows: Box<dyn Decode>,
    explain: Explain,
}

impl Decode for Explained {
    fn size(&self) -> usize {
        self.rows.size()
    }

    fn decode(self: Box<Self>) -> Result<Decoded> {
        self.rows.decode().map_err(|error| (self.explain)(error))
    }

    fn decode_into(self: Box<Self>, take: &mut dyn FnMut(Decoded) -> Result<()>) -> Result<()> {
        let decoded = self.rows.decode_into(take);
        decoded.map_err(|error| (self.explain)(error))
    }
}
