//! Schemas as users write them.

mod schema;
mod type_name;

pub use schema::{FieldSpec, SchemaSpec};
pub(crate) use type_name::is_json;
pub use type_name::{TypeSpec, json_field};
