//! From a file that was found to its pieces, and from a piece to its events.

use std::collections::{HashMap, VecDeque};
use std::sync::{Arc, Mutex, PoisonError};

use futures::StreamExt;
use parquet::arrow::arrow_reader::ArrowReaderMetadata;
use tidegate_core::{
    Context, Error, ErrorKind, Estimate, Event, EventStream, Limits, Offset, Result, Scan, Split,
    StreamName, TablePartition,
};
use tidegate_formats::{Buffers, Compression, CsvOptions, Format, PlainText, Splitter};
use tidegate_storage::{FileMeta, Place, Storage};

use super::columns::Columns;
use super::failing::{OnFileError, ends};
use super::lines::LineIndex;
use super::parquet::{ParquetFile, Room, footer, with_pages};
use super::piece::{Mark, Part, Piece, joined, ranges};
use super::text::{TextFile, first_bytes};

/// What all files of a stream have in common.
#[derive(Debug)]
pub(crate) struct Reader {
    pub(crate) cx: Context,
    pub(crate) stream: StreamName,
    pub(crate) csv: CsvOptions,
    /// How large the pieces are in which a file is read.
    pub(crate) piece_size: u64,
    /// What becomes of files that can't be read, where the user can say so.
    pub(crate) on_file_error: Option<OnFileError>,
    /// What the files that are read at once may have fetched ahead.
    room: Room,
    /// The memory of text that was decoded, to be used again.
    pub(crate) buffers: Buffers,
    lines: Mutex<HashMap<(String, u64), Arc<LineIndex>>>,
    /// Of files that were read last: those of many pieces are asked for many times.
    footers: Mutex<VecDeque<Footer>>,
}

/// The footer of a file.
#[derive(Debug, Clone)]
struct Footer {
    path: String,
    mark: Mark,
    metadata: ArrowReaderMetadata,
    /// With what is said of pages.
    pages: bool,
}

/// How many footers are kept.
const FOOTERS: usize = 16;

/// A file that was found.
#[derive(Debug, Clone)]
pub(crate) struct Found {
    /// What its splits and the memory of runs call it.
    pub(crate) name: String,
    pub(crate) storage: Storage,
    pub(crate) file: FileMeta,
    pub(crate) format: Format,
    pub(crate) compression: Compression,
    pub(crate) partition: Option<TablePartition>,
}

impl Found {
    pub(crate) fn mark(&self) -> Mark {
        Mark::of(&self.storage, &self.file)
    }
}

impl Reader {
    pub(crate) fn new(cx: &Context, stream: StreamName, csv: &CsvOptions, piece_size: u64) -> Self {
        Self {
            cx: cx.clone(),
            stream,
            csv: csv.clone(),
            piece_size,
            on_file_error: None,
            room: Room::new(cx.memory),
            buffers: Buffers::default(),
            lines: Mutex::default(),
            footers: Mutex::default(),
        }
    }

    /// Whether files that can't be read are passed over.
    pub(crate) fn passes_over(&self) -> bool {
        matches!(
            self.on_file_error,
            Some(OnFileError::Skip | OnFileError::Quarantine)
        )
    }

    /// An error that ends the run, with what else could become of its file.
    pub(crate) fn ends(&self, error: Error, place: Place) -> Error {
        ends(self.on_file_error, error, place)
    }

