//! Images of rows: from the way the binlog stores them to the way a SELECT sends them.
//!
//! So the decoder of the snapshot decodes changes too, and both give the same values.

use std::borrow::Cow;

use super::bytes::{Broken, Bytes, put_counted, put_measured};
use super::charset::Charset;
use super::event::{RowsKind, inflate};
use super::map::Stored;
use super::{json, values};

/// How a column's value is read, and written.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Conversion {
    /// The bytes as they are.
    Same(usize),
    Int24 {
        unsigned: bool,
    },
    Year,
    Date,
    OldTime,
    OldDateTime,
    OldTimestamp,
    Time(u8),
    DateTime(u8),
    Timestamp(u8),
    Decimal {
        precision: u8,
        scale: u8,
    },
    Bit(usize),
    /// A length of this many bytes, then text.
    Text {
        width: usize,
        charset: Charset,
        /// Spaces at the end are padding.
        padded: bool,
    },
    /// A length of this many bytes, then bytes; zeros follow up to so many.
    Bytes {
        width: usize,
        pad: usize,
    },
    /// The same of MariaDB's COMPRESSED columns.
    Compressed {
        width: usize,
        charset: Charset,
    },
    Uuid,
    Inet4,
    Inet6,
    Json {
        width: usize,
    },
    Enum {
        width: usize,
        members: Vec<String>,
    },
    Set {
        width: usize,
        members: Vec<String>,
    },
}

impl Conversion {
    /// Passes over a value, and gives its bytes.
    fn skip<'a>(&self, bytes: &mut Bytes<'a>) -> Result<&'a [u8], Broken> {
        let whole = bytes.0;
        match self {
            Self::Same(width) | Self::Bit(width) => bytes.take(*width)?,
            Self::Int24 { .. } | Self::Date | Self::OldTime => bytes.take(3)?,
            Self::Year => bytes.take(1)?,
            Self::OldDateTime => bytes.take(8)?,
            Self::OldTimestamp => bytes.take(4)?,
            Self::Time(fraction) => bytes.take(3 + values::fraction_width(*fraction))?,
            Self::DateTime(fraction) => bytes.take(5 + values::fraction_width(*fraction))?,
            Self::Timestamp(fraction) => bytes.take(4 + values::fraction_width(*fraction))?,
            Self::Decimal { precision, scale } => {
                bytes.take(values::decimal_width(*precision, *scale))?
            }
            Self::Enum { width, .. } | Self::Set { width, .. } => bytes.take(*width)?,
            Self::Uuid | Self::Inet4 | Self::Inet6 => prefixed(bytes, 1)?,
            Self::Text { width, .. }
            | Self::Bytes { width, .. }
            | Self::Compressed { width, .. }
            | Self::Json { width } => prefixed(bytes, *width)?,
        };
        Ok(&whole[..whole.len() - bytes.0.len()])
    }

    fn write(&self, bytes: &mut Bytes<'_>, out: &mut Vec<u8>) -> Result<(), Broken> {
        match self {
            Self::Same(width) => out.extend_from_slice(bytes.take(*width)?),
            Self::Int24 { unsigned } => {
                let value = bytes.take(3)?;
                let negative = !unsigned && value[2] & 0x80 != 0;
                out.extend_from_slice(value);
                out.push(if negative { 0xFF } else { 0 });
            }
            Self::Year => {
                let year = match bytes.u8()? {
                    0 => 0,
                    since => 1900 + u16::from(since),
                };
                out.extend_from_slice(&year.to_le_bytes());
            }
            Self::Date => values::date(bytes, out)?,
            Self::OldTime => values::old_time(bytes, out)?,
            Self::OldDateTime => values::old_datetime(bytes, out)?,
            Self::OldTimestamp => values::old_timestamp(bytes, out)?,
            Self::Time(fraction) => values::time(bytes, *fraction, out)?,
            Self::DateTime(fraction) => values::datetime(bytes, *fraction, out)?,
            Self::Timestamp(fraction) => values::timestamp(bytes, *fraction, out)?,
            Self::Decimal { precision, scale } => {
                values::decimal(bytes, *precision, *scale, out)?;
            }
            Self::Bit(width) => put_counted(out, bytes.take(*width)?),
            Self::Text {
                width,
                charset,
                padded,
            } => {
                let text = prefixed(bytes, *width)?;
                if *charset == Charset::Utf8 && !padded {
                    put_counted(out, text);
                } else {
                    put_measured(out, |out| {
                        let start = out.len();
                        charset.write(text, out)?;
                        while *padded && out.len() > start && out.last() == Some(&b' ') {
                            out.pop();
                        }
                        Ok(())
                    })?;
                }
            }
            Self::Bytes { width, pad } => put_padded(prefixed(bytes, *width)?, *pad, out),
            Self::Compressed { width, charset } => {
                let value = match prefixed(bytes, *width)? {
                    [] => Cow::Borrowed(&[][..]),
                    // Too short to be worth it.
                    [0, value @ ..] => Cow::Borrowed(value),
                    compressed => Cow::Owned(inflate(compressed)?),
                };
                put_measured(out, |out| charset.write(&value, out))?;
            }
            Self::Uuid => values::uuid(&padded::<16>(prefixed(bytes, 1)?)?, out)?,
            Self::Inet4 => values::inet4(&padded::<4>(prefixed(bytes, 1)?)?, out)?,
            Self::Inet6 => values::inet6(&padded::<16>(prefixed(bytes, 1)?)?, out)?,
            Self::Json { width } => {
                let document = prefixed(bytes, *width)?;
                put_measured(out, |out| json::write(document, out))?;
            }
            Self::Enum { width, members } => {
                // 0 is what became of a value that is no member; the server prints it as nothing.
                let index = usize::try_from(bytes.uint(*width)?).map_err(|_| Broken)?;
                let member = match index.checked_sub(1) {
                    None => "",
                    Some(at) => members.get(at).ok_or(Broken)?,
                };
                put_counted(out, member.as_bytes());
            }
            Self::Set { width, members } => {
                let bits = bytes.uint(*width)?;
                put_measured(out, |out| put_set(bits, members, out))?;
            }
        }
        Ok(())
    }
}

