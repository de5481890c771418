use bytes::Bytes;
use tidegate_core::Result;
use tidegate_http::Response;

use crate::Pointer;

/// Where an answer holds its records, and what it may be instead of an array.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct RecordsAt {
    /// Where the array stands.
    pub pointer: Pointer,
    /// Whether null, or nothing at all, means no records. Otherwise it is an error: a name
    /// that is misspelt must not look like an empty list.
    pub optional: bool,
    /// Whether an object there is one record. Otherwise it is an error: it may be the server's way
    /// of telling one.
    pub object: bool,
}

/// The records of a page.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Records {
    /// They, as a JSON array: a part of the answer's body, not a copy.
    pub json: Bytes,
    /// How many they are.
    pub count: u64,
}

/// Finds the records in an answer.
///
/// Errors: `Data` where the body isn't JSON or has something else there; with the URL, what was
/// found, and how the body begins.
pub fn records(answer: &Response, at: &RecordsAt) -> Result<Records> {
    let _ = (answer, at);
    unimplemented!()
}
