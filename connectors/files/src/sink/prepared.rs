//! What goes into the checkpoint.

use std::collections::BTreeMap;

use chrono::{DateTime, Utc};
use serde::{Deserialize, Serialize};
use tidegate_catalog::Registration;
use tidegate_core::{Prepared, Result, TablePartition};
use tidegate_storage::Staged;

/// What one writer prepared, or what the run's end fixed.
#[derive(Debug, Clone, Default, Serialize, Deserialize)]
pub(super) struct Values {
    /// Files that are durable and hidden.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub(super) files: Vec<File>,
    /// The final key by the token's `unique`.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub(super) names: BTreeMap<String, String>,
    /// What is replaced.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub(super) delete: Vec<Old>,
    /// What the catalog is told, each table once.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub(super) register: Vec<Registration>,
    /// Partitions whose files all go.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub(super) forget: Vec<TablePartition>,
}

/// A file, and the name it has if no other file of the run has the same.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub(super) struct File {
    pub(super) staged: Staged,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(super) plain: Option<String>,
    pub(super) input: usize,
    pub(super) time: DateTime<Utc>,
}

/// A file as it was when the run ended: another one of its name is not ours to delete.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Old {
    pub(super) key: String,
    pub(super) size: u64,
    pub(super) modified: DateTime<Utc>,
}

impl Values {
    pub(super) fn encode(&self) -> Result<Prepared> {
        Prepared::encode(self)
    }

    /// All values as one.
    pub(super) fn decode(prepared: &[Prepared]) -> Result<Self> {
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

/// The folder of a key; empty if it lies right in the sink's.
pub(super) fn folder_of(key: &str) -> &str {
    key.rsplit_once('/').map_or("", |(folder, _)| folder)
}
