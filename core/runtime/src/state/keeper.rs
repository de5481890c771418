//! The one task that writes the state of a pipeline that is held.

use std::collections::VecDeque;
use std::sync::Arc;
use std::time::Duration;

use tidegate_core::{Error, Result};
use tokio::sync::{mpsc, oneshot};
use tokio::time::{Instant, sleep, sleep_until};
use uuid::Uuid;

use super::document::Document;
use super::head::{HeadStore, Version, Written};
use super::{Change, Fence, taken_over};
use crate::retry;

/// How often a write is tried again after passing errors, and after it lost against a change of
/// values.
const TRIES: u32 = 4;
const LOSSES: u32 = 100;

/// What a keeper is asked to do.
#[derive(Debug)]
pub(super) enum Ask {
    /// Change the state.
    Apply(Change, oneshot::Sender<Result<()>>),
    /// Make sure that no earlier write can take place any more.
    Settle(oneshot::Sender<Result<()>>),
    /// Give the pipeline back, and end.
    Release(oneshot::Sender<Result<()>>),
}

/// Writes changes one after another, and a beat when there was none for a while. It goes on while
/// anyone may ask it: so a pipeline is held for as long as a part of its process may still act.
#[derive(Debug)]
pub(super) struct Keeper {
    pub(super) heads: Arc<dyn HeadStore>,
    pub(super) pipeline: String,
    pub(super) fence: Fence,
    /// What is stored, as far as known, and its version.
    pub(super) document: Document,
    pub(super) version: Version,
    /// How long the document may go without a write.
    pub(super) period: Duration,
    /// Whether a write's answer was an error: it may have taken place, or do so later.
    pub(super) unsettled: bool,
    /// Whether another process has taken the pipeline.
    pub(super) lost: bool,
}

impl Keeper {
    pub(super) async fn run(mut self, mut asks: mpsc::UnboundedReceiver<Ask>) {
        let mut waiting = VecDeque::new();
        let mut beat_at = Instant::now() + self.period;
        loop {
            let ask = match waiting.pop_front() {
                Some(ask) => ask,
                None => tokio::select! {
                    ask = asks.recv() => match ask {
                        Some(ask) => ask,
                        None => return self.let_go().await,
                    },
                    () = sleep_until(beat_at), if !self.lost => {
                        if let Err(error) = self.write(|_| Ok(())).await {
                            tracing::warn!(%error, pipeline = self.pipeline, "the hold on the pipeline could not be renewed");
                        }
                        beat_at = Instant::now() + self.period;
                        continue;
                    }
                },
            };
            match ask {
                Ask::Apply(change, reply) => {
                    // Whatever has been asked for by now goes out in one write.
                    let (mut changes, mut replies) = (vec![change], vec![reply]);
                    while let Ok(ask) = asks.try_recv() {
                        waiting.push_back(ask);
                    }
                    while let Some(Ask::Apply(..)) = waiting.front() {
                        if let Some(Ask::Apply(change, reply)) = waiting.pop_front() {
                            changes.push(change);
                            replies.push(reply);
                        }
                    }
                    let result = self
                        .write(|document| {
                            let mut changes = changes.iter().cloned();
                            changes.try_for_each(|change| document.apply(change))
                        })
                        .await;
                    for reply in replies {
                        // Whoever asked may be gone; the change took place all the same.
                        let _ = reply.send(result.as_ref().copied().map_err(alike));
                    }
                    beat_at = Instant::now() + self.period;
                }
                Ask::Settle(reply) => {
                    let _ = reply.send(self.settle().await);
                }
                Ask::Release(reply) => {
                    let _ = reply.send(self.release().await);
                    return;
                }
            }
        }
    }

    /// When nobody can ask any more: nothing in this process can act for the pipeline.
    async fn let_go(mut self) {
        if let Err(error) = self.release().await {
            tracing::debug!(%error, pipeline = self.pipeline, "the pipeline could not be given back");
        }
    }

