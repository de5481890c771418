//! The one task that writes the state of a pipeline that is held.

use std::collections::{BTreeSet, VecDeque};
use std::sync::Arc;
use std::time::Duration;

use tidegate_core::{Error, Result};
use tokio::sync::{mpsc, oneshot, watch};
use tokio::time::{Instant, sleep, sleep_until};
use uuid::Uuid;

use super::edits::Edit;
use super::head::{Head, blocking, delete_parts, read_head, read_state, write_parts};
use super::places::{HeadStore, Version, Written};
use super::{Change, Fence, PipelineState, let_go, taken_over};
use crate::retry;

/// How often a write is tried again after transient errors, and after it lost against a change of
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

/// Writes changes one after another, and a beat when there was none for a while. When the hold is
/// dropped it refuses what waits, gives the pipeline back, and ends.
#[derive(Debug)]
pub(super) struct Keeper {
    pub(super) heads: Arc<dyn HeadStore>,
    pub(super) pipeline: String,
    pub(super) fence: Fence,
    /// What is stored, as far as known, and its version.
    pub(super) head: Head,
    pub(super) version: Version,
    /// The state that `head` means, once it was needed.
    pub(super) state: Option<PipelineState>,
    /// Every part that may lie beside the head.
    pub(super) parts: BTreeSet<String>,
    /// How long the head may go without a write.
    pub(super) period: Duration,
    /// Whether a write's answer was an error: it may have taken place, or do so later.
    pub(super) unsettled: bool,
    /// Whether another process has taken the pipeline.
    pub(super) lost: bool,
    /// Closed as soon as the hold is gone.
    pub(super) hold: watch::Receiver<()>,
}

/// What is to be written, on top of one head.
struct Next {
    on: Uuid,
    edits: Vec<Edit>,
    /// What became of each change.
    results: Vec<Result<()>>,
}

