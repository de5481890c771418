//! Images of rows: from the way the binlog stores them to the way a SELECT sends them.
//!
//! So the decoder of the snapshot decodes changes too, and both give the same values.

use std::borrow::Cow;

use super::bytes::{Broken, Bytes, Unfit};
use super::conversion::Conversion;
use super::event::{RowsKind, inflate};
use super::stored::Stored;

/// Rows that are read by a table's map.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Layout {
    /// The columns of the map, in its order.
    pub(super) columns: Vec<LaidOut>,
    /// How many values come out: the highest `slot` and one.
    pub(super) shown: usize,
}

/// A column of the map.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct LaidOut {
    pub(super) stored: Stored,
    pub(super) conversion: Conversion,
    /// Which one it is of the values that come out; `None` if it doesn't. In rising order.
    pub(super) slot: Option<usize>,
    /// Whether it tells rows apart.
    pub(super) key: bool,
}

impl LaidOut {
    /// The bytes of its value; `None` for NULL.
    fn value_of<'a>(
        &self,
        image: Image<'_>,
        at: usize,
        bytes: &mut Bytes<'a>,
    ) -> Result<Option<&'a [u8]>, Broken> {
        match is_null(image.nulls, at) {
            true => Ok(None),
            false => self.stored.take(bytes).map(Some),
        }
    }
}

/// One image of a row: what it is before, or after.
#[derive(Debug, Clone, Copy)]
pub(super) struct Image<'a> {
    nulls: &'a [u8],
    values: &'a [u8],
}

impl Layout {
    /// Takes an image from the front.
    fn image<'a>(&self, bytes: &mut Bytes<'a>) -> Result<Image<'a>, Broken> {
        let nulls = bytes.take(self.columns.len().div_ceil(8))?;
        let values = bytes.0;
        for (at, column) in self.columns.iter().enumerate() {
            if !is_null(nulls, at) {
                column.stored.take(bytes)?;
            }
        }
        Ok(Image {
            nulls,
            values: &values[..values.len() - bytes.0.len()],
        })
    }

    /// Whether two images are of the same row, as far as the key tells. Without a key none is.
    pub(super) fn same_key(&self, one: Image<'_>, other: Image<'_>) -> Result<bool, Broken> {
        let (mut these, mut those) = (Bytes(one.values), Bytes(other.values));
        let mut has_key = false;
        for (at, column) in self.columns.iter().enumerate() {
            let this = column.value_of(one, at, &mut these)?;
            let that = column.value_of(other, at, &mut those)?;
            if column.key {
                has_key = true;
                if this != that {
                    return Ok(false);
                }
            }
        }
        Ok(has_key)
    }

    /// Appends the row in the binary protocol: the byte 0, the bits of NULLs, the values. `more` is
    /// how many values the caller appends behind them, none of them NULL.
    pub(super) fn write(
        &self,
        image: Image<'_>,
        more: usize,
        out: &mut Vec<u8>,
    ) -> Result<(), Broken> {
        let start = out.len() + 1;
        // The bits of NULLs begin with the third bit.
        out.resize(start + (self.shown + more + 2).div_ceil(8), 0);
        let mut bytes = Bytes(image.values);
        for (at, column) in self.columns.iter().enumerate() {
            match (is_null(image.nulls, at), column.slot) {
                (true, None) => {}
                (true, Some(slot)) => {
                    let bit = slot + 2;
                    *out.get_mut(start + bit / 8).ok_or(Broken)? |= 1 << (bit % 8);
                }
                (false, slot) => {
                    let value = column.stored.take(&mut bytes)?;
                    if slot.is_some() {
                        column.conversion.write(column.stored, value, out)?;
                    }
                }
            }
        }
        Ok(())
    }
}

fn is_null(nulls: &[u8], at: usize) -> bool {
    nulls
        .get(at / 8)
        .is_some_and(|byte| byte >> (at % 8) & 1 == 1)
}

/// The rows of an event.
#[derive(Debug)]
pub(super) struct RowsBody<'a> {
    /// Whether every column is in every image.
    pub(super) whole: bool,
    columns: usize,
    data: Cow<'a, [u8]>,
}

/// The number that stands for a map that lists no columns: it ends a statement that did nothing.
pub(super) const NO_TABLE: u64 = 0x00FF_FFFF;

impl<'a> RowsBody<'a> {
    /// `most`: the most bytes of the images, if these are compressed.
    pub(super) fn parse(kind: RowsKind, body: &'a [u8], most: usize) -> Result<Self, Unfit> {
        let mut bytes = Bytes(body);
        // The table's number, which the caller has looked at, and flags.
        bytes.take(6 + 2)?;
        if kind.extra {
            let length = usize::from(bytes.u16()?);
            bytes.take(length.checked_sub(2).ok_or(Broken)?)?;
        }
        let columns = bytes.length()?;
        let mut whole = is_all(bytes.take(columns.div_ceil(8))?, columns);
        if kind.change == super::event::Change::Update {
            whole &= is_all(bytes.take(columns.div_ceil(8))?, columns);
        }
        let data = match kind.compressed {
            false => Cow::Borrowed(bytes.rest()),
            true => Cow::Owned(inflate(bytes.rest(), most)?),
        };
        Ok(Self {
            whole,
            columns,
            data,
        })
    }

    /// The images, one after the other: of an update each row's before and after.
    pub(super) fn images<'b>(
        &'b self,
        layout: &'b Layout,
    ) -> Result<impl Iterator<Item = Result<Image<'b>, Broken>>, Broken> {
        if self.columns != layout.columns.len() {
            return Err(Broken);
        }
        let mut bytes = Bytes(&self.data);
        Ok(std::iter::from_fn(move || {
            (!bytes.is_empty()).then(|| layout.image(&mut bytes))
        }))
    }
}

fn is_all(bits: &[u8], count: usize) -> bool {
    (0..count).all(|at| is_null(bits, at))
}
