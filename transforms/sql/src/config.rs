//! What the pipeline file says.

use std::sync::Arc;

use async_trait::async_trait;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use tidegate_core::{
    ByteSize, Error, Result, Transform, TransformConfig, TransformContext, typetag,
};
use tidegate_sql::{Query, Resources, Table};

use crate::gather::SqlGather;
use crate::map::SqlMap;

/// A SQL query over the inputs.
///
/// An input is a table of the same name: `shop.sales`, `weekly`, `weekly.rejected`; where it means
/// only one, `sales` is enough. Names are as written: `userId` needs no quotes. Fields of nested
/// columns are `address['city']` or `address.geo.lat`; `unnest(tags)` gives a row for each element.
/// `1.5` is an exact decimal; a division by zero is an error, so say `x / nullif(y, 0)`.
///
/// A query that only filters and projects one input works row by row: a row that it can't compute
/// (a text that is no number) is rejected, and the others go on. Every other query needs all rows
/// of its inputs: a bounded run that has one starts again from the beginning after a crash, and a
/// row that it can't compute ends the run.
#[derive(Debug, Clone, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct SqlConfig {
    /// One SELECT, optionally with CTEs, in DataFusion's dialect.
    pub query: String,
    /// Which rows a query that needs all of them sees. In an unbounded pipeline it must be
    /// said: `"epoch"` is the rows between two checkpoints.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub scope: Option<Scope>,
    /// How much memory the query may use; what doesn't fit goes to disk. Default: the component's
    /// share of the pipeline's memory.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub memory: Option<ByteSize>,
}

/// What a query that needs all rows can sort and join large tables in, on disk.
const LEAST: ByteSize = ByteSize(900_000);

/// The memory of a query that needs all rows, by the key or as the component's share. Errors:
/// `Config` for a share in which it can't do its work.
fn memory(given: Option<ByteSize>, share: u64) -> Result<u64> {
    match given {
        Some(given) => Ok(given.0),
        None if share >= LEAST.0 => Ok(share),
        None => Err(Error::config(format!(
            "a query that needs all rows of its inputs needs at least {LEAST} of memory, and has {}",
            ByteSize(share)
        ))
        .hint("raise `memory` in `[runtime]`, of which it is a quarter: by default it is 192 MB")),
    }
}

/// Says which key of the table the error's line and column are in.
fn in_query(error: Error) -> Error {
    error.with("key", "query")
}

/// Which rows a query sees that needs all of them.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum Scope {
    /// Those between two checkpoints.
    Epoch,
}

#[async_trait]
#[typetag::serde(name = "sql")]
impl TransformConfig for SqlConfig {
    fn validate(&self) -> Result<()> {
        tidegate_sql::parse(&self.query).map_err(in_query)
    }

    async fn open(&self, cx: &TransformContext) -> Result<Transform> {
        let tables = cx
            .inputs
            .iter()
            .map(|input| Table::new(Arc::clone(&input.name), &input.schema))
            .collect();
        let query = Query::plan(&self.query, tables).await.map_err(in_query)?;
        if query.program().is_some() {
            return Ok(Transform::Map(Arc::new(SqlMap::new(query))));
        }
        let resources = Resources {
            memory: memory(self.memory, cx.common.memory)?,
            scratch: cx.common.scratch.to_path_buf(),
            spill: cx.common.spill,
            partitions: cx.common.parallelism,
        };
        Ok(Transform::Gather(Arc::new(SqlGather::new(
            query,
            cx.inputs.clone(),
            resources,
            self.scope,
        ))))
    }

    fn tuning_keys(&self) -> &'static [&'static str] {
        &["memory"]
    }
}
