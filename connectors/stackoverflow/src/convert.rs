//! Columns as they were sent to columns as they are given: times and encoded texts, however deep.

use std::ops::RangeInclusive;
use std::sync::Arc;

use arrow_array::cast::AsArray;
use arrow_array::types::{Int64Type, TimestampMicrosecondType};
use arrow_array::{Array, ArrayRef, ListArray, PrimitiveArray, StructArray, new_null_array};
use arrow_buffer::OffsetBuffer;
use arrow_schema::{ArrowError, DataType};
use tidegate_core::Error;

use crate::entities;
use crate::fields::Type;

/// The years 1 to 9999 in seconds since 1970: what every sink can write. Beyond them, somebody
/// meant another unit.
const TIMES: RangeInclusive<i64> = -62_135_596_800..=253_402_300_799;
const MICROS: i64 = 1_000_000;

/// Why a column can't be converted.
#[derive(Debug)]
pub(crate) enum Fault {
    /// A number that is no time, and the path of its field: `closed_details.by_users`.
    NoTime {
        path: String,
        value: i64,
    },
    Other(Error),
}

impl From<ArrowError> for Fault {
    fn from(error: ArrowError) -> Self {
        Self::Other(error.into())
    }
}

impl Fault {
    /// The fault, seen from a field around it.
    pub(crate) fn within(self, field: &str) -> Self {
        match self {
            Self::NoTime { path, value } if path.is_empty() => Self::NoTime {
                path: field.to_owned(),
                value,
            },
            Self::NoTime { path, value } => Self::NoTime {
                path: format!("{field}.{path}"),
                value,
            },
            other => other,
        }
    }

    pub(crate) fn into_error(self) -> Error {
        match self {
            Self::NoTime { path, value } => {
                Error::data(format!("`{path}` is {value}, which is no time"))
            }
            Self::Other(error) => error,
        }
    }
}

/// A column of `of`, converted to `data_type`, which is the type that its values are given in.
pub(crate) fn convert(
    of: Type,
    data_type: &DataType,
    column: &ArrayRef,
    entities: bool,
) -> Result<ArrayRef, Fault> {
    // Most fields are sent by few filters.
    if column.null_count() == column.len() {
        return Ok(new_null_array(data_type, column.len()));
    }
    Ok(match (of, data_type) {
        (Type::Time, _) => {
            Arc::new(times(column.as_primitive())?.with_data_type(data_type.clone()))
        }
        (Type::Prose, _) if entities => Arc::new(entities::decode(column.as_string())),
        (Type::List(of), DataType::List(field)) => {
            let list = column.as_list::<i32>();
            let (values, offsets) = own_values(list);
            let items = convert(*of, field.data_type(), &values, entities)?;
            let nulls = list.nulls().cloned();
            Arc::new(ListArray::try_new(
                Arc::clone(field),
                offsets,
                items,
                nulls,
            )?)
        }
        (Type::Object(members), DataType::Struct(fields)) => {
            let object = column.as_struct();
            let columns = fields.iter().zip(object.columns()).zip(members);
            let columns = columns
                .map(|((field, column), (name, of))| {
                    convert(*of, field.data_type(), column, entities)
                        .map_err(|fault| fault.within(name))
                })
                .collect::<Result<Vec<_>, _>>()?;
            let nulls = object.nulls().cloned();
            Arc::new(StructArray::try_new_with_length(
                fields.clone(),
                columns,
                nulls,
                object.len(),
            )?)
        }
        _ => Arc::clone(column),
    })
}

fn times(
    seconds: &PrimitiveArray<Int64Type>,
) -> Result<PrimitiveArray<TimestampMicrosecondType>, Fault> {
    seconds.try_unary(|value| {
        if TIMES.contains(&value) {
            return Ok(value * MICROS);
        }
        let path = String::new();
        Err(Fault::NoTime { path, value })
    })
}

/// The items that belong to a list's rows, without those before and after a slice of it.
fn own_values(list: &ListArray) -> (ArrayRef, OffsetBuffer<i32>) {
    let offsets = list.offsets();
    let (first, last) = (offsets[0], offsets[list.len()]);
    let (Ok(start), Ok(end)) = (usize::try_from(first), usize::try_from(last)) else {
        return (Arc::clone(list.values()), offsets.clone());
    };
    let own = offsets.iter().map(|offset| offset - first).collect();
    let values = list.values().slice(start, end - start);
    (values, OffsetBuffer::new(own))
}
