//! Plain bytes in, compressed members out.

use flate2::{Compress, FlushCompress, Status};
use tidegate_core::{Error, Result};

use super::Compression;

/// Compresses pieces, each into a member (gzip) or frame (zstd) of its own, so that whatever was
/// compressed, in one place or in several, may be written one after the other.
pub struct Compressor {
    compression: Compression,
    level: i32,
    gzip: Option<Compress>,
    zstd: Option<zstd::bulk::Compressor<'static>>,
}

impl std::fmt::Debug for Compressor {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "Compressor({}, level {})", self.compression, self.level)
    }
}

impl Compressor {
    /// At the usual level: 6 for gzip, 3 for zstd.
    pub fn new(compression: Compression) -> Self {
        let level = match compression {
            Compression::None => 0,
            Compression::Gzip => 6,
            Compression::Zstd => 3,
        };
        Self {
            compression,
            level,
            gzip: None,
            zstd: None,
        }
    }

    /// At this level: 0 to 9 for gzip, 1 to 22 for zstd.
    #[must_use]
    pub fn level(mut self, level: i32) -> Self {
        self.level = level;
        self
    }

    /// Appends `input`, compressed, to `output`. Nothing is appended for nothing.
    pub fn compress(&mut self, input: &[u8], output: &mut Vec<u8>) -> Result<()> {
        match input.is_empty() {
            true => Ok(()),
            false => self.member(input, output),
        }
    }

    /// Appends `input`, compressed, to `output`, also where it is empty: a file without one byte is
    /// no gzip or zstd file.
    pub fn member(&mut self, input: &[u8], output: &mut Vec<u8>) -> Result<()> {
        match self.compression {
            Compression::None => output.extend_from_slice(input),
            Compression::Gzip => self.gzip(input, output)?,
            Compression::Zstd => {
                if self.zstd.is_none() {
                    self.zstd = Some(self.new_zstd().map_err(failed)?);
                }
                if let Some(zstd) = &mut self.zstd {
                    output.extend_from_slice(&zstd.compress(input).map_err(failed)?);
                }
            }
        }
        Ok(())
    }

    fn new_zstd(&self) -> std::io::Result<zstd::bulk::Compressor<'static>> {
        let mut zstd = zstd::bulk::Compressor::new(self.level)?;
        zstd.include_checksum(true)?;
        Ok(zstd)
    }

    fn gzip(&mut self, input: &[u8], output: &mut Vec<u8>) -> Result<()> {
        let level = flate2::Compression::new(u32::try_from(self.level.clamp(0, 9)).unwrap_or(6));
        let gzip = self
            .gzip
            .get_or_insert_with(|| Compress::new_gzip(level, 15));
        gzip.reset();
        output.reserve(input.len() / 3 + 64);
        loop {
            let read = usize::try_from(gzip.total_in()).unwrap_or(usize::MAX);
            let status = gzip
                .compress_vec(
                    &input[read.min(input.len())..],
                    output,
                    FlushCompress::Finish,
                )
                .map_err(failed)?;
            if status == Status::StreamEnd {
                return Ok(());
            }
            output.reserve(16 << 10);
        }
    }
}

fn failed(error: impl std::error::Error + Send + Sync + 'static) -> Error {
    Error::internal("bytes could not be compressed").because(error)
}
