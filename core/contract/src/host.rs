//! What the runtime does for a component of a run, beside its context.

use std::any::Any;
use std::collections::HashMap;
use std::fmt;
use std::future::Future;
use std::sync::{Arc, Mutex, PoisonError};

use async_trait::async_trait;
use futures::future::join_all;
use futures::lock::Mutex as AsyncMutex;

use crate::{ComponentId, Context, Error, Result};

/// What the runtime does for a component of a run, beside its context. By default nothing: so it is
/// while a pipeline is only checked, and outside any.
#[derive(Clone, Default)]
pub struct Host {
    cut: Option<Arc<dyn Fn() + Send + Sync>>,
    kept: Option<Kept>,
}

impl Host {
    /// What a run gives to its components: `cut` asks for a checkpoint, `kept` lives as long as the
    /// run in this process.
    pub fn new(cut: impl Fn() + Send + Sync + 'static, kept: Kept) -> Self {
        Self {
            cut: Some(Arc::new(cut)),
            kept: Some(kept),
        }
    }
}

impl fmt::Debug for Host {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(
            f,
            "Host({})",
            if self.cut.is_some() { "a run" } else { "none" }
        )
    }
}

/// What a component keeps over the attempts of a run: see [`Context::keep`].
#[async_trait]
pub trait Keep: Any + Send + Sync {
    /// The run has ended in this process. Ends what still continues, in good order: a server answers the
    /// requests that it has taken. Waited for 10 s at most; then it is dropped. Not called where the
    /// run's future is dropped.
    async fn end(&self) {}
}

type Slot = Arc<AsyncMutex<Option<Arc<dyn Keep>>>>;

/// What components keep over the attempts of a run.
#[derive(Clone, Default)]
pub struct Kept(Arc<Mutex<HashMap<(ComponentId, String), Slot>>>);

impl Kept {
    /// Ends all of it, at the end of a run. Nothing is kept afterwards.
    pub async fn end(&self) {
        let slots = std::mem::take(&mut *self.0.lock().unwrap_or_else(PoisonError::into_inner));
        let ends = slots.into_values().map(|slot| async move {
            if let Some(kept) = slot.lock().await.take() {
                kept.end().await;
            }
        });
        join_all(ends).await;
    }

    fn slot(&self, id: &ComponentId, key: &str) -> Slot {
        let mut slots = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        Arc::clone(slots.entry((id.clone(), key.to_owned())).or_default())
    }
}

impl fmt::Debug for Kept {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Kept").finish_non_exhaustive()
    }
}

impl Context {
    /// Asks for a checkpoint soon, because somebody waits for the commit: a client for its answer, a
    /// queue for what may be deleted. [`Source::acknowledge`](crate::Source::acknowledge) tells when
    /// it has taken place.
    ///
    /// It covers the events that the runtime has taken, so a stream asks when it is polled again after
    /// its event. The runtime joins what is asked for within `checkpoint.min_interval`. Where a run
    /// is one epoch, and outside a run, nothing comes of it.
    pub fn request_cut(&self) {
        if let Some(cut) = &self.host.cut {
            cut();
        }
    }

    /// What the component keeps under `key` over the attempts of a run (a socket that listens), made
    /// by `open` on first use; it is [ended](Keep::end) and dropped when the run ends in this process. `None` while the
    /// pipeline is only checked, and outside any: then `open` isn't called.
    ///
    /// Errors: those of `open`, after which nothing is kept; `Internal` if something of another type
    /// is kept under this key.
    pub async fn keep<T, F>(&self, key: &str, open: impl FnOnce() -> F) -> Result<Option<Arc<T>>>
    where
        T: Keep,
        F: Future<Output = Result<T>>,
    {
        let Some(kept) = &self.host.kept else {
            return Ok(None);
        };
        let slot = kept.slot(&self.id, key);
        let mut slot = slot.lock().await;
        let kept = match &*slot {
            Some(kept) => Arc::clone(kept),
            None => {
                let made: Arc<dyn Keep> = Arc::new(open().await?);
                Arc::clone(slot.insert(made))
            }
        };
        let kept: Arc<dyn Any + Send + Sync> = kept;
        match kept.downcast() {
            Ok(kept) => Ok(Some(kept)),
            Err(_) => Err(Error::internal("what is kept is of another type")
                .with("component", &self.id)
                .with("key", key)),
        }
    }
}
