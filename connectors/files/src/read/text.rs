//! Reading of everything that is read from front to back: a task fetches, and has a thread decompress
//! and find where records end, for a moment each time. So a file that waits, because nobody takes its
//! rows yet or because its bytes are late, holds no thread, however many are open.

use std::sync::Arc;

use arrow_schema::{DataType, Field, Schema};
use bytes::{Bytes, BytesMut};
use futures::{StreamExt, TryStreamExt};
use tidegate_catalog::{as_guessed, matched};
use tidegate_core::{
    Decode, Decoded, Error, Event, EventStream, Offset, Origin, Result, Rows, Scan, StreamName,
};
use tidegate_formats::{
    Buffers, Chunk, Compression, CsvHeader, CsvOptions, Decoder, EncodedChunk, Format, PlainText,
    Position, Splitter,
};
use tidegate_storage::{ByteStream, FileMeta, ReadAhead, Storage};
use tokio::sync::mpsc;

use super::columns::{Bound, Columns};
use super::lines::{LineIndex, UncountedChunk};
use super::piece::Part;

/// Chunks that are cut at a time: each about 1 MiB.
const AT_ONCE: usize = 1;

/// Chunks that wait to be taken, beside those that were cut last.
const WAITING: usize = 1;

/// How much of a CSV file is looked at first for its header.
const HEADER_SAMPLE: usize = 64 << 10;

/// The most of a file that may be its header.
const HEADER_LIMIT: usize = 16 << 20;

/// A text file to read, or a piece of one.
pub(crate) struct TextFile {
    pub(crate) storage: Storage,
    pub(crate) file: FileMeta,
    pub(crate) format: Format,
    pub(crate) compression: Compression,
    pub(crate) csv: CsvOptions,
    pub(crate) part: Part,
    pub(crate) columns: Columns,
    pub(crate) scan: Scan,
    /// Of a file that is read in pieces.
    pub(crate) lines: Option<Arc<LineIndex>>,
    pub(crate) stream: StreamName,
    pub(crate) metrics: Arc<tidegate_core::Metrics>,
    pub(crate) ahead: ReadAhead,
    pub(crate) buffers: Buffers,
    /// Known as soon as the file's header is.
    pub(crate) records: Option<Records>,
}

impl TextFile {
    /// The events from the beginning or from after `resume`.
    pub(crate) async fn events(mut self, resume: Option<&Offset>) -> Result<EventStream> {
        let from = resume.map(Offset::decode::<Position>).transpose()?;
        let mut splitter = match (self.part, from) {
            (Part::Bytes(_, end), Some(from)) => Splitter::resume_range(self.format, from, end)?,
            (Part::Bytes(start, end), None) => Splitter::range(self.format, start, end)?,
            (_, from) => Splitter::new(self.format, &self.csv, from.unwrap_or(Position::start()))?,
        }
        .buffers(&self.buffers);
        if self.format != Format::Csv || !self.csv.header {
            self.bind(None)?;
        } else if splitter.offset() > 0 {
            let header = self.header().await?;
            self.bind(Some(&header))?;
            splitter.set_header(header);
        }
        // Bytes that aren't the text itself have no other way to a position than from the beginning.
        let (begin, skip) = match splitter.offset() {
            0 => (0, 0),
            offset if matches!(self.part, Part::Bytes(..)) || self.is_verbatim().await? => {
                (offset, 0)
            }
            offset => (0, offset),
        };
        let plain = match self.format {
            _ if begin > 0 => None,
            Format::Raw => Some(PlainText::raw(self.compression)?),
            _ => Some(PlainText::new(self.compression)?),
        };
        let bytes = self
            .storage
            .stream(&self.file, begin..self.file.size, self.ahead);
        let (send, receive) = mpsc::channel(WAITING);
        let cut = Cut {
            file: self,
            splitter,
            plain,
            piece: None,
            ended: false,
            finished: false,
            skip,
        };
        let task = Task(tokio::spawn(cut.all(bytes, send)));
        Ok(futures::stream::unfold((receive, Some(task)), next_event).boxed())
    }

    fn bind(&mut self, header: Option<&CsvHeader>) -> Result<()> {
        let records = self.records(header).map_err(|error| self.explain(error))?;
        self.records = Some(records);
        Ok(())
    }

