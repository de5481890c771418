//! Paths as tables: what the files are, which columns they have.

use std::sync::Arc;

use arrow_schema::Schema;
use tidegate_catalog::{DirectoryKeys, with_columns_of};
use tidegate_core::{Error, Result};
use tidegate_storage::spread;

use super::footers;
use super::partitions::Content;
use super::places::{Found, Places, show};
use super::provider::{Described, LakeTable, Notes};
use super::scan::Reader;
use crate::error::running;

/// A path, a directory or a pattern as a table. Errors: `NotFound`, `Config`, `Schema`.
pub(crate) async fn table(text: &str, places: &Arc<Places>, notes: &Notes) -> Result<LakeTable> {
    let found = places.matching(text).await?;
    let reader = format(text, &found)?;
    let paths = found.iter().map(|file| places.below_base(file));
    let paths: Vec<String> = paths.collect::<Result<_>>()?;
    let partitions = DirectoryKeys::of(paths.iter().map(String::as_str))?;
    let columns = match reader {
        Reader::Parquet => {
            let looked = spread(&found, footers::LOOKED_AT);
            columns(&looked, reader, places).await?
        }
        // Whoever reads text knows how many of its files are to be looked at.
        _ => columns(&found, reader, places).await?,
    };
    let path = |at: usize| show(&found[at].root, &found[at].object.location);
    let stored = partitions.stored(columns.fields(), path)?;
    let described = Described {
        name: text.to_owned(),
        location: text.to_owned(),
        reader,
        columns: &Schema::new(stored),
        keys: &partitions.keys,
        content: Content::Files(Arc::new(found.into_iter().zip(partitions.values).collect())),
    };
    Ok(LakeTable::new(described, places, notes))
}

/// The format that all files have, by their names.
fn format(text: &str, files: &[Found]) -> Result<Reader> {
    let mut formats: Vec<(Reader, &Found)> = Vec::new();
    for file in files {
        let format = by_name(file)?;
        if formats.iter().all(|(other, _)| *other != format) {
            formats.push((format, file));
        }
    }
    match formats.as_slice() {
        [(format, _)] => Ok(*format),
        [(one, first), (other, second), ..] => Err(Error::config(format!(
            "`{text}` means files of several formats: {} and {}",
            one.name(),
            other.name()
        ))
        .with("one", show(&first.root, &first.object.location))
        .with("other", show(&second.root, &second.object.location))
        .hint("choose by a pattern: `directory/**/*.parquet`")),
        [] => Err(Error::not_found(format!("no file matches `{text}`"))),
    }
}

fn by_name(file: &Found) -> Result<Reader> {
    let path = show(&file.root, &file.object.location);
    let name = path.rsplit('/').next().unwrap_or_default().to_lowercase();
    let refused = |message: &str| Error::unsupported(message.to_owned()).with("path", &path);
    let plain = ["gz", "gzip", "zst", "zstd"]
        .iter()
        .find_map(|end| name.strip_suffix(end)?.strip_suffix('.'));
    let extension = plain.unwrap_or(&name).rsplit_once('.');
    match extension.map(|(_, extension)| extension) {
        Some("parquet" | "pq" | "parq") if plain.is_none() => Ok(Reader::Parquet),
        Some("parquet" | "pq" | "parq") => Err(refused("a query can't read compressed Parquet")
            .hint("Parquet is compressed inside: decompress the file as a whole")),
        Some("json" | "ndjson" | "jsonl" | "jsonlines") => Ok(Reader::Json),
        Some("csv" | "tsv") => Ok(Reader::Csv),
        Some("bz2" | "xz" | "lz4" | "snappy") => {
            Err(refused("a query can't read this compression")
                .hint("it reads text that is compressed as .gz or .zst"))
        }
        _ => Err(refused("the file's name doesn't say its format")
            .hint("a query reads .parquet, .csv, .tsv, .json, .ndjson and .jsonl; all but Parquet also as .gz and .zst")),
    }
}

/// The columns that the files have together, by name, each wide enough for all.
async fn columns(files: &[Found], reader: Reader, places: &Places) -> Result<Schema> {
    if reader != Reader::Parquet {
        let files: Vec<_> = files
            .iter()
            .map(|file| file.text(None))
            .collect::<Result<_>>()?;
        let columns = places.text()?.columns(&files).await?;
        return Ok(columns.as_ref().clone());
    }
    let schemas = footers::schemas(places, files)
        .await
        .map_err(|error| running(&error))?;
    let mut fields = None;
    for (schema, file) in schemas.iter().zip(files) {
        let path = show(&file.root, &file.object.location);
        fields = Some(with_columns_of(fields.as_ref(), schema.fields(), &path)?);
    }
    Ok(Schema::new(fields.unwrap_or_default()))
}
