//! The place that an [`ObjectState`](super::ObjectState) needs: heads that are replaced whole, on
//! condition, and parts beside them that are written once.

use std::fmt::{self, Debug};

use async_trait::async_trait;
use tidegate_core::{Error, Result};

use super::Listed;

/// Heads by name, each replaced only by who knows its present version: S3 with `If-Match`, or
/// anything else that compares and swaps. Each head has parts, which never change.
///
/// Reads and listings are strong: they see every write that has ended. A write whose answer was an
/// error may still take place later (that of a head, as long as the version that it expects is
/// there); who writes has to live with that.
#[async_trait]
pub trait HeadStore: Debug + Send + Sync {
    /// The head as it is; `None` if there is none.
    async fn read(&self, name: &str) -> Result<Option<Found>>;

    /// Replaces the head if its version still is `expected` (`None`: makes it if there is none).
    ///
    /// [`Written::Lost`] may also be the answer when this very write took place, and the store was
    /// asked again because its first answer didn't arrive.
    async fn write(
        &self,
        name: &str,
        bytes: Vec<u8>,
        expected: Option<&Version>,
    ) -> Result<Written>;

    /// The heads that are there, by name.
    ///
    /// Errors: `Unsupported` if the place can't tell.
    async fn heads(&self) -> Result<Vec<Listed>> {
        Err(Error::unsupported("this place of states can't list them"))
    }

    /// Writes a part of the head; no other has ever had its name (letters, digits, `-`).
    async fn write_part(&self, name: &str, part: &str, bytes: Vec<u8>) -> Result<()>;

    /// A part of the head; `None` if there is none.
    async fn read_part(&self, name: &str, part: &str) -> Result<Option<Vec<u8>>>;

    /// The names of all parts that lie beside the head.
    async fn parts(&self, name: &str) -> Result<Vec<String>>;

    /// Deletes parts of the head, also such as aren't there.
    async fn delete_parts(&self, name: &str, parts: &[String]) -> Result<()>;

    /// What the head is called in messages.
    fn show(&self, name: &str) -> String;
}

/// A head as it was read.
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
    /// It took place; this is the head's version now.
    Stored(Version),
    /// The head's version was another one.
    Lost,
}

/// Tells one content of a head from another: an ETag.
#[derive(Clone, PartialEq, Eq, Hash)]
pub struct Version(pub String);

impl Debug for Version {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}
