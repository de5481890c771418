//! What goes into the checkpoint.

use std::collections::BTreeMap;

use chrono::{DateTime, Utc};
use serde::{Deserialize, Serialize};
use tidegate_core::{Prepared, Result};
use tidegate_storage::Staged;

/// What one writer prepared, or what the run's end fixed.
#[derive(Debug, Clone, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub(super) enum Value {
    /// Files that are durable and hidden.
    Files(Vec<File>),
    /// What else is to be done when they are published.
    End(End),
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

/// What a run fixes at its end.
#[derive(Debug, Clone, Default, Serialize, Deserialize)]
pub(super) struct End {
    /// The final key by the token's `unique`.
    pub(super) names: BTreeMap<String, String>,
    /// What is replaced.
    pub(super) delete: Vec<Old>,
}

/// A file as it was when the run ended: another one of its name is not ours to delete.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Old {
    pub(super) key: String,
    pub(super) size: u64,
    pub(super) modified: DateTime<Utc>,
}

/// The values taken apart.
pub(super) fn decode(prepared: &[Prepared]) -> Result<(Vec<File>, End)> {
    let (mut files, mut end) = (Vec::new(), End::default());
    for value in prepared {
        match value.decode()? {
            Value::Files(more) => files.extend(more),
            Value::End(value) => end = value,
        }
    }
    Ok((files, end))
}
