//! Columns of fixed-width values.

use std::marker::PhantomData;
use std::sync::Arc;

use arrow_array::types::{ArrowPrimitiveType, Date32Type};
use arrow_array::{ArrayRef, BooleanArray, PrimitiveArray};
use arrow_buffer::{BooleanBufferBuilder, NullBufferBuilder, i256};
use arrow_schema::{DataType, TimeUnit};
use tidegate_core::Result;

use super::Fault;
use super::column::Build;
use super::exact;
use super::json::{Cursor, Type};
use super::number::{Integer, Number};
use super::time;

/// How the values of a column are read.
pub(crate) trait Parse {
    /// The Arrow type.
    type Arrow: ArrowPrimitiveType;

    /// From the JSON value that stands at the cursor, not `null`.
    fn json(
        &self,
        cursor: &mut Cursor<'_>,
        data_type: &DataType,
    ) -> Result<<Self::Arrow as ArrowPrimitiveType>::Native, Fault> {
        // What has no form of its own in JSON is a string there.
        if cursor.peek() == Some(b'"') {
            return self.text(cursor.text()?, data_type);
        }
        Err(Fault::value(cursor.raw()?, data_type))
    }

    /// From text alone.
    fn text(
        &self,
        text: &[u8],
        data_type: &DataType,
    ) -> Result<<Self::Arrow as ArrowPrimitiveType>::Native, Fault>;
}

/// A column of fixed-width values.
pub(crate) struct Primitive<P: Parse> {
    values: Vec<<P::Arrow as ArrowPrimitiveType>::Native>,
    nulls: NullBufferBuilder,
    parse: P,
    data_type: DataType,
}

impl<P: Parse> Primitive<P> {
    pub(crate) fn new(parse: P, data_type: &DataType, capacity: usize) -> Self {
        Self {
            values: Vec::with_capacity(capacity),
            nulls: NullBufferBuilder::new(capacity),
            parse,
            data_type: data_type.clone(),
        }
    }
}

impl<P: Parse> Build for Primitive<P> {
    fn truncate(&mut self, length: usize) {
        self.values.truncate(length);
        self.nulls.truncate(length);
    }

    fn append_null(&mut self) {
        self.values.push(Default::default());
        self.nulls.append_null();
    }

    #[inline]
    fn append_json(&mut self, cursor: &mut Cursor<'_>) -> Result<(), Fault> {
        self.values.push(self.parse.json(cursor, &self.data_type)?);
        self.nulls.append_non_null();
        Ok(())
    }

    #[inline]
    fn append_text(&mut self, text: &[u8]) -> Result<(), Fault> {
        self.values.push(self.parse.text(text, &self.data_type)?);
        self.nulls.append_non_null();
        Ok(())
    }

    fn finish(&mut self) -> Result<ArrayRef> {
        let values = std::mem::take(&mut self.values).into();
        let array = PrimitiveArray::<P::Arrow>::try_new(values, self.nulls.finish())?;
        Ok(Arc::new(array.with_data_type(self.data_type.clone())))
    }
}

/// Integers: also written as a float where that is whole.
pub(crate) struct Int<T>(pub(crate) PhantomData<T>);

impl<T> Int<T>
where
    T: ArrowPrimitiveType,
    T::Native: Integer,
{
    #[inline]
    fn of(number: Number, text: &[u8], data_type: &DataType) -> Result<T::Native, Fault> {
        let value = if number.exact && number.integer {
            T::Native::from_parts(number.negative, number.mantissa)
        } else {
            Self::wide(number, text)
        };
        value.ok_or_else(|| Fault::range(text, data_type))
    }

    #[cold]
    fn wide(number: Number, text: &[u8]) -> Option<T::Native> {
        number.to_i128(text).and_then(T::Native::from_wide)
    }
}

/// Floats of 64 bits. JSON has no infinities: they are strings there.
pub(crate) struct Float64;

/// Floats of 32 bits.
pub(crate) struct Float32;

/// Decimals of 128 bits: exactly what is written.
pub(crate) struct Decimal128 {
    pub(crate) precision: u8,
    pub(crate) scale: i8,
}

/// Decimals of 256 bits.
pub(crate) struct Decimal256 {
    pub(crate) precision: u8,
    pub(crate) scale: i8,
}

