//! How deep types and values may be nested.
//!
//! Whatever walks a type or a value goes down the stack with it: decoders, encoders, Parquet's
//! reader and writer, and what frees them. So there is one limit for all, which the threads that
//! do such work have stack enough for.

use arrow_schema::{DataType, Schema};

use crate::{Error, Result};

/// The most lists, structs and maps within each other.
pub const DEEPEST: usize = 512;

/// The same in a catalog, whose descriptions of types are documents that other programs read.
pub const DEEPEST_IN_CATALOG: usize = 48;

/// The same in what a Parquet file notes of its Arrow types: Arrow's own readers refuse the notes,
/// and with them the file, where types are nested much deeper.
pub const DEEPEST_NOTED: usize = 16;

/// The stack of a thread that handles rows, or runs the futures of components: enough for
/// [`DEEPEST`] levels. It is address space, of which only what is used becomes memory.
///
/// An embedder whose rows are nested deeper than about 50 levels gives its own runtime's threads
/// as much (`thread_stack_size`).
pub const STACK_SIZE: usize = 128 << 20;

/// Refuses a schema with a column that is nested deeper than `most` levels. Errors: `Schema`, with
/// `column`.
pub fn check_depth(schema: &Schema, most: usize) -> Result<()> {
    for field in schema.fields() {
        if depth(field.data_type()) > most {
            return Err(too_deep(most).with("column", field.name()));
        }
    }
    Ok(())
}

/// What is said of a type that is nested deeper than `most` levels.
pub fn too_deep(most: usize) -> Error {
    Error::schema(format!("a type is nested more than {most} levels deep")).hint(
        "keep such values as text: the type `json` in a `schema`, or a cast in a `sql` transform",
    )
}

/// How many lists, structs and maps of a type are within each other at most.
fn depth(data_type: &DataType) -> usize {
    use DataType as T;
    let mut deepest = 0;
    // Not by recursion: this is what finds out whether that would do.
    let mut left = vec![(data_type, 0)];
    while let Some((data_type, above)) = left.pop() {
        deepest = deepest.max(above);
        let below = above + 1;
        match data_type {
            T::List(item)
            | T::LargeList(item)
            | T::FixedSizeList(item, _)
            | T::ListView(item)
            | T::LargeListView(item) => left.push((item.data_type(), below)),
            T::Struct(members) => {
                left.extend(members.iter().map(|member| (member.data_type(), below)));
            }
            // The struct of a key and a value is no level of its own.
            T::Map(entries, _) => match entries.data_type() {
                T::Struct(pair) => left.extend(pair.iter().map(|of| (of.data_type(), below))),
                other => left.push((other, below)),
            },
            T::Union(members, _) => {
                left.extend(
                    members
                        .iter()
                        .map(|(_, member)| (member.data_type(), below)),
                );
            }
            T::Dictionary(_, values) => left.push((values, above)),
            T::RunEndEncoded(_, values) => left.push((values.data_type(), above)),
            _ => {}
        }
    }
    deepest
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use arrow_schema::Field;

    use super::*;

    #[test]
    fn b1_levels_are_counted() {
        let list = |of: DataType| DataType::List(Arc::new(Field::new("item", of, true)));
        let item = Field::new("a", list(DataType::Int8), true);
        assert_eq!(depth(&DataType::Struct(vec![item].into())), 2);
        let deep = (0..DEEPEST).fold(DataType::Int8, |inner, _| list(inner));
        let check = |data_type: DataType| {
            check_depth(
                &Schema::new(vec![Field::new("c", data_type, true)]),
                DEEPEST,
            )
        };
        assert!(check(deep.clone()).is_ok());
        let error = check(list(deep)).unwrap_err();
        assert!(error.to_string().contains("512") && error.to_string().contains("column: c"));
    }
}
