//! Rows that the program hands in: what it sent and wasn't told to be committed is the program's to
//! send again ([`Replay::Upstream`]).

use std::sync::Arc;

use arrow_array::RecordBatch;
use arrow_schema::SchemaRef;
use futures::StreamExt;
use serde::{Deserialize, Serialize};
use serde_json::Value;
use tidegate_core::registry::Registration;
use tidegate_core::{
    Acknowledged, Ask, Error, Event, EventStream, Next, Offset, Plan, PlanState, Replay, Result,
    Rows, Scan, Source, SourceConfig, SourceContext, Split, SplitData, Stream, async_trait,
    typetag,
};
use tidegate_push::handover::{self, Opened, Queue, Sender};

use crate::without_keys;

/// The name of the one stream.
const STREAM: &str = "rows";

/// How many batches may wait to be read.
const WAITING: usize = 64;

/// Makes a source of type `tag` that gives what is sent into it, and the hand that sends.
///
/// It gives one stream, `rows`. It ends once every clone of the hand is dropped.
pub fn source(tag: impl Into<String>, schema: SchemaRef) -> (RowsIn, Registration) {
    let (sender, queue) = handover::queue(WAITING);
    let config = RowsInConfig {
        shared: Some(Arc::new(Shared {
            schema: Arc::clone(&schema),
            queue,
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
    sender: Sender<RecordBatch>,
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
        self.sender.send(batch).await
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

#[derive(Debug)]
struct Shared {
    schema: SchemaRef,
    queue: Queue<RecordBatch>,
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
            queue: shared.queue.open(),
            cx: cx.clone(),
        }))
    }
}

#[derive(Debug)]
struct RowsSource {
    shared: Arc<Shared>,
    queue: Opened<RecordBatch>,
    cx: SourceContext,
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
        let reading = self.queue.read().await;
        let cx = self.cx.clone();
        let events = futures::stream::unfold(reading, move |mut reading| {
            let (scan, cx) = (scan.clone(), cx.clone());
            async move {
                // Of the batch before: who sent it waits for its commit.
                cx.request_cut();
                let batch = reading.next().await?;
                let event = scan.project(batch).and_then(|batch| {
                    Ok(Event::Rows {
                        stream: STREAM.into(),
                        rows: Rows::Batch(batch),
                        rejected: None,
                        resume: Some(reading.position()?),
                    })
                });
                Some((event, reading))
            }
        });
        Ok(events.boxed())
    }

    async fn acknowledge(&self, upto: &[Acknowledged]) -> Result<()> {
        self.queue.acknowledge(upto)
    }

    async fn close(&self) -> Result<()> {
        self.queue.close();
        Ok(())
    }
}
