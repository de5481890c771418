//! The keys of the pipeline file.

use std::sync::Arc;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use tidegate_core::{Result, Sink, SinkConfig, SinkContext, async_trait, typetag};

use crate::sink::ConsoleSink;

/// Rows on standard output: a table of the first ones, or NDJSON for pipes.
#[derive(Debug, Clone, Default, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct ConsoleConfig {
    /// `table` shows the first rows of each input, `ndjson` every row as a line of JSON.
    #[serde(default)]
    pub format: Format,
    /// How many rows a table shows. Default: 20.
    #[serde(default)]
    pub rows: Option<u32>,
}

/// How rows are shown.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum Format {
    /// A table of the first rows.
    #[default]
    Table,
    /// Every row, as a line of JSON.
    Ndjson,
}

#[async_trait]
#[typetag::serde(name = "console")]
impl SinkConfig for ConsoleConfig {
    async fn open(&self, cx: &SinkContext) -> Result<Arc<dyn Sink>> {
        let out = Box::new(crate::terminal::Terminal);
        Ok(Arc::new(ConsoleSink::new(self, &cx.inputs, out)))
    }

    fn tuning_keys(&self) -> &'static [&'static str] {
        &["format", "rows"]
    }
}
