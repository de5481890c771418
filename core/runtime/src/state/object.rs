//! The state store on object storage: one head object for each pipeline.

use std::collections::HashMap;
use std::fmt;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use async_trait::async_trait;
use serde_json::Value;
use tidegate_core::{Error, Result};
use tokio::sync::{mpsc, oneshot};
use tokio::time::{Instant, sleep};
use uuid::Uuid;

use super::document::{Claim, Document};
use super::head::{Found, HeadStore, Version, Written};
use super::keeper::{Ask, Keeper, blocking};
use super::process::Holder;
use super::{Change, Fence, PipelineState, StateStore, taken_over};

/// How often a change of a value is tried again after it lost against another change.
const LOSSES: u32 = 100;

/// The state store on anything that replaces objects on condition (S3 with `If-Match`): all of a
/// pipeline's state is one JSON object.
///
/// Whoever holds a pipeline writes its object again and again, at least four times in the time of
/// the lease. When another process has seen it stand still for that time on its own clock, it takes
/// over, by the same kind of write: whoever held it finds its next write refused. Clocks of
/// different machines are never compared.
///
/// What is written on top of what no longer is the present version never takes place. So a process
/// that was stopped and goes on later changes nothing.
#[derive(Debug, Clone)]
pub struct ObjectState {
    shared: Arc<Shared>,
}

struct Shared {
    heads: Arc<dyn HeadStore>,
    lease: Duration,
    held: Mutex<HashMap<String, Held>>,
}

#[derive(Clone)]
struct Held {
    fence: Fence,
    keeper: mpsc::UnboundedSender<Ask>,
}

impl ObjectState {
    /// The store in `heads`. A pipeline whose object stands still for the time `lease` is taken
    /// over; the same time must be given to all processes that share it.
    pub fn new(heads: Arc<dyn HeadStore>, lease: Duration) -> Self {
        Self {
            shared: Arc::new(Shared {
                heads,
                lease,
                held: Mutex::default(),
            }),
        }
    }

    fn held(&self, pipeline: &str) -> Option<Held> {
        let held = self.shared.held.lock();
        held.unwrap_or_else(PoisonError::into_inner)
            .get(pipeline)
            .cloned()
    }

    /// Asks the keeper of a pipeline that is held under `fence`.
    async fn ask(
        &self,
        pipeline: &str,
        fence: Fence,
        ask: impl FnOnce(oneshot::Sender<Result<()>>) -> Ask,
    ) -> Result<()> {
        let Some(held) = self.held(pipeline).filter(|held| held.fence == fence) else {
            return Err(taken_over(pipeline));
        };
        let (reply, answer) = oneshot::channel();
        let gone = || Error::internal("the task that keeps the state is gone");
        held.keeper.send(ask(reply)).map_err(|_| gone())?;
        answer.await.map_err(|_| gone())?
    }

    async fn read(&self, pipeline: &str) -> Result<Option<(Document, Version)>> {
        let Some(Found { bytes, version }) = self.shared.heads.read(pipeline).await? else {
            return Ok(None);
        };
        let at = self.shared.heads.show(pipeline);
        let document = blocking(move || Document::from_bytes(&bytes, &at)).await?;
        Ok(Some((document, version)))
    }

    async fn claim(&self, pipeline: &str) -> Result<Option<Claim>> {
        let Some(found) = self.shared.heads.read(pipeline).await? else {
            return Ok(None);
        };
        let at = self.shared.heads.show(pipeline);
        blocking(move || Claim::from_bytes(&found.bytes, &at).map(Some)).await
    }

    /// Writes once. `None`: it is known not to have taken place.
    async fn write(
        &self,
        document: Document,
        expected: Option<&Version>,
        is_ours: impl Fn(&Document) -> bool,
    ) -> Result<Option<(Document, Version)>> {
        let heads = &self.shared.heads;
        let pipeline = document.pipeline().to_owned();
        let at = heads.show(&pipeline);
        let (document, bytes) = blocking(move || {
            let bytes = document.to_bytes(&at)?;
            Ok((document, bytes))
        })
        .await?;
        let error = match heads.write(&pipeline, bytes, expected).await {
            Ok(Written::Stored(version)) => return Ok(Some((document, version))),
            Ok(Written::Lost) => None,
            Err(error) => Some(error),
        };
        match (self.read(&pipeline).await, error) {
            (Ok(Some(found)), _) if is_ours(&found.0) => Ok(Some(found)),
            (Ok(_), None) => Ok(None),
            (Err(error), None) | (_, Some(error)) => Err(error),
        }
    }

