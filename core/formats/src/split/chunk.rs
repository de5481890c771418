//! A piece of a file, and where it lies.

use bytes::Bytes;
use memchr::memchr_iter;
use serde::{Deserialize, Serialize};

/// How many lines end in these bytes: with LF, or with CR where there is none.
pub(crate) fn count_lines(bytes: &[u8]) -> u64 {
    let count = |newline| memchr_iter(newline, bytes).count() as u64;
    match count(b'\n') {
        0 => count(b'\r'),
        lines => lines,
    }
}

/// A place between two records of a file, from which reading can go on.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct Position {
    /// Bytes of the (decompressed) file before it.
    pub offset: u64,
    /// The line it stands in, from 1; unknown where reading began in the middle of a file.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub line: Option<u64>,
    /// JSON: whether it stands behind an element of an array.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub in_array: bool,
    /// NDJSON: whether the file's objects stand freely, several in a line or one over several.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub free: bool,
}

impl Position {
    /// The beginning of a file.
    pub fn start() -> Self {
        Self {
            offset: 0,
            line: Some(1),
            in_array: false,
            free: false,
        }
    }

    /// The place behind `bytes`, which begin here.
    pub(crate) fn after(self, bytes: &[u8]) -> Self {
        Self {
            offset: self.offset + bytes.len() as u64,
            line: self.line.map(|line| line + count_lines(bytes)),
            ..self
        }
    }
}

impl Default for Position {
    fn default() -> Self {
        Self::start()
    }
}

/// Some whole records of a file.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Chunk {
    /// The records, with what stands between them.
    pub bytes: Bytes,
    /// Where the bytes begin.
    pub start: Position,
    /// Where they end: the position from which the next chunk is read.
    pub end: Position,
}

impl Chunk {
    /// About how many rows it has.
    pub(crate) fn rows_guess(&self) -> usize {
        let lines = self
            .start
            .line
            .zip(self.end.line)
            .map(|(start, end)| end - start);
        let lines = lines.and_then(|lines| usize::try_from(lines).ok());
        lines.unwrap_or(self.bytes.len() / 128) + 1
    }
}
