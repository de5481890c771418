//! Texts and bytes.

use std::marker::PhantomData;
use std::sync::Arc;

use arrow_array::types::{BinaryType, ByteArrayType, Utf8Type};
use arrow_array::{ArrayRef, GenericByteArray};
use arrow_buffer::{Buffer, OffsetBuffer, ScalarBuffer};
use tidegate_core::{Error, Result};

use super::block::{Bad, Block, Build, Fault, Marks};
use super::date::Moment;
use super::print::print_moment;
use super::read::{peek, run};
use crate::types::Type;

/// Short values are copied so many bytes at once, whatever their length: a call of memcpy costs
/// more than the bytes that are too many.
const AT_ONCE: usize = 16;

/// A vector of bytes that is filled from the front.
#[derive(Debug, Default)]
struct Filled {
    /// Longer than what is filled.
    bytes: Vec<u8>,
    used: usize,
}

impl Filled {
    /// Room for at least so many bytes more.
    fn reserve(&mut self, more: usize) {
        let length = self.used + more;
        if length > self.bytes.len() {
            self.bytes.resize(length, 0);
        }
    }

    /// So many bytes more will come, about.
    fn expect(&mut self, more: usize) {
        let length = self.bytes.len();
        self.bytes
            .reserve((self.used + more).saturating_sub(length));
    }

    #[inline(always)]
    fn push(&mut self, value: &[u8]) {
        let end = self.used + value.len();
        match self.bytes.get_mut(self.used..end) {
            Some(place) => place.copy_from_slice(value),
            None => self.grow(value),
        }
        self.used = end;
    }

    #[cold]
    fn grow(&mut self, value: &[u8]) {
        self.bytes.truncate(self.used);
        self.bytes.extend_from_slice(value);
    }

    /// A value that lies in `bytes` from `at` on.
    #[inline(always)]
    fn push_from(&mut self, bytes: &[u8], at: usize, value: &[u8]) {
        if value.len() <= AT_ONCE
            && let Some(whole) = peek::<AT_ONCE>(bytes, at)
            && let Some(place) = self.bytes.get_mut(self.used..)
            && let Some(place) = place.first_chunk_mut()
        {
            *place = whole;
            self.used += value.len();
            return;
        }
        self.push(value);
    }
}

/// A column of texts (or bytes), `B` being the Arrow type of it.
#[derive(Debug)]
pub(super) struct Runs<B> {
    values: Filled,
    /// Where each value ends, behind a 0.
    offsets: Vec<i32>,
    marks: Marks,
    rows: usize,
    /// So many bytes in front of each value are none of it.
    prefix: usize,
    kind: PhantomData<B>,
}

impl<B> Runs<B> {
    pub(super) fn new(rows: usize, prefix: usize, marks: Marks) -> Self {
        Self {
            values: Filled::default(),
            offsets: offsets(rows),
            marks,
            rows,
            prefix,
            kind: PhantomData,
        }
    }
}

impl<B: Finish> Build for Runs<B> {
    fn take(&mut self, block: &mut Block<'_>) {
        let Self {
            values,
            offsets,
            marks,
            prefix,
            ..
        } = self;
        let (first, bytes, prefix) = (block.first(), block.bytes, *prefix);
        // As long as all are short, nothing more has to be made room for.
        values.reserve((block.len() + 1) * AT_ONCE);
        block.each(
            |bytes, at| {
                let value = run(bytes, at);
                (at.wrapping_sub(value.len()), value)
            },
            |row, value| {
                match value {
                    Some((at, value)) if prefix == 0 => values.push_from(bytes, at, value),
                    Some((_, value)) => match value.get(prefix..) {
                        Some(value) => values.push(value),
                        None => marks.fault(first + row, Fault::NotAGeometry),
                    },
                    None => marks.null(first + row),
                }
                offsets.push(end(values.used));
            },
        );
        if first == 0 {
            // As the first block, so the others.
            let all = values.used / block.len().max(1) * self.rows;
            values.expect(all.saturating_sub(values.used));
        }
    }

    fn finish(mut self: Box<Self>) -> Result<(ArrayRef, Vec<Bad>)> {
        self.values.bytes.truncate(self.values.used);
        B::finish(self.values.bytes, self.offsets, self.marks)
    }
}

