//! What an answer's body is: JSON in the encodings and forms in which servers send it, or what else.

use bytes::Bytes;
use encoding_rs::{Encoding, UTF_8, UTF_16BE, UTF_16LE};
use serde_json::value::RawValue;
use tidegate_core::{Error, ErrorKind, Result};
use tidegate_http::{Response, header};

use crate::RecordsAt;
use crate::json::{Document, Kind, kind};

/// The body of an answer as one JSON text in UTF-8: a part of the body itself, unless it had to be
/// decoded or put together.
///
/// JSON texts one after the other (NDJSON, JSON Lines, RFC 7464) become an array of them, where the
/// answer says that it is of such a type, or where each of them is said to be a record.
///
/// Errors: `Data` where its encoding isn't what the answer says, or a line isn't JSON.
pub(crate) fn text(answer: &Response, at: &RecordsAt) -> Result<Bytes> {
    let text = decoded(answer)?;
    let whole = at.pointer.as_str().is_empty();
    let several = match is_lines(answer) {
        // One object may be the only line, or what is around the records.
        true => serde_json::from_slice::<&RawValue>(&text)
            .map_or(true, |one| whole && kind(one) == Kind::Object),
        false => whole && at.object && is_several(&text),
    };
    if !several {
        return Ok(text);
    }
    array(&text).map_err(|error| match error.is_syntax() {
        true => not_all_json(answer, &error),
        false => not_json(answer, &text, error),
    })
}

/// A body that [`text`] gave, taken apart.
///
/// Errors: `Data` where it isn't JSON, with what it seems to be.
pub(crate) fn parse<'a>(answer: &Response, text: &'a [u8]) -> Result<Document<'a>> {
    Document::parse(text).map_err(|error| not_json(answer, text, error))
}

/// Whether an answer has no body at all, or only white space.
pub(crate) fn is_empty(answer: &Response) -> bool {
    let body = answer.body.strip_prefix(b"\xef\xbb\xbf");
    body.unwrap_or(&answer.body).trim_ascii().is_empty()
}

/// Whether an answer says that it is JSON texts one after the other.
fn is_lines(answer: &Response) -> bool {
    const WORDS: [&str; 6] = [
        "ndjson",
        "jsonl",
        "json-l",
        "json-seq",
        "json-stream",
        "stream+json",
    ];
    let media = media_type(answer).unwrap_or_default();
    WORDS.iter().any(|word| media.contains(word))
}

/// JSON texts one after the other, as an array.
fn array(texts: &[u8]) -> serde_json::Result<Bytes> {
    // RFC 7464 has a mark before each text; no JSON text has it inside.
    let texts: Vec<u8> = texts
        .iter()
        .map(|byte| if *byte == b'\x1e' { b' ' } else { *byte })
        .collect();
    let mut array = Vec::with_capacity(texts.len() + 2);
    array.push(b'[');
    for text in serde_json::Deserializer::from_slice(&texts).into_iter::<&RawValue>() {
        if array.len() > 1 {
            array.push(b',');
        }
        array.extend_from_slice(text?.get().as_bytes());
    }
    array.push(b']');
    Ok(array.into())
}

/// Whether a text begins with a whole JSON text that another one follows.
fn is_several(text: &[u8]) -> bool {
    let mut texts = serde_json::Deserializer::from_slice(text).into_iter::<&RawValue>();
    let first = texts.next().and_then(Result::ok);
    let rest = text[texts.byte_offset()..].trim_ascii_start();
    first.is_some_and(|first| matches!(kind(first), Kind::Object | Kind::Array))
        && rest.starts_with(b"{") | rest.starts_with(b"[")
}

/// The body in UTF-8, without a byte order mark.
///
/// UTF-16 is known by its mark, or by the zeros that no JSON text has (RFC 4627, 3). Otherwise JSON
/// is UTF-8 (RFC 8259, 8.1), whatever servers say, unless it can't be.
fn decoded(answer: &Response) -> Result<Bytes> {
    let body = &answer.body;
    if let Some((encoding, mark)) = Encoding::for_bom(body) {
        let body = body.slice(mark..);
        return if encoding == UTF_8 {
            Ok(body)
        } else {
            decode(answer, &body, encoding)
        };
    }
    match **body {
        [0, other, ..] if other != 0 => return decode(answer, body, UTF_16BE),
        [other, 0, ..] if other != 0 => return decode(answer, body, UTF_16LE),
        _ => {}
    }
    let label = charset(answer);
    let told = label.and_then(|label| Encoding::for_label(label.as_bytes()));
    // What is no UTF-16 by now is none.
    let other = told.filter(|told| ![UTF_8, UTF_16BE, UTF_16LE].contains(told));
    match other {
        // One that writes other letters in ASCII too (ISO-2022-JP) is always taken at its word.
        Some(told) if !told.is_ascii_compatible() || std::str::from_utf8(body).is_err() => {
            decode(answer, body, told)
        }
        _ => Ok(body.clone()),
    }
}

fn decode(answer: &Response, body: &[u8], encoding: &'static Encoding) -> Result<Bytes> {
    let text = encoding.decode_without_bom_handling_and_without_replacement(body);
    let text = text.ok_or_else(|| {
        let name = encoding.name();
        of_type(answer, format!("the server's answer is no valid {name}"))
            .hint("the server says so, or its first bytes do: tell its operator")
    })?;
    Ok(Bytes::from(text.into_owned().into_bytes()))
}

