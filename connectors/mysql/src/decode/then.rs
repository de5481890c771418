//! What is done to rows when they are decoded.

use arrow_array::RecordBatch;
use tidegate_core::{Decode, Decoded, Result};

/// The same work, with each of its batches changed.
pub(crate) fn then(
    work: Box<dyn Decode>,
    change: impl Fn(&RecordBatch) -> Result<RecordBatch> + Send + 'static,
) -> Box<dyn Decode> {
    Box::new(Then { work, change })
}

struct Then<F> {
    work: Box<dyn Decode>,
    change: F,
}

impl<F: Fn(&RecordBatch) -> Result<RecordBatch> + Send> Decode for Then<F> {
    fn size(&self) -> usize {
        self.work.size()
    }

    fn decode(self: Box<Self>) -> Result<Decoded> {
        let mut decoded = self.work.decode()?;
        for batch in &mut decoded.batches {
            *batch = (self.change)(batch)?;
        }
        Ok(decoded)
    }
}
