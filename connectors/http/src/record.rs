//! A request as the log and the queue keep it.

use tidegate_core::{Error, Result};

use crate::config::Accept;

/// The columns of every stream.
pub(crate) const FIXED: [&str; 7] = [
    "payload",
    "method",
    "path",
    "query",
    "remote_addr",
    "received_at",
    "request_id",
];

/// The column of a header.
pub(crate) fn column(header: &str) -> String {
    header.to_ascii_lowercase().replace('-', "_")
}

/// What is known of a request beside its body.
///
/// It carries the stream and what its body holds, because the file may have changed since it was
/// kept.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Meta<'a> {
    pub(crate) stream: &'a str,
    pub(crate) accept: Accept,
    /// Microseconds since 1970, UTC.
    pub(crate) received_at: i64,
    pub(crate) request_id: &'a str,
    pub(crate) method: &'a str,
    pub(crate) path: &'a str,
    pub(crate) query: Option<&'a str>,
    pub(crate) remote: &'a str,
    /// The headers that were columns when it came, by their columns.
    pub(crate) headers: Vec<(&'a str, &'a str)>,
}

/// The first byte, should there ever be another layout.
const LAYOUT: u8 = 1;

/// In the place of a length: there is none.
const ABSENT: u32 = u32::MAX;

const ACCEPTS: [Accept; 5] = [
    Accept::Json,
    Accept::Ndjson,
    Accept::Array,
    Accept::Any,
    Accept::Firehose,
];

impl<'a> Meta<'a> {
    /// As it stands before the body.
    pub(crate) fn write(&self) -> Vec<u8> {
        let mut out = Vec::with_capacity(192);
        let accept = ACCEPTS.iter().position(|accept| *accept == self.accept);
        out.push(LAYOUT);
        text(&mut out, Some(self.stream));
        out.extend(accept.and_then(|at| u8::try_from(at).ok()));
        out.extend_from_slice(&self.received_at.to_le_bytes());
        for value in [
            Some(self.request_id),
            Some(self.method),
            Some(self.path),
            self.query,
            Some(self.remote),
        ] {
            text(&mut out, value);
        }
        for (name, value) in &self.headers {
            text(&mut out, Some(name));
            text(&mut out, Some(value));
        }
        text(&mut out, None);
        out
    }

    /// The request, and its body.
    pub(crate) fn read(record: &'a [u8]) -> Result<(Self, &'a [u8])> {
        let mut rest = Fields(record);
        rest.meta().map(|meta| (meta, rest.0)).ok_or_else(|| {
            Error::data("a request of the write-ahead log can't be read")
                .hint("it was written by another version of the program: let that one finish it")
        })
    }
}

/// The stream alone, without reading the rest.
pub(crate) fn stream(record: &[u8]) -> Result<&str> {
    let mut rest = Fields(record);
    let stream = rest.layout().and_then(|()| rest.text());
    stream.map_or_else(|| Meta::read(record).map(|(meta, _)| meta.stream), Ok)
}

fn text(out: &mut Vec<u8>, text: Option<&str>) {
    // A request's head is bounded by the server, far below 4 GiB.
    let length = text.map_or(ABSENT, |text| u32::try_from(text.len()).unwrap_or(ABSENT));
    out.extend_from_slice(&length.to_le_bytes());
    out.extend_from_slice(text.unwrap_or_default().as_bytes());
}

struct Fields<'a>(&'a [u8]);

impl<'a> Fields<'a> {
    fn take(&mut self, length: usize) -> Option<&'a [u8]> {
        let (taken, rest) = self.0.split_at_checked(length)?;
        self.0 = rest;
        Some(taken)
    }

    fn byte(&mut self) -> Option<u8> {
        self.take(1)?.first().copied()
    }

    fn layout(&mut self) -> Option<()> {
        (self.byte()? == LAYOUT).then_some(())
    }

    fn optional(&mut self) -> Option<Option<&'a str>> {
        let length = u32::from_le_bytes(*self.take(4)?.first_chunk()?);
        if length == ABSENT {
            return Some(None);
        }
        let bytes = self.take(usize::try_from(length).ok()?)?;
        Some(Some(simdutf8::basic::from_utf8(bytes).ok()?))
    }

    fn text(&mut self) -> Option<&'a str> {
        self.optional()?
    }

    fn meta(&mut self) -> Option<Meta<'a>> {
        self.layout()?;
        let stream = self.text()?;
        let accept = *ACCEPTS.get(usize::from(self.byte()?))?;
        let received_at = i64::from_le_bytes(*self.take(8)?.first_chunk()?);
        let mut meta = Meta {
            stream,
            accept,
            received_at,
            request_id: self.text()?,
            method: self.text()?,
            path: self.text()?,
            query: self.optional()?,
            remote: self.text()?,
            headers: Vec::new(),
        };
        while let Some(name) = self.optional()? {
            meta.headers.push((name, self.text()?));
        }
        Some(meta)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_request_is_read_as_it_was_written_and_nothing_is_read_of_less() {
        let meta = Meta {
            stream: "orders",
            accept: Accept::Firehose,
            received_at: -1,
            request_id: "a",
            method: "POST",
            path: "/orders/%20",
            query: None,
            remote: "::1",
            headers: vec![("x_kind", "größer"), ("empty", "")],
        };
        let mut written = meta.write();
        let length = written.len();
        written.extend_from_slice(b"body");
        assert_eq!(Meta::read(&written).unwrap(), (meta, &b"body"[..]));
        assert_eq!(stream(&written).unwrap(), "orders");
        for cut in 0..length {
            assert!(Meta::read(&written[..cut]).is_err(), "cut at {cut}");
        }
        written[0] = 9;
        assert!(stream(&written).is_err());
    }
}
