//! Columns that rows have and that their stream, whose columns were learnt from a sample, hasn't.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::Origin;

/// What is done with columns that a schema which was learnt from a sample doesn't have. NULL is no
/// value: a column that has nothing else is not missed.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Hash, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum NewColumns {
    /// Their values are left out. A warning names each such column and where it was met first; the
    /// report counts its values.
    #[default]
    Ignore,
    /// The stream gets them: the run resumes from its last checkpoint with them, and later runs
    /// have them from the beginning.
    Add,
    /// Rows that have values in them go to `<id>.rejected`.
    Reject,
    /// The run fails.
    Fail,
}

impl NewColumns {
    /// Whether it is the default, which needn't be stored.
    pub fn is_default(&self) -> bool {
        *self == Self::default()
    }
}

/// A column whose values were left out of rows that were taken.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct IgnoredColumn {
    /// Its name; of a member of a struct the path, with dots: `address.floor`.
    pub name: String,
    /// How many values it had, as far as they were counted; NULLs aren't.
    pub values: u64,
    /// Where it was met first.
    pub first: Origin,
}

impl IgnoredColumn {
    /// Adds what was left out elsewhere of columns to what was left out of columns so far.
    pub fn merge(all: &mut Vec<Self>, more: Vec<Self>) {
        for column in more {
            match all.iter_mut().find(|other| other.name == column.name) {
                Some(known) => known.values += column.values,
                None => all.push(column),
            }
        }
    }
}
