//! The columns: given, or found out from the beginnings of the first files.

use std::collections::HashSet;
use std::sync::Arc;

use arrow_schema::{FieldRef, Fields, Schema, SchemaRef};
use futures::{StreamExt, TryStreamExt, stream};
use tidegate_catalog::{matched, with_columns_of};
use tidegate_core::{Error, Result, suggest};
use tidegate_formats::{Format, raw_schema};
use tidegate_storage::{FileMeta, Storage, spread};

use super::config::FilesSourceConfig;
use crate::read::{footer, header, text_columns};

/// How many Parquet files' footers are looked at: of more, some from all over.
const FOOTERS: usize = 1_000;

/// Footers that are read at once.
const AT_ONCE: usize = 32;

/// The columns that are given, or those that the files have.
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
            let mut fields = None;
            for (more, path) in columns(storage, files).await? {
                fields = Some(with_columns_of(fields.as_ref(), &more, &path)?);
            }
            let fields = fields.unwrap_or_default();
            let alone = files.len() == 1 && !config.watch;
            Ok(Arc::new(match alone {
                true => Schema::new(fields),
                false => nullable(&fields),
            }))
        }
        _ => {
            let files = files.iter().cloned();
            let files: Vec<_> = files.map(|file| (storage.clone(), file)).collect();
            text_columns(&files, format, &config.csv, config.compression).await
        }
    }
}

/// The columns of Parquet files, with what those are called.
async fn columns(storage: &Storage, files: &[FileMeta]) -> Result<Vec<(Fields, String)>> {
    stream::iter(spread(files, FOOTERS))
        .map(|file| async move {
            let footer = footer(storage, &file).await?;
            Ok((footer.schema().fields().clone(), storage.show(&file.key)))
        })
        .buffered(AT_ONCE)
        .try_collect()
        .await
}

/// Refuses a column that is given and that no Parquet file has (it would be NULL in all rows), or
/// that the first CSV file's header hasn't, as all must have it. JSON may leave out any.
pub(super) async fn check_given(
    config: &FilesSourceConfig,
    storage: &Storage,
    files: &[FileMeta],
    stored: &[FieldRef],
) -> Result<()> {
    let Some(first) = files.iter().find(|file| config.has_rows(storage, file)) else {
        return Ok(());
    };
    let path = storage.show(&first.key);
    match config.format_of(&path)? {
        Format::Parquet => somewhere(config, stored, &columns(storage, files).await?),
        Format::Csv if config.csv.header => {
            let csv = config.csv.named(&path);
            let found = header(storage, first, config.compression_of(&path), &csv).await;
            let Some(header) = found.map_err(|error| error.with("file", &path))? else {
                return Ok(());
            };
            let names = header.names();
            let missing = stored.iter().find(|field| !names.contains(field.name()));
            missing.map_or(Ok(()), |field| {
                let what = format!("the file has no column `{}`", field.name());
                let names = names.iter().map(String::as_str);
                Err(absent(config, field, what, &path, names.collect()))
            })
        }
        _ => Ok(()),
    }
}

/// The error about a column of the `schema`, which the file has not among those that it has.
fn absent(
    config: &FilesSourceConfig,
    field: &FieldRef,
    what: String,
    path: &str,
    names: Vec<&str>,
) -> Error {
    let at = config
        .schema
        .0
        .iter()
        .position(|given| given.name == *field.name());
    let error = Error::schema(what).with("file", path);
    let error = match at {
        Some(at) => error.with("key", format!("schema.{at}.name")),
        None => error,
    };
    if let [only] = names.as_slice()
        && let Some(other) = only.chars().find(|c| [',', ';', '\t', '|'].contains(c))
    {
        return error.hint(format!(
            "its header is one column, `{only}`: `csv.delimiter` seems to be {other:?}"
        ));
    }
    error.hint(
        match suggest::nearest(field.name(), names.iter().copied()) {
            Some(near) => format!("did you mean `{near}`? Names are compared exactly"),
            None => format!(
                "take it out of `schema`; the file has {}",
                suggest::quoted(names)
            ),
        },
    )
}

fn somewhere(
    config: &FilesSourceConfig,
    stored: &[FieldRef],
    files: &[(Fields, String)],
) -> Result<()> {
    let mut missing: Vec<_> = stored.iter().collect();
    for (found, _) in files {
        let places = matched(stored, found);
        let places = stored.iter().zip(places);
        let there: HashSet<_> = places
            .filter(|(_, at)| at.is_some())
            .map(|(f, _)| f.name())
            .collect();
        missing.retain(|field| !there.contains(field.name()));
    }
    let (Some(field), Some((found, path))) = (missing.first(), files.first()) else {
        return Ok(());
    };
    let what = format!("no file has a column `{}`", field.name());
    let names = found.iter().map(|field| field.name().as_str()).collect();
    Err(absent(config, field, what, path, names))
}

/// Files that weren't looked at may have NULLs, or lack a column.
fn nullable(fields: &Fields) -> Schema {
    let fields = fields.iter();
    let fields = fields.map(|field| field.as_ref().clone().with_nullable(true));
    Schema::new(fields.collect::<Vec<_>>())
}
