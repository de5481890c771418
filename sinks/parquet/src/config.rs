//! What stands in the pipeline file.

use std::sync::Arc;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use tidegate_aws::AwsSettings;
use tidegate_catalog::CatalogTarget;
use tidegate_core::{ByteSize, Error, Result, Sink, SinkConfig, SinkContext, async_trait};

use crate::properties;
use crate::sink::ParquetSink;

/// Writes Parquet files, partitioned into directories if asked.
///
/// Files appear when their epoch is committed, whole and exactly once. All inputs must have the
/// same columns.
#[derive(Debug, Clone, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct ParquetConfig {
    /// The directory: a path (relative to the pipeline file), or a `file://` or `s3://` url. It is made if it
    /// isn't there.
    pub url: String,

    /// Columns by whose values rows go into directories, outermost first: `yr_num=2024/wk_num=7/…`.
    /// These columns are not in the files. Special characters are percent-encoded as Hive and
    /// Spark do; NULL and empty text become `__HIVE_DEFAULT_PARTITION__`.
    #[serde(default)]
    pub partition_by: Vec<String>,

    /// What happens to files that are there already.
    #[serde(default)]
    pub mode: Mode,

    /// How pages are compressed.
    #[serde(default)]
    pub compression: ParquetCompression,

    /// How hard to compress: 1 to 22 for zstd (default 1), 0 to 9 for gzip (default 6). The
    /// others have no levels.
    #[serde(default)]
    pub compression_level: Option<u32>,

    /// About how large a file gets before the next one is begun.
    #[serde(default = "default_file_size")]
    pub target_file_size: ByteSize,

    /// The most rows of a row group. A row group also ends where memory says so.
    #[serde(default = "default_row_group_rows")]
    #[schemars(range(min = 1))]
    pub row_group_rows: usize,

    /// Whether the files have types that every engine reads alike.
    #[serde(default)]
    pub types: Types,

    /// How columns are called in the files and their directories. A catalog may go further: Glue has
    /// lower-case names only.
    #[serde(default)]
    pub names: Names,

    /// The table that the files are: `{ type = "glue", database = "retail", table = "sales_inv" }`.
    /// It lies at `url`, and is made if it isn't there.
    ///
    /// Before the first row its columns are compared with the table's, and `schema_policy` says
    /// what becomes of a difference; a text where the table has a number, another place or other
    /// partition keys are refused. Each commit first shows its files, then adds their columns and
    /// partitions to the table, and never takes away what others added; an overwriting run ends by
    /// removing partitions that have no files any more. A run without rows makes the table too.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub catalog: Option<CatalogTarget>,

    /// How `s3://` is reached, where it isn't as the settings `[aws]` say.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub aws: Option<AwsSettings>,
}

fn default_file_size() -> ByteSize {
    ByteSize(256_000_000)
}

fn default_row_group_rows() -> usize {
    1 << 20
}

/// What happens to files that are there already.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum Mode {
    /// They stay; new files are added with each commit.
    #[default]
    Append,
    /// At the end of the run the new files replace all Parquet files under `url`, also when there
    /// are no rows.
    Overwrite,
    /// At the end of the run the new files replace the Parquet files of the partitions that got
    /// rows; other partitions stay.
    OverwritePartitions,
}

/// Which types the files have.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum Types {
    /// Those that Athena, Spark, Trino and DuckDB all read alike: unsigned integers become signed
    /// ones twice as wide (64 bits: a decimal of 20 digits), times have milliseconds or
    /// microseconds and the zone UTC, durations are integers, decimals have 38 digits at most. A
    /// row whose nanoseconds would be lost is rejected.
    #[default]
    Portable,
    /// Those that the rows have, with notes that Arrow's own readers understand. Not for tables of
    /// a `catalog`.
    Exact,
}

/// How columns are called.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum Names {
    /// As the input has them.
    #[default]
    AsIs,
    /// In lower case. Two names that differ only by case are an error.
    Lower,
}

impl Names {
    /// The name in the files.
    pub(crate) fn of(self) -> fn(&str) -> String {
        match self {
            Self::AsIs => str::to_owned,
            Self::Lower => str::to_lowercase,
        }
    }
}

/// How pages are compressed.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum ParquetCompression {
    /// Small and fast.
    #[default]
    Zstd,
    /// Fast, larger; read by everything.
    Snappy,
    /// Slow; read by everything.
    Gzip,
    /// Fastest, larger.
    Lz4,
    /// Not at all.
    None,
}

#[async_trait]
#[typetag::serde(name = "parquet")]
impl SinkConfig for ParquetConfig {
    fn validate(&self) -> Result<()> {
        properties::compression(self)?;
        let mut columns = self.partition_by.clone();
        columns.sort();
        if let Some(twice) = columns.windows(2).find(|pair| pair[0] == pair[1]) {
            let error = Error::config(format!("`partition_by` has `{}` twice", twice[0]));
            return Err(error.with("key", "partition_by"));
        }
        if self.mode == Mode::OverwritePartitions && self.partition_by.is_empty() {
            return Err(
                Error::config("`mode = \"overwrite_partitions\"` needs `partition_by`")
                    .hint("to replace everything, use mode = \"overwrite\""),
            );
        }
        let sizes = [
            ("row_group_rows", self.row_group_rows == 0),
            ("target_file_size", self.target_file_size.0 == 0),
        ];
        if let Some((key, _)) = sizes.into_iter().find(|(_, is_nothing)| *is_nothing) {
            return Err(Error::config(format!("`{key}` must be more than 0")).with("key", key));
        }
        if let Some(catalog) = &self.catalog {
            catalog.validate()?;
            if self.types == Types::Exact {
                return Err(Error::config("a table of a catalog can't have `types = \"exact\"`")
                    .with("key", "types")
                    .hint("leave `types` out: every engine that asks the catalog must read the files"));
            }
        }
        Ok(())
    }

    async fn open(&self, cx: &SinkContext) -> Result<Arc<dyn Sink>> {
        self.validate()?;
        Ok(Arc::new(ParquetSink::open(self, cx).await?))
    }

    fn tuning_keys(&self) -> &'static [&'static str] {
        &[
            "compression",
            "compression_level",
            "target_file_size",
            "row_group_rows",
        ]
    }
}
