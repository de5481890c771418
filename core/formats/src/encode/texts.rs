//! A column's values as texts.

use std::sync::Arc;

use arrow_array::{Array, ArrayRef, LargeStringArray};
use arrow_buffer::{Buffer, OffsetBuffer};
use arrow_schema::Field;
use tidegate_core::{Error, Result};

use super::cells::{Cells, written_type};

/// A column's values as JSON, as [`Encoder`](crate::Encoder) writes them; NULL stays NULL.
///
/// Errors: `Schema` for types that JSON can't hold.
pub fn json_texts(field: &Field, array: &ArrayRef) -> Result<LargeStringArray> {
    texts(field, array, |cells, row, out| cells.json(row, out))
}

/// A column's values as texts alone, as [`Encoder`](crate::Encoder) writes them into CSV, without quotes:
/// all digits of numbers and times, base64 of bytes, lists and structs as JSON. NULL stays NULL.
///
/// Errors: `Schema` for types that text can't hold.
pub fn plain_texts(field: &Field, array: &ArrayRef) -> Result<LargeStringArray> {
    texts(field, array, |cells, row, out| cells.alone(row, out))
}

fn texts(
    field: &Field,
    array: &ArrayRef,
    append: impl Fn(&Cells<'_>, usize, &mut Vec<u8>),
) -> Result<LargeStringArray> {
    let array = match written_type(field)? {
        None => Arc::clone(array),
        Some(data_type) => arrow_cast::cast(array, &data_type)?,
    };
    let cells = Cells::new(field, &array)?;
    let mut values = Vec::new();
    let mut offsets = Vec::with_capacity(array.len() + 1);
    offsets.push(0);
    for row in 0..array.len() {
        if !cells.is_null(row) {
            append(&cells, row, &mut values);
        }
        let end = i64::try_from(values.len());
        offsets.push(end.map_err(|_| Error::internal("a column's texts are too long"))?);
    }
    Ok(LargeStringArray::try_new(
        OffsetBuffer::new(offsets.into()),
        Buffer::from_vec(values),
        array.nulls().cloned(),
    )?)
}

#[cfg(test)]
mod tests {
    use arrow_array::{Decimal128Array, Float64Array, StringArray, StructArray};

    use super::*;

    #[test]
    fn values_are_the_texts_that_files_hold() {
        let texts = |array: ArrayRef, json: bool| {
            let field = Field::new("a", array.data_type().clone(), true);
            let texts = match json {
                true => json_texts(&field, &array).unwrap(),
                false => plain_texts(&field, &array).unwrap(),
            };
            let texts = texts.iter().map(|text| text.map(str::to_owned));
            texts.collect::<Vec<_>>()
        };
        let some = |texts: &[&str]| {
            texts
                .iter()
                .map(|&text| Some(text.to_owned()))
                .collect::<Vec<_>>()
        };
        let floats: ArrayRef = Arc::new(Float64Array::from(vec![1.5, f64::NAN]));
        assert_eq!(texts(Arc::clone(&floats), false), some(&["1.5", "NaN"]));
        assert_eq!(texts(floats, true), some(&["1.5", "\"NaN\""]));
        let words: ArrayRef = Arc::new(StringArray::from(vec![Some("a\"b"), None]));
        assert_eq!(
            texts(Arc::clone(&words), false),
            [Some("a\"b".to_owned()), None]
        );
        assert_eq!(
            texts(Arc::clone(&words), true),
            [Some("\"a\\\"b\"".to_owned()), None]
        );
        let sliced = words.slice(1, 1);
        assert_eq!(texts(sliced, true), [None]);
        let cents = Decimal128Array::from(vec![12345])
            .with_precision_and_scale(38, 2)
            .unwrap();
        let field = Arc::new(Field::new("eur", cents.data_type().clone(), true));
        let nested = StructArray::from(vec![(field, Arc::new(cents) as ArrayRef)]);
        assert_eq!(texts(Arc::new(nested), false), some(&["{\"eur\":123.45}"]));
    }
}
