//! The UTF-8 of a text file, whatever its bytes are.

use bytes::{Buf, Bytes, BytesMut};
use tidegate_core::{Error, Result};

use super::{Compression, Decompressor};

/// How many bytes tell a compression.
const MAGIC: usize = 4;

/// How many plain bytes are looked at for what they are.
const HEAD: usize = 1 << 10;

/// Turns the bytes of a text file, which arrive in pieces, into UTF-8: decompresses them, also where
/// only the bytes say that they are compressed, and decodes UTF-16 that begins with a byte order
/// mark.
///
/// Push a piece, take the text until there is none, push the next; at the end, `finish`, and take
/// what is left. UTF-8 is given as it is, and not checked.
#[derive(Debug)]
pub struct PlainText {
    /// The first bytes of a file whose compression is not told, until there are enough.
    first: Option<BytesMut>,
    decompressor: Decompressor,
    encoding: Encoding,
    finished: bool,
}

#[derive(Debug)]
enum Encoding {
    /// The first plain bytes.
    Unknown(BytesMut),
    Utf8,
    Utf16(Utf16),
}

#[derive(Debug)]
struct Utf16 {
    big_endian: bool,
    /// What belongs to a character that isn't whole yet.
    rest: BytesMut,
}

impl PlainText {
    /// At the beginning of a file whose compression is told, by its name or by who reads it.
    pub fn new(compression: Compression) -> Result<Self> {
        Ok(Self {
            first: (compression == Compression::None).then(BytesMut::new),
            decompressor: Decompressor::new(compression)?,
            encoding: Encoding::Unknown(BytesMut::new()),
            finished: false,
        })
    }

    /// The same for a file that is bytes as they are, but for the compression that is told.
    pub fn raw(compression: Compression) -> Result<Self> {
        Ok(Self {
            first: None,
            encoding: Encoding::Utf8,
            ..Self::new(compression)?
        })
    }

    /// Whether the text of an uncompressed file that begins with `head`, 4 bytes or all, is its
    /// bytes as they are, so that they may be read from anywhere.
    pub fn is_verbatim(head: &[u8]) -> bool {
        packed(head) == Compression::None && byte_order(head).is_none()
    }

    /// Adds the file's next bytes. Call it when [`next`](Self::next) gave `None`.
    pub fn push(&mut self, bytes: Bytes) -> Result<()> {
        let Some(first) = &mut self.first else {
            self.decompressor.push(bytes);
            return Ok(());
        };
        let bytes = match first.is_empty() && bytes.len() >= MAGIC {
            true => bytes,
            false => {
                first.extend_from_slice(&bytes);
                if first.len() < MAGIC {
                    return Ok(());
                }
                first.split().freeze()
            }
        };
        self.open(bytes)
    }

    fn open(&mut self, bytes: Bytes) -> Result<()> {
        self.first = None;
        let compression = packed(&bytes);
        if compression != Compression::None {
            self.decompressor = Decompressor::new(compression)?;
        }
        self.decompressor.push(bytes);
        Ok(())
    }

    /// Says that the file ended.
    pub fn finish(&mut self) -> Result<()> {
        self.finished = true;
        match self.first.take() {
            Some(first) => self.open(first.freeze()),
            None => Ok(()),
        }
    }

    /// The next part of the text; `None` when more must be pushed, or at the end. Errors: `Data` for
    /// bytes that are damaged, cut off, or no text that can be read.
    #[expect(
        clippy::should_implement_trait,
        reason = "fallible, and resumes after None"
    )]
    pub fn next(&mut self) -> Result<Option<Bytes>> {
        loop {
            let Some(piece) = self.decompressor.next()? else {
                return self.rest();
            };
            let text = match &mut self.encoding {
                Encoding::Utf8 => piece,
                Encoding::Utf16(encoding) => encoding.decode(&piece)?,
                Encoding::Unknown(head) if head.is_empty() && piece.len() >= HEAD => {
                    self.told(piece)?
                }
                Encoding::Unknown(head) => {
                    head.extend_from_slice(&piece);
                    if head.len() < HEAD {
                        continue;
                    }
                    let head = head.split().freeze();
                    self.told(head)?
                }
            };
            if !text.is_empty() {
                return Ok(Some(text));
            }
        }
    }

    /// What is left at the end.
    fn rest(&mut self) -> Result<Option<Bytes>> {
        if !self.finished || self.first.is_some() {
            return Ok(None);
        }
        self.decompressor.finish()?;
        let text = match &mut self.encoding {
            Encoding::Unknown(head) => {
                let head = head.split().freeze();
                self.told(head)?
            }
            _ => Bytes::new(),
        };
        match &self.encoding {
            Encoding::Utf16(encoding) if !encoding.rest.is_empty() => Err(malformed()),
            _ => Ok((!text.is_empty()).then_some(text)),
        }
    }

    /// Takes note of what the first bytes tell; gives their text.
    fn told(&mut self, mut head: Bytes) -> Result<Bytes> {
        self.encoding = Encoding::Utf8;
        if let Some((name, bits, big_endian)) = byte_order(&head) {
            if bits == 32 {
                return Err(Error::data(format!("the file is {name}")).hint(convert(name)));
            }
            head.advance(2);
            let mut encoding = Utf16 {
                big_endian,
                rest: BytesMut::new(),
            };
            let text = encoding.decode(&head)?;
            self.encoding = Encoding::Utf16(encoding);
            return Ok(text);
        }
        if let Some(name) = looks_like(&head[..head.len().min(HEAD)]) {
            return Err(Error::data(format!(
                "the file looks like {name} without a byte order mark"
            ))
            .hint(convert(name)));
        }
        if let Some((_, what, hint)) = OTHERS.iter().find(|(magic, ..)| head.starts_with(magic)) {
            return Err(Error::data(format!("the file is {what}, and no text")).hint(*hint));
        }
        Ok(head)
    }
}

