//! The open sink and its writer.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt;
use std::io::{ErrorKind as Io, Write};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use arrow_array::RecordBatch;
use arrow_json::WriterBuilder;
use arrow_json::writer::LineDelimited;
use arrow_schema::SchemaRef;
use tidegate_core::{
    Commit, Delivery, Distribution, Epoch, Error, Input, IoWriter, Prepared, Recovery, Result,
    Sealed, Sink, SinkBatch, SinkEpoch, Spread, Writer, WriterId, Written, async_trait,
};

use crate::config::{ConsoleConfig, Format};
use crate::table::{self, Look};
use crate::terminal;

/// Rows shown on standard output.
#[derive(Debug)]
pub struct ConsoleSink(Arc<Shared>);

struct Shared {
    format: Format,
    rows: usize,
    inputs: Vec<Input>,
    screen: Mutex<Screen>,
}

struct Screen {
    out: Box<dyn Write + Send>,
    /// Whether nobody reads on: nothing is written any more.
    closed: bool,
    /// What is to be shown of each epoch, by input.
    epochs: BTreeMap<Epoch, BTreeMap<usize, First>>,
    /// The inputs of which rows came.
    came: BTreeSet<usize>,
}

/// The first rows of an input in an epoch.
struct First {
    schema: SchemaRef,
    batches: Vec<RecordBatch>,
    shown: usize,
    more: u64,
}

impl fmt::Debug for Shared {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Shared")
            .field("format", &self.format)
            .finish_non_exhaustive()
    }
}

impl ConsoleSink {
    /// Shows the rows of `inputs` on `out`.
    pub fn new(config: &ConsoleConfig, inputs: &[Input], out: Box<dyn Write + Send>) -> Self {
        let rows = usize::try_from(config.rows.unwrap_or(20)).unwrap_or(usize::MAX);
        Self(Arc::new(Shared {
            format: config.format,
            rows,
            inputs: inputs.to_vec(),
            screen: Mutex::new(Screen {
                out,
                closed: false,
                epochs: BTreeMap::new(),
                came: BTreeSet::new(),
            }),
        }))
    }
}

impl Shared {
    fn screen(&self) -> MutexGuard<'_, Screen> {
        self.screen.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Shows the tables of all epochs up to this one.
    fn show(&self, upto: Epoch) -> Result<()> {
        let mut screen = self.screen();
        while let Some(entry) = screen.epochs.first_entry() {
            if *entry.key() > upto {
                break;
            }
            let mut text = String::new();
            for (input, first) in entry.remove() {
                let title = self.inputs.get(input).map_or("", |input| &input.name);
                let (batches, more) = (&first.batches, first.more);
                text +=
                    &table::render(title, &first.schema, batches, more, Look::of_stdout(false))?;
            }
            write(&mut screen, text.as_bytes())?;
        }
        Ok(())
    }

    /// Shows the inputs of which no rows came, at the end of the run.
    fn show_empty(&self) -> Result<()> {
        let mut screen = self.screen();
        let mut text = String::new();
        for (at, input) in self.inputs.iter().enumerate() {
            if self.format == Format::Table && screen.came.insert(at) {
                text += &table::render(&input.name, &input.schema, &[], 0, Look::of_stdout(false))?;
            }
        }
        write(&mut screen, text.as_bytes())
    }
}

impl Screen {
    fn keep(&mut self, epoch: Epoch, input: usize, batch: &RecordBatch, most: usize) {
        self.came.insert(input);
        let inputs = self.epochs.entry(epoch).or_default();
        let first = inputs.entry(input).or_insert_with(|| First {
            schema: batch.schema(),
            batches: Vec::new(),
            shown: 0,
            more: 0,
        });
        let take = batch.num_rows().min(most - first.shown);
        if take > 0 {
            first.batches.push(batch.slice(0, take));
            first.shown += take;
        }
        first.more += (batch.num_rows() - take) as u64;
    }
}

fn write(screen: &mut Screen, bytes: &[u8]) -> Result<()> {
    if screen.closed {
        return Ok(());
    }
    let out = &mut screen.out;
    match out.write_all(bytes).and_then(|()| out.flush()) {
        Ok(()) => Ok(()),
        // Nobody will read again. Other sinks are none the worse for it.
        Err(error) if error.kind() == Io::BrokenPipe => {
            screen.closed = true;
            terminal::closed();
            Ok(())
        }
        Err(error) => Err(Error::io("standard output can't be written", error)),
    }
}

#[async_trait]
impl Sink for ConsoleSink {
    fn delivery(&self) -> Delivery {
        Delivery::Observer
    }

    fn distribution(&self, _input: usize) -> Distribution {
        Distribution {
            spread: Spread::Single,
            ordered: true,
        }
    }

    async fn epoch(&self, id: Epoch) -> Result<Arc<dyn SinkEpoch>> {
        Ok(Arc::new(ConsoleEpoch(Arc::clone(&self.0), id)))
    }

    async fn commit(&self, commit: &Commit<'_>) -> Result<()> {
        // A fresh process that replays a commit has nothing to show.
        self.0.show(commit.epoch)?;
        match commit.last {
            true => self.0.show_empty(),
            false => Ok(()),
        }
    }

    async fn recover(&self, _recovery: &Recovery<'_>) -> Result<()> {
        Ok(())
    }

    async fn close(&self) -> Result<()> {
        self.0.show(Epoch(u64::MAX))
    }
}

#[derive(Debug)]
struct ConsoleEpoch(Arc<Shared>, Epoch);

#[async_trait]
impl SinkEpoch for ConsoleEpoch {
    async fn writer(&self, _id: WriterId) -> Result<Writer> {
        Ok(Writer::Io(Box::new(ConsoleWriter {
            shared: Arc::clone(&self.0),
            epoch: self.1,
        })))
    }

    async fn seal(&self) -> Result<Sealed> {
        let mut sealed = Sealed::default();
        // Something, so that the epoch's commit is told.
        if self.0.format == Format::Table {
            sealed.prepared.push(Prepared::encode(&())?);
        }
        Ok(sealed)
    }

    async fn abandon(&self) {}
}

/// Whoever reads standard output may take their time.
struct ConsoleWriter {
    shared: Arc<Shared>,
    epoch: Epoch,
}

impl Shared {
    fn take(&self, epoch: Epoch, batch: &SinkBatch) -> Result<()> {
        match self.format {
            Format::Table => {
                let mut screen = self.screen();
                screen.keep(epoch, batch.input, &batch.rows, self.rows);
            }
            Format::Ndjson => {
                let mut writer = WriterBuilder::new()
                    .with_explicit_nulls(true)
                    .build::<_, LineDelimited>(Vec::new());
                writer.write(&batch.rows)?;
                writer.finish()?;
                write(&mut self.screen(), &writer.into_inner())?;
            }
        }
        Ok(())
    }
}

#[async_trait]
impl IoWriter for ConsoleWriter {
    async fn write(&mut self, batch: SinkBatch) -> Result<Written> {
        let (shared, epoch) = (Arc::clone(&self.shared), self.epoch);
        let taken = tokio::task::spawn_blocking(move || shared.take(epoch, &batch)).await;
        taken.map_err(|error| Error::internal("rows could not be shown").because(error))??;
        Ok(Written::default())
    }

    async fn finish(self: Box<Self>) -> Result<Written> {
        Ok(Written::default())
    }
}
