//! What stands in the pipeline file.

use std::sync::Arc;
use std::time::Duration;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use tidegate_aws::AwsSettings;
use tidegate_core::{
    ByteSize, Error, NewColumns, PlanState, Result, Source, SourceConfig, SourceContext, Span,
    StreamName, async_trait,
};
use tidegate_formats::{Compression, CsvOptions, Format, SchemaSpec};
use tidegate_storage::{FileMeta, Storage};

use super::open::FilesSource;
use crate::read::{OnFileError, State};

/// Reads files: NDJSON, JSON, CSV, Parquet, or bytes as they are.
///
/// It has one stream, named by `stream`. Files are read in the order of their names, several at
/// once, and big ones in pieces. A row that can't be taken goes to `<id>.rejected` with its file,
/// line and reason.
#[derive(Debug, Clone, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct FilesSourceConfig {
    /// A path (relative to the pipeline file), or a `file://` or `s3://` url: of a file, of a directory (all
    /// files in it and below, but those that begin with `.`, or with `_` and have no `=`), or with `*`,
    /// `?` and `[..]` within a name and `**` over directories. A name that is there is taken as it is, even
    /// with such characters. Nothing found is an error, unless `watch` is set.
    pub url: String,

    /// What the files hold. Default: by their extension (`.ndjson`, `.jsonl`, `.json`, `.csv`, `.tsv`,
    /// `.parquet`, `.bin`, each perhaps followed by `.gz` or `.zst`). A `raw` file becomes one row
    /// with one column, `payload`.
    #[serde(default)]
    pub format: Option<Format>,

    /// How the files are compressed. Default: by each one's extension.
    #[serde(default)]
    pub compression: Option<Compression>,

    /// How CSV looks.
    #[serde(default)]
    pub csv: CsvOptions,

    /// The columns. Default: found out from the beginnings of up to 64 files from all over (of
    /// Parquet, from all files). A file that contradicts them is an error that names the file and
    /// the column.
    ///
    /// Directories named as partitions are, `year=2024`, give columns too, the last ones, as in
    /// `tidegate query`: integers, dates or text, NULL where a file's path has no such directory. Where
    /// `schema` is given, only those that it names. A directory's value counts where the files have
    /// the column as well.
    #[serde(default)]
    pub schema: SchemaSpec,

    /// What is done with columns that only later records and files have, so that they were not found
    /// out. Default: `ignore`; where `schema` is given, columns that it doesn't name are ignored
    /// without a warning.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub on_new_columns: Option<NewColumns>,

    /// The stream's name.
    #[serde(default = "default_stream")]
    pub stream: String,

    /// Whether a run reads only files that no run before it has read. Files are told apart by
    /// path, size and time of change (on S3 also by ETag): one that was changed is read again,
    /// whole.
    #[serde(default)]
    pub incremental: bool,

    /// Whether to run forever and take files as they arrive; implies `incremental`. A file is
    /// taken once it has stood still for `poll`; better rename it into place when it is whole.
    #[serde(default)]
    pub watch: bool,

    /// How often `watch` looks for files.
    #[serde(default = "default_poll")]
    pub poll: Span,

    /// What becomes of a file that can't be read: a truncated or damaged one, one with other columns, one
    /// that may not be read, one that changes or goes while it is read. Single rows that can't be
    /// taken are not meant: those go to `<id>.rejected`.
    ///
    /// With `skip` and `quarantine`, the rows of the file before the place that can't be read stay,
    /// and what comes after it is left out. The file is told in the log, in the summary and in the report,
    /// and is a row of the stream `<id>.failed_files` (`path`, `size`, `modified`, `error`,
    /// `rows_committed`, `at`), which a sink may read. A source that remembers files looks at it again
    /// when it has changed, and reads it whole then. Files are not read in pieces. On S3, a
    /// refused request ends the run all the same, because it may be the credentials.
    #[serde(default)]
    pub on_file_error: OnFileError,

    /// Where `on_file_error = "quarantine"` moves files that can't be read, once that is committed: a
    /// directory of the same file system or bucket as `url`, which `url` doesn't cover. A file keeps
    /// its name, with its directories below the fixed part of `url`; if that name is taken there, its
    /// time is added.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub quarantine: Option<String>,

    /// How large the pieces are in which NDJSON and Parquet files are read.
    #[serde(default = "default_piece")]
    pub piece_size: ByteSize,

    /// How `s3://` is reached, where it isn't as the settings `[aws]` say.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub aws: Option<AwsSettings>,
}

