//! What stands in the pipeline file.

use std::sync::Arc;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use tidegate_aws::AwsSettings;
use tidegate_catalog::CatalogTarget;
use tidegate_core::{
    ByteSize, Error, Result, Sink, SinkConfig, SinkContext, TableFormat, async_trait,
};
use tidegate_formats::{Compression, CsvOptions, Format};

use super::open::FilesSink;
use super::template::Template;

/// Writes files: NDJSON, JSON, CSV, Parquet, or payloads byte for byte.
///
/// Files appear when their epoch is committed, whole and exactly once. Each input has files of its
/// own.
#[derive(Debug, Clone, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct FilesSinkConfig {
    /// A directory, or a file's name with its extension: a path (relative to the pipeline file), or a
    /// `file://` or `s3://` url. `{stream}` is the input's name (`shop.sales`), `{table}` the same
    /// without its component's (`sales`); `{date}` (`2024-02-29`), `{hour}` (`07`) and
    /// `{%Y/%m/%d}` (any strftime pattern) tell the time at which the epoch began.
    ///
    /// What tells files apart (`<lineage>-<run>-<sink>-<epoch>-<number>`) stands where `{part}` does, or
    /// before the extension: `users.ndjson` becomes `users-….ndjson`, and a directory has
    /// `part-….ndjson`. With `mode = "overwrite"`, no `{part}`, and one input or a `url` that tells
    /// inputs apart, a name that only one file of the run has is used as it stands.
    pub url: String,

    /// The zone of the times in `url`: a name of the IANA time zone database (`"Europe/Berlin"`), or an
    /// offset (`"+02:00"`). Default: UTC. Where clocks go back, two hours have the same name.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub time_zone: Option<String>,

    /// What the files hold. Default: by the extension of `url`, else `ndjson`. With `raw`, each
    /// row becomes a file of its own: the bytes of its only binary or text column, or of the one
    /// named `payload`, `body` or `data`.
    #[serde(default)]
    pub format: Option<Format>,

    /// With `raw`: rows go into files together, each ended by a newline. Newlines within a row that is
    /// JSON become spaces; another row that holds any is rejected. Default: each row becomes a file.
    #[serde(default)]
    pub newline: bool,

    /// How the files are compressed. Default: by the extension of `url`, else not at all.
    #[serde(default)]
    pub compression: Option<Compression>,

    /// How CSV looks.
    #[serde(default)]
    pub csv: CsvOptions,

    /// What happens to files that are there already.
    #[serde(default)]
    pub mode: Mode,

    /// About how large a file gets before the next one is begun.
    #[serde(default = "default_file_size")]
    pub target_file_size: ByteSize,

    /// The table that the files are, in a catalog: `{ type = "glue", database = "shop", table =
    /// "clicks" }`. The format must be `ndjson`, `csv` or `parquet`, and all inputs must have the
    /// same columns.
    ///
    /// The table lies in the directory before the first placeholder, which is its alone; directories
    /// below it must be `key=value`, and become its partition keys, of text: `url =
    /// "lake/clicks/date={date}/hour={hour}"`. Columns are compared with the table's before the
    /// first row, as `schema_policy` says; columns and partitions are added when files have
    /// appeared, and what others added stays. Types become those that every engine reads, as in
    /// the sink `parquet`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub catalog: Option<CatalogTarget>,

    /// How `s3://` is reached, where it isn't as the settings `[aws]` say.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub aws: Option<AwsSettings>,
}

fn default_file_size() -> ByteSize {
    ByteSize(128_000_000)
}

/// What happens to files that are there already.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum Mode {
    /// They stay; new files are added with each commit.
    #[default]
    Append,
    /// At the end of the run the new files replace those of this `url` that earlier runs of this
    /// sink wrote. Files of other names stay, also those of other dates.
    Overwrite,
}

impl FilesSinkConfig {
    pub(super) fn format(&self) -> Format {
        let by_name = || Format::from_path(&self.url);
        self.format.or_else(by_name).unwrap_or(Format::Ndjson)
    }

    pub(super) fn compression(&self) -> Compression {
        self.compression
            .unwrap_or_else(|| Compression::from_path(&self.url))
    }

    /// How a catalog knows files of this format.
    pub(super) fn table_format(&self) -> Result<TableFormat> {
        let unread = |what: &str| {
            Error::config(format!("a table of a catalog can't have {what}"))
                .hint("engines that read the table know double quotes, and empty text as NULL")
        };
        match self.format() {
            Format::Parquet => Ok(TableFormat::Parquet),
            Format::Ndjson => Ok(TableFormat::Ndjson),
            Format::Csv if self.csv.quote != '"' => Err(unread("another `csv.quote`")),
            Format::Csv if !self.csv.null.is_empty() => Err(unread("a `csv.null`")),
            Format::Csv => Ok(TableFormat::Csv {
                delimiter: self.csv.named(&self.url).delimiter.unwrap_or(','),
                header: self.csv.header,
                quoted: true,
            }),
            other => Err(Error::config(format!(
                "files of the format `{}` can't be a table of a catalog",
                other.name()
            ))
            .with("key", "format")
            .hint("choose ndjson, csv or parquet")),
        }
    }
}

#[async_trait]
#[typetag::serde(name = "files")]
impl SinkConfig for FilesSinkConfig {
    fn validate(&self) -> Result<()> {
        let csv = self.csv.validate();
        csv.map_err(|error| error.with("key", "csv"))?;
        Template::parse(self)?;
        if self.target_file_size.0 == 0 {
            let error = Error::config("`target_file_size` must be more than 0");
            return Err(error.with("key", "target_file_size"));
        }
        if self.newline && self.format() != Format::Raw {
            return Err(Error::config("`newline` is for `format = \"raw\"`")
                .with("key", "newline")
                .hint("other formats end their records themselves"));
        }
        if self.format() == Format::Parquet && self.compression() != Compression::None {
            return Err(Error::config("Parquet files are compressed inside")
                .with("key", "compression")
                .hint("leave `compression` out"));
        }
        if let Some(catalog) = &self.catalog {
            catalog.validate()?;
            self.table_format()?;
            Template::parse(self)?.keys("stream")?;
        }
        Ok(())
    }

    async fn open(&self, cx: &SinkContext) -> Result<Arc<dyn Sink>> {
        self.validate()?;
        Ok(Arc::new(FilesSink::open(self, cx).await?))
    }

    fn tuning_keys(&self) -> &'static [&'static str] {
        &["target_file_size"]
    }
}
