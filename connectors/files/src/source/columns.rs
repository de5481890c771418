//! The stream's columns, found out from the files that are there, or remembered.

use std::collections::BTreeMap;
use std::sync::Arc;

use arrow_schema::{Schema, SchemaRef};
use futures::StreamExt;
use tidegate_core::{Error, NewColumns, Result, Scan, SourceContext};
use tidegate_formats::{Decoder, Format};
use tidegate_storage::{FileMeta, Storage, spread};

use super::added::{self, Known};
use super::config::FilesSourceConfig;
use super::directories::{Directories, Named};
use super::schema;
use crate::read::{OnFileError, ends, is_of_a_file};

/// How many files are looked at for those that can be read, and how many at once.
const LOOKED_AT: usize = 1_000;
const AT_ONCE: usize = 8;

/// What the files of a stream have in common.
pub(super) struct StreamColumns {
    /// The files' columns, then those that their directories name.
    pub(super) schema: SchemaRef,
    pub(super) directories: Directories,
    /// `None` where there is no file.
    pub(super) format: Option<Format>,
}

impl StreamColumns {
    /// The columns of these files. Those that were `known` before, where no file is left; where files
    /// that can't be read are passed over, also if no columns can be made out.
    pub(super) async fn open(
        config: &FilesSourceConfig,
        cx: &SourceContext,
        storage: &Storage,
        files: &[FileMeta],
        known: Option<Known>,
    ) -> Result<Self> {
        if files.is_empty()
            && let Some(known) = known
        {
            return Ok(Self::known(known, cx));
        }
        let place = storage.location().place();
        let over = config.on_file_error != OnFileError::Fail;
        let found = match over {
            false => same_format(config, storage, files).map(|()| files.to_vec()),
            true => of_one_format(config, storage, files),
        }?;
        let is_bad = |error: &Error| over && is_of_a_file(error, place);
        let columns = match Self::of(config, cx, storage, &found).await {
            Err(error) if is_bad(&error) => {
                match readable(config, cx, storage, &found).await.as_slice() {
                    [] => Err(error),
                    readable => Self::of(config, cx, storage, readable).await,
                }
            }
            columns => columns,
        };
        match (columns, known) {
            (Ok(columns), _) => {
                if config.remembers() && !files.is_empty() {
                    let known = Known {
                        schema: Arc::clone(&columns.schema),
                        keys: columns.directories.keys().len(),
                        format: columns.format,
                    };
                    added::remember(cx, config, &known).await?;
                }
                Ok(columns)
            }
            (Err(error), Some(known)) if is_bad(&error) => {
                tracing::warn!(component = %cx.id, %error, "the columns are those that the files had before");
                Ok(Self::known(known, cx))
            }
            (Err(error), _) => Err(ends(Some(config.on_file_error), error, place)),
        }
    }

    fn known(known: Known, cx: &SourceContext) -> Self {
        let Known {
            schema,
            keys,
            format,
        } = known;
        let stored = schema.fields().len().saturating_sub(keys);
        let directories = Directories::known(&schema.fields()[stored..], &cx.base);
        Self {
            schema,
            directories,
            format,
        }
    }

    async fn of(
        config: &FilesSourceConfig,
        cx: &SourceContext,
        storage: &Storage,
        files: &[FileMeta],
    ) -> Result<Self> {
        let named = Named::of(config, storage, files, &cx.base)?;
        let found = schema::find(config, storage, files).await?;
        let columns = match config.on_new_columns {
            Some(NewColumns::Add) => added::with(cx, config, found).await?,
            _ => found,
        };
        let (schema, directories) = named.split(config, storage, columns.fields(), &cx.base)?;
        let stored = &schema.fields()[..schema.fields().len() - directories.keys().len()];
        if !config.schema.is_empty() {
            schema::check_given(config, storage, files, stored).await?;
        }
        let mut format = None;
        if let Some(file) = files.first() {
            let found = config.format_of(&storage.show(&file.key))?;
            format = Some(found);
            if found != Format::Parquet {
                Decoder::new(
                    found,
                    &config.csv,
                    Arc::new(Schema::new(stored)),
                    &Scan::all(&config.stream),
                )?;
            }
        }
        Ok(Self {
            schema,
            directories,
            format,
        })
    }
}

/// Those of the files, or of some of them from all over, whose columns can be made out.
async fn readable(
    config: &FilesSourceConfig,
    cx: &SourceContext,
    storage: &Storage,
    files: &[FileMeta],
) -> Vec<FileMeta> {
    let look = |file: FileMeta| async move {
        match StreamColumns::of(config, cx, storage, std::slice::from_ref(&file)).await {
            Ok(_) => Some(file),
            Err(error) => {
                let path = storage.show(&file.key);
                tracing::warn!(component = %cx.id, %path, %error, "the columns are found out without a file that can't be read");
                None
            }
        }
    };
    let looked: Vec<_> = spread(files, LOOKED_AT).into_iter().map(look).collect();
    let looked = futures::stream::iter(looked).buffered(AT_ONCE);
    looked.filter_map(std::future::ready).collect().await
}

/// One stream has one schema, so a directory of several formats is an error.
fn same_format(config: &FilesSourceConfig, storage: &Storage, files: &[FileMeta]) -> Result<()> {
    let Some((first, others)) = files.split_first().filter(|_| config.format.is_none()) else {
        return Ok(());
    };
    let path = storage.show(&first.key);
    let format = config.format_of(&path)?;
    for other in others {
        let other_path = storage.show(&other.key);
        let other = config.format_of(&other_path)?;
        if other != format {
            return Err(Error::config(format!(
                "the files have several formats: {format} and {other}"
            ))
            .with("one", path)
            .with("another", other_path)
            .hint("narrow `url`, as in data/*.csv, or set `format`"));
        }
    }
    Ok(())
}

/// The files of the format that most have. Others are passed over.
fn of_one_format(
    config: &FilesSourceConfig,
    storage: &Storage,
    files: &[FileMeta],
) -> Result<Vec<FileMeta>> {
    let format = |file: &FileMeta| config.format_of(&storage.show(&file.key));
    let mut counts: BTreeMap<&str, (usize, Format)> = BTreeMap::new();
    for format in files.iter().filter_map(|file| format(file).ok()) {
        counts.entry(format.name()).or_insert((0, format)).0 += 1;
    }
    let most = counts.values().max_by_key(|(count, _)| *count);
    let Some((_, most)) = most else {
        // None can be told.
        files
            .first()
            .map_or(Ok(()), |first| format(first).map(drop))?;
        return Ok(Vec::new());
    };
    let is_it = |file: &&FileMeta| format(file).is_ok_and(|format| format == *most);
    Ok(files.iter().filter(is_it).cloned().collect())
}
