//! Text files of queries, read by the readers of the `files` and `table` sources.

use std::sync::Arc;

use arrow_array::RecordBatch;
use arrow_schema::SchemaRef;
use async_trait::async_trait;
use futures::{StreamExt, TryStreamExt, stream};
use tidegate::core::{BatchStream, Context, Event, Metrics, Rejected, Rows};
use tidegate::runtime::IgnoredColumns;
use tidegate::{Error, Result};
use tidegate_files::{TextPart, table_format, text_columns};
use tidegate_formats::{CsvOptions, Format};
use tidegate_sql::{TextFile, TextFiles, TextRows};

/// The readers that pipelines have too.
#[derive(Debug)]
pub(crate) struct Readers {
    cx: Context,
    /// What is left out of the rows, because the columns were told from files' beginnings.
    ignored: Arc<IgnoredColumns>,
}

impl Readers {
    pub(crate) fn new(cx: &Context) -> Self {
        Self {
            cx: cx.clone(),
            ignored: Arc::default(),
        }
    }
}

#[async_trait]
impl TextFiles for Readers {
    async fn columns(&self, files: &[TextFile]) -> Result<SchemaRef> {
        let Some(first) = files.first() else {
            return Err(Error::internal("columns of no files were asked for"));
        };
        let (mut format, csv) = format_of(first)?;
        for file in files {
            match format_of(file)? {
                (other, same) if other == format && same == csv => {}
                // A file of lines is one of several values after each other, too.
                (Format::Json | Format::Ndjson, _)
                    if matches!(format, Format::Json | Format::Ndjson) =>
                {
                    format = Format::Json;
                }
                _ => return Err(several(first, file)),
            }
        }
        let files: Vec<_> = files
            .iter()
            .map(|file| (file.storage.clone(), file.meta.clone()))
            .collect();
        text_columns(&files, format, &csv, None).await
    }

    async fn read(&self, file: TextFile, wanted: TextRows) -> Result<BatchStream> {
        let (format, csv) = format_of(&file)?;
        let TextRows {
            schema,
            keys,
            columns,
            at_once,
            traffic,
        } = wanted;
        let metrics = Arc::new(Metrics::default());
        let part = TextPart {
            storage: file.storage,
            file: file.meta,
            format,
            csv,
            schema,
            table: file.table,
            keys,
            columns,
            metrics: Arc::clone(&metrics),
        };
        traffic.began();
        let mut counted = 0;
        let events = part.events(&self.cx).await?.map(move |event| {
            let bytes = metrics.total_bytes();
            traffic.came(bytes - counted);
            counted = bytes;
            event
        });
        let ignored = Arc::clone(&self.ignored);
        let batches = events
            .map(move |event| {
                let ignored = Arc::clone(&ignored);
                async move {
                    // Chunks of one file are decoded on several threads, and come in their order.
                    let decoding = tokio::task::spawn_blocking(move || decoded(event?, &ignored));
                    decoding
                        .await
                        .map_err(|error| Error::internal("decoding died").because(error))?
                }
            })
            .buffered(at_once)
            .map_ok(|batches| stream::iter(batches.into_iter().map(Ok)))
            .try_flatten();
        Ok(batches.boxed())
    }
}

fn several(one: &TextFile, other: &TextFile) -> Error {
    let shown = |file: &TextFile| file.storage.show(&file.meta.key);
    Error::config("a path means files of several formats")
        .with("one", shown(one))
        .with("other", shown(other))
        .hint("choose by a pattern: `directory/**/*.csv`")
}

/// How a file is read: as its table says, or its name.
fn format_of(file: &TextFile) -> Result<(Format, CsvOptions)> {
    if let Some(table) = &file.table {
        return Ok(table_format(table));
    }
    let path = file.storage.show(&file.meta.key);
    let csv = CsvOptions::default().named(&path);
    match Format::from_path(&path) {
        Some(format @ (Format::Ndjson | Format::Json | Format::Csv)) => Ok((format, csv)),
        _ => Err(Error::unsupported("the file's name doesn't say its format").with("path", path)),
    }
}

/// The rows of an event. A query has no place for rows that can't be taken: they end it.
fn decoded(event: Event, ignored: &IgnoredColumns) -> Result<Vec<RecordBatch>> {
    let Event::Rows { rows, rejected, .. } = event else {
        return Ok(Vec::new());
    };
    all_taken(rejected.unwrap_or_default())?;
    match rows {
        Rows::Batch(batch) => Ok(vec![batch]),
        Rows::Encoded(rows) => {
            let decoded = rows.decode()?;
            all_taken(decoded.rejected)?;
            ignored.add(None, decoded.ignored);
            Ok(decoded.batches)
        }
    }
}

fn all_taken(rejected: Rejected) -> Result<()> {
    let Some(row) = rejected.rows.into_iter().next() else {
        return Ok(());
    };
    // `line` would be a line of the query.
    let place = match row.origin.line {
        Some(line) => format!("line {line} of a file can't be read"),
        None => "a row of a file can't be read".to_owned(),
    };
    let mut error = Error::data(format!("{place}: {}", row.reason));
    if let Some(file) = &row.origin.file {
        error = error.with("file", file);
    }
    Err(error.hint(
        "correct the file, or let a pipeline's `table` or `files` source put such rows aside",
    ))
}
