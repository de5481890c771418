//! How many bytes rows take in memory.

use arrow_array::cast::AsArray;
use arrow_array::{Array, RecordBatch};
use arrow_schema::DataType;

/// The bytes that a batch's own rows take in memory: of a slice, not those of the whole buffers that it
/// lies in, which its neighbours share.
///
/// ```
/// use std::sync::Arc;
///
/// use arrow_array::{Int64Array, RecordBatch};
/// use tidegate_core::batch_bytes;
///
/// let numbers = Arc::new(Int64Array::from_iter_values(0..1_000));
/// let batch = RecordBatch::try_from_iter([("n", numbers as _)]).unwrap();
/// assert_eq!(batch_bytes(&batch), 8_000);
/// assert_eq!(batch_bytes(&batch.slice(10, 100)), 800);
/// ```
pub fn batch_bytes(batch: &RecordBatch) -> usize {
    batch.columns().iter().map(|array| array_bytes(array)).sum()
}

fn array_bytes(array: &dyn Array) -> usize {
    let rows = array.len();
    let nulls = array.nulls().map_or(0, |_| rows.div_ceil(8));
    let within =
        |values: &dyn Array, from: usize, to: usize| array_bytes(&*values.slice(from, to - from));
    let nested = match array.data_type() {
        DataType::Struct(_) => {
            let columns = array.as_struct().columns().iter();
            columns.map(|column| array_bytes(column)).sum()
        }
        DataType::List(_) => {
            let list = array.as_list::<i32>();
            let at = |row: usize| usize::try_from(list.offsets()[row]).unwrap_or(0);
            (rows + 1) * 4 + within(list.values(), at(0), at(rows))
        }
        DataType::LargeList(_) => {
            let list = array.as_list::<i64>();
            let at = |row: usize| usize::try_from(list.offsets()[row]).unwrap_or(0);
            (rows + 1) * 8 + within(list.values(), at(0), at(rows))
        }
        DataType::Map(..) => {
            let map = array.as_map();
            let at = |row: usize| usize::try_from(map.offsets()[row]).unwrap_or(0);
            (rows + 1) * 4 + within(map.entries(), at(0), at(rows))
        }
        _ => {
            let data = array.to_data();
            let slice = data.get_slice_memory_size();
            return slice.unwrap_or_else(|_| array.get_buffer_memory_size());
        }
    };
    nulls + nested
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use arrow_array::types::Int64Type;
    use arrow_array::{ArrayRef, ListArray, StringArray, StructArray};
    use arrow_schema::Field;

    use super::*;

    #[test]
    fn slices_are_not_their_whole_buffers() {
        let texts = Arc::new(StringArray::from_iter_values(
            (0..1_000).map(|n| format!("{n:04}")),
        ));
        let list = ListArray::from_iter_primitive::<Int64Type, _, _>(
            (0..1_000).map(|n| Some(vec![Some(n), None])),
        );
        let field = Arc::new(Field::new("t", DataType::Utf8, false));
        let nested = StructArray::from(vec![(field, Arc::clone(&texts) as ArrayRef)]);
        let columns: [(&str, ArrayRef); 3] =
            [("t", texts), ("l", Arc::new(list)), ("s", Arc::new(nested))];
        for (name, column) in columns {
            let batch = RecordBatch::try_from_iter([(name, column)]).unwrap();
            let parts = (0..10).map(|part| batch_bytes(&batch.slice(part * 100, 100)));
            let (whole, parts) = (batch_bytes(&batch), parts.sum::<usize>());
            assert!(
                parts >= whole && parts <= whole + 100,
                "{name}: {parts} {whole}"
            );
        }
    }
}