    /// How the records of this file become rows.
    fn records(&self, header: Option<&CsvHeader>) -> Result<Records> {
        let Columns {
            schema,
            lenient,
            on_new,
            ..
        } = &self.columns;
        let stored = self.columns.stored();
        let keys = &schema.fields()[stored.len()..];
        let decoder = |schema, scan| {
            let mut decoder = Decoder::new(self.format, &self.csv, schema, scan)?;
            decoder.exact(self.columns.learnt);
            if *lenient {
                decoder.fold_names();
            }
            if let Some(on_new) = on_new {
                let keys = keys.iter().map(|key| key.name().as_str());
                let others = keys.chain(self.columns.shadowed.iter().map(String::as_str));
                decoder.on_new_columns(on_new, others);
            }
            Ok::<_, Error>(Arc::new(match header {
                Some(header) => decoder.with_header(header)?,
                None => decoder,
            }))
        };
        let written = |field| as_guessed(field, self.columns.naive.iter());
        // The columns that the file has, by the file's names.
        let found: Vec<_> = match header {
            None => stored.iter().map(written).collect(),
            Some(header) => {
                let names = header.names().iter();
                let names = names.map(|name| Arc::new(Field::new(name, DataType::Utf8, true)));
                let names: Vec<_> = names.collect();
                let found = stored.iter().zip(matched(stored, &names));
                let found = found.filter_map(|(field, place)| {
                    let name = names[place?].name();
                    (*lenient || name == field.name())
                        .then(|| Arc::new(written(field).as_ref().clone().with_name(name)))
                });
                found.collect()
            }
        };
        // A file with none of the columns is of another kind: rows of NULLs would be read, and its
        // first record lost as a header.
        let strange = header.is_some() && found.is_empty() && !stored.is_empty();
        // Columns that were given have to be there; those that other files had needn't.
        let learnt = on_new.is_some() && self.columns.learnt;
        let whole = strange || !lenient && (!learnt || found.len() == stored.len());
        if whole && keys.is_empty() {
            return Ok(Records {
                decoder: decoder(Arc::clone(schema), &self.scan)?,
                bound: None,
            });
        }
        let found = Arc::new(Schema::new(match whole {
            true => stored.to_vec(),
            false => found,
        }));
        let bound = self.columns.bind(&self.scan, &found)?;
        let names = bound.places().iter();
        let scan = Scan {
            columns: Some(names.map(|at| found.field(*at).name().clone()).collect()),
            places: self.scan.places,
            ..Scan::all(self.stream.clone())
        };
        Ok(Records {
            decoder: decoder(found, &scan)?,
            bound: Some(Arc::new(bound)),
        })
    }

    fn explain(&self, error: Error) -> Error {
        if error
            .context()
            .iter()
            .any(|(key, _)| matches!(*key, "path" | "file"))
        {
            return error;
        }
        error.with("file", self.storage.show(&self.file.key))
    }

    /// Whether the file's bytes are its text.
    async fn is_verbatim(&self) -> Result<bool> {
        if self.compression != Compression::None || self.format == Format::Raw {
            return Ok(self.compression == Compression::None);
        }
        let (head, _) = first_bytes(&self.storage, &self.file, 4).await?;
        Ok(PlainText::is_verbatim(&head))
    }

    /// The CSV header of a file that is read from its middle.
    async fn header(&self) -> Result<CsvHeader> {
        let found = header(&self.storage, &self.file, self.compression, &self.csv);
        found
            .await
            .map_err(|error| self.explain(error))?
            .ok_or_else(|| self.explain(Error::data("the CSV file has no header")))
    }
}

/// The header of a CSV file; `None` if it has none.
pub(crate) async fn header(
    storage: &Storage,
    file: &FileMeta,
    compression: Compression,
    csv: &CsvOptions,
) -> Result<Option<CsvHeader>> {
    let mut wanted = HEADER_SAMPLE;
    loop {
        let (sample, complete) = sample(storage, file, compression, wanted).await?;
        match CsvHeader::parse(&sample, csv, complete)? {
            None if !complete && wanted <= HEADER_LIMIT => wanted *= 8,
            header => return Ok(header),
        }
    }
}

/// A task that ends with the stream.
struct Task(tokio::task::JoinHandle<()>);