fn prefixed<'a>(bytes: &mut Bytes<'a>, width: usize) -> Result<&'a [u8], Broken> {
    let length = usize::try_from(bytes.uint(width)?).map_err(|_| Broken)?;
    bytes.take(length)
}

fn put_padded(value: &[u8], pad: usize, out: &mut Vec<u8>) {
    let length = value.len().max(pad);
    super::bytes::put_length(out, length);
    out.extend_from_slice(value);
    out.resize(out.len() + length - value.len(), 0);
}

fn padded<const N: usize>(value: &[u8]) -> Result<[u8; N], Broken> {
    let mut all = [0; N];
    all.get_mut(..value.len())
        .ok_or(Broken)?
        .copy_from_slice(value);
    Ok(all)
}

fn put_set(bits: u64, members: &[String], out: &mut Vec<u8>) -> Result<(), Broken> {
    let start = out.len();
    for at in 0..64 {
        if bits >> at & 1 == 1 {
            if out.len() > start {
                out.push(b',');
            }
            out.extend_from_slice(members.get(at).ok_or(Broken)?.as_bytes());
        }
    }
    Ok(())
}

/// The width of a length that says no more than `most`.
pub(super) fn length_width(most: u16) -> usize {
    if most > 255 { 2 } else { 1 }
}

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
    pub(super) value: Conversion,
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
            false => self.value.skip(bytes).map(Some),
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
                column.value.skip(bytes)?;
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
                (false, None) => drop(column.value.skip(&mut bytes)?),
                (false, Some(_)) => column.value.write(&mut bytes, out)?,
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
    pub(super) fn parse(kind: RowsKind, body: &'a [u8]) -> Result<Self, Broken> {
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
            true => Cow::Owned(inflate(bytes.rest())?),
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

/// The width in bytes of a fixed value; `None` for what has none.
pub(super) fn fixed_width(stored: Stored) -> Option<usize> {
    Some(match stored {
        Stored::Tiny => 1,
        Stored::Short => 2,
        Stored::Long | Stored::Float => 4,
        Stored::LongLong | Stored::Double => 8,
        _ => return None,
    })
}
