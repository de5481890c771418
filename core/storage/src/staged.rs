//! The contract of staged writes: what appears, appears at once and whole.

use std::fmt::Debug;

use async_trait::async_trait;
use bytes::Bytes;
use serde::{Deserialize, Serialize};
use serde_json::Value;
use tidegate_core::Result;

use crate::Location;

/// A write that has a name and nothing else yet. It belongs in the journal before
/// [`Staging::create`] is called, so that a crash leaves nothing that nobody knows of.
#[derive(Debug, Clone, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub struct StagedToken {
    /// The key under which it will appear.
    pub key: String,
    /// Tells this write from any other of the same key: the temporary file's name, or the upload's.
    pub unique: String,
    /// How many directories above the key did not exist when it began.
    #[serde(default, skip_serializing_if = "is_zero")]
    pub directories: u32,
}

/// A write that is durable and invisible.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Staged {
    /// What was begun.
    pub token: StagedToken,
    /// Its bytes.
    pub bytes: u64,
    /// What else the place needs to publish it (the parts of an upload).
    #[serde(default, skip_serializing_if = "Value::is_null")]
    pub receipt: Value,
    /// The key under which it is to appear instead of its token's, in the same directory.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub renamed: Option<String>,
}

impl Staged {
    /// The key under which it appears.
    pub fn key(&self) -> &str {
        self.renamed.as_deref().unwrap_or(&self.token.key)
    }
}

#[expect(
    clippy::trivially_copy_pass_by_ref,
    reason = "serde passes a reference"
)]
fn is_zero(number: &u32) -> bool {
    *number == 0
}

/// What a kind of place does to write files that appear at once and whole.
///
/// `begin` → journal → `create` → write… → `finish` → *checkpoint* → `publish`; or `discard` at any
/// point before the checkpoint. Everything may be called from several tasks at once.
#[async_trait]
pub trait Staging: Debug + Send + Sync {
    /// Checks that a file can have this name here, as far as the name alone tells.
    ///
    /// Errors: `Config`.
    fn check_name(&self, _key: &str) -> Result<()> {
        Ok(())
    }

    /// Makes a token for a write to `key`. Nothing that has bytes is made.
    ///
    /// Errors: `Config` if `key` can't be a file (there is a directory of that name, a part of it is too
    /// long), `Auth`.
    async fn begin(&self, key: &str) -> Result<StagedToken>;

    /// Begins to write. Called once for a token.
    async fn create(&self, token: &StagedToken) -> Result<Box<dyn StagedWriter>>;

    /// Makes these appear, each at once and whole, and returns when that is durable. What has
    /// appeared before is left alone, so this may be replayed.
    ///
    /// Errors: `Conflict` if one of them neither waits nor has appeared: someone removed it.
    async fn publish(&self, staged: &[Staged]) -> Result<()>;

    /// Removes what was begun and not published, with the directories made for it if they are empty.
    /// What isn't there (any more) is fine; what was published stays.
    async fn discard(&self, tokens: &[StagedToken]) -> Result<()>;

    /// Deletes files, with the directories that this leaves empty. What isn't there is fine. What lies
    /// behind a link below here stays, with a warning.
    async fn delete(&self, keys: &[String]) -> Result<()>;

    /// Moves a file of so many bytes (`key` empty: of the storage's own path) to a location of the same
    /// kind of place, and of the same bucket. What lies there is replaced. `false`: the file isn't
    /// here.
    async fn rename(&self, key: &str, bytes: u64, to: &Location) -> Result<bool>;

    /// Checks that files can be made here, and leaves nothing behind.
    async fn check_writable(&self) -> Result<()>;
}

/// The open end of a staged write. Dropping it leaves what was written, for `discard` to find.
#[async_trait]
pub trait StagedWriter: Debug + Send {
    /// Adds bytes at the end.
    async fn write(&mut self, bytes: Bytes) -> Result<()>;

    /// Makes all of it durable, still invisible.
    async fn finish(self: Box<Self>) -> Result<Staged>;
}
