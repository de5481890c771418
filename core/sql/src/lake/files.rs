//! Paths as tables: what the files are, which columns they have.

use std::collections::BTreeSet;
use std::sync::Arc;

use arrow_schema::{DataType, Field, FieldRef, Schema};
use tidegate_catalog::{parse_name, parse_values, with_columns_of};
use tidegate_core::{Error, Result};
use tidegate_storage::spread;

use super::footers;
use super::partitions::Content;
use super::places::{Found, Places, show};
use super::provider::{Described, LakeTable, Notes};
use super::scan::Reader;
use crate::error::running;

/// A path, a folder or a pattern as a table. Errors: `NotFound`, `Config`, `Schema`.
pub(crate) async fn table(text: &str, places: &Arc<Places>, notes: &Notes) -> Result<LakeTable> {
    let found = places.matching(text).await?;
    let reader = format(text, &found)?;
    let (keys, found) = partitioned(found);
    let looked = found.iter().map(|(file, _)| file.clone());
    let looked: Vec<Found> = looked.collect();
    let looked = match reader {
        Reader::Parquet => spread(&looked, footers::LOOKED_AT),
        // Whoever reads text knows how many of its files are to be looked at.
        _ => looked,
    };
    let columns = columns(&looked, reader, places).await?;
    let is_key = |field: &FieldRef| keys.iter().any(|key| key.name() == field.name());
    let fields: Vec<FieldRef> = columns
        .fields()
        .iter()
        .filter(|field| !is_key(field))
        .cloned()
        .collect();
    let described = Described {
        name: text.to_owned(),
        location: text.to_owned(),
        reader,
        columns: &Schema::new(fields),
        keys: &keys,
        content: Content::Files(Arc::new(found)),
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
        .hint("choose by a pattern: `folder/**/*.parquet`")),
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

/// A file, and the values of the partition keys.
type Valued = (Found, Vec<Option<String>>);

/// The keys that the folders of all files name (`year=2024/month=01`), typed by their values, and
/// the files with those values.
fn partitioned(files: Vec<Found>) -> (Vec<FieldRef>, Vec<Valued>) {
    let of = |file: &Found| -> Vec<(String, Option<String>)> {
        let path = file.object.location.as_ref();
        let folders = path.rsplit_once('/').map_or("", |(folders, _)| folders);
        folders.split('/').filter_map(parse_name).collect()
    };
    let first = of(&files[0]);
    let names: Vec<String> = first.into_iter().map(|(name, _)| name).collect();
    let distinct = names.iter().collect::<BTreeSet<_>>().len() == names.len();
    let all: Vec<Vec<(String, Option<String>)>> = files.iter().map(of).collect();
    let alike = all
        .iter()
        .all(|pairs| pairs.iter().map(|(name, _)| name).eq(&names));
    if names.is_empty() || !distinct || !alike {
        let files = files.into_iter().map(|file| (file, Vec::new()));
        return (Vec::new(), files.collect());
    }
    let values: Vec<Vec<Option<String>>> = all
        .into_iter()
        .map(|pairs| pairs.into_iter().map(|(_, value)| value).collect())
        .collect();
    let keys = names
        .iter()
        .enumerate()
        .map(|(index, name)| {
            let column: Vec<Option<&str>> =
                values.iter().map(|row| row[index].as_deref()).collect();
            Arc::new(Field::new(name, key_type(name, &column), true))
        })
        .collect();
    (keys, files.into_iter().zip(values).collect())
}

/// Whole numbers as they would be printed, dates, or text.
fn key_type(name: &str, values: &[Option<&str>]) -> DataType {
    let given = || values.iter().flatten();
    if given().next().is_none() {
        return DataType::Utf8;
    }
    let printed = |text: &str| text.parse::<i64>().is_ok_and(|n| n.to_string() == text);
    if given().all(|text| printed(text)) {
        return DataType::Int64;
    }
    let date = Field::new(name, DataType::Date32, true);
    let dated = |text: &str| text.len() == 10 && parse_values([Some(text)], &date).is_ok();
    match given().all(|text| dated(text)) {
        true => DataType::Date32,
        false => DataType::Utf8,
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
        let mut names = BTreeSet::new();
        if let Some(twice) = schema
            .fields()
            .iter()
            .find(|field| !names.insert(field.name()))
        {
            return Err(
                Error::schema(format!("the file has two columns named `{}`", twice.name()))
                    .with("path", &path)
                    .hint("a query finds columns by name: name one of them otherwise where the file is written"),
            );
        }
        fields = Some(with_columns_of(fields.as_ref(), schema.fields(), &path)?);
    }
    Ok(Schema::new(fields.unwrap_or_default()))
}
