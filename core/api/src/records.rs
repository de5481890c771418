use bytes::Bytes;
use tidegate_core::{Error, ErrorKind, Result};
use tidegate_http::{Response, StatusCode};

use crate::Pointer;
use crate::json::{Document, Kind, elements, kind};

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

/// An array, nothing else.
impl From<Pointer> for RecordsAt {
    fn from(pointer: Pointer) -> Self {
        Self {
            pointer,
            ..Self::default()
        }
    }
}

/// The records of a page.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Records {
    /// They, as a JSON array: a part of the answer's body, not a copy.
    pub json: Bytes,
    /// How many they are.
    pub count: u64,
}

impl Records {
    pub(crate) fn none() -> Self {
        Self {
            json: Bytes::from_static(b"[]"),
            count: 0,
        }
    }
}

/// Finds the records in an answer.
///
/// Errors: `Data` where the body isn't JSON or has something else there; with the URL, what was
/// found, and how the body begins.
pub fn records(answer: &Response, at: &RecordsAt) -> Result<Records> {
    if at.optional && answer.status == StatusCode::NO_CONTENT {
        return Ok(Records::none());
    }
    find(answer, &parse(answer)?, at)
}

/// The body of an answer.
pub(crate) fn parse(answer: &Response) -> Result<Document<'_>> {
    Document::parse(&answer.body).map_err(|error| not_json(answer, error))
}

pub(crate) fn not_json(answer: &Response, error: serde_json::Error) -> Error {
    answer
        .error(ErrorKind::Data, "the server's answer is not JSON")
        .hint("check the URL: it must be the address of a JSON API, not of a page for people")
        // It may quote the body.
        .because(answer.shown(&error.to_string()))
}

/// Finds the records in an answer whose body was parsed.
pub(crate) fn find(answer: &Response, body: &Document<'_>, at: &RecordsAt) -> Result<Records> {
    let found = body.find(&at.pointer);
    let place = match at.pointer.as_str() {
        "" => "as a whole".to_owned(),
        pointer => format!("at `{pointer}`"),
    };
    let other = |what: &str| {
        answer
            .error(
                ErrorKind::Data,
                format!("the server's answer has no array {place}, but {what}"),
            )
            .hint(format!(
                "the answer is {}: `records` must be the JSON pointer of the array in it",
                body.describe()
            ))
    };
    let Some(value) = found else {
        return match at.optional {
            true => Ok(Records::none()),
            false => Err(other("nothing")),
        };
    };
    match kind(value) {
        Kind::Array => Ok(Records {
            json: answer.body.slice_ref(value.get().as_bytes()),
            count: elements(value)
                .map_err(|error| not_json(answer, error))?
                .len()
                .try_into()
                .unwrap_or(u64::MAX),
        }),
        Kind::Object if at.object => Ok(Records {
            json: [b"[", value.get().as_bytes(), b"]"].concat().into(),
            count: 1,
        }),
        Kind::Null if at.optional => Ok(Records::none()),
        kind => Err(other(&kind.to_string())),
    }
}
