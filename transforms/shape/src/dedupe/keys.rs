//! Keys of rows as bytes that are equal where the values are.

use std::sync::Arc;

use arrow_array::cast::AsArray;
use arrow_array::types::{ArrowPrimitiveType, Float16Type, Float32Type, Float64Type};
use arrow_array::{Array, ArrayRef, RecordBatch, make_array};
use arrow_data::ArrayData;
use arrow_row::{RowConverter, Rows, SortField};
use arrow_schema::{DataType, Field};
use tidegate_core::{Error, Input, Result, batch_column};

/// Makes the keys of a batch's rows.
#[derive(Debug)]
pub(super) struct Keys {
    /// The columns, and whether floats are in them.
    columns: Vec<(String, bool)>,
    converter: RowConverter,
}

impl Keys {
    /// Errors: `Schema` for a column that isn't there, or whose values can't be compared.
    pub(super) fn new(names: Option<&[String]>, input: &Input) -> Result<Self> {
        let fields = match names {
            None => input.schema.fields().iter().collect(),
            Some(names) => {
                let fields = names.iter().map(|name| input.column(name));
                let fields = fields.collect::<Result<Vec<_>>>();
                fields.map_err(|error| error.with("key", "key"))?
            }
        };
        let mut columns = Vec::with_capacity(fields.len());
        let mut sorted = Vec::with_capacity(fields.len());
        for field in fields {
            let by = SortField::new(field.data_type().clone());
            if !RowConverter::supports_fields(std::slice::from_ref(&by)) {
                return Err(Error::schema(format!(
                    "column `{}` is a {}, whose values can't be compared",
                    field.name(),
                    field.data_type()
                ))
                .hint("name other columns in `key`"));
            }
            columns.push((field.name().clone(), has_floats(field.data_type())));
            sorted.push(by);
        }
        if columns.is_empty() {
            return Err(Error::schema(format!("`{}` has no columns", input.name)));
        }
        Ok(Self {
            columns,
            converter: RowConverter::new(sorted)?,
        })
    }

    /// The keys of a batch's rows.
    pub(super) fn of(&self, batch: &RecordBatch) -> Result<Rows> {
        let columns = self.columns.iter().map(|(name, floats)| {
            let column = batch_column(batch, name)?;
            match floats {
                true => Ok(make_array(with_one_zero(column.to_data())?)),
                false => Ok(Arc::clone(column)),
            }
        });
        let columns = columns.collect::<Result<Vec<_>>>()?;
        Ok(self.converter.convert_columns(&columns)?)
    }
}

fn has_floats(data_type: &DataType) -> bool {
    use DataType as T;
    let within = |field: &Field| has_floats(field.data_type());
    match data_type {
        T::Float16 | T::Float32 | T::Float64 => true,
        T::Dictionary(_, values) => has_floats(values),
        T::RunEndEncoded(_, values) => within(values),
        T::List(item)
        | T::LargeList(item)
        | T::ListView(item)
        | T::LargeListView(item)
        | T::FixedSizeList(item, _)
        | T::Map(item, _) => within(item),
        T::Struct(members) => members.iter().any(|member| within(member)),
        T::Union(members, _) => members.iter().any(|(_, member)| within(member)),
        _ => false,
    }
}

/// The same values with one zero and one NaN in place of the several that floats have, which differ as
/// bytes.
fn with_one_zero(data: ArrayData) -> Result<ArrayData> {
    fn floats<T: ArrowPrimitiveType>(
        data: ArrayData,
        one: impl Fn(T::Native) -> T::Native,
    ) -> ArrayData {
        let array: ArrayRef = make_array(data);
        array.as_primitive::<T>().unary::<_, T>(one).into_data()
    }
    macro_rules! one {
        ($type:ty) => {{
            type Native = <$type as ArrowPrimitiveType>::Native;
            let zero = Native::default();
            Ok(floats::<$type>(data, |value| {
                if value.is_nan() {
                    Native::NAN
                } else if value == zero {
                    zero
                } else {
                    value
                }
            }))
        }};
    }
    match data.data_type() {
        other if !has_floats(other) => Ok(data),
        DataType::Float16 => one!(Float16Type),
        DataType::Float32 => one!(Float32Type),
        DataType::Float64 => one!(Float64Type),
        _ => {
            let within = data.child_data().iter().cloned().map(with_one_zero);
            let within = within.collect::<Result<Vec<_>>>()?;
            Ok(data.into_builder().child_data(within).build()?)
        }
    }
}

#[cfg(test)]
mod tests {
    use arrow_array::builder::{Float32Builder, ListBuilder};
    use arrow_array::{DictionaryArray, Float64Array, Int8Array, StructArray};
    use arrow_schema::Schema;

    use super::*;

    fn keys(column: ArrayRef) -> Vec<Vec<u8>> {
        let field = Field::new("x", column.data_type().clone(), true);
        let schema = Arc::new(Schema::new(vec![field]));
        let input = Input {
            name: "in".into(),
            schema: Arc::clone(&schema),
        };
        let batch = RecordBatch::try_new(schema, vec![column]).unwrap();
        let rows = Keys::new(None, &input).unwrap().of(&batch).unwrap();
        rows.iter().map(|row| row.data().to_vec()).collect()
    }

    /// Values of which each equals the next but the last, which is another one.
    fn check(column: ArrayRef) {
        let keys = keys(column);
        let (last, others) = keys.split_last().unwrap();
        assert!(others.iter().all(|key| *key == others[0]), "{others:?}");
        assert_ne!(*last, others[0]);
    }

    #[test]
    fn zeros_are_equal_and_so_are_those_that_are_no_numbers() {
        let other_nan = f64::from_bits(f64::NAN.to_bits() | 1);
        let zeros: ArrayRef = Arc::new(Float64Array::from(vec![0.0, -0.0, 1.0]));
        let nans: ArrayRef = Arc::new(Float64Array::from(vec![
            f64::NAN,
            -f64::NAN,
            other_nan,
            f64::INFINITY,
        ]));
        let nulls: ArrayRef = Arc::new(Float64Array::from(vec![None, None, Some(0.0)]));
        for column in [zeros, nans, nulls] {
            check(Arc::clone(&column));
            let field = Arc::new(Field::new("y", DataType::Float64, true));
            check(Arc::new(StructArray::from(vec![(
                field,
                Arc::clone(&column),
            )])));
            let places = Int8Array::from_iter_values(0..i8::try_from(column.len()).unwrap());
            check(Arc::new(DictionaryArray::new(places, column)));
        }
        let mut lists = ListBuilder::new(Float32Builder::new());
        for zero in [7.0, 0.0, -0.0, 1.0] {
            lists.append_value([Some(2.5), Some(zero), None]);
        }
        check(Arc::new(lists.finish().slice(1, 3)));
    }
}
