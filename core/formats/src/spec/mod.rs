//! Schemas as users write them.

mod schema;
mod type_name;

pub use schema::{FieldSpec, SchemaSpec};
pub use type_name::{TypeSpec, json_field};
