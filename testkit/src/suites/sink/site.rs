//! A destination of a check's own, and the runtime's part played at it.

use std::sync::Arc;

use tidegate_core::{
    Commit, Delivery, Epoch, Input, Prepared, Recovery, RunId, Sink, SinkWriter, Spread, Token,
    Visibility, WriterId,
};

use super::suite::SinkSuite;
use crate::suites::check::{Outcome, ensure};
use crate::suites::context::TestContext;
use crate::suites::rows::{self, difference};

pub(super) const ROWS: usize = 50;

pub(super) struct Site<'a> {
    pub(super) suite: &'a SinkSuite,
    pub(super) cx: TestContext,
}

/// What writers of an epoch made durable, as a checkpoint keeps it.
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
        let input = Input {
            name: self.suite.input.clone(),
            schema: (self.suite.batches)(0, 0).schema(),
        };
        Ok((self.suite.open)(self.cx.sink(vec![input])).await?)
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

    /// A writer that has taken the rows from `from` on, in two batches.
    pub(super) async fn writer(
        &self,
        sink: &dyn Sink,
        (epoch, index): (u64, u32),
        from: i64,
    ) -> Outcome<Box<dyn SinkWriter>> {
        let id = WriterId {
            epoch: Epoch(epoch),
            index,
        };
        let mut writer = sink.writer(id).await?;
        fill(writer.as_mut(), self.suite, from).await?;
        Ok(writer)
    }

    /// An epoch of one writer, prepared.
    pub(super) async fn epoch(&self, sink: &dyn Sink, epoch: u64, from: i64) -> Outcome<Stored> {
        let writer = self.writer(sink, (epoch, 0), from).await?;
        self.seal(epoch, vec![writer]).await
    }

    pub(super) async fn seal(
        &self,
        epoch: u64,
        writers: Vec<Box<dyn SinkWriter>>,
    ) -> Outcome<Stored> {
        let mut prepared = Vec::new();
        for writer in writers {
            let sealed = writer.prepare().await?;
            ensure!(
                sealed.rejected.is_empty(),
                "it rejected good rows: {:?}",
                sealed.rejected.rows
            );
            prepared.extend(sealed.prepared);
        }
        Ok(Stored {
            run: self.cx.common().run,
            epoch: Epoch(epoch),
            prepared,
        })
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

pub(super) async fn fill(writer: &mut dyn SinkWriter, suite: &SinkSuite, from: i64) -> Outcome {
    let batch = (suite.batches)(from, ROWS);
    for part in [batch.slice(0, 20), batch.slice(20, ROWS - 20)] {
        let rejected = writer.write(0, part).await?;
        ensure!(
            rejected.is_empty(),
            "it rejected good rows: {:?}",
            rejected.rows
        );
    }
    Ok(())
}

/// How many writers the sink may be given at once.
pub(super) fn writers(sink: &dyn Sink, want: u32) -> u32 {
    match sink.distribution(0).spread {
        Spread::Single => 1,
        Spread::Any | Spread::Hash(_) => want,
    }
}
