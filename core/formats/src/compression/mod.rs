//! Compressed bytes, in and out.

mod compress;
mod decompress;
mod kind;
mod plain;

pub use compress::Compressor;
pub use decompress::Decompressor;
pub use kind::Compression;
pub use plain::PlainText;
