//! Files as a source and as a sink: NDJSON, JSON, CSV, Parquet, or bytes as they are; and the files
//! of a catalog's tables as a source.
//!
//! ```toml
//! [sources.sales]
//! type = "files"
//! url = "data/sales/*.csv.gz"
//!
//! [sinks.bad_rows]
//! type = "files"
//! inputs = ["sales.rejected"]
//! url = "out/rejected/{%Y/%m/%d}/{stream}.ndjson"
//! ```
//!
//! ```text
//! Pattern, or a catalog's partitions ── plan ──> file, byte range, or row groups ── read ──> whole records ──> (a worker decodes)
//!
//! batch ── writer encodes, compresses ──> one open file a stream, shared by the epoch's writers
//! ```
//!
//! A source's reader only finds where records end; the workers decode. So one big file uses every
//! core in every format. A sink's file is hidden until its epoch is committed.
//!
//! [`TextPart`] and [`text_columns`] lend the readers of text to queries.
//!
//! [`crawl`] finds tables in directories of files, for catalogs that don't know them yet.
//!
//! How formats look is in `tidegate-formats`, how bytes lie in `tidegate-storage`; here they meet.

pub mod crawl;
mod read;
mod sink;
mod source;
mod table;

pub use read::{OnFileError, TextPart, text_columns};
pub use sink::{FilesSinkConfig, Mode};
pub use source::FilesSourceConfig;
pub use table::{TableSourceConfig, table_format};

tidegate_core::register_source!("files", FilesSourceConfig);
tidegate_core::register_source!("table", TableSourceConfig);
tidegate_core::register_sink!("files", FilesSinkConfig);
