//! A destination of a check's own, and the runtime's part played at it.

use std::sync::Arc;

use tidegate_core::{
    Commit, ComponentId, Delivery, Epoch, Input, Origins, Position, Prepared, Recovery, Rejected,
    RunId, Sink, SinkBatch, SinkContext, SinkEpoch, Spread, Token, Visibility, WriterId,
};

use super::hand::{Hand, killed};
use super::suite::SinkSuite;
use crate::suites::check::{Outcome, ensure};
use crate::suites::context::TestContext;
use crate::suites::rows::{self, difference};

pub(super) const ROWS: usize = 50;

pub(super) struct Site<'a> {
    pub(super) suite: &'a SinkSuite,
    pub(super) cx: TestContext,
}

/// An epoch that is open, with writers that have taken rows.
pub(super) struct Begun {
    pub(super) id: Epoch,
    pub(super) open: Arc<dyn SinkEpoch>,
    pub(super) writers: Vec<Hand>,
    /// Where its writers work.
    executor: u32,
}

impl Begun {
    /// Without writers.
    pub(super) async fn open(sink: &dyn Sink, epoch: u64) -> Outcome<Self> {
        Self::open_in(sink, 0, epoch).await
    }

    /// The same, in one of several executors.
    pub(super) async fn open_in(sink: &dyn Sink, executor: u32, epoch: u64) -> Outcome<Self> {
        let id = Epoch(epoch);
        Ok(Self {
            id,
            open: sink.epoch(id).await?,
            writers: Vec::new(),
            executor,
        })
    }

    /// With a writer for each of `from`, which has taken the rows from there on, in two batches.
    pub(super) async fn with(
        sink: &dyn Sink,
        suite: &SinkSuite,
        epoch: u64,
        from: &[i64],
    ) -> Outcome<Self> {
        let mut begun = Self::open(sink, epoch).await?;
        for from in from {
            fill(begun.writer().await?, suite, *from, sink.wants_origins()).await?;
        }
        Ok(begun)
    }

    /// Another writer, without rows.
    pub(super) async fn writer(&mut self) -> Outcome<&mut Hand> {
        let id = WriterId {
            epoch: self.id,
            executor: self.executor,
            index: u32::try_from(self.writers.len()).unwrap_or(u32::MAX),
        };
        self.writers.push(Hand::open(&self.open, id).await?);
        let last = self.writers.len() - 1;
        Ok(&mut self.writers[last])
    }

    /// Lets all writers finish, and seals.
    pub(super) async fn seal(self) -> Outcome<Vec<Prepared>> {
        let good = |rejected: Rejected| {
            ensure!(
                rejected.is_empty(),
                "it rejected good rows: {:?}",
                rejected.rows
            );
            Ok(())
        };
        for writer in self.writers {
            good(writer.finish().await?.rejected)?;
        }
        let sealed = self.open.seal().await?;
        good(sealed.rejected)?;
        Ok(sealed.prepared)
    }

    /// Gives up.
    pub(super) async fn abandon(self) {
        drop(self.writers);
        self.open.abandon().await;
    }
}

/// What an epoch made durable, as a checkpoint keeps it.
#[derive(Debug, Clone)]
pub(super) struct Stored {
    pub(super) run: RunId,
    pub(super) epoch: Epoch,
    pub(super) prepared: Vec<Prepared>,
}

impl<'a> Site<'a> {
    pub(super) fn new(suite: &'a SinkSuite) -> Self {
        Self {
            suite,
            cx: TestContext::new(),
        }
    }

    /// A process that starts with the pipeline file.
    pub(super) async fn open(&self) -> Outcome<Arc<dyn Sink>> {
        Ok((self.suite.open)(self.sink_context()).await?)
    }

    /// The same pipeline, in one of several executors.
    pub(super) async fn open_in(&self, executor: u32) -> Outcome<Arc<dyn Sink>> {
        let mut cx = self.sink_context();
        cx.common.executor = executor;
        Ok((self.suite.open)(cx).await?)
    }

    fn sink_context(&self) -> SinkContext {
        let input = Input {
            name: self.suite.input.clone(),
            schema: (self.suite.batches)(0, 0).schema(),
        };
        self.cx.sink(vec![input])
    }

    /// A process that replays commits with the stored configuration.
    pub(super) async fn open_to_replay(&self) -> Outcome<Arc<dyn Sink>> {
        Ok((self.suite.open)(self.cx.sink(Vec::new())).await?)
    }

    pub(super) async fn delivery(&self) -> Outcome<Delivery> {
        Ok(self.open().await?.delivery())
    }

    pub(super) async fn visible(&self) -> Outcome<Vec<String>> {
        Ok(rows::sorted(
            &(self.suite.visible)(self.cx.common()).await?,
        )?)
    }

    pub(super) async fn objects(&self) -> Outcome<Vec<String>> {
        let mut objects = (self.suite.objects)(self.cx.common()).await?;
        objects.sort_unstable();
        Ok(objects)
    }

    /// What is visible is exactly these rows, in any order.
    pub(super) async fn shows(&self, when: &str, mut want: Vec<String>) -> Outcome {
        want.sort_unstable();
        if let Some(why) = difference(&self.visible().await?, &want) {
            return Err(crate::suites::check::Fault::Broken(format!(
                "{when}, the destination (sorted) showed {why}"
            )));
        }
        Ok(())
    }

    /// The rows from `from` on, in the text that [`shows`](Self::shows) compares.
    pub(super) fn rows(&self, from: i64) -> Outcome<Vec<String>> {
        Ok(rows::sorted(&[(self.suite.batches)(from, ROWS)])?)
    }

