//! Rows of a query, as people or other programs want them.

use std::fs::File;
use std::io::{self, BufWriter, IsTerminal, Write};
use std::path::{Path, PathBuf};

use arrow_array::RecordBatch;
use arrow_schema::{DataType, SchemaRef};
use owo_colors::OwoColorize;
use parquet::arrow::ArrowWriter;
use parquet::arrow::arrow_writer::ArrowWriterOptions;
use parquet::basic::{Compression, ZstdLevel};
use parquet::file::properties::WriterProperties;
use tidegate::core::{DEEPEST_NOTED, TypeName, check_depth};
use tidegate::{Error, Result};
use tidegate_formats::{CsvOptions, Encoder, Format};
use tidegate_sink_console::{Look, draw, left_out};

use super::args::{Global, RowFormat};
use super::out::unless_closed;
use super::progress::counted;

/// Where rows go.
pub(crate) struct Output {
    kind: Kind,
    // After what writes to it, so that it is removed last.
    file: Option<Unfinished>,
    rows: u64,
}

enum Kind {
    Table {
        schema: SchemaRef,
        batches: Vec<RecordBatch>,
        /// Rows that are shown; `None`: all.
        shown: Option<usize>,
        out: Box<dyn Write>,
        look: Look,
    },
    Text {
        encoder: Box<Encoder>,
        out: Box<dyn Write>,
    },
    Parquet(Box<ArrowWriter<File>>),
}

/// Whether more rows are wanted.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum More {
    Wanted,
    /// A table is full, or nobody reads on.
    Enough,
}

impl Output {
    /// Opens it. Errors: `Config` for Parquet on standard output, or a format that isn't said.
    pub(crate) fn open(
        global: &Global,
        format: Option<RowFormat>,
        path: Option<&Path>,
        shown: usize,
        schema: &SchemaRef,
    ) -> Result<Self> {
        let format = match (format, path) {
            (Some(format), _) => format,
            (None, Some(path)) => by_ending(path)?,
            (None, None) if io::stdout().is_terminal() => RowFormat::Table,
            (None, None) => RowFormat::Ndjson,
        };
        let file = path.map(Unfinished::new);
        let out = || -> Result<Box<dyn Write>> {
            Ok(match &file {
                Some(file) => Box::new(BufWriter::new(file.create()?)),
                None => Box::new(BufWriter::new(io::stdout())),
            })
        };
        let kind = match format {
            RowFormat::Table => Kind::Table {
                schema: schema.clone(),
                batches: Vec::new(),
                shown: (shown > 0).then_some(shown),
                out: out()?,
                look: match &file {
                    Some(_) => Look {
                        width: None,
                        bold: false,
                    },
                    None => Look::of_stdout(global.color_stdout()),
                },
            },
            RowFormat::Ndjson | RowFormat::Csv => {
                let format = match format {
                    RowFormat::Csv => Format::Csv,
                    _ => Format::Ndjson,
                };
                let mut encoder = Encoder::new(format, &CsvOptions::default(), schema)?;
                let mut out = out()?;
                let mut bytes = Vec::new();
                encoder.start(&mut bytes);
                let _ = out.write_all(&bytes);
                Kind::Text {
                    encoder: Box::new(encoder),
                    out,
                }
            }
            RowFormat::Parquet => {
                let Some(file) = &file else {
                    return Err(Error::config("Parquet can't be written to standard output")
                        .hint("name a file: --output rows.parquet"));
                };
                let properties = WriterProperties::builder()
                    .set_compression(Compression::ZSTD(ZstdLevel::default()))
                    .build();
                let options = ArrowWriterOptions::new()
                    .with_properties(properties)
                    .with_skip_arrow_metadata(check_depth(schema, DEEPEST_NOTED).is_err());
                let writer =
                    ArrowWriter::try_new_with_options(file.create()?, schema.clone(), options)
                        .map_err(|error| {
                            Error::schema("these columns can't be written as Parquet")
                                .because(error)
                        })?;
                Kind::Parquet(Box::new(writer))
            }
        };
        Ok(Self {
            kind,
            file,
            rows: 0,
        })
    }

    /// Rows so far.
    pub(crate) fn rows(&self) -> u64 {
        self.rows
    }

    /// Takes rows.
    pub(crate) fn write(&mut self, batch: RecordBatch) -> Result<More> {
        self.rows += batch.num_rows() as u64;
        match &mut self.kind {
            Kind::Table { batches, shown, .. } => {
                batches.push(batch);
                let full = shown.is_some_and(|shown| self.rows > shown as u64);
                Ok(if full { More::Enough } else { More::Wanted })
            }
            Kind::Text { encoder, out } => {
                let mut bytes = Vec::new();
                let rejected = encoder.encode(&batch, &mut bytes)?;
                if let Some(first) = rejected.rows.first() {
                    return Err(
                        Error::data(format!("a row can't be written: {}", first.reason)).hint(
                            "--format parquet can hold it, or let the query make something else of it",
                        ),
                    );
                }
                match out.write_all(&bytes) {
                    Ok(()) => Ok(More::Wanted),
                    Err(error) if error.kind() == io::ErrorKind::BrokenPipe => Ok(More::Enough),
                    Err(error) => Err(Error::io("the rows can't be written", error)),
                }
            }
            Kind::Parquet(writer) => {
                writer.write(&batch).map_err(unwritten)?;
                Ok(More::Wanted)
            }
        }
    }

