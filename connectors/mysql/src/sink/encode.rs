//! Rows as the values of an INSERT.

use arrow_array::RecordBatch;
use tidegate_core::{Error, Result};

use super::literal::Cells;
use super::target::Slot;

/// A batch whose rows can be written one by one.
#[derive(Debug)]
pub(super) struct Rows<'a> {
    columns: Vec<(&'a Slot, Cells)>,
}

impl<'a> Rows<'a> {
    /// The batch's columns go into `slots`, in this order.
    pub(super) fn new(batch: &RecordBatch, slots: &'a [Slot]) -> Result<Self> {
        if batch.num_columns() != slots.len() {
            return Err(Error::internal(format!(
                "a batch of {} columns came to a sink of {}",
                batch.num_columns(),
                slots.len()
            )));
        }
        let fields = batch.schema_ref().fields().iter();
        let columns = fields
            .zip(batch.columns())
            .zip(slots)
            .map(|((field, array), slot)| Ok((slot, Cells::new(field, array)?)))
            .collect::<Result<_>>()?;
        Ok(Self { columns })
    }

    /// Appends `(1,'a',NULL)`; nothing, and why, for a row that can't be taken.
    pub(super) fn write(&self, row: usize, out: &mut Vec<u8>) -> Result<(), String> {
        let before = out.len();
        out.push(b'(');
        for (at, (slot, cells)) in self.columns.iter().enumerate() {
            if at > 0 {
                out.push(b',');
            }
            if let Err(why) = cells.write(row, slot, out) {
                out.truncate(before);
                return Err(format!("column `{}`: the value {why}", slot.name));
            }
        }
        out.push(b')');
        Ok(())
    }
}