    /// The pieces of one file.
    pub(crate) async fn splits(&self, found: &Found) -> Result<Vec<Split>> {
        let Found { storage, file, .. } = found;
        let piece = self.piece_size;
        let plain = found.compression == Compression::None;
        // A file is passed over as a whole: no part of it is to be read behind the place where it can't be.
        let whole = self.passes_over();
        let sized = |rows, bytes| Estimate {
            rows,
            bytes: Some(bytes),
        };
        let parts: Vec<(Part, Estimate)> = match found.format {
            Format::Ndjson
                if !whole && plain && file.size >= 2 * piece && in_lines(found).await? =>
            {
                ranges(file.size, piece)
                    .into_iter()
                    .map(|(from, to)| (Part::Bytes(from, to), sized(None, to - from)))
                    .collect()
            }
            Format::Parquet if !whole && file.size >= 2 * piece => {
                let metadata = self.footer(storage, file, false).await?;
                let groups = metadata.metadata().row_groups().iter();
                let groups: Vec<_> = groups
                    .map(|group| (group.num_rows(), group.compressed_size()))
                    .map(|(rows, bytes)| (rows.unsigned_abs(), bytes.unsigned_abs()))
                    .collect();
                joined(&groups, piece)
                    .into_iter()
                    .map(|(from, to, rows, bytes)| {
                        (Part::RowGroups(from, to), sized(Some(rows), bytes))
                    })
                    .collect()
            }
            _ => vec![(Part::Whole, sized(None, file.size))],
        };
        let mark = found.mark();
        let pieces = Some(parts.len());
        let split = |(part, size)| {
            let piece = Piece {
                file: file.clone(),
                part,
                partition: found.partition.clone(),
                pieces,
                begin: None,
                failed: None,
            };
            piece.split(&found.name, &mark, size)
        };
        parts.into_iter().map(split).collect()
    }

    /// The events of a piece. Whatever goes wrong with a file that isn't what it was any more is a
    /// transient error: the next attempt finds out what there is to read now (`revise.rs`).
    pub(crate) async fn events(
        &self,
        found: Found,
        part: Part,
        columns: Columns,
        scan: &Scan,
        resume: Option<&Offset>,
    ) -> Result<EventStream> {
        let planned = Arc::new(found.clone());
        let events = self.unchecked(found, part, columns, scan, resume).await;
        let events = match events {
            Ok(events) => events,
            Err(error) => return Err(explained(&planned, error).await),
        };
        let explain = move |event: Result<Event>| {
            let planned = Arc::clone(&planned);
            async move {
                match event {
                    Ok(event) => Ok(event),
                    Err(error) => Err(explained(&planned, error).await),
                }
            }
        };
        Ok(events.then(explain).boxed())
    }

    async fn unchecked(
        &self,
        found: Found,
        part: Part,
        columns: Columns,
        scan: &Scan,
        resume: Option<&Offset>,
    ) -> Result<EventStream> {
        unchanged(&found).await?;
        if resume.is_none() && !matches!(part, Part::Bytes(1.., _) | Part::RowGroups(1.., _)) {
            self.cx.metrics.files(1);
        }
        let Found { storage, file, .. } = found;
        if found.format == Format::Parquet {
            let file = ParquetFile {
                // Pages only matter to conditions.
                metadata: self
                    .footer(&storage, &file, !scan.predicates.is_empty())
                    .await?,
                storage,
                file,
                part,
                columns,
                stream: self.stream.clone(),
                metrics: Arc::clone(&self.cx.metrics),
                room: self.room.clone(),
            };
            return file.events(scan, resume).await;
        }
        let lines = matches!(part, Part::Bytes(..)).then(|| self.lines(&storage, &file));
        let path = storage.show(&file.key);
        // As many files as the runtime reads at once share the memory.
        let readers = Limits::usual(self.cx.parallelism) as u64;
        let ahead = storage.read_ahead().within(self.cx.memory / readers);
        let file = TextFile {
            lines,
            storage,
            file,
            format: found.format,
            compression: found.compression,
            csv: self.csv.named(&path),
            part,
            columns,
            scan: scan.clone(),
            stream: self.stream.clone(),
            metrics: Arc::clone(&self.cx.metrics),
            ahead,
            buffers: self.buffers.clone(),
            records: None,
        };
        file.events(resume).await
    }

