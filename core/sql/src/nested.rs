//! Columns as queries see them.
//!
//! Fields of a NULL are NULL: `address.city` is NULL where `address` is. DataFusion takes a field's
//! values as they lie in memory, whatever the validity of the struct around them: below a NULL there
//! may be any value. So tables carry NULLs down to the fields.
//!
//! An instant is told in UTC, whatever zone came with it: Parquet, catalogs and most other places
//! keep none, and what `extract(hour)` gives must not depend on who read the file.

use std::sync::Arc;

use arrow_array::cast::AsArray;
use arrow_array::{Array, ArrayRef, BooleanArray, StructArray};
use arrow_cast::display::FormatOptions;
use arrow_cast::{CastOptions, cast_with_options};
use arrow_schema::{ArrowError, DataType, Field, Fields, Schema, SchemaRef};
use arrow_select::nullif::nullif;

use crate::dialect::UTC;

/// The schema in which every field of what may be NULL may be NULL as well, and instants are of UTC.
pub(crate) fn widened(schema: &SchemaRef) -> SchemaRef {
    let fields = fields(schema.fields(), Some(false));
    match fields == *schema.fields() {
        true => Arc::clone(schema),
        false => Arc::new(Schema::new_with_metadata(fields, schema.metadata().clone())),
    }
}

/// Below what may be NULL, or not; `None` within lists, whose items stay as nullable as they are.
fn fields(of: &Fields, below_null: Option<bool>) -> Fields {
    of.iter().map(|field| inner(field, below_null)).collect()
}

fn inner(field: &Arc<Field>, below_null: Option<bool>) -> Arc<Field> {
    use DataType as T;
    let nullable = field.is_nullable() || below_null == Some(true);
    let data_type = match field.data_type() {
        T::Struct(members) => T::Struct(fields(members, below_null.map(|_| nullable))),
        T::List(item) => T::List(inner(item, None)),
        T::LargeList(item) => T::LargeList(inner(item, None)),
        T::FixedSizeList(item, size) => T::FixedSizeList(inner(item, None), *size),
        T::Map(entries, sorted) => T::Map(inner(entries, None), *sorted),
        T::Timestamp(unit, Some(zone)) if **zone != *UTC => T::Timestamp(*unit, Some(UTC.into())),
        // Milliseconds, all of them at midnight.
        T::Date64 => T::Date32,
        other => other.clone(),
    };
    if nullable == field.is_nullable() && data_type == *field.data_type() {
        return Arc::clone(field);
    }
    let field = field.as_ref().clone().with_nullable(nullable);
    Arc::new(field.with_data_type(data_type))
}

const EXACT: CastOptions<'static> = CastOptions {
    safe: false,
    format_options: FormatOptions::new(),
};

/// A column in its widened type, with the NULLs of structs carried down.
pub(crate) fn settled(column: &ArrayRef, wanted: &DataType) -> Result<ArrayRef, ArrowError> {
    let (DataType::Struct(fields), Some(outer)) = (wanted, column.as_struct_opt()) else {
        return match column.data_type() == wanted {
            true => Ok(Arc::clone(column)),
            false => cast_with_options(column, wanted, &EXACT),
        };
    };
    if fields.len() != outer.num_columns() {
        return Ok(Arc::clone(column));
    }
    let nulls = outer.nulls().filter(|nulls| nulls.null_count() > 0);
    let absent = nulls.map(|nulls| BooleanArray::new(!nulls.inner(), None));
    let children = outer
        .columns()
        .iter()
        .zip(fields)
        .map(|(child, field)| {
            let child = match &absent {
                Some(absent) => nullif(child, absent)?,
                None => Arc::clone(child),
            };
            settled(&child, field.data_type())
        })
        .collect::<Result<Vec<_>, ArrowError>>()?;
    let settled = StructArray::try_new_with_length(
        fields.clone(),
        children,
        outer.nulls().cloned(),
        outer.len(),
    )?;
    Ok(Arc::new(settled))
}
