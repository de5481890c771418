//! A column of any type that text can hold.

use std::marker::PhantomData;

use arrow_array::ArrayRef;
use arrow_array::types::*;
use arrow_schema::{DataType, Field, TimeUnit};
use tidegate_core::{Error, Result, is_json};

use super::Fault;
use super::binary::Binaries;
use super::exact::Exact;
use super::json::Cursor;
use super::nested::{Lists, Structs};
use super::primitive::*;
use super::strings::Strings;

/// What every column can do. After an error of `append_…` the column may hold part of the value:
/// it is truncated to what it held before, with the rest of the row.
pub(crate) trait Build {
    /// Drops all values but the first `length`.
    fn truncate(&mut self, length: usize);
    /// Appends NULL.
    fn append_null(&mut self);
    /// Appends the JSON value at the cursor, which is not `null`.
    fn append_json(&mut self, cursor: &mut Cursor<'_>) -> Result<(), Fault>;
    /// Appends the value that a text alone is: a CSV field, or what a JSON string says.
    fn append_text(&mut self, text: &[u8]) -> Result<(), Fault>;
    /// Gives all values, and is empty then.
    fn finish(&mut self) -> Result<ArrayRef>;
}

macro_rules! columns {
    ($($name:ident($type:ty),)*) => {
        /// A column that is being built.
        pub(crate) enum Column {
            $($name($type),)*
        }

        impl Build for Column {
            fn truncate(&mut self, length: usize) {
                match self { $(Self::$name(column) => column.truncate(length),)* }
            }

            fn append_null(&mut self) {
                match self { $(Self::$name(column) => column.append_null(),)* }
            }

            #[inline]
            fn append_json(&mut self, cursor: &mut Cursor<'_>) -> Result<(), Fault> {
                match self { $(Self::$name(column) => column.append_json(cursor),)* }
            }

            #[inline]
            fn append_text(&mut self, text: &[u8]) -> Result<(), Fault> {
                match self { $(Self::$name(column) => column.append_text(text),)* }
            }

            fn finish(&mut self) -> Result<ArrayRef> {
                match self { $(Self::$name(column) => column.finish(),)* }
            }
        }
    };
}

columns! {
    Bool(Bools),
    Int8(Primitive<Int<Int8Type>>),
    Int16(Primitive<Int<Int16Type>>),
    Int32(Primitive<Int<Int32Type>>),
    Int64(Primitive<Int<Int64Type>>),
    UInt8(Primitive<Int<UInt8Type>>),
    UInt16(Primitive<Int<UInt16Type>>),
    UInt32(Primitive<Int<UInt32Type>>),
    UInt64(Primitive<Int<UInt64Type>>),
    Float32(Primitive<Float32>),
    Float64(Primitive<Float64>),
    Decimal128(Primitive<Decimal128>),
    Decimal256(Primitive<Decimal256>),
    Date(Primitive<Date>),
    TimeSecond(Primitive<Time<Time32SecondType>>),
    TimeMilli(Primitive<Time<Time32MillisecondType>>),
    TimeMicro(Primitive<Time<Time64MicrosecondType>>),
    TimeNano(Primitive<Time<Time64NanosecondType>>),
    Second(Primitive<Timestamp<TimestampSecondType>>),
    Milli(Primitive<Timestamp<TimestampMillisecondType>>),
    Micro(Primitive<Timestamp<TimestampMicrosecondType>>),
    Nano(Primitive<Timestamp<TimestampNanosecondType>>),
    ExactInt64(Primitive<Exact<Int<Int64Type>>>),
    ExactFloat64(Primitive<Exact<Float64>>),
    ExactDecimal128(Primitive<Exact<Decimal128>>),
    ExactDate(Primitive<Exact<Date>>),
    ExactMicro(Primitive<Exact<Timestamp<TimestampMicrosecondType>>>),
    Text(Strings<i32>),
    LargeText(Strings<i64>),
    Binary(Binaries<i32>),
    LargeBinary(Binaries<i64>),
    List(Lists),
    Struct(Structs),
}

impl Column {
    /// See [`Object::fold_names`](super::json::Object::fold_names).
    pub(crate) fn fold_names(&mut self) {
        match self {
            Self::List(lists) => lists.fold_names(),
            Self::Struct(structs) => structs.fold_names(),
            _ => {}
        }
    }

    /// See [`Object::name_unknown`](super::json::Object::name_unknown).
    pub(crate) fn name_unknown(&self, path: &str, give: &mut dyn FnMut(usize, String)) {
        match self {
            Self::List(lists) => lists.name_unknown(path, give),
            Self::Struct(structs) => structs.name_unknown(path, give),
            _ => {}
        }
    }

