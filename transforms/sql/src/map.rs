//! Queries that take one row at a time.

use arrow_array::RecordBatch;
use arrow_schema::SchemaRef;
use arrow_select::concat::concat_batches;
use tidegate_core::{Error, Map, Mapped, Rejected, Result, Scan};
use tidegate_sql::{Failure, Program, Query};

use crate::row;

/// A query that only filters and projects.
#[derive(Debug)]
pub(crate) struct SqlMap {
    query: Query,
}

impl SqlMap {
    /// Of a query that has a program.
    pub(crate) fn new(query: Query) -> Self {
        Self { query }
    }
}

impl Map for SqlMap {
    fn schema(&self) -> SchemaRef {
        self.query.schema()
    }

    fn deterministic(&self) -> bool {
        self.query.deterministic()
    }

    fn scan(&self, input: usize) -> Scan {
        self.query.scan(input)
    }

    fn rejects_whole_rows(&self) -> bool {
        true
    }

    fn map(&self, input: usize, batch: &RecordBatch) -> Result<Mapped> {
        let mut mapped = Mapped::default();
        let Some(compiled) = self.query.program() else {
            return Err(Error::internal("this query has no program"));
        };
        if input != compiled.table() || batch.num_rows() == 0 {
            return Ok(mapped);
        }
        // In a pipeline that runs for weeks, `now()` is the time of the batch, not of the start.
        let fresh;
        let program = if self.query.of_its_time() {
            fresh = self.query.program_now()?;
            &fresh
        } else {
            compiled
        };
        let mut pieces = Vec::new();
        compute(program, batch, 0, &mut pieces, &mut mapped.rejected)?;
        let shape = self.query.shape();
        let mut fitting = pieces
            .iter()
            .filter(|piece| piece.num_rows() > 0)
            .map(|piece| shape.fit(piece))
            .collect::<Result<Vec<_>>>()?;
        if fitting.len() > 1 {
            fitting = vec![concat_batches(&self.schema(), &fitting)?];
        }
        mapped.batches = fitting;
        Ok(mapped)
    }
}

/// Computes the batch, whose first row is the `first`; where a row stands in the way, halves it until
/// that row is alone.
fn compute(
    program: &Program,
    batch: &RecordBatch,
    first: usize,
    pieces: &mut Vec<RecordBatch>,
    rejected: &mut Rejected,
) -> Result<()> {
    match (program.run(batch), batch.num_rows()) {
        (Ok(piece), _) => pieces.push(piece),
        (Err(Failure::Other(error)), _) => return Err(error),
        (Err(Failure::Value(reason)), 1) => {
            rejected.push_of_batch(first, row::json(batch)?, reason);
        }
        (Err(Failure::Value(_)), rows) => {
            let half = rows / 2;
            let (head, tail) = (batch.slice(0, half), batch.slice(half, rows - half));
            compute(program, &head, first, pieces, rejected)?;
            compute(program, &tail, first + half, pieces, rejected)?;
        }
    }
    Ok(())
}
