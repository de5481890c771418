//! Compressed bytes in, plain bytes out, in bounded memory.

use std::fmt;

use bytes::{Buf, Bytes};
use flate2::{Decompress, FlushDecompress, Status};
use tidegate_core::{Error, Result};
use zstd::stream::raw::{DParameter, Decoder as ZstdDecoder, InBuffer, Operation, OutBuffer};

use super::Compression;

/// The most that one [`Decompressor::next`] gives.
const OUTPUT: usize = 256 << 10;

/// Decompresses a file that arrives in pieces.
///
/// Push a piece, take the plain bytes until there are none, push the next; at the end, `finish`.
/// However much a piece grows, only 256 KiB of plain bytes are held at a time. Files of several
/// gzip members or zstd frames are read as one.
pub struct Decompressor {
    input: Bytes,
    codec: Codec,
}

enum Codec {
    None,
    Gzip(Box<Gzip>),
    Zstd {
        decoder: ZstdDecoder<'static>,
        inside: bool,
        flushed: bool,
    },
}

struct Gzip {
    inflate: Decompress,
    inside: bool,
    /// Whether any member was seen, and what followed it was not padding.
    members: u64,
    flushed: bool,
}

impl fmt::Debug for Decompressor {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let name = match self.codec {
            Codec::None => "none",
            Codec::Gzip(_) => "gzip",
            Codec::Zstd { .. } => "zstd",
        };
        write!(
            f,
            "Decompressor({name}, {} bytes pending)",
            self.input.len()
        )
    }
}

impl Decompressor {
    /// At the beginning of a file.
    pub fn new(compression: Compression) -> Result<Self> {
        let codec = match compression {
            Compression::None => Codec::None,
            Compression::Gzip => Codec::Gzip(Box::new(Gzip {
                inflate: Decompress::new_gzip(15),
                inside: false,
                members: 0,
                flushed: true,
            })),
            Compression::Zstd => Codec::Zstd {
                decoder: new_zstd()
                    .map_err(|error| Error::io("zstd could not be set up", error))?,
                inside: false,
                flushed: true,
            },
        };
        Ok(Self {
            input: Bytes::new(),
            codec,
        })
    }

    /// Adds the file's next bytes. Call it when [`next`](Self::next) gave `None`.
    pub fn push(&mut self, bytes: Bytes) {
        if self.input.is_empty() {
            self.input = bytes;
        } else {
            self.input = [std::mem::take(&mut self.input), bytes].concat().into();
        }
    }

    /// The next plain bytes, at most 256 KiB of a compressed file; `None` when more must be
    /// pushed. Errors: `Data` for bytes that are not of this compression or are damaged.
    #[expect(
        clippy::should_implement_trait,
        reason = "fallible, and resumes after None"
    )]
    pub fn next(&mut self) -> Result<Option<Bytes>> {
        match &mut self.codec {
            Codec::None => {
                let bytes = std::mem::take(&mut self.input);
                Ok((!bytes.is_empty()).then_some(bytes))
            }
            Codec::Gzip(gzip) => gzip.next(&mut self.input),
            Codec::Zstd {
                decoder,
                inside,
                flushed,
            } => next_zstd(decoder, inside, flushed, &mut self.input),
        }
    }

    /// Says that the file ended. Errors: `Data` where it ended in the middle.
    pub fn finish(&mut self) -> Result<()> {
        let (inside, name) = match &self.codec {
            Codec::None => (false, "none"),
            Codec::Gzip(gzip) => (gzip.inside, "gzip"),
            Codec::Zstd { inside, .. } => (*inside, "zstd"),
        };
        if inside || !self.input.is_empty() {
            return Err(Error::data(format!("the {name} data is truncated")).hint(
                "the file was cut off, perhaps while it was copied or written; get it again",
            ));
        }
        Ok(())
    }
}

/// Takes windows up to the format's own limit (`zstd --long=31`), which only files have that were
/// made so. Memory is taken as a frame needs it.
fn new_zstd() -> std::io::Result<ZstdDecoder<'static>> {
    let mut decoder = ZstdDecoder::new()?;
    decoder.set_parameter(DParameter::WindowLogMax(31))?;
    Ok(decoder)
}

impl Gzip {
    fn next(&mut self, input: &mut Bytes) -> Result<Option<Bytes>> {
        let mut output = Vec::with_capacity(OUTPUT);
        while output.len() < OUTPUT {
            if input.is_empty() && self.flushed {
                break;
            }
            if !self.inside {
                // RFC 1952 has nothing between members, but tapes and block devices pad with zeros,
                // and what sends text ends it with a newline.
                if self.members > 0 {
                    let padding = |byte: &&u8| matches!(byte, 0 | b'\r' | b'\n');
                    input.advance(input.iter().take_while(padding).count());
                }
                match input.first() {
                    None => break,
                    Some(0x1F) => {}
                    Some(_) if self.members == 0 => {}
                    Some(_) => return Err(followed()),
                }
                self.inside = true;
            }
            let (read, written) = (self.inflate.total_in(), self.inflate.total_out());
            let status = self
                .inflate
                .decompress_vec(input, &mut output, FlushDecompress::None)
                .map_err(|error| damaged("gzip", error))?;
            let read = usize::try_from(self.inflate.total_in() - read).unwrap_or(usize::MAX);
            let progress = read > 0 || self.inflate.total_out() > written;
            input.advance(read.min(input.len()));
            self.flushed = output.len() < output.capacity();
            if status == Status::StreamEnd {
                self.inside = false;
                self.flushed = true;
                self.members += 1;
                self.inflate = Decompress::new_gzip(15);
            } else if !progress {
                break;
            }
        }
        Ok((!output.is_empty()).then(|| output.into()))
    }
}

fn next_zstd(
    decoder: &mut ZstdDecoder<'static>,
    inside: &mut bool,
    flushed: &mut bool,
    input: &mut Bytes,
) -> Result<Option<Bytes>> {
    let mut output = vec![0; OUTPUT];
    let mut written = 0;
    while written < OUTPUT && !(input.is_empty() && *flushed) {
        if !*inside {
            decoder.reinit().map_err(|error| damaged("zstd", error))?;
            *inside = true;
        }
        let (mut from, mut to) = (
            InBuffer::around(input),
            OutBuffer::around(&mut output[written..]),
        );
        let left = decoder
            .run(&mut from, &mut to)
            .map_err(|error| damaged("zstd", error))?;
        let (read, made) = (from.pos(), to.pos());
        input.advance(read);
        written += made;
        *flushed = written < OUTPUT;
        if left == 0 {
            *inside = false;
            *flushed = true;
        } else if read == 0 && made == 0 {
            break;
        }
    }
    output.truncate(written);
    Ok((written > 0).then(|| output.into()))
}

fn followed() -> Error {
    Error::data("bytes that are no gzip follow the gzip data").hint(
        "more may have been written there uncompressed; if they are of no use, cut them off: \
         `gzip -dc` leaves them out",
    )
}

fn damaged(name: &str, error: impl std::error::Error + Send + Sync + 'static) -> Error {
    Error::data(format!("the {name} data is damaged"))
        .hint(format!(
            "the file is no {name}, or was changed on its way; get it again, or set `compression`"
        ))
        .because(error)
}
