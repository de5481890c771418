//! What a file is: by its name, else by its first bytes; and which columns it has.

use arrow_schema::{Field, Schema};
use bytes::Bytes;

use tidegate_catalog::plain;
use tidegate_core::{ErrorKind, Result, TableFormat};
use tidegate_formats::{Compression, CsvHeader, CsvOptions, Format, Inference};
use tidegate_storage::{FileMeta, Storage};

use super::csv::{self, Guess};
use super::schemas::Columns;
use crate::read::{footer, records, sample};
use crate::table::guessed_csv;

/// A file that is understood.
#[derive(Debug, Clone)]
pub(super) struct Classified {
    pub(super) format: TableFormat,
    pub(super) columns: Columns,
    pub(super) notes: Vec<String>,
}

/// What a file is, or why it can't be part of a table. `header` says whether CSV has one.
pub(super) async fn classify(
    storage: &Storage,
    file: &FileMeta,
    sample_bytes: usize,
    header: bool,
) -> Result<Result<Classified, String>> {
    let path = storage.show(&file.key);
    let looked = look(storage, file, &path, sample_bytes, header);
    match looked.await {
        Ok(found) => Ok(found),
        // What the file itself is to blame for doesn't end the crawl.
        Err(error) if matches!(error.kind(), ErrorKind::Data | ErrorKind::Schema) => {
            Ok(Err(error.message().to_owned()))
        }
        Err(error) => Err(error),
    }
}

async fn look(
    storage: &Storage,
    file: &FileMeta,
    path: &str,
    sample_bytes: usize,
    header: bool,
) -> Result<Result<Classified, String>> {
    let named = Format::from_path(path);
    if named == Some(Format::Parquet) {
        return parquet(storage, file).await.map(Ok);
    }
    if named == Some(Format::Raw) {
        return Ok(Err("its extension says that it has no records".to_owned()));
    }
    let compression = Compression::from_path(path);
    let (bytes, complete) = sample(storage, file, compression, sample_bytes).await?;
    if bytes.starts_with(b"PAR1") && compression == Compression::None {
        return parquet(storage, file).await.map(Ok);
    }
    // A character may be cut in two at the sample's end.
    let text = match std::str::from_utf8(&bytes) {
        Ok(text) => text,
        Err(error) if !complete && error.error_len().is_none() => {
            std::str::from_utf8(&bytes[..error.valid_up_to()]).unwrap_or_default()
        }
        Err(_) => return Ok(Err("it is neither Parquet nor text".to_owned())),
    };
    let text = text.strip_prefix('\u{feff}').unwrap_or(text);
    let json = text.trim_start().starts_with(['{', '[']);
    let sampled = Sampled {
        storage,
        file,
        compression,
        bytes: bytes.clone(),
        complete,
    };
    match named {
        Some(Format::Ndjson | Format::Json) => {}
        None if json => {}
        Some(Format::Csv) if header => return delimited(sampled, text, None).await,
        _ => {
            let Some(guess) = csv::guess(text, complete, named.is_some(), header) else {
                return Ok(Err(
                    "it is neither Parquet nor JSON nor lines with delimiters".to_owned(),
                ));
            };
            return delimited(sampled, text, Some(guess)).await;
        }
    }
    if let Err(reason) = one_object_a_line(text, complete) {
        return Ok(Err(reason));
    }
    let (columns, _) = learn(sampled, Format::Ndjson, &CsvOptions::default()).await?;
    Ok(Ok(Classified {
        format: TableFormat::Ndjson,
        columns,
        notes: Vec::new(),
    }))
}

/// A file's beginning.
struct Sampled<'a> {
    storage: &'a Storage,
    file: &'a FileMeta,
    compression: Compression,
    bytes: Bytes,
    complete: bool,
}

async fn parquet(storage: &Storage, file: &FileMeta) -> Result<Classified> {
    let footer = footer(storage, file).await?;
    let fields = footer.schema().fields().iter();
    // What the file's writer noted of its columns is about that file.
    let fields = fields.map(|field| {
        let plain = plain(field.data_type());
        Field::new(field.name(), plain, true)
    });
    Ok(Classified {
        format: TableFormat::Parquet,
        columns: Columns::told(Schema::new(fields.collect::<Vec<_>>())),
        notes: Vec::new(),
    })
}

/// What a file of CSV is like. Without a guess its first record is its header, which says what stands
/// between fields, as it is for `files`.
async fn delimited(
    sampled: Sampled<'_>,
    text: &str,
    guess: Option<Guess>,
) -> Result<Result<Classified, String>> {
    let complete = sampled.complete;
    let path = sampled.storage.show(&sampled.file.key);
    let (delimiter, header) = guess.map_or((',', true), |guess| (guess.delimiter, guess.header));
    let csv = guessed_csv(delimiter, header).named(&path);
    let (columns, told) = learn(sampled, Format::Csv, &csv).await?;
    let delimiter = told
        .as_ref()
        .map_or(delimiter, |header| char::from(header.delimiter()));
    let looks = csv::looks(text, delimiter, complete);
    let mut notes = Vec::new();
    if !header {
        notes.push("its CSV files have no header, as it seems: columns are numbered".to_owned());
    } else if guess.is_none() && !looks.headed {
        notes.push(
            "the first line of its CSV files names the columns, and looks like a row: if they \
             have no header, crawl with --no-header"
                .to_owned(),
        );
    }
    Ok(Ok(Classified {
        format: TableFormat::Csv {
            delimiter,
            header,
            quoted: looks.quoted,
        },
        columns,
        notes,
    }))
}

/// The columns of a file's first records, and its header.
async fn learn(
    sampled: Sampled<'_>,
    format: Format,
    csv: &CsvOptions,
) -> Result<(Columns, Option<CsvHeader>)> {
    let Sampled {
        storage,
        file,
        compression,
        bytes,
        complete,
    } = sampled;
    let sampled = (bytes, complete);
    let (chunks, header) = records((storage, file), compression, format, csv, sampled).await?;
    let mut inference = Inference::new(format, csv)?;
    if let Some(header) = &header {
        inference.header(header)?;
    }
    for chunk in chunks {
        inference.push(&chunk)?;
    }
    Ok((Columns::guessed(inference)?, header))
}

/// Whether the first lines are a JSON object each; else why they aren't.
fn one_object_a_line(text: &str, complete: bool) -> Result<(), String> {
    let lines = text.lines().map(str::trim);
    let mut lines = lines.filter(|line| !line.is_empty()).peekable();
    let Some(first) = lines.next() else {
        return Err("it has no records".to_owned());
    };
    if first.starts_with('[') {
        return Err("it is a JSON array, not one object a line".to_owned());
    }
    // The sample may end within its only line.
    let whole = complete || lines.peek().is_some();
    match whole
        && serde_json::from_str::<serde_json::Map<String, serde_json::Value>>(first).is_err()
    {
        true => Err("it is JSON over several lines, not one object a line".to_owned()),
        false => Ok(()),
    }
}
