use std::sync::Arc;

use arrow_schema::{DataType, Schema, SchemaRef};
use tidegate_core::{Error, Result};
use tidegate_formats::TypeSpec;

/// A schema, written as the columns of a struct are in a pipeline file:
/// `id:int64,geo:struct<lat:float64,lng:float64>`. All columns may be NULL, but those of `key`.
///
/// Errors: `Config` where the text can't be understood, or a key is no column.
///
/// ```
/// let schema = tidegate_api::columns("id:int64,tags:list<string>", &["id"])?;
/// assert!(!schema.field(0).is_nullable() && schema.field(1).is_nullable());
/// # Ok::<(), tidegate_core::Error>(())
/// ```
pub fn columns(text: &str, key: &[&str]) -> Result<SchemaRef> {
    let parsed = format!("struct<{text}>").parse::<TypeSpec>();
    let parsed = parsed.map_err(|why| Error::config(format!("a schema can't be read: {why}")))?;
    let DataType::Struct(fields) = parsed.to_field("row", false).data_type().clone() else {
        return Err(Error::internal("a struct turned out to be none"));
    };
    if let Some(missing) = key.iter().find(|name| fields.find(name).is_none()) {
        return Err(Error::config(format!("the key `{missing}` is no column")));
    }
    let fields = fields.iter().map(|field| {
        let is_key = key.contains(&field.name().as_str());
        field.as_ref().clone().with_nullable(!is_key)
    });
    Ok(Arc::new(Schema::new(fields.collect::<Vec<_>>())))
}
