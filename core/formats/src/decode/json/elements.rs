//! The elements of an array within a document.

use super::super::Fault;
use super::{Cursor, Type, string};

/// The texts of the elements of the array that `pointer` (RFC 6901: `/data/items`) leads to in a
/// JSON document. An empty pointer is the document itself; what is no array is one element; NULL
/// and what isn't there are none.
///
/// The error says why the document can't be read.
///
/// ```
/// use tidegate_formats::json_elements;
/// let page = br#"{"items": [{"id": 1}, {"id": 2}], "has_more": false}"#;
/// assert_eq!(json_elements(page, "/items").unwrap(), [&b"{\"id\": 1}"[..], b"{\"id\": 2}"]);
/// ```
pub fn elements<'a>(document: &'a [u8], pointer: &str) -> Result<Vec<&'a [u8]>, String> {
    read(document, pointer).map_err(|fault| fault.to_string())
}

/// Whether a document is one JSON value in UTF-8. If it isn't: the byte, from 0, where it can't be read
/// on, and why.
pub fn check(document: &[u8]) -> Result<(), (usize, String)> {
    if let Err(error) = simdutf8::compat::from_utf8(document) {
        return Err((error.valid_up_to(), "it is not valid UTF-8".to_owned()));
    }
    let mut cursor = Cursor::new(document);
    cursor.space();
    let read = cursor.raw().and_then(|_| cursor.end());
    read.map_err(|fault| (cursor.at, fault.to_string()))
}

fn read<'a>(document: &'a [u8], pointer: &str) -> Result<Vec<&'a [u8]>, Fault> {
    if simdutf8::basic::from_utf8(document).is_err() {
        return Err(Fault::new("it is not valid UTF-8"));
    }
    let mut cursor = Cursor::new(document);
    cursor.space();
    let mut found = cursor.raw()?;
    cursor.end()?;
    for token in pointer.split('/').skip(1) {
        let token = token.replace("~1", "/").replace("~0", "~");
        match member(found, &token)? {
            Some(value) => found = value,
            None => return Ok(Vec::new()),
        }
    }
    let mut cursor = Cursor::new(found);
    match cursor.type_here()? {
        Type::Null => Ok(Vec::new()),
        Type::Array => {
            let mut elements = Vec::new();
            cursor.each(|cursor| {
                elements.push(cursor.raw()?);
                Ok(())
            })?;
            Ok(elements)
        }
        _ => Ok(vec![found]),
    }
}

/// The member of an object by its key, or of an array by its number.
fn member<'a>(value: &'a [u8], token: &str) -> Result<Option<&'a [u8]>, Fault> {
    let mut cursor = Cursor::new(value);
    let mut found = None;
    match cursor.type_here()? {
        Type::Object => cursor.each(|cursor| {
            let key = cursor.raw_key()?;
            let value = cursor.raw()?;
            if *string::unescaped(key)? == *token.as_bytes() {
                found = Some(value);
            }
            Ok(())
        })?,
        Type::Array => {
            let wanted: Option<usize> = token.parse().ok();
            let mut at = 0;
            cursor.each(|cursor| {
                let value = cursor.raw()?;
                if Some(at) == wanted {
                    found = Some(value);
                }
                at += 1;
                Ok(())
            })?;
        }
        _ => {}
    }
    Ok(found)
}
