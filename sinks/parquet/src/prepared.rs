//! What goes into the checkpoint.

use serde::{Deserialize, Serialize};
use tidegate_catalog::Registration;
use tidegate_core::{Prepared, Result, TablePartition};
use tidegate_storage::Staged;

/// What one writer prepared, or what the run's end fixed.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
pub(crate) struct Values {
    /// Files that are durable and hidden.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub(crate) files: Vec<Staged>,
    /// Files that were there before and go when the new ones are visible.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub(crate) delete: Vec<String>,
    /// What the catalog is told, each table once.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub(crate) register: Vec<Registration>,
    /// Partitions whose files all go.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub(crate) forget: Vec<TablePartition>,
}

impl Values {
    pub(crate) fn encode(&self) -> Result<Prepared> {
        Prepared::encode(self)
    }

    /// All values as one.
    pub(crate) fn decode(prepared: &[Prepared]) -> Result<Self> {
        let mut all = Self::default();
        for value in prepared {
            let value: Self = value.decode()?;
            all.files.extend(value.files);
            all.delete.extend(value.delete);
            all.forget.extend(value.forget);
            all.register.extend(value.register);
        }
        all.register = Registration::join(all.register);
        Ok(all)
    }
}
