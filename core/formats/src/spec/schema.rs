//! A schema in a pipeline file.

use std::sync::Arc;

use arrow_schema::{Schema, SchemaRef};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use tidegate_core::{Error, Result};

use super::TypeSpec;

/// The columns, in order:
/// `[{ name = "id", type = "int64", nullable = false }, { name = "note", type = "string" }]`.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(transparent)]
pub struct SchemaSpec(pub Vec<FieldSpec>);

/// One column.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct FieldSpec {
    /// Its name.
    pub name: String,
    /// Its type: `bool`, `int8` … `int64`, `uint8` … `uint64`, `float32`, `float64`,
    /// `decimal(38,2)`, `string`, `binary`, `date`, `time`, `timestamp` (microseconds, UTC),
    /// `timestamp_naive`, `json` (kept as text), `list<int64>`, `struct<a:int64,b:string>`.
    #[serde(rename = "type")]
    pub type_: TypeSpec,
    /// Whether it may be NULL. Default: true.
    #[serde(default = "yes", skip_serializing_if = "is_yes")]
    pub nullable: bool,
}

fn yes() -> bool {
    true
}

#[expect(clippy::trivially_copy_pass_by_ref, reason = "serde wants it so")]
fn is_yes(nullable: &bool) -> bool {
    *nullable
}

impl SchemaSpec {
    /// The Arrow schema. Errors: `Config` for no columns, or a name that is empty or there twice.
    pub fn to_arrow(&self) -> Result<SchemaRef> {
        if self.0.is_empty() {
            return Err(Error::config("a schema has no columns"));
        }
        for (at, field) in self.0.iter().enumerate() {
            if field.name.is_empty() {
                return Err(Error::config(format!(
                    "column {} of a schema has no name",
                    at + 1
                )));
            }
            if self.0[..at].iter().any(|other| other.name == field.name) {
                return Err(Error::config(format!(
                    "a schema has the column `{}` twice",
                    field.name
                )));
            }
        }
        let fields = self
            .0
            .iter()
            .map(|field| field.type_.to_field(&field.name, field.nullable));
        Ok(Arc::new(Schema::new(fields.collect::<Vec<_>>())))
    }

    /// An Arrow schema as a user would write it.
    pub fn from_arrow(schema: &Schema) -> Self {
        let field = |field: &Arc<arrow_schema::Field>| FieldSpec {
            name: field.name().clone(),
            type_: TypeSpec::from_field(field),
            nullable: field.is_nullable(),
        };
        Self(schema.fields().iter().map(field).collect())
    }

    /// Whether it has no columns.
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parse(json: &str) -> Result<SchemaSpec, String> {
        serde_json::from_str(json).map_err(|error| error.to_string())
    }

    #[test]
    fn a_schema_is_read_and_written_back() {
        let spec = parse(
            r#"[{"name":"id","type":"int64","nullable":false},
                {"name":"price","type":"decimal(38, 2)"},
                {"name":"at","type":"timestamp"},{"name":"tags","type":"list<string>"},
                {"name":"geo","type":"struct<lat:float64, at:list<struct<x:json>>>"}]"#,
        )
        .unwrap();
        let arrow = spec.to_arrow().unwrap();
        assert!(!arrow.field(0).is_nullable() && arrow.field(1).is_nullable());
        assert_eq!(SchemaSpec::from_arrow(&arrow), spec);
    }

    #[test]
    fn mistakes_are_explained() {
        let error = |json: &str| match parse(json) {
            Err(error) => error,
            Ok(spec) => spec.to_arrow().unwrap_err().to_string(),
        };
        let of_type = |name: &str| error(&format!(r#"[{{"name":"a","type":"{name}"}}]"#));
        assert!(of_type("strng").contains("did you mean `string`"));
        assert!(of_type("varchar").contains("did you mean `string`"));
        assert!(of_type("list<flaot64>").contains("did you mean `float64`"));
        assert!(of_type("decimal(40,50)").contains("decimal"));
        assert!(of_type("struct<a:int64").contains("struct<"));
        assert!(error("[]").contains("no columns"));
        let twice = r#"[{"name":"a","type":"date"},{"name":"a","type":"date"}]"#;
        assert!(error(twice).contains("`a` twice"));
    }
}
