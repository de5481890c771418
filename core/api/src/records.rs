use bytes::Bytes;
use tidegate_core::{Error, ErrorKind, Result};
use tidegate_http::{Response, StatusCode};

use crate::json::{Document, Kind, elements, kind};
use crate::{Pointer, body};

/// Where an answer holds its records, and what it may be instead of an array.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct RecordsAt {
    /// Where the array stands.
    pub pointer: Pointer,
    /// Whether null, nothing at all, or an answer without a body means no records. Otherwise it is an
    /// error: a name that is misspelt must not look like an empty list. (204 says by itself that
    /// there is nothing.)
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
    /// They, as a JSON array: a part of the answer's body, mostly not a copy.
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
    if is_nothing(answer, at) {
        return Ok(Records::none());
    }
    let text = body::text(answer, at)?;
    find(answer, &text, &body::parse(answer, &text)?, at)
}

/// Whether an answer has nothing in it, and may: 204 says so, an empty body has to be expected.
pub(crate) fn is_nothing(answer: &Response, at: &RecordsAt) -> bool {
    answer.status == StatusCode::NO_CONTENT || (at.optional && body::is_empty(answer))
}

/// What was parsed once can't be read again.
pub(crate) fn unreadable(answer: &Response, error: serde_json::Error) -> Error {
    answer
        .error(
            ErrorKind::Internal,
            "an answer that was read can't be read again",
        )
        // It may quote the body.
        .because(answer.shown(&error.to_string()))
}

/// Finds the records in the text of an answer, which was taken apart.
pub(crate) fn find(
    answer: &Response,
    text: &Bytes,
    body: &Document<'_>,
    at: &RecordsAt,
) -> Result<Records> {
    let Some(value) = body.find(&at.pointer) else {
        return match at.optional {
            true => Ok(Records::none()),
            false => Err(no_array(answer, body, at, None)),
        };
    };
    match kind(value) {
        Kind::Array => Ok(Records {
            json: text.slice_ref(value.get().as_bytes()),
            count: elements(value)
                .map_err(|error| unreadable(answer, error))?
                .len()
                .try_into()
                .unwrap_or(u64::MAX),
        }),
        Kind::Object if at.object => Ok(Records {
            json: [b"[", value.get().as_bytes(), b"]"].concat().into(),
            count: 1,
        }),
        Kind::Null if at.optional => Ok(Records::none()),
        kind => Err(no_array(answer, body, at, Some(kind))),
    }
}

/// There is something else where the records are to be, or nothing.
fn no_array(answer: &Response, body: &Document<'_>, at: &RecordsAt, found: Option<Kind>) -> Error {
    let place = match at.pointer.as_str() {
        "" => "as a whole".to_owned(),
        pointer => format!("at `{pointer}`"),
    };
    let what = found.map_or("nothing".to_owned(), |found| found.to_string());
    let or = match found {
        None | Some(Kind::Null) => {
            "if that means that there are no records, write `records_optional = true`; else "
        }
        Some(Kind::Object) => "if that object is a record, write `records_object = true`; else ",
        Some(_) => "",
    };
    let arrays = match body.arrays().as_slice() {
        [] => String::new(),
        some => format!(", with arrays at `{}`", some.join("`, `")),
    };
    answer
        .error(
            ErrorKind::Data,
            format!("the server's answer has no array {place}, but {what}"),
        )
        .hint(format!(
            "{or}`records` must be the JSON pointer of the array in the answer, which is \
             {}{arrays}",
            body.describe()
        ))
}