    pub(super) async fn begin(&self, sink: &dyn Sink, epoch: u64) -> Outcome<Begun> {
        Begun::open(sink, epoch).await
    }

    /// An epoch with a writer for each of `from`, which has taken the rows from there on, in two
    /// batches.
    pub(super) async fn begun(&self, sink: &dyn Sink, epoch: u64, from: &[i64]) -> Outcome<Begun> {
        Begun::with(sink, self.suite, epoch, from).await
    }

    /// An epoch of one writer, sealed.
    pub(super) async fn epoch(&self, sink: &dyn Sink, epoch: u64, from: i64) -> Outcome<Stored> {
        let begun = self.begun(sink, epoch, &[from]).await?;
        self.seal(begun).await
    }

    pub(super) async fn seal(&self, begun: Begun) -> Outcome<Stored> {
        Ok(self.stored(begun.id.0, begun.seal().await?))
    }

    pub(super) fn stored(&self, epoch: u64, prepared: Vec<Prepared>) -> Stored {
        Stored {
            run: self.cx.common().run,
            epoch: Epoch(epoch),
            prepared,
        }
    }

    /// Does work with the sink as a process that is killed when it is done.
    pub(super) async fn killed<T, F, Fut>(&self, work: F) -> Outcome<T>
    where
        T: Send + 'static,
        F: FnOnce(Arc<dyn Sink>, SinkSuite) -> Fut + Send + 'static,
        Fut: Future<Output = Outcome<T>> + Send,
    {
        let (suite, cx) = (self.suite.clone(), self.sink_context());
        let work = async move {
            let sink = (suite.open)(cx).await?;
            let done = work(Arc::clone(&sink), suite).await;
            std::mem::forget(sink);
            done
        };
        killed(work).await?
    }

    /// What the final checkpoint of a run holds: each epoch's own, or one for all of them.
    pub(super) async fn checkpoint(
        &self,
        sink: &dyn Sink,
        epochs: Vec<Stored>,
    ) -> Outcome<Vec<Stored>> {
        if sink.visibility() == Visibility::Epoch {
            return Ok(epochs);
        }
        let mut all = Stored {
            run: self.cx.common().run,
            epoch: epochs.last().map_or(Epoch(1), |last| last.epoch),
            prepared: epochs.into_iter().flat_map(|e| e.prepared).collect(),
        };
        all.prepared.extend(sink.conclude(&all.prepared).await?);
        Ok(vec![all])
    }

    pub(super) async fn commit(&self, sink: &dyn Sink, stored: &[Stored], last: bool) -> Outcome {
        Ok(self.try_commit(sink, stored, last).await?)
    }

    pub(super) async fn try_commit(
        &self,
        sink: &dyn Sink,
        stored: &[Stored],
        last: bool,
    ) -> tidegate_core::Result<()> {
        let cx = self.cx.common();
        for (i, one) in stored.iter().enumerate() {
            let commit = Commit {
                pipeline: &cx.pipeline,
                lineage: cx.lineage,
                run: one.run,
                epoch: one.epoch,
                last: last && i + 1 == stored.len(),
                prepared: &one.prepared,
            };
            sink.commit(&commit).await?;
            self.cx.journal().forget(one.epoch);
        }
        Ok(())
    }

    /// One epoch from its first row to its commit, as a run of its own where that is what makes
    /// rows visible.
    pub(super) async fn write(
        &self,
        sink: &dyn Sink,
        epoch: u64,
        from: i64,
    ) -> Outcome<Vec<Stored>> {
        let stored = self.epoch(sink, epoch, from).await?;
        let stored = self.checkpoint(sink, vec![stored]).await?;
        self.commit(sink, &stored, true).await?;
        Ok(stored)
    }

    pub(super) async fn recover(
        &self,
        sink: &dyn Sink,
        keep: &[Prepared],
        begun: &[Token],
    ) -> Outcome {
        Ok(sink.recover(&Recovery { keep, begun }).await?)
    }
}

/// Writes the rows from `from` on, in two batches; with origins, the same each time.
pub(super) async fn fill(
    writer: &mut Hand,
    suite: &SinkSuite,
    from: i64,
    with_origins: bool,
) -> Outcome {
    let batch = batch(suite, from, with_origins)?;
    for part in [batch.slice(0, 20), batch.slice(20, ROWS - 20)] {
        let written = writer.send(part).await?;
        ensure!(
            written.rejected.is_empty(),
            "it rejected good rows: {:?}",
            written.rejected.rows
        );
        ensure!(
            written.answers.is_empty(),
            "it gives answers that nobody reads"
        );
    }
    Ok(())
}

/// The rows from `from` on; with origins, the same each time.
pub(super) fn batch(suite: &SinkSuite, from: i64, with_origins: bool) -> Outcome<SinkBatch> {
    let batch = SinkBatch::new(0, (suite.batches)(from, ROWS));
    if !with_origins {
        return Ok(batch);
    }
    let position = Position {
        source: ComponentId::new("source")?,
        split: from.to_string().into(),
        offset: None,
    };
    let mut origins = Origins::default();
    origins.push(&Arc::new(position), 0, ROWS);
    Ok(SinkBatch {
        origins: Some(origins),
        ..batch
    })
}

/// How many writers the sink may be given at once.
pub(super) fn writers(sink: &dyn Sink, want: u32) -> u32 {
    match sink.distribution(0).spread {
        Spread::Single => 1,
        Spread::Any | Spread::Hash(_) => want,
    }
}
