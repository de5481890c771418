//! Some rows, and how far each of them has been read.

use arrow_array::ArrayRef;
use arrow_buffer::{BooleanBuffer, Buffer, NullBuffer};
use tidegate_core::{Error, Result};

use crate::wire::RowBounds;

/// About how many bytes of rows a block has: they stay in the first cache while all columns pass.
const BYTES: usize = 24 << 10;
/// At most and at least so many rows.
const MOST: usize = 512;
const LEAST: usize = 16;

/// How many rows of this average size make a block.
pub(super) fn rows_of_a_block(bytes: usize, rows: usize) -> usize {
    (BYTES / (bytes / rows.max(1)).max(1)).clamp(LEAST, MOST)
}

/// Why a value can't be taken.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Fault {
    /// A date that no calendar has becomes NULL; this is not a fault of the row.
    Null,
    NotInCalendar,
    NotUtf8,
    NeitherTrueNorFalse,
    NotADecimal,
    TooManyDigits,
    TooManyBits,
    TooManyHours,
    NotAGeometry,
    NullInNotNull,
}

/// A row that can't be taken: its number, and the column that says no.
#[derive(Debug, Clone, Copy)]
pub(super) struct Bad {
    pub(super) row: usize,
    pub(super) column: usize,
    pub(super) why: Fault,
}

/// From where to where a row goes.
#[inline(always)]
pub(super) fn bounds((start, end): RowBounds) -> (usize, usize) {
    // On every platform that we are built for, usize has at least 32 bits.
    (
        usize::try_from(start).unwrap_or(usize::MAX),
        usize::try_from(end).unwrap_or(usize::MAX),
    )
}

/// Rows that lie one behind the other in a chunk.
#[derive(Debug)]
pub(super) struct Block<'a> {
    pub(super) bytes: &'a [u8],
    rows: &'a [RowBounds],
    /// The number of its first row in the batch.
    first: usize,
    /// Where each row is read up to.
    at: Vec<usize>,
    /// The column whose values are next.
    column: usize,
    /// For each byte of the rows' bits of NULLs: which are set in any of the rows.
    any_null: Vec<u8>,
}

impl<'a> Block<'a> {
    pub(super) fn new(
        bytes: &'a [u8],
        rows: &'a [RowBounds],
        first: usize,
        columns: usize,
    ) -> Result<Self> {
        // Two bits in front are not used.
        let bitmap = (columns + 2).div_ceil(8);
        let mut any_null = vec![0; bitmap];
        let mut at = Vec::with_capacity(rows.len());
        for row in rows {
            let (start, end) = bounds(*row);
            let start = start + 1;
            let bits = bytes
                .get(start..start + bitmap)
                .filter(|_| start + bitmap <= end)
                .ok_or_else(broken)?;
            for (any, bits) in any_null.iter_mut().zip(bits) {
                *any |= bits;
            }
            at.push(start + bitmap);
        }
        Ok(Self {
            bytes,
            rows,
            first,
            at,
            column: 0,
            any_null,
        })
    }

    /// Whether all rows were read to their ends, neither less nor more: else the columns aren't
    /// what we take them for.
    pub(super) fn finish(self) -> Result<()> {
        let ended = self
            .at
            .iter()
            .zip(self.rows)
            .all(|(at, row)| *at == bounds(*row).1);
        ended.then_some(()).ok_or_else(broken)
    }

    /// Continues to the next column.
    pub(super) fn next(&mut self) {
        self.column += 1;
    }

    /// Where in a row's payload the next column's bit of NULL is.
    fn bit(&self) -> (usize, u8) {
        let bit = self.column + 2;
        (1 + bit / 8, 1 << (bit % 8))
    }

