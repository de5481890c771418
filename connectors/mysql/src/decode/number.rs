//! Numbers and booleans.

use std::sync::Arc;

use arrow_array::types::ArrowPrimitiveType;
use arrow_array::{ArrayRef, BooleanArray, PrimitiveArray};
use arrow_buffer::BooleanBuffer;
use arrow_schema::DataType;
use tidegate_core::Result;

use super::block::{Bad, Block, Build, Fault, Marks};
use super::read::{fixed, run};

/// A column of values of one size in Arrow, whatever they are on the wire.
pub(super) struct Primitives<A: ArrowPrimitiveType, F> {
    kind: DataType,
    values: Vec<A::Native>,
    marks: Marks,
    take: F,
}

impl<A, F> Primitives<A, F>
where
    A: ArrowPrimitiveType,
    F: Fn(&[u8], &mut usize) -> Result<A::Native, Fault>,
{
    /// `take` reads a value.
    pub(super) fn new(kind: DataType, rows: usize, marks: Marks, take: F) -> Self {
        Self {
            kind,
            values: Vec::with_capacity(rows),
            marks,
            take,
        }
    }
}

impl<A, F> Build for Primitives<A, F>
where
    A: ArrowPrimitiveType,
    F: Fn(&[u8], &mut usize) -> Result<A::Native, Fault>,
{
    fn take(&mut self, block: &mut Block<'_>) {
        fill(&mut self.values, &mut self.marks, block, &self.take);
    }

    fn finish(mut self: Box<Self>) -> Result<(ArrayRef, Vec<Bad>)> {
        let array = PrimitiveArray::<A>::try_new(self.values.into(), self.marks.nulls())?;
        Ok((Arc::new(array.with_data_type(self.kind)), self.marks.bad))
    }
}

/// Takes a block's values, one for each row.
#[inline(always)]
fn fill<T: Default>(
    values: &mut Vec<T>,
    marks: &mut Marks,
    block: &mut Block<'_>,
    take: impl Fn(&[u8], &mut usize) -> Result<T, Fault>,
) {
    let first = block.first();
    block.each(take, |row, value| {
        values.push(marks.settle(first + row, value));
    });
}

/// A column of booleans.
pub(super) struct Truths<F> {
    values: Vec<bool>,
    marks: Marks,
    take: F,
}

impl<F: Fn(&[u8], &mut usize) -> Result<bool, Fault>> Truths<F> {
    pub(super) fn new(rows: usize, marks: Marks, take: F) -> Self {
        Self {
            values: Vec::with_capacity(rows),
            marks,
            take,
        }
    }
}

impl<F: Fn(&[u8], &mut usize) -> Result<bool, Fault>> Build for Truths<F> {
    fn take(&mut self, block: &mut Block<'_>) {
        fill(&mut self.values, &mut self.marks, block, &self.take);
    }

    fn finish(mut self: Box<Self>) -> Result<(ArrayRef, Vec<Bad>)> {
        let values = BooleanBuffer::from(self.values);
        let array = BooleanArray::new(values, self.marks.nulls());
        Ok((Arc::new(array), self.marks.bad))
    }
}

/// A TINYINT(1) that is a boolean. What it says beyond 0 and 1 would be lost.
#[inline(always)]
pub(super) fn truth(bytes: &[u8], at: &mut usize) -> Result<bool, Fault> {
    match fixed(bytes, at) {
        [0] => Ok(false),
        [1] => Ok(true),
        _ => Err(Fault::NeitherTrueNorFalse),
    }
}

/// A BIT: its bytes, the most significant one first.
#[inline(always)]
pub(super) fn bits(bytes: &[u8], at: &mut usize) -> Result<u64, Fault> {
    let run = run(bytes, at);
    let mut value = [0; 8];
    let place = 8_usize.checked_sub(run.len()).ok_or(Fault::TooManyBits)?;
    value[place..].copy_from_slice(run);
    Ok(u64::from_be_bytes(value))
}
