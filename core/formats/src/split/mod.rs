//! Finding whole records in a file's bytes, without decoding them.

mod buffer;
mod chunk;
pub(crate) mod csv;
pub(crate) mod header;
pub(crate) mod json;
mod splitter;

pub use buffer::Buffers;
pub(crate) use chunk::count_lines;
pub use chunk::{Chunk, Position};
pub use header::CsvHeader;
pub use splitter::Splitter;