/// A number in JSON, or a string that holds one; the same alone.
macro_rules! numeric {
    ($type:ty, $arrow:ty, [$($generics:tt)*], [$($bounds:tt)*], |$self:ident, $number:ident, $text:ident, $data_type:ident| $of:expr) => {
        impl<$($generics)*> Parse for $type where $($bounds)* {
            type Arrow = $arrow;

            #[inline]
            fn json(
                &$self,
                cursor: &mut Cursor<'_>,
                $data_type: &DataType,
            ) -> Result<<$arrow as ArrowPrimitiveType>::Native, Fault> {
                if let Some(b'0'..=b'9' | b'-') = cursor.peek() {
                    let ($number, $text) = cursor.number()?;
                    return $of;
                }
                if cursor.type_here()? == Type::Text {
                    return $self.text(cursor.text()?, $data_type);
                }
                Err(Fault::value(cursor.raw()?, $data_type))
            }

            #[inline]
            fn text(
                &$self,
                $text: &[u8],
                $data_type: &DataType,
            ) -> Result<<$arrow as ArrowPrimitiveType>::Native, Fault> {
                let whole = $text;
                let $text = whole.trim_ascii();
                match Number::text($text) {
                    Some($number) => $of,
                    None => Self::other($text).ok_or_else(|| Fault::value(whole, $data_type)),
                }
            }
        }
    };
}

/// What else than digits a number may be.
trait Other<N> {
    fn other(_: &[u8]) -> Option<N> {
        None
    }
}

impl<T: ArrowPrimitiveType> Other<T::Native> for Int<T> {}
impl Other<i128> for Decimal128 {}
impl Other<i256> for Decimal256 {}

impl Other<f64> for Float64 {
    fn other(text: &[u8]) -> Option<f64> {
        special(text)
    }
}

impl Other<f32> for Float32 {
    #[expect(
        clippy::cast_possible_truncation,
        reason = "infinities and NaN stay what they are"
    )]
    fn other(text: &[u8]) -> Option<f32> {
        special(text).map(|value| value as f32)
    }
}

/// The floats that are not numbers, by the names that other programs give them.
fn special(text: &[u8]) -> Option<f64> {
    let (sign, name) = match text {
        [b'-', name @ ..] => (-1.0, name),
        [b'+', name @ ..] => (1.0, name),
        name => (1.0, name),
    };
    if name.eq_ignore_ascii_case(b"nan") {
        Some(f64::NAN)
    } else if name.eq_ignore_ascii_case(b"inf") || name.eq_ignore_ascii_case(b"infinity") {
        Some(sign * f64::INFINITY)
    } else {
        None
    }
}

numeric!(Int<T>, T, [T], [T: ArrowPrimitiveType, T::Native: Integer], |self, number, text, data_type| {
    Self::of(number, text, data_type)
});

numeric!(
    Float64,
    arrow_array::types::Float64Type,
    [],
    [],
    |self, number, text, data_type| {
        number
            .to_f64(text)
            .ok_or_else(|| Fault::range(text, data_type))
    }
);

numeric!(
    Float32,
    arrow_array::types::Float32Type,
    [],
    [],
    |self, _number, text, data_type| {
        // Not by way of 64 bits, which would round twice.
        std::str::from_utf8(text)
            .ok()
            .and_then(|text| text.parse::<f32>().ok())
            .filter(|value| value.is_finite())
            .ok_or_else(|| Fault::range(text, data_type))
    }
);

numeric!(
    Decimal128,
    arrow_array::types::Decimal128Type,
    [],
    [],
    |self, number, text, data_type| {
        self.of(number, text)
            .ok_or_else(|| Fault::range(text, data_type))
    }
);

numeric!(
    Decimal256,
    arrow_array::types::Decimal256Type,
    [],
    [],
    |self, number, text, data_type| {
        let limit = i256::from_i128(10).wrapping_pow(u32::from(self.precision));
        number
            .scaled(text, i32::from(self.scale))
            .filter(|value| *value < limit && *value > limit.wrapping_neg())
            .ok_or_else(|| Fault::range(text, data_type))
    }
);

impl Decimal128 {
    #[inline]
    pub(crate) fn of(&self, number: Number, text: &[u8]) -> Option<i128> {
        let limit = TENS[usize::from(self.precision)];
        let shift = i32::from(self.scale).checked_add(number.exponent)?;
        let value = if number.exact && (0..=18).contains(&shift) {
            // Both are below 10^19, so the product fits.
            let value = i128::from(number.mantissa) * TENS[usize::try_from(shift).ok()?];
            if number.negative { -value } else { value }
        } else {
            number.scaled(text, i32::from(self.scale))?.to_i128()?
        };
        (value < limit && value > -limit).then_some(value)
    }
}

static TENS: [i128; 39] = {
    let mut tens = [1; 39];
    let mut power = 1;
    while power < tens.len() {
        tens[power] = tens[power - 1] * 10;
        power += 1;
    }
    tens
};

/// Days.
pub(crate) struct Date;