impl Drop for Task {
    fn drop(&mut self) {
        self.0.abort();
    }
}

type Sent = (mpsc::Receiver<Result<Event>>, Option<Task>);

/// The next event; and when there are none, whether the task ended as it should.
async fn next_event((mut receive, task): Sent) -> Option<(Result<Event>, Sent)> {
    if let Some(event) = receive.recv().await {
        return Some((event, (receive, task)));
    }
    match (&mut task?.0).await {
        Ok(()) => None,
        Err(error) => Some((Err(died(error)), (receive, None))),
    }
}

fn died(error: tokio::task::JoinError) -> Error {
    Error::internal("the reader of a file died").because(error)
}

/// A file on its way to chunks.
struct Cut {
    file: TextFile,
    splitter: Splitter,
    /// What makes text of the bytes, unless they are it.
    plain: Option<PlainText>,
    /// Text that waits for the splitter, where the bytes are it.
    piece: Option<Bytes>,
    /// The file has no more bytes.
    ended: bool,
    /// The splitter knows it.
    finished: bool,
    /// Plain bytes before the position, which come again and were given before.
    skip: u64,
}

/// What follows a step.
#[derive(Debug, PartialEq, Eq)]
enum Next {
    /// Another one: there is more in what was fetched.
    Step,
    /// The file's next bytes.
    Bytes,
    End,
}

impl Cut {
    /// The task's work.
    async fn all(mut self, mut bytes: ByteStream, send: mpsc::Sender<Result<Event>>) {
        let mut next = match self.splitter.is_done() {
            true => Next::End,
            false => Next::Bytes,
        };
        while next != Next::End {
            let fetched = match next {
                Next::Bytes => match bytes.next().await.transpose() {
                    Ok(piece) => Some(piece),
                    Err(error) => {
                        // Nobody is left to hear of it if the stream was dropped.
                        drop(send.send(Err(self.file.explain(error))).await);
                        return;
                    }
                },
                Next::Step | Next::End => None,
            };
            let step = tokio::task::spawn_blocking(move || {
                let mut events = Vec::with_capacity(AT_ONCE);
                let next = self.step(fetched, &mut events);
                (self, next, events)
            });
            let (cut, stepped, events) = match step.await {
                Ok(step) => step,
                Err(error) => {
                    drop(send.send(Err(died(error))).await);
                    return;
                }
            };
            self = cut;
            for event in events {
                if send.send(Ok(event)).await.is_err() {
                    return;
                }
            }
            next = match stepped {
                Ok(next) => next,
                Err(error) => {
                    drop(send.send(Err(self.file.explain(error))).await);
                    return;
                }
            };
        }
    }

    /// Cuts some chunks from what is there. `fetched`: the file's next bytes, or that there are none.
    fn step(&mut self, fetched: Option<Option<Bytes>>, events: &mut Vec<Event>) -> Result<Next> {
        if let Some(fetched) = fetched {
            self.feed(fetched)?;
        }
        loop {
            while let Some(chunk) = self.splitter.next()? {
                self.bind()?;
                events.push(self.event(chunk)?);
                if events.len() == AT_ONCE {
                    return Ok(Next::Step);
                }
            }
            // A file of a header alone must have the right columns too.
            self.bind()?;
            if self.finished || self.splitter.is_done() {
                return Ok(Next::End);
            }
            let text = match &mut self.plain {
                Some(plain) => plain.next()?,
                None => self.piece.take(),
            };
            match text {
                Some(text) => self.take(text),
                None if !self.ended => return Ok(Next::Bytes),
                None if self.skip > 0 => {
                    return Err(Error::conflict("the file is shorter than it was"));
                }
                None => {
                    self.splitter.finish();
                    self.finished = true;
                }
            }
        }
    }

    fn feed(&mut self, fetched: Option<Bytes>) -> Result<()> {
        let bytes = fetched.as_ref().map_or(0, |piece| piece.len() as u64);
        self.file.metrics.bytes(bytes);
        self.ended = fetched.is_none();
        match (&mut self.plain, fetched) {
            (Some(plain), Some(piece)) => plain.push(piece),
            (Some(plain), None) => plain.finish(),
            (None, piece) => {
                self.piece = piece;
                Ok(())
            }
        }
    }

