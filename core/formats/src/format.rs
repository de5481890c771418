//! The formats by name.

use std::fmt;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::Compression;

/// What the bytes of a file mean.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum Format {
    /// One JSON object a line.
    Ndjson,
    /// An array of JSON objects, one object, or several after each other.
    Json,
    /// Comma-separated values (RFC 4180), or another delimiter.
    Csv,
    /// Apache Parquet.
    Parquet,
    /// The file's bytes as they are: one row with one column, `payload`.
    Raw,
}

impl Format {
    /// As a pipeline file spells it.
    pub fn name(self) -> &'static str {
        match self {
            Self::Ndjson => "ndjson",
            Self::Json => "json",
            Self::Csv => "csv",
            Self::Parquet => "parquet",
            Self::Raw => "raw",
        }
    }

    /// The usual extension of such a file, without the dot.
    pub fn extension(self) -> &'static str {
        match self {
            Self::Raw => "bin",
            other => other.name(),
        }
    }

    /// The format that a path's extension tells, seen through one of compression:
    /// `sales.csv.gz` is CSV. `None` where the extension tells nothing.
    ///
    /// ```
    /// use tidegate_formats::Format;
    /// assert_eq!(Format::from_path("s3://lake/sales.csv.gz"), Some(Format::Csv));
    /// assert_eq!(Format::from_path("events.jsonl.zst"), Some(Format::Ndjson));
    /// assert_eq!(Format::from_path("notes.txt"), None);
    /// ```
    pub fn from_path(path: &str) -> Option<Self> {
        let (stem, _) = Compression::split_path(path);
        let (_, extension) = stem.rsplit_once('.')?;
        match extension.to_ascii_lowercase().as_str() {
            "ndjson" | "jsonl" | "jsonlines" => Some(Self::Ndjson),
            "json" => Some(Self::Json),
            "csv" | "tsv" => Some(Self::Csv),
            "parquet" | "pq" | "parq" => Some(Self::Parquet),
            "bin" | "raw" => Some(Self::Raw),
            _ => None,
        }
    }
}

impl fmt::Display for Format {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn paths_tell_format_and_compression() {
        for (path, format, compression) in [
            ("a.ndjson", Some(Format::Ndjson), Compression::None),
            ("a.NDJSON.GZ", Some(Format::Ndjson), Compression::Gzip),
            ("dir.csv/a.json.zst", Some(Format::Json), Compression::Zstd),
            ("dir.csv/part-0", None, Compression::None),
            ("a.tsv.gz", Some(Format::Csv), Compression::Gzip),
            ("a.gz", None, Compression::Gzip),
            ("a.parquet", Some(Format::Parquet), Compression::None),
        ] {
            assert_eq!(Format::from_path(path), format, "{path}");
            assert_eq!(Compression::from_path(path), compression, "{path}");
        }
    }
}
