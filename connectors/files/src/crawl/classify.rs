//! What a file is: by its name, else by its first bytes; and which columns it has.

use arrow_schema::{Field, Schema};

use tidegate_catalog::plain;
use tidegate_core::{Error, ErrorKind, Result, TableFormat};
use tidegate_formats::{Compression, Format, Inference, Position, Splitter};
use tidegate_storage::{FileMeta, Storage};

use super::csv;
use super::schemas::Columns;
use crate::read::{footer, sample};

/// A file that is understood.
#[derive(Debug, Clone)]
pub(super) struct Classified {
    pub(super) format: TableFormat,
    pub(super) columns: Columns,
    pub(super) notes: Vec<String>,
}

/// What a file is, or why it can't be part of a table.
pub(super) async fn classify(
    storage: &Storage,
    file: &FileMeta,
    sample_bytes: usize,
) -> Result<Result<Classified, String>> {
    let path = storage.show(&file.key);
    match look(storage, file, &path, sample_bytes).await {
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
    match named {
        Some(Format::Ndjson | Format::Json) => {}
        None if json => {}
        Some(Format::Csv) => return delimited(text, &bytes, complete, true),
        _ => return delimited(text, &bytes, complete, false),
    }
    if let Err(reason) = one_object_a_line(text, complete) {
        return Ok(Err(reason));
    }
    let mut inference = Inference::new(Format::Ndjson, &csv::options(&TableFormat::Ndjson))?;
    learn(
        &mut inference,
        Format::Ndjson,
        &TableFormat::Ndjson,
        &bytes,
        complete,
    )?;
    Ok(Ok(Classified {
        format: TableFormat::Ndjson,
        columns: Columns::guessed(inference)?,
        notes: Vec::new(),
    }))
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

fn delimited(
    text: &str,
    bytes: &bytes::Bytes,
    complete: bool,
    named: bool,
) -> Result<Result<Classified, String>> {
    let Some(guess) = csv::guess(text, complete, named) else {
        return Ok(Err(
            "it is neither Parquet nor JSON nor lines with delimiters".to_owned(),
        ));
    };
    let mut inference = Inference::new(Format::Csv, &csv::options(&guess))?;
    learn(&mut inference, Format::Csv, &guess, bytes, complete)?;
    let mut notes = Vec::new();
    if let TableFormat::Csv { header: false, .. } = guess {
        notes.push("its CSV files have no header, as it seems: columns are numbered".to_owned());
    }
    Ok(Ok(Classified {
        format: guess,
        columns: Columns::guessed(inference)?,
        notes,
    }))
}

fn learn(
    inference: &mut Inference,
    format: Format,
    table: &TableFormat,
    bytes: &bytes::Bytes,
    complete: bool,
) -> Result<()> {
    let mut splitter = Splitter::new(format, &csv::options(table), Position::start())?;
    splitter.push(bytes.clone());
    if complete {
        splitter.finish();
    }
    let mut headed = false;
    loop {
        let chunk = splitter.next()?;
        if let (false, Some(header)) = (headed, splitter.header()) {
            inference.header(header);
            headed = true;
        }
        match chunk {
            Some(chunk) => inference.push(&chunk)?,
            // A sample that ends within its first chunk has its records in what is left.
            None if !complete && inference.rows() == 0 => {
                return rest(inference, format, table, bytes);
            }
            None => return Ok(()),
        }
    }
}

/// Learns from the whole lines of a sample that is shorter than a chunk.
fn rest(
    inference: &mut Inference,
    format: Format,
    table: &TableFormat,
    bytes: &bytes::Bytes,
) -> Result<()> {
    let Some(end) = memchr::memrchr(b'\n', bytes) else {
        return Err(Error::data(
            "its first line is longer than what is looked at",
        ));
    };
    learn(inference, format, table, &bytes.slice(..=end), true)
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
