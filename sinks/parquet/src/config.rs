//! What stands in the pipeline file.

use std::sync::Arc;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use tidegate_aws::AwsSettings;
use tidegate_core::{ByteSize, Error, Result, Sink, SinkConfig, SinkContext, async_trait};

use crate::properties;
use crate::sink::ParquetSink;

/// Writes Parquet files, partitioned into folders if asked.
///
/// Files appear when their epoch is committed, whole and exactly once. All inputs must have the
/// same columns.
#[derive(Debug, Clone, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct ParquetConfig {
    /// The folder: a path (relative to the pipeline file), or a `file://` or `s3://` url. It is made if it
    /// isn't there.
    pub url: String,

    /// Columns by whose values rows go into folders, outermost first: `yr_num=2024/wk_num=7/…`.
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
            return Err(Error::config(format!(
                "`partition_by` has `{}` twice",
                twice[0]
            )));
        }
        if self.mode == Mode::OverwritePartitions && self.partition_by.is_empty() {
            return Err(
                Error::config("`mode = \"overwrite_partitions\"` needs `partition_by`")
                    .hint("to replace everything, use mode = \"overwrite\""),
            );
        }
        if self.row_group_rows == 0 || self.target_file_size.0 == 0 {
            return Err(Error::config(
                "`row_group_rows` and `target_file_size` must be more than 0",
            ));
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
