use std::io::{self, Read};

use bytes::Bytes;
use flate2::bufread::{DeflateDecoder, MultiGzDecoder, ZlibDecoder};
use reqwest::header::{CONTENT_ENCODING, HeaderMap};

/// How a body is packed.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum ContentEncoding {
    Plain,
    Gzip,
    Zlib,
    Deflate,
    /// By another way, of this name.
    Unknown(String),
}

/// Why a body can't be unpacked.
#[derive(Debug)]
pub(crate) enum Fault {
    /// There is more than is accepted.
    TooLarge,
    /// It ends too early.
    Cut,
    /// It isn't what it says.
    Damaged(io::Error),
    /// It is packed in a way that is not known here.
    Unknown(String),
}

impl ContentEncoding {
    /// How this body is packed.
    ///
    /// Gzip is told by its first two bytes (RFC 1952 §2.3.1), whatever `Content-Encoding` says: some
    /// servers pack without saying so, some proxies unpack and leave the header. Deflate has no
    /// such mark, so there the header counts; it means zlib (RFC 9110 §8.4.1.2), but some
    /// servers send what is in it, bare.
    pub(crate) fn of(headers: &HeaderMap, body: &[u8]) -> Self {
        if body.starts_with(&[0x1f, 0x8b]) {
            return Self::Gzip;
        }
        let told = headers.get(CONTENT_ENCODING).map(|value| {
            String::from_utf8_lossy(value.as_bytes())
                .trim()
                .to_ascii_lowercase()
        });
        match told.as_deref() {
            // What says gzip and isn't was unpacked on its way.
            None | Some("" | "identity" | "gzip" | "x-gzip") => Self::Plain,
            Some(_) if body.is_empty() => Self::Plain,
            Some("deflate") if is_zlib(body) => Self::Zlib,
            Some("deflate") => Self::Deflate,
            Some(other) => Self::Unknown(other.to_owned()),
        }
    }

    /// Unpacks a body, up to `limit` bytes: what there is of it, and what is wrong with it.
    pub(crate) fn unpack(self, body: Bytes, limit: usize) -> (Bytes, Option<Fault>) {
        match self {
            Self::Plain => (body, None),
            Self::Gzip => read(MultiGzDecoder::new(&*body), limit),
            Self::Zlib => read(ZlibDecoder::new(&*body), limit),
            Self::Deflate => read(DeflateDecoder::new(&*body), limit),
            Self::Unknown(name) => (Bytes::new(), Some(Fault::Unknown(name))),
        }
    }
}

/// Whether a body begins as zlib does (RFC 1950 §2.2): deflate with a window that exists, and a check.
fn is_zlib(body: &[u8]) -> bool {
    let [method, flags, ..] = *body else {
        return false;
    };
    method & 0x0f == 8 && method >> 4 <= 7 && u16::from_be_bytes([method, flags]) % 31 == 0
}

fn read(packed: impl Read, limit: usize) -> (Bytes, Option<Fault>) {
    let mut body = Vec::new();
    // One byte more tells that there is more.
    let most = u64::try_from(limit).unwrap_or(u64::MAX).saturating_add(1);
    let fault = match packed.take(most).read_to_end(&mut body) {
        Ok(_) if body.len() > limit => {
            body.truncate(limit);
            Some(Fault::TooLarge)
        }
        Ok(_) => None,
        Err(error) if error.kind() == io::ErrorKind::UnexpectedEof => Some(Fault::Cut),
        Err(error) => Some(Fault::Damaged(error)),
    };
    (body.into(), fault)
}
