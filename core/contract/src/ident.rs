//! Names and numbers that identify the parts of a pipeline.

use std::fmt;
use std::sync::Arc;

use serde::{Deserialize, Serialize};
use uuid::Uuid;

use crate::{Error, Result};

macro_rules! text_newtype {
    ($(#[$doc:meta])* $name:ident) => {
        $(#[$doc])*
        #[derive(Clone, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
        #[serde(transparent)]
        pub struct $name(Arc<str>);

        impl $name {
            /// The text.
            pub fn as_str(&self) -> &str {
                &self.0
            }
        }
        impl fmt::Display for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str(&self.0)
            }
        }
        impl fmt::Debug for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                write!(f, "{:?}", &*self.0)
            }
        }
        impl std::borrow::Borrow<str> for $name {
            fn borrow(&self) -> &str {
                &self.0
            }
        }
    };
}

text_newtype! {
    /// A component's name in the pipeline file: `[a-z][a-z0-9_]*`.
    ComponentId
}

impl ComponentId {
    /// Checks the name and makes an id of it.
    pub fn new(name: &str) -> Result<Self> {
        let mut chars = name.chars();
        let first = chars.next().is_some_and(|c| c.is_ascii_lowercase());
        if first && chars.all(|c| c.is_ascii_lowercase() || c.is_ascii_digit() || c == '_') {
            return Ok(Self(name.into()));
        }
        Err(
            Error::config(format!("`{name}` can't name a component")).hint(
                "component names are lower-case letters, digits and `_`, and start with a letter",
            ),
        )
    }
}

text_newtype! {
    /// A stream's name within its source: `sales`. In `inputs` it follows the source's id: `shop.sales`.
    StreamName
}

impl StreamName {
    /// The name of every component's stream of rejected rows; no source may use it.
    pub const REJECTED: &'static str = "rejected";

    /// The name of a sink's stream of answers, of those that have one.
    pub const ANSWERS: &'static str = "answers";

    /// The name of the stream of [files that were passed over](crate::FailedFile), of sources that
    /// have one.
    pub const FAILED_FILES: &'static str = "failed_files";

    /// Whether a stream of this name tells of other rows than the source's or transform's own: it is
    /// read only where it is named, and no other stream may have the name.
    pub fn is_aside(name: &str) -> bool {
        [Self::REJECTED, Self::FAILED_FILES].contains(&name)
    }
}

impl<T: AsRef<str>> From<T> for StreamName {
    fn from(name: T) -> Self {
        Self(name.as_ref().into())
    }
}

text_newtype! {
    /// A split's name, unique within its source for as long as a pipeline's state lives.
    SplitId
}

impl<T: AsRef<str>> From<T> for SplitId {
    fn from(id: T) -> Self {
        Self(id.as_ref().into())
    }
}

/// The number of an epoch: the work between two checkpoints. From 1; never repeats in a lineage.
#[derive(
    Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, Default, Serialize, Deserialize,
)]
#[serde(transparent)]
pub struct Epoch(pub u64);

impl Epoch {
    /// The epoch that follows.
    #[must_use]
    pub fn next(self) -> Self {
        Self(self.0 + 1)
    }
}

impl fmt::Display for Epoch {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

macro_rules! uuid_newtype {
    ($(#[$doc:meta])* $name:ident) => {
        $(#[$doc])*
        #[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
        #[serde(transparent)]
        pub struct $name(pub Uuid);

        impl $name {
            /// A new one, ordered by the time of its birth.
            #[allow(clippy::new_without_default)]
            pub fn new() -> Self {
                Self(Uuid::now_v7())
            }

            /// Twelve hex digits that tell this one from its neighbours: for names of objects.
            pub fn short(self) -> String {
                let text = self.0.simple().to_string();
                text[text.len() - 12..].to_owned()
            }
        }
        impl fmt::Display for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                self.0.fmt(f)
            }
        }
    };
}

uuid_newtype! {
    /// The identity of a pipeline's state: born with it, and part of every marker and object name.
    Lineage
}

uuid_newtype! {
    /// One run: from a pipeline's start to the end of its input, over as many processes as it takes.
    RunId
}

/// One open end of a sink: the `index`-th writer of an epoch in one of the run's executors. No two
/// writers of an epoch share it, so that a name which carries it is the writer's own.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub struct WriterId {
    /// The epoch whose rows this writer takes.
    pub epoch: Epoch,
    /// The executor that it works in, from 0.
    pub executor: u32,
    /// Counts the sink's writers within the epoch and the executor, from 0.
    pub index: u32,
}

impl fmt::Display for WriterId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.executor {
            0 => write!(f, "{}-{}", self.epoch, self.index),
            executor => write!(f, "{}-{executor}-{}", self.epoch, self.index),
        }
    }
}
