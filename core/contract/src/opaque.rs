//! Values that a connector understands and the runtime only keeps.

use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};

use crate::{Error, Result};

macro_rules! opaque {
    ($($(#[$doc:meta])* $name:ident;)*) => {$(
        $(#[$doc])*
        #[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
        #[serde(transparent)]
        pub struct $name(serde_json::Value);

        impl $name {
            /// Wraps a connector's own type.
            pub fn encode<T: Serialize>(value: &T) -> Result<Self> {
                serde_json::to_value(value).map(Self).map_err(|error| {
                    Error::internal(concat!("a value of `", stringify!($name), "` could not be stored"))
                        .because(error)
                })
            }

            /// Unwraps it. A stored value that doesn't fit means that the connector has changed
            /// its shape since: [`ErrorKind::Conflict`](crate::ErrorKind::Conflict).
            pub fn decode<T: DeserializeOwned>(&self) -> Result<T> {
                T::deserialize(&self.0).map_err(|error| {
                    Error::conflict(concat!("a stored `", stringify!($name), "` could not be read"))
                        .hint("the state was written by another version; finish the run with that \
                               version, or start over with --restart")
                        .because(error)
                })
            }
        }
    )*};
}

opaque! {
    /// A position in a split. Reading from it gives exactly the events after it.
    Offset;
    /// What a source knows about its splits, kept between asks and between runs.
    PlanState;
    /// What a split's reader needs to know to read it.
    SplitData;
    /// What a writer made durable but not yet visible in an epoch.
    Prepared;
    /// What a writer is about to begin (an upload, a staging table), journalled before its first byte.
    Token;
}

impl PlanState {
    /// What stands in its field `under`, by name: see
    /// [`SourceConfig::remembered_under`](crate::SourceConfig::remembered_under).
    pub fn entries(&self, under: &str) -> impl Iterator<Item = (&str, &serde_json::Value)> {
        let entries = self.0.get(under).and_then(serde_json::Value::as_object);
        let entries = entries.into_iter().flatten();
        entries.map(|(name, value)| (name.as_str(), value))
    }

    /// The same without one of them; `None` if there is no such entry.
    pub fn without(&self, under: &str, name: &str) -> Option<Self> {
        let mut without = self.clone();
        let entries = without.0.get_mut(under)?.as_object_mut()?;
        entries.shift_remove(name)?;
        Some(without)
    }

    /// Whether there is nothing in it to remember: no number but 0, no text, no true, however deep.
    pub fn is_empty(&self) -> bool {
        fn is_empty(value: &serde_json::Value) -> bool {
            match value {
                serde_json::Value::Null | serde_json::Value::Bool(false) => true,
                serde_json::Value::Number(number) => number.as_u64() == Some(0),
                serde_json::Value::Array(values) => values.iter().all(is_empty),
                serde_json::Value::Object(values) => values.values().all(is_empty),
                serde_json::Value::Bool(true) | serde_json::Value::String(_) => false,
            }
        }
        is_empty(&self.0)
    }
}