    async fn footer(
        &self,
        storage: &Storage,
        file: &FileMeta,
        pages: bool,
    ) -> Result<ArrowReaderMetadata> {
        let (path, mark) = (storage.show(&file.key), Mark::of(storage, file));
        let footers = || self.footers.lock().unwrap_or_else(PoisonError::into_inner);
        let is_it = |known: &Footer| known.path == path && known.mark == mark;
        let known = footers().iter().find(|known| is_it(known)).cloned();
        let metadata = match known {
            Some(known) if known.pages || !pages => return Ok(known.metadata),
            Some(known) => with_pages(storage, file, &known.metadata).await?,
            None => {
                let metadata = footer(storage, file).await?;
                match pages {
                    true => with_pages(storage, file, &metadata).await?,
                    false => metadata,
                }
            }
        };
        let mut footers = footers();
        footers.retain(|known| !is_it(known));
        footers.truncate(FOOTERS - 1);
        footers.push_front(Footer {
            path,
            mark,
            metadata: metadata.clone(),
            pages,
        });
        Ok(metadata)
    }

    fn lines(&self, storage: &Storage, file: &FileMeta) -> Arc<LineIndex> {
        let mut lines = self.lines.lock().unwrap_or_else(PoisonError::into_inner);
        let key = (storage.show(&file.key), file.size);
        let new = || Arc::new(LineIndex::new(storage.clone(), file.clone()));
        Arc::clone(lines.entry(key).or_insert_with(new))
    }
}

/// How much of an NDJSON file is looked at first for whether it can be read in pieces.
const HEAD: u64 = 64 << 10;

/// The most of one that is looked at.
const HEAD_LIMIT: u64 = 16 << 20;

/// Whether an NDJSON file that isn't compressed by its name has a record a line, in UTF-8.
async fn in_lines(found: &Found) -> Result<bool> {
    let mut wanted = HEAD;
    loop {
        let (head, complete) = first_bytes(&found.storage, &found.file, wanted).await?;
        if !PlainText::is_verbatim(&head) {
            return Ok(false);
        }
        match Splitter::can_range(&head, complete) {
            Some(can) => return Ok(can),
            None if wanted >= HEAD_LIMIT => return Ok(false),
            None => wanted *= 16,
        }
    }
}

/// An error that may come of the file having changed or gone since it was planned, told as that.
async fn explained(found: &Found, error: Error) -> Error {
    let passes = matches!(
        error.kind(),
        ErrorKind::Transient
            | ErrorKind::RateLimited { .. }
            | ErrorKind::Exhausted
            | ErrorKind::SchemaChanged
    );
    if passes {
        return error;
    }
    let what = match found.storage.head(&found.file.key).await {
        Ok(now) if is_same(found, &now) => return error,
        Ok(_) => "a file changed while it was being read",
        Err(gone) if gone.kind() == ErrorKind::NotFound => "a file is gone that was to be read",
        Err(_) => return error,
    };
    Error::transient(what)
        .with("path", found.storage.show(&found.file.key))
        .hint("let files appear under their names when they are whole: write them elsewhere, then rename")
        .because(error)
}

/// Whether a file still is the one that was planned.
pub(crate) fn is_same(planned: &Found, now: &FileMeta) -> bool {
    match (&planned.file.etag, &now.etag) {
        (Some(one), Some(other)) => one == other,
        _ => Mark::of(&planned.storage, now) == planned.mark(),
    }
}

/// Refuses a file that isn't what it was when it was planned. Where the place has a name for its
/// content, each read asks for that, and no request is needed here.
async fn unchanged(found: &Found) -> Result<()> {
    let (storage, file) = (&found.storage, &found.file);
    if file.etag.is_some() {
        return Ok(());
    }
    if Mark::of(storage, &storage.head(&file.key).await?) == found.mark() {
        return Ok(());
    }
    Err(
        Error::conflict("the file changed after it was planned to be read")
            .with("path", storage.show(&file.key))
            .hint("files must not be changed once they are there; write a new one and rename it"),
    )
}