fn offsets(rows: usize) -> Vec<i32> {
    let mut offsets = Vec::with_capacity(rows + 1);
    offsets.push(0);
    offsets
}

/// An end as Arrow keeps it. That the last one fits is seen when the array is made.
#[inline(always)]
fn end(used: usize) -> i32 {
    i32::try_from(used).unwrap_or(i32::MAX)
}

/// Makes the array.
pub(super) trait Finish: ByteArrayType<Offset = i32> {
    fn finish(values: Vec<u8>, offsets: Vec<i32>, marks: Marks) -> Result<(ArrayRef, Vec<Bad>)>;
}

impl Finish for BinaryType {
    fn finish(values: Vec<u8>, offsets: Vec<i32>, marks: Marks) -> Result<(ArrayRef, Vec<Bad>)> {
        array::<Self>(values, offsets, marks)
    }
}

impl Finish for Utf8Type {
    fn finish(
        values: Vec<u8>,
        offsets: Vec<i32>,
        mut marks: Marks,
    ) -> Result<(ArrayRef, Vec<Bad>)> {
        let (values, offsets) = buffers(values, offsets)?;
        let nulls = marks.nulls();
        // All texts are looked at together, and only if one is bad each by itself.
        let array =
            GenericByteArray::<Self>::try_new(offsets.clone(), values.clone(), nulls.clone());
        let array = match array {
            Ok(array) => array,
            Err(_) => {
                let (values, offsets) = without_faults(&values, &offsets, &mut marks);
                let (values, offsets) = buffers(values, offsets)?;
                GenericByteArray::try_new(offsets, values, nulls)?
            }
        };
        Ok((Arc::new(array), marks.bad))
    }
}

fn buffers(values: Vec<u8>, offsets: Vec<i32>) -> Result<(Buffer, OffsetBuffer<i32>)> {
    if i32::try_from(values.len()).is_err() {
        // Batches are cut long before.
        return Err(Error::internal("a batch has more bytes of text than fit"));
    }
    let offsets = OffsetBuffer::new(ScalarBuffer::from(offsets));
    Ok((Buffer::from_vec(values), offsets))
}

#[cold]
fn without_faults(values: &[u8], offsets: &[i32], marks: &mut Marks) -> (Vec<u8>, Vec<i32>) {
    let mut kept = Vec::with_capacity(values.len());
    let mut ends = self::offsets(offsets.len());
    for (row, two) in offsets.windows(2).enumerate() {
        let [start, stop] = [two[0], two[1]].map(|at| usize::try_from(at).unwrap_or(0));
        let value = values.get(start..stop).unwrap_or_default();
        match std::str::from_utf8(value) {
            Ok(_) => kept.extend_from_slice(value),
            Err(_) => marks.fault(row, Fault::NotUtf8),
        }
        ends.push(end(kept.len()));
    }
    (kept, ends)
}

fn array<B: ByteArrayType<Offset = i32>>(
    values: Vec<u8>,
    offsets: Vec<i32>,
    mut marks: Marks,
) -> Result<(ArrayRef, Vec<Bad>)> {
    let (values, offsets) = buffers(values, offsets)?;
    let array = GenericByteArray::<B>::try_new(offsets, values, marks.nulls())?;
    Ok((Arc::new(array), marks.bad))
}

/// A column of dates as texts.
#[derive(Debug)]
pub(super) struct PrintedDates {
    kind: Type,
    values: String,
    offsets: Vec<i32>,
    marks: Marks,
}

impl PrintedDates {
    pub(super) fn new(kind: Type, rows: usize, marks: Marks) -> Self {
        Self {
            kind,
            values: String::new(),
            offsets: offsets(rows),
            marks,
        }
    }
}

impl Build for PrintedDates {
    fn take(&mut self, block: &mut Block<'_>) {
        let Self {
            kind,
            values,
            offsets,
            marks,
        } = self;
        let first = block.first();
        block.each(Moment::take, |row, value| {
            match value {
                Some(moment) => print_moment(*kind, moment, values),
                None => marks.null(first + row),
            }
            offsets.push(end(values.len()));
        });
    }

    fn finish(self: Box<Self>) -> Result<(ArrayRef, Vec<Bad>)> {
        array::<Utf8Type>(self.values.into_bytes(), self.offsets, self.marks)
    }
}