    async fn release(&mut self) -> Result<()> {
        if self.lost {
            return Ok(());
        }
        self.write(|document| {
            document.holder = None;
            Ok(())
        })
        .await
    }

    async fn settle(&mut self) -> Result<()> {
        if self.unsettled {
            self.write(|_| Ok(())).await?;
        }
        Ok(())
    }

    /// Stores a changed document.
    ///
    /// After an error it is unknown whether that took place, and `unsettled` says so. The next write
    /// that takes place settles it: what expects an older version can't take place any more.
    async fn write(&mut self, change: impl Fn(&mut Document) -> Result<()>) -> Result<()> {
        if self.lost {
            return Err(taken_over(&self.pipeline));
        }
        let write = Uuid::new_v4();
        let at = self.heads.show(&self.pipeline);
        let mut delays = retry::backoff(TRIES);
        if self.unsettled {
            self.look().await?;
        }
        for _ in 0..LOSSES {
            let mut next = self.document.clone();
            change(&mut next)?;
            next.beat += 1;
            next.write = write;
            let shown = at.clone();
            let (next, bytes) = blocking(move || {
                let bytes = next.to_bytes(&shown)?;
                Ok((next, bytes))
            })
            .await?;
            let written = self
                .heads
                .write(&self.pipeline, bytes, Some(&self.version))
                .await;
            let error = match written {
                Ok(Written::Stored(version)) => {
                    (self.document, self.version) = (next, version);
                    self.unsettled = false;
                    return Ok(());
                }
                Ok(Written::Lost) => None,
                Err(error) => Some(error),
            };
            // Until it is read back, nothing is known: not even whether this write was the one that
            // it lost against.
            self.unsettled = true;
            if let Err(cause) = self.look().await {
                return Err(if self.lost {
                    cause
                } else {
                    error.unwrap_or(cause)
                });
            }
            if self.document.write == write {
                self.unsettled = false;
                return Ok(());
            }
            if let Some(error) = error {
                let (retry::Action::Retry(told), Some(delay)) =
                    (retry::action(&error), delays.next())
                else {
                    return Err(error);
                };
                let wait = told.unwrap_or(delay);
                tracing::debug!(%error, pipeline = self.pipeline, "writing the state again");
                sleep(wait).await;
            }
        }
        Err(Error::transient("the state changes faster than it can be written").with("state", at))
    }

    /// Reads what is stored. Errors: `Conflict` if another process has taken the pipeline.
    async fn look(&mut self) -> Result<()> {
        let at = self.heads.show(&self.pipeline);
        let Some(found) = self.heads.read(&self.pipeline).await? else {
            return Err(Error::conflict("the pipeline's state is gone")
                .with("state", at)
                .hint(
                    "someone removed it while the pipeline ran; restore it before the next run",
                ));
        };
        let bytes = found.bytes;
        let document = blocking(move || Document::from_bytes(&bytes, &at)).await?;
        if document.fence() != self.fence {
            self.lost = true;
            return Err(taken_over(&self.pipeline));
        }
        (self.document, self.version) = (document, found.version);
        Ok(())
    }
}

/// Does what takes a while for a large state where it holds nobody up.
pub(super) async fn blocking<T: Send + 'static>(
    work: impl FnOnce() -> Result<T> + Send + 'static,
) -> Result<T> {
    let task = tokio::task::spawn_blocking(work);
    task.await
        .map_err(|error| Error::internal("the state's thread broke").because(error))?
}

/// The same error for another one who waits for it.
fn alike(error: &Error) -> Error {
    let mut copy = Error::new(error.kind(), error.message());
    for (key, value) in error.context() {
        copy = copy.with(key, value);
    }
    if let Some(hint) = error.hint_text() {
        copy = copy.hint(hint);
    }
    match std::error::Error::source(error) {
        Some(cause) => copy.because(cause.to_string()),
        None => copy,
    }
}
