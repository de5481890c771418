//! A document from front to back, for those who look for something in it.

use tidegate_core::DEEPEST;

use super::super::Fault;
use super::cursor::too_deep;
use super::{Cursor, Type, string};

/// What [`walk_json`](crate::walk_json) tells of a document, in the order of its text. Places are bytes
/// from the document's beginning.
///
/// What begins ends again, and what begins in between is within it.
pub trait JsonVisitor {
    /// A member of an object begins: its key, with escapes decoded, and where its value begins.
    fn member(&mut self, key: &str, start: usize);

    /// A member's value ends before this place.
    fn member_ends(&mut self, end: usize);

    /// An element of a list begins.
    fn element(&mut self, start: usize);

    /// An element ends before this place.
    fn element_ends(&mut self, end: usize);
}

/// Tells what a JSON document is made of. What was told before an error counts for nothing.
///
/// The error says why it is no JSON document, and where: malformed, half a surrogate pair in a string,
/// nested more than [`DEEPEST`] levels deep.
///
/// ```
/// use tidegate_formats::{JsonVisitor, walk_json};
///
/// #[derive(Default)]
/// struct Keys(Vec<String>);
///
/// impl JsonVisitor for Keys {
///     fn member(&mut self, key: &str, start: usize) {
///         self.0.push(format!("{key} at {start}"));
///     }
///     fn member_ends(&mut self, _: usize) {}
///     fn element(&mut self, _: usize) {}
///     fn element_ends(&mut self, _: usize) {}
/// }
///
/// let mut keys = Keys::default();
/// walk_json(r#"{"a": [{"b": 1}]}"#, &mut keys).unwrap();
/// assert_eq!(keys.0, ["a at 6", "b at 13"]);
/// let error = walk_json(r#"{"a": }"#, &mut keys).unwrap_err();
/// assert_eq!(error, "malformed JSON: expected a value before `}` (at byte 6)");
/// ```
pub fn walk(document: &str, visitor: &mut impl JsonVisitor) -> Result<(), String> {
    let mut cursor = Cursor::new(document.as_bytes());
    cursor.space();
    value(&mut cursor, visitor, DEEPEST)
        .and_then(|()| cursor.end())
        .map_err(|fault| format!("{fault} (at byte {})", cursor.at))
}

fn value(
    cursor: &mut Cursor<'_>,
    visitor: &mut impl JsonVisitor,
    depth: usize,
) -> Result<(), Fault> {
    match cursor.type_here()? {
        Type::Array | Type::Object if depth == 0 => Err(too_deep()),
        Type::Array => cursor.each(|cursor| {
            visitor.element(cursor.at);
            value(cursor, visitor, depth - 1)?;
            visitor.element_ends(cursor.at);
            Ok(())
        }),
        Type::Object => cursor.each(|cursor| {
            let key = string::unescaped(cursor.raw_key()?)?;
            let key =
                std::str::from_utf8(&key).map_err(|_| Fault::new("a key is not valid UTF-8"))?;
            visitor.member(key, cursor.at);
            value(cursor, visitor, depth - 1)?;
            visitor.member_ends(cursor.at);
            Ok(())
        }),
        _ => cursor.raw().map(drop),
    }
}
