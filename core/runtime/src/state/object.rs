//! The state store on object storage: a head and its parts for each pipeline.

use std::collections::HashMap;
use std::fmt;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use async_trait::async_trait;
use serde_json::Value;
use tidegate_core::{Error, Result};
use tokio::sync::{mpsc, oneshot, watch};
use tokio::time::{Instant, sleep};
use uuid::Uuid;

use super::head::{
    Head, Made, Values, blocking, delete_parts, read_head, read_state, read_values, write_parts,
};
use super::keeper::{Ask, Keeper};
use super::layout::Claim;
use super::places::{HeadStore, Version, Written};
use super::process::{Holder, Holding};
use super::{Change, Fence, Held, Hold, Listed, PipelineState, StateStore, let_go, taken_over};

/// How often a change of a value is tried again after it lost against another change.
const LOSSES: u32 = 100;

/// The state store on anything that replaces objects on condition (S3 with `If-Match`): a small head
/// for each pipeline, and parts beside it when its state is large.
///
/// Whoever holds a pipeline writes its head again and again, at least four times in the time of
/// the lease. When another process has seen it stand still for that time on its own clock, it takes
/// over, by the same kind of write: whoever held it finds its next write refused. Clocks of
/// different machines are never compared. A run that is dropped gives its pipeline back at once.
///
/// What is written on top of what no longer is the present version never takes place. So a process
/// that was stopped and continues later changes nothing.
#[derive(Debug, Clone)]
pub struct ObjectState {
    shared: Arc<Shared>,
}

struct Shared {
    heads: Arc<dyn HeadStore>,
    lease: Duration,
    held: Mutex<HashMap<String, Mine>>,
}

/// What is known of a pipeline that this store holds.
#[derive(Clone)]
struct Mine {
    fence: Fence,
    keeper: mpsc::UnboundedSender<Ask>,
}

/// The hold on a pipeline. Its keeper gives it back when this is dropped; in this process it is free
/// before that.
struct Leased {
    state: ObjectState,
    pipeline: String,
    fence: Fence,
    _holding: Holding,
    _hold: watch::Sender<()>,
}

impl ObjectState {
    /// The store in `heads`. A pipeline whose head stands still for the time `lease` is taken
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

    fn heads(&self) -> &dyn HeadStore {
        &*self.shared.heads
    }