    /// Waits until the pipeline's holder has ended or stood still for the time of the lease; an
    /// error as soon as it shows that it is alive.
    async fn watch(&self, document: Document) -> Result<()> {
        let pipeline = document.pipeline();
        let Some(holder) = &document.holder else {
            return Ok(());
        };
        let seen = (document.fence, document.beat);
        let lease = self.shared.lease;
        let since = Instant::now();
        tracing::info!(
            pipeline,
            %holder,
            lease_s = lease.as_secs_f64(),
            "another process has the pipeline; watching whether it is alive"
        );
        loop {
            if holder.has_ended() {
                tracing::info!(pipeline, %holder, "that process has ended; taking over");
                return Ok(());
            }
            sleep((lease / 20).clamp(Duration::from_millis(5), Duration::from_secs(1))).await;
            let asked = Instant::now();
            let Some(claim) = self.claim(pipeline).await? else {
                return Ok(());
            };
            let Some(holder) = claim.holder else {
                return Ok(());
            };
            if (claim.fence, claim.beat) != seen {
                return Err(Error::conflict("the pipeline is already running")
                    .with("pipeline", pipeline)
                    .with("holder", holder)
                    .hint(
                        "wait until it ends, or give this run another place with --state; a process \
                         that has died is taken over from by itself",
                    ));
            }
            if asked.duration_since(since) >= lease {
                tracing::warn!(
                    pipeline,
                    %holder,
                    "that process gave no sign of life for the time of the lease; taking over"
                );
                return Ok(());
            }
        }
    }
}

#[async_trait]
impl StateStore for ObjectState {
    async fn acquire(&self, pipeline: &str) -> Result<Fence> {
        let holder = Holder::this();
        let (document, version) = loop {
            let (mut document, expected) = match self.read(pipeline).await? {
                None => (Document::new(pipeline), None),
                Some((document, version)) if document.holder.is_none() => (document, Some(version)),
                Some((document, _)) => {
                    let seen = (document.fence, document.beat);
                    self.watch(document).await?;
                    // Another one may have been faster.
                    match self.read(pipeline).await? {
                        Some((document, version)) if (document.fence, document.beat) == seen => {
                            (document, Some(version))
                        }
                        _ => continue,
                    }
                }
            };
            document.take(holder.clone());
            let is_ours = |document: &Document| {
                let found = document.holder.as_ref();
                found.is_some_and(|found| found.id == holder.id)
            };
            if let Some(taken) = self.write(document, expected.as_ref(), is_ours).await? {
                break taken;
            }
        };
        let fence = document.fence();
        let (keeper, asks) = mpsc::unbounded_channel();
        tokio::spawn(
            Keeper {
                heads: Arc::clone(&self.shared.heads),
                pipeline: pipeline.to_owned(),
                fence,
                document,
                version,
                period: self.shared.lease / 4,
                unsettled: false,
                lost: false,
            }
            .run(asks),
        );
        let mut held = self
            .shared
            .held
            .lock()
            .unwrap_or_else(PoisonError::into_inner);
        held.insert(pipeline.to_owned(), Held { fence, keeper });
        Ok(fence)
    }

    async fn release(&self, pipeline: &str, fence: Fence) -> Result<()> {
        let result = self.ask(pipeline, fence, Ask::Release).await;
        let mut held = self
            .shared
            .held
            .lock()
            .unwrap_or_else(PoisonError::into_inner);
        if held.get(pipeline).is_some_and(|held| held.fence == fence) {
            held.remove(pipeline);
        }
        result
    }

    async fn verify(&self, pipeline: &str, fence: Fence) -> Result<()> {
        let claim = self.claim(pipeline).await?;
        if claim.is_some_and(|claim| claim.fence == fence.0) {
            return Ok(());
        }
        Err(taken_over(pipeline))
    }

    async fn load(&self, pipeline: &str) -> Result<Option<PipelineState>> {
        if let Some(held) = self.held(pipeline) {
            // What was read must not change by a write that is still under way. A process that was
            // taken over from may look, too.
            match self.ask(pipeline, held.fence, Ask::Settle).await {
                Err(error) if error.kind() != tidegate_core::ErrorKind::Conflict => {
                    return Err(error);
                }
                _ => {}
            }
        }
        let found = self.read(pipeline).await?;
        Ok(found.and_then(|(document, _)| document.into_state()))
    }

    async fn apply(&self, pipeline: &str, fence: Fence, change: Change) -> Result<()> {
        self.ask(pipeline, fence, |reply| Ask::Apply(change, reply))
            .await
    }

    async fn get_value(&self, pipeline: &str, component: &str, key: &str) -> Result<Option<Value>> {
        let found = self.read(pipeline).await?;
        Ok(found.and_then(|(document, _)| document.value(component, key).cloned()))
    }

    async fn compare_and_set_value(
        &self,
        pipeline: &str,
        component: &str,
        key: &str,
        expected: Option<&Value>,
        value: &Value,
    ) -> Result<bool> {
        // Values have nothing to do with the fence: what a fenced process has spent is spent.
        let write = Uuid::new_v4();
        for _ in 0..LOSSES {
            let (mut document, version) = match self.read(pipeline).await? {
                Some((document, version)) => (document, Some(version)),
                None => (Document::new(pipeline), None),
            };
            if document.value(component, key) != expected {
                return Ok(false);
            }
            document.set_value(component, key, value.clone());
            document.value_write = Some(write);
            let is_ours = |document: &Document| document.value_write == Some(write);
            let written = self.write(document, version.as_ref(), is_ours).await?;
            if written.is_some() {
                return Ok(true);
            }
        }
        Err(
            Error::transient("the state changes faster than a value of it can be set")
                .with("state", self.shared.heads.show(pipeline)),
        )
    }
}

impl fmt::Debug for Shared {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Shared")
            .field("heads", &self.heads)
            .field("lease", &self.lease)
            .finish_non_exhaustive()
    }
}
