//! Files as a source and as a sink: NDJSON, JSON, CSV, Parquet, or bytes as they are.
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
//! Pattern ── plan ──> file, byte range, or row groups ── read ──> whole records ──> (a worker decodes)
//!
//! batch ── writer encodes, compresses ──> one open file a stream, shared by the epoch's writers
//! ```
//!
//! A source's reader only finds where records end; the workers decode. So one big file uses every
//! core in every format. A sink's file is hidden until its epoch is committed.
//!
//! How formats look is in `tidegate-formats`, how bytes lie in `tidegate-storage`; here they meet.

mod sink;
mod source;

pub use sink::{FilesSinkConfig, Mode};
pub use source::FilesSourceConfig;

tidegate_core::register_source!("files", FilesSourceConfig);
tidegate_core::register_sink!("files", FilesSinkConfig);
