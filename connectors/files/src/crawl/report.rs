//! What is asked of a crawl, and what it finds.

use serde::Serialize;
use tidegate_aws::AwsSettings;
use tidegate_core::{CatalogTable, TablePartition};
use tidegate_formats::Format;

use crate::read::{BYTES, FILES};

/// How to crawl.
#[derive(Debug, Clone)]
pub struct CrawlOptions {
    /// The database of the tables that are found.
    pub database: String,
    /// What their names begin with.
    pub prefix: String,
    /// The formats that count; others are passed over. Empty: Parquet, NDJSON and CSV.
    pub formats: Vec<Format>,
    /// How many directories below the location the tables lie: directories above that level are never joined
    /// to one table. Default: wherever directories are alike.
    pub table_level: Option<usize>,
    /// How many files of each table are looked at, from all over, besides two of each directory (one
    /// if this is 1).
    pub sample_files: usize,
    /// How many plain bytes of each text file are looked at; fewer where many files are.
    pub sample_bytes: usize,
    /// Whether the first record of CSV files names the columns.
    pub csv_header: bool,
    /// How `s3://` is reached, where it isn't as the settings `[aws]` say.
    pub aws: Option<AwsSettings>,
}

impl CrawlOptions {
    /// For tables of this database, with the usual sizes of samples.
    pub fn new(database: impl Into<String>) -> Self {
        Self {
            database: database.into(),
            prefix: String::new(),
            formats: Vec::new(),
            table_level: None,
            sample_files: FILES,
            sample_bytes: BYTES,
            csv_header: true,
            aws: None,
        }
    }
}

/// What was found.
#[derive(Debug, Clone, Default, PartialEq, Serialize)]
pub struct CrawlReport {
    /// The tables, by name.
    pub tables: Vec<CrawledTable>,
    /// The files that belong to none, by path.
    pub skipped: Vec<Skipped>,
}

/// A table that was found.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct CrawledTable {
    /// As a catalog may have it; its names are not yet folded as a catalog would.
    pub table: CatalogTable,
    /// Its partitions, by their values; none if it has no partition keys.
    pub partitions: Vec<TablePartition>,
    /// How many files it has.
    pub files: u64,
    /// Their bytes.
    pub bytes: u64,
    /// What the user should know: each a sentence.
    pub notes: Vec<String>,
}

/// A file that belongs to no table.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Serialize)]
pub struct Skipped {
    /// Its path or url.
    pub path: String,
    /// Why: one sentence.
    pub reason: String,
}
