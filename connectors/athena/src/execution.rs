//! An execution from its start to its end. Who lets go of it before, stops it: a query that nobody
//! waits for costs all the same.

use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use futures::FutureExt;
use futures::future::BoxFuture;
use tidegate_core::{Cancel, Error, Result};
use tokio::runtime::Handle;
use tokio::task::JoinHandle;

use crate::client::{Client, State, Status};
use crate::statement::Statement;

/// The first and the longest pause between two questions how it stands.
const PAUSES: (Duration, Duration) = (Duration::from_millis(100), Duration::from_secs(2));

/// So long a user waits for a query to be stopped.
const PATIENCE: Duration = Duration::from_secs(5);

/// So long, after all is done, stops that are still under way are waited for.
const LAST_PATIENCE: Duration = Duration::from_secs(10);

/// The stops that are under way, so that a program doesn't end before they have arrived.
#[derive(Debug, Clone, Default)]
pub(crate) struct Stops(Arc<Mutex<Vec<JoinHandle<()>>>>);

impl Stops {
    fn add(&self, stop: JoinHandle<()>) {
        let mut stops = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        stops.retain(|stop| !stop.is_finished());
        stops.push(stop);
    }

    /// Waits until all have ended, for a limited time.
    pub(crate) async fn settle(&self) {
        let stops = std::mem::take(&mut *self.0.lock().unwrap_or_else(PoisonError::into_inner));
        let all = futures::future::join_all(stops);
        if tokio::time::timeout(LAST_PATIENCE, all).await.is_err() {
            tracing::warn!("Athena didn't answer in time whether a query was stopped");
        }
    }
}

/// What is done before an execution is stopped; see [`Execution::before_stop`].
type BeforeStop = BoxFuture<'static, ()>;

/// An execution that is under way, or about to be. Dropped, it is stopped in the background.
pub(crate) struct Execution {
    client: Client,
    stops: Stops,
    stage: Stage,
    /// How many lines stand before the user's text.
    lines: usize,
    before_stop: Option<BeforeStop>,
}

enum Stage {
    /// Its start was sent; nobody knows its id yet.
    Starting(JoinHandle<Result<String>>),
    Going(String),
    Over,
}

/// How an execution ended.
#[derive(Debug)]
pub(crate) enum End {
    /// Its result can be read.
    Succeeded { id: String, status: Status },
    /// We were told to stop, and stopped it.
    Stopped,
}

impl Execution {
    /// Begins an execution. The request continues even if this is dropped, because one that was cut
    /// off may have started a query that nobody could stop.
    pub(crate) fn begin(
        client: &Client,
        stops: &Stops,
        statement: &Statement,
        token: String,
    ) -> Self {
        let lines = statement.lines_before();
        let (sender, statement) = (client.clone(), statement.clone());
        let start = tokio::spawn(async move { sender.start(&statement, &token).await });
        Self {
            client: client.clone(),
            stops: stops.clone(),
            stage: Stage::Starting(start),
            lines,
            before_stop: None,
        }
    }

    /// Has this done first if the execution is to be stopped.
    pub(crate) fn before_stop(mut self, first: BeforeStop) -> Self {
        self.before_stop = Some(first);
        self
    }

    /// Waits for its end.
    ///
    /// Errors: what Athena says of a query that failed; `Conflict` if someone else stopped it.
    pub(crate) async fn end(mut self, cancel: &Cancel) -> Result<End> {
        if let Stage::Starting(start) = &mut self.stage {
            let started = tokio::select! {
                started = start => started,
                () = cancel.cancelled() => return Ok(self.stop().await),
            };
            self.stage = Stage::Over;
            let id = started.map_err(|error| {
                Error::internal("the start of a query broke off").because(error)
            })??;
            tracing::debug!(execution = %id, "Athena runs a query");
            self.stage = Stage::Going(id);
        }
        let Stage::Going(id) = &self.stage else {
            return Err(Error::internal("a query was waited for twice"));
        };
        let id = id.clone();
        let mut pause = PAUSES.0;
        loop {
            let status = tokio::select! {
                status = self.client.status(&id) => status?,
                () = cancel.cancelled() => return Ok(self.stop().await),
            };
            match status.state {
                State::Going => {}
                State::Succeeded => {
                    self.stage = Stage::Over;
                    tracing::info!(
                        execution = %id,
                        bytes_scanned = status.statistics.bytes_scanned,
                        reused = status.statistics.reused,
                        "Athena has run a query"
                    );
                    return Ok(End::Succeeded { id, status });
                }
                State::Failed(failure) => {
                    self.stage = Stage::Over;
                    return Err(failure.into_error(&id, self.lines));
                }
                State::Cancelled => {
                    self.stage = Stage::Over;
                    return Err(Error::conflict("someone else stopped the query on Athena")
                        .with("execution", id)
                        .hint("a limit of the workgroup on scanned bytes stops queries too"));
                }
            }
            tokio::select! {
                () = tokio::time::sleep(pause) => {}
                () = cancel.cancelled() => return Ok(self.stop().await),
            }
            pause = (pause * 3 / 2).min(PAUSES.1);
        }
    }

    async fn stop(mut self) -> End {
        let mut stop = tokio::spawn(self.stopping());
        if tokio::time::timeout(PATIENCE, &mut stop).await.is_err() {
            // It continues; whoever closes waits a little longer.
            self.stops.add(stop);
        }
        End::Stopped
    }

    /// What stops it.
    fn stopping(&mut self) -> BoxFuture<'static, ()> {
        let stage = std::mem::replace(&mut self.stage, Stage::Over);
        let first = self.before_stop.take();
        let client = self.client.clone();
        let stop = async move {
            let id = match stage {
                Stage::Going(id) => id,
                Stage::Starting(start) => match start.await {
                    Ok(Ok(id)) => id,
                    Ok(Err(_)) | Err(_) => return,
                },
                Stage::Over => return,
            };
            if let Some(first) = first {
                first.await;
            }
            match client.stop(&id).await {
                Ok(()) => tracing::info!(execution = %id, "a query on Athena was stopped"),
                Err(error) => {
                    tracing::warn!(execution = %id, %error, "a query on Athena may continue");
                }
            }
        };
        stop.boxed()
    }
}

impl Drop for Execution {
    fn drop(&mut self) {
        if matches!(self.stage, Stage::Over) {
            return;
        }
        match Handle::try_current() {
            Ok(runtime) => {
                let stop = runtime.spawn(self.stopping());
                self.stops.add(stop);
            }
            Err(_) => tracing::warn!("a query on Athena continues: there is no runtime to stop it"),
        }
    }
}
