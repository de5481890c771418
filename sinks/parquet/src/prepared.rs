//! What goes into the checkpoint.

use serde::{Deserialize, Serialize};
use tidegate_core::{Prepared, Result};
use tidegate_storage::Staged;

/// What one writer prepared, or what the run's end fixed.
#[derive(Debug, Clone, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub(crate) enum Value {
    /// Files that are durable and hidden.
    Files(Vec<Staged>),
    /// Files that were there before and go when the new ones are visible.
    Delete(Vec<String>),
}

/// The values taken apart.
#[derive(Debug, Default)]
pub(crate) struct Values {
    pub(crate) files: Vec<Staged>,
    pub(crate) delete: Vec<String>,
}

impl Values {
    pub(crate) fn decode(prepared: &[Prepared]) -> Result<Self> {
        let mut all = Self::default();
        for value in prepared {
            match value.decode()? {
                Value::Files(files) => all.files.extend(files),
                Value::Delete(keys) => all.delete.extend(keys),
            }
        }
        Ok(all)
    }
}
