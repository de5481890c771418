//! Writers in the hands of a test.

use std::sync::Arc;
use std::time::Duration;

use arrow_array::RecordBatch;
use tidegate_core::{
    Epoch, Error, Result, Sealed, Sink, SinkBatch, SinkEpoch, Writer, WriterId, Written,
};

/// A writer of either kind, played as the runtime does: a CPU writer works on a thread that may
/// block, while the I/O runtime continues.
#[derive(Debug)]
pub struct Hand(Option<Writer>);

impl Hand {
    /// Opens a writer.
    pub async fn open(epoch: &Arc<dyn SinkEpoch>, id: WriterId) -> Result<Self> {
        Ok(Self(Some(epoch.writer(id).await?)))
    }

    /// Writes rows of the `input`-th input.
    pub async fn write(&mut self, input: usize, rows: RecordBatch) -> Result<Written> {
        self.send(SinkBatch::new(input, rows)).await
    }

    /// Writes a batch.
    pub async fn send(&mut self, batch: SinkBatch) -> Result<Written> {
        match self.0.take() {
            None => Err(Error::internal("a writer that panicked was written to")),
            Some(Writer::Io(mut writer)) => {
                let written = writer.write(batch).await;
                self.0 = Some(Writer::Io(writer));
                written
            }
            Some(Writer::Cpu(mut writer)) => {
                let write = move || (writer.write(batch), writer);
                let (written, writer) = beside(write).await?;
                self.0 = Some(Writer::Cpu(writer));
                written.map(Written::from)
            }
        }
    }

    /// Lets it finish.
    pub async fn finish(self) -> Result<Written> {
        match self.0 {
            None => Err(Error::internal("a writer that panicked was to finish")),
            Some(Writer::Io(writer)) => writer.finish().await,
            Some(Writer::Cpu(writer)) => beside(move || writer.finish()).await?.map(Written::from),
        }
    }
}

async fn beside<T: Send + 'static>(call: impl FnOnce() -> T + Send + 'static) -> Result<T> {
    let done = tokio::task::spawn_blocking(call).await;
    done.map_err(|error| Error::internal("a writer panicked").because(error))
}

/// Does work as a process that is killed when it is done: on a runtime of its own, of which nothing
/// resumes afterwards. What the work leaves open it must [forget](std::mem::forget), because a killed
/// process runs no destructors.
pub async fn killed<T: Send + 'static>(
    work: impl Future<Output = T> + Send + 'static,
) -> Result<T> {
    let (send, receive) = futures::channel::oneshot::channel();
    let process = move || {
        let runtime = tokio::runtime::Builder::new_multi_thread()
            .worker_threads(2)
            .enable_all()
            .build()
            .map_err(|error| Error::io("a runtime can't be started", error))?;
        let done = runtime.block_on(work);
        runtime.shutdown_timeout(Duration::from_secs(30));
        // Nobody waits any more where the check was given up.
        let _ = send.send(done);
        Ok::<_, Error>(())
    };
    let process = std::thread::spawn(process);
    match receive.await {
        Ok(done) => Ok(done),
        Err(_) => match process.join() {
            Ok(Err(error)) => Err(error),
            _ => Err(Error::internal("the process panicked; see above")),
        },
    }
}

/// An epoch from its first row to its seal: writes the batches of each writer, all writers at once.
/// What was rejected and answered on the way is in the seal, too.
pub async fn sealed(sink: &dyn Sink, epoch: u64, writers: Vec<Vec<RecordBatch>>) -> Result<Sealed> {
    let id = Epoch(epoch);
    let open = sink.epoch(id).await?;
    let mut hands = Vec::new();
    for (index, batches) in (0..).zip(writers) {
        let hand = Hand::open(
            &open,
            WriterId {
                epoch: id,
                executor: 0,
                index,
            },
        )
        .await?;
        hands.push((hand, batches));
    }
    let tasks = hands.into_iter().map(|(mut hand, batches)| {
        tokio::spawn(async move {
            let mut written = Written::default();
            for batch in batches {
                written.extend(hand.write(0, batch).await?);
            }
            written.extend(hand.finish().await?);
            Ok::<_, Error>(written)
        })
    });
    let tasks: Vec<_> = tasks.collect();
    let mut written = Written::default();
    for task in tasks {
        let done = task.await;
        written.extend(done.map_err(|error| Error::internal("a writer panicked").because(error))??);
    }
    let last = open.seal().await?;
    written.extend(Written {
        rejected: last.rejected,
        answers: last.answers,
    });
    Ok(Sealed {
        prepared: last.prepared,
        rejected: written.rejected,
        answers: written.answers,
    })
}
