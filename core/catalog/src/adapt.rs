//! Columns of a file to the types that their table has, without losing anything unseen.

use std::sync::Arc;

use arrow_array::builder::BooleanBufferBuilder;
use arrow_array::cast::AsArray;
use arrow_array::{Array, ArrayRef, ListArray, MapArray, StructArray, new_null_array};
use arrow_buffer::BooleanBuffer;
use arrow_cast::{CastOptions, cast_with_options};
use arrow_schema::{DataType, FieldRef, Fields};
use tidegate_core::Result;

use crate::{matched, widen};

/// A column of another type, and which of its rows have a value that the type can't hold.
#[derive(Debug)]
pub struct Adapted {
    /// The column.
    pub column: ArrayRef,
    /// Its rows that have lost a value; `None`: none has.
    pub lost: Option<BooleanBuffer>,
}

/// How values of one type become another's.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Way {
    /// Each value has one there, or becomes NULL.
    Straight,
    /// Some values are rounded or cut, which shows when they are turned back.
    Checked,
}

/// Whether columns of type `from` can be read as `to` at all.
pub fn can_adapt(from: &DataType, to: &DataType) -> bool {
    use DataType as T;
    if let (Some(item), Some(wanted)) = (item(from), item(to)) {
        let sized = |of: &T| match of {
            T::FixedSizeList(_, size) => Some(*size),
            _ => None,
        };
        return (sized(to).is_none() || sized(from) == sized(to))
            && can_adapt(item.data_type(), wanted.data_type());
    }
    match (from, to) {
        _ if from == to => true,
        (T::Struct(from), T::Struct(to)) => {
            let mut members = to.iter().zip(matched(to, from));
            members.all(|(to, at)| match at {
                Some(at) => can_adapt(from[at].data_type(), to.data_type()),
                None => to.is_nullable(),
            })
        }
        (T::Map(from, _), T::Map(to, _)) => match (from.data_type(), to.data_type()) {
            (T::Struct(from), T::Struct(to)) if from.len() == 2 && to.len() == 2 => {
                (0..2).all(|at| can_adapt(from[at].data_type(), to[at].data_type()))
            }
            _ => false,
        },
        _ => way(from, to).is_some(),
    }
}

/// What a list's items are, whatever its layout.
pub(super) fn item(data_type: &DataType) -> Option<&FieldRef> {
    use DataType as T;
    match data_type {
        T::List(item)
        | T::LargeList(item)
        | T::FixedSizeList(item, _)
        | T::ListView(item)
        | T::LargeListView(item) => Some(item),
        _ => None,
    }
}

/// The way between two types that have no members; `None` where there is no sound one.
fn way(from: &DataType, to: &DataType) -> Option<Way> {
    use DataType as T;
    let text = |t: &T| matches!(t, T::Utf8 | T::LargeUtf8 | T::Utf8View);
    let binary = |t: &T| {
        matches!(
            t,
            T::Binary | T::LargeBinary | T::BinaryView | T::FixedSizeBinary(_)
        )
    };
    let decimal = |t: &T| {
        matches!(
            t,
            T::Decimal32(..) | T::Decimal64(..) | T::Decimal128(..) | T::Decimal256(..)
        )
    };
    let number = |t: &T| t.is_integer() || t.is_floating() || decimal(t);
    let time = |t: &T| matches!(t, T::Time32(_) | T::Time64(_));
    let date = |t: &T| matches!(t, T::Date32 | T::Date64);
    match (from, to) {
        (T::Dictionary(_, values), _) => {
            way(values, to).or((**values == *to).then_some(Way::Straight))
        }
        _ if from == to => Some(Way::Straight),
        (T::Null, _) => Some(Way::Straight),
        _ if text(from) && (text(to) || binary(to)) => Some(Way::Straight),
        _ if binary(from) && (text(to) || binary(to)) => Some(Way::Straight),
        _ if number(from) && number(to) => Some(Way::Checked),
        (T::Timestamp(..), T::Timestamp(..)) => Some(Way::Checked),
        (T::Timestamp(..), _) if date(to) => Some(Way::Checked),
        (_, T::Timestamp(..)) if date(from) => Some(Way::Checked),
        _ if date(from) && date(to) => Some(Way::Checked),
        _ if time(from) && time(to) => Some(Way::Checked),
        // Trino and Glue know times of day only as integers.
        (T::Time64(_), T::Int64) | (T::Time32(_), T::Int32) => Some(Way::Straight),
        // What is text in the table may have been anything in an older file.
        (T::Boolean, _) if text(to) => Some(Way::Straight),
        _ if text(to) && (number(from) || time(from) || date(from)) => Some(Way::Straight),
        (T::Timestamp(..), _) if text(to) => Some(Way::Straight),
        // A text that is no such value becomes NULL, which tells. A decimal would be rounded.
        (_, T::Boolean | T::Timestamp(..)) if text(from) => Some(Way::Straight),
        _ if text(from) && (to.is_integer() || to.is_floating() || date(to)) => Some(Way::Straight),
        _ => None,
    }
}

