//! Files as bytes and as Arrow: formats, compression, finding records, decoding and encoding.
//!
//! ```text
//! bytes ─> PlainText ─> Splitter ─ chunks of whole records ─> Decoder ─> RecordBatch + Rejected
//! RecordBatch ─> Encoder ─> Compressor ─> bytes
//! ```
//!
//! The first two run in the reader, which only has to find where records end; the decoder runs on
//! the workers, so that one file uses every core. Nothing here does I/O or knows where bytes lie,
//! and everything is pushed and pulled, so it runs on any thread. Parquet is only named here: its
//! reader and writer need ranges of the file, which connectors have.
//!
//! ```
//! use std::sync::Arc;
//! use arrow_schema::{DataType, Field, Schema};
//! use tidegate_core::Scan;
//! use tidegate_formats::{CsvOptions, Decoder, Format};
//!
//! # fn main() -> tidegate_core::Result<()> {
//! let schema = Arc::new(Schema::new(vec![
//!     Field::new("id", DataType::Int64, false),
//!     Field::new("name", DataType::Utf8, true),
//! ]));
//! let decoder = Decoder::new(Format::Ndjson, &CsvOptions::default(), schema, &Scan::all("users"))?;
//! let lines = "{\"id\":1,\"name\":\"Ada\"}\n{\"id\":\"x\"}\n{\"id\":2}\n";
//! let decoded = decoder.decode_all(lines.into(), &"users.ndjson".into())?;
//! assert_eq!(decoded.batches[0].num_rows(), 2);
//! assert_eq!(decoded.rejected.rows[0].origin.line, Some(2));
//! # Ok(())
//! # }
//! ```

pub mod civil;
mod compression;
mod csv_options;
mod decode;
mod encode;
mod format;
mod infer;
mod limit;
mod payload;
mod spec;
mod split;

pub use compression::{Compression, Compressor, Decompressor, PlainText};
pub use csv_options::CsvOptions;
pub use decode::{
    Decoder, EncodedChunk, JsonRows, JsonVisitor, OnNewColumns, json_check, json_elements,
    raw_schema, walk_json, with_new,
};
pub use encode::{Encoder, RowEncoder, Rows, decimal_text, json_texts, plain_texts, row_to_json};
pub use format::Format;
pub use infer::{Inference, infer};
pub use limit::MOST_COLUMNS;
pub use payload::{bytes_of, holds_bytes};
pub use spec::{FieldSpec, SchemaSpec, TypeSpec, json_field};
pub use split::{Buffers, Chunk, CsvHeader, Position, Splitter};
