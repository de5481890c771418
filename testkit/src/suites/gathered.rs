//! The rows of a stage's input, in memory.

use arrow_array::RecordBatch;
use arrow_schema::SchemaRef;
use futures::StreamExt;
use tidegate_core::{BatchStream, Error, Gathered, Result, batch_bytes};

/// All rows of one input of a `Gather`, in memory, in partitions.
#[derive(Debug, Clone)]
pub struct MemoryGathered {
    schema: SchemaRef,
    partitions: Vec<Vec<RecordBatch>>,
}

impl MemoryGathered {
    /// With these partitions; each is a list of batches of `schema`.
    pub fn new(schema: SchemaRef, partitions: Vec<Vec<RecordBatch>>) -> Self {
        Self { schema, partitions }
    }
}

impl Gathered for MemoryGathered {
    fn schema(&self) -> SchemaRef {
        self.schema.clone()
    }

    fn rows(&self) -> u64 {
        let batches = self.partitions.iter().flatten();
        batches.map(|batch| batch.num_rows() as u64).sum()
    }

    fn bytes(&self) -> u64 {
        let batches = self.partitions.iter().flatten();
        batches.map(|batch| batch_bytes(batch) as u64).sum()
    }

    fn partitions(&self) -> usize {
        self.partitions.len()
    }

    fn open(&self, partition: usize) -> Result<BatchStream> {
        let batches = self
            .partitions
            .get(partition)
            .ok_or_else(|| Error::internal(format!("there is no partition {partition}")))?;
        Ok(futures::stream::iter(batches.clone().into_iter().map(Ok)).boxed())
    }
}
