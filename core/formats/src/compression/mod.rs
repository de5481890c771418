//! Compressed bytes, in and out.

mod compress;
mod decompress;
mod kind;

pub use compress::Compressor;
pub use decompress::Decompressor;
pub use kind::Compression;