impl Utf16 {
    fn decode(&mut self, bytes: &[u8]) -> Result<Bytes> {
        self.rest.extend_from_slice(bytes);
        let unit = |pair: &[u8]| match (pair, self.big_endian) {
            ([high, low], true) | ([low, high], false) => u16::from_be_bytes([*high, *low]),
            _ => 0,
        };
        let mut whole = self.rest.len() / 2 * 2;
        if whole > 0 && (0xD800..0xDC00).contains(&unit(&self.rest[whole - 2..whole])) {
            whole -= 2;
        }
        let mut text = String::with_capacity(whole);
        for char in char::decode_utf16(self.rest[..whole].chunks_exact(2).map(unit)) {
            text.push(char.map_err(|_| malformed())?);
        }
        self.rest.advance(whole);
        Ok(text.into())
    }
}

/// What else files are that are taken for text, and what to do about it.
const OTHERS: [(&[u8], &str, &str); 3] = [
    (
        b"PK\x03\x04",
        "a ZIP archive, as Excel's workbooks are",
        "unpack it, or save the workbook's sheet as CSV",
    ),
    (b"BZh", "bzip2", "unpack it: gzip and zstd can be read"),
    (
        b"\xFD7zXZ\x00",
        "xz",
        "unpack it: gzip and zstd can be read",
    ),
];

/// The compression that a file's first bytes tell: no text begins like that.
fn packed(head: &[u8]) -> Compression {
    match head {
        [0x1F, 0x8B, 8, ..] => Compression::Gzip,
        [0x28, 0xB5, 0x2F, 0xFD, ..] => Compression::Zstd,
        _ => Compression::None,
    }
}

/// What a byte order mark tells: name, bits of a unit, whether the high byte comes first.
fn byte_order(head: &[u8]) -> Option<(&'static str, u8, bool)> {
    match head {
        [0xFF, 0xFE, 0, 0, ..] => Some(("UTF-32LE", 32, false)),
        [0, 0, 0xFE, 0xFF, ..] => Some(("UTF-32BE", 32, true)),
        [0xFF, 0xFE, ..] => Some(("UTF-16LE", 16, false)),
        [0xFE, 0xFF, ..] => Some(("UTF-16BE", 16, true)),
        _ => None,
    }
}

/// Whether text without a mark has its zeros where delimiters and newlines in UTF-16 or UTF-32 have
/// theirs.
fn looks_like(head: &[u8]) -> Option<&'static str> {
    let mut zeros = [0; 4];
    for (at, byte) in head.iter().enumerate() {
        zeros[at % 4] += usize::from(*byte == 0);
    }
    let quads = head.len() / 4;
    let [zero, one, two, three] = zeros;
    let (even, odd) = (zero + two, one + three);
    // Few characters have them in the other half.
    let most = |zeros: usize, others: usize| {
        zeros >= 2 && zeros >= head.len() / 128 && zeros >= others * 8
    };
    // Some are beyond the first plane.
    let nearly = |zeros: usize| zeros * 4 >= quads * 3;
    if quads > 0 && nearly(two) && three >= quads {
        Some("UTF-32LE")
    } else if quads > 0 && zero >= quads && nearly(one) {
        Some("UTF-32BE")
    } else if most(odd, even) {
        Some("UTF-16LE")
    } else if most(even, odd) {
        Some("UTF-16BE")
    } else {
        None
    }
}

fn convert(name: &str) -> String {
    format!("convert it: `iconv -f {name} -t UTF-8`")
}

fn malformed() -> Error {
    Error::data("the file's UTF-16 is malformed: it has half a character")
        .hint("the file was cut off or put together of several; get it again")
}
