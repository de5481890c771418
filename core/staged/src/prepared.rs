//! What goes into the checkpoint.

use std::collections::BTreeMap;

use chrono::{DateTime, Utc};
use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};
use tidegate_catalog::Registration;
use tidegate_core::{Prepared, Result, TablePartition};
use tidegate_storage::{FileMeta, Staged};

/// What an epoch prepared, or what the run's end fixed. `A`: what the sink wants to know of each
/// file when the run ends.
#[derive(Debug, Clone, Serialize, Deserialize)]
#[serde(bound(serialize = "A: Serialize", deserialize = "A: DeserializeOwned"))]
pub struct Values<A> {
    /// Files that are durable and hidden.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub files: Vec<File<A>>,
    /// The key under which a file appears instead of its own, by its token's `unique`.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub names: BTreeMap<String, String>,
    /// Files that were there before and go when the new ones are visible.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub delete: Vec<Old>,
    /// What the catalog is told, each table once.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub register: Vec<Registration>,
    /// Partitions whose files all go.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub forget: Vec<TablePartition>,
}

/// A file that is durable and hidden.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct File<A> {
    /// What publishes it.
    pub staged: Staged,
    /// What the sink wants to know of it.
    pub about: A,
}

impl<A> File<A> {
    /// Its key.
    pub fn key(&self) -> &str {
        &self.staged.token.key
    }
}

/// A file as it was when the run ended: another one of its name is not ours to delete.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Old {
    /// Its key.
    pub key: String,
    size: u64,
    modified: DateTime<Utc>,
}

impl From<FileMeta> for Old {
    fn from(file: FileMeta) -> Self {
        Self {
            key: file.key,
            size: file.size,
            modified: file.modified,
        }
    }
}

impl Old {
    /// Whether the file still is what it was.
    pub(crate) fn is(&self, now: &FileMeta) -> bool {
        (now.size, now.modified) == (self.size, self.modified)
    }
}

impl<A> Default for Values<A> {
    fn default() -> Self {
        Self {
            files: Vec::new(),
            names: BTreeMap::new(),
            delete: Vec::new(),
            register: Vec::new(),
            forget: Vec::new(),
        }
    }
}

impl<A: Serialize + DeserializeOwned> Values<A> {
    pub(crate) fn encode(&self) -> Result<Prepared> {
        Prepared::encode(self)
    }

    /// All values as one.
    pub fn decode(prepared: &[Prepared]) -> Result<Self> {
        let mut all = Self::default();
        for value in prepared {
            let value: Self = value.decode()?;
            all.files.extend(value.files);
            all.names.extend(value.names);
            all.delete.extend(value.delete);
            all.register.extend(value.register);
            all.forget.extend(value.forget);
        }
        all.register = Registration::join(all.register);
        Ok(all)
    }
}

/// The directory of a key; empty if it lies right in the sink's.
pub fn directory_of(key: &str) -> &str {
    key.rsplit_once('/').map_or("", |(directory, _)| directory)
}
