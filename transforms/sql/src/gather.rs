//! Queries that need all rows of their inputs.

use std::sync::Arc;

use arrow_schema::SchemaRef;
use async_trait::async_trait;
use tidegate_core::{BatchStream, Gather, Input, Result, Scan, StageInput};
use tidegate_sql::{Query, Resources, Table};

use crate::config::Scope;

/// A query that joins, aggregates, sorts or the like.
#[derive(Debug)]
pub(crate) struct SqlGather {
    query: Query,
    inputs: Vec<Input>,
    resources: Resources,
    scope: Option<Scope>,
}

impl SqlGather {
    pub(crate) fn new(
        query: Query,
        inputs: Vec<Input>,
        resources: Resources,
        scope: Option<Scope>,
    ) -> Self {
        Self {
            query,
            inputs,
            resources,
            scope,
        }
    }
}

#[async_trait]
impl Gather for SqlGather {
    fn schema(&self) -> SchemaRef {
        self.query.schema()
    }

    fn deterministic(&self) -> bool {
        self.query.deterministic()
    }

    fn ordered(&self) -> bool {
        self.query.ordered()
    }

    fn epoch_scoped(&self) -> bool {
        self.scope == Some(Scope::Epoch)
    }

    fn scan(&self, input: usize) -> Scan {
        self.query.scan(input)
    }

    fn streams(&self, input: usize) -> bool {
        self.query.streams(input)
    }

    async fn run(&self, inputs: Vec<StageInput>) -> Result<Vec<BatchStream>> {
        let tables: Vec<Table> = self
            .inputs
            .iter()
            .zip(inputs)
            .map(|(input, rows)| Table::new(Arc::clone(&input.name), &input.schema).with_rows(rows))
            .collect();
        self.query.run(&tables, &self.resources).await
    }
}