    /// Writes what is left, and gives a file its name.
    pub(crate) fn finish(self) -> Result<()> {
        match self.kind {
            Kind::Table {
                schema,
                batches,
                shown,
                mut out,
                look,
            } => {
                let text = table(&schema, &batches, shown, look)?;
                written(out.write_all(text.as_bytes()).and_then(|()| out.flush()))?;
            }
            Kind::Text {
                mut encoder,
                mut out,
            } => {
                let mut bytes = Vec::new();
                encoder.finish(&mut bytes);
                written(out.write_all(&bytes).and_then(|()| out.flush()))?;
            }
            Kind::Parquet(writer) => {
                writer.close().map_err(unwritten)?;
            }
        }
        self.file.map_or(Ok(()), Unfinished::finish)
    }
}

/// A file as it is written, under another name until it is whole. It is removed if it never is: by an
/// error, a signal or a panic.
struct Unfinished {
    path: PathBuf,
    finished: PathBuf,
}

impl Unfinished {
    fn new(path: &Path) -> Self {
        let name = path.file_name().unwrap_or_default().to_string_lossy();
        Self {
            // Beside the file, so that it can be renamed.
            path: path.with_file_name(format!(".{name}.{}.tidegate-tmp", std::process::id())),
            finished: path.to_owned(),
        }
    }

    fn create(&self) -> Result<File> {
        File::create(&self.path).map_err(|error| {
            // A file that is called otherwise while it is written is nothing that was asked for.
            let path = self.finished.display();
            let missing = error.kind() == io::ErrorKind::NotFound;
            let error = Error::io("the file can't be made", error).with("path", path);
            match self.finished.parent() {
                Some(directory) if missing => {
                    let directory = directory.display();
                    error.hint(format!(
                        "there is no directory `{directory}`: make it first"
                    ))
                }
                _ => error,
            }
        })
    }

    fn finish(self) -> Result<()> {
        std::fs::rename(&self.path, &self.finished).map_err(|error| {
            Error::io("the rows can't be written", error).with("path", self.finished.display())
        })
    }
}

impl Drop for Unfinished {
    fn drop(&mut self) {
        // One that was finished has no such name any more.
        let _ = std::fs::remove_file(&self.path);
    }
}

fn written(result: io::Result<()>) -> Result<()> {
    unless_closed(result).map_err(|error| Error::io("the rows can't be written", error))
}

fn unwritten(error: parquet::errors::ParquetError) -> Error {
    Error::internal("the rows can't be written as Parquet").because(error)
}

fn by_ending(path: &Path) -> Result<RowFormat> {
    let ending = path.extension().map(|ending| ending.to_string_lossy());
    match ending.as_deref() {
        Some("parquet" | "pq") => Ok(RowFormat::Parquet),
        Some("csv") => Ok(RowFormat::Csv),
        Some("ndjson" | "jsonl" | "json") => Ok(RowFormat::Ndjson),
        Some("txt") => Ok(RowFormat::Table),
        _ => Err(Error::config("the file's name doesn't say its format")
            .with("path", path.display())
            .hint("give --format, or a name that ends in .parquet, .csv or .ndjson")),
    }
}

/// Rows for people: numbers to the right, as wide as the terminal at most.
fn table(
    schema: &SchemaRef,
    batches: &[RecordBatch],
    shown: Option<usize>,
    look: Look,
) -> Result<String> {
    let all: usize = batches.iter().map(RecordBatch::num_rows).sum();
    let count = shown.map_or(all, |shown| shown.min(all));
    let (table, hidden) = draw(schema, batches, count, look)?;
    let mut notes = Vec::new();
    if all > count {
        let first = counted(count as u64, "row");
        notes.push(format!("the first {first}; --rows shows more"));
    }
    notes.extend(left_out(0, hidden).map(|note| format!("{note}; --format ndjson has them all")));
    let mut text = format!("{table}\n");
    for note in notes {
        let note = match look.bold {
            true => note.dimmed().to_string(),
            false => note,
        };
        text.push_str(&note);
        text.push('\n');
    }
    Ok(text)
}

/// A type for people.
pub(crate) fn type_name(data_type: &DataType) -> String {
    TypeName::of_type(data_type).to_string()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_file_that_is_not_finished_is_removed() {
        let directory = tempfile::tempdir().expect("a directory");
        let path = directory.path().join("rows.csv");
        let names = || {
            let entries = std::fs::read_dir(directory.path())
                .expect("a directory")
                .flatten();
            entries.map(|entry| entry.file_name()).collect::<Vec<_>>()
        };
        let file = Unfinished::new(&path);
        file.create().expect("a file");
        assert_eq!(names().len(), 1);
        drop(file);
        assert!(names().is_empty());

        let file = Unfinished::new(&path);
        file.create().expect("a file");
        file.finish().expect("its name");
        assert_eq!(names(), ["rows.csv"]);
    }
}
