//! The keys of the pipeline file.

use std::sync::Arc;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use tidegate_core::{Error, Result, Source, SourceConfig, SourceContext, async_trait, typetag};

use crate::column::ColumnConfig;
use crate::source::GenerateSource;

/// Synthetic rows from a schema with a seed: a fixed number or unbounded, at a fixed rate or as fast as possible. They are
/// the stream `rows`, and the same in every run.
#[derive(Debug, Clone, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct GenerateConfig {
    /// How many rows. Without it, there is no end.
    #[serde(default)]
    pub rows: Option<u64>,
    /// Rows a second. Without it, as many as the sinks take.
    #[serde(default)]
    pub rate: Option<f64>,
    /// Another seed gives other rows.
    #[serde(default)]
    pub seed: u64,
    /// How many rows a batch has at most.
    #[serde(default = "batch_rows")]
    pub batch_rows: u32,
    /// The columns, in order.
    pub columns: Vec<ColumnConfig>,
}

fn batch_rows() -> u32 {
    16_384
}

#[async_trait]
#[typetag::serde(name = "generate")]
impl SourceConfig for GenerateConfig {
    fn validate(&self) -> Result<()> {
        if self.columns.is_empty() {
            return Err(Error::config("there are no columns to generate")
                .hint("for example: columns = [{ name = \"id\", type = \"sequence\" }]"));
        }
        if self.batch_rows == 0 {
            return Err(Error::config("`batch_rows` must be at least 1").with("key", "batch_rows"));
        }
        if self
            .rate
            .is_some_and(|rate| !(rate.is_finite() && rate >= 0.001))
        {
            let error = Error::config("`rate` is a number of rows a second, at least 0.001");
            return Err(error.with("key", "rate"));
        }
        let mut names = std::collections::BTreeSet::new();
        for (at, column) in self.columns.iter().enumerate() {
            let key = format!("columns.{at}");
            let column = column.build(self.seed);
            let column = column.map_err(|error| error.with("key", &key))?;
            let name = column.field.name();
            if !names.insert(name.clone()) {
                let error = Error::config(format!("two columns are named `{name}`"));
                return Err(error.with("key", key));
            }
        }
        Ok(())
    }

    async fn open(&self, cx: &SourceContext) -> Result<Arc<dyn Source>> {
        self.validate()?;
        Ok(Arc::new(GenerateSource::new(self, cx.parallelism)?))
    }

    fn tuning_keys(&self) -> &'static [&'static str] {
        &["batch_rows", "rate"]
    }
}
