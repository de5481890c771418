//! Rows in the binary protocol to Arrow, on a worker's thread.

use std::sync::Arc;

use arrow_schema::SchemaRef;
use tidegate_core::{Decode, Decoded, Result};

use crate::types::{Column, Mapping};
use crate::wire::Chunk;

/// Decodes rows of one SELECT.
#[derive(Debug)]
pub(crate) struct Decoder {
    /// What comes out.
    schema: SchemaRef,
    columns: Vec<Column>,
    mapping: Mapping,
}

impl Decoder {
    /// For rows of these columns, in this order. The first `shown` of them become the batch's; the
    /// others (columns of a key that nobody asked for) are skipped.
    pub(crate) fn new(columns: Vec<Column>, shown: usize, mapping: Mapping) -> Result<Arc<Self>> {
        let _ = (columns, shown, mapping);
        unimplemented!("helper B")
    }

    pub(crate) fn schema(&self) -> &SchemaRef {
        &self.schema
    }

    /// The values of the columns at `positions` in a row, as literals of SQL that compare equal to
    /// them: what a resume stores. No column of a key is NULL.
    pub(crate) fn literals(&self, row: &[u8], positions: &[usize]) -> Result<Vec<String>> {
        let _ = (row, positions);
        unimplemented!("helper B")
    }

    /// A piece of work for a worker.
    pub(crate) fn work(self: &Arc<Self>, chunk: Chunk) -> Box<dyn Decode> {
        Box::new(Work {
            decoder: Arc::clone(self),
            chunk,
        })
    }
}

#[derive(Debug)]
struct Work {
    decoder: Arc<Decoder>,
    chunk: Chunk,
}

impl Decode for Work {
    fn size(&self) -> usize {
        self.chunk.size()
    }

    fn decode(self: Box<Self>) -> Result<Decoded> {
        let _ = (&self.decoder.columns, self.decoder.mapping);
        unimplemented!("helper B")
    }
}
