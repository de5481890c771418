//! Fields of a NULL: `address.city` is NULL where `address` is.
//!
//! DataFusion takes a field's values as they lie in memory, whatever the validity of the struct
//! around them: below a NULL there may be any value. So tables carry NULLs down to the fields.

use std::sync::Arc;

use arrow_array::cast::AsArray;
use arrow_array::{Array, ArrayRef, BooleanArray, StructArray};
use arrow_schema::{ArrowError, DataType, Field, Fields, Schema, SchemaRef};
use arrow_select::nullif::nullif;

/// The schema in which every field of what may be NULL may be NULL as well.
pub(crate) fn widened(schema: &SchemaRef) -> SchemaRef {
    if !schema
        .fields()
        .iter()
        .any(|field| field.data_type().is_nested())
    {
        return Arc::clone(schema);
    }
    let fields = fields(schema.fields(), false);
    Arc::new(Schema::new_with_metadata(fields, schema.metadata().clone()))
}

fn fields(of: &Fields, below_null: bool) -> Fields {
    let widen = |field: &Arc<Field>| {
        let nullable = field.is_nullable() || below_null;
        let field = field.as_ref().clone().with_nullable(nullable);
        match field.data_type() {
            DataType::Struct(inner) => {
                let inner = DataType::Struct(fields(inner, nullable));
                field.with_data_type(inner)
            }
            _ => field,
        }
    };
    of.iter().map(widen).collect()
}

/// A column in its widened type, with the NULLs of structs carried down.
pub(crate) fn settled(column: &ArrayRef, wanted: &DataType) -> Result<ArrayRef, ArrowError> {
    let (DataType::Struct(fields), Some(outer)) = (wanted, column.as_struct_opt()) else {
        return Ok(Arc::clone(column));
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