/// The column as type `to`, which it can become ([`can_adapt`]). Where the type can't hold a value,
/// the row is lost.
pub fn adapt(column: &ArrayRef, to: &DataType) -> Result<Adapted> {
    use DataType as T;
    match (column.data_type(), to) {
        (from, _) if from == to => Ok(Adapted {
            column: Arc::clone(column),
            lost: None,
        }),
        (T::Null, _) => Ok(Adapted {
            column: new_null_array(to, column.len()),
            lost: None,
        }),
        (T::Struct(from), T::Struct(fields)) => {
            let from = from.clone();
            structs(column.as_struct(), &from, fields)
        }
        (T::Map(..), T::Map(field, sorted)) => {
            let map = column.as_map();
            let T::Struct(to) = field.data_type() else {
                return leaf(column, to);
            };
            // Keys and values are found by their places: each program names them as it likes.
            let from = map.entries().fields().clone();
            let pairs = from
                .iter()
                .zip(to)
                .map(|(from, to)| Arc::new(from.as_ref().clone().with_name(to.name())) as FieldRef);
            let entries = map.entries();
            let (columns, nulls) = (entries.columns().to_vec(), entries.nulls().cloned());
            let entries = StructArray::try_new(pairs.collect(), columns, nulls)?;
            let names = entries.fields().clone();
            let entries = structs(&entries, &names, to)?;
            let lost = entries.lost.map(|lost| folded(map.offsets(), &lost));
            let map = MapArray::try_new(
                Arc::clone(field),
                map.offsets().clone(),
                entries.column.as_struct().clone(),
                map.nulls().cloned(),
                *sorted,
            )?;
            Ok(Adapted {
                column: Arc::new(map),
                lost,
            })
        }
        (from, _) => match (item(from), item(to)) {
            (Some(from), Some(wanted)) => lists(column, from, wanted, to),
            _ => leaf(column, to),
        },
    }
}

/// Lists as lists of other items, perhaps in another layout.
fn lists(column: &ArrayRef, from: &FieldRef, wanted: &FieldRef, to: &DataType) -> Result<Adapted> {
    let list = cast_with_options(column, &DataType::List(Arc::clone(from)), &strict())?;
    let list = list.as_list::<i32>();
    let items = adapt(list.values(), wanted.data_type())?;
    let lost = items.lost.map(|lost| folded(list.offsets(), &lost));
    let (offsets, nulls) = (list.offsets().clone(), list.nulls().cloned());
    let list = ListArray::try_new(Arc::clone(wanted), offsets, items.column, nulls)?;
    Ok(Adapted {
        column: cast_with_options(&list, to, &strict())?,
        lost,
    })
}

fn structs(column: &StructArray, from: &Fields, to: &Fields) -> Result<Adapted> {
    let mut lost: Option<BooleanBuffer> = None;
    let mut columns = Vec::with_capacity(to.len());
    for (field, place) in to.iter().zip(matched(to, from)) {
        match place {
            None => columns.push(new_null_array(field.data_type(), column.len())),
            Some(at) => {
                let adapted = adapt(column.column(at), field.data_type())?;
                lost = either(lost, adapted.lost);
                columns.push(adapted.column);
            }
        }
    }
    // What lies under a struct that is NULL isn't there.
    if let (Some(some), Some(nulls)) = (&lost, column.nulls()) {
        lost = Some(some & nulls.inner());
    }
    let nulls = column.nulls().cloned();
    Ok(Adapted {
        column: Arc::new(StructArray::try_new_with_length(
            to.clone(),
            columns,
            nulls,
            column.len(),
        )?),
        lost,
    })
}

/// Which lists have lost an item.
pub(super) fn folded(
    offsets: &arrow_buffer::OffsetBuffer<i32>,
    lost: &BooleanBuffer,
) -> BooleanBuffer {
    let mut rows = BooleanBufferBuilder::new(offsets.len().saturating_sub(1));
    for ends in offsets.windows(2) {
        let at = |end: i32| usize::try_from(end).unwrap_or(0);
        let items = lost.slice(at(ends[0]), at(ends[1]) - at(ends[0]));
        rows.append(items.count_set_bits() > 0);
    }
    rows.finish()
}

/// What either of two has.
pub fn either(one: Option<BooleanBuffer>, other: Option<BooleanBuffer>) -> Option<BooleanBuffer> {
    match (one, other) {
        (Some(one), Some(other)) => Some(&one | &other),
        (one, other) => one.or(other),
    }
}

fn strict() -> CastOptions<'static> {
    CastOptions {
        safe: false,
        ..CastOptions::default()
    }
}