impl Parse for Date {
    type Arrow = Date32Type;

    fn text(&self, text: &[u8], data_type: &DataType) -> Result<i32, Fault> {
        time::date(text).ok_or_else(|| Fault::value(text, data_type))
    }
}

/// Times of the day.
pub(crate) struct Time<T> {
    pub(crate) unit: TimeUnit,
    pub(crate) marker: PhantomData<T>,
}

impl<T> Parse for Time<T>
where
    T: ArrowPrimitiveType,
    T::Native: TryFrom<i64>,
{
    type Arrow = T;

    fn text(&self, text: &[u8], data_type: &DataType) -> Result<T::Native, Fault> {
        let nanos = time::time(text).ok_or_else(|| Fault::value(text, data_type))?;
        time::exact_units(nanos, self.unit)
            .and_then(|value| T::Native::try_from(value).ok())
            .ok_or_else(|| Fault::range(text, data_type))
    }
}

/// Points in time, with a zone or without.
pub(crate) struct Timestamp<T> {
    pub(crate) unit: TimeUnit,
    pub(crate) zone: Zone,
    pub(crate) marker: PhantomData<T>,
}

/// What an offset from UTC in the text means to the column.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Zone {
    /// The column has no zone: an offset must not be there.
    Naive,
    /// The column is in UTC, which a text without an offset is taken to be.
    Utc,
    /// The column is shown in a zone of its own: an offset must be there.
    Other,
}

impl<T: ArrowPrimitiveType<Native = i64>> Parse for Timestamp<T> {
    type Arrow = T;

    #[inline]
    fn text(&self, text: &[u8], data_type: &DataType) -> Result<i64, Fault> {
        let Some(parsed) = time::timestamp(text) else {
            return Err(Fault::value(text, data_type));
        };
        match (self.zone, parsed.offset) {
            (Zone::Naive, Some(_)) => Err(Fault::new(format!(
                "{} has an offset from UTC, but the column has no time zone",
                super::fault::excerpt(text)
            ))),
            (Zone::Other, None) => Err(Fault::new(format!(
                "{} has no offset from UTC, and the column's zone doesn't tell it",
                super::fault::excerpt(text)
            ))),
            _ => parsed
                .to_unit(self.unit)
                .ok_or_else(|| Fault::range(text, data_type)),
        }
    }
}

/// Booleans.
pub(crate) struct Bools {
    values: BooleanBufferBuilder,
    nulls: NullBufferBuilder,
    /// Whether only `true` and `false` are such.
    exact: bool,
}

impl Bools {
    pub(crate) fn new(capacity: usize, exact: bool) -> Self {
        Self {
            values: BooleanBufferBuilder::new(capacity),
            nulls: NullBufferBuilder::new(capacity),
            exact,
        }
    }

    #[inline]
    fn append(&mut self, value: bool) {
        self.values.append(value);
        self.nulls.append_non_null();
    }
}

impl Build for Bools {
    fn truncate(&mut self, length: usize) {
        self.values.truncate(length);
        self.nulls.truncate(length);
    }

    fn append_null(&mut self) {
        self.values.append(false);
        self.nulls.append_null();
    }

    #[inline]
    fn append_json(&mut self, cursor: &mut Cursor<'_>) -> Result<(), Fault> {
        match cursor.peek() {
            Some(b't') => {
                cursor.literal(b"true")?;
                self.append(true);
                Ok(())
            }
            Some(b'f') => {
                cursor.literal(b"false")?;
                self.append(false);
                Ok(())
            }
            Some(b'"') if !self.exact => self.append_text(cursor.text()?),
            _ if self.exact => Err(Fault::changed(cursor.raw()?, &DataType::Boolean)),
            _ => Err(Fault::value(cursor.raw()?, &DataType::Boolean)),
        }
    }

    fn append_text(&mut self, text: &[u8]) -> Result<(), Fault> {
        if self.exact {
            let value = exact::text_bool(text);
            self.append(value.ok_or_else(|| Fault::changed(text, &DataType::Boolean))?);
            return Ok(());
        }
        let text = text.trim_ascii();
        let is = |names: [&[u8]; 3]| names.iter().any(|name| text.eq_ignore_ascii_case(name));
        if is([b"true", b"t", b"1"]) {
            self.append(true);
        } else if is([b"false", b"f", b"0"]) {
            self.append(false);
        } else {
            return Err(Fault::value(text, &DataType::Boolean));
        }
        Ok(())
    }

    fn finish(&mut self) -> Result<ArrayRef> {
        Ok(Arc::new(BooleanArray::new(
            self.values.finish(),
            self.nulls.finish(),
        )))
    }
}
