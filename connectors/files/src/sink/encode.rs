//! How rows become bytes of a file: by each writer for itself, or by the file.

use std::sync::Arc;

use arrow_array::RecordBatch;
use arrow_schema::SchemaRef;
use parquet::arrow::ArrowWriter;
use parquet::arrow::arrow_writer::ArrowWriterOptions;
use parquet::basic::{Compression as Codec, ZstdLevel};
use parquet::errors::ParquetError;
use parquet::file::properties::WriterProperties;
use tidegate_catalog::Fit;
use tidegate_core::{DEEPEST_NOTED, Error, Rejected, Result, check_depth};
use tidegate_formats::{Compression, Compressor, CsvOptions, Encoder, Format};

/// How rows of an input become bytes.
#[derive(Debug, Clone)]
pub(super) struct Encoding {
    pub(super) format: Format,
    /// Whether each payload of `raw` is a line.
    pub(super) lines: bool,
    pub(super) compression: Compression,
    pub(super) csv: CsvOptions,
    /// The columns of the files.
    pub(super) schema: SchemaRef,
    /// How the input's rows get these columns, where they don't have them already.
    pub(super) fit: Option<Arc<Fit>>,
}

impl Encoding {
    pub(super) fn encoder(&self) -> Result<Encoder> {
        Ok(Encoder::new(self.format, &self.csv, &self.schema)?.lines(self.lines))
    }

    /// Whether records can be encoded apart from the file they go into.
    pub(super) fn is_loose(&self) -> bool {
        self.lines || matches!(self.format, Format::Ndjson | Format::Csv)
    }

    /// Whether each row becomes a file of its own.
    pub(super) fn is_file_each(&self) -> bool {
        self.format == Format::Raw && !self.lines
    }

    /// The one who encodes a new file's beginning and end, and all of it where records aren't
    /// loose.
    pub(super) fn file(&self) -> Result<FileEncoder> {
        if self.format == Format::Parquet {
            let zstd = ZstdLevel::try_new(1).map_err(broken)?;
            let properties = WriterProperties::builder()
                .set_compression(Codec::ZSTD(zstd))
                // Lists as `list.element`, maps as `key_value`, which every reader knows.
                .set_coerce_types(true)
                .set_created_by(concat!("tidegate ", env!("CARGO_PKG_VERSION")).to_owned())
                .build();
            let schema = SchemaRef::clone(&self.schema);
            let options = ArrowWriterOptions::new()
                .with_properties(properties)
                .with_skip_arrow_metadata(check_depth(&schema, DEEPEST_NOTED).is_err());
            let writer = ArrowWriter::try_new_with_options(Vec::new(), schema, options);
            let writer = writer.map_err(|error| {
                Error::schema("these columns can't be written as Parquet").because(error)
            })?;
            return Ok(FileEncoder::Parquet(Box::new(writer)));
        }
        Ok(FileEncoder::Text(Box::new(TextEncoder {
            encoder: self.encoder()?,
            compressor: Compressor::new(self.compression),
        })))
    }
}

fn broken(error: ParquetError) -> Error {
    Error::internal("a Parquet file could not be encoded").because(error)
}

/// Encodes one file.
pub(super) enum FileEncoder {
    Text(Box<TextEncoder>),
    Parquet(Box<ArrowWriter<Vec<u8>>>),
}

impl FileEncoder {
    /// What precedes the first record.
    pub(super) fn start(&mut self) -> Result<Vec<u8>> {
        match self {
            Self::Parquet(_) => Ok(Vec::new()),
            Self::Text(text) => text.packed(|encoder, out| {
                encoder.start(out);
                Ok(())
            }),
        }
    }

    /// Bytes of a batch; perhaps later.
    pub(super) fn encode(&mut self, batch: &RecordBatch) -> Result<(Vec<u8>, Rejected)> {
        let mut rejected = Rejected::default();
        let bytes = match self {
            Self::Parquet(writer) => {
                writer.write(batch).map_err(broken)?;
                std::mem::take(writer.inner_mut())
            }
            Self::Text(text) => text.packed(|encoder, out| {
                rejected = encoder.encode(batch, out)?;
                Ok(())
            })?,
        };
        Ok((bytes, rejected))
    }

    /// What follows the last record.
    pub(super) fn finish(self) -> Result<Vec<u8>> {
        match self {
            Self::Parquet(writer) => writer.into_inner().map_err(broken),
            Self::Text(mut text) => text.packed(|encoder, out| {
                encoder.finish(out);
                Ok(())
            }),
        }
    }
}

/// Encodes records and compresses them, block by block.
pub(super) struct TextEncoder {
    encoder: Encoder,
    compressor: Compressor,
}

impl TextEncoder {
    fn packed(
        &mut self,
        fill: impl FnOnce(&mut Encoder, &mut Vec<u8>) -> Result<()>,
    ) -> Result<Vec<u8>> {
        let (mut plain, mut packed) = (Vec::new(), Vec::new());
        fill(&mut self.encoder, &mut plain)?;
        self.compressor.compress(&plain, &mut packed)?;
        Ok(packed)
    }
}
