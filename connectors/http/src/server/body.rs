//! A request's body: read, unpacked and bounded.

use bytes::{Bytes, BytesMut};
use http::header::{CONTENT_ENCODING, CONTENT_LENGTH, CONTENT_TYPE};
use http::{HeaderMap, StatusCode};
use http_body_util::BodyExt;
use hyper::body::Incoming;
use tidegate_formats::{Compression, Decompressor, json_check};

use super::answer::Answer;
use crate::config::Accept;
use crate::decode::{Delivery, lines};
use crate::inbox::Room;

/// Reads a body of at most `most` bytes, its memory taken from `room`.
pub(super) async fn read(
    mut body: Incoming,
    headers: &HeaderMap,
    most: u64,
    room: &mut Room,
) -> Result<Bytes, Answer> {
    let too_long = || Answer::error(StatusCode::PAYLOAD_TOO_LARGE, "Body too large");
    let told = headers
        .get(CONTENT_LENGTH)
        .and_then(|value| value.to_str().ok()?.parse::<u64>().ok());
    if told.is_some_and(|told| told > most) {
        return Err(too_long());
    }
    // Known lengths are taken at once, so that no body is read in part and then has no room.
    let mut taken = told.unwrap_or_default();
    if !room.grow(taken) {
        return Err(Answer::later("Out of memory for bodies"));
    }
    let mut first: Option<Bytes> = None;
    let mut rest = BytesMut::new();
    let mut length = 0u64;
    while let Some(frame) = body.frame().await {
        let frame = frame.map_err(|_| Answer::error(StatusCode::BAD_REQUEST, "Incomplete body"))?;
        let Ok(data) = frame.into_data() else {
            continue;
        };
        length += data.len() as u64;
        if length > most {
            return Err(too_long());
        }
        if length > taken {
            if !room.grow(length - taken) {
                return Err(Answer::later("Out of memory for bodies"));
            }
            taken = length;
        }
        match first.take() {
            None if rest.is_empty() => first = Some(data),
            whole => {
                if let Some(first) = whole {
                    rest.reserve(
                        told.and_then(|told| usize::try_from(told).ok())
                            .unwrap_or_default(),
                    );
                    rest.extend_from_slice(&first);
                }
                rest.extend_from_slice(&data);
            }
        }
    }
    Ok(first.unwrap_or_else(|| rest.freeze()))
}

/// How the body is packed, as its `Content-Encoding` says.
pub(super) fn packing(headers: &HeaderMap) -> Result<Compression, Answer> {
    let unknown = || {
        Answer::error(
            StatusCode::UNSUPPORTED_MEDIA_TYPE,
            "Unsupported Content-Encoding",
        )
    };
    let mut packing = Compression::None;
    for value in headers.get_all(CONTENT_ENCODING) {
        for coding in value.to_str().map_err(|_| unknown())?.split(',') {
            packing = match (coding.trim().to_ascii_lowercase().as_str(), packing) {
                ("" | "identity", packing) => packing,
                ("gzip" | "x-gzip", Compression::None) => Compression::Gzip,
                ("zstd", Compression::None) => Compression::Zstd,
                _ => return Err(unknown()),
            };
        }
    }
    Ok(packing)
}

/// Unpacks a body to at most `most` bytes.
pub(super) fn unpack(
    packed: Bytes,
    packing: Compression,
    most: u64,
    room: &mut Room,
) -> Result<Bytes, Answer> {
    let broken = |_| Answer::error(StatusCode::BAD_REQUEST, "Malformed Content-Encoding");
    let mut unpacker = Decompressor::new(packing).map_err(broken)?;
    let mut plain = BytesMut::new();
    unpacker.push(packed);
    while let Some(piece) = unpacker.next().map_err(broken)? {
        if (plain.len() + piece.len()) as u64 > most {
            return Err(Answer::error(
                StatusCode::PAYLOAD_TOO_LARGE,
                "Body too large",
            ));
        }
        if !room.grow(piece.len() as u64) {
            return Err(Answer::later("Out of memory for bodies"));
        }
        plain.extend_from_slice(&piece);
    }
    unpacker.finish().map_err(broken)?;
    Ok(plain.freeze())
}

/// Whether the type that is told can be what is accepted. Clients often tell none, or that of a form
/// (curl's `-d`), so only what is plainly something else is refused.
pub(super) fn is_type_right(accept: Accept, headers: &HeaderMap) -> bool {
    let Some(told) = headers.get(CONTENT_TYPE).filter(|_| accept != Accept::Any) else {
        return true;
    };
    let told = told.to_str().unwrap_or_default().to_ascii_lowercase();
    let told = told.split(';').next().unwrap_or_default().trim();
    let others = ["image/", "audio/", "video/", "font/", "multipart/"];
    let is_other = others.iter().any(|other| told.starts_with(other))
        || told == "text/html"
        || told == "text/csv"
        || told.ends_with("/xml")
        || told.ends_with("+xml");
    !is_other
}

/// Whether the body is what is accepted.
pub(super) fn check(accept: Accept, body: &[u8]) -> Result<(), Answer> {
    let is_empty = match accept {
        Accept::Any => body.is_empty(),
        _ => body.trim_ascii().is_empty(),
    };
    if is_empty {
        return Err(Answer::error(StatusCode::BAD_REQUEST, "Empty request"));
    }
    let malformed = |(at, why): (usize, String)| Answer::malformed(at, why);
    match accept {
        Accept::Any => Ok(()),
        Accept::Json | Accept::Array => json_check(body).map_err(malformed),
        Accept::Ndjson => lines(body).try_for_each(|(begin, line)| {
            json_check(line).map_err(|(at, why)| malformed((begin + at, why)))
        }),
        Accept::Firehose => {
            json_check(body).map_err(malformed)?;
            let wrong = |why: String| {
                Answer::error(StatusCode::BAD_REQUEST, "Not a delivery of Firehose").because(why)
            };
            let delivery: Delivery<'_> =
                serde_json::from_slice(body).map_err(|error| wrong(error.to_string()))?;
            delivery
                .records
                .iter()
                .try_for_each(|record| record.decode().map(drop).map_err(wrong))
        }
    }
}
