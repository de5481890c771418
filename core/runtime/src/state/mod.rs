//! What a pipeline remembers: offsets, plan states, what was prepared and what was begun.
//!
//! A [`StateStore`] changes only by [`Change`]s, each applied at once and whole, with the fencing
//! token compared inside the same transaction. So any store with one atomic conditional write can
//! implement it. What a change means, [`PipelineState::apply`] alone says; stores keep its steps.
//!
//! ```text
//! Change ──> PipelineState (edits.rs) ──> edits ─┬─> SqliteStore: rows of state.db; a lock file
//!                                                └─> ObjectState: lines of a Head and its parts
//!                                                       └─ Keeper: writes, and beats while it holds
//! ```

mod change;
mod edits;
mod head;
mod hold;
mod keeper;
mod layout;
mod location;
mod model;
mod names;
mod object;
mod places;
mod process;
mod splits;
mod sqlite;

use std::fmt::Debug;

use async_trait::async_trait;
use chrono::{DateTime, Utc};
use serde_json::Value;
use tidegate_core::{Error, Result};

pub use change::{Change, Checkpoint};
pub use hold::{Held, Hold};
pub use location::StateLocation;
pub(crate) use model::prepared_by;
pub use model::{
    Begun, PipelineState, RunState, SourceState, SplitState, StoredComponent, StoredEpoch,
};
pub use object::ObjectState;
pub use places::{Found, HeadStore, Version, Written};
pub use splits::Splits;
pub use sqlite::{SqliteStore, StateCopy};

/// Proof of being the one process that may change a pipeline's state. Each taking gives a larger one.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub struct Fence(pub u64);

/// A pipeline that has a state.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Listed {
    /// Its name.
    pub name: String,
    /// When its state was last changed, if that is known.
    pub changed: Option<DateTime<Utc>>,
}

/// Where pipelines' states are kept.
#[async_trait]
pub trait StateStore: Debug + Send + Sync {
    /// Takes the pipeline for as long as the hold lives; whoever had it before is fenced off.
    /// Giving up waiting for it leaves nothing held.
    ///
    /// Errors: `Conflict` while another one that may be alive has it.
    async fn acquire(&self, pipeline: &str) -> Result<Hold>;

    /// Fails with `Conflict` if the hold is gone or another one has taken the pipeline since.
    async fn verify(&self, pipeline: &str, fence: Fence) -> Result<()>;

    /// The state as it is. `None`: the pipeline has never run here.
    async fn load(&self, pipeline: &str) -> Result<Option<PipelineState>>;

    /// The pipelines that have something here, sorted by name; [`StateStore::load`] may still give
    /// `None` for one that only has values.
    ///
    /// Errors: `Unsupported` if the store can't tell.
    async fn pipelines(&self) -> Result<Vec<Listed>> {
        Err(Error::unsupported("this store of states can't list them"))
    }

    /// Changes the state, at once and whole, durably.
    ///
    /// Errors: `Conflict` when fenced off. After another error it is unknown whether the change
    /// took place: load the state before deciding anything.
    async fn apply(&self, pipeline: &str, fence: Fence, change: Change) -> Result<()>;

    /// A component's value outside epochs; see [`tidegate_core::KeyValue`].
    async fn get_value(&self, pipeline: &str, component: &str, key: &str) -> Result<Option<Value>>;

    /// See [`tidegate_core::KeyValue::compare_and_set`].
    async fn compare_and_set_value(
        &self,
        pipeline: &str,
        component: &str,
        key: &str,
        expected: Option<&Value>,
        value: &Value,
    ) -> Result<bool>;
}

/// What whoever was taken over from is told.
pub(crate) fn taken_over(pipeline: &str) -> Error {
    Error::conflict("another process has taken over this pipeline")
        .with("pipeline", pipeline)
        .hint("nothing that this process did since then was committed; the other one continues")
}

/// What a part of a run is told that resumes after the run has let go of the pipeline.
fn let_go(pipeline: &str) -> Error {
    Error::conflict("the run that held this pipeline was dropped")
        .with("pipeline", pipeline)
        .hint("what it hadn't stored is given up; the next run resumes from its last checkpoint")
}
