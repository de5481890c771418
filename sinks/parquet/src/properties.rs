//! The settings of the Parquet writer, and what it can hold.

use std::io::Write;
use std::sync::Arc;

use arrow_array::new_null_array;
use arrow_schema::{Field, Schema, SchemaRef};
use parquet::arrow::arrow_writer::{ArrowRowGroupWriterFactory, compute_leaves};
use parquet::arrow::{ArrowSchemaConverter, add_encoded_arrow_schema_to_metadata};
use parquet::basic::{Compression, GzipLevel, ZstdLevel};
use parquet::errors::ParquetError;
use parquet::file::properties::{WriterProperties, WriterPropertiesPtr};
use parquet::file::writer::SerializedFileWriter;
use parquet::schema::types::TypePtr;
use tidegate_catalog::portable;
use tidegate_core::{DEEPEST_NOTED, Error, Result, check_depth};

use crate::config::{ParquetCompression, ParquetConfig, Types};
use crate::encoders::Encoders;

/// The codec that the configuration asks for.
pub(crate) fn compression(config: &ParquetConfig) -> Result<Compression> {
    let level = config.compression_level;
    let refused = |range: &str| {
        Error::config(format!(
            "`compression_level` must be {range} for this compression"
        ))
        .with("key", "compression_level")
    };
    Ok(match config.compression {
        ParquetCompression::Zstd => {
            let level = i32::try_from(level.unwrap_or(1)).map_err(|_| refused("1 to 22"))?;
            Compression::ZSTD(ZstdLevel::try_new(level).map_err(|_| refused("1 to 22"))?)
        }
        ParquetCompression::Gzip => {
            let level = GzipLevel::try_new(level.unwrap_or(6)).map_err(|_| refused("0 to 9"))?;
            Compression::GZIP(level)
        }
        _ if level.is_some() => {
            return Err(
                Error::config("`compression_level` has no meaning for this compression")
                    .with("key", "compression_level")
                    .hint("only zstd and gzip have levels"),
            );
        }
        ParquetCompression::Snappy => Compression::SNAPPY,
        ParquetCompression::Lz4 => Compression::LZ4_RAW,
        ParquetCompression::None => Compression::UNCOMPRESSED,
    })
}

/// Everything that all files of a sink share.
#[derive(Debug)]
pub(crate) struct Layout {
    /// The columns of a file.
    pub(crate) schema: SchemaRef,
    /// Makes the encoders of row groups.
    pub(crate) encoders: Encoders,
    root: TypePtr,
    properties: WriterPropertiesPtr,
}

impl Layout {
    /// Fails with `Schema`, naming the column, where Parquet can't hold a type.
    pub(crate) fn new(config: &ParquetConfig, schema: SchemaRef) -> Result<Self> {
        for field in schema.fields() {
            probe(field)?;
        }
        Self::build(config, schema).map_err(|error| {
            Error::schema("these columns can't be written as Parquet").because(error)
        })
    }

    fn build(config: &ParquetConfig, schema: SchemaRef) -> Result<Self, ParquetError> {
        let codec = compression(config).map_err(|error| ParquetError::External(error.into()))?;
        let mut properties = WriterProperties::builder()
            .set_compression(codec)
            .set_created_by(concat!("tidegate ", env!("CARGO_PKG_VERSION")).to_owned())
            // Lists as `list.element`, maps as `key_value`, which every reader knows.
            .set_coerce_types(true)
            .build();
        // Readers that know Arrow take its word for types: it must not say what others don't see.
        let noted = match config.types {
            Types::Exact => Arc::clone(&schema),
            Types::Portable => {
                portable(&schema).map_err(|error| ParquetError::External(error.into()))?
            }
        };
        if check_depth(&noted, DEEPEST_NOTED).is_ok() {
            add_encoded_arrow_schema_to_metadata(&noted, &mut properties);
        }
        let root = ArrowSchemaConverter::new()
            .with_coerce_types(true)
            .convert(&schema)?
            .root_schema_ptr();
        let properties = Arc::new(properties);
        let (columns, types) = (Arc::clone(&schema), Arc::clone(&root));
        Ok(Self {
            encoders: Encoders::new(columns, types, Arc::clone(&properties))?,
            schema,
            root,
            properties,
        })
    }

    /// A new file's writer.
    pub(crate) fn file<W: Write + Send>(&self, to: W) -> Result<SerializedFileWriter<W>> {
        let (root, properties) = (Arc::clone(&self.root), Arc::clone(&self.properties));
        SerializedFileWriter::new(to, root, properties).map_err(broken)
    }
}

/// Writes one NULL of the type to nowhere: some types are refused only when values come.
fn probe(field: &Field) -> Result<()> {
    let nullable = Field::new(field.name(), field.data_type().clone(), true);
    let try_write = || -> Result<(), ParquetError> {
        let schema = Arc::new(Schema::new(vec![nullable.clone()]));
        let parquet = ArrowSchemaConverter::new()
            .with_coerce_types(true)
            .convert(&schema)?;
        let properties = WriterProperties::builder().set_coerce_types(true).build();
        let file =
            SerializedFileWriter::new(Vec::new(), parquet.root_schema_ptr(), properties.into())?;
        let factory = ArrowRowGroupWriterFactory::new(&file, schema);
        let nulls = new_null_array(field.data_type(), 1);
        let leaves = compute_leaves(&nullable, &nulls)?;
        for (writer, leaf) in factory.create_column_writers(0)?.iter_mut().zip(&leaves) {
            writer.write(leaf)?;
        }
        Ok(())
    };
    try_write().map_err(|error| {
        Error::schema(format!(
            "column `{}` of type {} can't be written as Parquet",
            field.name(),
            field.data_type()
        ))
        .hint("cast or drop the column with a `sql` transform")
        .because(error)
    })
}

/// An error of the Parquet library where nothing of the user's can be the reason.
pub(crate) fn broken(error: ParquetError) -> Error {
    Error::internal("a Parquet file could not be encoded").because(error)
}