    fn take(&mut self, mut text: Bytes) {
        let skip = usize::try_from(self.skip)
            .unwrap_or(usize::MAX)
            .min(text.len());
        self.skip -= skip as u64;
        let text = text.split_off(skip);
        if !text.is_empty() {
            self.splitter.push(text);
        }
    }

    fn event(&self, chunk: Chunk) -> Result<Event> {
        let Some(records) = &self.file.records else {
            return Err(Error::internal("a record came before its header"));
        };
        let resume = Offset::encode(&chunk.end)?;
        let uncounted = chunk.start.line.is_none();
        let encoded = EncodedChunk {
            chunk,
            decoder: Arc::clone(&records.decoder),
            file: self.file.storage.show(&self.file.file.key).into(),
        };
        let rows: Box<dyn Decode> = match &self.file.lines {
            Some(index) if uncounted => Box::new(UncountedChunk {
                encoded,
                index: Arc::clone(index),
            }),
            _ => Box::new(encoded),
        };
        let rows = Rows::Encoded(match &records.bound {
            None => rows,
            Some(bound) => Box::new(Arranged {
                rows,
                bound: Arc::clone(bound),
            }),
        });
        Ok(Event::Rows {
            stream: self.file.stream.clone(),
            rows,
            rejected: None,
            resume: Some(resume),
        })
    }

    /// Takes note of the file's header once it has been found.
    fn bind(&mut self) -> Result<()> {
        match self.splitter.header() {
            Some(header) if self.file.records.is_none() => self.file.bind(Some(&header.clone())),
            _ => Ok(()),
        }
    }
}

/// How the records of a file are read.
pub(crate) struct Records {
    decoder: Arc<Decoder>,
    /// How what is decoded becomes rows of the stream, where it isn't already.
    bound: Option<Arc<Bound>>,
}

/// Rows that are decoded as the file has them.
struct Arranged {
    rows: Box<dyn Decode>,
    bound: Arc<Bound>,
}

impl Decode for Arranged {
    fn size(&self) -> usize {
        self.rows.size()
    }

    fn decode(self: Box<Self>) -> Result<Decoded> {
        let mut decoded = self.rows.decode()?;
        let batches = std::mem::take(&mut decoded.batches);
        for batch in batches {
            // The decoder gives the table's types, so that nothing is lost here.
            let arranged = self.bound.arrange(&batch, |_| Origin::default())?;
            decoded.batches.extend(arranged.batches);
            if !arranged.rejected.is_empty() {
                // The rows behind it have other numbers now.
                decoded.places = None;
            }
            decoded.rejected.extend(arranged.rejected);
        }
        Ok(decoded)
    }
}

/// At least the first `wanted` plain bytes of a file, and whether that is all of it.
pub(crate) async fn sample(
    storage: &Storage,
    file: &FileMeta,
    compression: Compression,
    wanted: usize,
) -> Result<(Bytes, bool)> {
    let mut bytes = beginning(storage, file, file.size);
    let mut plain = PlainText::new(compression)?;
    let mut sample = BytesMut::new();
    let explain = |error: Error| error.with("file", storage.show(&file.key));
    loop {
        let piece = bytes.next().await.transpose()?;
        let complete = piece.is_none();
        match piece {
            Some(piece) => plain.push(piece),
            None => plain.finish(),
        }
        .map_err(explain)?;
        while let Some(text) = plain.next().map_err(explain)? {
            sample.extend_from_slice(&text);
            if sample.len() >= wanted {
                return Ok((sample.freeze(), false));
            }
        }
        if complete {
            return Ok((sample.freeze(), true));
        }
    }
}

/// The first bytes of a file as they are, and whether they are all.
pub(crate) async fn first_bytes(
    storage: &Storage,
    file: &FileMeta,
    wanted: u64,
) -> Result<(Bytes, bool)> {
    let end = file.size.min(wanted);
    let pieces: Vec<Bytes> = beginning(storage, file, end).try_collect().await?;
    Ok((pieces.concat().into(), end == file.size))
}

/// A file's bytes up to `end`, in pieces that aren't asked for before they are needed.
fn beginning(storage: &Storage, file: &FileMeta, end: u64) -> ByteStream {
    let how = ReadAhead {
        chunk: 256 << 10,
        ahead: 0,
    };
    storage.stream(file, 0..end, how)
}
