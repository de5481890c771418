//! One column's values as literals of SQL, each exactly what it was, or refused.

use std::sync::Arc;

use arrow_array::cast::AsArray;
use arrow_array::types::{
    Decimal128Type, Decimal256Type, Float32Type, Float64Type, Int64Type, UInt64Type,
};
use arrow_array::{Array, ArrayRef, RecordBatch};
use arrow_cast::cast;
use arrow_schema::{DataType, Field, FieldRef, Schema, TimeUnit};
use tidegate_core::Result;
use tidegate_formats::row_to_json;

use super::target::Slot;
use super::text;
use super::value;
use crate::types::Type;

/// The values of one column of a batch, brought to the few types that have a way to be written.
#[derive(Debug)]
pub(super) struct Cells {
    array: ArrayRef,
    form: Form,
    /// The whole column, for values that are written as JSON.
    nested: Option<RecordBatch>,
}

/// How a column's values are written.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Form {
    Null,
    Bool,
    Signed,
    Unsigned,
    Float,
    Double,
    Decimal128(i8),
    Decimal256(i8),
    Text,
    LargeText,
    Binary,
    LargeBinary,
    Fixed,
    /// Days since 1970.
    Days,
    /// Milliseconds that are whole days.
    DayMillis,
    Moment(TimeUnit),
    Span(TimeUnit),
    Json,
}

/// The form of a type, and the type to which it is brought first.
fn form(data_type: &DataType) -> Option<(Form, DataType)> {
    use DataType as T;
    let same = |form| Some((form, data_type.clone()));
    match data_type {
        T::Null => same(Form::Null),
        T::Boolean => same(Form::Bool),
        T::Int8 | T::Int16 | T::Int32 | T::Int64 => Some((Form::Signed, T::Int64)),
        T::UInt8 | T::UInt16 | T::UInt32 | T::UInt64 => Some((Form::Unsigned, T::UInt64)),
        T::Float16 | T::Float32 => Some((Form::Float, T::Float32)),
        T::Float64 => same(Form::Double),
        T::Decimal32(p, s) | T::Decimal64(p, s) | T::Decimal128(p, s) => {
            Some((Form::Decimal128(*s), T::Decimal128(*p, *s)))
        }
        T::Decimal256(_, s) => same(Form::Decimal256(*s)),
        T::Utf8 => same(Form::Text),
        T::LargeUtf8 | T::Utf8View => Some((Form::LargeText, T::LargeUtf8)),
        T::Binary => same(Form::Binary),
        T::LargeBinary | T::BinaryView => Some((Form::LargeBinary, T::LargeBinary)),
        T::FixedSizeBinary(_) => same(Form::Fixed),
        T::Date32 => Some((Form::Days, T::Int64)),
        T::Date64 => Some((Form::DayMillis, T::Int64)),
        T::Timestamp(unit, _) => Some((Form::Moment(*unit), T::Int64)),
        T::Time32(unit) | T::Time64(unit) | T::Duration(unit) => {
            Some((Form::Span(*unit), T::Int64))
        }
        T::Dictionary(_, values) => form(values),
        T::RunEndEncoded(_, values) => form(values.data_type()),
        T::List(_)
        | T::LargeList(_)
        | T::ListView(_)
        | T::LargeListView(_)
        | T::FixedSizeList(_, _)
        | T::Struct(_)
        | T::Map(_, _) => same(Form::Json),
        T::Interval(_) | T::Union(_, _) => None,
    }
}

/// The type of the values themselves.
fn plain(data_type: &DataType) -> &DataType {
    match data_type {
        DataType::Dictionary(_, values) => plain(values),
        DataType::RunEndEncoded(_, values) => plain(values.data_type()),
        other => other,
    }
}

/// Whether a column can hold values of a field's type at all; if not, what to do.
pub(super) fn takes(field: &Field, slot: &Slot) -> Result<(), &'static str> {
    let Some((form, _)) = form(field.data_type()) else {
        return Err("no column holds values of this type: leave it out, or CAST it to text");
    };
    let cast = "CAST it to the column's type in a `sql` transform, or change the column";
    let float = matches!(slot.kind, Type::Float | Type::Double);
    let integer = slot.kind.integer().is_some();
    let decimal = matches!(slot.kind, Type::Decimal { .. });
    let fits = match form {
        Form::Null => return Ok(()),
        Form::Bool => integer || matches!(slot.kind, Type::Bit { .. }),
        Form::Signed | Form::Unsigned => {
            integer || decimal || float || matches!(slot.kind, Type::Bit { .. } | Type::Year)
        }
        Form::Float => float,
        Form::Double => slot.kind == Type::Double,
        Form::Decimal128(_) | Form::Decimal256(_) => decimal || integer,
        Form::Text | Form::LargeText => {
            let number = integer || decimal || float;
            !number && !matches!(slot.kind, Type::Bit { .. } | Type::Year | Type::Geometry)
        }
        Form::Binary | Form::LargeBinary | Form::Fixed => matches!(
            slot.kind,
            Type::Binary | Type::Bit { .. } | Type::Geometry | Type::Uuid
        ),
        Form::Days | Form::DayMillis | Form::Moment(_) => slot.kind.is_date(),
        Form::Span(_) => matches!(slot.kind, Type::Time { .. }),
        Form::Json => matches!(slot.kind, Type::Text | Type::Json),
    };
    if fits { Ok(()) } else { Err(cast) }
}