fn default_stream() -> String {
    "rows".to_owned()
}

fn default_poll() -> Span {
    Span(Duration::from_secs(1))
}

fn default_piece() -> ByteSize {
    ByteSize(128 << 20)
}

impl FilesSourceConfig {
    /// Whether files that were read are remembered between runs.
    pub(super) fn remembers(&self) -> bool {
        self.incremental || self.watch
    }

    /// The format of the files, by the key or by a file's extension.
    pub(super) fn format_of(&self, path: &str) -> Result<Format> {
        self.format
            .or_else(|| Format::from_path(path))
            .ok_or_else(|| {
                Error::config("the format can't be told from the file's name")
                    .with("path", path)
                    .hint("set `format` to ndjson, json, csv, parquet or raw")
            })
    }

    /// What is done with columns that weren't found out; `None`: they don't matter.
    pub(super) fn on_new(&self) -> Option<NewColumns> {
        match (self.on_new_columns, self.schema.is_empty()) {
            (None, false) => None,
            (policy, _) => Some(policy.unwrap_or_default()),
        }
    }

    /// Whether a file may have rows: without a byte, only a raw one has.
    pub(super) fn has_rows(&self, storage: &Storage, file: &FileMeta) -> bool {
        file.size > 0 || matches!(self.format_of(&storage.show(&file.key)), Ok(Format::Raw))
    }

    /// Whether the columns that are given are told by their places in the file. Other formats than
    /// CSV have no `header` to leave out.
    pub(super) fn by_position(&self) -> bool {
        !self.schema.is_empty() && !self.csv.header
    }

    pub(super) fn compression_of(&self, path: &str) -> Compression {
        self.compression
            .unwrap_or_else(|| Compression::from_path(path))
    }
}

#[async_trait]
#[typetag::serde(name = "files")]
impl SourceConfig for FilesSourceConfig {
    fn validate(&self) -> Result<()> {
        let csv = self.csv.validate();
        csv.map_err(|error| error.with("key", "csv"))?;
        if self.stream.is_empty() || StreamName::is_aside(&self.stream) {
            let error = Error::config(format!("`{}` can't name a stream", self.stream));
            return Err(error.with("key", "stream"));
        }
        match (self.on_file_error, &self.quarantine) {
            (OnFileError::Quarantine, None) => {
                let error = Error::config("`on_file_error = \"quarantine\"` needs a directory");
                return Err(error
                    .with("key", "on_file_error")
                    .hint("name one that `url` doesn't cover: quarantine = \"bad/\""));
            }
            (OnFileError::Fail | OnFileError::Skip, Some(_)) => {
                let error = Error::config("nothing is moved to `quarantine`");
                return Err(error
                    .with("key", "quarantine")
                    .hint("set on_file_error = \"quarantine\", or leave it out"));
            }
            _ => {}
        }
        if self.piece_size.0 == 0 {
            return Err(Error::config("`piece_size` must be more than 0").with("key", "piece_size"));
        }
        if self.poll.0.is_zero() {
            return Err(Error::config("`poll` must be more than 0").with("key", "poll"));
        }
        if self.format == Some(Format::Parquet)
            && !matches!(self.compression, None | Some(Compression::None))
        {
            return Err(Error::config("Parquet files are compressed inside")
                .with("key", "compression")
                .hint("leave `compression` out"));
        }
        if !self.schema.is_empty() {
            let schema = self.schema.to_arrow();
            schema.map_err(|error| error.with("key", "schema"))?;
            if self.on_new_columns == Some(NewColumns::Add) {
                return Err(
                    Error::config("columns can't be added to a `schema` that is given")
                        .with("key", "on_new_columns")
                        .hint("leave out `schema`, or name all columns in it"),
                );
            }
        }
        Ok(())
    }

    async fn open(&self, cx: &SourceContext) -> Result<Arc<dyn Source>> {
        self.validate()?;
        Ok(Arc::new(FilesSource::open(self, cx).await?))
    }

    fn tuning_keys(&self) -> &'static [&'static str] {
        // A file that ended a run may be passed over by the same run, begun again.
        &["poll", "on_file_error", "quarantine"]
    }

    fn understands(&self, state: &PlanState) -> Result<()> {
        match self.remembers() {
            true => state.decode::<State>().map(drop),
            false => Ok(()),
        }
    }
}