impl Keeper {
    pub(super) async fn run(mut self, mut asks: mpsc::UnboundedReceiver<Ask>) {
        self.collect();
        let mut hold = self.hold.clone();
        let mut waiting = VecDeque::new();
        let mut beat_at = Instant::now() + self.period;
        loop {
            if self.is_let_go() {
                // Whoever waits for an answer is told by the end of the channel.
                return self.let_go().await;
            }
            let ask = match waiting.pop_front() {
                Some(ask) => ask,
                None => tokio::select! {
                    biased;
                    _ = hold.changed() => continue,
                    ask = asks.recv() => match ask {
                        Some(ask) => ask,
                        None => return self.let_go().await,
                    },
                    () = sleep_until(beat_at), if !self.lost => {
                        if let Err(error) = self.write(&[], false).await {
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
                    let results = match self.write(&changes, false).await {
                        Ok(results) => results,
                        Err(error) => replies.iter().map(|_| Err(alike(&error))).collect(),
                    };
                    for (reply, result) in replies.into_iter().zip(results) {
                        // Whoever asked may be gone; the change took place all the same.
                        let _ = reply.send(result);
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

    fn is_let_go(&self) -> bool {
        self.hold.has_changed().is_err()
    }

    async fn let_go(mut self) {
        if let Err(error) = self.release().await {
            tracing::debug!(%error, pipeline = self.pipeline, "the pipeline could not be given back");
        }
    }

    async fn release(&mut self) -> Result<()> {
        if self.lost {
            return Ok(());
        }
        self.write(&[], true).await.map(drop)
    }

    async fn settle(&mut self) -> Result<()> {
        if self.unsettled {
            self.write(&[], false).await?;
        }
        Ok(())
    }

    /// Stores what changes make of the state, and says what became of each.
    ///
    /// After an error it is unknown whether that took place, and `unsettled` says so. The next write
    /// that takes place settles it: what expects an older version can't take place any more.
    async fn write(&mut self, changes: &[Change], release: bool) -> Result<Vec<Result<()>>> {
        let written = self.try_write(changes, release).await;
        if written.is_err() {
            self.state = None;
        }
        written
    }

    async fn try_write(&mut self, changes: &[Change], release: bool) -> Result<Vec<Result<()>>> {
        if self.lost {
            return Err(taken_over(&self.pipeline));
        }
        let write = Uuid::new_v4();
        let mut delays = retry::backoff(TRIES);
        let mut next: Option<Next> = None;
        if self.unsettled {
            self.look().await?;
        }
        for _ in 0..LOSSES {
            // Against a change of values it is written as it was; if an earlier write of this
            // process took place after all, the changes mean what they mean on top of that.
            if next.as_ref().is_some_and(|next| next.on != self.head.write) {
                (next, self.state) = (None, None);
            }
            if next.is_none() {
                next = Some(self.next(changes).await?);
            }
            let edits = next.iter().flat_map(|next| next.edits.iter().cloned());
            let mut head = self.head.clone();
            head.edits.extend(edits);
            head.beat += 1;
            head.write = write;
            if release {
                head.holder = None;
            }
            let error = match self.store(head).await {
                Ok(Written::Stored(_)) => {
                    return Ok(next.map_or_else(Vec::new, |next| next.results));
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
            if self.head.write == write {
                self.settled();
                return Ok(next.map_or_else(Vec::new, |next| next.results));
            }
            if let Some(error) = error {
                let (retry::Action::Retry(told), Some(delay)) =
                    (retry::action(&error), delays.next())
                else {
                    return Err(error);
                };
                let wait = told.unwrap_or(delay);
                tracing::debug!(%error, pipeline = self.pipeline, "writing the state again");
                let mut hold = self.hold.clone();
                tokio::select! {
                    () = sleep(wait) => {}
                    // Others wait for the pipeline.
                    _ = hold.changed() => return Err(let_go(&self.pipeline)),
                }
            }
        }
        Err(
            Error::transient("the state changes faster than it can be written")
                .with("state", self.heads.show(&self.pipeline)),
        )
    }

    /// Changes the state in memory.
    async fn next(&mut self, changes: &[Change]) -> Result<Next> {
        let mut next = Next {
            on: self.head.write,
            edits: Vec::new(),
            results: Vec::new(),
        };
        if changes.is_empty() {
            return Ok(next);
        }
        let mut state = match self.state.take() {
            Some(state) => state,
            None => self.load().await?,
        };
        next.on = self.head.write;
        for change in changes {
            next.results.push(match state.change(change) {
                Ok(edits) => {
                    next.edits.extend(edits);
                    Ok(())
                }
                Err(error) => Err(error),
            });
        }
        self.state = Some(state);
        Ok(next)
    }

    /// Writes a head, once, and what it has in parts before it.
    async fn store(&mut self, mut head: Head) -> Result<Written> {
        let state = self.state.take();
        let (head, state, parts, bytes) = blocking(move || {
            let parts = head.pack(state.as_ref())?;
            let bytes = head.to_bytes()?;
            Ok((head, state, parts, bytes))
        })
        .await?;
        self.state = state;
        self.parts
            .extend(parts.iter().map(|(part, _)| part.name.clone()));
        write_parts(&*self.heads, &self.pipeline, parts).await?;
        let written = self
            .heads
            .write(&self.pipeline, bytes, Some(&self.version))
            .await?;
        if let Written::Stored(version) = &written {
            (self.head, self.version) = (head, version.clone());
            self.settled();
        }
        Ok(written)
    }

    /// The head is what is stored, and nothing else can be any more.
    fn settled(&mut self) {
        self.unsettled = false;
        self.collect();
    }

    /// Deletes the parts that the head doesn't name: what was written to follow an older head can't
    /// follow it any more.
    fn collect(&mut self) {
        let named = self.head.named();
        let old: Vec<String> = self.parts.difference(&named).cloned().collect();
        self.parts = named;
        if !old.is_empty() {
            let (heads, pipeline) = (Arc::clone(&self.heads), self.pipeline.clone());
            tokio::spawn(async move { delete_parts(&*heads, &pipeline, old).await });
        }
    }

    /// Reads the state that is stored.
    async fn load(&mut self) -> Result<PipelineState> {
        if let Some(state) = self.head.state(&*self.heads).await? {
            return Ok(state);
        }
        // Only values are changed by others; but a write of this process whose answer was lost may
        // have come after this head.
        let found = read_state(&*self.heads, &self.pipeline).await?;
        let (head, version, state) = found.ok_or_else(|| self.gone())?;
        self.take(head, version)?;
        Ok(state)
    }

    /// Reads the head that is stored. Errors: `Conflict` if another process has taken the pipeline.
    async fn look(&mut self) -> Result<()> {
        let found = read_head(&*self.heads, &self.pipeline).await?;
        let (head, version) = found.ok_or_else(|| self.gone())?;
        self.take(head, version)
    }

    fn take(&mut self, head: Head, version: Version) -> Result<()> {
        if head.fence() != self.fence {
            self.lost = true;
            return Err(taken_over(&self.pipeline));
        }
        self.parts.extend(head.named());
        (self.head, self.version) = (head, version);
        Ok(())
    }

    fn gone(&self) -> Error {
        Error::conflict("the pipeline's state is gone")
            .with("state", self.heads.show(&self.pipeline))
            .hint("someone removed it while the pipeline ran; restore it before the next run")
    }
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
