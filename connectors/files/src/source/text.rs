//! Reading of everything that is read from front to back: a thread decompresses and finds where
//! records end.

use std::ops::ControlFlow;
use std::sync::Arc;

use bytes::{Bytes, BytesMut};
use futures::StreamExt;
use tidegate_core::{Error, Event, EventStream, Offset, Result, Rows, StreamName};
use tidegate_formats::{
    Compression, CsvHeader, CsvOptions, Decoder, Decompressor, EncodedChunk, Format, Position,
    Splitter,
};
use tidegate_storage::{ByteStream, FileMeta, ReadAhead, Storage};
use tokio::sync::mpsc;

use super::lines::{LineIndex, UncountedChunk};
use super::plan::Part;

/// Chunks that wait to be taken: each about 1 MiB.
const WAITING: usize = 4;

/// How much of a CSV file is looked at first for its header.
const HEADER_SAMPLE: usize = 64 << 10;

/// The most of a file that may be its header.
const HEADER_LIMIT: usize = 16 << 20;

/// A text file to read, or a piece of one.
pub(super) struct TextFile {
    pub(super) storage: Storage,
    pub(super) file: FileMeta,
    pub(super) format: Format,
    pub(super) compression: Compression,
    pub(super) csv: CsvOptions,
    pub(super) part: Part,
    pub(super) decoder: Arc<Decoder>,
    /// Of a file that is read in pieces.
    pub(super) lines: Option<Arc<LineIndex>>,
    pub(super) stream: StreamName,
    pub(super) metrics: Arc<tidegate_core::Metrics>,
}

impl TextFile {
    /// The events from the beginning or from after `resume`.
    pub(super) async fn events(mut self, resume: Option<&Offset>) -> Result<EventStream> {
        let from = resume.map(Offset::decode::<Position>).transpose()?;
        let splitter = match (self.part, from) {
            (Part::Bytes(_, end), Some(from)) => Splitter::resume_range(self.format, from, end)?,
            (Part::Bytes(start, end), None) => Splitter::range(self.format, start, end)?,
            (_, from) => Splitter::new(self.format, &self.csv, from.unwrap_or(Position::start()))?,
        };
        let with_header = self.format == Format::Csv && self.csv.header;
        if with_header && splitter.offset() > 0 {
            let header = self.header().await?;
            self.bind(&header)?;
        }
        // Compressed bytes have no other way to a position than from the beginning.
        let (begin, skip) = match self.compression {
            Compression::None => (splitter.offset(), 0),
            _ => (0, splitter.offset()),
        };
        let bytes = self
            .storage
            .stream(&self.file, begin..self.file.size, ReadAhead::default());
        let (send, receive) = mpsc::channel(WAITING);
        let runtime = tokio::runtime::Handle::current();
        let cut = move || {
            let mut cut = Cut {
                bound: !with_header || splitter.offset() > 0,
                file: self,
                splitter,
                skip,
                send,
            };
            if let Err(error) = cut.all(&runtime, bytes) {
                let error = cut.file.explain(error);
                // Nobody is left to hear of it if the stream was dropped.
                drop(cut.send.blocking_send(Err(error)));
            }
        };
        let thread = tokio::task::spawn_blocking(cut);
        Ok(futures::stream::unfold((receive, Some(thread)), next_event).boxed())
    }

