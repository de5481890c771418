//! Rows that the program hands in: what it sent and wasn't told to be committed is the program's to
//! send again ([`Replay::Upstream`]).

use std::collections::VecDeque;
use std::fmt;
use std::sync::{Arc, Mutex, PoisonError};

use arrow_array::RecordBatch;
use arrow_schema::SchemaRef;
use futures::StreamExt;
use serde::{Deserialize, Serialize};
use serde_json::Value;
use tidegate_core::registry::Registration;
use tidegate_core::{
    Acknowledged, Ask, Error, Event, EventStream, Next, Offset, Plan, PlanState, Replay, Result,
    Rows, RunId, Scan, Source, SourceConfig, SourceContext, Split, SplitData, Stream, async_trait,
    typetag,
};
use tokio::sync::{Mutex as AsyncMutex, mpsc, oneshot};

use crate::without_keys;

/// The name of the one stream.
const STREAM: &str = "rows";

/// How many batches may wait to be read.
const WAITING: usize = 64;

/// Makes a source of type `tag` that gives what is sent into it, and the hand that sends.
///
/// It gives one stream, `rows`. It ends once every clone of the hand is dropped.
pub fn source(tag: impl Into<String>, schema: SchemaRef) -> (RowsIn, Registration) {
    let (sender, receiver) = mpsc::channel(WAITING);
    let config = RowsInConfig {
        shared: Some(Arc::new(Shared {
            schema: Arc::clone(&schema),
            receiver: Arc::new(AsyncMutex::new(receiver)),
        })),
    };
    let keys = without_keys("Rows that the program hands in.");
    let parse = move |_: Value| Ok(Box::new(config.clone()) as _);
    let registration = Registration::source_with(tag.into(), keys, parse);
    (RowsIn { sender, schema }, registration)
}

/// The hand that sends rows into a pipeline.
#[derive(Debug, Clone)]
pub struct RowsIn {
    sender: mpsc::Sender<Sent>,
    schema: SchemaRef,
}

impl RowsIn {
    /// Sends rows, and waits until they are committed in every sink.
    ///
    /// While the pipeline doesn't run, this waits; a caller that can't wait puts a timeout around
    /// it. A batch whose future is dropped may be committed or not.
    ///
    /// Errors: `Schema` if the columns aren't the source's. `Transient` if the run failed, stopped
    /// or started again from its last checkpoint before the rows were committed: whether they were
    /// isn't known, so they may be sent again, and arrive at least once.
    pub async fn send(&self, batch: RecordBatch) -> Result<()> {
        let batch = self.typed(&batch)?;
        if batch.num_rows() == 0 {
            return Ok(());
        }
        let (told, committed) = oneshot::channel();
        let sent = self.sender.send(Sent { batch, told }).await;
        sent.map_err(|_| {
            Error::transient("the pipeline is gone").hint("make a new one, and send the rows to it")
        })?;
        committed.await.map_err(|_| {
            Error::transient("the run ended before the rows were committed").hint("send them again")
        })
    }

    fn typed(&self, batch: &RecordBatch) -> Result<RecordBatch> {
        let refused = || {
            Error::schema("the batch doesn't have the columns of the source")
                .hint(format!("they are: {}", columns(&self.schema)))
        };
        let names = |schema: &SchemaRef| {
            let fields = schema.fields().iter();
            fields.map(|field| field.name().clone()).collect::<Vec<_>>()
        };
        if names(&batch.schema()) != names(&self.schema) {
            return Err(refused());
        }
        RecordBatch::try_new(Arc::clone(&self.schema), batch.columns().to_vec())
            .map_err(|error| refused().because(error))
    }

    /// The columns that every batch has.
    pub fn schema(&self) -> SchemaRef {
        Arc::clone(&self.schema)
    }
}

fn columns(schema: &SchemaRef) -> String {
    let fields = schema.fields().iter();
    let named = fields.map(|field| format!("{} {}", field.name(), field.data_type()));
    named.collect::<Vec<_>>().join(", ")
}

/// A batch on its way, and whom to tell that it is committed.
#[derive(Debug)]
struct Sent {
    batch: RecordBatch,
    told: oneshot::Sender<()>,
}

struct Shared {
    schema: SchemaRef,
    /// Held by who reads; what one reading hasn't taken is there for the next.
    receiver: Arc<AsyncMutex<mpsc::Receiver<Sent>>>,
}