    /// An empty column for `field`'s values. If it is `exact`, it takes only what comes back
    /// from it as it was written. Errors: `Schema` for types that text can't hold.
    pub(crate) fn new(field: &Field, capacity: usize, exact: bool) -> Result<Self> {
        let data_type = field.data_type();
        macro_rules! primitive {
            ($parse:expr) => {
                Primitive::new($parse, data_type, capacity)
            };
        }
        macro_rules! int {
            () => {
                primitive!(Int(PhantomData))
            };
        }
        Ok(match data_type {
            DataType::Boolean => Self::Bool(Bools::new(capacity, exact)),
            DataType::Int64 if exact => Self::ExactInt64(primitive!(Exact(Int(PhantomData)))),
            DataType::Float64 if exact => Self::ExactFloat64(primitive!(Exact(Float64))),
            DataType::Decimal128(precision, scale) if exact => {
                Self::ExactDecimal128(primitive!(Exact(Decimal128 {
                    precision: *precision,
                    scale: *scale
                })))
            }
            DataType::Date32 if exact => Self::ExactDate(primitive!(Exact(Date))),
            DataType::Int8 => Self::Int8(int!()),
            DataType::Int16 => Self::Int16(int!()),
            DataType::Int32 => Self::Int32(int!()),
            DataType::Int64 => Self::Int64(int!()),
            DataType::UInt8 => Self::UInt8(int!()),
            DataType::UInt16 => Self::UInt16(int!()),
            DataType::UInt32 => Self::UInt32(int!()),
            DataType::UInt64 => Self::UInt64(int!()),
            DataType::Float32 => Self::Float32(primitive!(Float32)),
            DataType::Float64 => Self::Float64(primitive!(Float64)),
            DataType::Decimal128(precision, scale) => Self::Decimal128(primitive!(Decimal128 {
                precision: *precision,
                scale: *scale
            })),
            DataType::Decimal256(precision, scale) => Self::Decimal256(primitive!(Decimal256 {
                precision: *precision,
                scale: *scale
            })),
            DataType::Date32 => Self::Date(primitive!(Date)),
            DataType::Time32(unit) | DataType::Time64(unit) => {
                macro_rules! time {
                    () => {
                        primitive!(Time {
                            unit: *unit,
                            marker: PhantomData
                        })
                    };
                }
                match unit {
                    TimeUnit::Second => Self::TimeSecond(time!()),
                    TimeUnit::Millisecond => Self::TimeMilli(time!()),
                    TimeUnit::Microsecond => Self::TimeMicro(time!()),
                    TimeUnit::Nanosecond => Self::TimeNano(time!()),
                }
            }
            DataType::Timestamp(unit, zone) => {
                let zone = match zone.as_deref() {
                    None => Zone::Naive,
                    Some("UTC" | "utc" | "Z" | "+00:00" | "Etc/UTC") => Zone::Utc,
                    Some(_) => Zone::Other,
                };
                macro_rules! timestamp {
                    ($($wrap:tt)*) => {
                        primitive!($($wrap)* (Timestamp {
                            unit: *unit,
                            zone,
                            marker: PhantomData
                        }))
                    };
                }
                match unit {
                    TimeUnit::Second => Self::Second(timestamp!()),
                    TimeUnit::Millisecond => Self::Milli(timestamp!()),
                    TimeUnit::Microsecond if exact => Self::ExactMicro(timestamp!(Exact)),
                    TimeUnit::Microsecond => Self::Micro(timestamp!()),
                    TimeUnit::Nanosecond => Self::Nano(timestamp!()),
                }
            }
            DataType::Utf8 => Self::Text(Strings::new(is_json(field), capacity)),
            DataType::LargeUtf8 => Self::LargeText(Strings::new(is_json(field), capacity)),
            DataType::Binary => Self::Binary(Binaries::new(capacity)),
            DataType::LargeBinary => Self::LargeBinary(Binaries::new(capacity)),
            DataType::List(item) => Self::List(Lists::new(item, capacity, exact)?),
            DataType::Struct(fields) => Self::Struct(Structs::new(fields, capacity, exact)?),
            other => {
                return Err(Error::schema(format!(
                    "column `{}` is a {other}, which can't be read from text",
                    field.name()
                )));
            }
        })
    }

    /// Appends the JSON value at the cursor, `null` too where that is allowed.
    #[inline]
    pub(crate) fn append(&mut self, cursor: &mut Cursor<'_>, nullable: bool) -> Result<(), Fault> {
        if cursor.peek() == Some(b'n') {
            cursor.literal(b"null")?;
            if !nullable {
                return Err(Fault::null());
            }
            self.append_null();
            return Ok(());
        }
        self.append_json(cursor)
    }
}
