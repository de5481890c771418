//! The values of a column, ready to be written row by row.

use arrow_array::cast::AsArray;
use arrow_array::types::*;
use arrow_array::{
    Array, ArrayRef, BinaryViewArray, BooleanArray, GenericBinaryArray, GenericListArray,
    GenericStringArray, PrimitiveArray, StringViewArray, StructArray,
};
use arrow_schema::{DataType, Field, IntervalUnit, TimeUnit};
use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use tidegate_core::{Error, Result, is_json};

use super::json::quoted;
use super::text;
use crate::decode::json::Cursor;

/// A column's values.
pub(crate) struct Cells<'a> {
    values: Values<'a>,
    /// None if there are no nulls.
    nullable: Option<&'a dyn Array>,
}

enum Values<'a> {
    Bool(&'a BooleanArray),
    Int8(&'a PrimitiveArray<Int8Type>),
    Int16(&'a PrimitiveArray<Int16Type>),
    Int32(&'a PrimitiveArray<Int32Type>),
    Int64(&'a PrimitiveArray<Int64Type>),
    UInt8(&'a PrimitiveArray<UInt8Type>),
    UInt16(&'a PrimitiveArray<UInt16Type>),
    UInt32(&'a PrimitiveArray<UInt32Type>),
    UInt64(&'a PrimitiveArray<UInt64Type>),
    Float32(&'a PrimitiveArray<Float32Type>),
    Float64(&'a PrimitiveArray<Float64Type>),
    Decimal128(&'a PrimitiveArray<Decimal128Type>, i8),
    Decimal256(&'a PrimitiveArray<Decimal256Type>, i8),
    Date(&'a PrimitiveArray<Date32Type>),
    TimeSecond(&'a PrimitiveArray<Time32SecondType>),
    TimeMilli(&'a PrimitiveArray<Time32MillisecondType>),
    TimeMicro(&'a PrimitiveArray<Time64MicrosecondType>),
    TimeNano(&'a PrimitiveArray<Time64NanosecondType>),
    Second(&'a PrimitiveArray<TimestampSecondType>, bool),
    Milli(&'a PrimitiveArray<TimestampMillisecondType>, bool),
    Micro(&'a PrimitiveArray<TimestampMicrosecondType>, bool),
    Nano(&'a PrimitiveArray<TimestampNanosecondType>, bool),
    Text(&'a GenericStringArray<i32>),
    LargeText(&'a GenericStringArray<i64>),
    TextView(&'a StringViewArray),
    Json(&'a dyn Array),
    Binary(&'a GenericBinaryArray<i32>),
    LargeBinary(&'a GenericBinaryArray<i64>),
    BinaryView(&'a BinaryViewArray),
    List(&'a GenericListArray<i32>, Box<Cells<'a>>),
    LargeList(&'a GenericListArray<i64>, Box<Cells<'a>>),
    Struct(Vec<(Vec<u8>, Cells<'a>)>),
}

/// What a text needs before it can stand in a record.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Shape {
    /// Numbers and booleans.
    Bare,
    /// Dates, times, base64: nothing that must be escaped.
    Plain,
    /// Text.
    Text,
    /// JSON already.
    Nested,
}

/// The type that is written for a column of `field`'s type, if it isn't that one; an error for
/// types that text can't hold.
pub(crate) fn written_type(field: &Field) -> Result<Option<DataType>> {
    match field.data_type() {
        DataType::Dictionary(_, value) => Ok(Some((**value).clone())),
        DataType::Date64 => Ok(Some(DataType::Date32)),
        DataType::Float16 => Ok(Some(DataType::Float32)),
        DataType::Decimal32(precision, scale) | DataType::Decimal64(precision, scale) => {
            Ok(Some(DataType::Decimal128(*precision, *scale)))
        }
        DataType::FixedSizeBinary(_) => Ok(Some(DataType::Binary)),
        DataType::FixedSizeList(item, _) => Ok(Some(DataType::List(item.clone()))),
        DataType::Null => Ok(Some(DataType::Utf8)),
        DataType::Boolean
        | DataType::Int8
        | DataType::Int16
        | DataType::Int32
        | DataType::Int64
        | DataType::UInt8
        | DataType::UInt16
        | DataType::UInt32
        | DataType::UInt64
        | DataType::Float32
        | DataType::Float64
        | DataType::Decimal128(..)
        | DataType::Decimal256(..)
        | DataType::Date32
        | DataType::Time32(_)
        | DataType::Time64(_)
        | DataType::Timestamp(..)
        | DataType::Utf8
        | DataType::LargeUtf8
        | DataType::Utf8View
        | DataType::Binary
        | DataType::LargeBinary
        | DataType::BinaryView => Ok(None),
        DataType::List(item) | DataType::LargeList(item) => nested(item),
        DataType::Struct(fields) => {
            for field in fields {
                nested(field)?;
            }
            Ok(None)
        }
        other => Err(refused(field.name(), other)),
    }
}

fn nested(field: &Field) -> Result<Option<DataType>> {
    match written_type(field)? {
        None => Ok(None),
        Some(_) => Err(refused(field.name(), field.data_type())),
    }
}

fn refused(name: &str, data_type: &DataType) -> Error {
    let hint = match data_type {
        DataType::Interval(IntervalUnit::YearMonth) => {
            "cast it to a number of months in a `sql` transform"
        }
        DataType::Map(..) => {
            "take `map_keys(m)` and `map_values(m)`, or `m['key']`, of it in SQL, or leave it out"
        }
        _ => "cast it to another type in a `sql` transform",
    };
    Error::schema(format!(
        "column `{name}` is a {data_type}, which can't be written as text"
    ))
    .hint(hint)
}

impl<'a> Cells<'a> {
    pub(crate) fn new(field: &Field, array: &'a ArrayRef) -> Result<Self> {
        macro_rules! typed {
            ($name:ident) => {
                Values::$name(array.as_primitive())
            };
        }
        let values = match array.data_type() {
            DataType::Boolean => Values::Bool(array.as_boolean()),
            DataType::Int8 => typed!(Int8),
            DataType::Int16 => typed!(Int16),
            DataType::Int32 => typed!(Int32),
            DataType::Int64 => typed!(Int64),
            DataType::UInt8 => typed!(UInt8),
            DataType::UInt16 => typed!(UInt16),
            DataType::UInt32 => typed!(UInt32),
            DataType::UInt64 => typed!(UInt64),
            DataType::Float32 => typed!(Float32),
            DataType::Float64 => typed!(Float64),
            DataType::Decimal128(_, scale) => Values::Decimal128(array.as_primitive(), *scale),
            DataType::Decimal256(_, scale) => Values::Decimal256(array.as_primitive(), *scale),
            DataType::Date32 => typed!(Date),
            DataType::Time32(TimeUnit::Second) => typed!(TimeSecond),
            DataType::Time32(_) => typed!(TimeMilli),
            DataType::Time64(TimeUnit::Nanosecond) => typed!(TimeNano),
            DataType::Time64(_) => typed!(TimeMicro),
            DataType::Timestamp(unit, zone) => {
                let zoned = zone.is_some();
                match unit {
                    TimeUnit::Second => Values::Second(array.as_primitive(), zoned),
                    TimeUnit::Millisecond => Values::Milli(array.as_primitive(), zoned),
                    TimeUnit::Microsecond => Values::Micro(array.as_primitive(), zoned),
                    TimeUnit::Nanosecond => Values::Nano(array.as_primitive(), zoned),
                }
            }
            DataType::Utf8 | DataType::LargeUtf8 | DataType::Utf8View if is_json(field) => {
                Values::Json(array.as_ref())
            }
            DataType::Utf8 => Values::Text(array.as_string()),
            DataType::LargeUtf8 => Values::LargeText(array.as_string()),
            DataType::Utf8View => Values::TextView(array.as_string_view()),
            DataType::Binary => Values::Binary(array.as_binary()),
            DataType::LargeBinary => Values::LargeBinary(array.as_binary()),
            DataType::BinaryView => Values::BinaryView(array.as_binary_view()),
            DataType::List(item) => {
                let list = array.as_list();
                Values::List(list, Box::new(Self::new(item, list.values())?))
            }
            DataType::LargeList(item) => {
                let list = array.as_list();
                Values::LargeList(list, Box::new(Self::new(item, list.values())?))
            }
            DataType::Struct(fields) => {
                let array: &StructArray = array.as_struct();
                let mut columns = Vec::with_capacity(fields.len());
                for (field, column) in fields.iter().zip(array.columns()) {
                    columns.push((
                        key(field.name(), columns.is_empty()),
                        Self::new(field, column)?,
                    ));
                }
                Values::Struct(columns)
            }
            other => return Err(refused(field.name(), other)),
        };
        let nullable = (array.null_count() > 0).then_some(array.as_ref());
        Ok(Self { values, nullable })
    }

    #[inline]
    pub(crate) fn is_null(&self, row: usize) -> bool {
        self.nullable.is_some_and(|array| array.is_null(row))
    }

    pub(crate) fn shape(&self) -> Shape {
        match self.values {
            Values::Text(_) | Values::LargeText(_) | Values::TextView(_) => Shape::Text,
            Values::List(..) | Values::LargeList(..) | Values::Struct(_) | Values::Json(_) => {
                Shape::Nested
            }
            Values::Date(_)
            | Values::TimeSecond(_)
            | Values::TimeMilli(_)
            | Values::TimeMicro(_)
            | Values::TimeNano(_)
            | Values::Second(..)
            | Values::Milli(..)
            | Values::Micro(..)
            | Values::Nano(..)
            | Values::Binary(_)
            | Values::LargeBinary(_)
            | Values::BinaryView(_) => Shape::Plain,
            _ => Shape::Bare,
        }
    }

    /// Appends the value as JSON, `null` where it is NULL.
    pub(crate) fn json(&self, row: usize, out: &mut Vec<u8>) {
        if self.is_null(row) {
            out.extend_from_slice(b"null");
            return;
        }
        match self.shape() {
            Shape::Bare | Shape::Nested => self.text(row, out),
            Shape::Plain => {
                out.push(b'"');
                self.text(row, out);
                out.push(b'"');
            }
            Shape::Text => quoted(self.str(row), out),
        }
    }

    /// The value of a text column.
    #[inline]
    fn str(&self, row: usize) -> &str {
        match &self.values {
            Values::Text(array) => array.value(row),
            Values::LargeText(array) => array.value(row),
            Values::TextView(array) => array.value(row),
            Values::Json(array) => match array.data_type() {
                DataType::Utf8 => array.as_string::<i32>().value(row),
                DataType::LargeUtf8 => array.as_string::<i64>().value(row),
                _ => array.as_string_view().value(row),
            },
            _ => "",
        }
    }

    /// Appends the value, which is not NULL, as text alone; of nested types, as JSON.
    pub(crate) fn text(&self, row: usize, out: &mut Vec<u8>) {
        macro_rules! int {
            ($array:expr) => {
                out.extend_from_slice(itoa::Buffer::new().format($array.value(row)).as_bytes())
            };
        }
        match &self.values {
            Values::Bool(array) => {
                out.extend_from_slice(if array.value(row) { b"true" } else { b"false" });
            }
            Values::Int8(array) => int!(array),
            Values::Int16(array) => int!(array),
            Values::Int32(array) => int!(array),
            Values::Int64(array) => int!(array),
            Values::UInt8(array) => int!(array),
            Values::UInt16(array) => int!(array),
            Values::UInt32(array) => int!(array),
            Values::UInt64(array) => int!(array),
            Values::Float32(array) => {
                let value = array.value(row);
                match special(value.into()) {
                    Some(name) => out.extend_from_slice(name),
                    None => {
                        out.extend_from_slice(zmij::Buffer::new().format_finite(value).as_bytes())
                    }
                }
            }
            Values::Float64(array) => {
                let value = array.value(row);
                match special(value) {
                    Some(name) => out.extend_from_slice(name),
                    None => {
                        out.extend_from_slice(zmij::Buffer::new().format_finite(value).as_bytes())
                    }
                }
            }
            Values::Decimal128(array, scale) => {
                text::decimal_text(itoa::Buffer::new().format(array.value(row)), *scale, out);
            }
            Values::Decimal256(array, scale) => text::decimal256(array.value(row), *scale, out),
            Values::Date(array) => text::date(array.value(row).into(), out),
            Values::TimeSecond(array) => text::time(array.value(row).into(), TimeUnit::Second, out),
            Values::TimeMilli(array) => {
                text::time(array.value(row).into(), TimeUnit::Millisecond, out)
            }
            Values::TimeMicro(array) => text::time(array.value(row), TimeUnit::Microsecond, out),
            Values::TimeNano(array) => text::time(array.value(row), TimeUnit::Nanosecond, out),
            Values::Second(array, zoned) => {
                text::timestamp::<TimestampSecondType>(array.value(row), *zoned, out);
            }
            Values::Milli(array, zoned) => {
                text::timestamp::<TimestampMillisecondType>(array.value(row), *zoned, out);
            }
            Values::Micro(array, zoned) => {
                text::timestamp::<TimestampMicrosecondType>(array.value(row), *zoned, out);
            }
            Values::Nano(array, zoned) => {
                text::timestamp::<TimestampNanosecondType>(array.value(row), *zoned, out);
            }
            Values::Text(_) | Values::LargeText(_) | Values::TextView(_) => {
                out.extend_from_slice(self.str(row).as_bytes());
            }
            Values::Json(_) => embedded(self.str(row), out),
            Values::Binary(array) => base64(array.value(row), out),
            Values::LargeBinary(array) => base64(array.value(row), out),
            Values::BinaryView(array) => base64(array.value(row), out),
            Values::List(array, items) => {
                let offsets = array.value_offsets();
                let at = |row: usize| usize::try_from(offsets[row]).unwrap_or(0);
                items.array(at(row)..at(row + 1), out);
            }
            Values::LargeList(array, items) => {
                let offsets = array.value_offsets();
                let at = |row: usize| usize::try_from(offsets[row]).unwrap_or(0);
                items.array(at(row)..at(row + 1), out);
            }
            Values::Struct(columns) => {
                if columns.is_empty() {
                    out.push(b'{');
                }
                for (key, cells) in columns {
                    out.extend_from_slice(key);
                    cells.json(row, out);
                }
                out.push(b'}');
            }
        }
    }

    /// The same without the quotes of floats that are no numbers, which are JSON's.
    pub(crate) fn alone(&self, row: usize, out: &mut Vec<u8>) {
        let start = out.len();
        self.text(row, out);
        if self.shape() == Shape::Bare && out.get(start) == Some(&b'"') {
            out.remove(start);
            out.pop();
        }
    }

    fn array(&self, items: std::ops::Range<usize>, out: &mut Vec<u8>) {
        out.push(b'[');
        for at in items.clone() {
            if at > items.start {
                out.push(b',');
            }
            self.json(at, out);
        }
        out.push(b']');
    }
}

/// What stands before a value: the brace or comma, the key, the colon.
pub(crate) fn key(name: &str, first: bool) -> Vec<u8> {
    let mut key = vec![if first { b'{' } else { b',' }];
    quoted(name, &mut key);
    key.push(b':');
    key
}

/// What is no number, in quotes because JSON has no word for it. Readers take it back.
fn special(value: f64) -> Option<&'static [u8]> {
    if value.is_nan() {
        Some(b"\"NaN\"")
    } else if value == f64::INFINITY {
        Some(b"\"Infinity\"")
    } else if value == f64::NEG_INFINITY {
        Some(b"\"-Infinity\"")
    } else {
        None
    }
}

/// A text that should be JSON, in one line; as a string if it isn't.
fn embedded(json: &str, out: &mut Vec<u8>) {
    let mut cursor = Cursor::new(json.as_bytes());
    cursor.space();
    if cursor.raw().and_then(|_| cursor.end()).is_err() {
        quoted(json, out);
        return;
    }
    // Newlines can only be white space here: in strings they are escaped.
    let bytes = json.trim().bytes();
    out.extend(bytes.map(|byte| {
        if matches!(byte, b'\n' | b'\r') {
            b' '
        } else {
            byte
        }
    }));
}

fn base64(bytes: &[u8], out: &mut Vec<u8>) {
    let start = out.len();
    out.resize(start + bytes.len().div_ceil(3) * 4, 0);
    let written = STANDARD.encode_slice(bytes, &mut out[start..]).unwrap_or(0);
    out.truncate(start + written);
}