    fn held(&self) -> MutexGuard<'_, HashMap<String, Mine>> {
        let held = self.shared.held.lock();
        held.unwrap_or_else(PoisonError::into_inner)
    }

    /// What is known of a pipeline that is held under `fence`; fails if it isn't any more.
    fn mine(&self, pipeline: &str, fence: Fence) -> Result<Mine> {
        let held = self.held().get(pipeline).cloned();
        held.filter(|mine| mine.fence == fence)
            .ok_or_else(|| let_go(pipeline))
    }

    /// Asks the keeper of a pipeline that is held under `fence`.
    async fn ask(
        &self,
        pipeline: &str,
        fence: Fence,
        ask: impl FnOnce(oneshot::Sender<Result<()>>) -> Ask,
    ) -> Result<()> {
        let mine = self.mine(pipeline, fence)?;
        let (reply, answer) = oneshot::channel();
        mine.keeper.send(ask(reply)).map_err(|_| let_go(pipeline))?;
        drop(mine);
        answer.await.map_err(|_| let_go(pipeline))?
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
        mut head: Head,
        mut parts: Vec<Made>,
        expected: Option<&Version>,
        is_ours: impl Fn(&Head) -> bool,
    ) -> Result<Option<(Head, Version)>> {
        let pipeline = head.pipeline.clone();
        let (head, parts, bytes) = blocking(move || {
            // What an earlier layout had in it.
            parts.extend(head.pack(None)?);
            let bytes = head.to_bytes()?;
            Ok((head, parts, bytes))
        })
        .await?;
        write_parts(self.heads(), &pipeline, parts).await?;
        let error = match self.heads().write(&pipeline, bytes, expected).await {
            Ok(Written::Stored(version)) => return Ok(Some((head, version))),
            Ok(Written::Lost) => None,
            Err(error) => Some(error),
        };
        match (read_head(self.heads(), &pipeline).await, error) {
            (Ok(Some(found)), _) if is_ours(&found.0) => Ok(Some(found)),
            (Ok(_), None) => Ok(None),
            (Err(error), None) | (_, Some(error)) => Err(error),
        }
    }

    /// The parts that lie beside the head. Whoever then writes a head may delete those of them that
    /// it doesn't name: what was written before to follow an older head can't follow it any more.
    async fn parts(&self, pipeline: &str) -> Vec<String> {
        match self.heads().parts(pipeline).await {
            Ok(parts) => parts,
            Err(error) => {
                tracing::warn!(%error, pipeline, "parts of the state that a crash may have left could not be listed");
                Vec::new()
            }
        }
    }

    /// Takes a pipeline that nobody has, if its head still has this version. The keeper lets go of
    /// it when `hold` is closed.
    async fn take(
        self,
        mut head: Head,
        expected: Option<Version>,
        holder: Holder,
        hold: watch::Receiver<()>,
    ) -> Result<Option<Mine>> {
        let pipeline = head.pipeline.clone();
        let id = holder.id;
        head.take(holder);
        let parts = self.parts(&pipeline).await;
        let is_ours = |head: &Head| head.holder.as_ref().is_some_and(|found| found.id == id);
        let written = self.write(head, Vec::new(), expected.as_ref(), is_ours);
        let Some((head, version)) = written.await? else {
            return Ok(None);
        };
        let fence = head.fence();
        let (keeper, asks) = mpsc::unbounded_channel();
        let keeping = Keeper {
            heads: Arc::clone(&self.shared.heads),
            pipeline,
            fence,
            parts: parts.into_iter().chain(head.named()).collect(),
            head,
            version,
            state: None,
            period: self.shared.lease / 4,
            unsettled: false,
            lost: false,
            hold,
        };
        tokio::spawn(keeping.run(asks));
        Ok(Some(Mine { fence, keeper }))
    }

    /// Waits until the pipeline's holder has ended or stood still for the time of the lease; an
    /// error as soon as it shows that it is alive.
    async fn watch(&self, head: &Head) -> Result<()> {
        let pipeline = head.pipeline.as_str();
        let Some(holder) = &head.holder else {
            return Ok(());
        };
        let seen = (head.fence, head.beat);
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
                if holder.has_ended() {
                    // Another one took over, and gave it up.
                    return Ok(());
                }
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
impl Held for Leased {
    async fn release(self: Box<Self>) -> Result<()> {
        let Self {
            state,
            pipeline,
            fence,
            ..
        } = &*self;
        state.ask(pipeline, *fence, Ask::Release).await
    }
}

impl Drop for Leased {
    fn drop(&mut self) {
        let mut held = self.state.held();
        if held
            .get(&self.pipeline)
            .is_some_and(|mine| mine.fence == self.fence)
        {
            held.remove(&self.pipeline);
        }
    }
}

#[async_trait]
impl StateStore for ObjectState {
    async fn acquire(&self, pipeline: &str) -> Result<Hold> {
        loop {
            let (head, expected) = match read_head(self.heads(), pipeline).await? {
                None => (Head::new(pipeline), None),
                Some((head, version)) if head.holder.is_none() => (head, Some(version)),
                Some((head, _)) => {
                    self.watch(&head).await?;
                    // Another one may have been faster.
                    let seen = (head.fence, head.beat);
                    match read_head(self.heads(), pipeline).await? {
                        Some((head, version)) if (head.fence, head.beat) == seen => {
                            (head, Some(version))
                        }
                        _ => continue,
                    }
                }
            };
            // What is under way when nobody waits for it any more goes to its end in a task, and is
            // undone there: `holding` and `hold` go with this future.
            let holding = Holding::new();
            let (hold, alive) = watch::channel(());
            let take = self
                .clone()
                .take(head, expected, holding.holder().clone(), alive);
            let broke = |error| Error::internal("the task that takes a state broke").because(error);
            if let Some(mine) = tokio::spawn(take).await.map_err(broke)?? {
                let leased = Leased {
                    state: self.clone(),
                    pipeline: pipeline.to_owned(),
                    fence: mine.fence,
                    _holding: holding,
                    _hold: hold,
                };
                self.held().insert(pipeline.to_owned(), mine);
                return Ok(Hold::new(leased.fence, leased));
            }
        }
    }

    async fn verify(&self, pipeline: &str, fence: Fence) -> Result<()> {
        self.mine(pipeline, fence)?;
        let claim = self.claim(pipeline).await?;
        if claim.is_some_and(|claim| claim.fence == fence.0) {
            return Ok(());
        }
        Err(taken_over(pipeline))
    }

    async fn load(&self, pipeline: &str) -> Result<Option<PipelineState>> {
        let held = self.held().get(pipeline).map(|mine| mine.fence);
        if let Some(fence) = held {
            // What was read must not change by a write that is still under way. A process that was
            // taken over from may look, too.
            match self.ask(pipeline, fence, Ask::Settle).await {
                Err(error) if error.kind() != tidegate_core::ErrorKind::Conflict => {
                    return Err(error);
                }
                _ => {}
            }
        }
        let found = read_state(self.heads(), pipeline).await?;
        Ok(found.and_then(|(head, _, state)| (head.fence > 0).then_some(state)))
    }

    async fn pipelines(&self) -> Result<Vec<Listed>> {
        let mut found = self.heads().heads().await?;
        found.sort_by(|one, other| one.name.cmp(&other.name));
        Ok(found)
    }

    async fn apply(&self, pipeline: &str, fence: Fence, change: Change) -> Result<()> {
        self.ask(pipeline, fence, |reply| Ask::Apply(change, reply))
            .await
    }

    async fn get_value(&self, pipeline: &str, component: &str, key: &str) -> Result<Option<Value>> {
        let found = read_values(self.heads(), pipeline).await?;
        Ok(found.and_then(|(_, _, mut values)| values.get_mut(component)?.remove(key)))
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
            let (mut head, version, mut values) = match read_values(self.heads(), pipeline).await? {
                Some((head, version, values)) => (head, Some(version), values),
                None => (Head::new(pipeline), None, Values::new()),
            };
            if values.get(component).and_then(|of| of.get(key)) != expected {
                return Ok(false);
            }
            values
                .entry(component.to_owned())
                .or_default()
                .insert(key.to_owned(), value.clone());
            let had_part = head.values_part.is_some();
            let part = head.set_values(values)?;
            head.value_write = Some(write);
            // What a crash has left beside a head that nobody ever takes, as that of all pipelines,
            // is found here.
            let parts = match had_part || part.is_some() {
                true => self.parts(pipeline).await,
                false => Vec::new(),
            };
            let is_ours = |head: &Head| head.value_write == Some(write);
            let parts_made = part.into_iter().collect();
            let written = self.write(head, parts_made, version.as_ref(), is_ours);
            if let Some((head, _)) = written.await? {
                let named = head.named();
                let old = parts.into_iter().filter(|part| !named.contains(part));
                delete_parts(self.heads(), pipeline, old.collect()).await;
                return Ok(true);
            }
        }
        Err(
            Error::transient("the state changes faster than a value of it can be set")
                .with("state", self.shared.heads.show(pipeline)),
        )
    }
}

impl fmt::Debug for Leased {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Leased")
            .field("pipeline", &self.pipeline)
            .field("fence", &self.fence)
            .finish_non_exhaustive()
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
