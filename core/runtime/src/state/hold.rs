//! A process's hold on a pipeline.

use std::fmt::Debug;

use async_trait::async_trait;
use tidegate_core::Result;

use super::Fence;

/// That this process is the one that may change a pipeline's state. Dropping it gives the pipeline
/// back at once: a run whose future is dropped holds nobody up.
///
/// What such a run left going (a thread in the middle of a write) is refused from then on, and as
/// soon as another one has taken the pipeline the fence refuses it too.
#[derive(Debug)]
pub struct Hold {
    fence: Fence,
    held: Box<dyn Held>,
}

/// What a store has of a pipeline that is held; dropping it must give the pipeline back, without
/// waiting for anything.
#[async_trait]
pub trait Held: Debug + Send + Sync {
    /// Gives the pipeline back, and waits until others can see it.
    async fn release(self: Box<Self>) -> Result<()>;
}

impl Hold {
    /// A hold under `fence`.
    pub fn new(fence: Fence, held: impl Held + 'static) -> Self {
        Self {
            fence,
            held: Box::new(held),
        }
    }

    /// What changes of the state are made under.
    pub fn fence(&self) -> Fence {
        self.fence
    }

    /// Gives the pipeline back, and waits until others can see it.
    pub async fn release(self) -> Result<()> {
        self.held.release().await
    }
}
