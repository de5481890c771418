//! The columns: given, or found out from the beginnings of the first files.

use std::sync::Arc;

use arrow_schema::{Schema, SchemaRef};
use tidegate_core::{Error, Result};
use tidegate_formats::{Format, raw_schema};
use tidegate_storage::{FileMeta, Storage};

use super::config::FilesSourceConfig;
use crate::read::{footer, text_columns};

/// How many files are looked at.
const FILES: usize = 8;

/// The stream's schema.
pub(super) async fn find(
    config: &FilesSourceConfig,
    storage: &Storage,
    files: &[FileMeta],
) -> Result<SchemaRef> {
    if !config.schema.is_empty() {
        return config.schema.to_arrow();
    }
    let Some(first) = files.first() else {
        return Err(
            Error::config("the columns can't be found out: there is no file yet")
                .with("url", &config.url)
                .hint("give the `schema`, or put a first file there"),
        );
    };
    let format = config.format_of(&storage.show(&first.key))?;
    match format {
        Format::Raw => Ok(raw_schema()),
        Format::Parquet => {
            let metadata = footer(storage, first).await?;
            let alone = files.len() == 1 && !config.watch;
            Ok(match alone {
                true => Arc::clone(metadata.schema()),
                false => nullable(metadata.schema()),
            })
        }
        _ => {
            let files = files.iter().take(FILES);
            let files: Vec<_> = files.map(|file| (storage.clone(), file.clone())).collect();
            text_columns(&files, format, &config.csv, config.compression).await
        }
    }
}

/// Other files may have NULLs where the first one can't.
fn nullable(schema: &Schema) -> SchemaRef {
    let fields = schema.fields().iter();
    let fields = fields.map(|field| field.as_ref().clone().with_nullable(true));
    Arc::new(Schema::new(fields.collect::<Vec<_>>()))
}
