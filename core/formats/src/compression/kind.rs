//! The compressions by name.

use std::fmt;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

/// How the bytes of a file are compressed.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Hash, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum Compression {
    /// Not at all.
    #[default]
    None,
    /// Gzip, of one member or several (RFC 1952).
    Gzip,
    /// Zstandard, of one frame or several (RFC 8878).
    Zstd,
}

impl Compression {
    /// As a pipeline file spells it.
    pub fn name(self) -> &'static str {
        match self {
            Self::None => "none",
            Self::Gzip => "gzip",
            Self::Zstd => "zstd",
        }
    }

    /// The extension that follows the format's, without the dot; empty for none.
    pub fn extension(self) -> &'static str {
        match self {
            Self::None => "",
            Self::Gzip => "gz",
            Self::Zstd => "zst",
        }
    }

    /// The compression that a path's extension tells; none where it tells nothing.
    pub fn from_path(path: &str) -> Self {
        Self::split_path(path).1
    }

    /// A path without the directories before it and the extension of its compression.
    pub(crate) fn split_path(path: &str) -> (&str, Self) {
        let name = path.rsplit(['/', '\\']).next().unwrap_or(path);
        match name.rsplit_once('.') {
            Some((stem, end)) if end.eq_ignore_ascii_case("gz") => (stem, Self::Gzip),
            Some((stem, end)) if end.eq_ignore_ascii_case("gzip") => (stem, Self::Gzip),
            Some((stem, end)) if end.eq_ignore_ascii_case("zst") => (stem, Self::Zstd),
            Some((stem, end)) if end.eq_ignore_ascii_case("zstd") => (stem, Self::Zstd),
            _ => (name, Self::None),
        }
    }
}

impl fmt::Display for Compression {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}
