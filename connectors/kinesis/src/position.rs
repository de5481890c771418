//! Where a reading stands in a shard.

use std::time::Duration;

use chrono::Utc;
use serde::{Deserialize, Serialize};
use tidegate_core::{Offset, Result};

/// A position in a shard: everything before it was read.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Position {
    /// The last record that was read. `None`: there was none yet.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) sequence: Option<String>,
    /// The last record that was read within that one, if it is an aggregated one that was cut.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) sub: Option<u64>,
    /// What came later hasn't been read; what came before has. Milliseconds since 1970: the arrival
    /// of the last record, or when the shard was last read to its end.
    pub(crate) at: i64,
    /// Whether the shard is closed and was read to its end.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub(crate) end: bool,
}

impl Position {
    pub(crate) fn offset(&self) -> Result<Offset> {
        Offset::encode(self)
    }

    /// How long ago all was read that there was.
    pub(crate) fn age(&self) -> Duration {
        let millis = now().saturating_sub(self.at);
        Duration::from_millis(millis.try_into().unwrap_or(0))
    }
}

/// Milliseconds since 1970, by this machine's clock.
pub(crate) fn now() -> i64 {
    Utc::now().timestamp_millis()
}