fn leaf(column: &ArrayRef, to: &DataType) -> Result<Adapted> {
    if let DataType::Dictionary(_, values) = column.data_type() {
        let plain = cast_with_options(column, values, &strict())?;
        return adapt(&plain, to);
    }
    let from = column.data_type();
    let adapted = cast_with_options(column, to, &CastOptions::default())?;
    let exact = widen(from, to).is_some_and(|wider| wider == *to);
    let lost = match way(from, to) {
        _ if column.null_count() == column.len() => None,
        Some(Way::Checked) if !exact => {
            let back = cast_with_options(&adapted, from, &CastOptions::default())?;
            let same = arrow_ord::cmp::not_distinct(column, &back)?;
            Some(!same.values())
        }
        _ if adapted.null_count() > column.null_count() => {
            let had = column.logical_nulls().map(|nulls| nulls.into_inner());
            let has = adapted.logical_nulls().map(|nulls| !nulls.inner());
            either_none(had, has)
        }
        _ => None,
    };
    Ok(Adapted {
        column: adapted,
        lost: lost.filter(|lost| lost.count_set_bits() > 0),
    })
}

/// Rows that had a value and have none.
fn either_none(had: Option<BooleanBuffer>, lack: Option<BooleanBuffer>) -> Option<BooleanBuffer> {
    match (had, lack) {
        (Some(had), Some(lack)) => Some(&had & &lack),
        (None, lack) => lack,
        (_, None) => None,
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used, reason = "a test that cannot go on fails")]
mod tests {
    use arrow_array::{
        Decimal128Array, Float64Array, Int32Array, Int64Array, StringArray,
        TimestampNanosecondArray, UInt64Array,
    };
    use arrow_schema::{Field, TimeUnit};

    use super::*;

    fn lost(column: impl Array + 'static, to: &DataType) -> Vec<bool> {
        let column: ArrayRef = Arc::new(column);
        assert!(can_adapt(column.data_type(), to));
        let adapted = adapt(&column, to).unwrap();
        assert_eq!(adapted.column.data_type(), to);
        match adapted.lost {
            Some(lost) => lost.iter().collect(),
            None => vec![false; column.len()],
        }
    }

    #[test]
    fn what_a_type_cannot_hold_is_lost_and_nothing_else() {
        let ints = || Int64Array::from(vec![Some(1), None, Some(300), Some(-1)]);
        assert_eq!(lost(ints(), &DataType::Int8), [false, false, true, false]);
        assert_eq!(lost(ints(), &DataType::UInt16), [false, false, false, true]);
        assert_eq!(lost(ints(), &DataType::Float64), [false; 4]);
        let large = UInt64Array::from(vec![u64::MAX, (1 << 53) + 1, 1 << 53]);
        assert_eq!(lost(large, &DataType::Float64), [true, true, false]);
        let floats = || Float64Array::from(vec![1.0, 1.5, 1e300, f64::NAN]);
        assert_eq!(lost(floats(), &DataType::Int32), [false, true, true, true]);
        let decimals = Decimal128Array::from(vec![150, 100, 1]);
        let decimals = decimals.with_precision_and_scale(5, 2).unwrap();
        assert_eq!(
            lost(decimals, &DataType::Decimal128(5, 1)),
            [false, false, true]
        );
        let times = TimestampNanosecondArray::from(vec![1_000, 1_001]);
        let micros = DataType::Timestamp(TimeUnit::Microsecond, None);
        assert_eq!(lost(times, &micros), [false, true]);
        let texts = || StringArray::from(vec![Some("7"), Some("x"), None]);
        assert_eq!(lost(texts(), &DataType::Int32), [false, true, false]);
        assert_eq!(lost(ints(), &DataType::Utf8), [false; 4]);
        assert!(!can_adapt(&DataType::Utf8, &DataType::Decimal128(9, 2)));
        assert!(!can_adapt(&DataType::Boolean, &DataType::Int32));
    }

    #[test]
    fn members_are_found_by_name_and_lists_tell_their_lost_items() {
        let inner = Fields::from(vec![
            Field::new("B", DataType::Int64, true),
            Field::new("x", DataType::Utf8, true),
        ]);
        let columns: Vec<ArrayRef> = vec![
            Arc::new(Int64Array::from(vec![1, 2, 1 << 40])),
            Arc::new(StringArray::from(vec!["a", "b", "c"])),
        ];
        let items = StructArray::try_new(inner.clone(), columns, None).unwrap();
        let item = Arc::new(Field::new("item", DataType::Struct(inner), true));
        let offsets = arrow_buffer::OffsetBuffer::from_lengths([2, 0, 1]);
        let list = ListArray::try_new(item, offsets, Arc::new(items), None).unwrap();
        let wanted = DataType::Struct(Fields::from(vec![
            Field::new("a", DataType::Utf8, true),
            Field::new("b", DataType::Int32, true),
        ]));
        let wanted = DataType::List(Arc::new(Field::new("element", wanted, true)));
        assert_eq!(lost(list.clone(), &wanted), [false, false, true]);
        let adapted = adapt(&(Arc::new(list) as ArrayRef), &wanted).unwrap();
        let items = adapted.column.as_list::<i32>().values().clone();
        let items = items.as_struct();
        assert_eq!(items.column(0).null_count(), 3);
        assert_eq!(
            items.column(1).as_ref(),
            &Int32Array::from(vec![Some(1), Some(2), None]) as &dyn Array
        );
    }
}
