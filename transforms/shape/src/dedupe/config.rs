//! The keys of `type = "dedupe"`.

use std::sync::Arc;

use async_trait::async_trait;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use tidegate_core::{ByteSize, Error, Result, Span, Transform, TransformConfig, TransformContext};

use super::map::DedupeMap;
use super::seen::Limits;

/// The most keys that are remembered where nothing is said.
const MOST_KEYS: u64 = 1_000_000;

/// Drops rows that were there before, within a bounded window.
///
/// ```toml
/// [transforms.once]
/// type = "dedupe"
/// inputs = ["events"]
/// key = ["event_id"]
/// window = "10m"
/// ```
///
/// The first row of a key passes; those that come after it, of any input, are dropped as long as the
/// key is remembered. It is forgotten when `window` is over, counted from the row that passed, or when
/// `max_keys` others have passed since, or when there is no memory for more: the oldest first. The rows
/// that are dropped don't make it last longer. Which of equal rows comes first is by chance where
/// several threads read.
///
/// **Keys are compared as a whole**, not by hashes. NULL equals NULL, NaN equals NaN, and -0.0 equals
/// 0.0, also within nested columns; texts are equal byte by byte.
///
/// **Memory.** Keys are held in the component's share of the pipeline's memory, each with about 20 bytes
/// more than its values take. Where `max_keys` is given and could not be held however short the keys
/// are, opening fails; where they turn out to be too long, fewer are remembered, and a warning says so
/// once. A row whose key doesn't fit at all passes.
///
/// **After a restart** nothing is remembered: the window begins empty in each process, in each attempt
/// after an error, and in each executor. So a row passes again if the same one has passed before the
/// restart and was committed: it is a filter for what an upstream sends twice in short order, and no
/// guarantee. Nothing is lost: a row is only dropped where an equal one has passed in the same attempt,
/// with which it is committed or comes again. As the outcome depends on the time, the transform isn't
/// deterministic, which `effectively_once` and sinks that tell rows by their origin need. To drop all
/// duplicates of a bounded run, use `SELECT DISTINCT` in a `sql` transform.
///
/// All inputs must have the same columns.
#[derive(Debug, Clone, Default, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct DedupeConfig {
    /// The columns that make two rows the same. Default: all columns.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub key: Option<Vec<String>>,
    /// How long a key is remembered, by the clock of the process, from when its row is processed.
    /// Default: no limit of time.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub window: Option<Span>,
    /// How many keys are remembered at most. Default: 1000000, or as many as there is memory for.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub max_keys: Option<u64>,
}

#[async_trait]
#[typetag::serde(name = "dedupe")]
impl TransformConfig for DedupeConfig {
    fn validate(&self) -> Result<()> {
        let key = self.key.as_deref();
        if key.is_some_and(<[String]>::is_empty) {
            return Err(Error::config("the `key` has no columns")
                .with("key", "key")
                .hint("leave it out to compare all columns"));
        }
        for (at, name) in key.unwrap_or_default().iter().enumerate() {
            if key.unwrap_or_default()[..at].contains(name) {
                let message = format!("the `key` has `{name}` twice");
                return Err(Error::config(message).with("key", "key"));
            }
        }
        if self.window.is_some_and(|window| window.0.is_zero()) {
            return Err(Error::config("a `window` of no time holds nothing").with("key", "window"));
        }
        if self.max_keys == Some(0) {
            return Err(Error::config("`max_keys` is at least 1").with("key", "max_keys"));
        }
        Ok(())
    }

    fn keeps_state(&self) -> bool {
        true
    }

    async fn open(&self, cx: &TransformContext) -> Result<Transform> {
        self.validate()?;
        let memory = cx.common.memory;
        let most = Limits::most_keys(memory);
        if self.max_keys.is_some_and(|keys| keys > most) {
            return Err(Error::config(format!(
                "so many keys can't be held in this component's share of the memory, {}",
                ByteSize(memory)
            ))
            .with("key", "max_keys")
            .hint(format!(
                "set at most {most}, or give the pipeline more memory (`runtime.memory`)"
            )));
        }
        let limits = Limits {
            window: self.window.map(|window| window.0),
            keys: self.max_keys.unwrap_or(MOST_KEYS).min(most),
            memory,
        };
        let map = DedupeMap::new(self.key.as_deref(), limits, &cx.common.id, &cx.inputs)?;
        Ok(Transform::Map(Arc::new(map)))
    }
}
