//! The sink that is open: what it promises, its epochs and its writers.

use std::sync::{Arc, Mutex, PoisonError};

use arrow_schema::SchemaRef;
use futures::stream::{self, StreamExt, TryStreamExt};
use tidegate_core::{
    Commit, Delivery, Distribution, Epoch, Error, InFlight, IoWriter, Recovery, Result, Sealed,
    Sink, SinkBatch, SinkContext, SinkEpoch, Spread, Writer, WriterId, Written, async_trait,
    batch_bytes,
};

use super::answers::Answers;
use super::config::HttpSinkConfig;
use super::load::{Filling, Most, Record, reject};
use super::plan::Plan;
use super::send::{Sender, beside};

/// About how large a batch is that is worth a thread of its own to encode.
const LARGE: usize = 64 << 10;

/// The sink that is open.
#[derive(Debug)]
pub(super) struct HttpSink {
    shared: Arc<Shared>,
    delivery: Delivery,
    wants_origins: bool,
    in_flight: InFlight,
}

/// What all writers share.
#[derive(Debug)]
struct Shared {
    /// One for each input.
    plans: Vec<Arc<Plan>>,
    sender: Sender,
    most: Most,
    ordered: bool,
    /// The most requests at once.
    concurrency: usize,
}

impl HttpSink {
    pub(super) fn open(config: &HttpSinkConfig, cx: &SinkContext) -> Result<Self> {
        let plans = cx.inputs.iter();
        let plans = plans.map(|input| Ok(Arc::new(Plan::new(config, input)?)));
        let most = Most {
            rows: config.rows(),
            bytes: config.batch_bytes.as_usize(),
        };
        let concurrency = usize::try_from(config.concurrency).unwrap_or(1);
        Ok(Self {
            shared: Arc::new(Shared {
                plans: plans.collect::<Result<_>>()?,
                sender: Sender::new(config, cx)?,
                most,
                ordered: config.ordered,
                concurrency,
            }),
            delivery: match config.server_dedupes {
                true => Delivery::Idempotent,
                false => Delivery::AtLeastOnce,
            },
            wants_origins: config.key_header().is_some(),
            in_flight: InFlight {
                writers: concurrency,
                rows: most.rows.min(InFlight::default().rows),
                // What is waiting is there as Arrow, as text and as a body.
                bytes: (cx.common.memory / 4).clamp(1 << 20, 64 << 20),
            },
        })
    }
}

#[async_trait]
impl Sink for HttpSink {
    fn delivery(&self) -> Delivery {
        self.delivery
    }

    fn distribution(&self, _: usize) -> Distribution {
        Distribution {
            spread: Spread::Any,
            ordered: self.shared.ordered,
        }
    }

    fn wants_origins(&self) -> bool {
        self.wants_origins
    }

    /// A writer is nothing but a request.
    fn writer_bytes(&self) -> u64 {
        0
    }

    fn in_flight(&self) -> InFlight {
        self.in_flight
    }

    fn answers(&self) -> Option<SchemaRef> {
        Some(Answers::schema())
    }

    async fn epoch(&self, _: Epoch) -> Result<Arc<dyn SinkEpoch>> {
        Ok(Arc::new(HttpEpoch {
            shared: Arc::clone(&self.shared),
            filling: Arc::default(),
        }))
    }

    /// Everything was sent before the checkpoint.
    async fn commit(&self, _: &Commit<'_>) -> Result<()> {
        Ok(())
    }

    /// What was sent can't be taken back.
    async fn recover(&self, _: &Recovery<'_>) -> Result<()> {
        Ok(())
    }
}

/// Records that wait for others, so that they go together.
type Waiting = Arc<Mutex<Filling>>;

#[derive(Debug)]
struct HttpEpoch {
    shared: Arc<Shared>,
    /// Of all writers, where no order is asked for.
    filling: Waiting,
}

#[async_trait]
impl SinkEpoch for HttpEpoch {
    async fn writer(&self, _: WriterId) -> Result<Writer> {
        let own = self.shared.ordered;
        Ok(Writer::Io(Box::new(HttpWriter {
            shared: Arc::clone(&self.shared),
            filling: match own {
                true => Waiting::default(),
                false => Arc::clone(&self.filling),
            },
        })))
    }

    /// Sends what still waits for others. Of ordered writers, nothing does: each has sent its own.
    async fn seal(&self) -> Result<Sealed> {
        let written = self.shared.send_rest(&self.filling).await?;
        Ok(Sealed {
            prepared: Vec::new(),
            rejected: written.rejected,
            answers: written.answers,
        })
    }

    async fn abandon(&self) {
        take(&self.filling);
    }
}

#[derive(Debug)]
struct HttpWriter {
    shared: Arc<Shared>,
    filling: Waiting,
}

#[async_trait]
impl IoWriter for HttpWriter {
    async fn write(&mut self, batch: SinkBatch) -> Result<Written> {
        let shared = &self.shared;
        let plan = shared.plans.get(batch.input);
        let plan =
            Arc::clone(plan.ok_or_else(|| Error::internal("rows of an unknown input came"))?);
        let (large, rows) = (batch_bytes(&batch.rows) > LARGE, batch.clone());
        let planned = beside(large, move || plan.records(rows)).await?;
        let mut written = Written::default();
        for (row, why) in planned.refused {
            reject(&batch, row, why, &mut written.rejected)?;
        }
        let full = {
            let mut filling = self.filling.lock().unwrap_or_else(PoisonError::into_inner);
            filling.add(planned.records, shared.most)
        };
        written.extend(shared.send(full).await?);
        Ok(written)
    }

    async fn finish(self: Box<Self>) -> Result<Written> {
        match self.shared.ordered {
            true => self.shared.send_rest(&self.filling).await,
            // Others may still add to it; the epoch sends it.
            false => Ok(Written::default()),
        }
    }
}

impl Shared {
    /// Sends loads: one after the other where their order matters, else several at once.
    async fn send(&self, loads: Vec<Vec<Record>>) -> Result<Written> {
        let at_once = if self.ordered { 1 } else { self.concurrency };
        stream::iter(loads)
            .map(|load| self.sender.deliver(load))
            .buffered(at_once)
            .try_fold(Written::default(), async |mut all, more| {
                all.extend(more);
                Ok(all)
            })
            .await
    }

    async fn send_rest(&self, filling: &Waiting) -> Result<Written> {
        self.send(take(filling).into_iter().collect()).await
    }
}

fn take(filling: &Waiting) -> Option<Vec<Record>> {
    let mut filling = filling.lock().unwrap_or_else(PoisonError::into_inner);
    filling.take()
}
