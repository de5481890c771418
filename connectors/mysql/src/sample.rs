//! The sample loop.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

/// Random rows, again and again.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Sample {}
