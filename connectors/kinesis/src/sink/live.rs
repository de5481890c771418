//! The sink that is open: its writers put records, and there is nothing to commit.

use std::sync::Arc;

use tidegate_core::{
    Commit, Delivery, Distribution, Epoch, InFlight, IoWriter, Metrics, Recovery, Result, Sealed,
    Sink, SinkBatch, SinkContext, SinkEpoch, Spread, Writer, WriterId, Written, async_trait,
};

use super::key::KeyTemplate;
use super::put::{Target, Way, put_all};
use super::records::{Shape, encode};

/// A sink whose rows are records of a stream.
#[derive(Debug)]
pub(super) struct RecordSink {
    shared: Arc<Shared>,
    /// The columns by which rows are kept in order.
    order: Option<Vec<String>>,
    requests: usize,
}

#[derive(Debug)]
struct Shared {
    target: Box<dyn Target>,
    shape: Arc<Shape>,
    way: Way,
    metrics: Arc<Metrics>,
}

impl RecordSink {
    /// Errors: what the inputs lack.
    pub(super) fn new(
        target: Box<dyn Target>,
        shape: Shape,
        way: Way,
        requests: u32,
        cx: &SinkContext,
    ) -> Result<Self> {
        for input in &cx.inputs {
            let checked = shape.check(&input.schema);
            checked.map_err(|error| error.with("input", &input.name))?;
        }
        let columns = || shape.key.as_ref().map(KeyTemplate::columns);
        let order = way.ordered.then(columns).flatten();
        Ok(Self {
            shared: Arc::new(Shared {
                target,
                shape: Arc::new(shape),
                way,
                metrics: Arc::clone(&cx.common.metrics),
            }),
            order,
            requests: usize::try_from(requests).unwrap_or(usize::MAX),
        })
    }
}

#[async_trait]
impl Sink for RecordSink {
    fn delivery(&self) -> Delivery {
        Delivery::AtLeastOnce
    }

    fn distribution(&self, _: usize) -> Distribution {
        match &self.order {
            None => Distribution::default(),
            Some(columns) => Distribution {
                spread: Spread::Hash(columns.clone()),
                ordered: true,
            },
        }
    }

    fn writer_bytes(&self) -> u64 {
        0
    }

    fn in_flight(&self) -> InFlight {
        InFlight {
            writers: self.requests,
            // What waits for an earlier record of its key is looked through for each request.
            rows: if self.order.is_some() { 2000 } else { 4000 },
            ..InFlight::default()
        }
    }

    async fn epoch(&self, _: Epoch) -> Result<Arc<dyn SinkEpoch>> {
        Ok(Arc::new(Records(Arc::clone(&self.shared))))
    }

    async fn commit(&self, _: &Commit<'_>) -> Result<()> {
        Ok(())
    }

    async fn recover(&self, _: &Recovery<'_>) -> Result<()> {
        Ok(())
    }
}

/// An epoch, and each of its writers: what is written is in the stream.
#[derive(Debug, Clone)]
struct Records(Arc<Shared>);

#[async_trait]
impl SinkEpoch for Records {
    async fn writer(&self, _: WriterId) -> Result<Writer> {
        Ok(Writer::Io(Box::new(self.clone())))
    }

    async fn seal(&self) -> Result<Sealed> {
        Ok(Sealed::default())
    }

    async fn abandon(&self) {}
}

#[async_trait]
impl IoWriter for Records {
    async fn write(&mut self, batch: SinkBatch) -> Result<Written> {
        let Shared {
            target,
            shape,
            way,
            metrics,
        } = self.0.as_ref();
        let (records, rejected) = encode(shape, batch.rows).await?;
        put_all(target.as_ref(), records, way, metrics).await?;
        Ok(rejected.into())
    }

    async fn finish(self: Box<Self>) -> Result<Written> {
        Ok(Written::default())
    }
}