    fn bind(&mut self, header: &CsvHeader) -> Result<()> {
        let bound = self.decoder.with_header(header);
        self.decoder = Arc::new(bound.map_err(|error| self.explain(error))?);
        Ok(())
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

    /// The CSV header of a file that is read from its middle.
    async fn header(&self) -> Result<CsvHeader> {
        let mut wanted = HEADER_SAMPLE;
        loop {
            let (sample, complete) =
                sample(&self.storage, &self.file, self.compression, wanted).await?;
            let header = CsvHeader::parse(&sample, &self.csv, complete);
            match header.map_err(|error| self.explain(error))? {
                Some(header) => return Ok(header),
                None if complete || wanted > HEADER_LIMIT => {
                    return Err(self.explain(Error::data("the CSV file has no header")));
                }
                None => wanted *= 8,
            }
        }
    }
}

type Sent = (
    mpsc::Receiver<Result<Event>>,
    Option<tokio::task::JoinHandle<()>>,
);

/// The next event; and when there are none, whether the thread ended as it should.
async fn next_event((mut receive, thread): Sent) -> Option<(Result<Event>, Sent)> {
    if let Some(event) = receive.recv().await {
        return Some((event, (receive, thread)));
    }
    match thread?.await {
        Ok(()) => None,
        Err(error) => {
            let error = Error::internal("the reader of a file died").because(error);
            Some((Err(error), (receive, None)))
        }
    }
}

/// The thread's work.
struct Cut {
    file: TextFile,
    splitter: Splitter,
    /// Plain bytes before the position, which come again and were given before.
    skip: u64,
    /// Whether the decoder knows the file's columns.
    bound: bool,
    send: mpsc::Sender<Result<Event>>,
}

impl Cut {
    fn all(&mut self, runtime: &tokio::runtime::Handle, mut bytes: ByteStream) -> Result<()> {
        let mut plain = Decompressor::new(self.file.compression)?;
        while !self.splitter.is_done() {
            let Some(piece) = runtime.block_on(bytes.next()).transpose()? else {
                plain.finish()?;
                if self.skip > 0 {
                    return Err(Error::conflict("the file is shorter than it was"));
                }
                self.splitter.finish();
                return self.give().map(drop);
            };
            self.file.metrics.bytes(piece.len() as u64);
            plain.push(piece);
            while let Some(piece) = plain.next()? {
                if self.take(piece)?.is_break() {
                    return Ok(());
                }
            }
        }
        Ok(())
    }

    fn take(&mut self, mut piece: Bytes) -> Result<ControlFlow<()>> {
        let skip = usize::try_from(self.skip)
            .unwrap_or(usize::MAX)
            .min(piece.len());
        self.skip -= skip as u64;
        let piece = piece.split_off(skip);
        if piece.is_empty() {
            return Ok(ControlFlow::Continue(()));
        }
        self.splitter.push(piece);
        self.give()
    }

    /// Sends the chunks that are whole; breaks if nobody wants more.
    fn give(&mut self) -> Result<ControlFlow<()>> {
        while let Some(chunk) = self.splitter.next()? {
            if !self.bound {
                if let Some(header) = self.splitter.header().cloned() {
                    self.file.bind(&header)?;
                }
                self.bound = true;
            }
            let resume = Offset::encode(&chunk.end)?;
            let uncounted = chunk.start.line.is_none();
            let encoded = EncodedChunk {
                chunk,
                decoder: Arc::clone(&self.file.decoder),
                file: self.file.storage.show(&self.file.file.key).into(),
            };
            let rows: Rows = match &self.file.lines {
                Some(index) if uncounted => Rows::Encoded(Box::new(UncountedChunk {
                    encoded,
                    index: Arc::clone(index),
                })),
                _ => Rows::Encoded(Box::new(encoded)),
            };
            let event = Event::Rows {
                stream: self.file.stream.clone(),
                rows,
                rejected: None,
                resume: Some(resume),
            };
            if self.send.blocking_send(Ok(event)).is_err() {
                return Ok(ControlFlow::Break(()));
            }
        }
        // A file of a header alone must have the right columns too.
        if !self.bound
            && let Some(header) = self.splitter.header().cloned()
        {
            self.file.bind(&header)?;
            self.bound = true;
        }
        Ok(ControlFlow::Continue(()))
    }
}

/// At least the first `wanted` plain bytes of a file, and whether that is all of it.
pub(super) async fn sample(
    storage: &Storage,
    file: &FileMeta,
    compression: Compression,
    wanted: usize,
) -> Result<(Bytes, bool)> {
    let how = ReadAhead {
        chunk: 256 << 10,
        ahead: 0,
    };
    let mut bytes = storage.stream(file, 0..file.size, how);
    let mut plain = Decompressor::new(compression)?;
    let mut sample = BytesMut::new();
    let explain = |error: Error| error.with("file", storage.show(&file.key));
    while let Some(piece) = bytes.next().await.transpose()? {
        plain.push(piece);
        while let Some(piece) = plain.next().map_err(explain)? {
            sample.extend_from_slice(&piece);
            if sample.len() >= wanted {
                return Ok((sample.freeze(), false));
            }
        }
    }
    plain.finish().map_err(explain)?;
    Ok((sample.freeze(), true))
}
