//! The place that an [`ObjectState`](super::ObjectState) needs: objects that are replaced whole, on
//! condition.

use std::fmt::{self, Debug};

use async_trait::async_trait;
use tidegate_core::Result;

/// Objects by name, each replaced only by who knows its present version: S3 with `If-Match`, or
/// anything else that compares and swaps.
///
/// Reads are strong: they see every write that has ended. A write whose answer was an error may
/// still take place later, as long as the version that it expects is there; who writes has to live
/// with that.
#[async_trait]
pub trait HeadStore: Debug + Send + Sync {
    /// The object as it is; `None` if there is none.
    async fn read(&self, name: &str) -> Result<Option<Found>>;

    /// Replaces the object if its version still is `expected` (`None`: makes it if there is none).
    ///
    /// [`Written::Lost`] may also be the answer when this very write took place, and the store was
    /// asked again because its first answer didn't arrive.
    async fn write(
        &self,
        name: &str,
        bytes: Vec<u8>,
        expected: Option<&Version>,
    ) -> Result<Written>;

    /// What the object is called in messages.
    fn show(&self, name: &str) -> String;
}

/// An object as it was read.
#[derive(Debug, Clone)]
pub struct Found {
    /// All of it.
    pub bytes: Vec<u8>,
    /// What the next write has to expect.
    pub version: Version,
}

/// What came of a conditional write.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Written {
    /// It took place; this is the object's version now.
    Stored(Version),
    /// The object's version was another one.
    Lost,
}

/// Tells one content of an object from another: an ETag.
#[derive(Clone, PartialEq, Eq, Hash)]
pub struct Version(pub String);

impl Debug for Version {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}
