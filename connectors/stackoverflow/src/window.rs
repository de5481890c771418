//! The rows that a split stands for.

use serde::{Deserialize, Serialize};

use crate::streams::Value;

/// The rows that a split stands for.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub(crate) enum Window {
    /// Those whose date lies in it, in seconds since 1970, both inclusive; `to` is only open until
    /// it is planned. They can only leave it: what happens now has a later date.
    Dates { from: Option<i64>, to: Option<i64> },
    /// All of them. Their values may change while they are read.
    All,
}

impl Window {
    /// Its last second.
    pub(crate) fn end(&self) -> Option<i64> {
        match self {
            Self::Dates { to, .. } => *to,
            Self::All => None,
        }
    }

    /// Whether a value doesn't lie after it.
    pub(crate) fn has(&self, value: &Value) -> bool {
        match (self.end(), value) {
            (Some(to), Value::Number(at)) => *at <= to,
            _ => true,
        }
    }

    /// Whether it surely has no rows.
    pub(crate) fn is_empty(&self) -> bool {
        matches!(self, Self::Dates { from: Some(from), to: Some(to) } if from > to)
    }
}

/// The direction of a walk.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub(crate) enum Direction {
    Up,
    Down,
}

impl Direction {
    /// Its name in requests.
    pub(crate) fn name(self) -> &'static str {
        match self {
            Self::Up => "asc",
            Self::Down => "desc",
        }
    }
}