/// The media type, in lower case, without parameters.
fn media_type(answer: &Response) -> Option<String> {
    let told = answer.header(header::CONTENT_TYPE.as_str())?;
    let media = told.split(';').next()?.trim();
    (!media.is_empty()).then(|| media.to_ascii_lowercase())
}

/// The name of the encoding, where the answer has it.
fn charset(answer: &Response) -> Option<&str> {
    let told = answer.header(header::CONTENT_TYPE.as_str())?;
    let mut parameters = told.split(';').skip(1);
    parameters.find_map(|parameter| {
        let (name, value) = parameter.split_once('=')?;
        name.trim()
            .eq_ignore_ascii_case("charset")
            .then(|| value.trim().trim_matches('"'))
    })
}

/// An error about the body, with the type that the server says it has.
fn of_type(answer: &Response, message: String) -> Error {
    let error = answer.error(ErrorKind::Data, message);
    match media_type(answer) {
        Some(media) => error.with("content_type", media),
        None => error,
    }
}

/// A body that is not JSON: what it is, as far as can be told, and the way out.
fn not_json(answer: &Response, text: &[u8], error: serde_json::Error) -> Error {
    let (what, hint) = seen(answer, text, &error);
    let shown = of_type(answer, format!("the server's answer is {what}")).hint(hint);
    // It may quote the body.
    shown.because(answer.shown(&error.to_string()))
}

/// Of JSON texts one after the other, one that is none.
fn not_all_json(answer: &Response, error: &serde_json::Error) -> Error {
    let what = format!(
        "line {} of the server's answer, of JSON texts one after the other (NDJSON), is not JSON",
        error.line()
    );
    of_type(answer, what)
        .hint("the server or a proxy damaged it: tell its operator")
        .because(answer.shown(&error.to_string()))
}

fn seen(answer: &Response, text: &[u8], error: &serde_json::Error) -> (String, &'static str) {
    let media = media_type(answer).unwrap_or_default();
    let (whole, text) = (text, text.trim_ascii());
    let begins = |with: &str| {
        let begin = text.get(..with.len());
        begin.is_some_and(|begin| begin.eq_ignore_ascii_case(with.as_bytes()))
    };
    let is_json = begins("{") || begins("[");
    if text.is_empty() {
        return ("empty".into(), NO_RECORDS);
    }
    if is_json && std::str::from_utf8(text).is_err() {
        return (
            "JSON, but not in UTF-8, and its `Content-Type` doesn't say in which encoding".into(),
            "JSON has to be in UTF-8; another encoding is decoded where the server names it \
             (`charset`): tell its operator",
        );
    }
    if is_json && error.is_eof() {
        return (
            "JSON that ends too early".into(),
            "the server or a proxy cut it off: try again later, or ask for smaller pages",
        );
    }
    if is_json && is_several(text) {
        return (
            "several JSON texts, one after the other".into(),
            "if each is a record (NDJSON), leave `records` out and write `records_object = true`",
        );
    }
    if is_json && let Some(word) = no_number(whole, error) {
        return (
            format!("not quite JSON: it has `{word}`, which JSON can't say"),
            "the server writes a number that is none; many leave it out or write null by a \
             parameter or for other fields (`params`): ask its operator",
        );
    }
    if is_json {
        return (
            "not JSON, though it begins so".into(),
            "the server or a proxy damaged it: look at it where the cause says (line and column)",
        );
    }
    if begins("<!doctype html") || begins("<html") || (begins("<") && media.contains("html")) {
        return (
            "a page for people (HTML), not JSON".into(),
            "check `url`: it must be the address of a JSON API; where the page is one to sign in, \
             the API wants credentials (`auth`)",
        );
    }
    if begins("<") {
        return (
            "XML, not JSON".into(),
            "many servers give JSON for a parameter (`params = { format = \"json\" }`), another \
             header (`headers`) or address: see the API's documentation",
        );
    }
    let is_text = std::str::from_utf8(text).is_ok_and(|text| !text.contains('\0'));
    let what = match (is_text, media.as_str()) {
        (true, "text/csv") => "CSV, not JSON",
        (true, _) => "text, not JSON",
        (false, _) => "neither JSON nor any other text",
    };
    let hint = "check `url`: it must be the address of a JSON API; many servers give JSON for a \
                parameter (`params`) or another header (`headers`)";
    (what.into(), hint)
}

/// What to do about an answer that has nothing.
pub(crate) const NO_RECORDS: &str = "if the server means by it that there are no records, write \
                                     `records_optional = true`; else check `url` and `params`";

/// A number that JSON doesn't have, where a text can't be read on.
fn no_number<'a>(text: &'a [u8], error: &serde_json::Error) -> Option<&'a str> {
    let before = text.split_inclusive(|byte| *byte == b'\n');
    let line: usize = before
        .take(error.line().saturating_sub(1))
        .map(<[u8]>::len)
        .sum();
    let at = line + error.column();
    // The place is that of the letter that surprised.
    let from = at.saturating_sub(10);
    let near = text.get(from..text.len().min(at + 10))?;
    let near = std::str::from_utf8(near).ok()?;
    let words = ["-Infinity", "Infinity", "-inf", "NaN", "nan", "inf"];
    let found = words.into_iter().find(|word| near.contains(word))?;
    let start = near.find(found)?;
    near.get(start..start + found.len())
}
