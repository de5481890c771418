//! The columns: given, or found out from the beginnings of the first files.

use std::sync::Arc;

use arrow_schema::{Schema, SchemaRef};
use tidegate_core::{Error, Result};
use tidegate_formats::{Format, Inference, Position, Splitter, raw_schema};
use tidegate_storage::{FileMeta, Storage};

use super::config::FilesSourceConfig;
use crate::read::{footer, sample};

/// How many files are looked at.
const FILES: usize = 8;

/// How many plain bytes of each file are looked at.
const BYTES: usize = 2 << 20;

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
        _ => infer(config, storage, files, format).await,
    }
}

/// Other files may have NULLs where the first one can't.
fn nullable(schema: &Schema) -> SchemaRef {
    let fields = schema.fields().iter();
    let fields = fields.map(|field| field.as_ref().clone().with_nullable(true));
    Arc::new(Schema::new(fields.collect::<Vec<_>>()))
}

async fn infer(
    config: &FilesSourceConfig,
    storage: &Storage,
    files: &[FileMeta],
    format: Format,
) -> Result<SchemaRef> {
    let mut inference = Inference::new(format, &config.csv)?;
    for file in files.iter().take(FILES) {
        let path = storage.show(&file.key);
        let compression = config.compression_of(&path);
        let (bytes, complete) = sample(storage, file, compression, BYTES).await?;
        let explain = |error: Error| error.with("file", &path);
        let mut splitter = Splitter::new(format, &config.csv, Position::start())?;
        splitter.push(bytes);
        if complete {
            splitter.finish();
        }
        let mut headed = false;
        loop {
            let chunk = splitter.next().map_err(explain)?;
            if let (false, Some(header)) = (headed, splitter.header()) {
                inference.header(header).map_err(explain)?;
                headed = true;
            }
            match chunk {
                Some(chunk) => inference.push(&chunk).map_err(explain)?,
                None => break,
            }
        }
    }
    inference.finish()
}