/// Whether two values of a field are equal exactly if they are equal in the column.
pub(super) fn same_equality(field: &Field, slot: &Slot) -> bool {
    let Some((form, _)) = form(field.data_type()) else {
        return false;
    };
    match form {
        Form::Bool
        | Form::Signed
        | Form::Unsigned
        | Form::Decimal128(_)
        | Form::Decimal256(_)
        | Form::Days
        | Form::DayMillis
        | Form::Moment(_)
        | Form::Span(_) => !matches!(slot.kind, Type::Float | Type::Double),
        Form::Binary | Form::LargeBinary | Form::Fixed => {
            slot.kind == Type::Binary && slot.declared.most().is_some()
        }
        _ => false,
    }
}

impl Cells {
    pub(super) fn new(field: &FieldRef, array: &ArrayRef) -> Result<Self> {
        let (form, target) = form(field.data_type()).ok_or_else(|| {
            tidegate_core::Error::internal("a column of an unknown type came to the sink")
        })?;
        let nested = match form {
            Form::Json => {
                let field = field.as_ref().clone().with_name("v");
                let schema = Arc::new(Schema::new(vec![field]));
                Some(RecordBatch::try_new(schema, vec![Arc::clone(array)])?)
            }
            _ => None,
        };
        let mut array = Arc::clone(array);
        if plain(array.data_type()) != array.data_type() {
            array = cast(&array, plain(array.data_type()))?;
        }
        if *array.data_type() != target {
            // Durations and times are numbers of 32 bits at times: by way of those.
            if matches!(array.data_type(), DataType::Time32(_) | DataType::Date32) {
                array = cast(&array, &DataType::Int32)?;
            }
            array = cast(&array, &target)?;
        }
        Ok(Self {
            array,
            form,
            nested,
        })
    }

    /// Appends a value as a literal. On a value that the column can't hold exactly: why.
    pub(super) fn write(&self, row: usize, slot: &Slot, out: &mut Vec<u8>) -> Result<(), String> {
        if self.form == Form::Null || self.array.is_null(row) {
            if !slot.nullable {
                return Err("is NULL, which the column or the key doesn't allow".to_owned());
            }
            out.extend_from_slice(b"NULL");
            return Ok(());
        }
        let array = &self.array;
        match self.form {
            Form::Null => {}
            Form::Bool => out.push(if array.as_boolean().value(row) {
                b'1'
            } else {
                b'0'
            }),
            Form::Signed => {
                let value = array.as_primitive::<Int64Type>().value(row);
                value::integer(value.into(), slot, out)?;
            }
            Form::Unsigned => {
                let value = array.as_primitive::<UInt64Type>().value(row);
                value::integer(value.into(), slot, out)?;
            }
            Form::Float => {
                let value = array.as_primitive::<Float32Type>().value(row);
                value::single(value, slot, out)?;
            }
            Form::Double => {
                let value = array.as_primitive::<Float64Type>().value(row);
                value::double(value, slot, out)?;
            }
            Form::Decimal128(scale) => {
                let value = array.as_primitive::<Decimal128Type>().value(row);
                value::decimal(&value.to_string(), scale, slot, out)?;
            }
            Form::Decimal256(scale) => {
                let value = array.as_primitive::<Decimal256Type>().value(row);
                value::decimal(&value.to_string(), scale, slot, out)?;
            }
            Form::Text => value::text(array.as_string::<i32>().value(row), slot, out)?,
            Form::LargeText => value::text(array.as_string::<i64>().value(row), slot, out)?,
            Form::Binary => value::bytes(array.as_binary::<i32>().value(row), slot, out)?,
            Form::LargeBinary => value::bytes(array.as_binary::<i64>().value(row), slot, out)?,
            Form::Fixed => value::bytes(array.as_fixed_size_binary().value(row), slot, out)?,
            Form::Days => {
                let days = array.as_primitive::<Int64Type>().value(row);
                value::quoted(out, |out| text::date(days, out))?;
            }
            Form::DayMillis => {
                const DAY: i64 = 86_400_000;
                let millis = array.as_primitive::<Int64Type>().value(row);
                match slot.kind {
                    Type::Date if millis % DAY != 0 => return Err(value::TIME_OF_DAY.to_owned()),
                    Type::Date => value::quoted(out, |out| text::date(millis / DAY, out))?,
                    _ => value::moment(value::micros(millis, TimeUnit::Millisecond)?, slot, out)?,
                }
            }
            Form::Moment(unit) => {
                let value = array.as_primitive::<Int64Type>().value(row);
                value::moment(value::micros(value, unit)?, slot, out)?;
            }
            Form::Span(unit) => {
                let micros = value::micros(array.as_primitive::<Int64Type>().value(row), unit)?;
                value::fraction(micros, slot)?;
                value::quoted(out, |out| text::time(micros, out))?;
            }
            Form::Json => {
                if let Some(nested) = &self.nested {
                    let object = row_to_json(nested, row).map_err(|error| error.to_string())?;
                    let value = object
                        .strip_prefix("{\"v\":")
                        .and_then(|rest| rest.strip_suffix('}'));
                    value::text(value.ok_or("can't be written as JSON")?, slot, out)?;
                }
            }
        }
        Ok(())
    }
}