    /// Takes the next column's value of every row: `take` reads one that isn't NULL, `put` gets each
    /// with the row's number in the block.
    ///
    /// `put` of `Ok(None)` is a NULL.
    #[inline(always)]
    pub(super) fn each<T>(
        &mut self,
        take: impl Fn(&'a [u8], &mut usize) -> T,
        mut put: impl FnMut(usize, Option<T>),
    ) {
        let (byte, mask) = self.bit();
        if self
            .any_null
            .get(byte - 1)
            .is_none_or(|any| any & mask == 0)
        {
            for (row, at) in self.at.iter_mut().enumerate() {
                put(row, Some(take(self.bytes, at)));
            }
            return;
        }
        let rows = self.at.iter_mut().zip(self.rows).enumerate();
        for (row, (at, range)) in rows {
            let bits = self
                .bytes
                .get(bounds(*range).0 + byte)
                .copied()
                .unwrap_or(0);
            put(row, (bits & mask == 0).then(|| take(self.bytes, at)));
        }
    }
}

/// The rows don't have the shape of the columns.
pub(super) fn broken() -> Error {
    Error::internal("a row that the server sent doesn't fit the table's columns")
        .hint("was the table altered in this moment? Then run again")
}

/// What all columns' builders share: which rows are NULL, and which are bad.
#[derive(Debug)]
pub(super) struct Marks {
    column: usize,
    nullable: bool,
    /// How many rows the batch will have.
    rows: usize,
    /// A bit per row, set where there is a value; none while there was no NULL.
    valid: Option<Vec<u8>>,
    pub(super) bad: Vec<Bad>,
}

impl Marks {
    pub(super) fn new(column: usize, nullable: bool, rows: usize) -> Self {
        Self {
            column,
            nullable,
            rows,
            valid: None,
            bad: Vec::new(),
        }
    }

    /// A NULL that the server sent.
    #[inline]
    pub(super) fn null(&mut self, row: usize) {
        if !self.nullable {
            self.fault(row, Fault::NullInNotNull);
        }
        self.clear(row);
    }

    /// What stands in a row for a value: itself, or anything where it can't be taken.
    #[inline(always)]
    pub(super) fn settle<T: Default>(&mut self, row: usize, value: Option<Result<T, Fault>>) -> T {
        match value {
            Some(Ok(value)) => return value,
            Some(Err(fault)) => self.fault(row, fault),
            None => self.null(row),
        }
        T::default()
    }

    #[cold]
    pub(super) fn fault(&mut self, row: usize, why: Fault) {
        if why == Fault::Null {
            return self.clear(row);
        }
        self.bad.push(Bad {
            row,
            column: self.column,
            why,
        });
    }

    #[inline]
    fn clear(&mut self, row: usize) {
        let rows = self.rows;
        let valid = self
            .valid
            .get_or_insert_with(|| vec![0xFF; rows.div_ceil(8)]);
        if let Some(byte) = valid.get_mut(row / 8) {
            *byte &= !(1 << (row % 8));
        }
    }

    pub(super) fn nulls(&mut self) -> Option<NullBuffer> {
        let bits = Buffer::from_vec(self.valid.take()?);
        Some(NullBuffer::new(BooleanBuffer::new(bits, 0, self.rows)))
    }
}

/// Makes one column of a batch.
pub(super) trait Build {
    /// Takes its values from a block.
    fn take(&mut self, block: &mut Block<'_>);

    /// The column, and the rows that it can't take: each has some value there all the same.
    fn finish(self: Box<Self>) -> Result<(ArrayRef, Vec<Bad>)>;
}

/// Reads over a column that nobody asked for.
#[derive(Debug)]
pub(super) struct Skip(pub(super) fn(&[u8], &mut usize));

impl Skip {
    pub(super) fn take(&self, block: &mut Block<'_>) {
        block.each(self.0, |_, _| {});
    }
}

impl Block<'_> {
    /// The number in the batch of its first row.
    pub(super) fn first(&self) -> usize {
        self.first
    }

    /// How many rows it has.
    pub(super) fn len(&self) -> usize {
        self.rows.len()
    }
}