impl fmt::Debug for Shared {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Shared").finish_non_exhaustive()
    }
}

/// The configuration: it has no keys, and is nothing without the program that made it.
#[derive(Debug, Clone, Serialize, Deserialize)]
struct RowsInConfig {
    #[serde(skip)]
    shared: Option<Arc<Shared>>,
}

#[async_trait]
#[typetag::serde(name = "program_rows")]
impl SourceConfig for RowsInConfig {
    async fn open(&self, cx: &SourceContext) -> Result<Arc<dyn Source>> {
        let Some(shared) = &self.shared else {
            return Err(Error::internal(
                "a program's rows were opened without the program",
            ));
        };
        Ok(Arc::new(RowsSource {
            shared: Arc::clone(shared),
            cx: cx.clone(),
            opened: RunId::new(),
            taken: Arc::default(),
        }))
    }
}

#[derive(Debug)]
struct RowsSource {
    shared: Arc<Shared>,
    cx: SourceContext,
    /// Tells this opening's positions from those of another attempt.
    opened: RunId,
    taken: Arc<Mutex<Taken>>,
}

/// What was read and isn't committed, in order. Dropping it tells whoever sent it.
#[derive(Debug, Default)]
struct Taken {
    read: u64,
    waiting: VecDeque<(u64, oneshot::Sender<()>)>,
}

#[async_trait]
impl Source for RowsSource {
    fn streams(&self) -> Vec<Stream> {
        vec![Stream {
            name: STREAM.into(),
            schema: Arc::clone(&self.shared.schema),
            key: Vec::new(),
            bounded: false,
            replay: Replay::Upstream,
        }]
    }

    async fn plan(&self, ask: &Ask<'_>) -> Result<Plan> {
        let mut new = Vec::new();
        if ask.first {
            let id = format!("rows-{}", self.cx.run.short());
            new.push(Split::new(id, SplitData::encode(&())?));
        }
        Ok(Plan {
            new,
            revoked: Vec::new(),
            state: PlanState::encode(&())?,
            next: Next::Complete,
        })
    }

    async fn read(&self, _: &Split, scans: &[Scan], _: Option<&Offset>) -> Result<EventStream> {
        let scan = scans.first().cloned();
        let scan = scan.ok_or_else(|| Error::internal("rows are read that nobody asked for"))?;
        let receiver = Arc::clone(&self.shared.receiver).lock_owned().await;
        let (taken, cx, opened) = (Arc::clone(&self.taken), self.cx.clone(), self.opened);
        let events = futures::stream::unfold(receiver, move |mut receiver| {
            let (scan, taken, cx) = (scan.clone(), Arc::clone(&taken), cx.clone());
            async move {
                // Of the batch before: who sent it waits for its commit.
                cx.request_cut();
                let Sent { batch, told } = receiver.recv().await?;
                let number = {
                    let mut taken = taken.lock().unwrap_or_else(PoisonError::into_inner);
                    taken.read += 1;
                    let number = taken.read;
                    taken.waiting.push_back((number, told));
                    number
                };
                let event = scan.project(batch).and_then(|batch| {
                    Ok(Event::Rows {
                        stream: STREAM.into(),
                        rows: Rows::Batch(batch),
                        rejected: None,
                        resume: Some(Offset::encode(&(opened, number))?),
                    })
                });
                Some((event, receiver))
            }
        });
        Ok(events.boxed())
    }

    async fn acknowledge(&self, upto: &[Acknowledged]) -> Result<()> {
        for offset in upto.iter().filter_map(|told| told.offset.as_ref()) {
            let (opened, committed): (RunId, u64) = offset.decode()?;
            if opened != self.opened {
                continue;
            }
            let mut taken = self.taken.lock().unwrap_or_else(PoisonError::into_inner);
            while let Some((_, told)) = taken
                .waiting
                .pop_front_if(|(number, _)| *number <= committed)
            {
                // Who sent it may have stopped waiting.
                let _ = told.send(());
            }
        }
        Ok(())
    }

    async fn close(&self) -> Result<()> {
        let mut taken = self.taken.lock().unwrap_or_else(PoisonError::into_inner);
        taken.waiting.clear();
        Ok(())
    }
}
