//! What stands in the pipeline file.

use std::sync::Arc;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use tidegate_aws::AwsSettings;
use tidegate_catalog::CatalogTarget;
use tidegate_core::{
    ByteSize, Error, NewColumns, PlanState, Result, Source, SourceConfig, SourceContext,
    StreamName, async_trait,
};

use super::open::TableSource;
use crate::read::State;

/// Reads a table of a catalog: Parquet, NDJSON or CSV files in directories that the catalog knows.
///
/// It has one stream with the table's columns, its partition keys last. Where a consumer only
/// wants some partitions (`WHERE year = 2024`), the others aren't even listed, and of Parquet
/// files, row groups that can't have wanted rows aren't fetched.
///
/// A file's columns are found by name, whatever its case, and may come in any order; one that is
/// missing is NULL, and other types are turned into the table's. Where a crawl has guessed the types
/// of text, a value has to be written as values of its type are. A row with a value that the table's
/// type can't hold goes to `<id>.rejected`, with its file, its line (in Parquet its row,
/// from 0) and the reason. Of a row group that isn't fetched, nothing is rejected. Files and directories
/// that begin with `.`, or with `_` and have no `=`, aren't read.
#[derive(Debug, Clone, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct TableSourceConfig {
    /// The table, and which catalog knows it: `{ type = "glue", database = "retail", table =
    /// "sales" }`. `schema_policy` means nothing here: a table is read as it is.
    pub catalog: CatalogTarget,

    /// The stream's name. Default: the table's.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub stream: Option<String>,

    /// Whether a run reads only files that no run before it has read. Files are told apart by
    /// path, size and time of change (on S3 also by ETag): one that was changed is read again,
    /// whole.
    #[serde(default)]
    pub incremental: bool,

    /// What is done with columns that files have and the table hasn't: `ignore`, `reject` or `fail`.
    #[serde(default, skip_serializing_if = "NewColumns::is_default")]
    pub on_new_columns: NewColumns,

    /// How large the pieces are in which NDJSON and Parquet files are read.
    #[serde(default = "default_piece")]
    pub piece_size: ByteSize,

    /// How `s3://` is reached, where it isn't as the settings `[aws]` say.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub aws: Option<AwsSettings>,
}

fn default_piece() -> ByteSize {
    ByteSize(128 << 20)
}

impl TableSourceConfig {
    /// The stream's name.
    pub(super) fn stream(&self) -> &str {
        self.stream.as_deref().unwrap_or(&self.catalog.table)
    }
}

#[async_trait]
#[typetag::serde(name = "table")]
impl SourceConfig for TableSourceConfig {
    fn validate(&self) -> Result<()> {
        self.catalog.validate()?;
        let stream = self.stream();
        if stream.is_empty() || stream == StreamName::REJECTED {
            return Err(Error::config(format!("`{stream}` can't name a stream"))
                .hint("set `stream` to another name"));
        }
        if self.on_new_columns == NewColumns::Add {
            return Err(Error::config("a source can't add columns to a table")
                .with("key", "on_new_columns")
                .hint("`tidegate catalog crawl` does, and a sink with `schema_policy`"));
        }
        if self.piece_size.0 == 0 {
            return Err(Error::config("`piece_size` must be more than 0").with("key", "piece_size"));
        }
        Ok(())
    }

    async fn open(&self, cx: &SourceContext) -> Result<Arc<dyn Source>> {
        self.validate()?;
        Ok(Arc::new(TableSource::open(self, cx).await?))
    }

    fn understands(&self, state: &PlanState) -> Result<()> {
        match self.incremental {
            true => state.decode::<State>().map(drop),
            false => Ok(()),
        }
    }

    fn remembered_under(&self) -> Option<&'static str> {
        self.incremental.then_some(State::FILES)
    }
}
